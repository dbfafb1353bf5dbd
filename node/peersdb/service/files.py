"""Files: into blocks, out of blocks, and fetched from peers.

A fetch walks the DAG from its root and asks a peer for what is missing, several requests ahead, so that a
long link stays full and memory holds no more than what is on the way. What is here already is not asked
for again, so a fetch that was cut goes on where it was.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import structlog
import trio

from peersdb.core.cid import CID, RAW, Block
from peersdb.core.unixfs import FileBuilder, Profile, build_file, read_node
from peersdb.errors import BlockMismatch, InvalidData, NotFound, PeerUnreachable, StorageError
from peersdb.net.blocks import BlockClient
from peersdb.net.host import Host
from peersdb.service.members import Membership
from peersdb.store.blocks import MAX_ROW, BlockStore
from peersdb.store.database import mapped_errors
from peersdb.tasks import raising_the_first

log = structlog.get_logger("files")

#: Blocks of one request, and requests on the way: with blocks of 1 MiB up to 8 MiB, which fills 100 MB/s
#: over a round trip of 80 ms.
REQUEST_BLOCKS = 4
REQUESTS = 2
#: Small blocks kept in memory for the entry's transaction at most, 16 KiB each.
MAX_SMALL = 64
#: A file that is written is synced in steps of this size (bytes), while more of it is fetched: one sync at the end
#: would have to wait for all of it.
SYNC_BYTES = 32 * 1024 * 1024
#: Blocks remembered as just checked, 32 bytes each; the others are hashed once more when they are written out.
MAX_CHECKED = 65_536
#: Peers asked for one file at most.
MAX_PROVIDERS = 16

Wrote = Callable[[int], None]


def unheard(_count: int) -> None:
    """For those who do not ask how far a transfer is."""


@dataclass(frozen=True)
class Added:
    """A file that became blocks.

    Attributes:
        root: its CID.
        size: its bytes.
        small: blocks that are not kept yet: they belong into the transaction of its entry.
    """

    root: CID
    size: int
    small: list[Block]


class Files:
    """This node's files."""

    def __init__(self, host: Host, blocks: BlockStore, membership: Membership, profile: Profile) -> None:
        """Nothing is fetched yet."""
        self._host, self._blocks, self._membership, self._profile = host, blocks, membership, profile
        self._fetching: dict[bytes, trio.Lock] = {}
        self._serial = count()
        self._stored = _Signal()

    async def add(self, content: bytes) -> Added:
        """Makes blocks of a small file at once; see `add_stream`."""
        root, size, blocks = build_file(content, self._profile)
        return Added(root, size, await self._blocks.put_files(blocks, durable=True))

    def add_rows(self, content: bytes) -> Added | None:
        """Makes blocks of a file so small that each is a row of its entry's transaction; None: it is larger.

        Pure: it may be called from any thread.
        """
        if len(content) > MAX_ROW:
            return None
        root, size, blocks = build_file(content, self._profile)
        return Added(root, size, blocks) if all(len(block.data) <= MAX_ROW for block in blocks) else None

    async def add_stream(self, chunks: AsyncIterable[bytes]) -> Added:
        """Makes blocks of a file as it comes and keeps the large ones; memory stays flat.

        Hashing one piece, writing the one before and receiving the next overlap.

        Raises:
            DiskFull: they do not fit; what was written is found again when the same content comes.
        """
        builder = FileBuilder(self._profile)
        unsynced: set[Path] = set()
        small: list[Block] = []
        send, receive = trio.open_memory_channel[list[Block]](1)

        async def store() -> None:
            async with receive:
                async for blocks in receive:
                    small.extend(await self._blocks.put_files(blocks, durable=True, unsynced=unsynced))
                    if len(small) > MAX_SMALL:
                        # Their entry's commit syncs them too; until then nobody refers to them.
                        await self._blocks.put(small, durable=False)
                        small.clear()

        async with raising_the_first() as nursery:
            nursery.start_soon(store)
            async with send:
                async for chunk in chunks:
                    await send.send(await trio.to_thread.run_sync(builder.feed, chunk))
                root, size, blocks = builder.finish()
                await send.send(blocks)
        await self._blocks.sync(unsynced)
        return Added(root, size, small)

    async def has(self, root: CID) -> bool:
        """Whether the whole file is here."""
        todo = [root]
        while todo:
            batch = todo[-REQUEST_BLOCKS * 64 :]
            del todo[-len(batch) :]
            if await self._blocks.missing(batch):
                return False
            for cid in batch:
                if cid.codec != RAW:
                    data = await self._blocks.get(cid)
                    if data is None:
                        return False
                    todo += [link.cid for link in read_node(cid, data).links]
        return True

    async def fetch(self, root: CID, contributor: str | None, checked: set[bytes] | None = None) -> None:
        """Makes the whole file be here, from whoever has it.

        Args:
            root: the file.
            contributor: who is asked first, and dialled where nobody who is connected has it.
            checked: collects the digests of the blocks that came, and so were checked just now.

        Raises:
            NotFound: nobody could be reached who has all of it; what came is kept.
        """
        lock = self._fetching.setdefault(root.digest, trio.Lock())
        try:
            async with lock:
                if not await self.has(root):
                    await self._fetch(root, contributor, set() if checked is None else checked)
        finally:
            if not lock.statistics().tasks_waiting:
                self._fetching.pop(root.digest, None)

    async def _fetch(self, root: CID, contributor: str | None, checked: set[bytes]) -> None:
        reasons = []

        def stored(blocks: list[Block]) -> None:
            if len(checked) < MAX_CHECKED:
                checked.update(block.cid.digest for block in blocks)
            self._stored.notify()

        async with aclosing(self._providers(contributor)) as providers:
            async for peer in providers:
                try:
                    if await _Walk(self._host, self._blocks, peer, stored).run(root):
                        return
                    reasons.append(f"{peer} has not all of it")
                except (PeerUnreachable, BlockMismatch, InvalidData) as error:
                    log.info("fetching from a peer failed", cid=str(root), peer=peer, error=str(error))
                    reasons.append(str(error))
        tried = "; ".join(reasons[:3]) or "no peer is connected"
        raise NotFound(f"/ipfs/{root} is not here and nobody connected has it: {tried}")

    async def _providers(self, contributor: str | None) -> AsyncGenerator[str, None]:
        """Whom to ask: the contributor where connected, the other peers, then the contributor by a dial."""
        connected = self._host.connected
        first = [contributor] if contributor in connected else []
        for peer in (first + [peer for peer in connected if peer != contributor])[:MAX_PROVIDERS]:
            if peer is not None:
                yield peer
        stranger = contributor and contributor not in connected and contributor != self._host.peer_id
        if contributor and stranger and await self._membership.connect(contributor):
            yield contributor

    async def get(
        self, root: CID, contributor: str | None, target: Path, patience: float, wrote: Wrote = unheard
    ) -> int:
        """Fetches what is missing of a file, and writes it to ``target`` while it comes.

        Args:
            root: the file.
            contributor: see `fetch`.
            target: gets the file, whole or not at all.
            patience: how long (seconds) the next block may be awaited.
            wrote: told the bytes of each piece that was written.

        Returns:
            Its size in bytes.

        Raises:
            NotFound: nobody could be reached who has all of it, or nothing came in time; what came is kept.
            CorruptData: a block that was here is damaged; it is removed.
            StorageError: the target cannot be written.
        """
        coming = _Coming(self._stored, patience)
        async with raising_the_first() as nursery:

            async def fetch() -> None:
                await self.fetch(root, contributor, coming.checked)
                coming.finished = True
                self._stored.notify()

            nursery.start_soon(fetch)
            return await self._export(root, target, coming, wrote)

    async def _export(self, root: CID, target: Path, coming: _Coming, wrote: Wrote) -> int:
        """Writes a file: first under a temporary name."""
        # Two who ask for the same file at once write two files; the last one's rename stays.
        temporary = target.with_name(f".{target.name}.{os.getpid()}-{next(self._serial)}.part")
        size = 0
        with mapped_errors(f"writing {target}"):
            await trio.to_thread.run_sync(_prepare, target)
            try:
                async with (
                    await trio.open_file(temporary, "wb") as out,
                    aclosing(self.read(root, coming)) as chunks,
                ):
                    unsynced = 0
                    async for data in chunks:
                        await out.write(data)
                        size += len(data)
                        wrote(len(data))
                        unsynced += len(data)
                        if unsynced >= SYNC_BYTES:
                            await out.flush()
                            await trio.to_thread.run_sync(os.fdatasync, out.fileno())
                            unsynced = 0
                    await out.flush()
                    await trio.to_thread.run_sync(os.fsync, out.fileno())
                await trio.to_thread.run_sync(temporary.rename, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return size

    async def read(self, root: CID, coming: _Coming | None = None) -> AsyncGenerator[bytes, None]:
        """The content of a file, piece by piece, in order.

        Args:
            root: the file.
            coming: says that missing blocks are on their way; without it all must be here.

        Raises:
            NotFound: a block is not here and does not come.
            CorruptData: a block was damaged on the disk.
        """
        todo = [root]
        while todo:
            cid = todo.pop()
            data = await self._blocks.get(cid, check=coming is None or cid.digest not in coming.checked)
            while data is None:
                if coming is None or not await coming.more():
                    raise NotFound(f"block {cid} of /ipfs/{root} is not here")
                data = await self._blocks.get(cid)
            node = read_node(cid, data)
            if node.data:
                yield node.data
            todo += [link.cid for link in reversed(node.links)]


class _Signal:
    """Wakes all who wait, each time."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def notify(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class _Coming:
    """Blocks that a fetch brings, for a reader who is ahead of it."""

    def __init__(self, stored: _Signal, patience: float) -> None:
        self._stored, self._patience = stored, patience
        self._last_look = False
        self.checked: set[bytes] = set()
        self.finished = False

    async def more(self) -> bool:
        """Waits until something was stored; False once the fetch is over and was looked at after that."""
        if self.finished:
            last, self._last_look = self._last_look, True
            return not last
        with trio.move_on_after(self._patience) as scope:
            await self._stored.wait()
        if scope.cancelled_caught:
            raise NotFound(f"nothing came for {self._patience:.0f} s; what came is kept, so try again")
        return True


def _prepare(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        raise StorageError(f"{target} is a directory: move it away, or choose another -download-dir")


class _Walk:
    """One file's walk over what a peer has of it."""

    def __init__(
        self, host: Host, blocks: BlockStore, peer: str, stored: Callable[[list[Block]], None]
    ) -> None:
        self._stored = stored
        self._client = BlockClient(host, peer)
        self._blocks = blocks
        self._todo: list[CID] = []
        self._asked: deque[tuple[int, list[bytes]]] = deque()
        self._complete = True

    async def run(self, root: CID) -> bool:
        """Fetches what is missing under ``root``; says whether the peer had all of it."""
        self._todo = [root]
        try:
            while self._todo or self._asked:
                while self._todo and len(self._asked) < REQUESTS:
                    missing = await self._next_missing()
                    if missing:
                        self._asked.append(await self._client.request(missing))
                if self._asked:
                    await self._receive(self._asked.popleft())
        finally:
            with trio.CancelScope(shield=True):
                await self._client.close()
        return self._complete

    async def _next_missing(self) -> list[CID]:
        """The next CIDs to ask for; nodes that are here already are opened instead."""
        batch = self._todo[-REQUEST_BLOCKS:][::-1]  # the next ones of the file, in its order
        del self._todo[-len(batch) :]
        missing = await self._blocks.missing(batch)
        lacking = {cid.digest for cid in missing}
        for cid in batch:
            if cid.codec != RAW and cid.digest not in lacking:
                data = await self._blocks.get(cid)
                if data is not None:
                    self._open(cid, data)
        return missing

    async def _receive(self, asked: tuple[int, list[bytes]]) -> None:
        batch: list[Block] = []
        async with aclosing(self._client.answers(asked)) as answers:
            async for cid, block in answers:
                if block is None:
                    self._complete = False
                    continue
                batch.append(block)
                if cid.codec != RAW:
                    self._open(cid, block.data)
        # What can be fetched again needs no sync of its own.
        await self._blocks.put(batch, durable=False)
        self._stored(batch)

    def _open(self, cid: CID, data: bytes) -> None:
        self._todo += [link.cid for link in reversed(read_node(cid, data).links)]
