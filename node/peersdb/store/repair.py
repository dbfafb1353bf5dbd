"""A damaged database file: what is wrong with it, and a new one in its place.

The new file is made beside the old one (`salvage`), synced, and named ``<name>.rebuilt``: from then on it is the
database, whatever happens, and nothing may be written to the old one any more. `swap` then gives it the name and keeps
the old one as ``<name>.damaged-<time>`` with its write-ahead log; a swap that was cut is finished at the next start.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote

from peersdb.core.identity import Identity
from peersdb.store.blocks import sync_directory
from peersdb.store.failures import unreadable
from peersdb.store.proof import Salvaged
from peersdb.store.salvage import salvage

#: Damaged files kept, the newest: each is as large as the database.
KEEP = 3
#: What lies beside a database file of SQLite's.
_BESIDE = ("", "-wal", "-shm")


def rebuild(
    path: Path, file: int, own: Identity, stopped: Callable[[], bool], note: Callable[[Salvaged], None]
) -> Salvaged:
    """Makes ``<name>.rebuilt`` of what can be read; the database may be read meanwhile, but not written.

    Args:
        path: the database.
        file: a descriptor of it, which stays open for as long as a connection to it is.
        own: this node's identity.
        stopped: asked from time to time whether to give up.
        note: keeps what was found; told before the new file counts, so that no damage is ever without a note.

    Raises:
        ShuttingDown: the node is stopping.
        OSError, sqlite3.Error: it cannot be written; the old file is as it was.
    """
    begun, done = unfinished(path), _beside(path, ".rebuilt")
    begun.unlink(missing_ok=True)
    try:
        found = salvage(path, file, begun, own, stopped)
        with begun.open("rb") as made:
            os.fsync(made.fileno())
        note(found)
        begun.rename(done)  # the last step: it counts, or it did not happen
    except BaseException:
        begun.unlink(missing_ok=True)
        raise
    return found


def swap(path: Path, stamp: str) -> None:
    """Puts the rebuilt file in the place of the damaged one; without effect where there is none.

    No connection to either may be open. A write-ahead log that stayed behind would be taken for the new file's, so it
    goes first.

    Args:
        path: the database.
        stamp: names the damaged file that is kept; the same one where a swap that was cut is finished.
    """
    rebuilt = _beside(path, ".rebuilt")
    if not rebuilt.exists():
        return
    sync_directory(path.parent)  # no power cut may leave the old file's new name without the new file's
    kept = damaged_name(path, stamp)
    if path.exists() and kept.exists():  # another one of this name: never written over
        kept = damaged_name(path, free_stamp(path))
    for suffix in reversed(_BESIDE):
        if _beside(path, suffix).exists():
            _beside(path, suffix).rename(_beside(kept, suffix))
    rebuilt.rename(path)
    sync_directory(path.parent)
    older = sorted(found for found in path.parent.glob(f"{path.name}.damaged-*") if not _is_beside(found))
    if kept in older:  # the newest, also after the clock was set back
        older.remove(kept)
    for found in older[: 1 - KEEP]:
        for suffix in _BESIDE:
            _beside(found, suffix).unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """The new file while it is made; one that is left over is worth nothing."""
    return _beside(path, ".rebuilding")


def free_stamp(path: Path) -> str:
    """The time, for a damaged file's name that is not there yet."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return next(
        one for one in chain([now], (f"{now}-{n}" for n in count(2))) if not damaged_name(path, one).exists()
    )


def damaged_name(path: Path, stamp: str) -> Path:
    """The name under which a damaged file is kept."""
    return _beside(path, f".damaged-{stamp}")


def sound(path: Path, begun: Callable[[sqlite3.Connection], None] = lambda _conn: None) -> bool:
    """Whether SQLite finds nothing wrong with a file; reads all of it.

    It opens a connection of its own, which can neither write nor tidy up.

    Args:
        path: the database.
        begun: gets the connection, to interrupt it from elsewhere.

    Raises:
        sqlite3.Error: it could not be looked at, or was interrupted.
    """
    try:
        with closing(
            sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
        ) as conn:
            begun(conn)
            return bool(conn.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
    except sqlite3.Error as error:
        if not unreadable(error):
            raise
        return False


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is_beside(path: Path) -> bool:
    return path.name.endswith(_BESIDE[1:])
