"""Noise sessions: whatever TCP does to the messages, they arrive whole and in order, or the connection ends."""

import os
import random

import pytest
import trio
from libp2p import new_host as library_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr
from net_helpers import (
    PATIENCE,
    address,
    assert_usable,
    connection,
    eventually,
    new_host,
    pair,
    port,
    running,
)

from peersdb.errors import PeerUnreachable
from peersdb.net.muxer import CreditStream, CreditYamux
from peersdb.net.noise import Session

LARGE = "/tests/large/1"


async def send_back(stream):
    """Answers a length and so many bytes with the same bytes."""
    data = await stream.read_exactly(int.from_bytes(await stream.read_exactly(8)))
    await stream.write(data)
    await stream.read_exactly(1)


async def there_and_back(host, peer, data):
    stream = await host.open(peer, LARGE)
    await stream.write(len(data).to_bytes(8), data)
    assert await stream.read_exactly(len(data)) == data
    await stream.reset()


async def relay(nursery, to, forward):
    """A port whose connections are passed on to another through ``forward(source, sink)``."""

    async def connect(near):
        far = await trio.open_tcp_stream("127.0.0.1", to)
        async with near, far:
            try:
                async with trio.open_nursery() as both:
                    both.start_soon(forward, near, far)
                    both.start_soon(forward, far, near)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, connect, [listener])
    return listener.socket.getsockname()[1]


@pytest.mark.parametrize("most", [1, 3, 1000, 65_537, 1_000_000])
async def test_messages_arrive_however_tcp_cuts_them(most):
    size = min(400_000, most * 2000)
    numbers = random.Random(most)
    begin = trio.Event()  # the library's handshake gives up after 100 pieces

    async def cut(source, sink):
        async for data in source:
            left = memoryview(data)
            while left:
                count = numbers.randint(1, most) if begin.is_set() else len(left)
                await sink.send_all(left[:count])
                left = left[count:]
        await sink.send_eof()

    async with running(new_host(1), new_host(2)) as (a, b), trio.open_nursery() as nursery:
        b.handle(LARGE, send_back)
        through = await relay(nursery, port(b), cut)
        with trio.fail_after(30):
            await a.dial(f"/ip4/127.0.0.1/tcp/{through}/p2p/{b.peer_id}")
            begin.set()
            await there_and_back(a, b.peer_id, os.urandom(size))
        nursery.cancel_scope.cancel()


async def test_a_byte_that_is_changed_on_the_way_ends_the_connection_and_no_reader_sees_it():
    passed = 0
    spoil = trio.Event()

    async def meddle(source, sink):
        nonlocal passed
        async for data in source:
            changed = bytearray(data)
            if spoil.is_set() and passed < 1:
                passed += 1
                changed[len(changed) // 2] ^= 1
            await sink.send_all(changed)
        await sink.send_eof()

    async with running(new_host(1), new_host(2)) as (a, b), trio.open_nursery() as nursery:
        b.handle(LARGE, send_back)
        through = await relay(nursery, port(b), meddle)
        await a.dial(f"/ip4/127.0.0.1/tcp/{through}/p2p/{b.peer_id}")
        await there_and_back(a, b.peer_id, os.urandom(100_000))
        spoil.set()
        with trio.fail_after(PATIENCE), pytest.raises(PeerUnreachable):
            await there_and_back(a, b.peer_id, os.urandom(100_000))
        await eventually(lambda: not a.connected and not b.connected)
        nursery.cancel_scope.cancel()


async def test_a_writer_that_is_cancelled_in_the_middle_of_a_message_does_not_spoil_the_connection():
    """TCP has taken a part of a message by then: what comes after it must not begin there."""
    held, released = trio.Event(), trio.Event()

    async def dam(source, sink):
        async for data in source:
            if held.is_set():
                await released.wait()
            await sink.send_all(data)

    async with running(new_host(1), new_host(2)) as (a, b), trio.open_nursery() as nursery:
        b.handle(LARGE, send_back)
        through = await relay(nursery, port(b), dam)
        await a.dial(f"/ip4/127.0.0.1/tcp/{through}/p2p/{b.peer_id}")
        stream = await a.open(b.peer_id, LARGE)
        session = connection(a, b.peer_id).secured_conn
        session._socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4096)
        held.set()
        with trio.move_on_after(0.3) as writing:
            await stream.write(bytes(250_000))  # less than the credit, more than TCP takes
        assert writing.cancelled_caught
        assert session._unsent
        released.set()
        with trio.fail_after(PATIENCE):
            await there_and_back(a, b.peer_id, os.urandom(100_000))
        assert not session._unsent
        await assert_usable(b, a.peer_id)
        nursery.cancel_scope.cancel()


async def test_all_streams_are_of_the_fast_kind():
    """A new version of the library that makes them in another way would only be slow, and nobody would know."""
    async with pair() as (a, b):
        kinds = []

        async def look(stream):
            kinds.append(type(stream._muxed))

        b.handle("/tests/look/1", look)
        stream = await a.open(b.peer_id, "/tests/look/1")
        await eventually(lambda: kinds)
        assert [*kinds, type(stream._muxed)] == [CreditStream, CreditStream]
        for host, peer in ((a, b.peer_id), (b, a.peer_id)):
            muxed = connection(host, peer)
            assert (type(muxed), type(muxed.secured_conn)) == (CreditYamux, Session)


@pytest.mark.parametrize("size", [1, 65_000, 3_000_000])
async def test_the_library_s_own_noise_and_yamux_are_understood_both_ways(size):
    keys = create_new_key_pair(b"\x07" * 32)
    noise = Transport(keys, noise_privkey=create_x25519_key_pair().private_key)
    plain = library_host(key_pair=keys, sec_opt={NOISE: noise}, muxer_opt={YAMUX: Yamux})
    data = os.urandom(size)
    async with (
        running(new_host(1)) as (host,),
        plain.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]),
    ):
        host.handle(LARGE, send_back)
        with trio.fail_after(30):
            await plain.connect(info_from_p2p_addr(Multiaddr(address(host))))
            stream = await plain.new_stream(ID.from_string(host.peer_id), [LARGE])
            await stream.write(len(data).to_bytes(8) + data)
            back = b""
            while len(back) < size:
                back += await stream.read(size - len(back))
            assert back == data
            await stream.write(b".")
