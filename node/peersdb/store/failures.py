"""Errors of SQLite and of the operating system as the node's."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator

from peersdb.errors import CorruptData, DiskFull, StorageError


@contextlib.contextmanager
def mapped_errors(doing: str) -> Iterator[None]:
    """Maps errors of SQLite and of the operating system to the node's, with what was being done."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError, OSError) as error:
        raise mapped(error, doing) from error


def mapped(error: Exception, doing: str) -> Exception:
    """The node's error for one of SQLite or of the operating system; any other stays as it is."""
    if isinstance(error, sqlite3.Error):
        found: Exception = _mapped(error, doing)
    elif isinstance(error, UnicodeDecodeError):  # a text that SQLite gave and that is none
        found = CorruptData(f"{doing}: {_damaged(error)}", sure=False)
    elif not isinstance(error, OSError):
        return error
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        found = DiskFull(f"{doing}: no space left on the disk; free some and try again")
    else:
        found = StorageError(f"{doing}: {error.strerror or error}")
    found.__cause__ = error
    return found


def _damaged(error: Exception) -> str:
    # SQLite's words may have the damaged text itself in them.
    words = str(error).partition(" with text")[0][:120]
    return f"the database is damaged ({words}); the node rebuilds it and asks its peers"


def _mapped(error: sqlite3.Error, doing: str) -> StorageError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return DiskFull(f"{doing}: no space left on the disk; free some and try again")
    if unreadable(error):
        return CorruptData(f"{doing}: {_damaged(error)}", sure=not name.startswith("SQLITE_IOERR"))
    return StorageError(f"{doing}: {error}")


def unreadable(error: sqlite3.Error) -> bool:
    """Whether an error of SQLite's means that the file is not what was written, or that a part cannot be read."""
    name = getattr(error, "sqlite_errorname", "") or ""
    # No other SQLITE_IOERR: a disk that is full, or may not be written to, is no damage.
    return name.startswith(
        ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_READ", "SQLITE_IOERR_CORRUPTFS")
    ) or "decode to UTF-8" in str(error)
