"""Yamux whose streams pass data on in the pieces it came in, and whose writers wait for credit by event.

The library's loop reads header and body of each frame, copies the body four times and takes two locks for it. Here
plain data frames, all but a few of what comes, go straight from the opened message to their stream; every other frame
is left to the library. Its reader wakes for each frame; ours when enough has come.

The library's writer polls its window every 10 ms and gives the stream up after 5 s without credit. Here a
writer sleeps until a window update comes, for as long as the receiver may need (a disk that syncs, a
reader that waits for its own client), and fills exactly one Noise message with each frame.
"""

from __future__ import annotations

import struct
from typing import Any

import structlog
import trio
from libp2p.stream_muxer.exceptions import MuxedConnError, MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux.yamux import HEADER_SIZE, TYPE_DATA, YAMUX_HEADER_FORMAT, Yamux, YamuxStream

from peersdb.net.chunks import Chunks, Piece

log = structlog.get_logger("net")

#: A Noise message carries at most 65,519 bytes; a frame with its header that fills one is not cut in two.
MAX_FRAME_DATA = 65_507 - HEADER_SIZE
#: Frames sent at once: what the connection's other streams have to wait for, 256 KiB.
MAX_FRAMES = 4
#: Without any credit for so long (seconds) the receiver is taken for dead. Its health is watched by pings
#: too, so this only ends a stream whose reader hangs while its node lives.
STALL = 60.0
#: A peer that announced a frame and does not send it for so long (seconds) is cut off; the library's own limit.
BODY_TIMEOUT = 60.0

HEADER = struct.Struct(YAMUX_HEADER_FORMAT)


