"""One file's walk over what one peer has of it.

The DAG is walked from its root in the file's order, and what is missing is asked for several requests ahead, so that a
long link stays full and memory holds no more than what is on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from peersdb.core.cid import CID, RAW, Block
from peersdb.core.unixfs import read_node
from peersdb.net.blocks import BlockClient
from peersdb.store.blocks import BlockStore

#: Blocks of one request, and requests on the way: with blocks of 1 MiB up to 12 MiB, which fills 100 MB/s
#: over a round trip of 120 ms. Two would leave the link empty where one is checked and kept.
REQUEST_BLOCKS = 4
REQUESTS = 3


class Walk:
    """Fetches one file from one peer."""

    def __init__(
        self,
        client: BlockClient,
        blocks: BlockStore,
        keep: Callable[[list[Block]], Awaitable[None]],
    ) -> None:
        """Asks by ``client``; ``keep`` gets the blocks of each request, checked, in the file's order."""
        self._keep = keep
        self._client = client
        self._blocks = blocks
        self._todo: list[CID] = []
        self._asked: deque[tuple[int, list[bytes]]] = deque()
        self._complete = True

    async def run(self, root: CID) -> bool:
        """Fetches what is missing under ``root``; says whether the peer had all of it.

        Raises:
            PeerUnreachable: it went away.
            BlockMismatch: it sent something else.
            InvalidData: it sent what belongs to no file.
        """
        self._todo = [root]
        await self._ask()
        while self._asked:
            came = await self._receive(self._asked.popleft())
            await self._ask()
            await self._keep(came)
        return self._complete

    async def _ask(self) -> None:
        """Sends requests until as many are on their way as may be."""
        while self._todo and len(self._asked) < REQUESTS:
            missing = await self._next_missing()
            if missing:
                self._asked.append(await self._client.request(missing))

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

    async def _receive(self, asked: tuple[int, list[bytes]]) -> list[Block]:
        came: list[Block] = []
        async with aclosing(self._client.answers(asked)) as answers:
            async for cid, block in answers:
                if block is None:
                    self._complete = False
                    continue
                came.append(block)
                if cid.codec != RAW:
                    self._open(cid, block.data)
        return came

    def _open(self, cid: CID, data: bytes) -> None:
        self._todo += [link.cid for link in reversed(read_node(cid, data).links)]
