"""What the documents show, and a shell to run it in as it is written there.

The commands use the default ports, so they run in a network of their own where the system allows it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ALONE = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]

Shell = Callable[..., str]


def text(name: str) -> str:
    """A document of the repository."""
    return (ROOT / name).read_text()


def blocks(name: str) -> list[str]:
    """The commands that a document shows, a block each."""
    return [found.strip() for found in re.findall(r"```sh\n(.*?)```", text(name), re.DOTALL)]


def with_word(name: str, word: str) -> str:
    """The one block of a document that has a word."""
    (found,) = [block for block in blocks(name) if word in block]
    return found


def shell(clone: Path, home: Path) -> Shell:
    """Makes a shell in the documents' place: a clone with .venv active, a home and a network of its own."""
    isolated = shutil.which("unshare") and not subprocess.run(
        [*ALONE, "true"], capture_output=True, check=False
    ).returncode  # fmt: skip
    (clone / ".venv").symlink_to(BIN.parent)
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
    }

    def run(script: str, timeout: float = 60) -> str:
        process = subprocess.Popen(
            [*(ALONE if isolated else []), "bash", "-c", f"set -eu\n{script}\n"],
            cwd=clone,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            _end(process.pid)  # whatever the script started ends with it
        assert process.returncode == 0, f"{script}\n{out}\n{err}"
        return out

    return run


def _end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGTERM)
    except ProcessLookupError:
        return
