"""Private networks: whoever has not this network's key is not let in.

The way of the libp2p specification (Private Networks, PSK v1): under Noise, each direction of a connection is
enciphered by XSalsa20 with the shared key and a random nonce of 24 bytes, which is sent first. What then must
come, whoever speaks, is the greeting of multistream-select: by it a stranger is told from a member at once,
before anything else of the library sees his bytes.

The library's own (``psk=``) uses a shorter nonce that no other libp2p knows, takes a nonce that comes in two
packets for an error, and lets a stranger wait until a timeout.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import structlog
import trio
from Crypto.Cipher import Salsa20
from libp2p.io.exceptions import IOException
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.exceptions import SecurityUpgradeFailure

log = structlog.get_logger("net")

NONCE = 24
#: Asked of the socket at once while the greeting is awaited, which is shorter.
READ_SIZE = 1024
#: What either side of any libp2p connection says first.
GREETING = b"\x13/multistream/1.0.0\n"
#: Refusals of strangers are told so often (seconds) at most: they may come as fast as they like.
TELL_EVERY = 10.0

NO_KEY = "it speaks without a swarm key, and this node has one (-swarm-key-file): it is not of this private network"
OTHER_KEY = "it has another swarm key than this node (-swarm-key-file), or is no PeersDB node"
NOT_OURS = "it does not speak libp2p in the open: a member of a private network (-swarm-key-file), or no PeersDB node"

_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
_DOUBLE_ROUND = (
    (0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11),
    (0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14),
)  # fmt: skip


class Refused(SecurityUpgradeFailure):  # type: ignore[misc]
    """The other side is not of this node's network; the message says how that was seen."""


class Gatekeeper:
    """Puts each connection of a host behind the network's key."""

    def __init__(self, key: bytes | None) -> None:
        """With a key a private network, without one an open one."""
        self._key = key
        self._last_told = float("-inf")
        self._untold = 0

    def guard(self, upgrader: Any) -> None:
        """Makes a transport upgrader let nobody in who is not of the network."""
        inner: Callable[..., Awaitable[Any]] = upgrader.upgrade_security

        async def upgrade_security(raw: Any, is_initiator: bool, peer_id: Any = None) -> Any:
            gated = _Gated(raw, self._key)
            try:
                return await inner(gated, is_initiator, peer_id)
            except Exception as error:
                if not gated.refusal:
                    raise
                if not is_initiator:  # who dials gets the error, and tells it himself
                    self._tell(gated)
                raise Refused(gated.refusal) from error

        upgrader.upgrade_security = upgrade_security

    def _tell(self, gated: _Gated) -> None:
        now = trio.current_time()
        if now - self._last_told < TELL_EVERY:
            self._untold += 1
            return
        remote = gated.get_remote_address()
        log.warning(
            "a connection was refused",
            remote=remote[0] if remote else None,
            reason=gated.refusal,
            untold_before=self._untold,
        )
        self._last_told, self._untold = now, 0


class _Gated(RawConnection):  # type: ignore[misc]
    """A raw connection, enciphered where there is a key, that ends at a wrong greeting."""

    def __init__(self, raw: Any, key: bytes | None) -> None:
        super().__init__(
            raw.stream, raw.is_initiator, raw.get_connection_type(), raw.get_transport_addresses()
        )
        self.refusal = ""
        self._key = key
        self._in: Any = None
        self._out: Any = None
        self._greeted = False
        self._buffer = b""

    async def read(self, n: int | None = None) -> bytes:
        """Up to ``n`` bytes; none at the end.

        Raises:
            IOException: the connection broke, or the other side is not of this network.
        """
        if not self._greeted:
            await self._greet()
        if self._buffer:
            size = len(self._buffer) if n is None else n
            taken, self._buffer = self._buffer[:size], self._buffer[size:]
            return taken
        data: bytes = await super().read(n)
        return self._in.decrypt(data) if self._in is not None else data

    async def write(self, data: bytes) -> None:
        """Sends all of ``data``, the first time with the nonce in front."""
        if self._key is not None:
            first = b""
            if self._out is None:
                first = os.urandom(NONCE)
                self._out = xsalsa20(self._key, first)
            # No turn of the scheduler between here and the socket's lock: what is enciphered first is sent first.
            data = first + self._out.encrypt(data)
        await super().write(data)

    async def _greet(self) -> None:
        if self._key is not None:
            await self._fill(len(GREETING))
            if self._buffer.startswith(GREETING):
                self._refuse(NO_KEY)
            await self._fill(NONCE)
            self._in = xsalsa20(self._key, self._buffer[:NONCE])
            self._buffer = self._in.decrypt(self._buffer[NONCE:])
        while not self._buffer.startswith(GREETING):
            if not GREETING.startswith(self._buffer):
                self._refuse(NOT_OURS if self._key is None else OTHER_KEY)
            await self._fill(len(self._buffer) + 1)
        self._greeted = True

    async def _fill(self, size: int) -> None:
        """Reads on until there are so many bytes."""
        while len(self._buffer) < size:
            data: bytes = await super().read(READ_SIZE)
            if not data:
                raise IOException("the connection ended before the other side said what it is")
            self._buffer += data if self._in is None else self._in.decrypt(data)

    def _refuse(self, reason: str) -> NoReturn:
        self.refusal = reason
        raise IOException(reason)


def xsalsa20(key: bytes, nonce: bytes) -> Any:
    """The cipher of one direction: its ``encrypt`` and ``decrypt`` go on where they were.

    Args:
        key: 32 bytes.
        nonce: 24 bytes, never used twice with this key.
    """
    return Salsa20.new(key=_hsalsa20(key, nonce[:16]), nonce=nonce[16:])


def fingerprint(key: bytes) -> str:
    """A short text by which two nodes' keys can be compared without showing them; the one that Kubo shows."""
    stream = Salsa20.new(key=key, nonce=b"finprint").encrypt(bytes(64))
    return hashlib.shake_128(stream).hexdigest(16)


def _hsalsa20(key: bytes, start: bytes) -> bytes:
    """The key for the rest of an extended nonce (Bernstein, Extending the Salsa20 nonce)."""
    k, n = struct.unpack("<8I", key), struct.unpack("<4I", start)
    x = [_SIGMA[0], *k[:4], _SIGMA[1], *n, _SIGMA[2], *k[4:], _SIGMA[3]]
    for _ in range(10):
        for a, b, c, d in _DOUBLE_ROUND:
            for to, one, other, turn in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
                total = x[one] + x[other] & 0xFFFFFFFF
                x[to] ^= (total << turn | total >> 32 - turn) & 0xFFFFFFFF
    return struct.pack("<8I", *(x[i] for i in (0, 5, 10, 15, 6, 7, 8, 9)))
