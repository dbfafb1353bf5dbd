"""Streams: nothing that a remote does on one ends the node, the connection, or a slow writer."""

import hashlib
import os

import pytest
import trio
from libp2p.peer.id import ID
from net_helpers import ECHO, PATIENCE, address, assert_usable, eventually, new_host, pair, port, running

from peersdb.core.wire import MAX_FRAME
from peersdb.errors import InvalidMessage, PeerUnreachable
from peersdb.net.host import MAX_STREAMS_PER_PEER
from peersdb.net.muxer import MAX_FRAME_DATA


async def boom(_stream):
    raise RuntimeError("boom")


async def boom_later(stream):
    await stream.read_frame()
    raise ZeroDivisionError


async def refuse(stream):
    await stream.read_frame()
    raise InvalidMessage("not this")


async def group(_stream):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(boom, None)


async def ask(a, b):
    stream = await a.open(b.peer_id, "/tests/boom/1")
    await stream.write_frame(b"x")
    return await stream.read_frame()


@pytest.mark.parametrize("handler", [boom, boom_later, refuse, group])
async def test_an_exception_in_a_handler_ends_its_stream_and_nothing_else(handler):
    async with pair() as (a, b):
        b.handle("/tests/boom/1", handler)
        kept = await a.open(b.peer_id, ECHO)
        for _ in range(3):
            with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable):
                await ask(a, b)
        await kept.write_frame(b"still here")
        assert await kept.read_frame() == b"still here"
        await assert_usable(a, b.peer_id)
        await assert_usable(b, a.peer_id)


async def test_a_peer_has_no_more_streams_than_it_may_and_gets_some_back():
    async with pair() as (a, b):
        streams, refused = [], 0
        for _ in range(MAX_STREAMS_PER_PEER + 8):
            try:
                streams.append(await a.open(b.peer_id, ECHO))
            except PeerUnreachable:
                refused += 1
        assert refused >= 8
        assert len(streams) >= MAX_STREAMS_PER_PEER - 3  # the library's own take a place for a moment
        assert b._streams[a.peer_id] <= MAX_STREAMS_PER_PEER
        await streams[0].write_frame(b"those that were let in work")
        assert await streams[0].read_frame()
        for stream in streams:
            await stream.reset()
        await eventually(lambda: b._streams.get(a.peer_id, 0) < MAX_STREAMS_PER_PEER // 2)
        await assert_usable(a, b.peer_id)


async def test_a_protocol_that_nobody_serves_is_refused():
    async with pair() as (a, b):
        with pytest.raises(PeerUnreachable, match="/tests/nothing/1"):
            await a.open(b.peer_id, "/tests/nothing/1")
        await assert_usable(a, b.peer_id)


async def test_a_protocol_is_proposed_with_the_first_bytes_and_nothing_waits_for_the_answer():
    async with pair() as (a, b):
        sent, wire = [], a._network.get_connections()[0].muxed_conn

        async def record(frames, write=wire.write_frames):
            sent.extend(frame for frame in frames if frame[4:8] == stream_id.to_bytes(4))
            await write(frames)

        wire.write_frames = record
        stream = await a.propose(b.peer_id, ECHO)
        stream_id = stream._muxed.stream_id
        await stream.write_frame(b"first")
        await stream.write_frame(b"second")
        assert sent[0][12:].hex() == (
            "132f6d756c746973747265616d2f312e302e300a"  # /multistream/1.0.0
            "0e2f74657374732f6563686f2f310a"  # /tests/echo/1
            "000000056669727374"  # the frame
        )
        assert len(sent) == 2
        assert [await stream.read_frame(), await stream.read_frame()] == [b"first", b"second"]


async def test_a_proposal_that_the_peer_does_not_speak_fails_when_it_is_read():
    async with pair() as (a, b):
        stream = await a.propose(b.peer_id, "/tests/nothing/1")
        await stream.write_frame(b"hello?")
        with (
            trio.fail_after(PATIENCE),
            pytest.raises(PeerUnreachable, match="does not speak /tests/nothing/1"),
        ):
            await stream.read_frame()
        await stream.reset()
        await assert_usable(a, b.peer_id)
        with pytest.raises(PeerUnreachable, match="is not connected"):
            await a.propose(new_host(3).peer_id, ECHO)


@pytest.mark.parametrize(
    "data",
    [
        b"\x13/multistream/1.0.0\n\x05\xff\xfe\xfd\xfc\n",  # a protocol's name that is no UTF-8
        b"\x05\xff\xfe\xfd\xfc\n",
        b"\xff" * 64,
        b"\x00" * 64,
        b"\x13/multistream/1.0.0\n" + b"\xff\xff\xff\xff\x0f" + b"a" * 100_000,
        b"",
    ],
)
async def test_garbage_on_a_stream_ends_that_stream_only(data):
    async with pair() as (a, b):
        (connection,) = a._network.get_connections(ID.from_string(b.peer_id))
        raw = await connection.muxed_conn.open_stream()
        if data:
            await raw.write(data)
        await raw.close()
        await assert_usable(a, b.peer_id)
        await assert_usable(b, a.peer_id)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 5000,
        b"\x13/multistream/1.0.0\n",
        b"\x13/multistream/1.0.0\n\x05\xff\xfe\xfd\xfc\n",
        b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\x00\x20" + b"\xaa" * 32,
        b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\xff\xff" + b"\xaa" * 70_000,
    ],
)
async def test_garbage_on_the_port_does_not_end_the_node(data):
    async with running(new_host(1), new_host(2)) as (a, b):
        for _ in range(3):
            stream = await trio.open_tcp_stream("127.0.0.1", port(b))
            if data:
                await stream.send_all(data)
            await stream.aclose()
        await a.dial(address(b))
        await assert_usable(a, b.peer_id)
        assert b.connected == [a.peer_id]


