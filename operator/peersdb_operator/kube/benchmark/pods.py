"""The load pods' containers: what they are told and what they hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peersdb_operator import load, names
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.kube.benchmark import naming
from peersdb_operator.load import Workers

Object = dict[str, Any]

COMMAND = "peersdb-loadtest"
FETCH = ("python3", "-m", "loadtests.fetch")

LOCUST_PORT, CONTROL_PORT = 5557, 8090
TARGETS_DIR, CONTROL_DIR, TOKEN_DIR = "/etc/peersdb/targets", "/etc/peersdb/control", "/etc/peersdb/api-token"
TARGETS_FILE, TOKEN_FILE = "targets.json", "token"
RESULTS_DIR, DATASET_DIR = "/results", "/dataset"

DEFAULT_RESOURCES = {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}}
"""Of a load pod whose manifest says nothing: samples are kept in memory until the end; no CPU limit, which would be
measured as latency."""

START_TIMEOUT = 600.0
"""Seconds for all load pods to come up; images are pulled in it. A run without all of them would be another one."""

GRACE_SECONDS = 30
"""A load pod that is ended writes what it has."""


def master(cluster: Cluster, benchmark: Benchmark, workers: tuple[Workers, ...]) -> Object:
    """Build the pod of the master: it drives nobody, gathers what the workers see and writes the results."""
    arguments = [
        *_common(benchmark),
        "--master",
        "--expect-workers", str(sum(group.count for group in workers)),
        "--worker-timeout", f"{START_TIMEOUT:g}",
        "--control", f"0.0.0.0:{CONTROL_PORT}",
        "--control-token-file", f"{CONTROL_DIR}/{TOKEN_FILE}",
        "--report", RESULTS_DIR,
    ]  # fmt: skip
    results: Object = {"name": "results", "emptyDir": {}}
    mount: Object = {"name": "results", "mountPath": RESULTS_DIR}
    if benchmark.results_claim is not None:
        results = {"name": "results", "persistentVolumeClaim": {"claimName": benchmark.results_claim}}
        mount["subPath"] = benchmark.name
    token = {"secretName": naming.control(benchmark.name), "defaultMode": 0o440}
    return _pod(
        cluster,
        benchmark,
        naming.MASTER,
        arguments,
        volumes=[results, {"name": "control", "secret": token}],
        mounts=[mount, {"name": "control", "mountPath": CONTROL_DIR, "readOnly": True}],
    )


def worker(cluster: Cluster, benchmark: Benchmark, workers: Workers) -> Object:
    """Build the pod of a region's workers: it runs among the members that it drives."""
    arguments = [
        *_common(benchmark),
        "--worker",
        "--master-host", naming.master(benchmark.name),
        "--region", ",".join(workers.drives),
    ]  # fmt: skip
    pod = _pod(cluster, benchmark, naming.WORKER, arguments)
    pod["metadata"]["labels"][names.REGION_LABEL] = workers.region
    pod["spec"]["nodeSelector"] = {cluster.region_label_key: workers.region}
    tolerations = next(
        (group.tolerations for group in (*cluster.regions, cluster.root) if group.region == workers.region),
        (),
    )
    if tolerations:
        pod["spec"]["tolerations"] = [dict(toleration) for toleration in tolerations]
    return pod


def _common(benchmark: Benchmark) -> list[str]:
    """The arguments that master and workers have alike."""
    return [
        *load.arguments(benchmark),
        "--targets", f"{TARGETS_DIR}/{TARGETS_FILE}",
        *load.dataset_arguments(benchmark, DATASET_DIR),
    ]  # fmt: skip


def _dataset_volume(benchmark: Benchmark) -> tuple[list[Object], list[Object]]:
    """The volume of the data set and where it is."""
    dataset = benchmark.dataset
    if dataset is None or dataset.kind == "generated":
        return [], []
    mount: Object = {"name": "dataset", "mountPath": DATASET_DIR, "readOnly": True}
    if dataset.kind == "configMap":
        return [{"name": "dataset", "configMap": {"name": dataset.name}}], [mount]
    if dataset.kind == "persistentVolumeClaim":
        if dataset.path:
            mount["subPath"] = dataset.path
        claim = {"claimName": dataset.name, "readOnly": True}
        return [{"name": "dataset", "persistentVolumeClaim": claim}], [mount]
    return [{"name": "dataset", "emptyDir": {}}], [mount]


def _pod(
    cluster: Cluster,
    benchmark: Benchmark,
    part: str,
    arguments: list[str],
    *,
    volumes: list[Object] | None = None,
    mounts: list[Object] | None = None,
) -> Object:
    data_volumes, data_mounts = _dataset_volume(benchmark)
    all_mounts: list[Object] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
        {"name": "targets", "mountPath": TARGETS_DIR, "readOnly": True},
        *(mounts or []),
        *data_mounts,
    ]
    all_volumes: list[Object] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "targets", "configMap": {"name": naming.targets(benchmark.name)}},
        *(volumes or []),
        *data_volumes,
    ]
    environment = [{"name": "HOME", "value": "/tmp"}]  # noqa: S108 - the container's own
    if cluster.api_token is not None:
        secret: Object = {"secretName": cluster.api_token.name, "defaultMode": 0o440}
        secret["items"] = [{"key": names.API_TOKEN_KEY, "path": names.API_TOKEN_KEY}]
        all_volumes.append({"name": names.API_TOKEN_VOLUME, "secret": secret})
        all_mounts.append({"name": names.API_TOKEN_VOLUME, "mountPath": TOKEN_DIR, "readOnly": True})
        path = f"{TOKEN_DIR}/{names.API_TOKEN_KEY}"
        environment.append({"name": "LOADTEST_API_TOKEN_FILE", "value": path})
    container = _container(benchmark, "loadtest", [COMMAND], arguments, all_mounts) | {"env": environment}
    if part == naming.MASTER:
        container["ports"] = [
            {"name": "locust", "containerPort": LOCUST_PORT, "protocol": "TCP"},
            {"name": "control", "containerPort": CONTROL_PORT, "protocol": "TCP"},
        ]
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": 65532,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": all_volumes,
    }
    fetched = _fetch(benchmark)
    if fetched:
        spec["initContainers"] = [fetched]
    if benchmark.image.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in benchmark.image.pull_secrets]
    metadata: Object = {
        "labels": naming.load_labels(benchmark.name, part),
        # A run that loses a pod is spoilt: what saves nodes is asked to leave it where it is.
        "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
    }
    return {"metadata": metadata, "spec": spec}


def _fetch(benchmark: Benchmark) -> Object | None:
    """The container that gets a data set by its URL first, and checks that it is the one that is meant."""
    dataset = benchmark.dataset
    if dataset is None or dataset.kind != "url":
        return None
    mounts: list[Object] = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
        {"name": "dataset", "mountPath": DATASET_DIR},
    ]
    arguments = [str(dataset.url), str(dataset.sha256), DATASET_DIR]
    return _container(benchmark, "dataset", list(FETCH), arguments, mounts)


def _container(
    benchmark: Benchmark, name: str, command: list[str], arguments: list[str], mounts: list[Object]
) -> Object:
    resources: Mapping[str, Mapping[str, Any]] = benchmark.resources or DEFAULT_RESOURCES
    return {
        "name": name,
        "image": benchmark.image.reference,
        "imagePullPolicy": benchmark.image.pull_policy,
        "command": command,
        "args": arguments,
        "resources": {kind: dict(amounts) for kind, amounts in resources.items()},
        # Its last words reach the status without a right to read logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
