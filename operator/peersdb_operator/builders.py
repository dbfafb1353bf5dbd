"""The Kubernetes objects that a cluster means: a pure function to plain dicts, ready for server-side apply.

A StatefulSet, a headless Service and a PodDisruptionBudget for the root and for each region; a client
Service, a ServiceAccount, a NetworkPolicy and, once the store's address is known, a ConfigMap for all. Nothing
here depends on the order of events: the pod templates change with the manifest only (and with the swarm key), so
the store's address reaches pods by an optional reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from peersdb_operator import names, policies
from peersdb_operator.cluster import Cluster, Group
from peersdb_operator.members import node_arguments

Object = dict[str, Any]

VERSION = 1
"""Of what is built: a change that alters pods of a manifest that did not change gets a new number, and clusters made by
an older one keep it until their spec changes, so that an upgrade of the operator rolls no pod."""

DATA_DIR = "/data"
REPO_DIR = f"{DATA_DIR}/repo"
DOWNLOAD_DIR = f"{DATA_DIR}/downloads/"

DEFAULT_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}
"""For a group that says nothing: an idle node takes about 115 MB; no CPU limit, which would only add
latency."""

GRACE_SECONDS = 30
"""A node stops within 5 s of SIGTERM; the rest is for a slow disk."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beside the manifest.

    Attributes:
        store_address: the contributions store's address, once a root has told it.
        operator_namespace: where the operator runs, which the NetworkPolicy lets in.
        swarm_key_hash: of the private network's key, if there is one.
        cut: the region that a benchmark has cut off from the others for now; empty: none.
    """

    store_address: str | None = None
    operator_namespace: str = names.OPERATOR_NAMESPACE
    swarm_key_hash: str = ""
    cut: str = ""


NOTHING_KNOWN = Facts()


def build(cluster: Cluster, facts: Facts = NOTHING_KNOWN) -> list[Object]:
    """Build all objects, those that others need first."""
    objects = [service_account(cluster), client_service(cluster)]
    if cluster.access.enabled:
        objects += network_policies(cluster, facts)
    if facts.store_address:
        objects.append(config_map(cluster, facts.store_address))
    for group in cluster.groups:
        objects += [
            headless_service(cluster, group),
            disruption_budget(cluster, group),
            stateful_set(cluster, group, facts),
        ]
    return objects


def network_policies(cluster: Cluster, facts: Facts) -> list[Object]:
    """Build who may reach the members: one policy, and two more while a region is cut off."""
    name = names.cluster_object(cluster)
    specs = {name: policies.network_policy(cluster, facts.operator_namespace, cut=bool(facts.cut))}
    if facts.cut:
        cut = policies.cut_policies(cluster, facts.cut)
        specs |= {f"{name}-{ending}": spec for ending, spec in cut.items()}
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(cluster, policy, names.cluster_labels(cluster)),
            "spec": spec,
        }
        for policy, spec in specs.items()
    ]


def bootstrap_addresses(cluster: Cluster, group: Group) -> tuple[str, ...]:
    """Give host:port of the HTTP APIs that a group's members join through: those of all roots.

    Pods of a group share one template, so a root finds itself among them. It also calls on any member that is
    ready: with an emptied volume it is a stranger to the others, who wait for it under its old key.
    """
    hosts = [names.pod_host(cluster, cluster.root, index) for index in range(cluster.root.replicas)]
    if group.is_root:
        hosts.append(names.cluster_object(cluster))
    return tuple(f"{host}:{cluster.http_port}" for host in hosts)


def service_account(cluster: Cluster) -> Object:
    """Build the account that pods run as: without a token, for they never speak to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(cluster, names.cluster_object(cluster), names.cluster_labels(cluster)),
        "automountServiceAccountToken": False,
    }


def config_map(cluster: Cluster, store_address: str) -> Object:
    """Build what members started from now on read: a root with an empty volume then joins the old log."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(cluster, names.cluster_object(cluster), names.cluster_labels(cluster)),
        "data": {names.STORE_KEY: store_address},
    }


def client_service(cluster: Cluster) -> Object:
    """Build the Service for users: any ready member's HTTP API, a near one if there is one."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(cluster, names.cluster_object(cluster), names.cluster_labels(cluster)),
        "spec": {
            **_families(cluster),
            "type": "ClusterIP",
            "selector": names.cluster_selector(cluster),
            "trafficDistribution": "PreferClose",
            "ports": [_service_port(names.HTTP_PORT, cluster.http_port)],
        },
    }


def headless_service(cluster: Cluster, group: Group) -> Object:
    """Build the Service that gives each pod of a group its DNS name, before it is ready too: newcomers meet
    there.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(
            cluster, names.group_object(cluster, group), names.group_labels(cluster, group)
        ),
        "spec": {
            **_families(cluster),
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": names.group_selector(cluster, group),
            "ports": [
                _service_port(names.HTTP_PORT, cluster.http_port),
                _service_port(names.P2P_PORT, cluster.libp2p_port),
            ],
        },
    }


def disruption_budget(cluster: Cluster, group: Group) -> Object:
    """Build the budget: of one group, one member at a time may be evicted."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(
            cluster, names.group_object(cluster, group), names.group_labels(cluster, group)
        ),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": names.group_selector(cluster, group)}},
    }