async def test_a_frame_longer_than_frames_may_be_is_refused_before_it_is_read():
    async with pair() as (a, b):
        errors = []

        async def take(stream):
            try:
                await stream.read_frame()
            except InvalidMessage as error:
                errors.append(str(error))
                raise

        b.handle("/tests/take/1", take)
        for length in (MAX_FRAME + 1, 2**32 - 1, 0):
            stream = await a.open(b.peer_id, "/tests/take/1")
            await stream.write(length.to_bytes(4))
            with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable):
                await stream.read_frame()
        assert len(errors) == 3
        await assert_usable(a, b.peer_id)


async def digest_of_all(stream):
    """Answers a length and so many bytes with their digest and the same bytes."""
    size = int.from_bytes(await stream.read_exactly(8))
    data = await stream.read_exactly(size)
    await stream.write(hashlib.sha256(data).digest() + data)
    await stream.read_exactly(1)


async def test_bytes_arrive_as_they_were_sent_at_any_size():
    frame = MAX_FRAME_DATA
    sizes = [1, frame - 1, frame, frame + 1, 2 * frame, 256 * 1024, 256 * 1024 + 1, 5_000_000]
    sizes += [int.from_bytes(os.urandom(3)) % 3_000_000 for _ in range(4)]
    async with pair() as (a, b):
        b.handle("/tests/digest/1", digest_of_all)

        async def exchange(size):
            data = os.urandom(size)
            stream = await a.open(b.peer_id, "/tests/digest/1")
            await stream.write(size.to_bytes(8) + data)
            assert await stream.read_exactly(32) == hashlib.sha256(data).digest()
            assert await stream.read_exactly(size) == data
            await stream.reset()

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for size in sizes:
                    nursery.start_soon(exchange, size)


async def test_a_reader_that_is_busy_for_6_seconds_does_not_break_the_writer():
    """The library's own writer gives up after 5 s without credit; the wait here is real for that reason."""
    size, read = 8 * 1024 * 1024, []
    async with pair() as (a, b):
        done = trio.Event()

        async def slow(stream):
            await trio.sleep(6)
            read.append(await stream.read_exactly(size))
            done.set()

        b.handle("/tests/slow/1", slow)
        data = os.urandom(size)
        with trio.fail_after(20):
            stream = await a.open(b.peer_id, "/tests/slow/1")
            await stream.write(data)
            await done.wait()
        assert read == [data]


async def write_for_ever(stream):
    while True:
        await stream.write(bytes(1024 * 1024))


async def test_a_writer_without_credit_wakes_when_its_stream_is_reset():
    async with pair() as (a, b):

        async def never(stream):
            await trio.sleep(0.2)
            raise InvalidMessage("enough")

        b.handle("/tests/never/1", never)
        stream = await a.open(b.peer_id, "/tests/never/1")
        with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable):
            await write_for_ever(stream)


async def test_a_writer_without_credit_wakes_when_the_connection_goes():
    async with pair() as (a, b):

        async def never(_stream):
            await trio.sleep_forever()

        b.handle("/tests/never/1", never)
        stream = await a.open(b.peer_id, "/tests/never/1")
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:

                async def write():
                    with pytest.raises(PeerUnreachable):
                        await write_for_ever(stream)

                nursery.start_soon(write)
                await trio.sleep(0.1)  # until the credit is used up
                await a.disconnect(b.peer_id)


async def test_the_end_of_a_stream_before_its_bytes_is_told():
    async with pair() as (a, b):

        async def short(stream):
            await stream.write(b"abc")

        b.handle("/tests/short/1", short)
        stream = await a.open(b.peer_id, "/tests/short/1")
        assert await stream.read_exactly(3) == b"abc"
        with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable):
            await stream.read_exactly(1)
