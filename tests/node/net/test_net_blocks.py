"""Blocks and benchmarks asked of peers: what comes is what was asked for, or an error with a name."""

import os

import pytest
import trio
from net_helpers import PATIENCE, assert_usable, eventually, pair

from peersdb.core import wire
from peersdb.core.cid import CID, DAG_PB, Block
from peersdb.core.wire import (
    BENCHMARK_PROTOCOL,
    BLOCKS_PROTOCOL,
    BenchmarkAnswer,
    BenchmarkRequest,
    BlockHeader,
    Heads,
    Want,
)
from peersdb.errors import BlockMismatch, CorruptData, InvalidMessage, PeerUnreachable
from peersdb.net.ask import ask, serve_answers
from peersdb.net.blocks import BlockClient, BlockServer


def make(size):
    data = os.urandom(size)
    return Block(CID.of(data), data)


async def collect(client, asked):
    return [(cid, found.data if found else None) async for cid, found in client.answers(asked)]


def serve(host, blocks):
    held = {made.cid: made.data for made in blocks}

    async def get(cid):
        await trio.lowlevel.checkpoint()
        return held.get(cid)

    BlockServer(host, get)
    return held


async def test_blocks_come_in_the_order_they_were_asked_for_and_missing_ones_are_said():
    async with pair() as (a, b):
        blocks = [make(size) for size in (1, 100, 40_000, 1 << 20, 2 << 20, 0)]
        serve(b, blocks)
        lacking = make(10)
        client = BlockClient(a, b.peer_id)
        with trio.fail_after(PATIENCE):
            order = [blocks[3], lacking, *blocks, lacking, blocks[0]]
            answers = await collect(client, await client.request([made.cid for made in order]))
        assert answers == [(made.cid, None if made is lacking else made.data) for made in order]
        await client.close()


async def test_several_requests_may_be_on_the_way():
    async with pair() as (a, b):
        blocks = [make(200_000) for _ in range(24)]
        serve(b, blocks)
        client = BlockClient(a, b.peer_id)
        with trio.fail_after(PATIENCE):
            asked = [
                await client.request([made.cid for made in blocks[at : at + 4]]) for at in range(0, 24, 4)
            ]
            answers = [answer for request in asked for answer in await collect(client, request)]
        assert answers == [(made.cid, made.data) for made in blocks]


async def test_a_peer_goes_on_sending_while_what_came_is_looked_at():
    """Two requests of 4 MiB: the second is here when the first has been dealt with."""
    async with pair() as (a, b):
        blocks = [make(1 << 20) for _ in range(8)]
        held = serve(b, blocks)
        client = BlockClient(a, b.peer_id)
        with trio.fail_after(PATIENCE):
            first = await client.request([made.cid for made in blocks[:4]])
            second = await client.request([made.cid for made in blocks[4:]])
            assert len(await collect(client, first)) == 4
            await eventually(lambda: len(client._stream._muxed._buffer) > 4 << 20)
            held.clear()
            await b.disconnect(a.peer_id)
            assert await collect(client, second) == [(made.cid, made.data) for made in blocks[4:]]


@pytest.mark.parametrize("size", [10, 100_000])
async def test_bytes_that_are_not_the_block_s_are_refused(size):
    async with pair() as (a, b):
        made = make(size)
        held = serve(b, [made])
        held[made.cid] = made.data[:-1] + bytes([made.data[-1] ^ 1])
        client = BlockClient(a, b.peer_id)
        with trio.fail_after(PATIENCE), pytest.raises(BlockMismatch):
            await collect(client, await client.request([made.cid]))
        await client.close()
        await assert_usable(a, b.peer_id)


@pytest.mark.parametrize("size", [10, 1 << 20])
async def test_what_came_before_a_wrong_block_is_given_and_nothing_after_it(size):
    async with pair() as (a, b):
        blocks = [make(size) for _ in range(7)]
        held = serve(b, blocks)
        held[blocks[5].cid] = bytes(size)
        client = BlockClient(a, b.peer_id)
        got = []
        with trio.fail_after(PATIENCE):
            answers = client.answers(await client.request([made.cid for made in blocks]))
            with pytest.raises(BlockMismatch, match=str(blocks[5].cid)):  # noqa: PT012 - it raises in the middle
                async for answer in answers:
                    got.append(answer)  # noqa: PERF401 - the error must not lose what came before it
        assert got == [(made.cid, made) for made in blocks[:5]]


async def test_a_block_that_is_damaged_at_the_peer_is_one_that_it_has_not():
    async with pair() as (a, b):

        async def get(_cid):
            await trio.lowlevel.checkpoint()
            raise CorruptData("damaged")

        BlockServer(b, get)
        client = BlockClient(a, b.peer_id)
        cids = [make(10).cid, make(20).cid]
        with trio.fail_after(PATIENCE):
            assert await collect(client, await client.request(cids)) == [(cid, None) for cid in cids]


async def test_a_peer_that_falls_silent_is_given_up():
    async with pair() as (a, b):

        async def get(_cid):
            await trio.sleep_forever()

        BlockServer(b, get)
        client = BlockClient(a, b.peer_id, idle_timeout=0.1)
        with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable, match="nothing for"):
            await collect(client, await client.request([make(10).cid]))
        await client.close()


