"""Records that prove themselves, into the tables of a new database; what follows from them is made anew.

A record is told by its form. An entry, a block and an identity hash to their names, a member's record is signed, a
manifest hashes to the log's address. Heads, version vector, fingerprint and columns follow from the entries; the rows
of the old indexes name those whose own pages are lost.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import deque
from dataclasses import dataclass

from peersdb.core.cid import hash_bytes, parse_path
from peersdb.core.entry import check_signature, decode_entry
from peersdb.core.identity import Identity, decode_identity
from peersdb.core.manifest import Manifest, decode_manifest
from peersdb.core.reconcile import EMPTY, Fingerprint
from peersdb.core.records import decode_record
from peersdb.errors import InvalidData
from peersdb.store.append import row_of
from peersdb.store.pages import Record, Value
from peersdb.store.proofvotes import WORK as WORK_VOTES
from peersdb.store.proofvotes import FoundVotes

#: Lost entries that are named; of more, the number is enough.
MAX_NAMED = 1000
#: Pages and rows that are named as damaged.
MAX_DAMAGED = 20
#: Epochs that this node may have begun besides those that entries tell of: a number further ahead is damaged.
MAX_EPOCHS_AHEAD = 1000
#: Rows of work that are written together.
BATCH = 1000
#: The longest block that is a row, and the longest identity (bytes).
MAX_ROW = 16 * 1024
MAX_IDENTITY = 1024

WORK = f"""
{WORK_VOTES}
CREATE TEMP TABLE parent (digest BLOB PRIMARY KEY, own INTEGER NOT NULL) WITHOUT ROWID;
CREATE TEMP TABLE named (id INTEGER PRIMARY KEY, digest BLOB, own INTEGER, path TEXT);
CREATE TEMP TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_HEADS = (
    "INSERT INTO heads SELECT digest, time FROM entries WHERE digest NOT IN (SELECT digest FROM temp.parent)"
)
_WRITERS = """
INSERT INTO writers SELECT key, epoch, max(CASE WHEN seq = place THEN seq ELSE 0 END), max(seq) FROM
    (SELECT key, epoch, seq, dense_rank() OVER (PARTITION BY key, epoch ORDER BY seq) AS place FROM entries)
GROUP BY key, epoch
"""
# What one index says of a row counts if another one, or a child of the entry, says it too: it may be damaged itself.
_LOST = """
SELECT digest, path, own FROM temp.named WHERE id NOT IN (SELECT id FROM entries)
    AND digest NOT IN (SELECT digest FROM entries)
    AND (digest IN (SELECT digest FROM temp.seen) OR digest IN (SELECT digest FROM temp.parent))
UNION ALL SELECT digest, NULL, own FROM temp.parent WHERE digest NOT IN (SELECT digest FROM entries)
    AND digest NOT IN (SELECT digest FROM temp.named WHERE digest IS NOT NULL)
"""


@dataclass(frozen=True)
class Lost:
    """An entry that lay on a damaged page, as far as it is known.

    Attributes:
        digest: of its hash.
        path: what it shared, as far as it is known.
        own: whether it was this node's.
    """

    digest: bytes
    path: str | None
    own: bool


@dataclass(frozen=True)
class Salvaged:
    """What was found.

    Attributes:
        entries: how many are in the new database.
        lost: entries that are known to be missing, `MAX_NAMED` at most.
        missing: how many are missing at least.
        damaged: the tables with their pages and rows that could not be read, `MAX_DAMAGED` at most.
    """

    entries: int
    lost: tuple[Lost, ...]
    missing: int
    damaged: tuple[str, ...]


