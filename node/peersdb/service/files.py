"""Files: into blocks, out of blocks, and fetched from peers.

What is here already is not asked for again, so a fetch that was cut goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import structlog
import trio

from peersdb.core.cid import CID, RAW, Block
from peersdb.core.unixfs import FileBuilder, Profile, build_file, read_node
from peersdb.errors import BlockMismatch, InvalidData, NotFound, PeerUnreachable
from peersdb.net.blockpool import BlockPool
from peersdb.net.host import Host
from peersdb.service.output import Coming, Signal, written
from peersdb.service.providers import Providers
from peersdb.service.walk import Walk
from peersdb.store.blocks import MAX_ROW, BlockStore
from peersdb.tasks import raising_the_first

log = structlog.get_logger("files")

#: Small blocks kept in memory for the entry's transaction at most, 16 KiB each.
MAX_SMALL = 64
#: Blocks looked for at once where it is asked whether a file is here.
LOOK_BLOCKS = 256
#: Who asks for a file that is on its way here waits so long for it (seconds): some round trips of the farthest.
HOLD = 1.5

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

    def __init__(self, host: Host, blocks: BlockStore, providers: Providers, profile: Profile) -> None:
        """Nothing is fetched yet."""
        self._blocks, self._providers, self._profile = blocks, providers, profile
        self._streams = BlockPool(host)
        self._fetching: dict[bytes, trio.Lock] = {}
        self._serial = count()
        self._stored = Signal()

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
            batch = todo[-LOOK_BLOCKS:]
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

    async def fetch(self, root: CID, contributor: str | None, coming: Coming | None = None) -> None:
        """Makes the whole file be here, from whoever has it.

        Args:
            root: the file.
            contributor: who is asked first, and dialled where nobody who is connected has it.
            coming: gets each block as soon as it is here.

        Raises:
            NotFound: nobody could be reached who has all of it; what came is kept.
        """
        async with self._turn(root):
            if not await self.has(root):
                await self._fetch(root, contributor, coming)

    async def serve(self, cid: CID) -> bytes | None:
        """A block for a peer; the first of a file that this node fetches, or is about to, once all of that has come.

        So a new file goes the way that the word of it went, and who asks need not ask again.

        Raises:
            CorruptData: it is damaged on the disk.
        """
        data = await self._blocks.get(cid)
        if data is None or cid.digest in self._fetching:
            with trio.move_on_after(HOLD), suppress(NotFound):
                async with self._turn(cid):
                    if self._providers.expects(cid) and not await self.has(cid):
                        await self._fetch(cid, None, None)
            data = await self._blocks.get(cid)
        return data

    @asynccontextmanager
    async def _turn(self, root: CID) -> AsyncIterator[None]:
        """One at a time fetches a file."""
        lock = self._fetching.setdefault(root.digest, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting:
                self._fetching.pop(root.digest, None)

    async def _fetch(self, root: CID, contributor: str | None, coming: Coming | None) -> None:
        reasons = []

        async def keep(blocks: list[Block]) -> None:
            if coming is not None:
                await coming.put(blocks)
            # What can be fetched again needs no sync of its own.
            await self._blocks.put(blocks, durable=False)
            self._stored.notify()

        async with aclosing(self._providers.of(root, contributor)) as providers:
            async for peer in providers:
                try:
                    async with self._streams.client(peer) as client:
                        if await Walk(client, self._blocks, keep).run(root):
                            return
                    reasons.append(f"{peer} has not all of it")
                except (PeerUnreachable, BlockMismatch, InvalidData) as error:
                    log.info("fetching from a peer failed", cid=str(root), peer=peer, error=str(error))
                    reasons.append(str(error))
        tried = "; ".join(reasons[:3]) or "no peer is connected"
        raise NotFound(f"/ipfs/{root} is not here and nobody connected has it: {tried}")

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
        coming = Coming(self._stored, patience)
        async with raising_the_first() as nursery:

            async def fetch() -> None:
                await self.fetch(root, contributor, coming)
                coming.end()

            nursery.start_soon(fetch)
            # Two who ask for the same file at once write two files; the last one's rename stays.
            temporary = target.with_name(f".{target.name}.{os.getpid()}-{next(self._serial)}.part")
            async with (
                written(target, temporary) as output,
                aclosing(self.read(root, coming)) as chunks,
            ):
                async for data in chunks:
                    await output.write(data)
                    wrote(len(data))
                coming.leave()
            return output.size

    async def read(self, root: CID, coming: Coming | None = None) -> AsyncGenerator[bytes, None]:
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
            while (data := await self._block(cid, coming)) is None:
                if coming is None or not await coming.more():
                    raise NotFound(f"block {cid} of /ipfs/{root} is not here")
            node = read_node(cid, data)
            if node.data:
                yield node.data
            todo += [link.cid for link in reversed(node.links)]

    async def _block(self, cid: CID, coming: Coming | None) -> bytes | None:
        if coming is None:
            return await self._blocks.get(cid)
        data = coming.take(cid)
        if data is None:
            data = await self._blocks.get(cid)
        # It may have come while the disk was looked at.
        return coming.take(cid) if data is None else data
