"""The members' log files: their ends, and their sizes kept within bounds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

MAX_BYTES = 16 << 20
"""Size at which a log is set aside as ``log.1``, in place of the one before: at most 32 MiB a member."""

_TAIL_BYTES = 64 << 10
_FOLLOW_SECONDS = 0.2


def tail(path: Path, lines: int) -> list[str]:
    """Give the last lines of a log, of at most its last 64 KiB; none if there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:]


def last_line(path: Path, most: int = 200) -> str:
    """Give the last line of a log that is not empty, cut to a length."""
    return next((line.strip()[:most] for line in reversed(tail(path, 20)) if line.strip()), "")


def trim(path: Path) -> bool:
    """Set a log aside if it is too large.

    The node goes on writing to the same file, which is emptied: what it writes between the copy and that is
    lost.

    Returns:
        whether it was.
    """
    try:
        if path.stat().st_size <= MAX_BYTES:
            return False
    except FileNotFoundError:
        return False
    with path.open("rb") as source, path.with_name(path.name + ".1").open("wb") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)
    os.truncate(path, 0)
    return True


def follow(path: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[str]:
    """Give what is written to a log from now on, for ever; one that is emptied is read from its beginning."""
    position = path.stat().st_size if path.exists() else 0
    while True:
        if path.exists():
            size = path.stat().st_size
            position = 0 if size < position else position
            if size > position:
                with path.open("rb") as file:
                    file.seek(position)
                    data = file.read(1 << 20)
                position += len(data)
                yield data.decode(errors="replace")
                continue
        sleep(_FOLLOW_SECONDS)