async def test_a_peer_that_goes_away_is_told():
    async with pair() as (a, b):

        async def get(_cid):
            await b.disconnect(a.peer_id)
            return b""

        BlockServer(b, get)
        client = BlockClient(a, b.peer_id)
        with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable):
            await collect(client, await client.request([make(10).cid]))
        await eventually(lambda: not a.connected)
        with pytest.raises(PeerUnreachable, match="not connected"):
            await BlockClient(a, b.peer_id).request([make(10).cid])


@pytest.mark.parametrize(
    "answer",
    [
        lambda want: BlockHeader(want.id + 1, want.cids[0], 0),
        lambda want: BlockHeader(want.id, bytes(make(10).cid), 0),
        lambda want: want,
    ],
)
async def test_an_answer_to_another_question_is_refused(answer):
    async with pair() as (a, b):

        async def hostile(stream):
            want = wire.decode(await stream.read_frame())
            await stream.write_frame(wire.encode(answer(want)))
            await trio.sleep_forever()

        b.handle(BLOCKS_PROTOCOL, hostile)
        client = BlockClient(a, b.peer_id)
        with trio.fail_after(PATIENCE), pytest.raises(InvalidMessage, match="something else"):
            await collect(client, await client.request([make(10).cid]))


async def test_a_block_larger_than_blocks_may_be_is_refused_before_it_is_read():
    async with pair() as (a, b):
        made = make(10)

        async def hostile(stream):
            want = wire.decode(await stream.read_frame())
            header = bytearray(wire.encode(BlockHeader(want.id, want.cids[0], 2**20)))
            at = header.find(b"\x1a\x00\x10\x00\x00")
            header[at : at + 5] = b"\x1a\x7f\xff\xff\xff"
            await stream.write_frame(bytes(header))
            await trio.sleep_forever()

        b.handle(BLOCKS_PROTOCOL, hostile)
        client = BlockClient(a, b.peer_id)
        with trio.fail_after(PATIENCE), pytest.raises(InvalidMessage, match="size"):
            await collect(client, await client.request([made.cid]))


async def test_a_server_ends_the_stream_of_one_who_asks_wrongly_and_serves_on():
    async with pair() as (a, b):
        made = make(10)
        serve(b, [made])
        for body in (wire.encode(Heads(0, bytes(32))), b"nonsense", b"\xa1at`"):
            stream = await a.open(b.peer_id, BLOCKS_PROTOCOL)
            await stream.write_frame(body)
            with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable):
                await stream.read_frame()
        client = BlockClient(a, b.peer_id)
        assert await collect(client, await client.request([made.cid])) == [(made.cid, made.data)]


async def test_a_cid_of_version_0_is_asked_for_as_it_is():
    async with pair() as (a, b):
        data = os.urandom(50)
        made = Block(CID.of(data, DAG_PB, 0), data)
        serve(b, [made])
        client = BlockClient(a, b.peer_id)
        assert await collect(client, await client.request([made.cid])) == [(made.cid, data)]


async def test_a_request_names_no_more_blocks_than_it_may():
    async with pair() as (a, b):
        serve(b, [])
        client = BlockClient(a, b.peer_id)
        with pytest.raises(InvalidMessage, match="256"):
            await client.request([make(10).cid] * 257)
        assert wire.decode(wire.encode(Want(1, (bytes(make(1).cid),) * 256)))


def answer_benchmark(host, *answers):
    left = list(answers)

    async def answer(question):
        assert question == BenchmarkRequest()
        await trio.lowlevel.checkpoint()
        return left.pop(0)

    serve_answers(host, BENCHMARK_PROTOCOL, BenchmarkRequest, answer)


async def test_a_question_is_answered_by_a_peer_that_serves_it():
    async with pair() as (a, b):
        answers = [BenchmarkAnswer(b'{"minc": 1}'), BenchmarkAnswer(b"")]
        answer_benchmark(b, *answers)
        with trio.fail_after(PATIENCE):
            for expected in answers:
                assert await ask(a, b.peer_id, BENCHMARK_PROTOCOL, BenchmarkRequest()) == expected
            with pytest.raises(PeerUnreachable):
                await ask(b, a.peer_id, BENCHMARK_PROTOCOL, BenchmarkRequest())  # serves none


async def test_a_question_of_another_type_gets_no_answer():
    async with pair() as (a, b):
        answer_benchmark(b)
        with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable):
            await ask(a, b.peer_id, BENCHMARK_PROTOCOL, Heads(0, bytes(32)))
        await assert_usable(a, b.peer_id)


async def test_a_peer_that_does_not_answer_in_time_is_told():
    async with pair() as (a, b):

        async def silent(_stream):
            await trio.sleep_forever()

        b.handle(BENCHMARK_PROTOCOL, silent)
        with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable, match="did not answer"):
            await ask(a, b.peer_id, BENCHMARK_PROTOCOL, BenchmarkRequest(), within=0.1)
