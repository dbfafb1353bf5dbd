"""Who may reach the nodes, and the secrets they hold: parts of objects, pure.

Secrets reach a node as files; variables say where, and never hold one, for they end up in descriptions and logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peersdb_operator import names
from peersdb_operator.cluster import Cluster, SecretRef

Object = dict[str, Any]

SECRETS_DIR = "/etc/peersdb"


def network_policy(cluster: Cluster, operator_namespace: str, *, cut: bool = False) -> Object:
    """Build the spec of the NetworkPolicy: ingress alone, a node reaches whom it likes.

    The members reach each other on both ports (they ask each other's HTTP API where libp2p is); the operator and
    namespaces labelled for monitoring reach the HTTP API. Probes come from the Kubernetes node, which is let through.

    Args:
        cluster: whose members it is about.
        operator_namespace: where the operator runs.
        cut: whether a region is cut off: then no member reaches another's libp2p by it, but by `cut_policies` alone.
    """
    members: Object = {"podSelector": {"matchLabels": names.cluster_selector(cluster)}}
    operator: Object = {
        "namespaceSelector": {"matchLabels": {names.NAMESPACE_LABEL: operator_namespace}},
        "podSelector": {"matchLabels": {names.NAME_LABEL: names.MANAGED_BY}},
    }
    monitoring: Object = {"namespaceSelector": {"matchLabels": {names.MONITORING_LABEL: "true"}}}
    http_from = cluster.access.http_from
    http_peers = [
        members,
        operator,
        monitoring,
        *([{"podSelector": {}}] if http_from is None else map(dict, http_from)),
    ]
    p2p_peers = [*([] if cut else [members]), *map(dict, cluster.access.p2p_from or ())]
    ingress: list[Object] = [{"from": http_peers, "ports": [{"protocol": "TCP", "port": cluster.http_port}]}]
    if p2p_peers:  # a rule without peers would let everybody in
        ingress.append({"from": p2p_peers, "ports": [{"protocol": "TCP", "port": cluster.libp2p_port}]})
    return {
        "podSelector": {"matchLabels": names.cluster_selector(cluster)},
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }


def cut_policies(cluster: Cluster, region: str) -> dict[str, Object]:
    """Build the specs of the policies of a cluster with a region cut off, by their names' endings.

    The region's members reach each other's libp2p, and so do all others: policies add up, none takes away.
    """
    own = names.cluster_selector(cluster)
    sides: dict[str, Object] = {
        "cut-inside": {"matchLabels": {**own, names.REGION_LABEL: region}},
        "cut-outside": {
            "matchLabels": own,
            "matchExpressions": [{"key": names.REGION_LABEL, "operator": "NotIn", "values": [region]}],
        },
    }
    return {
        ending: {
            "podSelector": side,
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"podSelector": side}],
                    "ports": [{"protocol": "TCP", "port": cluster.libp2p_port}],
                }
            ],
        }
        for ending, side in sides.items()
    }


def secret_environment(cluster: Cluster) -> list[Object]:
    """Give the variables that say where the secrets are; the client in a pod reads them too."""
    return [
        {"name": variable, "value": f"{SECRETS_DIR}/{volume}/{key}"}
        for variable, _, volume, key in _secrets(cluster)
    ]


def secret_volumes(cluster: Cluster) -> list[Object]:
    """Give the volumes of the secrets, readable by the container's group alone."""
    return [
        {
            "name": volume,
            "secret": {
                "secretName": secret.name,
                "defaultMode": 0o440,
                "items": [{"key": key, "path": key}],
            },
        }
        for _, secret, volume, key in _secrets(cluster)
    ]


def secret_mounts(cluster: Cluster) -> list[Object]:
    """Give where the volumes of the secrets are: whole directories, for a file of its own is never renewed."""
    return [
        {"name": volume, "mountPath": f"{SECRETS_DIR}/{volume}", "readOnly": True}
        for _, _, volume, _ in _secrets(cluster)
    ]


def _secrets(cluster: Cluster) -> Iterator[tuple[str, SecretRef, str, str]]:
    if cluster.api_token is not None:
        yield "PEERSDB_API_TOKEN_FILE", cluster.api_token, names.API_TOKEN_VOLUME, names.API_TOKEN_KEY
    if cluster.swarm_key is not None:
        yield "PEERSDB_SWARM_KEY_FILE", cluster.swarm_key, names.SWARM_KEY_VOLUME, names.SWARM_KEY_KEY
