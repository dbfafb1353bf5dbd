"""The objects that a run is made of: a pure function to plain dicts. They are made once and never changed: a run whose
pods change in the middle cannot be compared.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from peersdb_operator import names
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.kube.benchmark import naming, pods, spread
from peersdb_operator.load import BOOTSTRAP, longest

Object = dict[str, Any]


def build(
    cluster: Cluster, benchmark: Benchmark, uid: str, token: str, operator_namespace: str
) -> list[Object]:
    """Build all that a run begins with, those that others need first.

    Args:
        cluster: what is measured.
        benchmark: how.
        uid: of the benchmark's resource, which owns all of it.
        token: the control API's.
        operator_namespace: where the operator runs, which the load pods' policy lets in.
    """
    groups = spread.workers(cluster, benchmark)
    objects = [
        _object(
            "v1",
            "Secret",
            naming.control(benchmark.name),
            type="Opaque",
            data={pods.TOKEN_FILE: _base64(token)},
        ),
        _object(
            "v1",
            "ConfigMap",
            naming.targets(benchmark.name),
            data={pods.TARGETS_FILE: json.dumps(spread.as_json(cluster), indent=1)},
        ),
        _master_service(cluster, benchmark),
        *policies(cluster, benchmark, operator_namespace),
        _job(
            benchmark,
            naming.master(benchmark.name),
            naming.MASTER,
            pods.master(cluster, benchmark, groups),
            1,
        ),
        *(
            _job(
                benchmark,
                naming.worker(benchmark.name, group.region),
                naming.WORKER,
                pods.worker(cluster, benchmark, group),
                group.count,
            )
            for group in groups
        ),
    ]
    return [owned(obj, benchmark, uid) for obj in objects]


def owned(obj: Object, benchmark: Benchmark, uid: str) -> Object:
    """Give an object with its namespace, its labels and its owner: it goes with the benchmark."""
    owner = {
        "apiVersion": "peersdb.io/v1alpha1",
        "kind": "PeersDBBenchmark",
        "name": benchmark.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = obj["metadata"]
    labels = {**benchmark.labels, **metadata.get("labels", {}), **naming.common_labels(benchmark.name)}
    owners = {"namespace": benchmark.namespace, "labels": labels, "ownerReferences": [owner]}
    return {**obj, "metadata": {**metadata, **owners}}


def results_map(benchmark: Benchmark, data: dict[str, str], binary: dict[str, bytes]) -> Object:
    """Build the ConfigMap of the results."""
    return _object(
        "v1",
        "ConfigMap",
        naming.results(benchmark.name),
        data=data,
        binaryData={name: base64.b64encode(content).decode() for name, content in binary.items()},
    )


def policies(cluster: Cluster, benchmark: Benchmark, operator_namespace: str) -> list[Object]:
    """Build who may reach whom: load pods each other and the operator them; they and newcomers the members.

    Where the cluster has no policy of its own the members are open to all; one that lets load pods in would shut
    everybody else out.
    """
    load: Object = {"podSelector": {"matchLabels": naming.load_selector(benchmark.name)}}
    members: Object = {"podSelector": {"matchLabels": names.cluster_selector(cluster)}}
    newcomers: Object = {"podSelector": {"matchLabels": naming.newcomers_selector(benchmark.name)}}
    operator: Object = {
        "namespaceSelector": {"matchLabels": {names.NAMESPACE_LABEL: operator_namespace}},
        "podSelector": {"matchLabels": {names.NAME_LABEL: names.MANAGED_BY}},
    }
    joins = benchmark.profile == BOOTSTRAP
    both = [cluster.http_port, cluster.libp2p_port]
    found = [
        _policy(
            naming.load_policy(benchmark.name),
            load,
            [([load], [pods.LOCUST_PORT]), ([operator], [pods.CONTROL_PORT])],
        )
    ]
    if cluster.access.enabled:
        rules = [([load], [cluster.http_port]), *([([newcomers], both)] if joins else [])]
        found.append(_policy(naming.members_policy(benchmark.name), members, rules))
    if joins:
        rules = [([load, operator], [cluster.http_port]), ([members, newcomers], both)]
        found.append(_policy(naming.newcomers_policy(benchmark.name), newcomers, rules))
    return found


def _policy(name: str, whom: Object, rules: list[tuple[list[Object], list[int]]]) -> Object:
    ingress = [
        {"from": peers, "ports": [{"protocol": "TCP", "port": port} for port in ports]}
        for peers, ports in rules
    ]
    spec = {**whom, "policyTypes": ["Ingress"], "ingress": ingress}
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)


def _master_service(cluster: Cluster, benchmark: Benchmark) -> Object:
    """The master's name, from before it is ready: workers look for it from the start."""
    families = {} if cluster.ip_family_policy is None else {"ipFamilyPolicy": cluster.ip_family_policy}
    ports = [("locust", pods.LOCUST_PORT), ("control", pods.CONTROL_PORT)]
    return _object(
        "v1",
        "Service",
        naming.master(benchmark.name),
        spec={
            **families,
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {**naming.load_selector(benchmark.name), naming.LOAD_LABEL: naming.MASTER},
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"} for name, port in ports
            ],
        },
    )


def _job(benchmark: Benchmark, name: str, part: str, template: Object, count: int) -> Object:
    """A pod that fails stays failed: a run that starts anew in the middle measures something else. The others of its
    Job go on.
    """
    spec: Object = {
        "completions": count,
        "parallelism": count,
        "completionMode": "Indexed",
        "backoffLimitPerIndex": 0,
        "activeDeadlineSeconds": int(longest(benchmark)),
        "template": template,
    }
    return _object("batch/v1", "Job", name, labels=naming.load_labels(benchmark.name, part), spec=spec)


def _object(
    api_version: str, kind: str, name: str, *, labels: dict[str, str] | None = None, **content: Any
) -> Object:
    metadata: Object = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
