"""What a damaged database still holds, into a new one: each page is read by itself, each record has to prove itself."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path

from peersdb.core.identity import Identity
from peersdb.errors import ShuttingDown
from peersdb.store.pages import PAGE, Pages, Source, nothing
from peersdb.store.proof import WORK, Found, Salvaged
from peersdb.store.schema import SCHEMA, VERSION

#: Memory of the new database while it is made (KiB): its rows come in no order.
CACHE_KIB = 64 * 1024
#: Entries on a page at most: a signature, a key and a hash alone take as much.
ROWS = PAGE // 128
#: Times that a page is asked of the disk before it counts as lost.
TRIES = 4
#: Pages looked at between two looks at whether the node is stopping.
STRIDE = 256


def salvage(source: Path, file: int, target: Path, own: Identity, stopped: Callable[[], bool]) -> Salvaged:
    """Makes a new database of what can be read of a damaged one, which is not changed.

    Args:
        source: the damaged file; its write-ahead log beside it counts, as far as it is whole.
        file: a descriptor of it.
        target: the new file, not there yet.
        own: this node's identity.
        stopped: asked from time to time whether to give up.

    Raises:
        ShuttingDown: the node is stopping.
        OSError, sqlite3.Error: a file cannot be read or written.
    """
    with ExitStack() as stack:
        wal = Source(nothing, 0)
        with suppress(FileNotFoundError):
            log = stack.enter_context(source.with_name(source.name + "-wal").open("rb"))
            wal = _source(log.fileno())
        conn = stack.enter_context(closing(sqlite3.connect(target, isolation_level=None)))
        conn.executescript(
            f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE_KIB}; BEGIN; {SCHEMA}; {WORK}"
        )
        pages = Pages(_source(file), wal)
        found = Found(conn, own, pages.count * ROWS)
        for number in range(1, pages.count + 1):
            if number % STRIDE == 0 and stopped():
                raise ShuttingDown("the node is stopping")
            for record in pages.records(number):
                found.take(record)
        result = found.finish([*_broken(pages), *found.damaged])
        conn.execute(f"PRAGMA user_version={VERSION}")
        conn.execute("COMMIT")
    return result


def _broken(pages: Pages) -> list[str]:
    """The pages of each table and index that cannot be read."""
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.executescript(SCHEMA)  # the same statements made the same root pages
        roots = conn.execute("SELECT name, rootpage, sql FROM sqlite_schema WHERE rootpage > 0").fetchall()
    trees = [("schema", 1, True)]
    trees += [
        (name, root, bool(sql) and sql.startswith("CREATE TABLE") and "WITHOUT ROWID" not in sql)
        for name, root, sql in roots
    ]
    return [
        f"{name}: page {number}" for name, root, table in trees for number in pages.broken(root, table=table)
    ]


def _source(file: int) -> Source:
    return Source(partial(_read, file), os.fstat(file).st_size)


def _read(file: int, start: int, size: int) -> bytes:
    for _ in range(TRIES):
        with suppress(
            OSError
        ):  # once: it may be read now; always: a bad sector, and the other pages may be read
            return os.pread(file, size, start)
    return b""
