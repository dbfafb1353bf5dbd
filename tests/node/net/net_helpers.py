"""Real hosts on loopback, and words for what a test waits for."""

from contextlib import AsyncExitStack, asynccontextmanager

import trio
from libp2p.peer.id import ID

from peersdb.core.identity import Signer
from peersdb.net.host import Host

#: Nothing on loopback takes this long; a test that waits for it has failed.
PATIENCE = 30.0
ECHO = "/tests/echo/1"


def new_host(number, **options):
    return Host(Signer.from_seed(bytes([number]) * 32), **options)


def address(host):
    return f"{host.addresses[0]}/p2p/{host.peer_id}"


def port(host):
    return int(host.addresses[0].rsplit("/", 1)[1])


async def echo(stream):
    """Sends each frame back, until the other side is gone."""
    while True:
        await stream.write_frame(await stream.read_frame())


@asynccontextmanager
async def running(*made):
    """Hosts that listen on free ports of loopback and answer `ECHO`."""
    async with AsyncExitStack() as stack:
        for host in made:
            host.handle(ECHO, echo)
            await stack.enter_async_context(host.run("127.0.0.1", 0))
        yield made


@asynccontextmanager
async def pair():
    """Two hosts, the first of which has dialled the second."""
    async with running(new_host(1), new_host(2)) as (a, b):
        await a.dial(address(b))
        await eventually(lambda: a.peer_id in b.connected)
        yield a, b


async def assert_usable(host, peer):
    """The connection carries frames there and back."""
    with trio.fail_after(PATIENCE):
        stream = await host.open(peer, ECHO)
        await stream.write_frame(b"are you there?")
        assert await stream.read_frame() == b"are you there?"
        await stream.reset()


def connection(host, peer):
    """The library's multiplexed connection to a peer."""
    (found,) = host._network.get_connections(ID.from_string(peer))
    return found.muxed_conn


async def eventually(condition):
    """Waits for what nobody signals."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - it is the library's state, which has no event
            await trio.sleep(0.01)
