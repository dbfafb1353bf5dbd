"""One command at a time on a cluster."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from cluster.commands import say
from cluster.settings import Settings


@contextlib.contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """Hold the lock of a cluster's directory; waits for another command that does.

    The kernel lets go of it when its holder ends, however that is.
    """
    file = settings.state.with_name(f"{settings.state.name}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another command is at work on the cluster: waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
