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
from peersdb.service.tasks import raising_the_first
from peersdb.store.blocks import BlockStore
from peersdb.store.database import mapped_errors

log = structlog.get_logger("files")

#: Blocks of one request, and requests on the way: with blocks of 1 MiB up to 8 MiB, which fills 100 MB/s
#: over a round trip of 80 ms.
REQUEST_BLOCKS = 4
REQUESTS = 2
#: Small blocks kept in memory for the entry's transaction at most, 16 KiB each.
MAX_SMALL = 64
#: Fetched bytes that are stored together.
STORE_BYTES = 4 * 1024 * 1024
#: Peers asked for one file at most.
MAX_PROVIDERS = 16


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

    async def add(self, content: bytes) -> Added:
        """Makes blocks of a small file at once; see `add_stream`."""
        root, size, blocks = build_file(content, self._profile)
        return Added(root, size, await self._blocks.put_files(blocks, durable=True))

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

    async def fetch(self, root: CID, contributor: str | None) -> None:
        """Makes the whole file be here, from whoever has it.

        Args:
            root: the file.
            contributor: who is asked first, and dialled where nobody who is connected has it.

        Raises:
            NotFound: nobody could be reached who has all of it; what came is kept.
        """
        lock = self._fetching.setdefault(root.digest, trio.Lock())
        try:
            async with lock:
                if not await self.has(root):
                    await self._fetch(root, contributor)
        finally:
            if not lock.statistics().tasks_waiting:
                self._fetching.pop(root.digest, None)

    async def _fetch(self, root: CID, contributor: str | None) -> None:
        reasons = []
        async with aclosing(self._providers(contributor)) as providers:
            async for peer in providers:
                try:
                    if await _Walk(self._host, self._blocks, peer).run(root):
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

    async def export(self, root: CID, target: Path, progress: Callable[[int], None] = lambda _: None) -> int:
        """Writes a file that is here to ``target``: first under a temporary name, whole or not at all.

        Returns:
            Its size in bytes.

        Raises:
            NotFound: a block went missing meanwhile.
            StorageError: the target cannot be written.
        """
        # Two who ask for the same file at once write two files; the last one's rename stays.
        temporary = target.with_name(f".{target.name}.{os.getpid()}-{next(self._serial)}.part")
        size = 0
        with mapped_errors(f"writing {target}"):
            await trio.to_thread.run_sync(_prepare, target)
            try:
                async with await trio.open_file(temporary, "wb") as out, aclosing(self.read(root)) as chunks:
                    async for data in chunks:
                        await out.write(data)
                        size += len(data)
                        progress(len(data))
                    await out.flush()
                    await trio.to_thread.run_sync(os.fsync, out.fileno())
                await trio.to_thread.run_sync(temporary.rename, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return size

    async def read(self, root: CID) -> AsyncGenerator[bytes, None]:
        """The content of a file that is here, piece by piece, in order."""
        todo = [root]
        while todo:
            cid = todo.pop()
            data = await self._blocks.get(cid)
            if data is None:
                raise NotFound(f"block {cid} of /ipfs/{root} is not here")
            node = read_node(cid, data)
            if node.data:
                yield node.data
            todo += [link.cid for link in reversed(node.links)]


def _prepare(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        raise StorageError(f"{target} is a directory: move it away, or choose another -download-dir")


class _Walk:
    """One file's walk over what a peer has of it."""

    def __init__(self, host: Host, blocks: BlockStore, peer: str) -> None:
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

    def _open(self, cid: CID, data: bytes) -> None:
        self._todo += [link.cid for link in reversed(read_node(cid, data).links)]
