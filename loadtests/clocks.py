"""How far each node's clock is from the one here: asked by HTTP, computed as NTP does.

``changes`` answers with the node's clock. If the question left here at ``sent`` and the answer was read at
``received``, the node's clock stood at ``now`` in between; taken for the middle, it is wrong by at most half of the
round trip. Of several comparisons the one of the least round trip counts, made worse by what two clocks may have
drifted apart since.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gevent

from loadtests.errors import NodeError
from loadtests.quiet import QuietClient
from loadtests.targets import Node

# Quartz drifts by up to 50 millionths of the time, and two clocks apart from each other by twice that.
DRIFT = 100e-6
# Often enough that drift stays below the round trip of a local network.
EVERY_SECONDS = 15.0
QUESTIONS = 4
# Five minutes of comparisons: older ones are worse than any newer one.
KEPT = 20 * QUESTIONS
# A node that is away is asked again.
RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class Comparison:
    """A node's clock minus the one here, in seconds."""

    offset: float
    error: float
    """The truth lies at most so far from ``offset``."""

    at: float
    """When it was compared, by the clock here."""

    def aged(self, now: float) -> float:
        """The error by now."""
        return self.error + DRIFT * abs(now - self.at)


def compare(*, sent: float, now: float, received: float) -> Comparison:
    """Compare clocks by one question: ``sent`` and ``received`` by the clock here, ``now`` by the node's."""
    return Comparison(now - (sent + received) / 2, (received - sent) / 2, received)


def best(comparisons: Sequence[Comparison], now: float) -> Comparison | None:
    """The comparison that errs least by now, with its error of now; None if there is none."""
    if not comparisons:
        return None
    chosen = min(comparisons, key=lambda one: one.aged(now))
    return Comparison(chosen.offset, chosen.aged(now), chosen.at)


class Clocks:
    """Keeps comparing the clocks of all nodes with the one here."""

    def __init__(self, nodes: Sequence[Node], *, clock: Callable[[], float] = time.time) -> None:
        """Start a greenlet for each node; ``clock`` is the wall clock."""
        self._clock = clock
        self._kept: dict[str, deque[Comparison]] = {}
        self._greenlets: list[gevent.Greenlet] = []
        for node in nodes:
            self.add(node)

    def add(self, node: Node) -> None:
        """One node more."""
        if node.name not in self._kept:
            self._kept[node.name] = deque(maxlen=KEPT)
            self._greenlets.append(gevent.spawn(self._watch, node))

    def wait(self, seconds: float) -> None:
        """Wait until every node was compared, at most so long."""
        deadline = time.monotonic() + seconds
        while not all(self._kept.values()) and time.monotonic() < deadline:
            gevent.sleep(0.01)

    def of(self, name: str) -> Comparison | None:
        """What is known of a node's clock; None: it never answered."""
        return best(self._kept.get(name, ()), self._clock())

    def table(self) -> dict[str, dict[str, float]]:
        """All of them, for ``run.json``."""
        found = {name: self.of(name) for name in self._kept}
        return {name: {"offset": one.offset, "error": one.error} for name, one in found.items() if one}

    def close(self) -> None:
        """Stop comparing."""
        gevent.killall(self._greenlets)

    def _watch(self, node: Node) -> None:
        with QuietClient(node) as client:
            while True:
                try:
                    for _ in range(QUESTIONS):
                        sent = self._clock()
                        now = client.changes(None).now
                        self._kept[node.name].append(compare(sent=sent, now=now, received=self._clock()))
                    gevent.sleep(EVERY_SECONDS)
                except NodeError:  # the load's own requests tell of it
                    gevent.sleep(RETRY_SECONDS)
