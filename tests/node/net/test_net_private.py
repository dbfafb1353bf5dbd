"""Private networks: who has the key is connected, everybody else is refused at once and told so."""

import os
from itertools import permutations

import pytest
import trio
from Crypto.Cipher import Salsa20
from nacl.secret import SecretBox
from net_helpers import PATIENCE, address, assert_usable, eventually, new_host, port, running
from structlog.testing import capture_logs

from peersdb.errors import PeerUnreachable
from peersdb.net.private import GREETING, NONCE, TELL_EVERY, _hsalsa20, fingerprint, xsalsa20

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
#: What the refused one says of it, by (own key, the other's key).
WORDS = {
    (None, KEY): "does not speak libp2p in the open",
    (KEY, None): "speaks without a swarm key",
    (KEY, OTHER): "another swarm key",
    (OTHER, KEY): "another swarm key",
}


def test_the_cipher_is_libsodiums():
    """Its secretbox is XSalsa20 whose first 32 bytes key the authenticator."""
    for _ in range(8):
        key, nonce, text = os.urandom(32), os.urandom(NONCE), os.urandom(1000)
        boxed = SecretBox(key).encrypt(text, nonce).ciphertext[16:]
        cipher = xsalsa20(key, nonce)
        cipher.encrypt(bytes(32))
        assert cipher.encrypt(text[:1]) + cipher.encrypt(text[1:]) == boxed


def test_the_published_vector_of_hsalsa20():
    """From tests/core1.c of NaCl."""
    shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    first = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    assert _hsalsa20(shared, bytes(16)) == first


def test_the_fingerprint_is_golden_and_tells_keys_apart():
    assert fingerprint(KEY) == "41dfbf48d882a8ee665983adfa7a48f7"
    assert fingerprint(KEY) != fingerprint(OTHER)


async def test_who_has_the_key_is_connected_by_either_side():
    hosts = [new_host(number, swarm_key=KEY) for number in (1, 2, 3)]
    async with running(*hosts) as (a, b, c):
        await a.dial(address(b))
        await c.dial(address(a))
        await eventually(lambda: len(a.connected) == 2)
        for one, other in ((a, b), (b, a), (a, c), (c, a)):
            await assert_usable(one, other.peer_id)


@pytest.mark.parametrize(("ours", "theirs"), WORDS, ids=["none-key", "key-none", "key-other", "other-key"])
async def test_who_has_not_the_key_is_refused_at_once_and_both_are_told(ours, theirs):
    async with running(new_host(1, swarm_key=ours), new_host(2, swarm_key=theirs)) as (a, b):
        with capture_logs() as lines, trio.fail_after(2):
            for _ in range(3):
                with pytest.raises(PeerUnreachable, match=WORDS[ours, theirs]) as caught:
                    await a.dial(address(b))
                assert b.peer_id in str(caught.value)
            await eventually(lambda: any("refused" in line["event"] for line in lines))
        (line,) = [line for line in lines if "refused" in line["event"]]
        assert (line["log_level"], line["remote"]) == ("warning", "127.0.0.1")
        assert WORDS[theirs, ours] in line["reason"]
        assert a.connected == b.connected == []


async def test_strangers_do_not_keep_members_from_each_other():
    hosts = [
        new_host(1, swarm_key=KEY),
        new_host(2, swarm_key=KEY),
        new_host(3),
        new_host(4, swarm_key=OTHER),
    ]
    async with running(*hosts) as made:
        async with trio.open_nursery() as nursery:
            for one, other in permutations(made, 2):
                nursery.start_soon(_try, one, other)
        a, b, c, d = made
        assert (a.connected, b.connected) == ([b.peer_id], [a.peer_id])
        assert c.connected == d.connected == []
        await assert_usable(a, b.peer_id)


async def _try(one, other):
    try:
        await one.dial(address(other))
    except PeerUnreachable:
        return


async def test_refusals_are_told_now_and_then_however_many_there_are():
    async with running(new_host(1, swarm_key=KEY)) as (host,):
        with capture_logs() as lines:
            for _ in range(20):
                await refused(host, GREETING + b"\x07/noise\n")
        (line,) = [line for line in lines if "refused" in line["event"]]
        assert line["untold_before"] == 0
        assert TELL_EVERY >= 1


