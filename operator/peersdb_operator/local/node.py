"""One member's process as a supervisor sees it, and how long it waits before it starts it again: pure."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import dataclass

from peersdb_operator.local.probe import Answer
from peersdb_operator.local.state import Record

BACKOFF_SECONDS = 0.5
"""Before the first restart; doubled with each that follows, up to the most."""

BACKOFF_MOST_SECONDS = 30.0
BACKOFF_JITTER = 0.25
"""Part of a wait that is random, so that members that fell together do not come back together."""


def backoff(failures: int, random_part: float) -> float:
    """Give the seconds to wait before a restart.

    Args:
        failures: ends in a row without having been ready between, from 1.
        random_part: between 0 and 1.
    """
    wait = min(BACKOFF_SECONDS * 2.0 ** min(failures - 1, 16), BACKOFF_MOST_SECONDS)
    return wait * (1 - BACKOFF_JITTER * random_part)


@dataclass(slots=True)
class Node:
    """One member's process as this supervisor sees it.

    Attributes:
        record: what is remembered of it.
        child: the process, if this supervisor started it (an adopted one cannot be waited for).
        answer: what it last said.
        asking: the question under way.
        ask_at: when to ask next, on the monotonic clock, as all times here.
        stopping: when it was sent SIGTERM.
        killed: whether SIGKILL followed.
        start_at: when it may be started again.
        failures: ends in a row without having been ready between.
        trouble: why it ended or could not be started.
    """

    record: Record
    child: subprocess.Popen[bytes] | None = None
    answer: Answer | None = None
    asking: asyncio.Task[Answer] | None = None
    ask_at: float = 0.0
    stopping: float | None = None
    killed: bool = False
    start_at: float = 0.0
    failures: int = 0
    trouble: str = ""
    held: str = ""

    @property
    def ended(self) -> bool:
        """Whether its process is gone. A child is once it can be waited for: until then it may still hold its ports,
        though its first thread has ended.
        """
        if self.child is not None:
            return self.child.poll() is not None
        return self.record.process is None or not self.record.process.alive()

    @property
    def ready(self) -> bool:
        """Whether it runs and said that it is ready."""
        return self.record.process is not None and self.answer is not None and self.answer.ready

    @property
    def failing(self) -> bool:
        """Whether it ended by itself and was not ready since."""
        return self.failures > 0 and not self.ready

    def word(self) -> str:
        """Say how it stands in one word."""
        if self.record.process is None:
            return "BackOff" if self.failures else "Waiting"
        if self.stopping is not None:
            return "Stopping"
        return "Ready" if self.ready else "Starting" if not self.failures else "Retrying"

    def why(self) -> str:
        """Say why it is not ready."""
        if self.ready:
            return ""
        if self.record.process is None:
            return self.held or self.trouble or "is about to start"
        if self.stopping is not None:
            return "stops"
        said = self.answer.reason if self.answer else "starts"
        return f"{said}; before: {self.trouble}" if self.trouble else said
