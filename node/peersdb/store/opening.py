"""Opens the database of a repo; one that a start cannot use is rebuilt first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import structlog

from peersdb.core.entry import decode_entry
from peersdb.core.identity import Identity
from peersdb.errors import InvalidData
from peersdb.store import checkup, repair
from peersdb.store.damage import Damage, load
from peersdb.store.database import Database
from peersdb.store.failures import mapped_errors
from peersdb.store.proof import Salvaged
from peersdb.store.schema import SCHEMA, VERSION

log = structlog.get_logger("store")


def open_database(path: Path, own: Identity) -> Database:
    """Opens the database at ``path``, making it where there is none.

    Args:
        path: the file, in the repo's directory.
        own: this node's identity.

    Raises:
        StorageError: it cannot be opened, or not be rebuilt.
    """
    with mapped_errors(f"opening {path}"):
        before = load(path.parent)
        repair.unfinished(path).unlink(missing_ok=True)
        repair.swap(path, before.at if before else repair.free_stamp(path))  # one that was cut
        reason = checkup.wrong(path)
    if reason:
        rebuild(path, own, reason)
    return Database(path, SCHEMA, VERSION)


def rebuild(path: Path, own: Identity, reason: str) -> None:
    """Makes the database anew of what can be read, while nobody uses it.

    Raises:
        StorageError: it cannot be written.
    """
    log.error("the database is damaged, rebuilding it", path=str(path), reason=reason)
    at = repair.free_stamp(path)
    with mapped_errors(f"rebuilding {path}"):
        with path.open("rb") as file:
            damage = make(path, file.fileno(), own, stopped=lambda: False, reason=reason, at=at)
        repair.swap(path, at)
    tell(damage)


def make(
    path: Path, file: int, own: Identity, *, stopped: Callable[[], bool], reason: str, at: str
) -> Damage:
    """Makes the file that `repair.swap` puts in place, and notes what was found.

    Args:
        path: the database.
        file: see `repair.rebuild`.
        own: this node's identity.
        stopped: see `repair.rebuild`.
        reason: how the damage was noticed.
        at: the time, as in the kept file's name.

    Raises:
        ShuttingDown: the node is stopping.
        StorageError, OSError, sqlite3.Error: it cannot be written; all is as it was.
    """
    kept = repair.damaged_name(path, at).name

    def note(found: Salvaged) -> None:
        Damage.of(found, reason, at, kept).save(path.parent)

    return Damage.of(repair.rebuild(path, file, own, stopped, note), reason, at, kept)


def tell(damage: Damage) -> None:
    """Says in the log what a rebuild found."""
    log.error(
        "the database was rebuilt; what is missing is asked of the peers",
        damaged=damage.damaged,
        entries=damage.entries,
        missing=damage.missing,
        own=[one.path or one.digest for one in damage.lost if one.own],
        kept=damage.kept,
    )


def orphaned_log(path: Path) -> str:
    """The address of the log whose entries are here though its manifest is not; else empty."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        if conn.execute("SELECT 1 FROM log").fetchone():
            return ""
        row = conn.execute("SELECT data FROM entries LIMIT 1").fetchone()
    with suppress(InvalidData):  # a damaged one; the next look at everything finds it
        return decode_entry(row[0]).log_id if row else ""
    return ""
