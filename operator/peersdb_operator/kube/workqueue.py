"""A queue of keys, after client-go's: a key is never worked on twice at a time, and one that comes back while it is
worked on is worked on once more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: Seconds until a key that failed comes back: 1, 2, 4 … at most five minutes, with jitter.
BACKOFF_FIRST, BACKOFF_LAST = 1.0, 300.0


class WorkQueue(Generic[K]):
    """Keys that wait for work; each at most once, so its length is bounded by the number of clusters."""

    def __init__(self, jitter: Callable[[float, float], float] = random.uniform) -> None:
        """``jitter(a, b)`` gives a random number between the two."""
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._dirty: set[K] = set()
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._jitter = jitter

    def __len__(self) -> int:
        """How many keys wait."""
        return len(self._dirty)

    def add(self, key: K) -> None:
        """Asks for work on a key, soon."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._busy:
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Asks for work on a key in so many seconds, or sooner if that was asked for already."""
        loop = asyncio.get_running_loop()
        waiting = self._timers.get(key)
        if waiting is not None and waiting.when() <= loop.time() + seconds:
            return
        if waiting is not None:
            waiting.cancel()
        self._timers[key] = loop.call_later(seconds, self._fire, key)

    async def get(self) -> K:
        """Waits for a key and takes it; `done` or `failed` gives it back."""
        key = await self._ready.get()
        self._dirty.discard(key)
        self._busy.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on a key is done."""
        self._failures.pop(key, None)
        self._give_back(key)

    def failed(self, key: K, retry_after: float = 0.0) -> float:
        """The work on a key failed: it comes back after the seconds that are returned."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(BACKOFF_LAST, BACKOFF_FIRST * float(2 ** min(failures - 1, 16)))
        delay = max(delay * self._jitter(0.8, 1.2), retry_after)
        self._give_back(key)
        self.add_after(key, delay)
        return delay

    def _give_back(self, key: K) -> None:
        self._busy.discard(key)
        if key in self._dirty:
            self._ready.put_nowait(key)

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)
