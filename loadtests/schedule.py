"""When a user's requests are due, so that a slow answer cannot hide the requests that it delayed.

A loop that waits for each answer before it thinks of the next request sends fewer of them just when the
system is slow (coordinated omission). Here the due times are fixed in advance; a request that starts after
its time carries the delay with it as ``late``.
"""

from dataclasses import dataclass


@dataclass
class Schedule:
    """Due times at a fixed distance. Pure: times are passed in, in seconds by any monotonic clock."""

    period: float
    first: float

    _next: int = 0

    def pause(self, now: float) -> float:
        """Seconds to wait until the next request is due, 0 if it is overdue."""
        return max(0.0, self._due() - now)

    def start(self, now: float) -> float:
        """Begin the next request. Returns how late it is, in seconds."""
        late = max(0.0, now - self._due())
        self._next += 1
        return late

    def _due(self) -> float:
        return self.first + self._next * self.period
