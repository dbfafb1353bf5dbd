"""Entries into the log's tables: what joins and appends have in common, and this node's own appends.

All functions run inside a transaction of the writer thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from peersdb.core.cid import CID, hash_bytes
from peersdb.core.clock import Clock
from peersdb.core.contribution import Contribution
from peersdb.core.entry import MAX_NEXT, Entry, create_addition
from peersdb.core.identity import Identity, Signer
from peersdb.core.log import next_clock
from peersdb.core.reconcile import Fingerprint
from peersdb.errors import NoStore
from peersdb.store.ranges import HASH_PREFIX

#: Makes the payload of a new entry from the epoch, the next seq and the writer's previous entry.
MakeContribution = Callable[[int, int, str | None], Contribution]

_INSERT = (
    "INSERT INTO entries (digest, time, key, epoch, seq, path, contributor, created, name, size, identity, data)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class _Tip:
    """Where a writer's next entry goes on.

    All of it follows from the set of entries and the row of the log, so a tip holds for as long as these are what
    they were, whatever was rolled back or joined meanwhile.

    Attributes:
        log: address, count and sum of the fingerprint, epoch: the row that it belongs to.
        key: the writer.
        heads: digest and time, newest first.
        epoch: of the next entry.
        seq: of the next entry.
        previous: the writer's entry before it.
        plain: the one head is the writer's last entry, and nothing is missing of its chain.
    """

    log: tuple[str, int, bytes, int]
    key: bytes
    heads: Sequence[tuple[bytes, int]]
    epoch: int
    seq: int
    previous: str | None
    plain: bool


class Appends:
    """This node's own entries; on the writer thread alone."""

    def __init__(self) -> None:
        """Nothing is known of the log yet."""
        self._tip: _Tip | None = None

    def job(
        self,
        signer: Signer,
        contribution: MakeContribution,
        extra: Callable[[sqlite3.Connection, Entry], None],
    ) -> Callable[[sqlite3.Connection], tuple[Entry, Fingerprint]]:
        """The job that signs and keeps one entry; see `LogStore.append`."""

        def job(conn: sqlite3.Connection) -> tuple[Entry, Fingerprint]:
            tip = self._find(conn, signer.public_key)
            parents = tip.heads[:MAX_NEXT]
            entry = create_addition(
                signer,
                tip.log[0],
                contribution(tip.epoch, tip.seq, tip.previous),
                next_clock(signer.key_hex, (Clock(signer.key_hex, time) for _, time in parents)),
                tuple(hash_of(digest) for digest, _ in parents),
            )
            before = Fingerprint(tip.log[1], int.from_bytes(tip.log[2], "big"))
            if tip.plain:
                fingerprint = _keep_next(conn, entry, before, parents[0][0])
            else:
                keep_identity(conn, signer.identity)
                fingerprint = keep(conn, [entry], before)
            self._tip = _next_tip(conn, tip, entry, fingerprint)
            extra(conn, entry)
            return entry, fingerprint

        return job

    def _find(self, conn: sqlite3.Connection, key: bytes) -> _Tip:
        log = conn.execute("SELECT address, count, total, epoch FROM log").fetchone()
        if log is None:
            raise NoStore(
                "this node has no contributions store yet: connect it to a member, or start it with -root"
            )
        tip = self._tip
        if tip is not None and tip.log == log and tip.key == key:
            return tip
        return _Tip(log, key, heads(conn), *_own_next(conn, key, log[3]), plain=False)


def _next_tip(conn: sqlite3.Connection, tip: _Tip, entry: Entry, fingerprint: Fingerprint) -> _Tip | None:
    """The tip above an entry, or None where the next append had better look."""
    plain = tip.plain
    if not plain and len(tip.heads) <= MAX_NEXT:
        (plain,) = conn.execute(
            "SELECT contiguous = last AND last = ? FROM writers WHERE key = ? AND epoch = ?",
            (tip.seq, tip.key, tip.epoch),
        ).fetchone()
    if not plain:
        return None
    log = (tip.log[0], fingerprint.count, fingerprint.to_bytes(), tip.log[3])
    head = (digest_of(entry.hash), entry.clock.time)
    return _Tip(log, tip.key, (head,), tip.epoch, tip.seq + 1, entry.hash, plain=True)


def _keep_next(
    conn: sqlite3.Connection, entry: Entry, fingerprint: Fingerprint, parent: bytes
) -> Fingerprint:
    """What `keep` does, for an entry of the same writer above the only head."""
    row = row_of(entry)
    digest, time, key, epoch, seq, *_ = row
    fingerprint = fingerprint.add(entry.hash)
    conn.execute(_INSERT, row)
    conn.execute("UPDATE heads SET digest = ?, time = ? WHERE digest = ?", (digest, time, parent))
    conn.execute(
        "UPDATE writers SET contiguous = ?, last = ? WHERE key = ? AND epoch = ?", (seq, seq, key, epoch)
    )
    conn.execute("UPDATE log SET count = ?, total = ?", (fingerprint.count, fingerprint.to_bytes()))
    return fingerprint