class CreditStream(YamuxStream):  # type: ignore[misc]
    """A stream whose ``send_window`` wakes its writer, and which wakes its reader when enough has come."""

    _window: int
    _credit: trio.Event | None
    _buffer: Chunks
    _least: int
    target_recv_window: int

    @property
    def send_window(self) -> int:
        """Bytes that may be sent now."""
        return self._window

    @send_window.setter
    def send_window(self, value: int) -> None:
        self._window = value
        if value > 0 and self._credit is not None:
            self._credit.set()

    async def receive(self, size: int) -> bytes:
        """Exactly ``size`` bytes. Who is cancelled meanwhile has lost what had come of them.

        Raises:
            MuxedStreamEOF: the other side ended the stream before.
            MuxedStreamReset: it dropped it.
        """
        await trio.lowlevel.checkpoint()  # who reads what is here already gives way to others all the same
        taken: list[Piece] = []
        while size:
            # Half of the window at once, so that the sender gets credit for the rest in time.
            await self._wait_for(min(size, self.target_recv_window // 2))
            count = min(size, len(self._buffer))
            taken += self._buffer.pieces(count)
            size -= count
            await self._give_credit()
        return taken[0] if len(taken) == 1 and type(taken[0]) is bytes else b"".join(taken)

    async def expect(self, size: int) -> None:
        """Gives credit for so many bytes from now on, whether they are read in time or not.

        Else it begins with 256 KiB and grows with a reader that never pauses.
        """
        if size > self.target_recv_window:
            self.target_recv_window = size
            await self.send_window_update(self._grow_to_delta(len(self._buffer)))

    async def read(self, n: int | None = -1) -> bytes:
        """What has come, at least one byte and at most ``n``, or all with -1 or None."""
        await self._wait_for(1)
        data = self._buffer.take(len(self._buffer) if n is None or n < 0 else min(n, len(self._buffer)))
        await self._give_credit()
        return data

    async def _wait_for(self, least: int) -> None:
        while len(self._buffer) < least:
            event = self.conn.stream_events.get(self.stream_id)
            if self.reset_received:
                raise MuxedStreamReset("the stream was reset")
            if self.recv_closed or self.closed or event is None:
                raise MuxedStreamEOF("the stream is closed for receiving")
            if event.is_set():
                event = self.conn.stream_events[self.stream_id] = trio.Event()
            self._least = least
            await event.wait()

    async def _give_credit(self) -> None:
        """Lets the sender go on, once half of the window is used up; and frees what is closed and empty."""
        waiting = len(self._buffer)
        if self.closed and not waiting:
            await self.conn._finalize_stream(self, fully_closed=True)  # noqa: SLF001 - the class we extend
        elif not self.recv_closed and self.recv_window + waiting <= self.target_recv_window // 2:
            await self.send_window_update(self._grow_to_delta(waiting) + self._apply_autotune_epoch(waiting))

    async def write(self, data: bytes) -> None:
        """Sends all of ``data``, in frames, as the receiver gives credit."""
        await self.send(data)

    async def send(self, *parts: Piece) -> None:
        """Sends the parts one after the other, in frames, as the receiver gives credit."""
        left = Chunks()
        for part in parts:
            left.extend(part)
        while left:
            self._check_open()
            if self._window <= 0:
                await self._wait_for_credit()
                continue
            frames: list[bytes] = []
            while left and self._window > 0 and len(frames) < MAX_FRAMES:
                size = min(self._window, MAX_FRAME_DATA, len(left))
                self._window -= size
                header = HEADER.pack(0, TYPE_DATA, 0, self.stream_id, size)
                frames.append(b"".join((header, *left.pieces(size))))
            await self.conn.write_frames(frames)

    def _check_open(self) -> None:
        if self.send_closed or self.closed:
            error = MuxedStreamReset if self.reset_received else MuxedStreamError
            raise error("the stream is closed for sending")

    async def _wait_for_credit(self) -> None:
        deadline = trio.current_time() + STALL
        while self._window <= 0:
            self._check_open()
            if trio.current_time() > deadline:
                raise MuxedStreamError(f"the receiver gave no credit for {STALL:.0f} s")
            self._credit = trio.Event()
            with trio.move_on_after(1.0):  # a stream that is reset sets no credit: look again
                await self._credit.wait()
        self._credit = None


class CreditYamux(Yamux):  # type: ignore[misc]
    """Yamux that hands out `CreditStream`, over a `Session`."""

    async def open_stream(self) -> YamuxStream:
        """A new stream to the other side."""
        return _with_credit(await super().open_stream())

    async def accept_stream(self) -> YamuxStream:
        """The next stream from the other side."""
        return _with_credit(await super().accept_stream())

    async def write_frames(self, frames: list[bytes]) -> None:
        """Sends frames, each of which fits one Noise message."""
        async with self._write_lock:
            await self.secured_conn.write_messages(frames)

    async def handle_incoming(self) -> None:
        """Handles frames until the connection ends: plain data here, the others in the library's loop."""
        # The loop reads a header, then that frame's body: before each header is where a frame begins.
        self.secured_conn.look = self._take_data
        await super().handle_incoming()

    async def _read_data_body(self, length: int) -> bytes:
        with trio.fail_after(BODY_TIMEOUT):
            body: bytes = await self.secured_conn.read_body(length)
            return body

    def _take_data(self, came: Chunks) -> None:
        """Gives whole frames of plain data to their streams, up to the first that is something else."""
        while (header := came.peek(HEADER)) is not None:
            _, kind, flags, stream_id, length = header
            if kind != TYPE_DATA or flags or len(came) < HEADER_SIZE + length:
                return
            came.pieces(HEADER_SIZE)
            body = came.pieces(length)
            stream = self.streams.get(stream_id)
            if stream is None:
                continue  # it was reset; what was on its way is dropped
            stream.recv_window -= length
            if stream.recv_window < 0:
                # The library says so and keeps it all the same. Raised here it ends the connection.
                log.warning("a peer sent more than it had credit for, disconnected", peer=str(self.peer_id))
                raise MuxedConnError(f"stream {stream_id}: more came than there was credit for")
            buffer = self.stream_buffers[stream_id]
            for piece in body:
                buffer.extend(piece)
            if len(buffer) >= getattr(stream, "_least", 1):
                self.stream_events[stream_id].set()


def _with_credit(stream: YamuxStream) -> YamuxStream:
    # The library makes its streams itself, inside long methods; changing the class of a new stream, before
    # anyone has it, is the least that reaches it.
    if type(stream) is YamuxStream:
        window = stream.__dict__.pop("send_window")
        stream.__class__ = CreditStream
        stream._window, stream._credit, stream._least = window, None, 1  # noqa: SLF001
        stream._buffer = Chunks()  # noqa: SLF001
        buffers = stream.conn.stream_buffers
        if stream.stream_id in buffers:  # what came since it was opened
            stream._buffer.extend(bytes(buffers[stream.stream_id]))  # noqa: SLF001
            buffers[stream.stream_id] = stream._buffer  # noqa: SLF001
    return stream


def use_credit(upgrader: Any) -> None:
    """Makes a transport upgrader build `CreditYamux`; it makes `Yamux` by name, whatever was chosen."""
    inner = upgrader.upgrade_connection

    async def upgrade_connection(conn: Any, peer_id: Any) -> Any:
        muxed = await inner(conn, peer_id)
        if type(muxed) is Yamux:
            muxed.__class__ = CreditYamux
        return muxed

    upgrader.upgrade_connection = upgrade_connection
