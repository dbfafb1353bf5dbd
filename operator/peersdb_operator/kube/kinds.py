"""The kinds of objects that the operator reads or writes, and where the API server has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

FIELD_MANAGER = "peersdb-operator"
"""The name of our fields in an object."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind.

    Attributes:
        api_version: group and version as an object says it.
        kind: its name.
        plural: its name in paths.
        namespaced: whether its objects lie in namespaces.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """Give the path of a list, an object or its subresource."""
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [root]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


CLUSTER = Kind("peersdb.io/v1alpha1", "PeersDBCluster", "peersdbclusters")
BENCHMARK = Kind("peersdb.io/v1alpha1", "PeersDBBenchmark", "peersdbbenchmarks")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
SERVICE = Kind("v1", "Service", "services")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SECRET = Kind("v1", "Secret", "secrets")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
POD = Kind("v1", "Pod", "pods")
JOB = Kind("batch/v1", "Job", "jobs")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
EVENT = Kind("v1", "Event", "events")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")

OWNED = (
    SERVICE_ACCOUNT,
    SERVICE,
    CONFIG_MAP,
    SECRET,
    NETWORK_POLICY,
    DISRUPTION_BUDGET,
    STATEFUL_SET,
)
"""What a cluster is made of, those that others need first."""

BY_NAME = {kind.kind: kind for kind in (*OWNED, POD, JOB)}


def name_of(obj: Object) -> str:
    """Give an object's name."""
    return str(obj["metadata"]["name"])


def controller_of(obj: Object) -> Object | None:
    """Give the owner reference of the object's controller."""
    for owner in obj["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            return dict(owner)
    return None
