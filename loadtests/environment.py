"""What a run ran on: without it no figure can be compared with another."""

import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path

PACKAGES = ("peersdb", "locust", "gevent", "libp2p", "aiohttp")


def describe() -> dict[str, str]:
    """This machine and its software, for people to read; keys are titles."""
    return {
        "Processor": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores for this run",
        "Memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "Load average at the start": f"{os.getloadavg()[0]:.1f}",
    }


def command_line() -> str:
    """The command as it was typed, with the program's name in place of its path."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return shlex.join([name, *sys.argv[1:]])


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed here)"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
