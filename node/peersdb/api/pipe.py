"""A bounded pipe of bytes from asyncio (a request's body) to trio (blocks)."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Callable

import trio

#: Pieces on the way at most: the one that is hashed, the next, and one that is being received.
PIECES = 3


class BytePipe:
    """Fed on the asyncio side, read once on the trio side."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        """Made on the asyncio side."""
        self._token, self._loop = token, asyncio.get_running_loop()
        self._room = asyncio.Semaphore(PIECES)
        # Unbounded by itself: `feed` waits for room before it sends.
        self._send, self._receive = trio.open_memory_channel[bytes](math.inf)
        self._error: Exception | None = None
        self._abandoned = False

    async def feed(self, data: bytes) -> None:
        """Hands over one piece; waits while `PIECES` are on the way and somebody reads them."""
        await self._room.acquire()
        if self._abandoned:
            self._room.release()  # for whoever else waits
            return
        self._soon(lambda: self._send.send_nowait(data))

    def abandon(self) -> None:
        """Nobody reads any more, or ever did: what is fed from now on is dropped, and nobody waits for room."""
        self._abandoned = True
        self._room.release()

    def end(self, error: Exception | None = None) -> None:
        """No more comes: it was all, or ``error`` is why not (raised to the reader)."""
        self._error = error
        self._soon(self._send.close)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The pieces, on the trio side."""
        async with self._receive:
            async for data in self._receive:
                with contextlib.suppress(RuntimeError):  # the asyncio side has ended
                    self._loop.call_soon_threadsafe(self._room.release)
                yield data
        if self._error is not None:
            raise self._error

    def _soon(self, action: Callable[[], None]) -> None:
        def run() -> None:
            # A reader that gave up has closed its end: what is fed then is dropped.
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                action()

        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(run)
