"""Streams for blocks are used again while they stand, and never while something of another file is on its way."""

import os
from contextlib import contextmanager

import pytest
import trio
from net_helpers import PATIENCE, pair

from peersdb.core.cid import CID, Block
from peersdb.net import blockpool
from peersdb.net.blockpool import BlockPool
from peersdb.net.blocks import BlockServer

BLOCKS = [Block(CID.of(data), data) for data in (os.urandom(100) for _ in range(4))]


def serve(host, blocks):
    held = {made.cid: made.data for made in blocks}

    async def get(cid):
        await trio.lowlevel.checkpoint()
        return held.get(cid)

    BlockServer(host, get)


@contextmanager
def counted(host):
    """Counts the streams that a host opens."""
    opened, inner = [], host.propose

    async def count(peer, protocol):
        opened.append(peer)
        return await inner(peer, protocol)

    host.propose = count
    yield opened
    del host.propose


async def fetch(pool, peer, blocks):
    async with pool.client(peer) as client:
        asked = await client.request([made.cid for made in blocks])
        return [found.data async for _, found in client.answers(asked)]


async def test_one_file_after_the_other_comes_over_one_stream():
    async with pair() as (a, b):
        serve(b, BLOCKS)
        pool = BlockPool(a)
        with counted(a) as opened, trio.fail_after(PATIENCE):
            for made in BLOCKS:
                assert await fetch(pool, b.peer_id, [made]) == [made.data]
        assert opened == [b.peer_id]


async def test_a_file_that_was_left_half_way_leaves_no_stream_behind():
    async with pair() as (a, b):
        serve(b, BLOCKS)
        pool = BlockPool(a)
        with counted(a) as opened, trio.fail_after(PATIENCE):
            with pytest.raises(KeyError):  # noqa: PT012 - the stream's user fails
                async with pool.client(b.peer_id) as client:
                    await client.request([BLOCKS[0].cid])
                    raise KeyError
            async with pool.client(b.peer_id) as client:
                await client.request([BLOCKS[0].cid])  # and its answer is not read
            assert await fetch(pool, b.peer_id, BLOCKS[1:]) == [made.data for made in BLOCKS[1:]]
        assert len(opened) == 3


async def test_a_stream_that_broke_while_it_was_idle_is_opened_anew():
    async with pair() as (a, b):
        serve(b, BLOCKS)
        pool = BlockPool(a)
        with counted(a) as opened, trio.fail_after(PATIENCE):
            await fetch(pool, b.peer_id, BLOCKS)
            ((client, _),) = pool._idle.values()
            await client._stream.reset()
            assert await fetch(pool, b.peer_id, BLOCKS) == [made.data for made in BLOCKS]
        assert len(opened) == 2


async def test_idle_streams_are_closed_in_time(monkeypatch):
    monkeypatch.setattr(blockpool, "IDLE", 0.0)
    async with pair() as (a, b):
        serve(b, BLOCKS)
        pool = BlockPool(a)
        with trio.fail_after(PATIENCE):
            await fetch(pool, b.peer_id, BLOCKS)
        assert not pool._idle
