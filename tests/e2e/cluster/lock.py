"""One command at a time on a cluster, and one at a time that builds."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from cluster.commands import say


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold the lock of a directory, which need not exist; waits for another command that does.

    The kernel lets go of it when its holder ends, however that is.
    """
    file = place.with_name(f"{place.name}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another command is at work on {place}: waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