class Found:
    """Takes records one by one, then makes the rest of the tables.

    Attributes:
        damaged: rows that were found and did not prove themselves.
    """

    def __init__(self, conn: sqlite3.Connection, own: Identity, most: int) -> None:
        """Nothing is found yet.

        Args:
            conn: to the new database, with its tables and those of `WORK`.
            own: this node's identity.
            most: so many entries the damaged file can have held, by its size; a greater number is damaged.
        """
        self._conn, self._own, self._most = conn, own, most
        self._own_key = bytes.fromhex(own.public_key)
        self._fingerprint: Fingerprint = EMPTY
        self._manifest: Manifest | None = None
        self._log = (0, 0, 0)  # count, synced, epoch
        self._log_id = ""
        self._own_seqs: dict[int, int] = {}  # by epoch, what this node is said to have reached
        self._kept_last = (0, 0)
        self._parents: list[tuple[bytes, bool]] = []
        self._seen: list[tuple[bytes]] = []
        self._names: list[tuple[int, bytes | None, bool, str | None]] = []
        self.damaged: deque[str] = deque(maxlen=MAX_DAMAGED)
        self._votes = FoundVotes(conn, self.damaged.append)
        self._keep_identity(own)

    def take(self, record: Record) -> None:
        """Keeps a record, if it is one of ours and proves itself."""
        match record.values:
            case (None, bytes(digest), _, _, _, _, _, _, _, _, _, _, bytes(data)):
                self._entry(record.rowid, digest, data)
            case (bytes(digest), bytes(data)) if len(digest) == 32 and len(data) <= MAX_ROW:
                self._block(digest, data)
            case (None, str(address), bytes(manifest), bytes(access), int(count), bytes(), synced, epoch, _):
                self._log_row(address, manifest, access, (count, synced, epoch))
            case (str(path), 0 | 1 as pinned, int(), int()) if _is_path(path):
                self._pin(path, int(pinned))
            case (str(path), 0 | 1, int(), str(), int(), str(), bytes(), str()) if _is_path(path):
                self._validation(record.values)
            case (None, _, _, _, _):
                self._votes.take(record)
            case (str(peer), int(seq), bytes(data)):
                self._member(peer, seq, data)
            case (int(), bytes(key), bytes(digest), int(row)) if len(key) == len(digest) == 32:
                self._name(row, digest=digest, own=key == self._own_key)
            case (str(path), int(row)) if path.startswith("/ipfs/"):
                self._name(row, path=path)
            case (bytes(digest), int()) if len(digest) == 32:
                self._see(digest)
            case (bytes(key), int(epoch), int(seq), int()) if key == self._own_key and seq <= self._most:
                # A row of an index, or of `writers`, where it says as much at least.
                self._own_seqs[epoch] = max(self._own_seqs.get(epoch, 0), seq)

    def _entry(self, row: int | None, digest: bytes, data: bytes) -> None:
        try:
            entry = decode_entry(data)
            values = row_of(entry)
            if values[0] != digest:  # one of the two is damaged
                check_signature(entry)
        except InvalidData:
            self.damaged.append(f"entries: row {row}")
            return
        if self._log_id and entry.log_id != self._log_id:
            return
        if row is not None and not 0 < row <= self._most:
            row = None  # it is damaged, and all later ones would go on from it
        insert = self._conn.execute(INSERT_ENTRY, (row, *values))
        if not insert.rowcount:  # here already, or another has its number
            insert = self._conn.execute(INSERT_ENTRY, (None, *values))
        if not insert.rowcount:
            return
        self._log_id = entry.log_id
        self._fingerprint = self._fingerprint.add(entry.hash)
        own, (_, _, _, epoch, seq) = entry.key == self._own.public_key, values[:5]
        if own:
            self._kept_last = max(self._kept_last, (int(epoch or 0), int(seq or 0)))
        self._parents += [(hash_bytes(parent)[4:], False) for parent in entry.next]
        previous = entry.payload["value"].get("prev")
        if previous:
            self._parents.append((hash_bytes(previous)[4:], own))
        if len(self._parents) > BATCH:
            self._write()

    def _block(self, digest: bytes, data: bytes) -> None:
        if hashlib.sha256(data).digest() != digest:
            self.damaged.append(f"blocks: {digest.hex()[:16]}…")
            return
        self._conn.execute("INSERT OR IGNORE INTO blocks VALUES (?, ?)", (digest, data))
        if len(data) <= MAX_IDENTITY:
            try:
                self._keep_identity(decode_identity(data))
            except InvalidData:
                return

    def _keep_identity(self, identity: Identity) -> None:
        self._conn.execute(
            "INSERT OR IGNORE INTO identities VALUES (?, ?)", (hash_bytes(identity.hash)[4:], identity.bytes)
        )

    def _log_row(self, address: str, manifest: bytes, access: bytes, rest: tuple[int, Value, Value]) -> None:
        try:
            found = decode_manifest(manifest, access)
        except InvalidData:
            return
        count, synced, epoch = rest
        if found.address != address:
            return
        self._manifest = found
        if 0 <= count <= self._most and isinstance(synced, int) and isinstance(epoch, int):
            self._log = (max(self._log[0], count), max(self._log[1], synced), max(self._log[2], epoch))

    def _pin(self, path: str, pinned: int) -> None:
        # What is wanted is tried at once, as after a start.
        self._conn.execute(
            "INSERT INTO pins (path, pinned) VALUES (?, ?)"
            " ON CONFLICT DO UPDATE SET pinned = max(pinned, excluded.pinned)",
            (path, pinned),
        )

    def _validation(self, values: tuple[Value, ...]) -> None:
        self._conn.execute(
            "INSERT INTO validations VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " valid = excluded.valid, votes = excluded.votes, validator = excluded.validator,"
            " decided = excluded.decided, verdict = excluded.verdict, plan = excluded.plan, reason = excluded.reason"
            " WHERE excluded.decided > decided",
            values,
        )

    def _member(self, peer: str, seq: int, data: bytes) -> None:
        try:
            member = decode_record(data)
        except InvalidData:
            return
        if (member.peer_id, member.seq) == (peer, seq):
            self._conn.execute(
                "INSERT INTO members VALUES (?, ?, ?) ON CONFLICT DO UPDATE"
                " SET seq = excluded.seq, data = excluded.data WHERE excluded.seq > seq",
                (peer, seq, data),
            )

    def _name(
        self, row: int, digest: bytes | None = None, path: str | None = None, *, own: bool = False
    ) -> None:
        self._names.append((row, digest, own, path))
        if len(self._names) > BATCH:
            self._write()

    def _see(self, digest: bytes) -> None:
        self._seen.append((digest,))
        if len(self._seen) > BATCH:
            self._write()

    def _write(self) -> None:
        self._conn.executemany(
            "INSERT INTO temp.parent VALUES (?, ?) ON CONFLICT DO UPDATE SET own = max(own, excluded.own)",
            self._parents,
        )
        self._conn.executemany(
            "INSERT INTO temp.named VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " digest = coalesce(excluded.digest, digest), own = max(own, excluded.own),"
            " path = coalesce(excluded.path, path)",
            self._names,
        )
        self._conn.executemany("INSERT OR IGNORE INTO temp.seen VALUES (?)", self._seen)
        self._seen.clear()
        self._parents.clear()
        self._names.clear()

    def finish(self, damaged: list[str]) -> Salvaged:
        """Makes what follows from the entries; says what is missing."""
        self._write()
        self._conn.execute(_HEADS)
        self._conn.execute(_WRITERS)
        rows = self._conn.execute(f"{_LOST} LIMIT ?", (MAX_NAMED,)).fetchall()
        (named,) = self._conn.execute(f"SELECT count(*) FROM ({_LOST})").fetchone()  # noqa: S608 - a constant
        kept = self._fingerprint.count
        missing = max(named, self._log[0] - kept)
        manifest = self._manifest or self._manifest_of_blocks()
        if manifest is not None:
            self._write_log(manifest, unnamed=missing > named)
        self._votes.finish(manifest.address if manifest else self._log_id)
        for table in ("parent", "named", "seen"):
            self._conn.execute(f"DROP TABLE temp.{table}")
        return Salvaged(
            kept,
            tuple(Lost(digest, path, bool(own)) for digest, path, own in rows),
            missing,
            tuple(damaged[:MAX_DAMAGED]),
        )

    def _write_log(self, manifest: Manifest, *, unnamed: bool) -> None:
        _, synced, epoch = self._log
        most = self._kept_last[0] + MAX_EPOCHS_AHEAD
        epoch = epoch if 0 <= epoch <= most else 0
        said = max(((epoch, seq) for epoch, seq in self._own_seqs.items() if epoch <= most), default=(0, 0))
        # A number of this node's own chain may be lost with its entry: it must not be given twice.
        if said > self._kept_last or (unnamed and self._kept_last > (0, 0)):
            epoch = max(epoch, said[0] + 1, self._kept_last[0] + 1)
        main, access = manifest.blocks
        fingerprint = self._fingerprint
        self._conn.execute(
            "INSERT INTO log (one, address, manifest, access, count, total, synced, epoch)"
            " VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
            (
                manifest.address,
                main.data,
                access.data,
                fingerprint.count,
                fingerprint.to_bytes(),
                int(synced or fingerprint.count > 0),
                epoch,
            ),
        )

    def _manifest_of_blocks(self) -> Manifest | None:
        """The manifest of the log that the entries are of, out of the blocks."""
        if not self._log_id:
            return None
        main = self._block_of(hash_bytes(self._log_id.removeprefix("/orbitdb/"))[4:])
        for (access,) in self._conn.execute("SELECT data FROM blocks WHERE length(data) <= 1024"):
            try:
                return decode_manifest(main, access)
            except InvalidData:
                continue
        return None

    def _block_of(self, digest: bytes) -> bytes:
        row = self._conn.execute("SELECT data FROM blocks WHERE digest = ?", (digest,)).fetchone()
        return row[0] if row else b""


def _is_path(text: str) -> bool:
    try:
        parse_path(text)
    except InvalidData:
        return False
    return text.startswith("/ipfs/")


INSERT_ENTRY = (
    "INSERT OR IGNORE INTO entries"
    " (id, digest, time, key, epoch, seq, path, contributor, created, name, size, identity, data)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
