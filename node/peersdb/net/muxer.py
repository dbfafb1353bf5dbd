"""Yamux whose writers wait for credit by event.

The library's writer polls its window every 10 ms and gives the stream up after 5 s without credit. Here a
writer sleeps until a window update comes, for as long as the receiver may need (a disk that syncs, a
reader that waits for its own client), and fills exactly one Noise message with each frame.
"""

from __future__ import annotations

import struct
from typing import Any

import trio
from libp2p.stream_muxer.exceptions import MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux.yamux import HEADER_SIZE, TYPE_DATA, YAMUX_HEADER_FORMAT, Yamux, YamuxStream

#: A Noise message carries at most 65,519 bytes; a frame with its header that fills one is not cut in two.
MAX_FRAME_DATA = 65_507 - HEADER_SIZE
#: Without any credit for so long (seconds) the receiver is taken for dead. Its health is watched by pings
#: too, so this only ends a stream whose reader hangs while its node lives.
STALL = 60.0


class CreditStream(YamuxStream):  # type: ignore[misc]
    """A stream whose ``send_window`` wakes its writer."""

    _window: int
    _credit: trio.Event | None

    @property
    def send_window(self) -> int:
        """Bytes that may be sent now."""
        return self._window

    @send_window.setter
    def send_window(self, value: int) -> None:
        self._window = value
        if value > 0 and self._credit is not None:
            self._credit.set()

    async def write(self, data: bytes) -> None:
        """Sends all of ``data``, in frames, as the receiver gives credit."""
        view = memoryview(data)
        while view:
            self._check_open()
            if self._window <= 0:
                await self._wait_for_credit()
                continue
            size = min(self._window, MAX_FRAME_DATA, len(view))
            self._window -= size
            header = struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_DATA, 0, self.stream_id, size)
            await self.conn._write_frame(b"".join((header, view[:size])))  # noqa: SLF001 - the class we extend
            view = view[size:]

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
    """Yamux that hands out `CreditStream`."""

    async def open_stream(self) -> YamuxStream:
        """A new stream to the other side."""
        return _with_credit(await super().open_stream())

    async def accept_stream(self) -> YamuxStream:
        """The next stream from the other side."""
        return _with_credit(await super().accept_stream())


def _with_credit(stream: YamuxStream) -> YamuxStream:
    # The library makes its streams itself, inside long methods; changing the class of a new stream, before
    # anyone has it, is the least that reaches it.
    if type(stream) is YamuxStream:
        window = stream.__dict__.pop("send_window")
        stream.__class__ = CreditStream
        stream._window, stream._credit = window, None  # noqa: SLF001
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
