"""What is seen of one cluster: its objects, its pods, the Kubernetes nodes of its regions. Pure over the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from peersdb_operator import names
from peersdb_operator.cluster import Cluster, Group
from peersdb_operator.kube.cache import Cache, Key
from peersdb_operator.kube.kinds import NODE, OWNED, POD, STATEFUL_SET, Object, controller_of, name_of

REVISION_LABEL = "controller-revision-hash"

ObjectKey = tuple[str, str]
"""Kind and name of an object of the cluster's namespace."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a pod's node says of itself.

    Attributes:
        at: when, in seconds of the poller's clock.
        entries: of the log.
        store_address: of the contributions store; empty while there is none.
        version: of the node.
        lag: entries that it lacks of what another member had a round before.
        replication: mean seconds of replication that it measured, or None.
    """

    at: float
    entries: int
    store_address: str
    version: str
    lag: int
    replication: float | None


@dataclass(frozen=True, slots=True)
class Observed:
    """One cluster as it is.

    Attributes:
        objects: what it is made of, by kind and name.
        pods: by name.
        nodes: all Kubernetes nodes; None where we may not see them.
        facts: what pods say, by name; those that answered lately.
    """

    objects: Mapping[ObjectKey, Object]
    pods: Mapping[str, Object]
    nodes: tuple[Object, ...] | None
    facts: Mapping[str, PodFacts] = field(default_factory=dict)

    def stateful_set(self, cluster: Cluster, group: Group) -> Object | None:
        """Give a group's StatefulSet."""
        return self.objects.get((STATEFUL_SET.kind, names.group_object(cluster, group)))

    def pods_of(self, stateful_set: str) -> list[Object]:
        """Give the pods of a StatefulSet by number, those of numbers beyond its replicas too."""
        prefix = f"{stateful_set}-"
        own = [name for name in self.pods if name.startswith(prefix) and name[len(prefix) :].isdigit()]
        return [self.pods[name] for name in sorted(own, key=lambda name: int(name[len(prefix) :]))]


def observe(cache: Cache, key: Key, facts: Mapping[str, PodFacts], *, nodes_visible: bool) -> Observed:
    """Read one cluster's part of the cache."""
    objects = {(kind.kind, name_of(obj)): obj for kind in OWNED for obj in cache.of_cluster(kind, key)}
    pods = {name_of(pod): pod for pod in cache.of_cluster(POD, key)}
    nodes = tuple(cache.every(NODE)) if nodes_visible else None
    return Observed(objects, pods, nodes, facts)


def is_ours(obj: Object, uid: str) -> bool:
    """Tell whether an object is the cluster's with that uid, or nobody's."""
    controller = controller_of(obj)
    return controller is None or controller["uid"] == uid


def outdated(pod: Object, stateful_set: Object | None) -> bool:
    """Tell whether a pod was made by an older template than its StatefulSet has; False while that is not known."""
    if stateful_set is None:
        return False
    status, metadata = stateful_set.get("status", {}), stateful_set["metadata"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return True
    revision = (pod["metadata"].get("labels") or {}).get(REVISION_LABEL)
    return bool(status.get("updateRevision")) and revision != status["updateRevision"]


def region_nodes(cluster: Cluster, group: Group, nodes: Iterable[Object]) -> tuple[int, int]:
    """Count the Kubernetes nodes that a group's pods may run on: all of them, and those that are ready."""
    wanted = {**group.node_selector, cluster.region_label_key: group.region}
    fitting = [
        node
        for node in nodes
        if all(node["metadata"]["labels"].get(label) == value for label, value in wanted.items())
    ]
    able = [node for node in fitting if node["status"]["ready"] and not node["spec"]["unschedulable"]]
    return len(fitting), len(able)


def store_address(observed: Observed, known: str) -> str:
    """Give the contributions store's address: the one that is known, else what a root says."""
    if known:
        return known
    told = [
        facts.store_address
        for name, facts in sorted(observed.facts.items())
        if facts.store_address and name in observed.pods and _is_root(observed.pods[name])
    ]
    return told[0] if told else ""


def _is_root(pod: Object) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get(names.ROLE_LABEL) == "root")