async def refused(host, *pieces):
    """Sends these bytes and waits until the host hangs up."""
    stream = await trio.open_tcp_stream("127.0.0.1", port(host))
    async with stream:
        with trio.fail_after(PATIENCE):
            try:
                for piece in pieces:
                    await stream.send_all(piece)
                    await trio.sleep(0.01)
                while await stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                return


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "private"])
@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",),
        (bytes(4096),),
        (b"\xff" * 70_000,),
        (b"\x13", b"/multistream/1.0.1\n", bytes(64)),
        (bytes(range(NONCE)), bytes(range(256)) * 400),
    ],
    ids=["http", "zeros", "ones", "almost", "counting"],
)
async def test_garbage_on_the_port_is_refused_and_members_are_served(key, pieces):
    async with running(new_host(1, swarm_key=key), new_host(2, swarm_key=key)) as (host, member):
        for _ in range(3):
            await refused(host, *pieces)
        await member.dial(address(host))
        await assert_usable(member, host.peer_id)


async def test_a_connection_that_ends_before_its_greeting_is_no_error_of_the_host():
    async with running(new_host(1, swarm_key=KEY), new_host(2, swarm_key=KEY)) as (host, member):
        for start in (b"", b"x", GREETING[:10], os.urandom(NONCE), os.urandom(NONCE + 5)):
            stream = await trio.open_tcp_stream("127.0.0.1", port(host))
            await stream.send_all(start) if start else None
            await stream.aclose()
        await member.dial(address(host))
        await assert_usable(member, host.peer_id)


async def test_nonce_and_greeting_may_come_in_any_pieces():
    """As a slow link cuts them: the answer shows that all was understood."""
    async with running(new_host(1, swarm_key=KEY)) as (host,):
        stream = await trio.open_tcp_stream("127.0.0.1", port(host))
        async with stream:
            nonce = os.urandom(NONCE)
            sent = nonce + xsalsa20(KEY, nonce).encrypt(GREETING + b"\x07/noise\n")
            answer = b""
            with trio.fail_after(PATIENCE):
                for start in range(len(sent)):
                    await stream.send_all(sent[start : start + 1])
                    await trio.sleep(0.001)
                while len(answer) < NONCE + len(GREETING) + 8:
                    answer += await stream.receive_some(4096)
        assert xsalsa20(KEY, answer[:NONCE]).decrypt(answer[NONCE:]) == GREETING + b"\x07/noise\n"


async def test_nothing_of_libp2p_is_seen_on_the_wire_and_no_nonce_comes_twice():
    seen = []
    made = running(new_host(1, swarm_key=KEY), new_host(2, swarm_key=KEY))
    async with made as (a, b), trio.open_nursery() as nursery:
        relay = await nursery.start(relay_to, port(b), seen)
        for _ in range(3):
            await a.dial(f"/ip4/127.0.0.1/tcp/{relay}/p2p/{b.peer_id}")
            await assert_usable(a, b.peer_id)
            await a.disconnect(b.peer_id)
        nursery.cancel_scope.cancel()
    assert len(seen) == len({bytes(data[:NONCE]) for data in seen}) == 6
    assert not any(b"multistream" in data or b"noise" in data for data in seen)


async def relay_to(target, seen, task_status):
    """A listener that passes on what it gets, and keeps what each side says of each connection."""

    async def serve(client):
        server = await trio.open_tcp_stream("127.0.0.1", target)
        async with client, server, trio.open_nursery() as nursery:
            for source, sink in ((client, server), (server, client)):
                seen.append(bytearray())
                nursery.start_soon(copy, source, sink, seen[-1])

    async def copy(source, sink, kept):
        try:
            while data := await source.receive_some(65536):
                kept += data
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        task_status.started(listeners[0].socket.getsockname()[1])


def test_salsa20_continues_where_it_was():
    """What the gate relies on: pieces are enciphered as the whole would be."""
    whole = Salsa20.new(key=KEY, nonce=bytes(8)).encrypt(bytes(200))
    parts = Salsa20.new(key=KEY, nonce=bytes(8))
    assert b"".join(parts.encrypt(bytes(size)) for size in (1, 63, 64, 65, 7)) == whole
