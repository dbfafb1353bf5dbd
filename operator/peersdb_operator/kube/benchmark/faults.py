"""What is broken on purpose, and taken back: `churn` and `partition`.

Each step looks at what the status says is broken and brings it nearer to its end, so that another operator goes on
where this one stopped. The status is written before anything is broken.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

from peersdb_operator import load, members, names
from peersdb_operator.benchmark import Benchmark
from peersdb_operator.cluster import Cluster
from peersdb_operator.errors import NotFound
from peersdb_operator.kube import secrets
from peersdb_operator.kube.benchmark import spread, status
from peersdb_operator.kube.benchmark.tools import Run, Tools
from peersdb_operator.kube.benchmark.watcher import Side
from peersdb_operator.kube.kinds import NETWORK_POLICY, POD, SECRET, Object, name_of

DELETED, CUT = "deleted", "cut"

#: Seconds until a cut that does not hold is helped: network plugins may keep connections that are there already.
HELP_AFTER = 5.0
#: Seconds until a cut that does not hold is given up: the pods that were replaced have started by then.
GIVE_UP_AFTER = 60.0

Write = Callable[[], Awaitable[None]]
"""Writes the status with the fields that are set so far."""


def refusal(cluster: Cluster, benchmark: Benchmark) -> str:
    """Say why a cluster cannot have the faults of a profile, and what to do; empty where it can."""
    if benchmark.profile not in (load.CHURN, load.PARTITION):
        return ""
    region, places = benchmark.faults.region, [group.region for group in cluster.groups if group.replicas]
    if region is not None and region not in places:
        return f"spec.faults.region: region {region} of PeersDBCluster {cluster.name} has no members: name another one"
    if benchmark.profile == load.CHURN and not load.victims(cluster, benchmark):
        where = f"region {region} of " if region else ""
        return f"{where}PeersDBCluster {cluster.name} has no member but its last root: add peers"
    if benchmark.profile == load.PARTITION and not cluster.access.enabled:
        return (
            "a partition is made by the cluster's NetworkPolicy, and it has none: set"
            f" spec.network.networkPolicy.enabled: true in PeersDBCluster {cluster.name}"
        )
    if benchmark.profile == load.PARTITION and len(set(places)) < 2:
        return f"PeersDBCluster {cluster.name} has members in one region only: there is nothing to cut"
    return ""


def cut_region(cluster: Cluster, benchmark: Benchmark) -> str:
    """Give the region that a partition cuts off: the manifest's, or the last one that has members."""
    return benchmark.faults.region or spread.regions(cluster, benchmark)[-1]


async def step(tools: Tools, run: Run, *, wanted: bool | None, calm: bool, write: Write) -> None:
    """Bring the fault that there is nearer to its end, or begin the next one.

    Args:
        tools: to work with.
        run: the run; its fields are set.
        wanted: whether the load test wants faults now; None while it has not been heard.
        calm: whether all members of the cluster are ready.
        write: called before anything is broken.
    """
    if run.fault is None and wanted and _due(run) and not run.memory.without_effect:
        if run.benchmark.profile == load.CHURN and not calm:
            return  # two faults at once would be another measurement
        _begin(run)
        await write()
    fault = run.fault
    if fault is None:
        return
    if fault["kind"] == DELETED:
        await _churn(tools, run, fault)
    else:
        await _partition(tools, run, fault, wanted=wanted)


def _due(run: Run) -> bool:
    last = run.memory.last_fault
    return last is None or run.now >= last + run.benchmark.faults.interval


def _begin(run: Run) -> None:
    memory = run.memory
    if run.benchmark.profile == load.CHURN:
        member = load.victim(run.cluster, run.benchmark, memory.faults)
        kind, region, targets = DELETED, member.group.region, [member.name]
    else:
        kind, region = CUT, cut_region(run.cluster, run.benchmark)
        targets = [member.name for member in members.of_cluster(run.cluster) if member.group.region == region]
    run.fields["fault"] = {"kind": kind, "region": region, "since": status.stamp(run.now), "targets": targets}
    memory.faults, memory.last_fault = memory.faults + 1, run.now
    memory.cut_at, memory.in_force, memory.replaced = run.now, False, False


