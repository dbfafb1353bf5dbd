"""A square wave: all users for a while, then a few, and again."""

import time
from collections.abc import Iterator

import gevent

from loadtests.options import Options
from loadtests.profiles.shape import Script, Tick

# Long enough for what has piled up to be worked off, short enough for three waves in a minute.
HALF_SECONDS = 10.0
# Between two bursts a fifth of the users goes on.
REST = 5


class Burst(Script):
    """All users for 10 s, a fifth of them for 10 s, until the time is over. Users come and go at once."""

    abstract = True

    def load(self, options: Options) -> Iterator[Tick]:
        """Begin with a burst."""
        high, low = options.users, max(1, options.users // REST)
        yield high, float(max(high, 1))
        turn = 0
        while options.run_time is None or time.monotonic() < self.board.began + options.run_time:
            turn += 1
            until = self.board.began + turn * HALF_SECONDS
            if options.run_time is not None:
                until = min(until, self.board.began + options.run_time)
            gevent.sleep(max(0.0, until - time.monotonic()))
            if options.run_time is None or until < self.board.began + options.run_time:
                # A rate of its own for each wave: locust takes the same step twice for one.
                yield (low if turn % 2 else high), float(max(high, 1))
