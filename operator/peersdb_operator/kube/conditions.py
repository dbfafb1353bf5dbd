"""The status of a cluster on Kubernetes, from what is observed: pure. What the status has in common with the local
backend's is made by ``peersdb_operator.status``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from peersdb_operator import builders, members, names, status
from peersdb_operator.cluster import Cluster, Group
from peersdb_operator.kube.desired import Plan, is_stuck
from peersdb_operator.kube.kinds import Object, name_of
from peersdb_operator.kube.observed import Observed, outdated, region_nodes
from peersdb_operator.status import MAX_NAMED, Condition

#: A message is for a person and for a column; what the API server or a kubelet says may be longer than that.
MAX_MESSAGE = 1024


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps the cluster from being what its manifest says.

    Attributes:
        reason: one word for programs.
        message: what it is and what to do.
    """

    reason: str
    message: str


def make(
    cluster: Cluster,
    observed: Observed,
    plan: Plan,
    facts: builders.Facts,
    troubles: Sequence[Trouble],
    *,
    generation: int,
    previous: dict[str, Any],
    now: float,
) -> dict[str, Any]:
    """Make the status.

    Args:
        cluster: the manifest.
        observed: what there is.
        plan: what is being done.
        facts: what is known beside.
        troubles: what went wrong.
        generation: of the manifest.
        previous: the status before.
        now: seconds since the epoch.
    """
    root, *regions = (_sized(cluster, group, plan) for group in cluster.groups)
    sized = replace(cluster, root=root, regions=tuple(regions))
    observations = [_observation(sized, member, observed, plan) for member in members.of_cluster(sized)]
    lag = {group.name: _lag(sized, group, observed) for group in sized.groups}
    result = status.status(
        sized,
        observations,
        generation=generation,
        store_address=facts.store_address,
        previous=previous,
        now=now,
        more={
            "RegionsSchedulable": _schedulable(sized, observed),
            "ReplicationHealthy": _replication(sized, observed),
            "ScaleDownBlocked": _blocked(plan),
            "Degraded": _degraded(troubles),
        },
    )
    for condition in result["conditions"]:
        condition["message"] = _short(condition["message"])
    for region in result["regions"]:
        group = next(group for group in sized.regions if group.name == region["name"])
        live = observed.stateful_set(sized, group)
        pods = [] if live is None else observed.pods_of(name_of(live))
        region["updatedReplicas"] = sum(not outdated(pod, live) for pod in pods)
        behind = lag[group.name]
        if behind is not None:
            region["headsLag"] = behind
    versions = sorted({facts.version for facts in observed.facts.values() if facts.version})
    if versions:
        result["version"] = _listing(versions)
    result["builder"] = previous.get("builder", builders.VERSION)
    return result


def _sized(cluster: Cluster, group: Group, plan: Plan) -> Group:
    """Give a group with the members that it should have: those of the manifest, also while they are held back, and
    those that are not taken away; while it is paused, those that it had before.
    """
    decided = plan.replicas.get(group.name, 0)
    if cluster.paused or group.paused:
        return replace(group, replicas=decided)
    return replace(group, replicas=max(group.replicas, decided))


def _observation(
    cluster: Cluster, member: members.Member, observed: Observed, plan: Plan
) -> status.Observation:
    pod = observed.pods.get(names.pod(cluster, member.group, member.index))
    live = observed.stateful_set(cluster, member.group)
    address = f"{names.pod_host(cluster, member.group, member.index)}:{cluster.http_port}"
    ready = pod is not None and pod["status"]["ready"] and "deletionTimestamp" not in pod["metadata"]
    moving, reason = _standing(cluster, member, pod, live, observed, plan)
    return status.Observation(
        name=member.name,
        group=member.group.name,
        is_root=member.is_root,
        ready=bool(ready),
        moving=moving,
        reason=reason,
        address=address,
    )


