"""What the operator counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from peersdb_operator.kube.cache import Key
from peersdb_operator.kube.observed import PodFacts

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The counters of one operator; series of a cluster go with it."""

    def __init__(self, queue_length: Callable[[], int]) -> None:
        """Begins at zero; ``queue_length`` tells how many clusters wait."""
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "peersdb_operator_reconciles", "Reconciles by result.", ["result"], registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "peersdb_operator_reconcile_seconds",
            "How long a reconcile took.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.writes = Counter(
            "peersdb_operator_api_writes",
            "Writes to the API server.",
            ["kind", "verb"],
            registry=self.registry,
        )
        self.poll_seconds = Histogram(
            "peersdb_operator_pod_poll_seconds",
            "How long a pod's status took, or its timeout.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.leader = Gauge("peersdb_operator_leader", "Whether this operator leads.", registry=self.registry)
        queue = Gauge(
            "peersdb_operator_queue_length", "Clusters that wait for a reconcile.", registry=self.registry
        )
        queue.set_function(queue_length)
        self._ready = Gauge(
            "peersdb_cluster_ready",
            "Whether a cluster is ready.",
            ["namespace", "cluster"],
            registry=self.registry,
        )
        self._members = Gauge(
            "peersdb_cluster_members",
            "Members that there should be, and those that are ready.",
            ["namespace", "cluster", "region", "state"],
            registry=self.registry,
        )
        self._lag = Gauge(
            "peersdb_cluster_heads_lag_entries",
            "Entries that the member furthest behind lacks.",
            ["namespace", "cluster", "region"],
            registry=self.registry,
        )
        self._replication = Gauge(
            "peersdb_cluster_replication_lag_seconds",
            "Mean time of replication that the members measured, where they record benchmarks.",
            ["namespace", "cluster", "region"],
            registry=self.registry,
        )
        self._benchmarks = Gauge(
            "peersdb_benchmarks",
            "Benchmarks by phase.",
            ["namespace", "phase"],
            registry=self.registry,
        )
        self._phases: dict[Key, str] = {}
        self._series: dict[Key, set[tuple[Gauge, tuple[str, ...]]]] = {}

    def cluster(self, key: Key, status: Mapping[str, Any], facts: Mapping[str, list[PodFacts]]) -> None:
        """Set a cluster's series.

        Args:
            key: the cluster's.
            status: as it is written.
            facts: what the pods of each region say.
        """
        series: dict[tuple[Gauge, tuple[str, ...]], float] = {}
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
        series[self._ready, key] = float(ready)
        for region in status["regions"]:
            name = region["name"]
            series[self._members, (*key, name, "wanted")] = region["replicas"]
            series[self._members, (*key, name, "ready")] = region["readyReplicas"]
            if "headsLag" in region:
                series[self._lag, (*key, name)] = region["headsLag"]
        for name, told in facts.items():
            times = [fact.replication for fact in told if fact.replication is not None]
            if times:
                series[self._replication, (*key, name)] = sum(times) / len(times)
        for gauge, labels in self._series.get(key, set()) - series.keys():
            gauge.remove(*labels)
        for (gauge, labels), value in series.items():
            gauge.labels(*labels).set(value)
        self._series[key] = set(series)

    def benchmark(self, key: Key, phase: str) -> None:
        """Count a benchmark under its phase."""
        if self._phases.get(key) == phase:
            return
        self.forget_benchmark(key)
        self._phases[key] = phase
        self._benchmarks.labels(key[0], phase).inc()

    def forget_benchmark(self, key: Key) -> None:
        """Count a benchmark no more."""
        phase = self._phases.pop(key, None)
        if phase is None:
            return
        same = sum(known[0] == key[0] and other == phase for known, other in self._phases.items())
        if same:
            self._benchmarks.labels(key[0], phase).set(same)
        else:
            self._benchmarks.remove(key[0], phase)

    def forget_all(self) -> None:
        """Take all clusters' and benchmarks' series away: another operator tells of them now."""
        for key in list(self._series):
            self.forget(key)
        for key in list(self._phases):
            self.forget_benchmark(key)

    def forget(self, key: Key) -> None:
        """Take a cluster's series away."""
        for gauge, labels in self._series.pop(key, set()):
            gauge.remove(*labels)
