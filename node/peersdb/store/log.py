"""The log's tables: append, join, heads, version vector, gaps.

Functions with a connection run inside a transaction of the caller (`Database.write`, `Database.read`);
`LogStore` gives the same as calls for the services. Entries are kept once their parents are kept, so
no kept entry has an unknown parent, and a head is an entry that no kept entry names.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from peersdb.core.entry import Entry
from peersdb.core.identity import Identity, Signer
from peersdb.core.log import JoinPlan, plan_join
from peersdb.core.manifest import Manifest
from peersdb.core.reconcile import EMPTY, Fingerprint, VersionVector
from peersdb.errors import NoStore
from peersdb.store.append import Appends, MakeContribution, digest_of, hash_of, heads, keep, keep_identity
from peersdb.store.blocks import insert_rows
from peersdb.store.contents import Contents
from peersdb.store.database import Database
from peersdb.store.outcome import Report
from peersdb.store.ranges import SqlRanges, everything

T = TypeVar("T")

#: Identities of writers kept in memory, a few hundred bytes each: with a writer's first entry each peer gets its own.
MAX_IDENTITIES = 1024


@dataclass(frozen=True)
class LogState:
    """Which log this node holds and how much of it."""

    address: str
    manifest: bytes
    access: bytes
    fingerprint: Fingerprint
    synced: bool


@dataclass(frozen=True)
class Joined:
    """What a join did: the entries kept, in causal order, those parked, and the fingerprint after it."""

    plan: JoinPlan
    fingerprint: Fingerprint


class LogStore(Contents):
    """The contributions log of this node."""

    def __init__(self, database: Database) -> None:
        """Nothing is read yet."""
        super().__init__(database)
        self._appends = Appends()
        self._unsendable: frozenset[bytes] = frozenset()
        self._recent_identities: dict[str, bytes] = {}

    async def state(self) -> LogState | None:
        """The log's address and fingerprint, or None while this node has no log."""
        return await self._database.read(read_state)

    async def create(self, manifest: Manifest, *, replace_empty: bool = False) -> None:
        """Makes this node hold the log of ``manifest``; without effect if it already holds one.

        Args:
            manifest: with its block and its access controller's.
            replace_empty: an empty log of another address may be given up for this one.
        """

        def job(conn: sqlite3.Connection) -> None:
            if replace_empty:
                conn.execute("DELETE FROM log WHERE count = 0 AND address <> ?", (manifest.address,))
            main, access = manifest.blocks
            insert_rows(conn, manifest.blocks)
            conn.execute(
                "INSERT OR IGNORE INTO log (one, address, manifest, access, total) VALUES (1, ?, ?, ?, ?)",
                (manifest.address, main.data, access.data, EMPTY.to_bytes()),
            )
            if conn.execute("SELECT 1 FROM entries").fetchone():  # the manifest alone was lost
                fingerprint = everything(conn)
                conn.execute(
                    "UPDATE log SET count = ?, total = ?", (fingerprint.count, fingerprint.to_bytes())
                )

        await self._database.write(job, durable=True)

    async def mark_synced(self) -> None:
        """Remembers for ever that this node was in sync with another member once."""
        await self._database.write(
            lambda conn: conn.execute("UPDATE log SET synced = 1 WHERE synced = 0") and None, durable=False
        )

    async def heads(self) -> list[str]:
        """The CIDs of the entries without a child."""
        return await self._database.read(lambda conn: [hash_of(digest) for digest, _ in heads(conn)])

    async def summary(self) -> tuple[LogState | None, int]:
        """The log's `state`, and how many entries have no child."""

        def job(conn: sqlite3.Connection) -> tuple[LogState | None, int]:
            (count,) = conn.execute("SELECT count(*) FROM heads").fetchone()
            return read_state(conn), int(count)

        return await self._database.read(job)

    async def vector(self) -> VersionVector:
        """Per writer and epoch, the seq up to which nothing is missing here."""
        return await self._database.read(
            lambda conn: {
                (key.hex(), epoch): seq
                for key, epoch, seq in conn.execute("SELECT key, epoch, contiguous FROM writers")
            }
        )

    async def gap_ids(self, gaps: Sequence[tuple[str, int, int, int]]) -> array[int]:
        """Row ids of the entries in the gaps (key, epoch, first, last), oldest first: 8 bytes each."""

        def job(conn: sqlite3.Connection) -> array[int]:
            conn.execute("PRAGMA query_only=OFF")
            try:
                conn.execute("CREATE TEMP TABLE gap (key BLOB, epoch INTEGER, first INTEGER, last INTEGER)")
                conn.executemany(
                    "INSERT INTO gap VALUES (?, ?, ?, ?)", ((bytes.fromhex(k), *rest) for k, *rest in gaps)
                )
                rows = conn.execute(
                    "SELECT e.id FROM gap g CROSS JOIN entries e ON e.key = g.key AND e.epoch = g.epoch"  # noqa: S608
                    f" AND e.seq BETWEEN g.first AND g.last {self._sendable('e.identity')}"
                    " ORDER BY e.time, e.key, e.digest"
                )
                found = array("q", (row for (row,) in rows))
                conn.execute("DROP TABLE gap")
            finally:
                conn.execute("PRAGMA query_only=ON")
            return found

        return await self._database.read(job)

    async def ids_of(self, digests: Sequence[bytes]) -> array[int]:
        """Row ids of the entries with these digests that are here, oldest first."""

        def job(conn: sqlite3.Connection) -> array[int]:
            found = []
            for digest in digests:
                row = conn.execute(
                    f"SELECT time, key, digest, id FROM entries WHERE digest = ? {self._sendable('identity')}",  # noqa: S608
                    (digest,),
                ).fetchone()
                if row is not None:
                    found.append(row)
            return array("q", (row[3] for row in sorted(found)))

        return await self._database.read(job)

    async def ranges(self, job: Callable[[SqlRanges], T]) -> T:
        """Runs ``job`` over one snapshot of the entries as ranges."""
        return await self._database.read(lambda conn: job(SqlRanges(conn)))

    async def entries(self, ids: Sequence[int]) -> tuple[list[bytes], list[bytes]]:
        """The blocks of the entries with these row ids, in that order, and their identities' blocks, once each."""

        def job(conn: sqlite3.Connection) -> tuple[list[bytes], list[bytes]]:
            data, identities = [], {}
            for row in ids:
                block, identity = conn.execute(
                    "SELECT data, identity FROM entries WHERE id = ?", (row,)
                ).fetchone()
                data.append(block)
                if identity not in identities:
                    identities[identity] = _identity(conn, identity)
            return data, [block for block in identities.values() if block is not None]

        return await self._database.read(job)

    async def known_identity(self, hash_: str) -> bytes | None:
        """The identity block of this CID, if it is here."""
        block = self._recent_identities.get(hash_)
        if block is None:
            block = await self._database.read(lambda conn: _identity(conn, digest_of(hash_)))
            if block is not None:
                if len(self._recent_identities) >= MAX_IDENTITIES:
                    self._recent_identities.clear()
                self._recent_identities[hash_] = block
        return block

    async def lacking_identities(self) -> dict[str, bytes]:
        """Identities that are not here though entries of theirs are: by hash, the digest of one entry each.

        Those entries cannot be checked by others, so they are not sent until the identity is back.
        """

        def job(conn: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
            return conn.execute(
                "SELECT identity, min(digest) FROM entries WHERE identity NOT IN (SELECT digest FROM identities)"
                " GROUP BY identity"
            ).fetchall()

        found = await self._database.read(job)
        self._unsendable = frozenset(identity for identity, _ in found)
        return {hash_of(identity): digest for identity, digest in found}

    def _sendable(self, column: str) -> str:
        """A condition on entries whose identities are here; empty in the usual case that all are."""
        lacking = ", ".join(f"x'{digest.hex()}'" for digest in self._unsendable)
        return f"AND {column} NOT IN ({lacking})" if lacking else ""

    async def keep_identities(self, identities: Sequence[Identity]) -> None:
        """Keeps checked identities."""

        def job(conn: sqlite3.Connection) -> None:
            for identity in identities:
                keep_identity(conn, identity)

        await self._database.write(job, durable=False)

    async def known(self, hashes: Iterable[str]) -> set[str]:
        """Those of the hashes whose entries are here."""
        return await self._database.read(lambda conn: _among(conn, hashes))

    def known_now(self, hashes: Iterable[str]) -> set[str]:
        """As `known`, for code that is in a worker thread already."""
        with self._database.snapshot() as conn:
            return _among(conn, hashes)

    def identities_now(self, hashes: Iterable[str]) -> dict[str, bytes]:
        """The identity blocks of these CIDs that are here; for code that is in a worker thread already."""
        with self._database.snapshot() as conn:
            found = {hash_: _identity(conn, digest_of(hash_)) for hash_ in hashes}
        return {hash_: block for hash_, block in found.items() if block is not None}

    async def known_digests(self, digests: Sequence[bytes]) -> set[bytes]:
        """The same by the digests in the hashes."""
        return await self._database.read(lambda conn: {digest for digest in digests if _known(conn, digest)})

    async def join(
        self,
        entries: Sequence[Entry],
        identities: Sequence[Identity],
        extra: Callable[[sqlite3.Connection, Sequence[Entry]], None],
    ) -> Joined:
        """Joins checked entries to the log, in one transaction.

        Args:
            entries: each one checked, signature included.
            identities: their identities' blocks, checked.
            extra: what else belongs into the transaction, given the entries that were kept.
        """

        def job(conn: sqlite3.Connection) -> Joined:
            state = read_state(conn)
            if state is None:
                raise NoStore("this node has no contributions store yet")
            plan = plan_join(entries, lambda hash_: _known(conn, digest_of(hash_)))
            for identity in identities:
                keep_identity(conn, identity)
            fingerprint = keep(conn, plan.accepted, state.fingerprint)
            extra(conn, plan.accepted)
            return Joined(plan, fingerprint)

        return await self._database.write(job, durable=False)

    async def append(
        self,
        signer: Signer,
        contribution: MakeContribution,
        extra: Callable[[sqlite3.Connection, Entry], None],
    ) -> tuple[Entry, Fingerprint]:
        """Signs and keeps one entry of this node's own; on the disk when this returns.

        Args:
            signer: this node's identity.
            contribution: makes the payload from the epoch, the next seq and the writer's previous entry.
            extra: what else belongs into the transaction.

        Raises:
            NoStore: there is no log to append to yet.
        """
        return await self._database.write(self._appends.job(signer, contribution, extra), durable=True)

    def append_soon(
        self,
        signer: Signer,
        contribution: MakeContribution,
        extra: Callable[[sqlite3.Connection, Entry], None],
        reports: Sequence[Report],
    ) -> bool:
        """Queues an append and returns at once; from any thread. See `append` and `Database.submit`.

        Returns:
            False where too many jobs wait already, and this one was not added to them.
        """
        if self._database.crowded:
            return False
        self._database.submit(self._appends.job(signer, contribution, extra), durable=True, reports=reports)
        return True

    async def own_last(self, key: str) -> tuple[int, int]:
        """Epoch and seq of a writer's last entry here; (0, 0) without any."""

        def job(conn: sqlite3.Connection) -> tuple[int, int]:
            row = conn.execute(
                "SELECT epoch, seq FROM entries WHERE key = ? ORDER BY epoch DESC, seq DESC LIMIT 1",
                (bytes.fromhex(key),),
            ).fetchone()
            return (row[0], row[1]) if row else (0, 0)

        return await self._database.read(job)

    async def begin_epoch(self, epoch: int) -> None:
        """Lets this node's next entry begin this epoch."""
        await self._database.write(lambda conn: new_epoch(conn, epoch), durable=True)


def read_state(conn: sqlite3.Connection) -> LogState | None:
    """The log's row, if there is one."""
    row = conn.execute("SELECT address, manifest, access, count, total, synced FROM log").fetchone()
    if row is None:
        return None
    address, manifest, access, count, total, synced = row
    return LogState(address, manifest, access, Fingerprint(count, int.from_bytes(total, "big")), bool(synced))


def _among(conn: sqlite3.Connection, hashes: Iterable[str]) -> set[str]:
    return {hash_ for hash_ in hashes if _known(conn, digest_of(hash_))}


def _known(conn: sqlite3.Connection, digest: bytes) -> bool:
    return conn.execute("SELECT 1 FROM entries WHERE digest = ?", (digest,)).fetchone() is not None


def has_fork(conn: sqlite3.Connection, key: str) -> bool:
    """Whether the newest epoch of a writer's chain has a number twice."""
    row = conn.execute(
        "SELECT count(*), count(DISTINCT seq) FROM entries WHERE key = ?1 AND epoch ="
        " (SELECT max(epoch) FROM entries WHERE key = ?1)",
        (bytes.fromhex(key),),
    ).fetchone()
    return bool(row[0] != row[1])


def new_epoch(conn: sqlite3.Connection, epoch: int) -> None:
    """Lets this node's next entry begin an epoch, unless it is in a later one."""
    conn.execute("UPDATE log SET epoch = max(epoch, ?)", (epoch,))


def _identity(conn: sqlite3.Connection, digest: bytes) -> bytes | None:
    row = conn.execute("SELECT data FROM identities WHERE digest = ?", (digest,)).fetchone()
    return row[0] if row else None