def digest_of(hash_: str) -> bytes:
    """The sha2-256 digest in an entry's CID."""
    return hash_bytes(hash_)[4:]


def hash_of(digest: bytes) -> str:
    """The CID of the entry (or identity) with this digest."""
    return str(CID.from_bytes(HASH_PREFIX + digest))


def row_of(entry: Entry) -> tuple[Any, ...]:
    """An entry's columns, but for its number: all that its block says."""
    c = entry.contribution
    digest, key, identity = digest_of(entry.hash), bytes.fromhex(entry.key), digest_of(entry.identity)
    place = (digest, entry.clock.time, key, c.epoch, c.seq)
    return (*place, c.path, c.contributor, c.creation_ts, c.name, c.size, identity, entry.data)


def keep(conn: sqlite3.Connection, entries: Sequence[Entry], fingerprint: Fingerprint) -> Fingerprint:
    """Inserts entries whose parents are all here; heads, version vector and fingerprint follow."""
    if not entries:
        return fingerprint
    rows: list[tuple[Any, ...]] = []
    parents: set[bytes] = set()
    writers: dict[tuple[bytes, int], list[int]] = {}
    for entry in entries:
        rows.append(row_of(entry))
        parents.update(digest_of(parent) for parent in entry.next)
        writers.setdefault((rows[-1][2], rows[-1][3]), []).append(rows[-1][4])
        fingerprint = fingerprint.add(entry.hash)
    conn.executemany(_INSERT, rows)
    conn.executemany("DELETE FROM heads WHERE digest = ?", [(parent,) for parent in parents])
    conn.executemany("INSERT INTO heads VALUES (?, ?)", [row[:2] for row in rows if row[0] not in parents])
    for (key, epoch), seqs in writers.items():
        _advance(conn, key, epoch, seqs)
    conn.execute("UPDATE log SET count = ?, total = ?", (fingerprint.count, fingerprint.to_bytes()))
    return fingerprint


def _advance(conn: sqlite3.Connection, key: bytes, epoch: int, seqs: Sequence[int]) -> None:
    """Moves a writer's contiguous seq over what is now here, after these were inserted."""
    row = conn.execute(
        "SELECT contiguous, last FROM writers WHERE key = ? AND epoch = ?", (key, epoch)
    ).fetchone()
    contiguous, known_last = row or (0, 0)
    last = max(seqs)
    if contiguous == known_last and sorted(seqs) == list(range(contiguous + 1, last + 1)):
        contiguous = last  # the usual case: nothing was missing before and nothing is now
    else:
        for (seq,) in _seqs(conn, key, epoch, contiguous):
            if seq > contiguous + 1:
                break
            contiguous = max(contiguous, seq)
    conn.execute(
        "INSERT INTO writers VALUES (?, ?, ?, ?) ON CONFLICT (key, epoch)"
        " DO UPDATE SET contiguous = excluded.contiguous, last = excluded.last",
        (key, epoch, contiguous, max(last, known_last)),
    )


def _seqs(conn: sqlite3.Connection, key: bytes, epoch: int, after: int) -> Iterator[tuple[int]]:
    return conn.execute(
        "SELECT seq FROM entries WHERE key = ? AND epoch = ? AND seq > ? ORDER BY seq", (key, epoch, after)
    )


def heads(conn: sqlite3.Connection) -> list[tuple[bytes, int]]:
    """Digest and time of the heads, newest first."""
    return conn.execute("SELECT digest, time FROM heads ORDER BY time DESC, digest").fetchall()


def _own_next(conn: sqlite3.Connection, key: bytes, epoch: int) -> tuple[int, int, str | None]:
    """Epoch and seq of a writer's next entry, and its previous one."""
    row = conn.execute(
        "SELECT epoch, seq, digest FROM entries WHERE key = ? ORDER BY epoch DESC, seq DESC LIMIT 1", (key,)
    ).fetchone()
    if row is None:
        return epoch, 1, None
    last_epoch, seq, digest = row
    return (epoch, 1, hash_of(digest)) if epoch > last_epoch else (last_epoch, seq + 1, hash_of(digest))


def keep_identity(conn: sqlite3.Connection, identity: Identity) -> None:
    """Keeps a writer's identity block."""
    conn.execute(
        "INSERT OR IGNORE INTO identities (digest, data) VALUES (?, ?)",
        (digest_of(identity.hash), identity.bytes),
    )
