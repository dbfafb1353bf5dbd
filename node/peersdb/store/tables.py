"""The smaller tables: pins, validations, members.

Functions with a connection are for jobs that must be one transaction with something else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from peersdb.core.records import MemberRecord
from peersdb.store.database import Database

#: Members remembered at most; the longest unheard-of go first. A thousand peers with room to spare.
MAX_MEMBERS = 4096


def pin(conn: sqlite3.Connection, path: str) -> None:
    """Marks a contribution's file as kept here, whole."""
    conn.execute(
        "INSERT INTO pins (path, pinned) VALUES (?, 1) ON CONFLICT (path) DO UPDATE SET pinned = 1", (path,)
    )


def want(conn: sqlite3.Connection, paths: Iterable[str]) -> None:
    """Marks contributions' files as to be fetched, unless they are kept already."""
    conn.executemany("INSERT OR IGNORE INTO pins (path, pinned) VALUES (?, 0)", [(path,) for path in paths])


def record_validation(conn: sqlite3.Connection, record: Validation) -> None:
    """Keeps a validation record; a newer one replaces the older."""
    conn.execute(
        "INSERT OR REPLACE INTO validations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.path,
            record.valid,
            record.votes,
            record.validator,
            record.decided,
            record.verdict,
            record.plan,
            record.reason,
        ),
    )


@dataclass(frozen=True)
class Validation:
    """What this node holds of a file: the original's ``{path, isValid, voteCnt}``, by whom and when.

    Attributes:
        path: the file.
        valid: the verdict is ``valid``.
        votes: how many votes decided; 0: this node itself did.
        validator: the names of the validators that did.
        decided: nanoseconds since 1970.
        verdict: ``valid``, ``invalid``, ``error`` or ``abstain``.
        plan: hash of all that judges on this node, when it did; empty: votes decided.
        reason: why it is not valid.
    """

    path: str
    valid: bool
    votes: int
    validator: str
    decided: int
    verdict: str
    plan: bytes
    reason: str

    @property
    def is_own(self) -> bool:
        """Whether this node judged the file itself."""
        return self.votes == 0


