"""Entries that arrive from peers: check, park, join.

The checks are made in a worker thread, in the order of their cost: known already, size and form, the log's id, the
writer, the clock, the contributor, the identity, the signature. Entries whose parents are
not here yet wait in a bounded table.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
import trio

from peersdb.core.cid import hash_of
from peersdb.core.entry import Entry, check_entry, check_identity, check_signature, decode_entry
from peersdb.core.identity import Identity, decode_identity
from peersdb.core.reconcile import Fingerprint
from peersdb.core.wire import Entries
from peersdb.errors import InvalidEntry
from peersdb.service.environment import Environment
from peersdb.store.log import LogStore

log = structlog.get_logger("arrivals")

#: Entries waiting for a parent, in all and from one peer: they are on no disk yet, and whoever sends more
#: than this without their parents is not catching us up.
MAX_PARKED = 4096
MAX_PARKED_PER_PEER = 1024
#: Parked entries are dropped after so many seconds; anti-entropy brings them again with their parents.
PARKED_FOR = 120.0
#: Verified identities remembered: one a writer.
MAX_IDENTITIES = 4096
#: Threads that check signatures: the check leaves the interpreter's lock.
CHECK_THREADS = 2


@dataclass
class Arrived:
    """What became of a message of entries.

    Attributes:
        accepted: new in the log, in causal order; with those that were parked before.
        fingerprint: of the log after the join, or None when nothing was joined.
        incomplete: some wait for parents: ask the peer for what is missing.
        faults: what was wrong with the others.
    """

    accepted: list[Entry] = field(default_factory=list)
    fingerprint: Fingerprint | None = None
    incomplete: bool = False
    faults: list[InvalidEntry] = field(default_factory=list)


@dataclass(frozen=True)
class _Parked:
    entry: Entry
    identity: Identity
    missing: frozenset[str]
    peer: str
    until: float


class Arrivals:
    """The way of an entry from the wire into the log.

    Attributes:
        lacking: hashes of identities that were lost from the disk and are taken from any message.
    """

    def __init__(
        self,
        store: LogStore,
        environment: Environment,
        extra: Callable[[sqlite3.Connection, Sequence[Entry]], None],
        on_accepted: Callable[[Sequence[Entry]], None],
    ) -> None:
        """Nothing has arrived.

        Args:
            extra: what else belongs into the transaction of a join.
            on_accepted: called with entries that are in the log now.
        """
        self._store, self._environment = store, environment
        self._extra, self._on_accepted = extra, on_accepted
        self._parked: OrderedDict[str, _Parked] = OrderedDict()
        self._identities: OrderedDict[str, Identity] = OrderedDict()
        self._checking = trio.CapacityLimiter(CHECK_THREADS)
        self.lacking: set[str] = set()

    @property
    def pending(self) -> int:
        """How many entries wait for their parents."""
        return len(self._parked)

    async def take(self, peer: str, message: Entries, log_id: str) -> Arrived:
        """Checks and joins the entries of a message.

        Raises:
            StorageError: they could not be stored; nothing of the message was.
        """
        arrived = Arrived()
        if self.lacking:
            await self._keep_lacking(message.identities)
        checked = await self._check(message, log_id, arrived.faults)
        while checked:
            joined = await self._store.join(
                [entry for entry, _ in checked], list({i.hash: i for _, i in checked}.values()), self._extra
            )
            self._park(peer, joined.plan.parked, dict(checked))
            arrived.fingerprint = joined.fingerprint
            arrived.incomplete = arrived.incomplete or bool(joined.plan.parked)
            arrived.accepted += joined.plan.accepted
            checked = self._unpark(joined.plan.accepted)
        if arrived.accepted:
            self._on_accepted(arrived.accepted)
        return arrived

    async def _keep_lacking(self, blocks: Sequence[bytes]) -> None:
        identities = [decode_identity(block) for block in blocks if hash_of(block) in self.lacking]
        if identities:
            await self._store.keep_identities(identities)
            self.lacking -= {identity.hash for identity in identities}

    async def _check(
        self, message: Entries, log_id: str, faults: list[InvalidEntry]
    ) -> list[tuple[Entry, Identity]]:
        """The good ones of those that are neither in the log nor parked, with their identities."""
        blocks = {
            hash_: block
            for hash_, block in ((hash_of(block), block) for block in message.entries)
            if hash_ not in self._parked
        }
        if not blocks:
            return []
        now = self._environment.now_ns()

        def run() -> list[tuple[Entry, Identity]]:
            known = self._store.known_now(blocks)
            entries = []
            for hash_, block in blocks.items():
                if hash_ not in known:
                    with _told(faults):
                        entry = decode_entry(block)
                        check_entry(entry, log_id, now)
                        entries.append(entry)
            offered = {hash_of(block): block for block in message.identities}
            lacking = {entry.identity for entry in entries} - self._identities.keys() - offered.keys()
            if lacking:
                offered |= self._store.identities_now(lacking)
            good = []
            for entry in entries:
                with _told(faults):
                    identity = self._identity(entry, offered)
                    check_identity(entry, identity)
                    check_signature(entry)
                    good.append((entry, identity))
            return good

        return await trio.to_thread.run_sync(run, limiter=self._checking)

    def _identity(self, entry: Entry, offered: dict[str, bytes]) -> Identity:
        known = self._identities.get(entry.identity)
        if known is not None:
            return known
        if entry.identity not in offered:
            raise InvalidEntry(
                "identity", f"the identity {entry.identity} of entry {entry.hash} was not sent"
            )
        identity = decode_identity(offered[entry.identity])
        self._identities[identity.hash] = identity
        while len(self._identities) > MAX_IDENTITIES:
            self._identities.popitem(last=False)
        return identity

    def _park(
        self, peer: str, parked: dict[str, tuple[Entry, frozenset[str]]], identities: dict[Entry, Identity]
    ) -> None:
        now = trio.current_time()
        while self._parked and next(iter(self._parked.values())).until < now:
            self._parked.popitem(last=False)
        mine = sum(item.peer == peer for item in self._parked.values()) if parked else 0
        for hash_, (entry, missing) in parked.items():
            if len(self._parked) >= MAX_PARKED or mine >= MAX_PARKED_PER_PEER:
                log.warning("too many entries wait for their parents, the rest is dropped", peer=peer)
                return
            self._parked[hash_] = _Parked(entry, identities[entry], missing, peer, now + PARKED_FOR)
            mine += 1

    def _unpark(self, accepted: Sequence[Entry]) -> list[tuple[Entry, Identity]]:
        """Parked entries that name one of these as a parent: their turn may have come."""
        if not self._parked:
            return []
        hashes = {entry.hash for entry in accepted}
        ready = [hash_ for hash_, item in self._parked.items() if not item.missing.isdisjoint(hashes)]
        return [(item.entry, item.identity) for item in (self._parked.pop(hash_) for hash_ in ready)]


@contextmanager
def _told(faults: list[InvalidEntry]) -> Iterator[None]:
    """Puts what is wrong with an entry to the others."""
    try:
        yield
    except InvalidEntry as error:
        faults.append(error)
