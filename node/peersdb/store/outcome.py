"""What became of a job of the database's writer, and who is told of it, in whichever thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Outcome(Generic[T]):
    """What became of a job.

    Attributes:
        result: what it gave, once its transaction is committed.
        error: why it did not happen, or None.
    """

    __slots__ = ("error", "result")

    def __init__(self) -> None:
        """Nothing yet; the writer thread fills it in."""
        self.result: Any = None
        self.error: Exception | None = None

    def get(self) -> T:
        """The result. Raises the error where there is one."""
        if self.error is not None:
            raise self.error
        result: T = self.result
        return result


class Report(NamedTuple):
    """Who is told of an outcome, and in which thread.

    Attributes:
        crossing: calls a function with its argument in another thread, soon: ``TrioToken.run_sync_soon`` or
            asyncio's ``call_soon_threadsafe``.
        tell: called there with the outcome, after the commit; it may not raise.
    """

    crossing: Callable[..., object]
    tell: Callable[[Outcome[Any]], object]


def tell_all(done: Iterable[tuple[Outcome[Any], Sequence[Report]]]) -> None:
    """Tells who waits: one crossing for all of a batch that wait in the same thread."""
    told: dict[Callable[..., object], list[tuple[Report, Outcome[Any]]]] = {}
    for outcome, reports in done:
        for report in reports:
            told.setdefault(report.crossing, []).append((report, outcome))
    for crossing, waiting in told.items():
        with contextlib.suppress(RuntimeError):  # that loop has ended (trio's RunFinishedError is one)
            crossing(_tell, waiting)


def _tell(waiting: list[tuple[Report, Outcome[Any]]]) -> None:
    for report, outcome in waiting:
        report.tell(outcome)