def _standing(  # noqa: PLR0911, PLR0917 - one line for each way a pod can stand
    cluster: Cluster,
    member: members.Member,
    pod: Object | None,
    live: Object | None,
    observed: Observed,
    plan: Plan,
) -> tuple[bool, str]:
    """Tell whether a member is on its way, and why it is not ready."""
    if observed.nodes is not None and region_nodes(cluster, member.group, observed.nodes) == (0, 0):
        return False, f"region {member.group.region} has no Kubernetes node that fits"
    if pod is None:
        held = plan.held.get(member.group.name)
        return True, held or "its pod is being made"
    if "deletionTimestamp" in pod["metadata"]:
        node = _node_trouble(pod, observed)
        return not node, node or "is being stopped"
    state = pod["status"]
    if state["ready"]:
        return outdated(pod, live), ""
    node = _node_trouble(pod, observed)
    if node:
        return False, node
    if state["unschedulable"]:
        return False, f"cannot be scheduled: {state['unschedulable']}"
    if is_stuck(pod):
        waiting = state["waiting"]
        last = f"; it ended by {state['terminated']}" if state["terminated"] else ""
        return False, f"{waiting['reason']}: {waiting.get('message', '')}{last}".rstrip(": ")
    if state["restarts"]:
        return True, f"restarted {state['restarts']} times, last ended by {state['terminated'] or 'an error'}"
    return True, "is starting" if state["phase"] == "Pending" else "is not in sync yet"


def _node_trouble(pod: Object, observed: Observed) -> str:
    name = pod["spec"].get("nodeName")
    for node in observed.nodes or ():
        if node["metadata"]["name"] == name and not node["status"]["ready"]:
            return f"its Kubernetes node {name} does not answer"
    return ""


def _schedulable(cluster: Cluster, observed: Observed) -> Condition:
    if observed.nodes is None:
        return (
            "Unknown",
            "NodesNotVisible",
            "the operator may not read nodes: see the installation's ClusterRole",
        )
    empty: list[str] = []
    down: list[str] = []
    for group in cluster.groups:
        if group.replicas == 0:
            continue
        fitting, able = region_nodes(cluster, group, observed.nodes)
        found = None if able else down if fitting else empty
        if found is not None and group.region not in found:  # the root's may be a peers' region too
            found.append(group.region)
    if empty:
        label = cluster.region_label_key
        return (
            "False",
            "RegionWithoutNodes",
            f"no Kubernetes node with {label}={_listing(empty)} fits: label one, or mend the nodeSelector",
        )
    if down:
        return "False", "NodesNotReady", f"no Kubernetes node is ready in {_listing(down)}"
    return "True", "AllRegionsHaveNodes", "each region has a Kubernetes node that is ready"


def _replication(cluster: Cluster, observed: Observed) -> Condition:
    known, behind, asked = 0, [], 0
    for member in members.of_cluster(cluster):
        pod = observed.pods.get(names.pod(cluster, member.group, member.index))
        if pod is None or not pod["status"]["ready"]:
            continue
        asked += 1
        facts = observed.facts.get(name_of(pod))
        if facts is None:
            continue
        known += 1
        if facts.lag:
            behind.append(f"{member.name} lacks {facts.lag} entries")
    if behind:
        return "False", "MembersBehind", _listing(behind, "; ")
    if known == 0 or known < asked:
        return "Unknown", "MembersNotAsked", f"{known} of {asked} ready members told how much they have"
    return "True", "InSync", f"{known} of {known} ready members have all entries"


def _lag(cluster: Cluster, group: Group, observed: Observed) -> int | None:
    lags = [
        observed.facts[name].lag
        for index in range(group.replicas)
        if (name := names.pod(cluster, group, index)) in observed.facts
    ]
    return max(lags) if lags else None


def _blocked(plan: Plan) -> Condition:
    if not plan.blocked:
        return "False", "NothingToRemove", "no member is to be taken away"
    return (
        "True",
        "MembersWouldBeLost",
        f"not taken away: {_listing(plan.blocked, '; ')}; take the change back, or set spec.scaleDown.policy: Force",
    )


def _degraded(troubles: Sequence[Trouble]) -> Condition:
    if not troubles:
        return "False", "AsSpecified", "all objects are as the manifest says"
    return "True", troubles[0].reason, _listing([trouble.message for trouble in troubles], "; ")


def _listing(parts: Sequence[str], separator: str = ", ") -> str:
    shown = separator.join(parts[:MAX_NAMED])
    return shown if len(parts) <= MAX_NAMED else f"{shown}{separator}and {len(parts) - MAX_NAMED} more"


def _short(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the conditions whose status or reason is another one now."""
    known = {condition["type"]: condition for condition in before.get("conditions", [])}
    for condition in after["conditions"]:
        old = known.get(condition["type"])
        if old is None or (old["status"], old["reason"]) != (condition["status"], condition["reason"]):
            yield condition