class Pins:
    """The queue of wanted files, on disk, and the set of kept ones."""

    def __init__(self, database: Database) -> None:
        """Nothing is read yet."""
        self._database = database

    async def want_all(self) -> None:
        """Wants the files of all contributions in the log that were not wanted at an earlier start."""

        def job(conn: sqlite3.Connection) -> None:
            conn.execute(
                "INSERT OR IGNORE INTO pins (path, pinned) SELECT path, 0 FROM entries"
                " WHERE id > coalesce((SELECT wanted_to FROM log), 0)"
            )
            conn.execute("UPDATE log SET wanted_to = coalesce((SELECT max(id) FROM entries), 0)")

        await self._database.write(job, durable=False)

    async def due(self, now: int, limit: int) -> list[tuple[str, int]]:
        """Wanted paths whose time has come, with the attempts made, the longest waiting first."""
        return await self._database.read(
            lambda conn: conn.execute(
                "SELECT path, attempts FROM pins WHERE pinned = 0 AND next_try <= ? ORDER BY next_try LIMIT ?",
                (now, limit),
            ).fetchall()
        )

    async def next_due(self) -> int | None:
        """When the next wanted path comes up (Unix time), or None where nothing is wanted."""
        return await self._database.read(
            lambda conn: conn.execute("SELECT min(next_try) FROM pins WHERE pinned = 0").fetchone()[0]
        )

    async def kept(self, path: str) -> None:
        """The file is here, whole."""
        await self._database.write(lambda conn: pin(conn, path), durable=False)

    async def failed(self, path: str, next_try: int) -> None:
        """The file could not be had; it is tried again at ``next_try``."""
        await self._database.write(
            lambda conn: (
                conn.execute(
                    "UPDATE pins SET attempts = attempts + 1, next_try = ? WHERE path = ? AND pinned = 0",
                    (next_try, path),
                )
                and None
            ),
            durable=False,
        )

    async def retry_now(self) -> None:
        """Makes all wanted paths due: a new peer may have them."""
        await self._database.write(
            lambda conn: (
                conn.execute("UPDATE pins SET next_try = 0 WHERE pinned = 0 AND next_try > 0") and None
            ),
            durable=False,
        )

    async def recheck(self) -> None:
        """Wants all kept files again: some of their blocks may be lost. What is whole costs no fetch."""
        await self._database.write(
            lambda conn: conn.execute("UPDATE pins SET pinned = 0, next_try = 0 WHERE pinned = 1") and None,
            durable=False,
        )

    async def mend(self, key: bytes, lost: Iterable[str] = ()) -> None:
        """After a damage: drops what no entry names, and keeps the files of this writer's entries again.

        Args:
            key: the writer's public key.
            lost: paths of entries that are not here, but may come back from a peer that is away.
        """

        def job(conn: sqlite3.Connection) -> None:
            conn.execute("CREATE TEMP TABLE away (path TEXT)")
            conn.executemany("INSERT INTO away VALUES (?)", [(path,) for path in lost])
            conn.execute(
                "DELETE FROM pins WHERE path NOT IN (SELECT path FROM entries UNION ALL SELECT path FROM away)"
            )
            conn.execute("DROP TABLE away")
            conn.execute(
                "INSERT OR IGNORE INTO pins (path, pinned) SELECT path, 1 FROM entries WHERE key = ?", (key,)
            )
            conn.execute(
                "UPDATE pin_counts SET count = (SELECT count(*) FROM pins WHERE pins.pinned = pin_counts.pinned)"
            )

        await self._database.write(job, durable=False)

    async def kept_after(self, path: str, limit: int) -> list[str]:
        """Paths of kept files in their order, after one."""
        return await self._database.read(
            lambda conn: [
                found
                for (found,) in conn.execute(
                    "SELECT path FROM pins WHERE pinned = 1 AND path > ? ORDER BY path LIMIT ?", (path, limit)
                )
            ]
        )

    async def counts(self) -> tuple[int, int]:
        """How many are wanted, and how many kept."""

        def job(conn: sqlite3.Connection) -> tuple[int, int]:
            found = dict(conn.execute("SELECT pinned, count FROM pin_counts"))
            return found[0], found[1]

        return await self._database.read(job)


class Validations:
    """This node's validation records."""

    def __init__(self, database: Database) -> None:
        """Nothing is read yet."""
        self._database = database

    async def get(self, path: str) -> Validation | None:
        """The record of this path, if there is one."""

        def job(conn: sqlite3.Connection) -> Validation | None:
            row = conn.execute("SELECT * FROM validations WHERE path = ?", (path,)).fetchone()
            return Validation(row[0], bool(row[1]), *row[2:]) if row else None

        return await self._database.read(job)

    async def keep(self, record: Validation) -> None:
        """Keeps a record; it replaces an older one of the same path. One that a power cut takes is made again."""
        await self._database.write(lambda conn: record_validation(conn, record), durable=False)


class Members:
    """The peer store: the newest address record of each member this node has heard of."""

    def __init__(self, database: Database) -> None:
        """Nothing is read yet."""
        self._database = database

    async def load(self) -> list[bytes]:
        """All records, newest first."""
        return await self._database.read(
            lambda conn: [data for (data,) in conn.execute("SELECT data FROM members ORDER BY seq DESC")]
        )

    async def keep(self, records: Iterable[MemberRecord]) -> None:
        """Keeps records that are newer than what is here; bounded by `MAX_MEMBERS`."""
        rows = [(record.peer_id, record.seq, record.data) for record in records]

        def job(conn: sqlite3.Connection) -> None:
            conn.executemany(
                "INSERT INTO members VALUES (?, ?, ?) ON CONFLICT (peer)"
                " DO UPDATE SET seq = excluded.seq, data = excluded.data WHERE excluded.seq > seq",
                rows,
            )
            conn.execute(
                "DELETE FROM members WHERE peer NOT IN (SELECT peer FROM members ORDER BY seq DESC LIMIT ?)",
                (MAX_MEMBERS,),
            )

        await self._database.write(job, durable=False)
