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


def network_policy(cluster: Cluster, operator_namespace: str) -> Object:
    """Build the spec of the NetworkPolicy: ingress alone, a node reaches whom it likes.

    The members reach each other on both ports (they ask each other's HTTP API where libp2p is); the operator and
    namespaces labelled for monitoring reach the HTTP API. Probes come from the Kubernetes node, which is let through.
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
    return {
        "podSelector": {"matchLabels": names.cluster_selector(cluster)},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": http_peers, "ports": [{"protocol": "TCP", "port": cluster.http_port}]},
            {
                "from": [members, *map(dict, cluster.access.p2p_from or ())],
                "ports": [{"protocol": "TCP", "port": cluster.libp2p_port}],
            },
        ],
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