def stateful_set(cluster: Cluster, group: Group, facts: Facts = NOTHING_KNOWN) -> Object:
    """Build a group's StatefulSet: stable names and volumes, all pods at once."""
    template: Object = {"labels": names.group_labels(cluster, group)}
    if facts.swarm_key_hash:
        # A new key is a new template: a pod that still has the old one would be alone.
        template["annotations"] = {names.SWARM_KEY_ANNOTATION: facts.swarm_key_hash}
    spec: Object = {
        "replicas": group.replicas,
        "serviceName": names.group_object(cluster, group),
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": names.group_selector(cluster, group)},
        "template": {
            "metadata": template,
            "spec": _pod_spec(cluster, group),
        },
    }
    if not group.storage.ephemeral:
        spec["persistentVolumeClaimRetentionPolicy"] = {
            "whenDeleted": cluster.retention.when_deleted,
            "whenScaled": cluster.retention.when_scaled,
        }
        spec["volumeClaimTemplates"] = [_volume_claim(cluster, group)]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(
            cluster, names.group_object(cluster, group), names.group_labels(cluster, group)
        ),
        "spec": spec,
    }


def _pod_spec(cluster: Cluster, group: Group) -> Object:
    spec: Object = {
        "serviceAccountName": names.cluster_object(cluster),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # variables of every Service around would only shadow the node's own
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        # The restricted Pod Security standard; no fixed user id, which OpenShift assigns. The image's is not
        # root.
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": 65532,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": {**group.node_selector, cluster.region_label_key: group.region},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": names.HOSTNAME_LABEL,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": names.group_selector(cluster, group)},
            }
        ],
        "containers": [_container(cluster, group)],
    }
    if group.affinity:
        spec["affinity"] = dict(group.affinity)
    if group.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in group.tolerations]
    if cluster.image.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in cluster.image.pull_secrets]
    spec["volumes"] = [{"name": "tmp", "emptyDir": {}}, *policies.secret_volumes(cluster)]
    if group.storage.ephemeral:
        spec["volumes"].append({"name": names.VOLUME, "emptyDir": {"sizeLimit": group.storage.size}})
    return spec


def _container(cluster: Cluster, group: Group) -> Object:
    return {
        "name": names.CONTAINER,
        "image": cluster.image.reference,
        "imagePullPolicy": cluster.image.pull_policy,
        "args": list(
            node_arguments(
                cluster,
                group,
                host="0.0.0.0",
                http_port=cluster.http_port,
                libp2p_port=cluster.libp2p_port,
                repo=REPO_DIR,
                downloads=DOWNLOAD_DIR,
                bootstrap=bootstrap_addresses(cluster, group),
                announce=f"/dns/{names.any_pod_host(cluster, group)}/tcp/{cluster.libp2p_port}",
            )
        ),
        "env": [
            {"name": names.POD_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {
                "name": "PEERSDB_STORE",
                "valueFrom": {
                    "configMapKeyRef": {
                        "name": names.cluster_object(cluster),
                        "key": names.STORE_KEY,
                        "optional": True,
                    }
                },
            },
            *policies.secret_environment(cluster),
        ],
        "ports": [
            {"name": names.HTTP_PORT, "containerPort": cluster.http_port, "protocol": "TCP"},
            {"name": names.P2P_PORT, "containerPort": cluster.libp2p_port, "protocol": "TCP"},
        ],
        "resources": {
            kind: dict(amounts) for kind, amounts in (group.resources or DEFAULT_RESOURCES).items()
        },
        # Liveness never depends on other members; a new node may take long to read a large log.
        "startupProbe": _probe("/healthz", period=2, failures=150),
        "livenessProbe": _probe("/healthz", period=10, failures=6),
        "readinessProbe": _probe("/readyz", period=2, failures=3),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": names.VOLUME, "mountPath": DATA_DIR},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
            *policies.secret_mounts(cluster),
        ],
    }


def _volume_claim(cluster: Cluster, group: Group) -> Object:
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": group.storage.size}},
    }
    if group.storage.storage_class_name is not None:
        spec["storageClassName"] = group.storage.storage_class_name
    # The selector's labels only: a claim template is immutable.
    return {"metadata": {"name": names.VOLUME, "labels": names.group_selector(cluster, group)}, "spec": spec}


def _probe(path: str, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": names.HTTP_PORT},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def _families(cluster: Cluster) -> Object:
    return {} if cluster.ip_family_policy is None else {"ipFamilyPolicy": cluster.ip_family_policy}


def _service_port(name: str, port: int) -> Object:
    return {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}


def _metadata(cluster: Cluster, name: str, labels: dict[str, str]) -> Object:
    metadata: Object = {"name": name, "labels": {**cluster.labels, **labels}}
    if cluster.namespace is not None:
        metadata["namespace"] = cluster.namespace
    return metadata
