"""What a node records of itself with ``-benchmark``: the original's numbers, under its names.

``bootstrap``: seconds from the start to the last entry that arrived and is older than the start.
``averagec``, ``minc``, ``maxc``: seconds from an entry's creationTS to its arrival here, over the entries made
after the start, and ``percentilesc`` of the newest of them, which the original has not. ``samples``: memory and
CPU every 10 s.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from typing import Any

import psutil
import trio

from peersdb.core.contribution import format_timestamp, parse_timestamp
from peersdb.core.entry import Entry
from peersdb.errors import InvalidMessage
from peersdb.service.environment import Environment

#: The original's interval, seconds.
SAMPLE_INTERVAL = 10.0
#: Replication times kept for the percentiles: the newest.
MAX_TIMES = 4096
#: Times that the recent mean is made of: enough to be calm, few enough to tell a change.
RECENT = 100
#: Samples kept: the newest six hours. A benchmark must fit one message to a peer.
MAX_SAMPLES = 2160


class Benchmark:
    """One node's benchmark, recorded from its start."""

    def __init__(self, environment: Environment, region: str) -> None:
        """Starts the clock."""
        self._environment, self._region = environment, region
        self._started = environment.now_ns()
        # Whole zeros until something was measured: that is how the original writes them.
        self._bootstrap: float = 0
        self._count, self._total = 0, 0.0
        self._least: float = 0
        self._most: float = 0
        self._recent: deque[float] = deque(maxlen=MAX_TIMES)
        self._samples: deque[dict[str, Any]] = deque(maxlen=MAX_SAMPLES)
        self._process = psutil.Process()

    async def run(self) -> None:
        """Takes a sample every 10 s; ends when cancelled."""
        self._process.cpu_percent()
        while True:
            await trio.sleep(SAMPLE_INTERVAL)
            self._sample()

    def arrived(self, entries: Sequence[Entry]) -> None:
        """Counts entries that arrived by replication just now."""
        now = self._environment.now_ns()
        for entry in entries:
            created = parse_timestamp(entry.contribution.creation_ts)
            if created < self._started:
                self._bootstrap = (now - self._started) / 1e9
                continue
            seconds = max(0.0, (now - created) / 1e9)
            self._least = min(self._least, seconds) if self._count else seconds
            self._most = max(self._most, seconds)
            self._count += 1
            self._total += seconds
            self._recent.append(seconds)

    def result(self) -> dict[str, Any]:
        """The benchmark in the original's form."""
        return {
            "bootstrap": self._bootstrap,
            "averagec": self._total / self._count if self._count else 0,
            "minc": self._least,
            "maxc": self._most,
            "region": self._region,
            "samples": list(self._samples),
            "percentilesc": self._percentiles(),
        }

    def recent(self) -> float | None:
        """Mean of the newest `RECENT` replication times, seconds; None before the first."""
        newest = list(self._recent)[-RECENT:]
        return round(sum(newest) / len(newest), 6) if newest else None

    def encoded(self) -> bytes:
        """The benchmark as JSON."""
        return json.dumps(self.result(), separators=(",", ":")).encode()

    def _percentiles(self) -> dict[str, float]:
        """Of the recent replication times, seconds: the least that so many percent do not exceed."""
        times = sorted(self._recent)
        return {f"p{p}": times[max(0, -(-len(times) * p // 100) - 1)] if times else 0 for p in (50, 90, 99)}

    def _sample(self) -> None:
        self._samples.append(
            {
                "ts": format_timestamp(self._environment.now_ns()),
                "membytes": self._process.memory_info().rss,
                "cpupercent": self._process.cpu_percent(),
            }
        )


def decode_benchmark(data: bytes) -> list[dict[str, Any]]:
    """A peer's benchmark: one, or none where it records none.

    Raises:
        InvalidMessage: it is no benchmark.
    """
    if not data:
        return []
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"a peer's benchmark is no JSON: {error}") from error
    if (
        not isinstance(value, dict)
        or not {"bootstrap", "averagec", "minc", "maxc", "region", "samples"} <= value.keys()
    ):
        raise InvalidMessage("a peer's benchmark lacks fields")
    return [value]
