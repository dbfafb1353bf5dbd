"""What a service may not take from the world by itself: time and randomness, passed in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Environment:
    """Wall-clock time in nanoseconds since 1970, and randomness for jitter (never for keys)."""

    now_ns: Callable[[], int] = time.time_ns
    random: random.Random = field(default_factory=random.SystemRandom)

    def jitter(self, seconds: float) -> float:
        """``seconds`` and up to half as much again, so that many nodes do not act at once."""
        return seconds * (1 + self.random.random() / 2)
