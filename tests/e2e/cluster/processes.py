"""Processes that outlive the command that started them, known by their id and the time of their start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from cluster.commands import LOOK, run

#: The fields of /proc/<pid>/stat behind the program's name: the state is the first, the start the twentieth.
_STATE, _START = 0, 19
#: A program that was killed is gone within milliseconds, if the kernel is not stuck.
KILL_TIMEOUT = 20.0

#: Starts "$@" in a session of its own, says its id and leaves it to PID 1.
_DETACH = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'


@dataclass(frozen=True)
class Process:
    """One process; its id alone could by now be another's.

    Attributes:
        pid: its id.
        start: when it started, in ticks since the machine did.
    """

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Look at a process; None if there is none, or a dead one."""
        fields = _stat(pid)
        return cls(pid, int(fields[_START])) if fields and fields[_STATE] not in "ZX" else None

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Read what `write` wrote; None if that process is gone."""
        try:
            kept = cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        return kept if kept.alive else None

    def write(self, file: Path) -> None:
        """Remember it in a file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self)))

    @property
    def alive(self) -> bool:
        """Whether it runs; one that ended and was not collected does not."""
        return Process.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, number: signal.Signals = signal.SIGTERM, patience: float = 8.0) -> None:
        """End it and wait until it is gone; it is killed when it takes more than ``patience`` seconds."""
        self.send(number)
        if not self._gone_within(patience):
            self.send(signal.SIGKILL)
            self._gone_within(KILL_TIMEOUT)

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK)
        return True


def detached(
    argv: Sequence[str], log: Path, *, inside: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> int:
    """Start a program that stays when this process ends; returns its id, as ``inside`` knows it.

    Args:
        argv: the program and its arguments.
        log: what it writes goes there.
        inside: a command that runs another elsewhere, such as ``nsenter``.
        env: variables beside those of this process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    return int(run([*inside, "sh", "-c", _DETACH, "sh", str(log), *argv], env=env))


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
