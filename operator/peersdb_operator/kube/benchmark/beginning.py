"""When a run may begin, and what it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peersdb_operator import benchmark as manifests
from peersdb_operator import cluster as clusters
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.errors import Conflict, ManifestError, NotFound
from peersdb_operator.kube.benchmark import faults, objects, spread, status
from peersdb_operator.kube.benchmark.status import Standing
from peersdb_operator.kube.benchmark.tools import Tools
from peersdb_operator.kube.cache import Key
from peersdb_operator.kube.kinds import BENCHMARK, BY_NAME, CLUSTER, Object, controller_of, name_of

TOKEN_BYTES = 32


async def cluster_of(tools: Tools, namespace: str, name: str) -> tuple[Cluster, dict[str, Any]] | Standing:
    """Read the cluster and its conditions, or say what is wrong with it."""
    try:
        resource = await tools.kube.get(CLUSTER, namespace, name)
    except NotFound:
        return status.waiting(
            "ClusterNotFound", f"there is no PeersDBCluster {name} in this namespace: make it"
        )
    if "deletionTimestamp" in resource["metadata"]:
        return status.waiting("ClusterNotFound", f"PeersDBCluster {name} is being deleted")
    try:
        cluster = clusters.from_object(resource)
    except ManifestError as error:
        return status.waiting("ClusterInvalid", f"PeersDBCluster {name}: {error.faults[0]}")
    found = (resource.get("status") or {}).get("conditions", [])
    return cluster, {condition["type"]: condition for condition in found}


def refusal(cluster: Cluster, benchmark: Benchmark) -> str:
    """Say why a cluster cannot be measured so, and what to do; empty where it can."""
    places = spread.regions(cluster, benchmark)
    if not places:
        return f"PeersDBCluster {cluster.name} has no members: give it some"
    asked = max(benchmark.matrix.regions, default=0)
    if asked > len(places):
        return f"spec.matrix.regions: {asked} regions, and PeersDBCluster {cluster.name} has members in {len(places)}"
    return faults.refusal(cluster, benchmark)


def turn(resource: Object) -> tuple[str, str]:
    """Give what the order of benchmarks goes by: the oldest first."""
    metadata = resource["metadata"]
    return metadata["creationTimestamp"], metadata["name"]


def holds_cluster(resource: Mapping[str, Any]) -> bool:
    """Tell whether a benchmark has begun and has not given all back."""
    status = resource.get("status") or {}
    if "startTime" not in status:
        return False
    return "completionTime" not in status or bool(status.get("fault") or status.get("newcomers"))


async def before(tools: Tools, resource: Object, cluster: str) -> str:
    """Name the benchmark that has the cluster or is to have it first; empty where there is none."""
    namespace, own = resource["metadata"]["namespace"], resource["metadata"]["uid"]
    waiting: list[Object] = []
    async for items, _ in tools.kube.pages(BENCHMARK, namespace):
        for item in items:
            metadata = item["metadata"]
            if metadata["uid"] == own or "deletionTimestamp" in metadata or _cluster_of(item) != cluster:
                continue
            if holds_cluster(item):
                return str(metadata["name"])
            if "completionTime" not in (item.get("status") or {}) and turn(item) < turn(resource):
                waiting.append(item)
    return next((str(item["metadata"]["name"]) for item in sorted(waiting, key=turn) if _is_valid(item)), "")


def _cluster_of(item: Mapping[str, Any]) -> str:
    return str(((item.get("spec") or {}).get("clusterRef") or {}).get("name", ""))


def _is_valid(item: Object) -> bool:
    """One that cannot run lets the others go first."""
    whole = {"apiVersion": BENCHMARK.api_version, "kind": BENCHMARK.kind, **item}
    try:
        manifests.from_object(whole)
    except ManifestError:
        return False
    return True


async def make(tools: Tools, key: Key, cluster: Cluster, benchmark: Benchmark, uid: str) -> str:
    """Make what a run begins with, unless it is there; says whose a name is that is not free."""
    token = tools.environment.random(TOKEN_BYTES).hex()
    for obj in objects.build(cluster, benchmark, uid, token, tools.environment.namespace):
        kind = BY_NAME[obj["kind"]]
        try:
            made = await tools.kube.create(kind, obj)
        except Conflict:
            try:
                made = await tools.kube.get(kind, key[0], name_of(obj))
            except NotFound:
                raise Conflict(f"{kind.kind} {name_of(obj)} is on its way out") from None
            if (controller_of(made) or {}).get("uid") != uid:
                return f"{kind.kind} {name_of(obj)} exists and is not this benchmark's: remove it, or take another name"
        if kind in tools.cache.kinds:
            tools.cache.put(kind, made)  # sooner than by its event
    return ""
