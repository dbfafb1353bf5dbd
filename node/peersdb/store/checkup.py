"""Whether a database is one that a start can use: what it reads is looked at before, at no cost that grows with it."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from peersdb.core.ballots import check_equivocation, decode_ballot
from peersdb.core.identity import peer_id_of
from peersdb.core.manifest import decode_manifest
from peersdb.core.reconcile import SIZE
from peersdb.errors import InvalidData
from peersdb.store.failures import unreadable
from peersdb.store.pages import PAGE
from peersdb.store.schema import SCHEMA, VERSION

#: A format's number that another version of the program may have; a damaged one is hardly ever so small.
PLAUSIBLE = 1000
MAGIC, SHAPE = b"SQLite format 3\0", b"\0\x40\x20\x20"
#: Where a header has its parts: the magic, the page's size, reserved bytes and fractions, the format's number.
_MAGIC, _PAGE_SIZE, _SHAPE, _NUMBER = slice(0, 16), slice(16, 18), slice(20, 24), slice(60, 64)
#: A read that fails is tried again so many times, after so long (seconds): some failures pass.
TRIES, WAIT = 3, 0.2


def wrong(path: Path) -> str:
    """What is wrong with what a start reads, in words; empty where nothing is, or where there is no database."""
    try:
        header = _header(path)
    except FileNotFoundError:
        return ""
    if not header:
        # A start that was cut before its first write; with a log there was one, which SQLite would delete.
        return "the file is empty, its write-ahead log is not" if _size(f"{path}-wal") else ""
    if header[_MAGIC] == MAGIC and _is_other(int.from_bytes(header[_NUMBER])):
        return ""
    for _ in range(TRIES - 1):
        with suppress(_Unread):
            return _met(path) or _shape(path)
        time.sleep(WAIT)
    try:
        return _met(path) or _shape(path)
    except _Unread as error:
        return str(error)


class _Unread(Exception):
    """The disk did not give a page."""


def _met(path: Path) -> str:
    """What is wrong with what SQLite reads; raises `_Unread` where another try may tell otherwise."""
    try:
        # Not read-only: the write-ahead log of a node that was killed is taken in.
        with closing(sqlite3.connect(path, isolation_level=None)) as conn:
            return next(_probe(conn), "")
    except UnicodeDecodeError as error:
        return f"a text that is none: {error}"
    except sqlite3.Error as error:
        if not unreadable(error):
            raise
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_IOERR"):
            raise _Unread(str(error)) from error
        return str(error)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _shape(path: Path) -> str:
    """What is wrong with the parts of the header that are always the same, and that SQLite believes."""
    header = _header(path)
    right = header[_PAGE_SIZE] == PAGE.to_bytes(2) and header[_SHAPE] == SHAPE
    if right or header[_NUMBER] != VERSION.to_bytes(4):
        return ""
    return "page 1: the header is not the one that was written"


def _size(path: str) -> int:
    return Path(path).stat().st_size if Path(path).exists() else 0


def _is_other(version: int) -> bool:
    """Whether this is the number of another version's format: its database is refused and never touched."""
    return version != VERSION and 0 < version <= PLAUSIBLE


def _probe(conn: sqlite3.Connection) -> Iterator[str]:
    (version,) = conn.execute("PRAGMA user_version").fetchone()
    if _is_other(version):
        return
    ours = same_schema(conn)
    if version != VERSION:  # not begun; or with our tables but no number of ours
        if ours:
            yield "page 1: the format's number"
        return
    if not ours:
        yield "the schema is not the one that was written"
    for table in ("heads", "members", "voters"):
        conn.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - a constant
    if sorted(number for (number,) in conn.execute("SELECT pinned FROM pin_counts")) != [0, 1]:
        yield "pin_counts: a row"
    yield from voters_wrong(conn)
    row = conn.execute("SELECT address, manifest, access, total, count, synced, epoch FROM log").fetchone()
    if row is None:
        return
    try:
        if decode_manifest(row[1], row[2]).address != row[0]:
            yield "log: the address is not the manifest's"
    except (InvalidData, TypeError):
        yield "log: the manifest"
    if (
        type(row[3]) is not bytes
        or len(row[3]) != SIZE
        or not all(type(value) is int and value >= 0 for value in row[4:])
    ):
        yield "log: the numbers"


def voters_wrong(conn: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with the voters and their chains, in words."""
    for key, peer, one, other in conn.execute("SELECT key, peer, one, other FROM voters"):
        try:
            right = peer_id_of(key) == peer and (one is other is None or _disqualifies(key, one, other))
        except (InvalidData, TypeError, ValueError):
            right = False
        if not right:
            yield f"voters: {peer}"
    if conn.execute(_WRONG_CHAIN).fetchone():
        yield "voter_chains: a row"


_WRONG_CHAIN = """
SELECT 1 FROM voter_chains LEFT JOIN voters ON id = voter WHERE id IS NULL OR typeof(epoch) <> 'integer' OR epoch < 0
    OR typeof(seq) <> 'integer' OR seq < 1 OR typeof(tip) <> 'blob' OR length(tip) <> 32 OR typeof(votes) <> 'integer'
"""


def _disqualifies(key: bytes, one: bytes, other: bytes) -> bool:
    return check_equivocation(one, other, decode_ballot(one).log).voter == key


def same_schema(conn: sqlite3.Connection) -> bool:
    """Whether a database has our tables and indexes, as they are made."""
    with closing(sqlite3.connect(":memory:")) as right:
        right.executescript(SCHEMA)
        return _schema(conn) == _schema(right)


def _schema(conn: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Tables and indexes; without comments and spaces, in which versions of the program may differ."""
    rows = conn.execute(
        "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema ORDER BY name"
    ).fetchall()
    return [(*row, "".join(re.sub("--.*", "", sql or "").split())) for *row, sql in rows]
