"""One stream to a peer, typed, with the library's errors mapped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import IOException

from peersdb.core.wire import frame, frame_length
from peersdb.errors import PeerUnreachable
from peersdb.net.muxer import CreditStream


class Stream:
    """A bidirectional stream of bytes and frames.

    Attributes:
        peer: the other side's peer id, proved by the handshake.
    """

    def __init__(self, inner: Any, peer: str) -> None:
        """Wraps the library's stream."""
        self._inner = inner
        self._muxed: CreditStream = inner.muxed_stream
        self._writing = trio.Lock()
        self.peer = peer

    async def read_exactly(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Raises:
            PeerUnreachable: the stream ended before.
        """
        with self._mapped("reading"):
            return await self._muxed.receive(size)

    async def expect(self, size: int) -> None:
        """Lets the other side send so many bytes before they are read; they are kept in memory."""
        with self._mapped("reading"):
            await self._muxed.expect(size)

    async def read_frame(self) -> bytes:
        """The body of the next frame.

        Raises:
            InvalidMessage: it is longer than a frame may be; nothing of it was read.
            PeerUnreachable: the stream ended.
        """
        return await self.read_exactly(frame_length(await self.read_exactly(4)))

    async def write_frame(self, body: bytes) -> None:
        """Sends one frame."""
        await self.write(frame(body))

    async def write(self, *parts: bytes) -> None:
        """Sends bytes, one part after the other; waits for as long as the other side gives no credit."""
        async with self._writing:
            with self._mapped("writing to"):
                await self._muxed.send(*parts)

    async def close(self) -> None:
        """Ends the stream politely; without effect where it is gone."""
        with trio.move_on_after(1.0), contextlib.suppress(PeerUnreachable), self._mapped("closing"):
            await self._inner.close()

    async def reset(self) -> None:
        """Drops the stream; without effect where it is gone."""
        with (
            trio.move_on_after(1.0, shield=True),
            contextlib.suppress(PeerUnreachable),
            self._mapped("resetting"),
        ):
            await self._inner.reset()

    @contextlib.contextmanager
    def _mapped(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (
            BaseLibp2pError,
            IOException,
            OSError,
            trio.BrokenResourceError,
            trio.ClosedResourceError,
        ) as error:
            raise PeerUnreachable(f"{doing} peer {self.peer}: {error or type(error).__name__}") from error
