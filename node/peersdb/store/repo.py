"""The repo directory: lock, identity, database, block files, and the original's config file.

::

    <repo>/lock           held while a node runs here
    <repo>/identity.key   32 random bytes, the Ed25519 seed, mode 0600
    <repo>/peersdb.sqlite the log, small blocks, pins, members
    <repo>/peersdb.sqlite.damaged-<time>  as it was when it was found damaged and rebuilt
    <repo>/damage.json    what was lost by that, and what came back
    <repo>/blocks/        larger blocks
    <repo>_config         JSON with the original's keys
    <repo>_benchmark      JSON, at the end of a node with -benchmark
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

from peersdb.core.identity import Signer
from peersdb.errors import CorruptData, RepoLocked, StorageError
from peersdb.store.blocks import BlockStore, sync_directory, write_synced
from peersdb.store.failures import mapped_errors
from peersdb.store.opening import open_database, orphaned_log

SEED_BYTES = 32


class Repo:
    """An opened, locked repo.

    Attributes:
        signer: this node's identity.
        database: its tables.
        orphaned: the address of a log whose entries are here, but whose manifest was lost; empty in the usual case.
        blocks: its blocks.
    """

    def __init__(self, path: Path, random: Callable[[int], bytes]) -> None:
        """Opens the repo at ``path``, making what is not there yet.

        Args:
            path: the directory.
            random: gives that many random bytes, for a new identity.

        Raises:
            RepoLocked: another node runs on it.
            StorageError: it cannot be read or written; ``CorruptData`` names what is damaged.
        """
        self.path = path
        with mapped_errors(f"opening the repo {path}"):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock(path / "lock")
        try:
            self.signer = Signer.from_seed(_seed(path / "identity.key", random))
            self.database = open_database(path / "peersdb.sqlite", self.signer.identity)
            with mapped_errors(f"reading {self.database.path}"):
                self.orphaned = orphaned_log(self.database.path)
            self.blocks = BlockStore(self.database, path / "blocks")
        except BaseException:
            os.close(self._lock)
            raise

    def write_config(self, store_address: str, validations_address: str) -> None:
        """Writes the original's config file, with its keys, beside the repo."""
        config = {
            "contributionsStoreAddr": store_address,
            "validationsStoreAddr": validations_address,
            "peerID": self.signer.peer_id,
        }
        self._write_beside("_config", (json.dumps(config) + "\n").encode())

    def write_benchmark(self, benchmark: bytes) -> None:
        """Writes the original's benchmark file beside the repo."""
        self._write_beside("_benchmark", benchmark + b"\n")

    def _write_beside(self, suffix: str, data: bytes) -> None:
        target = self.path.with_name(self.path.name + suffix)
        with mapped_errors(f"writing {target}"):
            write_synced(target, data)

    def close(self) -> None:
        """Closes the database, then gives the lock back."""
        try:
            self.database.close()
        finally:
            os.close(self._lock)


def _lock(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        with contextlib.suppress(OSError):
            owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
        os.close(handle)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise RepoLocked(
            f"another node (process {owner or 'unknown'}) runs on {path.parent}: stop it, or choose another -repo"
        ) from None
    os.truncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _seed(path: Path, random: Callable[[int], bytes]) -> bytes:
    with mapped_errors(f"reading the identity {path}"):
        try:
            seed = path.read_bytes()
        except FileNotFoundError:
            if (path.parent / "peersdb.sqlite").exists():
                raise StorageError(
                    f"{path} is missing although {path.parent} holds a database: put the key back (a new one "
                    "would be another contributor), or start on a new -repo"
                ) from None
            seed = random(SEED_BYTES)
            write_synced(path, seed, mode=0o600)
            sync_directory(path.parent.parent)
    if len(seed) != SEED_BYTES:
        raise CorruptData(f"{path} is damaged: it holds {len(seed)} bytes and not {SEED_BYTES}")
    return seed
