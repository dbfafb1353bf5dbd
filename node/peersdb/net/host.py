"""A libp2p host with safe settings: listen, dial, streams, and word of connections.

What differs from the library's defaults, and why:

- Noise alone: the default also offers plaintext, by which anyone could pretend to be any peer.
- Every inbound stream runs under `_guarded`: an exception in a handler would end the whole process.
- Pings notice a silent peer within seconds; yamux's own timeout does not.
- No automatic dialling and no resource manager: both act on their own; whom to dial is the service's choice.
- Names are resolved by the system's resolver at each dial: the library asks name servers itself, which
  know neither `localhost` nor a cluster's search domains.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import multiaddr
import psutil
import structlog
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.config import ConnectionConfig
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux

from peersdb.core.identity import Signer, public_key_of
from peersdb.errors import BadRequest, PeersDBError, PeerUnreachable, StorageError
from peersdb.net.muxer import use_credit
from peersdb.net.noise import FastNoise
from peersdb.net.private import Gatekeeper, Refused
from peersdb.net.stream import Stream

log = structlog.get_logger("net")

#: Connections at most, both ways: a thousand peers keep 12 each, so this is a root's reserve.
MAX_CONNECTIONS = 256
#: Inbound streams of one peer at once: three protocols need three; identify and ping come and go.
MAX_STREAMS_PER_PEER = 32
#: A handshake over the farthest link takes four round trips of 0.3 s.
DIAL_TIMEOUT = 10.0
#: A peer that answers no ping within this many seconds is cut off ...
PING_TIMEOUT = 5.0
#: ... checked so often.
PING_INTERVAL = 5.0

#: A farewell that the peer does not take within so long (seconds) is left; the connection is closed under it.
CLOSE_TIMEOUT = 1.0

Handler = Callable[[Stream], Awaitable[None]]


class Host:
    """The node's place in the network.

    Attributes:
        peer_id: this node's.
        on_connected: called with a peer id when its first connection stands.
        on_disconnected: called with a peer id when its last connection is gone.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        swarm_key: bytes | None = None,
        ping_interval: float = PING_INTERVAL,
        ping_timeout: float = PING_TIMEOUT,
    ) -> None:
        """Makes the host; it listens in `run`. With a key it connects to those alone who have it too."""
        keys = create_new_key_pair(signer.seed)
        self.peer_id = signer.peer_id
        self.on_connected: Callable[[str], None] = lambda _: None
        self.on_disconnected: Callable[[str], None] = lambda _: None
        self._peers: set[str] = set()
        self._streams: dict[str, int] = {}
        self._dialling: dict[str, trio.Lock] = {}
        self._nursery: trio.Nursery | None = None
        self._host = new_host(
            key_pair=keys,
            sec_opt={NOISE: FastNoise(keys, noise_privkey=create_x25519_key_pair().private_key)},
            muxer_opt={TProtocol(YAMUX): Yamux},
            negotiate_timeout=10,
            disable_identify_address_discovery=True,
            connection_config=ConnectionConfig(
                min_connections=0,
                low_watermark=0,
                high_watermark=MAX_CONNECTIONS,
                max_connections=MAX_CONNECTIONS,
                auto_connect_interval=1e9,
                enable_health_monitoring=True,
                health_initial_delay=ping_interval,
                health_warmup_window=0,
                health_check_interval=ping_interval,
                ping_timeout=ping_timeout,
                abort_connection_on_ping_failure=True,
            ),
        )
        self._network = self._host.get_network()
        self._network.set_resource_manager(None)
        self._network.auto_connector.maybe_connect = _nothing
        self._network.dial_peer = _no_dial
        self._network.set_stream_handler(self._guarded(self._network.common_stream_handler))
        self._network.register_notifee(_Notifee(self))
        use_credit(self._network.upgrader)
        Gatekeeper(swarm_key).guard(self._network.upgrader)

    @contextlib.asynccontextmanager
    async def run(self, address: str, port: int) -> AsyncIterator[None]:
        """Listens for as long as the block runs, then closes everything.

        Raises:
            StorageError: the port is taken or the address is not this machine's.
        """
        _check_free(address, port)
        version = ipaddress.ip_address(address).version
        listen = [multiaddr.Multiaddr(f"/ip{version}/{address}/tcp/{port}")]
        async with self._host.run(listen_addrs=listen), trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                yield
            finally:
                self._nursery = None
                with trio.move_on_after(3.0, shield=True):
                    await self._host.close()
                nursery.cancel_scope.cancel()

    @property
    def addresses(self) -> list[str]:
        """Where this node listens, as multiaddrs without the peer id; wildcards as the interfaces' addresses."""
        found: list[str] = []
        for listener in self._network.listeners.values():
            for address in listener.get_addrs():
                found.extend(_concrete(str(address)))
        return list(dict.fromkeys(found))

    @property
    def connected(self) -> list[str]:
        """The peer ids this node is connected to."""
        return sorted(self._peers)

    def round_trip(self, peer: str) -> float:
        """How long (seconds) the last ping there and back took; 0 before the first."""
        connections = self._network.health_data.get(_id(peer), {}).values()
        return min((health.ping_latency / 1000 for health in connections), default=0.0)

    def is_connected(self, peer: str) -> bool:
        """Whether this node is connected to a peer."""
        return peer in self._peers

    def handle(self, protocol: str, handler: Handler) -> None:
        """Serves inbound streams of a protocol; the stream is closed when the handler returns."""

        async def serve(inner: Any) -> None:
            stream = Stream(inner, str(inner.muxed_conn.peer_id))
            try:
                await handler(stream)
            except PeersDBError as error:
                log.debug("stream ended", protocol=protocol, peer=stream.peer, error=str(error))
                await stream.reset()
            else:
                await stream.close()

        self._host.set_stream_handler(TProtocol(protocol), serve)

    async def open(self, peer: str, protocol: str) -> Stream:
        """Opens a stream to a connected peer; two round trips.

        Raises:
            PeerUnreachable: it is not connected, does not speak the protocol, or went away.
        """
        return await self._open(
            peer,
            protocol,
            lambda: self._host.new_stream(_id(peer), [TProtocol(protocol)]),
            "",
        )

    async def propose(self, peer: str, protocol: str) -> Stream:
        """Opens a stream to a connected peer, to be written to at once: without a round trip.

        Whether the peer speaks the protocol turns out when the stream is first read (`PeerUnreachable`).

        Raises:
            PeerUnreachable: it is not connected, or went away.
        """
        return await self._open(peer, protocol, lambda: self._network.new_stream(_id(peer)), protocol)

    async def _open(
        self, peer: str, protocol: str, make: Callable[[], Awaitable[Any]], proposed: str
    ) -> Stream:
        if peer not in self._peers:
            raise PeerUnreachable(f"peer {peer} is not connected")
        try:
            with trio.fail_after(DIAL_TIMEOUT):
                return Stream(await make(), peer, proposed)
        except (BaseLibp2pError, OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
            raise PeerUnreachable(
                f"peer {peer} opens no {protocol} stream: {error or type(error).__name__}"
            ) from error

    async def dial(self, address: str) -> str:
        """Connects to a multiaddr with ``/p2p/<peer id>`` and gives the peer id; at once if connected.

        Raises:
            BadRequest: the multiaddr cannot be dialled by this node.
            PeerUnreachable: nobody answers there, or it is somebody else.
        """
        transport, peer = split_multiaddr(address)
        if peer == self.peer_id:
            raise BadRequest(f"{address} is this node itself")
        lock = self._dialling.setdefault(peer, trio.Lock())
        try:
            async with lock:
                if peer not in self._peers:
                    await self._dial(transport, peer)
        finally:
            if not lock.statistics().tasks_waiting:
                self._dialling.pop(peer, None)
        return peer

    async def disconnect(self, peer: str) -> None:
        """Closes all connections to a peer; may be called by the handler of one of its streams."""
        if self._nursery is None:
            return
        # A task of its own: a handler is cancelled with its connection, and the library leaves a connection whose
        # closing was cancelled half open, out of its list and without a word to anyone.
        done = trio.Event()
        self._nursery.start_soon(self._close, peer, done)
        await done.wait()

    async def _close(self, peer: str, done: trio.Event) -> None:
        # One by one: the library's close_peer would also drop a connection that the peer makes meanwhile.
        for connection in list(self._network.get_connections(_id(peer))):
            with trio.move_on_after(CLOSE_TIMEOUT):
                await connection.close()
            with trio.move_on_after(CLOSE_TIMEOUT), contextlib.suppress(BaseLibp2pError, OSError):
                await connection.muxed_conn.secured_conn.close()  # in case the farewell was not taken
            self._network.remove_conn(connection)
        self._connections_changed(peer)
        done.set()

    async def _dial(self, transport: multiaddr.Multiaddr, peer: str) -> None:
        error: Exception | None = None
        for address in await _resolve(transport):
            try:
                with trio.fail_after(DIAL_TIMEOUT):
                    # One attempt, no negative cache: the callers retry with their own backoff.
                    await self._network._dial_addr_single_attempt(address, _id(peer))  # noqa: SLF001
            except (BaseLibp2pError, OSError, trio.TooSlowError, trio.BrokenResourceError) as failed:
                error = failed
            else:
                return
        raise PeerUnreachable(f"peer {peer} at {transport}: {_reason(error)}") from error

    def _guarded(self, inner: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        async def serve(stream: Any) -> None:
            peer = str(stream.muxed_conn.peer_id)
            self._connections_changed(peer)  # a stream may come before the library's word of its connection
            if self._streams.get(peer, 0) >= MAX_STREAMS_PER_PEER:
                log.warning("too many streams, one reset", peer=peer, limit=MAX_STREAMS_PER_PEER)
                await Stream(stream, peer).reset()
                return
            self._streams[peer] = self._streams.get(peer, 0) + 1
            try:
                await inner(stream)
            except Exception as error:  # noqa: BLE001 - whatever a remote caused ends its stream, never the node
                log.warning("stream failed", peer=peer, error=repr(error))
                await Stream(stream, peer).reset()
            finally:
                self._streams[peer] -= 1
                if not self._streams[peer]:
                    del self._streams[peer]

        return serve

    def _connections_changed(self, peer: str) -> None:
        live = bool(self._network.get_connections(_id(peer)))
        if live and peer not in self._peers:
            self._peers.add(peer)
            self.on_connected(peer)
        elif not live and peer in self._peers:
            self._peers.discard(peer)
            self.on_disconnected(peer)


class _Notifee:
    """Hears from the library of connections that come and go."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def connected(self, _network: Any, conn: Any) -> None:
        self._host._connections_changed(str(conn.muxed_conn.peer_id))  # noqa: SLF001

    async def disconnected(self, _network: Any, conn: Any) -> None:
        self._host._connections_changed(str(conn.muxed_conn.peer_id))  # noqa: SLF001

    async def opened_stream(self, _network: Any, _stream: Any) -> None: ...

    async def closed_stream(self, _network: Any, _stream: Any) -> None: ...

    async def listen(self, _network: Any, _address: Any) -> None: ...

    async def listen_close(self, _network: Any, _address: Any) -> None: ...


async def _nothing() -> None:
    """In the place of the library's automatic dialling."""


async def _no_dial(peer: ID) -> list[Any]:
    """In the place of the library's dial for a stream to a peer that was just cut off or has left."""
    raise SwarmException(f"there is no connection to {peer}")


def _reason(error: BaseException | None) -> str:
    """What to say of a failed dial: of a wrong network that alone, else what the library says."""
    cause = error
    while cause is not None and not isinstance(cause, Refused):
        cause = cause.__cause__
    return str(cause or error or "no answer")


def split_multiaddr(text: str) -> tuple[multiaddr.Multiaddr, str]:
    """The transport part and the peer id of ``/ip4|ip6|dns…/…/tcp/…/p2p/<peer id>``.

    Raises:
        BadRequest: it is something else.
    """
    transport, separator, peer = text.strip().rpartition("/p2p/")
    if not separator or not peer or len(text) > 512:
        raise BadRequest(f"{text[:200]!r} is no multiaddr to dial: it must end in /p2p/<peer id>")
    try:
        public_key_of(peer)  # the library takes any text for an id
        address = multiaddr.Multiaddr(transport)
        names = [protocol.name for protocol in address.protocols()]
    except Exception as error:  # noqa: BLE001 - the library raises many kinds for what is a bad text
        raise BadRequest(f"{text[:200]!r} is no multiaddr to dial: {error}") from None
    if len(names) != 2 or names[0] not in {"ip4", "ip6", "dns", "dns4", "dns6"} or names[1] != "tcp":
        raise BadRequest(f"{text[:200]!r}: this node dials /ip4, /ip6 or /dns with /tcp and /p2p only")
    return address, peer


async def _resolve(address: multiaddr.Multiaddr) -> list[multiaddr.Multiaddr]:
    name, port = (str(value) for _, value in address.items())
    protocol = next(iter(address.protocols())).name
    if protocol in {"ip4", "ip6"}:
        return [address]
    family = {"dns": socket.AF_UNSPEC, "dns4": socket.AF_INET, "dns6": socket.AF_INET6}[protocol]
    try:
        found = await trio.socket.getaddrinfo(name, int(port), family, socket.SOCK_STREAM)
    except OSError as error:
        raise PeerUnreachable(f"the name {name} does not resolve: {error.strerror}") from error
    hosts = dict.fromkeys((kind, place[0]) for kind, _, _, _, place in found)
    return [
        multiaddr.Multiaddr(f"/ip{'6' if kind == socket.AF_INET6 else '4'}/{host}/tcp/{port}")
        for kind, host in hosts
    ]


def _check_free(address: str, port: int) -> None:
    """Binds once: the library only logs when it cannot listen."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise StorageError(
                f"cannot listen on {address} port {port}: {error.strerror}; choose another with -ipfs-port"
            ) from None


def _concrete(address: str) -> list[str]:
    """A listening address as others can dial it: a wildcard stands for each interface."""
    address = address.partition("/p2p/")[0]
    for wildcard, family in (("/ip4/0.0.0.0/", socket.AF_INET), ("/ip6/::/", socket.AF_INET6)):
        if address.startswith(wildcard):
            rest = address.removeprefix(wildcard)
            hosts = [
                item.address
                for items in psutil.net_if_addrs().values()
                for item in items
                if item.family == family and "%" not in item.address
            ]
            # Loopback last: it means another machine to everybody else.
            hosts.sort(key=lambda host: ipaddress.ip_address(host).is_loopback)
            return [f"/{wildcard.split('/')[1]}/{host}/{rest}" for host in hosts]
    return [address]


def _id(peer: str) -> ID:
    return ID.from_string(peer)
