"""The muxer: a peer gets credit for what is read and no more, and each frame reaches its stream, whatever its size."""

import os
import struct
from contextlib import suppress

import pytest
import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.yamux.yamux import DEFAULT_WINDOW_SIZE, FLAG_FIN, TYPE_DATA, YAMUX_HEADER_FORMAT
from net_helpers import PATIENCE, assert_usable, connection, eventually, pair
from structlog.testing import capture_logs

from peersdb.errors import PeerUnreachable
from peersdb.net.chunks import Chunks
from peersdb.net.muxer import MAX_FRAME_DATA

HELD = "/tests/held/1"


def data_frame(stream_id, data, flags=0):
    return struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, flags, stream_id, len(data)) + data


class Held:
    """Streams to a handler that reads only what it is told to."""

    def __init__(self, host):
        self.streams = []
        host.handle(HELD, self.hold)

    async def hold(self, stream):
        self.streams.append(stream)
        await trio.sleep_forever()


async def opened(a, b):
    """A stream, its muxed side at the sender, and the reading stream."""
    held = Held(b)
    stream = await a.open(b.peer_id, HELD)
    await eventually(lambda: held.streams)
    return stream, stream._muxed, held.streams[0]


async def test_a_peer_that_sends_more_than_it_has_credit_for_is_cut_off_with_its_reason():
    async with pair() as (a, b):
        _, muxed, reader = await opened(a, b)
        with capture_logs() as logs:
            frame = data_frame(muxed.stream_id, bytes(MAX_FRAME_DATA))
            with suppress(ConnectionClosedError):  # it may be noticed while the last ones are sent
                for _ in range(DEFAULT_WINDOW_SIZE // MAX_FRAME_DATA + 2):
                    await muxed.conn.write_frames([frame])
            await eventually(lambda: not b.connected)
        assert [entry["peer"] for entry in logs if "credit" in entry["event"]] == [a.peer_id]
        assert len(reader._muxed._buffer) <= DEFAULT_WINDOW_SIZE
        with pytest.raises(PeerUnreachable):
            await reader.read_exactly(DEFAULT_WINDOW_SIZE)


async def test_a_writer_stops_where_nobody_reads_and_goes_on_with_the_reader():
    async with pair() as (a, b):
        stream, _, reader = await opened(a, b)
        data = os.urandom(3 * DEFAULT_WINDOW_SIZE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, data)
            waiting = reader._muxed._buffer
            await eventually(lambda: len(waiting) > DEFAULT_WINDOW_SIZE - 1000)  # less the opening's words
            await assert_usable(a, b.peer_id)  # the other streams go on
            assert len(waiting) <= DEFAULT_WINDOW_SIZE
            with trio.fail_after(PATIENCE):
                assert await reader.read_exactly(len(data)) == data


async def test_what_a_reader_expects_may_be_sent_before_it_reads_and_nothing_more():
    size = 3 * 1024 * 1024
    async with pair() as (a, b):
        stream, _, reader = await opened(a, b)
        data = os.urandom(2 * size)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.write, data)
                await reader.expect(1)  # less than there is: nothing is taken back
                await reader.expect(size)
                waiting = reader._muxed._buffer
                await eventually(lambda: len(waiting) > size - 1000)
                await assert_usable(a, b.peer_id)
                assert len(waiting) <= size
                assert await reader.read_exactly(len(data)) == data


async def test_frames_of_all_sizes_are_one_stream_of_bytes():
    async with pair() as (a, b):
        _, muxed, reader = await opened(a, b)
        data = os.urandom(200_000)
        sizes = [1, 2, 0, 1, 50, 16_383, 16_384, 1, MAX_FRAME_DATA, *[1] * 500, 30_000, 0]
        frames, at = [], 0
        for size in sizes:
            frames.append(data_frame(muxed.stream_id, data[at : at + size]))
            at += size
        with trio.fail_after(PATIENCE):
            await muxed.conn.write_frames(frames[:10])
            # Together in one message, and with the last one cut in two.
            joined = b"".join(frames[10:])
            await muxed.conn.write_frames([joined[:20_000], joined[20_000:]])
            read = [await reader.read_exactly(size) for size in (3, 16_000, 400, 1)]
            rest = await reader.read_exactly(at - sum(map(len, read)))
        assert b"".join([*read, rest]) == data[:at]


async def test_what_was_sent_before_the_end_is_read_and_then_the_end_is_told():
    async with pair() as (a, b):
        _, muxed, reader = await opened(a, b)
        await muxed.conn.write_frames(
            [
                data_frame(muxed.stream_id, b"the last", 0),
                data_frame(muxed.stream_id, b" words", FLAG_FIN),
            ]
        )
        with trio.fail_after(PATIENCE):
            assert await reader.read_exactly(10) == b"the last w"
            assert await reader.read_exactly(4) == b"ords"
            with pytest.raises(PeerUnreachable):
                await reader.read_exactly(1)


async def test_what_comes_for_a_stream_that_is_gone_is_dropped():
    async with pair() as (a, b):
        _, muxed, reader = await opened(a, b)
        await reader.reset()
        with trio.fail_after(PATIENCE):
            for _ in range(100):
                await muxed.conn.write_frames([data_frame(muxed.stream_id, bytes(MAX_FRAME_DATA))])
            await assert_usable(a, b.peer_id)
            await assert_usable(b, a.peer_id)
        conn = connection(b, a.peer_id)
        assert muxed.stream_id not in conn.stream_buffers
        assert all(type(buffer) is Chunks and not len(buffer) for buffer in conn.stream_buffers.values())


async def test_a_large_read_wakes_a_few_times_and_not_at_each_frame():
    async with pair() as (a, b):
        stream, _, reader = await opened(a, b)
        size, woken = 4 * 1024 * 1024, 0
        inner = reader._muxed._give_credit

        async def count():
            nonlocal woken
            woken += 1
            await inner()

        reader._muxed._give_credit = count
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.write, bytes(size))
                await reader.read_exactly(size)
        assert woken <= size / (DEFAULT_WINDOW_SIZE / 2)
