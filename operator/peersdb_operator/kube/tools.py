"""What the reconcile of a cluster works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from peersdb_operator.kube.cache import Cache, Key
from peersdb_operator.kube.client import Kube
from peersdb_operator.kube.events import Events
from peersdb_operator.kube.metrics import Metrics
from peersdb_operator.kube.observed import ObjectKey
from peersdb_operator.kube.poller import Poller


@dataclass(frozen=True, slots=True)
class Environment:
    """What a reconciler needs of the world.

    Attributes:
        now: seconds since the epoch.
        clock: seconds that never go back.
        random: gives so many random bytes.
        namespace: the operator's own.
    """

    now: Callable[[], float]
    clock: Callable[[], float]
    random: Callable[[int], bytes]
    namespace: str


@dataclass(slots=True)
class Tools:
    """What a reconcile works with.

    Attributes:
        kube: the API server.
        cache: what the watches have told.
        poller: what pods say of themselves.
        events: for people.
        metrics: for Prometheus.
        environment: time and randomness.
        nodes_visible: whether Kubernetes nodes can be read.
        again: called with a key and seconds where a cluster is to be looked at again.
        cut: gives the region of a cluster that a benchmark has cut off, and for how many seconds.
        applied: of each object, the stamp of what was wanted and the fingerprint of what was there when it was right,
            which saves applying it again.
        status_written: when the status was last written.
    """

    kube: Kube
    cache: Cache
    poller: Poller
    events: Events
    metrics: Metrics
    environment: Environment
    nodes_visible: Callable[[], bool]
    again: Callable[[Key, float], None]
    cut: Callable[[Key], tuple[str, float]] = lambda _key: ("", 0.0)
    applied: dict[Key, dict[ObjectKey, tuple[str, str]]] = field(default_factory=dict)
    status_written: dict[Key, float] = field(default_factory=dict)

    def forget(self, key: Key) -> None:
        """A cluster is gone."""
        self.poller.forget(key)
        self.metrics.forget(key)
        self.applied.pop(key, None)
        self.status_written.pop(key, None)
