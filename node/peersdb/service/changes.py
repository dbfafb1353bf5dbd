"""What came to this node since: for those who follow the log without asking again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from peersdb.service.environment import Environment
from peersdb.store.contents import Contents, Row


@dataclass(frozen=True)
class News:
    """One answer.

    Attributes:
        seq: the number of the last one of ``rows``, or what the next question starts from where there are none.
        now: this node's clock when the answer was made, nanoseconds since 1970.
        rows: contributions in the order they came here, each with its number.
    """

    seq: int
    now: int
    rows: Sequence[tuple[int, Row]]


class Changes:
    """Contributions in the order of their arrival, and a wait for the next one."""

    def __init__(self, store: Contents, check_store: Callable[[], None], environment: Environment) -> None:
        """Reads ``store``; ``check_store`` raises where there is no log yet."""
        self._store, self._check_store, self._environment = store, check_store, environment
        self._arrived = trio.Event()

    def wake(self) -> None:
        """Something is in the log that was not there before."""
        self._arrived.set()
        self._arrived = trio.Event()

    async def since(self, after: int | None, limit: int, wait: float) -> News:
        """What came after a number, at once or as soon as there is something.

        Args:
            after: the number of the last one that is known already; None: of the last one there is.
            limit: so many at most.
            wait: seconds to wait for one where there is none.

        Raises:
            NoStore: there is no log yet.
        """
        self._check_store()
        if after is None:
            return self._news(await self._store.last_arrival(), [])
        deadline = trio.current_time() + wait
        while True:
            arrived = self._arrived  # before it is read: what comes meanwhile is not missed
            rows = await self._store.numbered(after, limit)
            if rows:
                return self._news(rows[-1][0], rows)
            if after > await self._store.last_arrival():
                after = 0  # the database was rebuilt, and its numbers begin anew
                continue
            with trio.move_on_at(deadline) as scope:
                await arrived.wait()
            if scope.cancelled_caught:
                return self._news(after, [])

    def _news(self, seq: int, rows: Sequence[tuple[int, Row]]) -> News:
        return News(seq, self._environment.now_ns(), rows)
