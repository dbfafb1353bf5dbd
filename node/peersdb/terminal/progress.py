"""How far a transfer is, on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TextIO

from peersdb.terminal.text import printable

#: Smaller files (bytes) are there before a bar is.
SHOWN_FROM = 4 * 1024 * 1024


@contextlib.contextmanager
def progress(name: str, size: int | None, terminal: TextIO | None) -> Iterator[Callable[[int], None]]:
    """Gives a function that is told the bytes of each piece that passed, and draws them if ``terminal`` is one.

    Args:
        name: what is transferred.
        size: bytes of it; None: not known, so there is no end to show.
        terminal: where the bar goes; it is gone afterwards. None: the program has no such stream.
    """
    if terminal is None or not terminal.isatty() or (size is not None and size < SHOWN_FROM):
        yield lambda _count: None
        return
    # Only here: rich costs the start 100 ms.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=terminal), transient=True) as bar:
        task = bar.add_task(printable(name), total=size)
        yield lambda count: bar.advance(task, count)
