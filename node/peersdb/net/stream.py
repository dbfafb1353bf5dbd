"""One stream to a peer, typed, with the library's errors mapped.

Which protocol a stream speaks is agreed by multistream-select (https://github.com/multiformats/multistream-select). The
library asks and waits, twice, before the first byte of the protocol itself: two round trips, of 0.3 s each between far
regions. Here a stream that is opened for one protocol proposes it together with the first that is written, and reads
the agreement before the first that is read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.exceptions import IOException
from libp2p.protocol_muxer.multiselect_client import MULTISELECT_PROTOCOL_ID
from libp2p.utils import encode_delim

from peersdb.core.wire import frame, frame_length
from peersdb.errors import PeerUnreachable
from peersdb.net.muxer import CreditStream

_SELECT = encode_delim(MULTISELECT_PROTOCOL_ID.encode())


class Stream:
    """A bidirectional stream of bytes and frames.

    Attributes:
        peer: the other side's peer id, proved by the handshake.
    """

    def __init__(self, inner: Any, peer: str, proposed: str = "") -> None:
        """Wraps the library's stream.

        Args:
            inner: the library's.
            peer: the other side.
            proposed: the protocol of a new stream; empty where it is agreed on.
        """
        self._inner = inner
        self._muxed: CreditStream = inner.muxed_stream
        self._writing = trio.Lock()
        self._proposed = proposed
        self._proposal = _SELECT + encode_delim(proposed.encode()) if proposed else b""
        self.peer = peer

    async def read_exactly(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Raises:
            PeerUnreachable: the stream ended before.
        """
        with self._mapped("reading"):
            if self._proposed:
                await self._hear_agreement()
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
                proposal, self._proposal = self._proposal, b""
                await self._muxed.send(proposal, *parts)

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

    async def _hear_agreement(self) -> None:
        proposed, self._proposed = self._proposed, ""
        agreed = await self._muxed.receive(len(_SELECT)) == _SELECT
        (length,) = await self._muxed.receive(1)  # of what is proposed here, one byte
        if not agreed or await self._muxed.receive(length) != proposed.encode() + b"\n":
            raise PeerUnreachable(f"peer {self.peer} does not speak {proposed}")

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
