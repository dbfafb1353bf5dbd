"""What the reconcile of a benchmark works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.kube.benchmark.observed import Observed
from peersdb_operator.kube.benchmark.watcher import Watcher
from peersdb_operator.kube.cache import Cache, Key
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.cuts import Cuts
from peersdb_operator.kube.events import Events
from peersdb_operator.kube.kinds import Object
from peersdb_operator.kube.metrics import Metrics
from peersdb_operator.kube.tools import Environment


@dataclass(slots=True)
class Memory:
    """What is remembered of a run beside its status: nothing that a new operator could not do without.

    Attributes:
        faults: how many were made, for the turn of the regions.
        last_fault: when the last one began, in seconds since the epoch.
        cut_at: when the policy of the present cut was asked for.
        in_force: whether the present cut was seen to hold.
        replaced: whether the region's pods were replaced to make it hold.
        without_effect: whether a cut never held.
        wave: the wave that was raised and told.
        clean: whether all was taken back after its end.
        written: when the status was last written.
    """

    faults: int = 0
    last_fault: float | None = None
    cut_at: float | None = None
    in_force: bool = False
    replaced: bool = False
    without_effect: bool = False
    wave: int = 0
    clean: bool = False
    written: float | None = None


@dataclass(slots=True)
class Tools:
    """What a reconcile works with.

    Attributes:
        kube: the API server.
        cache: what the watches told of Jobs and pods of benchmarks.
        members: what they told of clusters.
        watcher: what masters say.
        cuts: which regions are cut off.
        events: for people.
        metrics: for Prometheus.
        environment: time and randomness.
        again: called with a key and seconds where a benchmark is to be looked at again.
        claims: the benchmark that runs on each cluster.
        memories: of each benchmark, by its key and uid.
    """

    kube: Kube
    cache: Cache
    members: Cache
    watcher: Watcher
    cuts: Cuts
    events: Events
    metrics: Metrics
    environment: Environment
    again: Callable[[Key, float], None]
    claims: dict[Key, Key] = field(default_factory=dict)
    memories: dict[Key, tuple[str, Memory]] = field(default_factory=dict)

    def memory(self, key: Key, uid: str) -> Memory:
        """Give what is remembered of a run; a new one of the same name begins with nothing."""
        known = self.memories.get(key)
        if known is None or known[0] != uid:
            if known is not None:
                self.forget(key)
            self.memories[key] = known = uid, Memory()
        return known[1]

    def forget(self, key: Key) -> None:
        """A benchmark is gone: nothing is broken for it any more."""
        self.cuts.heal(key)
        self.watcher.forget(key)
        self.metrics.forget_benchmark(key)
        self.memories.pop(key, None)
        self.release(key)

    def release(self, key: Key) -> None:
        """Let the next benchmark have the cluster."""
        for cluster, benchmark in list(self.claims.items()):
            if benchmark == key:
                del self.claims[cluster]


@dataclass(slots=True)
class Run:
    """One reconcile of a run.

    Attributes:
        key: of the benchmark.
        uid: of its resource.
        status: as it was read.
        observed: its Jobs and pods.
        memory: what is remembered.
        now: seconds since the epoch.
        fields: of the status, to be set.
        troubles: what is wrong, as reason and message.
    """

    key: Key
    uid: str
    benchmark: Benchmark
    cluster: Cluster
    status: dict[str, Any]
    observed: Observed
    memory: Memory
    now: float
    fields: dict[str, Any] = field(default_factory=dict)
    troubles: list[tuple[str, str]] = field(default_factory=list)

    @property
    def cluster_key(self) -> Key:
        """Give the key of the cluster."""
        return self.key[0], self.benchmark.cluster

    @property
    def fault(self) -> Object | None:
        """What is broken right now."""
        found = self.fields.get("fault", self.status.get("fault"))
        return dict(found) if found else None
