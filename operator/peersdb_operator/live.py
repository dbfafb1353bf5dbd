"""The part of a terminal that is rewritten while something goes on."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live


class Rewritten:
    """What is drawn anew in its place on a terminal; elsewhere there is no such place, and lines are added.

    It is drawn when there is something new and by no thread of its own: children are forked meanwhile.

    Attributes:
        console: where it is drawn, and lines that stay.
    """

    def __init__(self, console: Console) -> None:
        """Show nothing yet."""
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def has_place(self) -> bool:
        """Whether it can be drawn in its place."""
        return self._live is not None

    def draw(self, what: RenderableType) -> None:
        """Draw it in its place, if there is one."""
        if self._live is not None:
            self._live.update(what, refresh=True)
