"""Streams to ask peers for blocks on, kept a while for the next file: opening one costs two round trips and as much
work as a small file itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from peersdb.net.blocks import BlockClient
from peersdb.net.host import Host

#: Idle streams, one a peer: as many as a node keeps connections.
MAX_IDLE = 16
#: An idle stream is closed after so long (seconds), when the next one is put away.
IDLE = 30.0


class BlockPool:
    """The streams of one node."""

    def __init__(self, host: Host) -> None:
        """No stream is open."""
        self._host = host
        self._idle: OrderedDict[str, tuple[BlockClient, float]] = OrderedDict()

    @asynccontextmanager
    async def client(self, peer: str) -> AsyncIterator[BlockClient]:
        """A stream for the block alone; kept afterwards if all that was asked was answered."""
        client, _ = self._idle.pop(peer, (None, 0.0))
        if client is not None and not client.usable:
            await client.close()
            client = None
        client = client or BlockClient(self._host, peer)
        done = False
        try:
            yield client
            done = client.usable
        finally:
            with trio.CancelScope(shield=True):
                if done:
                    await self._put_away(client)
                else:
                    await client.close()

    async def _put_away(self, client: BlockClient) -> None:
        now = trio.current_time()
        before = self._idle.pop(client.peer, None)
        self._idle[client.peer] = client, now
        old = [before[0]] if before else []
        while self._idle:
            peer, (eldest, since) = next(iter(self._idle.items()))
            if len(self._idle) <= MAX_IDLE and now - since < IDLE:
                break
            del self._idle[peer]
            old.append(eldest)
        for one in old:
            await one.close()
