"""Anti-entropy with one peer: ask for what is lacking, send what the peer lacks.

Version vectors settle nearly every difference. Where they are equal and the sets still differ (a writer's
fork, entries beyond a gap), ranges of the log's order are compared instead (`core.ranges`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import structlog
import trio

from peersdb.core.ranges import PARTS, Items, Range, RangeStore, compare, settle, whole
from peersdb.core.reconcile import Fingerprint, VersionVector, gaps
from peersdb.core.wire import MAX_RANGES, MAX_WRITERS, Entries, Heads, RangeItems, Ranges, Vector, WantEntries
from peersdb.errors import InvalidMessage, PeersDBError
from peersdb.net.sync import SyncLinks
from peersdb.service.session import BATCH_BYTES, BATCH_ENTRIES, Session
from peersdb.store.log import LogStore

log = structlog.get_logger("catchup")

#: Batches on the way that are not acknowledged yet: a long link stays full, a slow disk is not flooded.
WINDOW = 4
#: After a difference was seen, wait so long (seconds) before asking: pushes on the way settle most of them.
SETTLE = 1.0
#: A difference that asking does not settle is asked about ever less often, up to this wait (seconds).
SETTLE_MAX = 60.0

WireRange = tuple[int, bytes, int, bytes, int, bytes]


class CatchUp:
    """Brings this node's log and its peers' together."""

    def __init__(self, links: SyncLinks, store: LogStore, fingerprint: Callable[[], Fingerprint]) -> None:
        """Works once `start` was called.

        Args:
            links: to the peers.
            store: the log.
            fingerprint: gives that of what is in the log now.
        """
        self._links, self._store, self._fingerprint = links, store, fingerprint
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """Runs its tasks in this nursery from now on."""
        self._nursery = nursery

    def heads(self) -> Heads:
        """What this node has."""
        fingerprint = self._fingerprint()
        return Heads(fingerprint.count, fingerprint.to_bytes())

    # --- asking --------------------------------------------------------------------------------------

    def equal(self, session: Session) -> None:
        """The peer was seen to have the same set."""
        session.differs = False
        session.fruitless = 0

    def differs(self, session: Session, *, soon: bool) -> None:
        """The peer was seen to have another set: ask it, unless that is under way."""
        if not session.differs:
            session.differs = True
            delay = 0.0 if soon else min(SETTLE_MAX, SETTLE * 2**session.fruitless)
            self._spawn(session, lambda: self._ask(session, delay))

    async def _ask(self, session: Session, delay: float) -> None:
        try:
            await trio.sleep(delay)
            if session.differs and not session.asked:
                vector = await self._store.vector()
                session.asked = True
                session.fruitless = min(session.fruitless + 1, 6)
                writers = sorted((key, epoch, seq) for (key, epoch), seq in vector.items())
                # More writers than one message names: what is left out is sent again and known already.
                self._links.send(session.peer, Vector(tuple(writers[:MAX_WRITERS])))
        finally:
            session.differs = False

    # --- answering -----------------------------------------------------------------------------------

    async def on_message(self, session: Session, message: Vector | Ranges | RangeItems | WantEntries) -> None:
        """A peer that holds the same log compares, or asks for entries."""
        match message:
            case Vector():
                self._on_vector(session, {(key, epoch): seq for key, epoch, seq in message.writers})
            case Ranges():
                await self._on_ranges(session, message)
            case RangeItems():
                await self._on_items(session, message)
            case WantEntries():
                self._on_want(session, message.digests)

    def _on_vector(self, session: Session, vector: VersionVector) -> None:
        """The peer says how far it has each writer: send it the rest."""
        session.vector = vector
        self._send(session, lambda: self._serve_vectors(session))

    async def _serve_vectors(self, session: Session) -> None:
        while (theirs := session.vector) is not None:
            session.vector = None
            ours = await self._store.vector()
            lacking = gaps(theirs, ours)
            if lacking:
                await self._send_entries(session, await self._store.gap_ids(lacking))
            elif theirs == ours and session.said != self._said():
                await self._begin_ranges(session)
            self._links.send(session.peer, self.heads())
            if gaps(ours, theirs):
                self.differs(session, soon=True)

    def _said(self) -> tuple[int, bytes]:
        fingerprint = self._fingerprint()
        return fingerprint.count, fingerprint.to_bytes()

    # --- ranges --------------------------------------------------------------------------------------

    async def _begin_ranges(self, session: Session) -> None:
        log.info("version vectors do not explain a difference, comparing ranges", peer=session.peer)
        everything = await self._store.ranges(whole)
        self._links.send(session.peer, Ranges((_to_wire(everything),)))

    async def _on_ranges(self, session: Session, message: Ranges) -> None:
        """The peer says what it has in some ranges: answer with parts or items of those that differ."""
        theirs = [_from_wire(item) for item in message.ranges]
        if any(item.low >= item.high for item in theirs) or any(
            before.high > after.low for before, after in pairwise(theirs)
        ):
            # Comparing costs a hash an entry: overlapping ranges would let one message cost many scans.
            raise InvalidMessage("ranges overlap or are not in ascending order")
        await self._answer(session, lambda store: compare(store, theirs))

    async def _on_items(self, session: Session, message: RangeItems) -> None:
        """The peer named all it has in a range: ask for what is lacking here, send what is lacking there."""
        theirs = Items(_from_wire(message.range), message.digests)
        lacking, surplus = await self._store.ranges(lambda store: settle(store, theirs))
        if lacking:
            self._links.send(session.peer, WantEntries(tuple(lacking)))
        if surplus is None:
            nothing = Range(theirs.range.low, theirs.range.high, Fingerprint(0, 0))
            await self._answer(session, lambda store: compare(store, [nothing]))
        elif surplus:
            self._on_want(session, surplus)

    def _on_want(self, session: Session, digests: Sequence[bytes]) -> None:
        """Sends a peer the entries with these digests; what it lacks after that, it asks for again."""

        async def send() -> None:
            await self._send_entries(session, await self._store.ids_of(digests))
            self._links.send(session.peer, self.heads())

        self._send(session, send)

    async def _answer(
        self, session: Session, job: Callable[[RangeStore], tuple[list[Range], list[Items]]]
    ) -> None:
        parts, items = await self._store.ranges(job)
        # What does not fit is found again by the next comparison.
        if parts:
            self._links.send(session.peer, Ranges(tuple(_to_wire(part) for part in parts[:MAX_RANGES])))
        for one in items[: 2 * PARTS]:
            self._links.send(session.peer, RangeItems(_to_wire(one.range), one.digests))

    # --- sending -------------------------------------------------------------------------------------

    async def _send_entries(self, session: Session, ids: Sequence[int]) -> None:
        """Sends entries, `WINDOW` batches ahead of the acknowledgements."""
        at = 0
        while at < len(ids):
            data, identities = await self._store.entries(ids[at : at + BATCH_ENTRIES])
            size, taken = 0, 0
            while taken < len(data) and size + len(data[taken]) <= BATCH_BYTES:
                size += len(data[taken])
                taken += 1
            await session.window(WINDOW)
            batch = Entries(tuple(data[:taken]), tuple(identities), live=False, seq=session.next_batch())
            self._links.send(session.peer, batch)
            at += taken

    def _send(self, session: Session, job: Callable[[], Awaitable[None]]) -> None:
        """Runs one sending job of a session; while one runs, vectors wait and the rest is asked for again."""
        if session.sending:
            return
        session.sending = True

        async def run() -> None:
            try:
                await job()
                if session.vector is not None:
                    await self._serve_vectors(session)
            finally:
                session.sending = False

        self._spawn(session, run)

    def _spawn(self, session: Session, job: Callable[[], Awaitable[None]]) -> None:
        """Runs a task that ends with the session; an error of the disk ends the task, not the node."""

        async def run() -> None:
            try:
                with session.scope_for(trio.CancelScope()):
                    await job()
            except PeersDBError as error:
                log.warning("catching up failed", peer=session.peer, code=error.code, error=str(error))

        if self._nursery is not None:
            self._nursery.start_soon(run)


def _to_wire(item: Range) -> WireRange:
    return (*item.low, *item.high, item.fingerprint.count, item.fingerprint.to_bytes())


def _from_wire(item: WireRange) -> Range:
    low_time, low, high_time, high, count, total = item
    return Range((low_time, low), (high_time, high), Fingerprint.from_bytes(count, total))
