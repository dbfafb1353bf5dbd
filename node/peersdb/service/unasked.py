"""Contributions are judged unasked as they arrive, on a full replica or with ``-validate``.

Own posts come first. Where the quorum is reached already, nothing is left to do: each node takes what arrived in an
order of its own, so that many of them share the work without a word.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import structlog
import trio

from peersdb.errors import PeersDBError, StorageError
from peersdb.service.environment import Environment
from peersdb.service.judging import AT_ONCE
from peersdb.store.contents import Row
from peersdb.store.log import LogStore

log = structlog.get_logger("validation")

#: Contributions looked at together: enough to be in another order on each node, few enough to hold.
PAGE = 64
#: Files of unknown size are fetched; known to be larger than this (bytes) they are judged when somebody asks.
MAX_SIZE = 1024**3
#: Files that others ask about and that are judged ahead of their turn at a time: two judged, the rest waiting.
MAX_ASKED = 16
#: The log is looked at so often (seconds) even if nothing was heard.
IDLE = 30.0
#: A node that hears of a contribution waits so long (seconds, and up to half as much again): others may be faster.
PATIENCE = 0.2
#: Files whose judgement failed (nobody has them now) are tried again after so long (seconds), so many at most.
RETRY, MAX_RETRIES = 60.0, 1024
#: The log on a damaged page is looked at again after so long (seconds): a rebuild takes about as long.
UNREADABLE = 2.0


class Unasked:
    """Judges what arrives."""

    def __init__(
        self,
        *,
        peer_id: str,
        store: LogStore,
        needs: Callable[[str], Awaitable[bool]],
        validate: Callable[[str], Awaitable[object]],
        environment: Environment,
    ) -> None:
        """Nothing happens before `run`.

        Args:
            peer_id: this node's.
            store: the log.
            needs: whether a file, by its path, should be judged here.
            validate: judges it.
            environment: randomness.
        """
        self._peer_id, self._store, self._environment = peer_id, store, environment
        self._needs, self._validate = needs, validate
        self._arrived = trio.Event()
        self._again: dict[str, float] = {}
        self._after = 0
        self._under: dict[str, trio.Event] = {}
        self._asked = 0

    async def sooner(self, path: str) -> None:
        """Judges a contribution that somebody asks about ahead of its turn; waits for one that is under judgement.

        Only what would be judged anyway, so whoever asks changes the order alone; what is asked beyond `MAX_ASKED`
        keeps its turn.
        """
        rows, _ = await self._store.arrivals(0, 1, path)
        if not self._may(rows) or self._asked >= MAX_ASKED:
            return
        self._asked += 1
        try:
            await self._judge(path)
        finally:
            self._asked -= 1

    def wake(self) -> None:
        """Something arrived."""
        self._arrived.set()

    async def run(self) -> None:
        """Judges for ever; ends when cancelled."""
        while True:
            self._arrived = trio.Event()
            try:
                rows, self._after = await self._store.arrivals(self._after, PAGE)
            except StorageError as error:  # the node rebuilds a damaged database, and goes on meanwhile
                log.warning("the log could not be read, tried again", error=str(error))
                await trio.sleep(self._environment.jitter(UNREADABLE))
                continue
            await self._judge_all([row.path for row in self._in_turn(rows)])
            await self._judge_all(self._due())
            if len(rows) < PAGE:
                with trio.move_on_after(IDLE):
                    await self._arrived.wait()
                await trio.sleep(self._environment.jitter(PATIENCE))

    def _in_turn(self, rows: list[Row]) -> list[Row]:
        rows = self._may(rows)
        random.Random(self._environment.random.random()).shuffle(rows)  # noqa: S311 - an order, not a secret
        return sorted(rows, key=lambda row: row.contributor != self._peer_id)

    @staticmethod
    def _may(rows: list[Row]) -> list[Row]:
        return [row for row in rows if row.size is None or row.size <= MAX_SIZE]

    def _due(self) -> list[str]:
        now = trio.current_time()
        due = [path for path, at in self._again.items() if at <= now]
        for path in due:
            del self._again[path]
        return due

    async def _judge_all(self, paths: list[str]) -> None:
        todo = iter(dict.fromkeys(paths))

        async def work() -> None:
            for path in todo:
                await self._judge(path)

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(work)

    async def _judge(self, path: str) -> None:
        while (under := self._under.get(path)) is not None:
            await under.wait()  # it may have been given up, so it is looked at again
        self._under[path] = done = trio.Event()
        try:
            if await self._needs(path):
                await self._validate(path)
        except PeersDBError as error:
            log.info("a file could not be judged now", path=path, code=error.code, error=str(error))
            if len(self._again) < MAX_RETRIES:
                self._again[path] = trio.current_time() + RETRY
        finally:
            del self._under[path]
            done.set()
