"""`/peersdb/blocks/1`: blocks asked for by CID, many at once, answered in order.

A request names up to 256 blocks; each answer is a header frame and the block's bytes. The asking side keeps
several requests on the way, so that the link is full however long the round trip. What comes is checked
against its CID before anyone gets it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import count

import structlog
import trio

from peersdb.core import wire
from peersdb.core.cid import CID, Block
from peersdb.core.wire import BLOCKS_PROTOCOL, BlockHeader, Want
from peersdb.errors import BlockMismatch, CorruptData, InvalidMessage, PeerUnreachable
from peersdb.net.host import Host
from peersdb.net.stream import Stream
from peersdb.tasks import raising_the_first

log = structlog.get_logger("blocks")

#: A peer that sends nothing of an answer for so long (seconds) is given up; another may be asked.
IDLE_TIMEOUT = 20.0
#: More bytes are hashed in a worker thread, ...
HASH_INLINE = 32 * 1024
#: ... so many at once: a turn of the event loop for each block would cost as much as its hash.
CHECK_BYTES = 4 * 1024 * 1024

#: What a peer may send while what came before is checked and kept, bytes: with less it would wait for each batch.
WINDOW = 8 * 1024 * 1024

#: Blocks read while another is sent: one, so that disk and network overlap.
READ_AHEAD = 1

#: A block that was asked for, or None where the peer has it not.
Answer = tuple[CID, Block | None]
GetBlock = Callable[[CID], Awaitable[bytes | None]]


class BlockServer:
    """Answers peers from this node's own blocks."""

    def __init__(self, host: Host, get: GetBlock) -> None:
        """Serves the protocol on this host."""
        self._get = get
        host.handle(BLOCKS_PROTOCOL, self._serve)

    async def _serve(self, stream: Stream) -> None:
        async with raising_the_first() as nursery:
            send, receive = trio.open_memory_channel[tuple[bytes, bytes]](READ_AHEAD)
            nursery.start_soon(self._read_ahead, stream, send)
            async with receive:
                async for header, data in receive:
                    await stream.write(header, data)

    async def _read_ahead(self, stream: Stream, send: trio.MemorySendChannel[tuple[bytes, bytes]]) -> None:
        """Reads and checks the next block while the one before is sent, request by request."""
        async with send:
            while True:
                try:
                    want = wire.decode(await stream.read_frame())
                except PeerUnreachable:
                    return
                if not isinstance(want, Want):
                    raise InvalidMessage(f"{type(want).__name__} came where a Want belongs")
                for raw in want.cids:
                    data = await self._load(CID.from_bytes(raw))
                    header = BlockHeader(want.id, raw, -1 if data is None else len(data))
                    await send.send((wire.frame(wire.encode(header)), data or b""))

    async def _load(self, cid: CID) -> bytes | None:
        try:
            return await self._get(cid)
        except CorruptData as error:
            log.error("a block is damaged", error=str(error))
            return None


class BlockClient:
    """One stream on which a peer is asked for blocks."""

    def __init__(self, host: Host, peer: str, *, idle_timeout: float = IDLE_TIMEOUT) -> None:
        """The stream is opened at the first request."""
        self._host, self._idle_timeout = host, idle_timeout
        self._stream: Stream | None = None
        self._ids = count(1)
        self._unanswered = 0
        self.peer = peer

    @property
    def usable(self) -> bool:
        """Whether the stream stands, as far as is known, and nothing is on its way."""
        return self._stream is not None and not self._unanswered and self._host.is_connected(self.peer)

    async def request(self, cids: Sequence[CID]) -> tuple[int, list[bytes]]:
        """Sends one request; `answers` with its result gives the blocks."""
        number, raw = next(self._ids), [bytes(cid) for cid in cids]
        frame = wire.encode(Want(number, tuple(raw)))
        if self._stream is not None and not self._unanswered:
            try:
                await self._send(self._stream, frame)
            except PeerUnreachable:  # it broke while it was idle
                await self.close()
            else:
                return number, raw
        if self._stream is None:
            self._stream = await self._host.propose(self.peer, BLOCKS_PROTOCOL)
            await self._stream.expect(WINDOW)
        await self._send(self._stream, frame)
        return number, raw

    async def _send(self, stream: Stream, frame: bytes) -> None:
        self._unanswered += 1
        try:
            await stream.write_frame(frame)
        except PeerUnreachable:
            self._unanswered -= 1
            raise

    async def answers(self, asked: tuple[int, list[bytes]]) -> AsyncGenerator[Answer, None]:
        """The blocks of one request as they come; None for one that the peer has not.

        Requests are answered in the order they were sent: take all of one before the next.

        Raises:
            BlockMismatch: the peer sent other bytes; it is not to be asked again.
            PeerUnreachable: it went away or fell silent.
        """
        number, raw = asked
        stream = self._stream
        if stream is None:
            raise PeerUnreachable(f"peer {self.peer} was not asked")
        left = deque(raw)
        while left:
            came: list[Answer] = []
            size = 0
            while left and size < CHECK_BYTES:
                expected = left.popleft()
                cid = CID.from_bytes(expected)
                data = await self._answer(stream, number, expected)
                came.append((cid, None if data is None else Block(cid, data)))
                size += len(data or b"")
            good, wrong = await _checked(came, size)
            for answer in good:
                yield answer
            if wrong is not None:
                raise wrong
        self._unanswered -= 1

    async def close(self) -> None:
        """Ends the stream."""
        if self._stream is not None:
            stream, self._stream, self._unanswered = self._stream, None, 0
            await stream.reset()

    async def _answer(self, stream: Stream, number: int, expected: bytes) -> bytes | None:
        try:
            with trio.fail_after(self._idle_timeout):
                header = wire.decode(await stream.read_frame())
                if not isinstance(header, BlockHeader) or header.id != number or header.cid != expected:
                    raise InvalidMessage(f"peer {self.peer} answered something else than was asked")
                return None if header.size < 0 else await stream.read_exactly(header.size)
        except trio.TooSlowError:
            raise PeerUnreachable(f"peer {self.peer} sent nothing for {self._idle_timeout:.0f} s") from None


async def _checked(answers: list[Answer], size: int) -> tuple[list[Answer], BlockMismatch | None]:
    """Those before the first that is not the block its CID names, and that error."""

    def run() -> tuple[list[Answer], BlockMismatch | None]:
        for number, (cid, block) in enumerate(answers):
            try:
                if block is not None:
                    cid.verify(block.data)
            except BlockMismatch as error:
                return answers[:number], error
        return answers, None

    return await trio.to_thread.run_sync(run) if size > HASH_INLINE else run()
