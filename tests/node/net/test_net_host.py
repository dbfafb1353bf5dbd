"""Connections: who is let in, what is dialled, and how a loss is noticed."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from net_helpers import PATIENCE, address, assert_usable, eventually, new_host, pair, port, running

from peersdb.errors import BadRequest, PeerUnreachable, StorageError
from peersdb.net.host import split_multiaddr

HERE = Path(__file__).parent
SILENT = """
import trio
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from net_helpers import address, new_host, running

async def main():
    async with running(new_host(9)) as (host,):
        print(address(host), flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def multistream(*lines):
    """Lines of multistream-select: varint length, text, newline."""
    return b"".join(bytes([len(line) + 1]) + line + b"\n" for line in lines)


async def negotiate(host, protocol):
    """What a host answers to a proposal on a plain TCP connection."""
    stream = await trio.open_tcp_stream("127.0.0.1", port(host))
    async with stream:
        await stream.send_all(multistream(b"/multistream/1.0.0", protocol))
        answer = b""
        with trio.fail_after(PATIENCE):
            while answer.count(b"\n") < 2:
                data = await stream.receive_some(4096)
                assert data, f"closed after {answer!r}"
                answer += data
        return answer.split(b"\n")[1][1:]


@pytest.mark.parametrize("protocol", [b"/plaintext/2.0.0", b"/tls/1.0.0", b"/secio/1.0.0"])
async def test_only_noise_is_spoken(protocol):
    async with running(new_host(1)) as (host,):
        assert await negotiate(host, protocol) == b"na"
        assert await negotiate(host, b"/noise") == b"/noise"
        assert host.connected == []


async def test_a_dial_connects_both_and_a_second_one_is_the_first():
    async with pair() as (a, b):
        assert (a.connected, b.connected) == ([b.peer_id], [a.peer_id])
        assert await a.dial(address(b)) == b.peer_id
        assert await b.dial(address(a)) == a.peer_id
        assert len(a._network.get_connections()) == 1
        await assert_usable(a, b.peer_id)
        await assert_usable(b, a.peer_id)


async def test_many_dials_of_one_peer_at_once_make_one_connection():
    async with running(new_host(1), new_host(2)) as (a, b), trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(a.dial, address(b))
        await eventually(lambda: a.connected and b.connected)
        await assert_usable(a, b.peer_id)
        assert len(a._network.get_connections()) == 1


@pytest.mark.parametrize("attempt", range(4))
async def test_both_sides_dialling_at_once_leaves_both_able_to_send(attempt):
    async with running(new_host(1), new_host(2)) as (a, b):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.dial, address(b))
            nursery.start_soon(b.dial, address(a))
        await eventually(lambda: a.connected and b.connected)
        for _ in range(3):
            await assert_usable(a, b.peer_id)
            await assert_usable(b, a.peer_id)


async def test_somebody_else_at_an_address_is_refused():
    async with running(new_host(1), new_host(2)) as (a, b):
        stranger = new_host(3).peer_id
        with pytest.raises(PeerUnreachable, match=stranger):
            await a.dial(f"{b.addresses[0]}/p2p/{stranger}")
        assert a.connected == []
        await a.dial(address(b))  # and its true name is dialled at once: nothing is held against the address
        await assert_usable(a, b.peer_id)


async def test_nobody_at_an_address_is_said_at_once_and_may_be_dialled_again():
    async with running(new_host(1)) as (a,):
        b = new_host(2)
        async with running(b):
            gone = address(b)
        for _ in range(2):
            with trio.fail_after(2), pytest.raises(PeerUnreachable, match=b.peer_id):
                await a.dial(gone)
        again = new_host(2)
        async with again.run("127.0.0.1", int(gone.split("/")[4])):
            await a.dial(gone)
            assert a.connected == [b.peer_id]


@pytest.mark.parametrize("name", ["dns4/localhost", "dns/localhost"])
async def test_names_are_resolved_by_the_system(name):
    async with running(new_host(1), new_host(2)) as (a, b):
        await a.dial(f"/{name}/tcp/{port(b)}/p2p/{b.peer_id}")
        await assert_usable(a, b.peer_id)


async def test_a_name_that_nobody_has_is_told():
    async with running(new_host(1)) as (a,):
        with pytest.raises(PeerUnreachable, match=r"nobody\.invalid does not resolve"):
            await a.dial(f"/dns4/nobody.invalid/tcp/1/p2p/{new_host(2).peer_id}")


PEER = new_host(2).peer_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/127.0.0.1/tcp/4001/p2p/",
        "/ip4/127.0.0.1/tcp/4001/p2p/0OIl",
        f"/ip4/127.0.0.1/udp/4001/p2p/{PEER}",
        f"/ip4/127.0.0.1/p2p/{PEER}",
        f"/ip4/300.0.0.1/tcp/1/p2p/{PEER}",
        f"/ip4/127.0.0.1/tcp/99999/p2p/{PEER}",
        f"/ip4/127.0.0.1/tcp/1/p2p/{PEER}/p2p-circuit/p2p/{PEER}",
        f"/unix/tmp/socket/p2p/{PEER}",
        f"/dns4/{'a' * 600}/tcp/1/p2p/{PEER}",
        "http://127.0.0.1:8080",
    ],
)
def test_what_is_no_address_to_dial_is_refused(text):
    with pytest.raises(BadRequest, match=r"p2p|dials"):
        split_multiaddr(text)