async def _churn(tools: Tools, run: Run, fault: Object) -> None:
    """Delete the member, unless it was, and wait until it is back."""
    since, target = status.at(fault["since"]), str(fault["targets"][0])
    if run.memory.last_fault is None:
        run.memory.last_fault = since  # made by another operator
    name = f"{run.cluster.name}-{target}"
    try:
        pod = await tools.kube.get(POD, run.key[0], name)
    except NotFound:
        return _tell(tools, run, "deleted", since, fault)
    metadata = pod["metadata"]
    if status.at(metadata["creationTimestamp"]) < math.floor(since):
        if "deletionTimestamp" not in metadata:
            await tools.kube.delete(POD, run.key[0], name, metadata["uid"])
        return _tell(tools, run, "deleted", since, fault)
    _tell(tools, run, "deleted", since, fault)
    ready = next((c for c in pod.get("status", {}).get("conditions", []) if c["type"] == "Ready"), None)
    if ready is not None and ready["status"] == "True" and "deletionTimestamp" not in metadata:
        back = status.at(ready["lastTransitionTime"]) if ready.get("lastTransitionTime") else run.now
        _tell(tools, run, "back", back, fault)
        run.fields["fault"] = None
    return None


async def _partition(tools: Tools, run: Run, fault: Object, *, wanted: bool | None) -> None:
    """Cut the region off, see that it is, and heal it when its time is over or nobody wants it any more."""
    memory, since = run.memory, status.at(fault["since"])
    if memory.cut_at is None:  # made by another operator
        memory.cut_at = memory.last_fault = since
    in_vain = not memory.in_force and run.now >= memory.cut_at + max(
        GIVE_UP_AFTER, run.benchmark.faults.duration
    )
    over = memory.in_force and run.now >= since + run.benchmark.faults.duration
    if over or in_vain or (wanted is False and not memory.in_force):
        memory.without_effect |= in_vain
        await _heal(tools, run, fault)
        return
    tools.cuts.cut(run.cluster_key, fault["region"], run.key)
    if memory.in_force:
        _tell(tools, run, "cut", since, fault)
        return
    pods = [
        pod
        for pod in tools.members.of_cluster(POD, run.cluster_key)
        if (pod["metadata"].get("labels") or {}).get(names.REGION_LABEL) == fault["region"]
    ]
    if tools.watcher.look(run.key, await _side(tools, run, fault["region"], pods)):
        memory.in_force = True
        run.fields["fault"] = {**fault, "since": status.stamp(run.now)}
        _tell(tools, run, "cut", run.now, fault)
    elif run.now >= memory.cut_at + HELP_AFTER and not memory.replaced:
        memory.replaced = True
        for pod in pods:
            await tools.kube.delete(POD, run.key[0], name_of(pod), pod["metadata"]["uid"])


async def _side(tools: Tools, run: Run, region: str, pods: list[Object]) -> Side:
    tokens: tuple[str, ...] = ()
    if run.cluster.api_token is not None:
        try:
            tokens = secrets.tokens(await tools.kube.get(SECRET, run.key[0], run.cluster.api_token.name))
        except NotFound:
            tokens = ()
    addresses = tuple(pod["status"]["podIP"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
    return Side(region, addresses, run.cluster.http_port, tokens)


async def _heal(tools: Tools, run: Run, fault: Object) -> None:
    """Let the cluster's reconcile take the cut back, and say so once it has."""
    tools.cuts.heal(run.key)
    tools.watcher.look(run.key, None)
    if await still_cut(tools, run.key[0], run.cluster.name):
        return
    if run.memory.in_force:
        _tell(tools, run, "healed", run.now, fault)
    run.fields["fault"] = None
    run.memory.cut_at, run.memory.in_force = None, False


async def still_cut(tools: Tools, namespace: str, cluster: str) -> bool:
    """Tell whether a cluster's policies cut a region off."""
    try:
        await tools.kube.get(NETWORK_POLICY, namespace, f"{cluster}-cut-inside")
    except NotFound:
        return False
    return True


def _tell(tools: Tools, run: Run, kind: str, at: float, fault: Object) -> None:
    event: dict[str, Any] = {"kind": kind, "at": at, "region": fault["region"]}
    wanted = set(fault["targets"])
    event["members"] = [target for target in spread.targets(run.cluster) if target["name"] in wanted]
    tools.watcher.tell(run.key, event)
