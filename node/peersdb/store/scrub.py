"""Looks for damage that SQLite does not see: it has no checksums, but nearly all that we keep proves itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from peersdb.core.cid import hash_bytes
from peersdb.core.entry import decode_entry
from peersdb.core.identity import decode_identity
from peersdb.core.manifest import decode_manifest
from peersdb.core.reconcile import EMPTY, Fingerprint
from peersdb.core.records import decode_record
from peersdb.errors import InvalidData
from peersdb.store.append import row_of
from peersdb.store.checkup import same_schema, voters_wrong
from peersdb.store.scrubvotes import VoteScrub

#: Rows of one look: some milliseconds.
PAGE = 128


@dataclass
class Scrub:
    """A walk over all entries and all ballots, a page at a time, each in a snapshot of its own.

    Attributes:
        findings: what is damaged.
        wrong_heads: digests of heads that have a child.
        done: whether the end was reached.
    """

    findings: list[str] = field(default_factory=list)
    wrong_heads: set[bytes] = field(default_factory=set)
    done: bool = False
    _after: int = 0
    _sum: Fingerprint = EMPTY
    _heads: set[bytes] = field(default_factory=set)
    _votes: VoteScrub = field(default_factory=VoteScrub)

    def step(self, conn: sqlite3.Connection) -> None:
        """Looks at the next page of ballots, then of entries; after the last, at what is kept about all of them."""
        if not self._votes.done:
            self.findings += self._votes.step(conn)
        else:
            self._entries(conn)
        # Each reading connection in turn would keep what nobody asks for again.
        conn.execute("PRAGMA shrink_memory")

    def _entries(self, conn: sqlite3.Connection) -> None:
        if not self._after:
            self._heads = {digest for (digest,) in conn.execute("SELECT digest FROM heads")}
        rows = conn.execute(
            "SELECT id, digest, time, key, epoch, seq, path, contributor, created, name, size, identity, data"
            " FROM entries WHERE id > ? ORDER BY id LIMIT ?",
            (self._after, PAGE),
        ).fetchall()
        for number, *columns in rows:
            self._after = number
            self._row(number, tuple(columns))
        if not rows:
            # One that got its child meanwhile is none any more.
            self.wrong_heads.intersection_update(
                digest for (digest,) in conn.execute("SELECT digest FROM heads")
            )
            self.findings += _about(conn, self._sum)
            self.done = True

    def _row(self, number: int, columns: tuple[Any, ...]) -> None:
        try:
            entry = decode_entry(columns[-1])
            right = row_of(entry) == columns
        except (InvalidData, TypeError):
            right = False
        if not right:
            self.findings.append(f"entries: row {number}")
            return
        self._sum = self._sum.add(entry.hash)
        self.wrong_heads |= self._heads.intersection(hash_bytes(parent)[4:] for parent in entry.next)


def drop_heads(conn: sqlite3.Connection, digests: Iterable[bytes]) -> None:
    """Takes back heads that turned out to have a child."""
    conn.executemany("DELETE FROM heads WHERE digest = ?", [(digest,) for digest in digests])


#: Statements that give a row where something is wrong.
_WRONG = {
    "heads: one that is no entry": "SELECT 1 FROM heads WHERE digest NOT IN (SELECT digest FROM entries)",
    "heads: there are none": "SELECT 1 WHERE EXISTS (SELECT 1 FROM entries) AND NOT EXISTS (SELECT 1 FROM heads)",
    "writers: not as the entries are": "SELECT 1 FROM writers LEFT JOIN"
    " (SELECT key, epoch, max(seq) AS most FROM entries GROUP BY key, epoch) USING (key, epoch)"
    " WHERE last IS NOT most OR contiguous > last",
    "writers: one is missing": "SELECT 1 FROM (SELECT DISTINCT key, epoch FROM entries)"
    " WHERE (key, epoch) NOT IN (SELECT key, epoch FROM writers)",
    "pins: not as many as were counted": "SELECT 1 FROM pin_counts WHERE count <>"
    " (SELECT count(*) FROM pins WHERE pins.pinned = pin_counts.pinned)",
    "voter_chains: not as the ballots are": "SELECT 1 FROM voter_chains"
    " WHERE (voter, epoch, seq) NOT IN (SELECT voter, epoch, seq FROM ballots)",
    "votes: one that nobody cast": "SELECT 1 FROM votes"
    " WHERE (voter, epoch, seq) NOT IN (SELECT voter, epoch, seq FROM ballots)"
    " OR file NOT IN (SELECT id FROM voted)"
    " OR verdict NOT IN ('valid', 'invalid', 'error', 'abstain')",
    "pins: a count is missing": "SELECT 1 WHERE (SELECT count(*) FROM pin_counts) <> 2",
}


def _about(conn: sqlite3.Connection, entries: Fingerprint) -> Iterator[str]:
    """What is wrong with the small tables."""
    if not same_schema(conn):
        yield "the schema is not the one that was written"
    yield from voters_wrong(conn)
    for table in ("pins", "validations", "voted"):
        for _ in conn.execute(f"SELECT * FROM {table}"):  # noqa: S608 - a constant
            pass  # a text that is none is an error
    for text, statement in _WRONG.items():
        if conn.execute(statement).fetchone():
            yield text
    row = conn.execute("SELECT address, manifest, access, count, total FROM log").fetchone()
    if row is not None and row[3:] != (entries.count, entries.to_bytes()):
        yield "log: count and fingerprint are not those of the entries"
    if row is not None and not _proves(lambda: decode_manifest(row[1], row[2]).address == row[0]):
        yield "log: the manifest is not the address's"
    for table, decode in (("identities", decode_identity), ("members", decode_record)):
        for (data,) in conn.execute(f"SELECT data FROM {table}"):  # noqa: S608 - a constant
            if not _proves(partial(decode, data)):
                yield f"{table}: a row that is not signed"


def _proves(proof: Callable[[], Any]) -> bool:
    try:
        return bool(proof())
    except (InvalidData, TypeError):
        return False
