"""A file that is written out while its blocks come.

The blocks are handed over in memory, in the order of the file; whoever is behind the fetch reads them from the disk.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from peersdb.core.cid import CID, Block
from peersdb.errors import NotFound, StorageError
from peersdb.store.failures import mapped_errors
from peersdb.tasks import raising_the_first

#: Bytes written at once: a turn of the event loop for each block would cost as much as writing it.
WRITE_BYTES = 4 * 1024 * 1024
#: Pieces written at once at most, however small they are; the system takes 1,024.
WRITE_PIECES = 512
#: A file is synced in steps of this size (bytes), while more of it is fetched: one sync at the end
#: would have to wait for all of it.
SYNC_BYTES = 16 * 1024 * 1024
#: Blocks that wait in memory for the one who writes them out, of 1 MiB (2 MiB at most): two requests, so that one
#: can be taken while the next one comes.
MAX_COMING = 8


class Signal:
    """Wakes all who wait, each time."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._event = trio.Event()

    def notify(self) -> None:
        """Wakes those who wait now."""
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        """Waits for the next word."""
        await self._event.wait()


class Coming:
    """Blocks that a fetch brings, for a reader who is ahead of it."""

    def __init__(self, stored: Signal, patience: float) -> None:
        """``stored`` tells of each block that is here; it is awaited for ``patience`` seconds."""
        self._stored, self._patience = stored, patience
        self._blocks: dict[bytes, bytes] = {}
        self._room = trio.Event()
        self._following = True
        self._ended = self._last_look = False

    async def put(self, blocks: list[Block]) -> None:
        """Hands over what came and was checked.

        Waits while the reader writes out what it took before. A reader who takes nothing, since it reads what was
        here already or waits for another block, is not waited for: it finds the block on the disk.
        """
        for block in blocks:
            while len(self._blocks) >= MAX_COMING and self._following:
                self._room = trio.Event()
                await self._room.wait()
            if len(self._blocks) >= MAX_COMING:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[block.cid.digest] = block.data
        self._stored.notify()

    def take(self, cid: CID) -> bytes | None:
        """A block that waits; None where it does not, and may be on the disk."""
        data = self._blocks.pop(cid.digest, None)
        self._following = data is not None
        self._room.set()
        return data

    async def more(self) -> bool:
        """Waits until something came; False once the fetch is over and was looked at after that."""
        if self._ended:
            last, self._last_look = self._last_look, True
            return not last
        with trio.move_on_after(self._patience) as scope:
            await self._stored.wait()
        if scope.cancelled_caught:
            raise NotFound(f"nothing came for {self._patience:.0f} s; what came is kept, so try again")
        return True

    def leave(self) -> None:
        """The reader has all."""
        self._following = False
        self._room.set()

    def end(self) -> None:
        """The fetch is over."""
        self._ended = True
        self._stored.notify()


class Output:
    """A file that is written; made by `written`.

    Attributes:
        size: its bytes so far.
    """

    def __init__(self, handle: int, doing: str, nursery: trio.Nursery) -> None:
        """Syncs in the nursery; ``doing`` is for errors."""
        self._handle, self._doing, self._nursery = handle, doing, nursery
        self._waiting: list[bytes] = []
        self._held = self._unsynced = 0
        self._syncing = trio.Semaphore(1)
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Puts bytes at the end."""
        self._waiting.append(data)
        self._held += len(data)
        if self._held >= WRITE_BYTES or len(self._waiting) >= WRITE_PIECES:
            await self.flush()

    async def flush(self) -> None:
        """Writes what is held back."""
        waiting, self._waiting = self._waiting, []
        await trio.to_thread.run_sync(_write, self._handle, waiting)
        self.size += self._held
        self._unsynced += self._held
        self._held = 0
        if self._unsynced >= SYNC_BYTES:
            await self._syncing.acquire()  # a disk that is slower than the peer is waited for here
            self._nursery.start_soon(self._sync, self.size)
            self._unsynced = 0

    async def _sync(self, end: int) -> None:
        """Syncs what is written up to ``end``, while more comes."""

        def run() -> None:
            os.fdatasync(self._handle)
            # The blocks stay in the system's cache for the peers; a container's memory need not hold them twice.
            os.posix_fadvise(self._handle, 0, end, os.POSIX_FADV_DONTNEED)

        try:
            with mapped_errors(self._doing):
                await trio.to_thread.run_sync(run)
        finally:
            self._syncing.release()


@asynccontextmanager
async def written(target: Path, temporary: Path) -> AsyncIterator[Output]:
    """A file to be written in the block: it is at ``target`` afterwards, whole and synced, or not at all.

    Raises:
        DiskFull: it does not fit.
        StorageError: it cannot be written there.
    """
    doing = f"writing {target}"
    with mapped_errors(doing):
        handle = await trio.to_thread.run_sync(_create, target, temporary)
        try:
            async with raising_the_first() as nursery:
                output = Output(handle, doing, nursery)
                with mapped_errors(doing):  # here too: outside of the nursery it comes in a group
                    yield output
                    await output.flush()
            await trio.to_thread.run_sync(_finish, handle, temporary, target)
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(lambda: temporary.unlink(missing_ok=True))
            raise
        finally:
            os.close(handle)


def _create(target: Path, temporary: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        raise StorageError(f"{target} is a directory: move it away, or choose another -download-dir")
    return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)


def _write(handle: int, pieces: list[bytes]) -> None:
    left = [memoryview(piece) for piece in pieces]
    while left:
        count = os.writev(handle, left)
        whole = 0
        while whole < len(left) and count >= len(left[whole]):
            count -= len(left[whole])
            whole += 1
        del left[:whole]
        if count:
            left[0] = left[0][count:]


def _finish(handle: int, temporary: Path, target: Path) -> None:
    os.fsync(handle)
    temporary.rename(target)
