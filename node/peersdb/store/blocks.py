"""Blocks: small ones in the database, larger ones as files, sharded by digest.

Both are keyed by the sha2-256 digest alone, so that CIDv0 and CIDv1 of the same bytes share them. A file
is written under a temporary name, synced where it must be durable, renamed, and its directory synced:
a name that exists holds the whole block, unless the disk itself lost it; every read checks.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path

import trio

from peersdb.core.cid import CID, Block
from peersdb.errors import BlockMismatch, CorruptData
from peersdb.store.database import Database
from peersdb.store.failures import mapped_errors

#: Up to here a block is a row: one sync with its entry instead of three of a file's own.
MAX_ROW = 16 * 1024
#: Threads that read and write block files at once; a disk gains little from more.
FILE_THREADS = 4


class BlockStore:
    """The node's blocks."""

    def __init__(self, database: Database, root: Path) -> None:
        """Opens the store; clears what a crash left under temporary names."""
        self._database = database
        self._root = root
        self._serial = count()
        self._threads = trio.CapacityLimiter(FILE_THREADS)
        with mapped_errors(f"opening the blocks in {root}"):
            root.mkdir(exist_ok=True)
            for left in root.glob("*/*.tmp"):
                left.unlink()

    async def put(self, blocks: Sequence[Block], *, durable: bool) -> None:
        """Keeps blocks; with ``durable`` they are on the disk when this returns.

        Raises:
            DiskFull: nothing of the block in question was kept.
        """
        rows = await self.put_files(blocks, durable=durable)
        if rows:
            await self._database.write(lambda conn: insert_rows(conn, rows), durable=durable)

    async def put_files(
        self, blocks: Sequence[Block], *, durable: bool, unsynced: set[Path] | None = None
    ) -> list[Block]:
        """Keeps the larger blocks as files and gives back the small ones, for a transaction.

        Args:
            blocks: any.
            durable: the files are synced when this returns, and so are their names, ...
            unsynced: ... but where this is given, it collects the directories, for one `sync` at the end.
        """
        large = [block for block in blocks if len(block.data) > MAX_ROW]
        if large:
            directories = await trio.to_thread.run_sync(
                self._write_files, large, durable, limiter=self._threads
            )
            if unsynced is not None:
                unsynced |= directories
            elif durable:
                await self.sync(directories)
        return [block for block in blocks if len(block.data) <= MAX_ROW]

    async def sync(self, directories: Iterable[Path]) -> None:
        """Makes the names in these directories durable."""

        def run() -> None:
            with mapped_errors(f"syncing the blocks in {self._root}"):
                for directory in sorted(directories):
                    sync_directory(directory)

        await trio.to_thread.run_sync(run, limiter=self._threads)

    async def get(self, cid: CID) -> bytes | None:
        """The block's bytes, checked against the CID, or None where it is not here.

        Raises:
            CorruptData: it is here and damaged; it was removed, so that it can be fetched again.
        """
        try:
            return await trio.to_thread.run_sync(self._read, cid, limiter=self._threads)
        except BlockMismatch:
            await self._remove(cid)
            raise CorruptData(
                f"block {cid} was damaged on the disk; it was removed and can be fetched again"
            ) from None

    async def missing(self, cids: Iterable[CID]) -> list[CID]:
        """Those of ``cids`` that are not here, in their order, without duplicates."""
        asked = list({cid.digest: cid for cid in cids}.values())

        def run() -> list[CID]:
            with self._database.snapshot() as conn:
                rest = [cid for cid in asked if not _has_row(conn, cid.digest)]
            return [cid for cid in rest if not self._file(cid.digest).exists()]

        return await trio.to_thread.run_sync(run, limiter=self._threads)

    async def _remove(self, cid: CID) -> None:
        def delete(conn: sqlite3.Connection) -> None:
            conn.execute("DELETE FROM blocks WHERE digest = ?", (cid.digest,))

        await self._database.write(delete, durable=False)
        with mapped_errors(f"removing the damaged block {cid}"):
            self._file(cid.digest).unlink(missing_ok=True)

    def _file(self, digest: bytes) -> Path:
        name = digest.hex()
        # The last byte spreads evenly; 256 directories keep each small for millions of blocks.
        return self._root / name[-2:] / name

    def _read(self, cid: CID) -> bytes | None:
        """In a worker thread, all at once: a turn of the event loop costs as much as reading 200 KiB."""
        with self._database.snapshot() as conn:
            data = _row(conn, cid.digest)
        if data is None:
            with mapped_errors(f"reading block {cid}"):
                try:
                    data = self._file(cid.digest).read_bytes()
                except FileNotFoundError:
                    return None
        cid.verify(data)
        return data

    @staticmethod
    def _kept(target: Path, size: int, *, durable: bool) -> bool:
        """Whether the whole block is there; with ``durable`` also synced, since it may have come unsynced."""
        try:
            handle = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if os.fstat(handle).st_size != size:
                return False
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)
        return True

    def _write_files(self, blocks: Sequence[Block], durable: bool) -> set[Path]:
        """Writes files and gives the directories whose names are not synced yet."""
        directories = set()
        with mapped_errors(f"writing a block under {self._root}"):
            for block in blocks:
                target = self._file(block.cid.digest)
                if not target.parent.exists():
                    target.parent.mkdir(exist_ok=True)
                    directories.add(self._root)
                directories.add(target.parent)
                if self._kept(target, len(block.data), durable=durable):
                    continue
                temporary = target.with_name(f"{target.name}.{next(self._serial)}.tmp")
                try:
                    _write(temporary, block.data, durable=durable)
                    temporary.rename(target)
                except BaseException:
                    temporary.unlink(missing_ok=True)
                    raise
        return directories


def insert_rows(conn: sqlite3.Connection, blocks: Iterable[Block]) -> None:
    """Keeps small blocks, in the caller's transaction."""
    conn.executemany(
        "INSERT OR IGNORE INTO blocks (digest, data) VALUES (?, ?)",
        [(block.cid.digest, block.data) for block in blocks],
    )


def write_synced(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes a file so that after a power cut it is there whole, or as it was before."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    _write(temporary, data, durable=True, mode=mode)
    temporary.rename(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(path: Path, data: bytes, *, durable: bool, mode: int = 0o644) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def _row(conn: sqlite3.Connection, digest: bytes) -> bytes | None:
    row = conn.execute("SELECT data FROM blocks WHERE digest = ?", (digest,)).fetchone()
    return row[0] if row else None


def _has_row(conn: sqlite3.Connection, digest: bytes) -> bool:
    return conn.execute("SELECT 1 FROM blocks WHERE digest = ?", (digest,)).fetchone() is not None
