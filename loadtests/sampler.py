"""Memory and processor time of each node over time, from ``GET /peersdb/status``.

A node that does not answer leaves a gap in its line and is counted; the requests of the load test are what
tells of the failure.
"""

import time
from collections.abc import Callable, Sequence

import gevent

from loadtests.errors import NodeError
from loadtests.quiet import QuietClient
from loadtests.samples import NodeSample
from loadtests.targets import Node

# Fine enough to see a peak of memory, and less than one request in a hundred of a busy node.
INTERVAL_SECONDS = 1.0


class Sampler:
    """One greenlet per node that looks at it about once a second."""

    def __init__(self, nodes: Sequence[Node], report: Callable[[NodeSample], None]) -> None:
        """Start; each look is passed to ``report``."""
        self._report = report
        self.missed: dict[str, int] = {}
        """Looks that a node did not answer, by its name."""

        self.silent: set[str] = set()
        """Nodes that did not answer when they were looked at last."""

        self._greenlets: list[gevent.Greenlet] = []
        self.add(nodes)

    def add(self, nodes: Sequence[Node]) -> None:
        """Look at more nodes."""
        self._greenlets += [gevent.spawn(self._watch, node) for node in nodes]

    def close(self) -> None:
        """Stop looking."""
        gevent.killall(self._greenlets)

    def _watch(self, node: Node) -> None:
        last: tuple[float, float] | None = None
        with QuietClient(node) as client:
            while True:
                try:
                    status = client.status()
                    process, now = status["process"], time.monotonic()
                    cpu = float(process["cpuSeconds"])
                    if last is not None and cpu >= last[1]:  # else the process is a new one
                        self._report(
                            NodeSample(
                                ts=time.time(),
                                node=node.name,
                                region=node.region,
                                mem_bytes=int(process["memBytes"]),
                                cpu_percent=100 * (cpu - last[1]) / (now - last[0]),
                                entries=int(status["entries"]),
                                peers=len(status["peers"]),
                                wanted=int(status["pins"]["wanted"]),
                            )
                        )
                    last = (now, cpu)
                    self.silent.discard(node.name)
                except (NodeError, KeyError, TypeError, ValueError):
                    self.silent.add(node.name)
                    self.missed[node.name] = self.missed.get(node.name, 0) + 1
                gevent.sleep(INTERVAL_SECONDS)
