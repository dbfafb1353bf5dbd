"""What this node knows of one peer's side of the replication."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import trio

from peersdb.core.entry import Entry
from peersdb.core.reconcile import VersionVector

#: A batch: entries and bytes at most. 256 signatures take 15 ms to check, so a slow peer still acknowledges
#: within moments; a frame takes 1 MiB, identities included.
BATCH_ENTRIES = 256
BATCH_BYTES = 256 * 1024
#: Pushes waiting for one peer at most; beyond, they are dropped and anti-entropy brings them.
MAX_LIVE = 2048
#: Writers whose entries a peer wants announced only; beyond, they are pushed: a peer that asks for more has no loss.
MAX_LAZY = 4096
#: Entries to be announced to a peer, and those it was seen to have, at most: those of a busy second.
MAX_ANNOUNCED = 4096
#: Identities remembered as sent; beyond, all are sent again, which costs a few hundred bytes each.
MAX_IDENTITIES = 4096


class Session:
    """One peer, for as long as a stream to it stands.

    Attributes:
        peer: its peer id.
        agreed: it said hello with our log's address.
        differs: its set was seen to differ and it will be asked.
        asked: our vector was sent; its closing `Heads` is awaited.
        sending: gaps are being sent to it.
        vector: its newest vector that is not served yet.
        said: count and fingerprint that it said last.
        fruitless: how often it was asked since it last had something new.
        faults: wrong things it sent.
        pruned: writers whose entries it was asked not to push, and when (trio's time).
        round_trip: seconds; 0 while it is not known.
        is_useful: it had something else than this node at its hello, or entries were pushed to it, or first by it.
        scope: ends what runs for this session.
    """

    def __init__(self, peer: str) -> None:
        """A session before the hello."""
        self.peer = peer
        self.agreed = False
        self.differs = False
        self.asked = False
        self.sending = False
        self.vector: VersionVector | None = None
        self.said: tuple[int, bytes] = (0, b"")
        self.fruitless = 0
        self.faults = 0
        self.scope = _Scopes()
        self.pruned: dict[str, float] = {}
        self.round_trip = 0.0
        self.is_useful = False
        self._lazy: set[str] = set()
        self._announced: OrderedDict[bytes, None] = OrderedDict()
        self._has: OrderedDict[bytes, None] = OrderedDict()
        self._live: deque[Entry] = deque()
        self._overflowed = False
        self._identities: set[str] = set()
        self._sent = 0
        self._acknowledged = 0
        self._progress = trio.Event()

    def push(self, entries: Sequence[Entry]) -> bool:
        """Queues entries for this peer, or announcements of them; says whether there is something to send at once.

        Where too many wait, they are dropped, and the peer is told what there is.
        """
        before = len(self._live)
        for entry in entries:
            digest = entry.digest
            if digest in self._has:
                continue
            if entry.key in self._lazy:
                _put(self._announced, digest)
            else:
                self._live.append(entry)
        if len(self._live) > MAX_LIVE:
            self._live.clear()
            self._overflowed = True
        return len(self._live) > before or self._overflowed

    def has(self, digest: bytes) -> None:
        """The peer has this entry: it need not be told of it."""
        self._announced.pop(digest, None)
        _put(self._has, digest)

    def announce_only(self, writers: Iterable[str]) -> None:
        """Entries of these writers are not pushed any more."""
        for writer in writers:
            if len(self._lazy) < MAX_LAZY:
                self._lazy.add(writer)

    def push_all(self) -> None:
        """Entries of all writers are pushed."""
        self._lazy.clear()

    def announcements(self, most: int) -> list[bytes]:
        """The digests of entries to announce, so many at most."""
        return [self._announced.popitem(last=False)[0] for _ in range(min(most, len(self._announced)))]

    def take(self) -> tuple[list[Entry], bool]:
        """The next batch of pushes, and whether some were dropped since the last call."""
        overflowed, self._overflowed = self._overflowed, False
        batch: list[Entry] = []
        size = 0
        while not overflowed and self._live and len(batch) < BATCH_ENTRIES:
            entry = self._live[0]
            size += len(entry.data)
            if size > BATCH_BYTES:
                break
            self._live.popleft()
            if entry.digest not in self._has:  # it came from the peer itself meanwhile
                batch.append(entry)
        self.is_useful |= bool(batch)
        return batch, overflowed

    def new_identities(self, batch: Sequence[Entry]) -> list[str]:
        """The identities of a batch that were not sent to this peer yet."""
        fresh = list(
            dict.fromkeys(entry.identity for entry in batch if entry.identity not in self._identities)
        )
        if len(self._identities) + len(fresh) > MAX_IDENTITIES:
            self._identities.clear()
        self._identities.update(fresh)
        return fresh

    def next_batch(self) -> int:
        """Numbers a batch that is sent."""
        self._sent += 1
        return self._sent

    def acknowledged(self, seq: int) -> None:
        """The peer stored the batches up to this one."""
        if self._acknowledged < seq <= self._sent:
            self._acknowledged = seq
            self._progress.set()

    async def window(self, size: int) -> None:
        """Waits until fewer than ``size`` batches are not acknowledged."""
        while self._sent - self._acknowledged >= size:
            self._progress = trio.Event()
            await self._progress.wait()

    @contextmanager
    def scope_for(self, scope: trio.CancelScope) -> Iterator[None]:
        """Runs a block that ends with the session."""
        with scope, self.scope.holding(scope):
            yield


def _put(kept: OrderedDict[bytes, None], digest: bytes) -> None:
    kept[digest] = None
    while len(kept) > MAX_ANNOUNCED:
        kept.popitem(last=False)


class _Scopes:
    """Cancel scopes that end together."""

    def __init__(self) -> None:
        self._held: set[trio.CancelScope] = set()
        self._cancelled = False

    def cancel(self) -> None:
        """Ends all that run and all that come."""
        self._cancelled = True
        for scope in self._held:
            scope.cancel()

    @contextmanager
    def holding(self, scope: trio.CancelScope) -> Iterator[None]:
        """Ties a scope to the others for a while."""
        if self._cancelled:
            scope.cancel()
        self._held.add(scope)
        try:
            yield
        finally:
            self._held.discard(scope)
