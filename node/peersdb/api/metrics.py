"""`GET /metrics` in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

#: From a query answered from memory (2 ms) to a large file fetched from afar.
BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The node's metrics: requests as they are answered, the rest from its status when asked."""

    def __init__(self) -> None:
        """A registry of its own: several nodes may live in one process."""
        self._registry = CollectorRegistry()
        self._answers: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "peersdb_http_requests", "HTTP requests answered", ("what", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "peersdb_http_request_seconds",
            "Time from request to answer",
            ("what",),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._gauges = {
            name: Gauge(f"peersdb_{name}", text, registry=self._registry)
            for name, text in (
                ("ready", "1 when the node is ready"),
                ("entries", "Entries in the log"),
                ("heads", "Entries of the log without a child"),
                ("pending_entries", "Entries that wait for a parent"),
                ("peers", "Connected peers"),
                ("members", "Members known by their address records"),
                ("files_wanted", "Files of contributions still to be fetched"),
                ("files_pinned", "Files of contributions kept"),
                ("votes", "Votes on files that are known here"),
                ("voters", "Voters whose votes are known here"),
                ("voters_disqualified", "Voters that were proved to contradict themselves"),
                ("memory_bytes", "Resident memory"),
                ("cpu_seconds", "Processor time used since the start"),
                ("uptime_seconds", "Time since the start"),
            )
        }
        self._info = Gauge(
            "peersdb_info",
            "Always 1; what this node is",
            ("version", "region", "root"),
            registry=self._registry,
        )

    def answered(self, what: str, status: int, seconds: float) -> None:
        """Counts one request.

        Args:
            what: the command or the path, from a fixed set.
            status: of the answer.
            seconds: it took.
        """
        # Paths and statuses are few; looking the labels up each time would cost more than counting.
        found = self._answers.get((what, status))
        if found is None:
            found = self._requests.labels(what, str(status)), self._seconds.labels(what)
            self._answers[what, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def render(self, status: Mapping[str, Any]) -> bytes:
        """All metrics, with the gauges taken from a status of the node."""
        process, pins, validation = status["process"], status["pins"], status["validation"]
        values = {
            "ready": status["ready"],
            "entries": status["entries"],
            "heads": status["heads"],
            "pending_entries": status["pending"],
            "peers": len(status["peers"]),
            "members": status["members"],
            "files_wanted": pins["wanted"],
            "files_pinned": pins["pinned"],
            "votes": validation["votes"],
            "voters": validation["voters"],
            "voters_disqualified": len(validation["disqualified"]),
            "memory_bytes": process["memBytes"],
            "cpu_seconds": process["cpuSeconds"],
            "uptime_seconds": process["uptimeSeconds"],
        }
        for name, value in values.items():
            self._gauges[name].set(float(value))
        self._info.labels(status["version"], status["region"], str(status["root"]).lower()).set(1)
        return generate_latest(self._registry)
