"""This node's own chain of entries: where it goes on after a start.

Each writer counts its entries (``seq``). A repo that was restored from an old copy would count some numbers a
second time, and the log would have a fork. So before its first write after a start a node asks its peers how far
they have its chain, and waits for what it lacks. What cannot be had in time, and a fork that shows itself later,
is healed by a new epoch, in which the count begins again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import structlog
import trio

from peersdb.core.entry import Entry
from peersdb.core.wire import WriterAnswer, WriterQuery
from peersdb.net.sync import SyncLinks
from peersdb.store.log import LogStore, has_fork, new_epoch

log = structlog.get_logger("ownchain")

#: Peers answer from an index; one that takes longer (seconds) is not waited for.
ANSWER_TIMEOUT = 2.0
#: Own entries that peers have come with anti-entropy, which takes moments; after this (seconds) a new epoch begins.
CATCH_UP_TIMEOUT = 15.0
#: Each epoch takes a restored repo: an answer further ahead than this is a lie, meant to use the numbers up.
MAX_EPOCHS_AHEAD = 1000


class OwnChain:
    """Makes sure that this node's next entry has a number of its own.

    Attributes:
        free: an entry may be written without `check`; read by other threads.
    """

    def __init__(
        self, key: str, links: SyncLinks, store: LogStore, agreed: Callable[[], Sequence[str]]
    ) -> None:
        """Nothing was asked yet.

        Args:
            key: this node's public key, hex.
            links: to the peers.
            store: the log.
            agreed: the peers that hold the same log and are connected.
        """
        self._key, self._links, self._store, self._agreed = key, links, store, agreed
        self._checked = False
        self.free = True
        self._lock = trio.Lock()
        self._asked: frozenset[str] = frozenset()
        self._answers: dict[str, tuple[int, int]] = {}
        self._answered = trio.Event()
        self._arrived = trio.Event()

    def peers_changed(self) -> None:
        """Another peer holds the same log now, or one is gone."""
        self.free = self._checked or not self._agreed()

    async def check(self) -> None:
        """Returns when this node may write; at once after the first time.

        Without any peer nobody can be asked: the next write tries again.
        """
        if self._checked or not self._agreed():
            return
        async with self._lock:
            peers = [] if self._checked else list(self._agreed())
            if not peers:
                return
            theirs = await self._ask(peers)
            if theirs > await self._store.own_last(self._key):
                await self._wait(theirs)
            self._checked = self.free = True

    def recheck(self) -> None:
        """Asks the peers again before the next write: the end of the chain may be lost."""
        self._checked = False

    async def on_message(self, peer: str, message: WriterQuery | WriterAnswer) -> None:
        """A peer says how far it has this node's chain, or asks how far its own is here."""
        if isinstance(message, WriterAnswer):
            self._on_answer(peer, message)
        else:
            epoch, seq = await self._store.own_last(message.key)
            self._links.send(peer, WriterAnswer(message.key, epoch, seq))

    def _on_answer(self, peer: str, answer: WriterAnswer) -> None:
        """A peer says how far it has a chain; only what was asked counts."""
        if answer.key == self._key and peer in self._asked:
            self._answers[peer] = (answer.epoch, answer.seq)
            self._answered.set()

    def accepted(self) -> None:
        """Entries arrived; own ones may be among them."""
        self._arrived.set()

    def joined(self, conn: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        """In the transaction of entries that arrived: an own one whose number is taken shows a fork."""
        own = [entry for entry in entries if entry.key == self._key]
        if own and has_fork(conn, self._key):
            new_epoch(conn, max(entry.contribution.epoch for entry in own) + 1)
            log.warning(
                "the repo is older than what peers have of this node: a new epoch of its chain begins"
            )

    async def _ask(self, peers: Sequence[str]) -> tuple[int, int]:
        """The highest epoch and seq that a peer has, as far as one can be believed."""
        self._answers, self._asked = {}, frozenset(peers)
        for peer in peers:
            self._links.send(peer, WriterQuery(self._key))
        with trio.move_on_after(ANSWER_TIMEOUT):
            while not self._answers.keys() >= self._asked:
                self._answered = trio.Event()
                await self._answered.wait()
        most = (await self._store.own_last(self._key))[0] + MAX_EPOCHS_AHEAD
        return max((answer for answer in self._answers.values() if answer[0] <= most), default=(0, 0))

    async def _wait(self, theirs: tuple[int, int]) -> None:
        log.info("peers have newer entries of this node, waiting for them", epoch=theirs[0], seq=theirs[1])
        with trio.move_on_after(CATCH_UP_TIMEOUT):
            while await self._store.own_last(self._key) < theirs:
                await self._arrived.wait()
                self._arrived = trio.Event()
            return
        log.warning("own entries did not come: a new epoch of this node's chain begins", epoch=theirs[0] + 1)
        await self._store.begin_epoch(theirs[0] + 1)
