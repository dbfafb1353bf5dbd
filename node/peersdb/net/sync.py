"""`/peersdb/sync/1`: one outgoing stream to each connected peer, and their streams to us.

Each side opens a stream to send on and reads what the other opened, so it does not matter who dialled, nor
that two who dial each other at once get two connections. What is sent is decided by the service; here are
the queues: control messages are never dropped (a peer that lets them pile up is cut off), live entries are,
and the service is told, since anti-entropy brings them again.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence

import structlog
import trio

from peersdb.core import wire
from peersdb.core.wire import SYNC_PROTOCOL, Message
from peersdb.errors import InvalidMessage, PeersDBError, PeerUnreachable
from peersdb.net.host import Host
from peersdb.net.stream import Stream

log = structlog.get_logger("sync")

#: Control messages waiting for one peer at most; in order there are never more than a few.
MAX_CONTROL = 64
#: Waits between attempts to open the stream again, seconds; each with up to half of it as jitter.
REOPEN = (0.1, 0.5, 2.0, 5.0)

OnMessage = Callable[[str, Message], Awaitable[None]]


class _Outbox:
    """What waits to be sent to one peer."""

    def __init__(self) -> None:
        self.control: deque[Message] = deque()
        self.live: Callable[[], Awaitable[Message | None]] | None = None
        self.wake = trio.Event()
        self.opened = trio.Event()
        self.scope = trio.CancelScope()


class SyncLinks:
    """The sync streams of this node.

    Attributes:
        on_open: called with a peer id when a stream to it was opened anew: say hello.
        on_close: called with a peer id when the peer is gone.
        on_message: called with each message, one at a time per peer; the next is read when it returns.
        next_live: asked for the next live message to a peer, or None.
    """

    def __init__(self, host: Host, random_: random.Random) -> None:
        """Takes over the host's word of connections."""
        self._host = host
        self._random = random_
        self._outboxes: dict[str, _Outbox] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()
        self._turn = trio.Event()
        self._arrivals, self._queue = trio.open_memory_channel[str](1024)
        self.on_open: Callable[[str], Awaitable[None]]
        self.on_close: Callable[[str], None]
        self.on_message: OnMessage
        self.next_live: Callable[[str], Awaitable[Message | None]]
        host.on_connected = self._arrived
        host.on_disconnected = self._gone
        host.handle(SYNC_PROTOCOL, self._read)

    async def run(self) -> None:
        """Keeps a sending stream to each connected peer; ends when cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wake_in_turn)
            async for peer in self._queue:
                outbox = self._outboxes.get(peer)
                if outbox is not None:
                    nursery.start_soon(self._write, peer, outbox)

    @property
    def peers(self) -> list[str]:
        """The peers that messages can be sent to."""
        return list(self._outboxes)

    def send(self, peer: str, message: Message) -> None:
        """Queues a control message; without effect when the peer is gone."""
        outbox = self._outboxes.get(peer)
        if outbox is None:
            return
        if len(outbox.control) >= MAX_CONTROL:
            log.warning("a peer takes no messages, cut off", peer=peer, waiting=len(outbox.control))
            outbox.scope.cancel()
            return
        outbox.control.append(message)
        outbox.wake.set()

    def wake(self, peers: Sequence[str]) -> None:
        """Says that `next_live` has something for these peers; the first of them is served first."""
        self._turns.update(dict.fromkeys(peers))
        self._turn.set()

    def round_trip(self, peer: str) -> float:
        """How far a peer is; see `Host.round_trip`."""
        return self._host.round_trip(peer)

    async def _wake_in_turn(self) -> None:
        # The scheduler runs in any order what is woken together.
        while True:
            await self._turn.wait()
            self._turn = trio.Event()
            while self._turns:
                peer, _ = self._turns.popitem(last=False)
                outbox = self._outboxes.get(peer)
                if outbox is not None:
                    outbox.wake.set()
                    await trio.lowlevel.checkpoint()

    def _arrived(self, peer: str) -> None:
        self._outboxes[peer] = _Outbox()
        try:
            self._arrivals.send_nowait(peer)
        except trio.WouldBlock:  # more arrivals at once than connections are allowed: cannot be, but say so
            log.error("too many new connections at once", peer=peer)

    def _gone(self, peer: str) -> None:
        outbox = self._outboxes.pop(peer, None)
        if outbox is not None:
            outbox.scope.cancel()
            outbox.opened.set()
            self.on_close(peer)

    async def _write(self, peer: str, outbox: _Outbox) -> None:
        """Opens the stream, again where it breaks, and sends what is queued, until the peer is gone."""
        attempt = 0
        with outbox.scope:
            while self._outboxes.get(peer) is outbox:
                try:
                    stream = await self._host.open(peer, SYNC_PROTOCOL)
                except PeerUnreachable as error:
                    log.debug("no sync stream", peer=peer, error=str(error))
                else:
                    attempt = 0
                    await self._send_all(stream, outbox)
                delay = REOPEN[min(attempt, len(REOPEN) - 1)]
                attempt += 1
                await trio.sleep(delay * (1 + self._random.random() / 2))
        if self._outboxes.get(peer) is outbox:  # cut off by us, not gone
            await self._host.disconnect(peer)

    async def _send_all(self, stream: Stream, outbox: _Outbox) -> None:
        outbox.control.clear()  # what was meant for a stream that broke
        try:
            await self.on_open(stream.peer)
            outbox.opened.set()
            while True:
                message = outbox.control.popleft() if outbox.control else await self.next_live(stream.peer)
                if message is None:
                    await outbox.wake.wait()
                    outbox.wake = trio.Event()
                    continue
                await stream.write_frame(wire.encode(message))
        except PeerUnreachable as error:
            log.debug("sync stream broke", peer=stream.peer, error=str(error))
        finally:
            with trio.CancelScope(shield=True):
                await stream.reset()

    async def _read(self, stream: Stream) -> None:
        """Reads the peer's stream; a message that is wrong ends the connection, with its reason in the log."""
        outbox = self._outboxes.get(stream.peer)
        if outbox is None:
            return
        await outbox.opened.wait()  # so that there is a way to answer
        try:
            while True:
                message = wire.decode(await stream.read_frame())
                await self.on_message(stream.peer, message)
        except PeerUnreachable:
            return
        except InvalidMessage as error:
            log.warning("a peer sent what is no message, disconnected", peer=stream.peer, error=str(error))
            await self._host.disconnect(stream.peer)
        except PeersDBError as error:
            log.warning("a peer's message failed", peer=stream.peer, code=error.code, error=str(error))
            raise
