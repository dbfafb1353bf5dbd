"""Processes of this machine: who one is, whether it lives, how it is started and ended.

A process id alone says nothing, for ids are used again; with the time of its start it names one process for
ever. Nodes get a session of their own and a file for their output, so that they outlive whoever started them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import psutil

GRACE_SECONDS = 10.0
"""From SIGTERM to SIGKILL: a node stops within 5 s of the first."""

_POLL_SECONDS = 0.05
_ENVIRONMENT_PREFIX = "PEERSDB_"


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, never mistaken for a later one of the same id.

    Attributes:
        pid: the process id.
        start: when it started, in a form that is compared only.
    """

    pid: int
    start: str

    def alive(self) -> bool:
        """Whether it runs; a process that ended and was not reaped does not."""
        found = _look(self.pid)
        return found is not None and found == (self.start, True)

    def signal(self, number: int) -> None:
        """Send a signal to it and to what it started in its session; nothing happens if it has ended."""
        if not self.alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def identify(pid: int) -> ProcessId | None:
    """Name a process that exists, ended but not reaped included."""
    found = _look(pid)
    return ProcessId(pid, found[0]) if found else None


def in_session_of(pid: int, process: ProcessId) -> bool:
    """Tell whether a process is ``process`` or belongs to the session that it leads."""
    try:
        return pid == process.pid or os.getsid(pid) == process.pid
    except ProcessLookupError:
        return False


def start(command: Sequence[str], log: Path, directory: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, its output appended to a file.

    Variables of the node's own settings are not handed down: a member is what the manifest says.

    Raises:
        OSError: the program or the file cannot be opened.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_ENVIRONMENT_PREFIX)}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )


def end(
    processes: Iterable[ProcessId],
    *,
    grace: float = GRACE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[ProcessId]:
    """End processes together: SIGTERM, a wait, SIGKILL for those that stay.

    Returns:
        those that had to be killed.
    """
    left = [process for process in processes if process.alive()]
    for process in left:
        process.signal(signal.SIGTERM)
    left = _await_end(left, clock() + grace, clock, sleep)
    for process in left:
        process.signal(signal.SIGKILL)
    _await_end(left, clock() + grace, clock, sleep)
    return left


def holding(paths: Iterable[Path]) -> dict[Path, tuple[ProcessId, tuple[str, ...]]]:
    """Find the processes that were started on a repo directory, with their command lines.

    This finds a node whose supervisor was killed between starting it and writing that down.
    """
    wanted = {str(path): path for path in paths}
    found: dict[Path, tuple[ProcessId, tuple[str, ...]]] = {}
    for pid, line in _command_lines():
        path = next(
            (wanted[value] for flag, value in pairwise(line) if flag == "-repo" and value in wanted), None
        )
        process = identify(pid)
        # The leader of the session is the one that was started; its children carry the flag too.
        if path is not None and process is not None and process.alive() and _leads_session(pid):
            found[path] = (process, line)
    return found


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _await_end(
    processes: list[ProcessId], deadline: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> list[ProcessId]:
    while (left := [process for process in processes if process.alive()]) and clock() < deadline:
        sleep(_POLL_SECONDS)
    return left


def _command_lines() -> Iterator[tuple[int, tuple[str, ...]]]:
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"]
        if line:
            yield process.pid, tuple(line)


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _look(pid: int) -> tuple[str, bool] | None:
    """Give when a process started, and whether it runs; None if there is none of this id.

    On Linux the start is counted in ticks since boot: the wall clock, which psutil reckons it from, may be
    set between two looks.
    """
    if sys.platform != "linux":
        try:
            process = psutil.Process(pid)
            return repr(process.create_time()), process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the program's name before may hold anything
    return f"{_boot_id()}:{fields[19]}", fields[0] not in {"Z", "X"}
