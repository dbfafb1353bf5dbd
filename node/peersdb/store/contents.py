"""What the log says, for those who ask: by its order, by arrival, by path."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from peersdb.store.database import Database

#: Rows a page of `query` holds: about 300 KiB of JSON, some milliseconds of work.
QUERY_PAGE = 1000

#: A place in the log's order: time, writer's key, digest.
Cursor = tuple[int, bytes, bytes]


class Row(NamedTuple):
    """One contribution as `query` answers it."""

    path: str
    contributor: str
    created: str
    name: str | None = None
    size: int | None = None


class Contents:
    """The contributions in the log of this node."""

    def __init__(self, database: Database) -> None:
        """Nothing is read yet."""
        self._database = database

    async def page(self, after: Cursor | None, limit: int = QUERY_PAGE) -> tuple[list[Row], Cursor | None]:
        """One page of contributions in the log's order, and where the next one starts (None: that was all)."""

        def job(conn: sqlite3.Connection) -> tuple[list[Row], Cursor | None]:
            time, key, digest = after or (-1, b"", b"")
            rows = conn.execute(
                "SELECT path, contributor, created, time, key, digest FROM entries"
                " WHERE (time, key, digest) > (?, ?, ?) ORDER BY time, key, digest LIMIT ?",
                (time, key, digest, limit),
            ).fetchall()
            cursor = (rows[-1][3], rows[-1][4], rows[-1][5]) if len(rows) == limit else None
            return [Row(*row[:3]) for row in rows], cursor

        return await self._database.read(job)

    async def arrivals(self, after: int, limit: int, path: str | None = None) -> tuple[list[Row], int]:
        """Contributions in the order they came to this node, and the number of the last one (or ``after``).

        Args:
            after: the number of the last one that is known already; 0 for all.
            limit: so many at most.
            path: only those of this file.
        """
        rows = await self.numbered(after, limit, path)
        return [row for _, row in rows], rows[-1][0] if rows else after

    async def numbered(self, after: int, limit: int, path: str | None = None) -> list[tuple[int, Row]]:
        """The same, each with its number."""

        def job(conn: sqlite3.Connection) -> list[tuple[int, Row]]:
            where, values = ("AND path = ?", (path,)) if path is not None else ("", ())
            rows = conn.execute(
                "SELECT id, path, contributor, created, name, size FROM entries"  # noqa: S608 - both are constants
                f" WHERE id > ? {where} ORDER BY id LIMIT ?",
                (after, *values, limit),
            )
            return [(row[0], Row._make(row[1:])) for row in rows]

        return await self._database.read(job)

    async def last_arrival(self) -> int:
        """The number of the contribution that came last; 0 without any."""

        def job(conn: sqlite3.Connection) -> int:
            return int(conn.execute("SELECT coalesce(max(id), 0) FROM entries").fetchone()[0])

        return await self._database.read(job)

    async def paths(self, start: str, limit: int) -> list[tuple[str, str | None]]:
        """Paths that begin with ``start``, in their order, each with a name of it; without it the newest ones."""

        def job(conn: sqlite3.Connection) -> list[tuple[str, str | None]]:
            if not start:
                newest = conn.execute("SELECT path, name FROM entries ORDER BY id DESC LIMIT ?", (limit,))
                found: dict[str, str | None] = {}
                for path, name in newest:
                    found.setdefault(path, name)
                return list(found.items())
            return conn.execute(
                "SELECT path, (SELECT name FROM entries WHERE path = found.path LIMIT 1) FROM (SELECT DISTINCT path"
                " FROM entries WHERE path >= ?1 AND path < ?1 || char(0x10ffff) ORDER BY path LIMIT ?2) AS found",
                (start, limit),
            ).fetchall()

        return await self._database.read(job)

    async def name_of(self, path: str) -> str:
        """The name under which this path was first contributed, or empty."""

        def job(conn: sqlite3.Connection) -> str:
            row = conn.execute(
                "SELECT name FROM entries WHERE path = ? AND name IS NOT NULL ORDER BY time, key, digest LIMIT 1",
                (path,),
            ).fetchone()
            return row[0] if row else ""

        return await self._database.read(job)

    async def contributor_of(self, path: str) -> str | None:
        """The peer id of somebody who contributed this path."""

        def job(conn: sqlite3.Connection) -> str | None:
            row = conn.execute("SELECT contributor FROM entries WHERE path = ? LIMIT 1", (path,)).fetchone()
            return row[0] if row else None

        return await self._database.read(job)