async def test_a_node_does_not_dial_itself():
    async with running(new_host(1)) as (a,):
        with pytest.raises(BadRequest, match="itself"):
            await a.dial(address(a))


async def test_a_taken_port_is_told_with_what_to_do():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(StorageError, match=f"port {number}.*-ipfs-port"):
            async with new_host(1).run("127.0.0.1", number):
                pass


async def test_the_end_of_a_host_frees_its_port_and_its_peers_notice():
    async with running(new_host(1)) as (a,):
        b = new_host(2)
        async with running(b):
            number = port(b)
            await a.dial(address(b))
        await eventually(lambda: not a.connected)
        async with new_host(2).run("127.0.0.1", number):
            await a.dial(f"/ip4/127.0.0.1/tcp/{number}/p2p/{b.peer_id}")
            assert a.connected == [b.peer_id]


async def test_disconnect_is_told_once_on_each_side_and_the_peer_can_be_dialled_again():
    async with running(new_host(1), new_host(2)) as (a, b):
        word = []
        a.on_connected = lambda peer: word.append(("a", "+", peer))
        a.on_disconnected = lambda peer: word.append(("a", "-", peer))
        b.on_connected = lambda peer: word.append(("b", "+", peer))
        b.on_disconnected = lambda peer: word.append(("b", "-", peer))
        for _ in range(2):
            word.clear()
            await a.dial(address(b))
            await eventually(lambda: b.connected)
            await a.disconnect(b.peer_id)
            await eventually(lambda: not a.connected and not b.connected)
            assert sorted(word) == sorted(
                [("a", "+", b.peer_id), ("a", "-", b.peer_id), ("b", "+", a.peer_id), ("b", "-", a.peer_id)]
            )
        with pytest.raises(PeerUnreachable, match="not connected"):
            await a.open(b.peer_id, "/tests/echo/1")


async def test_wildcards_are_told_as_the_interfaces_addresses_loopback_last():
    host = new_host(1)
    async with host.run("0.0.0.0", 0):
        assert host.addresses
        assert not any("0.0.0.0" in text for text in host.addresses)
        assert host.addresses[-1].startswith("/ip4/127.0.0.1/tcp/")


@pytest.mark.processes
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_peer_that_is_killed_or_falls_silent_is_noticed(how):
    with subprocess.Popen(  # noqa: ASYNC220 - one line is read
        [sys.executable, "-c", SILENT], cwd=HERE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            # A short interval stands for the usual one: what is tested is that the silence ends the connection.
            async with running(new_host(1, ping_interval=0.5, ping_timeout=0.5)) as (host,):
                peer = await host.dial(await trio.to_thread.run_sync(child.stdout.readline))
                gone = trio.Event()
                host.on_disconnected = lambda _: gone.set()
                await assert_usable(host, peer)
                child.send_signal(how)
                with trio.fail_after(PATIENCE):
                    await gone.wait()
                assert host.connected == []
        finally:
            child.kill()


async def test_a_handler_may_cut_its_own_peer_off_again_and_again():
    """The handler ends with the connection that it closes, and the peer dials at once: both sides agree on what is."""
    async with running(new_host(1), new_host(2)) as (a, b):

        async def cut(stream):
            await stream.read_frame()
            await b.disconnect(stream.peer)

        b.handle("/tests/cut/1", cut)
        for _ in range(5):
            await a.dial(address(b))
            stream = await a.open(b.peer_id, "/tests/cut/1")
            await stream.write_frame(b"cut me off")
            await eventually(lambda: not a.connected)
        await a.dial(address(b))
        await eventually(lambda: b.connected)
        await trio.sleep(0.5)  # until what was closed before is gone for good
        assert (a.connected, b.connected) == ([b.peer_id], [a.peer_id])
        await assert_usable(a, b.peer_id)
        await assert_usable(b, a.peer_id)
        assert len(a._network.get_connections()) == len(b._network.get_connections()) == 1


async def test_a_stream_is_never_a_reason_to_dial():
    """The library would dial for it, by the addresses that a peer told when it was here."""
    async with pair() as (a, b):
        await assert_usable(a, b.peer_id)
        await assert_usable(b, a.peer_id)
        for host, other in ((a, b), (b, a)):
            host._network.peerstore.add_addrs(
                ID.from_string(other.peer_id), [Multiaddr(other.addresses[0])], 600
            )
        await a.disconnect(b.peer_id)
        a._peers.add(b.peer_id)  # as in the moment before the loss is known
        with pytest.raises(PeerUnreachable):
            await a.open(b.peer_id, "/tests/echo/1")
        await eventually(lambda: not b.connected)
        assert a._network.get_connections() == []
