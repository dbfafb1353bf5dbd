"""Noise, with connections that read and write many messages at a time.

The handshake is the library's. Afterwards its session reads two bytes from the socket, then a message, copies it five
times, and gives way to other tasks after each step. Here all that the socket has is read at once, each message is
opened where it lies, and what is written goes out in one call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import trio
from cryptography.exceptions import InvalidTag
from libp2p.io.exceptions import ConnectionClosedError, DecryptionFailedException, IncompleteReadError
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.security.noise.transport import Transport
from libp2p.security.secure_session import SecureSession

from peersdb.net.chunks import Chunks, Piece

#: The length before each message on the wire.
LENGTH_SIZE = 2
#: A message with its length, at most.
MAX_SEALED = LENGTH_SIZE + 2**16 - 1
#: Read from a socket at once, bytes: four full messages; a larger buffer would not stay in a core's cache.
READ_SIZE = 256 * 1024


class FastNoise(Transport):  # type: ignore[misc]
    """The library's Noise, with `Session` after the handshake."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """As the library's."""
        super().__init__(*args, **options)
        # One for all connections: it is filled and emptied without a pause in between.
        self._scratch = memoryview(bytearray(MAX_SEALED + READ_SIZE))

    async def secure_inbound(self, conn: Any) -> Session:
        """The handshake with a peer that dialled."""
        return Session(await super().secure_inbound(conn), self._scratch)

    async def secure_outbound(self, conn: Any, peer_id: Any) -> Session:
        """The handshake with a peer that was dialled."""
        return Session(await super().secure_outbound(conn, peer_id), self._scratch)


class Session(SecureSession):  # type: ignore[misc]
    """An encrypted connection. One task may read and one may write at a time.

    Attributes:
        look: sees what has come before each `read`, and takes from its front what it likes.
    """

    def __init__(self, handshaken: SecureSession, scratch: memoryview) -> None:
        """Goes on where the handshake ended; ``scratch`` is used between two pauses only."""
        super().__init__(
            local_peer=handshaken.local_peer,
            local_private_key=handshaken.local_private_key,
            remote_peer=handshaken.remote_peer,
            remote_permanent_pubkey=handshaken.remote_permanent_pubkey,
            is_initiator=handshaken.is_initiator,
            conn=handshaken.conn,
        )
        noise = self.conn.noise_state.noise_protocol
        self._seal = noise.cipher_state_encrypt.encrypt_with_ad
        self._open = noise.cipher_state_decrypt.decrypt_with_ad
        self._socket: trio.socket.SocketType = self.conn.conn.stream.stream.socket
        self._scratch = scratch
        self._rest = b""  # the beginning of a message that has not come whole
        self._unsent: list[Piece] = []
        self._plain = Chunks()
        self.look: Callable[[Chunks], None] | None = None

    async def read(self, n: int | None = None) -> bytes:
        """Exactly ``n`` bytes, or with None what there is.

        Raises:
            IncompleteReadError: the connection ended before.
            ConnectionClosedError: it broke.
            DecryptionFailedException: what came was not sent by the peer.
        """
        while True:
            if self.look is not None:
                self.look(self._plain)
            if len(self._plain) >= (1 if n is None else n):
                return self._plain.take(len(self._plain) if n is None else n)
            await self._receive()

    async def read_body(self, n: int) -> bytes:
        """As `read`, but `look` does not see what comes."""
        while len(self._plain) < n:
            await self._receive()
        return self._plain.take(n)

    async def write(self, data: bytes) -> None:
        """Sends all of ``data``, in as many messages as it takes."""
        view = memoryview(data)
        await self.write_messages(
            [view[at : at + MAX_PLAINTEXT_LENGTH] for at in range(0, len(data), MAX_PLAINTEXT_LENGTH)]
        )

    async def write_messages(self, messages: Sequence[Piece]) -> None:
        """Sends each as a message; all together if the socket takes them.

        A writer who is cancelled leaves nothing half-sent for good: the next one sends the rest first.

        Raises:
            ConnectionClosedError: the connection broke, or was closed.
        """
        await self._send()
        for message in messages:
            sealed = self._seal(None, message)
            self._unsent += (len(sealed).to_bytes(LENGTH_SIZE), sealed)
        await self._send()

    async def _send(self) -> None:
        while self._unsent:
            try:
                sent = os.writev(self._socket.fileno(), self._unsent)
            except BlockingIOError:
                await self._wait(trio.lowlevel.wait_writable)
                continue
            except OSError as error:
                raise ConnectionClosedError(f"the connection broke: {error.strerror}") from error
            whole = 0
            while whole < len(self._unsent) and sent >= len(self._unsent[whole]):
                sent -= len(self._unsent[whole])
                whole += 1
            del self._unsent[:whole]
            if sent:
                self._unsent[0] = memoryview(self._unsent[0])[sent:]

    async def _receive(self) -> None:
        """Waits until something has come, and opens all messages that are whole."""
        await trio.lowlevel.checkpoint()
        while not self._receive_now():
            await self._wait(trio.lowlevel.wait_readable)

    def _receive_now(self) -> bool:
        scratch, begun = self._scratch, len(self._rest)
        scratch[:begun] = self._rest
        try:
            count = os.readv(self._socket.fileno(), [scratch[begun:]])
        except BlockingIOError:
            return False
        except OSError as error:
            raise ConnectionClosedError(f"the connection broke: {error.strerror}") from error
        if not count:
            raise IncompleteReadError(
                "the peer closed the connection", expected_bytes=1, received_bytes=begun + len(self._plain)
            )
        at, end = 0, begun + count
        while end - at >= LENGTH_SIZE:
            following = at + LENGTH_SIZE + int.from_bytes(scratch[at : at + LENGTH_SIZE])
            if following > end:
                break
            try:
                self._plain.extend(self._open(None, scratch[at + LENGTH_SIZE : following]))
            except InvalidTag:
                raise DecryptionFailedException("a message is not what the peer sealed") from None
            at = following
        self._rest = bytes(scratch[at:end])
        return True

    async def _wait(self, until: Callable[[Any], Any]) -> None:
        try:
            await until(self._socket)
        except (trio.ClosedResourceError, OSError) as error:
            raise ConnectionClosedError("the connection is closed") from error
