"""All names and labels of what a cluster is made of.

Names join cluster, group and number by ``-``, so that two clusters of one namespace can mean the same name
(``a`` with region ``b-c``, ``a-b`` with region ``c``): whoever applies the objects has to look at whose they
are first.
"""

from __future__ import annotations

from peersdb_operator.cluster import Cluster, Group

MANAGED_BY = "peersdb-operator"

NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
ROLE_LABEL = "peersdb.io/role"
REGION_LABEL = "peersdb.io/region"
BENCHMARK_LABEL = "peersdb.io/benchmark"
"""Of all that belongs to a benchmark, and of nothing that belongs to a cluster."""
HOSTNAME_LABEL = "kubernetes.io/hostname"

STORE_KEY = "storeAddress"
"""The key of the ConfigMap that tells members the store's address."""

POD_VARIABLE = "POD_NAME"
"""The variable of a container that has its pod's name."""

CONTAINER = "peersdb"
VOLUME = "data"
API_TOKEN_VOLUME = "api-token"  # noqa: S105 - a name
API_TOKEN_KEY = "token"  # noqa: S105 - a name
SWARM_KEY_VOLUME = "swarm-key"
SWARM_KEY_KEY = "swarm.key"

SWARM_KEY_ANNOTATION = "peersdb.io/swarm-key"
"""Of pods: a hash of the swarm key they were started with."""
REPLICAS_ANNOTATION = "peersdb.io/replicas"
"""Of StatefulSets: the replicas that the operator decided on, which tells a hand's change from a lowered spec."""
ROTATE_API_TOKEN_ANNOTATION = "peersdb.io/rotate-api-token"  # noqa: S105 - a name
ROTATE_SWARM_KEY_ANNOTATION = "peersdb.io/rotate-swarm-key"
"""Of a PeersDBCluster: a new value asks for a new secret; of the Secret: the value it was made for."""

OPERATOR_NAMESPACE = "peersdb-system"
"""Where deploy/ installs the operator."""
MONITORING_LABEL = "peersdb.io/monitoring"
"""Of namespaces from which metrics are read."""
NAMESPACE_LABEL = "kubernetes.io/metadata.name"

HTTP_PORT = "http"
P2P_PORT = "p2p"


def member(group: Group, index: int) -> str:
    """Name one member within its cluster: ``root-0``, ``eu-1``."""
    return f"{group.name}-{index}"


def group_object(cluster: Cluster, group: Group) -> str:
    """Name a group's StatefulSet, its headless Service and its PodDisruptionBudget."""
    return f"{cluster.name}-{group.name}"


def pod(cluster: Cluster, group: Group, index: int) -> str:
    """Name the pod that the StatefulSet makes for a member."""
    return f"{group_object(cluster, group)}-{index}"


def pod_host(cluster: Cluster, group: Group, index: int) -> str:
    """Give a member's DNS name, resolved by the search list of any pod of the same namespace."""
    return f"{pod(cluster, group, index)}.{group_object(cluster, group)}"


def any_pod_host(cluster: Cluster, group: Group) -> str:
    """Give the DNS name of whichever pod of a group reads it: Kubernetes fills in the variable."""
    return f"$({POD_VARIABLE}).{group_object(cluster, group)}"


def cluster_object(cluster: Cluster) -> str:
    """Name what a cluster has one of: client Service, ServiceAccount, ConfigMap."""
    return cluster.name


def role(group: Group) -> str:
    """Give the value of the role label."""
    return "root" if group.is_root else "peer"


def cluster_labels(cluster: Cluster) -> dict[str, str]:
    """Give the labels of an object of the whole cluster."""
    return {NAME_LABEL: "peersdb", INSTANCE_LABEL: cluster.name, MANAGED_BY_LABEL: MANAGED_BY}


def group_labels(cluster: Cluster, group: Group) -> dict[str, str]:
    """Give the labels of an object of one group: they tell root from peers and regions apart."""
    return {**cluster_labels(cluster), ROLE_LABEL: role(group), REGION_LABEL: group.region}


def cluster_selector(cluster: Cluster) -> dict[str, str]:
    """Select all pods of a cluster."""
    return {NAME_LABEL: "peersdb", INSTANCE_LABEL: cluster.name}


def group_selector(cluster: Cluster, group: Group) -> dict[str, str]:
    """Select the pods of one group; immutable in a StatefulSet, so nothing may ever be added here."""
    return {**cluster_selector(cluster), ROLE_LABEL: role(group), REGION_LABEL: group.region}
