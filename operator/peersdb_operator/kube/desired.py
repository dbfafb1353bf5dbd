"""What has to be done for one cluster: observed against wanted, as a pure function.

Kubernetes' own controllers do what they can do: roll pods of a changed template, make pods again, bind volumes. What is
decided here is what they cannot know: that a first root has to make the log before others start, that taking members
away can lose data, that a pod with an old swarm key is alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from peersdb_operator import builders, names
from peersdb_operator.cluster import Cluster
from peersdb_operator.kube import drift
from peersdb_operator.kube.kinds import (
    BY_NAME,
    CLUSTER,
    CONFIG_MAP,
    SECRET,
    STATEFUL_SET,
    Kind,
    Object,
    controller_of,
    name_of,
)
from peersdb_operator.kube.observed import ObjectKey, Observed, is_ours, outdated

#: Why a container waits that will not start until something is mended; Kubernetes tries on for ever.
STUCK = frozenset(
    {
        "CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
        "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
    }
)  # fmt: skip

#: The resource allows no more in a group; a number above it was not decided on here.
MOST_REPLICAS = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, each list in order.

    Attributes:
        apply: objects that should be so.
        patch: (kind, name, merge patch) of objects that are on their way out.
        delete: (kind, object) that should not be.
        taken: objects that another owner has, and which are left alone.
        blocked: what is not taken away because members would be lost, in words.
        held: the root's group, if its later members wait, and for what.
        replicas: how many members each group has for now, by its name; while it is paused, as many as before.
    """

    apply: tuple[Object, ...]
    patch: tuple[tuple[Kind, str, Object], ...]
    delete: tuple[tuple[Kind, Object], ...]
    taken: tuple[Object, ...]
    blocked: tuple[str, ...]
    held: Mapping[str, str]
    replicas: Mapping[str, int]


@dataclass(slots=True)
class _Draft:
    apply: list[Object] = field(default_factory=list)
    patch: list[tuple[Kind, str, Object]] = field(default_factory=list)
    delete: list[tuple[Kind, Object]] = field(default_factory=list)
    taken: list[Object] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    kept: set[ObjectKey] = field(default_factory=set)


def plan(cluster: Cluster, uid: str, observed: Observed, facts: builders.Facts) -> Plan:
    """Decide what to do.

    Args:
        cluster: the manifest.
        uid: of the resource.
        observed: what there is.
        facts: what is known beside.
    """
    draft = _Draft()
    draft.kept = {(SECRET.kind, secret.name) for secret in (cluster.api_token, cluster.swarm_key) if secret}
    if not facts.store_address:
        draft.kept.add((CONFIG_MAP.kind, names.cluster_object(cluster)))
    paused = {names.group_object(cluster, group) for group in cluster.regions if group.paused}
    sized = _sized(cluster, observed, facts, draft)
    for obj in builders.build(sized, facts):
        key = (obj["kind"], name_of(obj))
        if name_of(obj) in paused:
            draft.kept.add(key)
            continue
        _want(obj, cluster, uid, observed, draft)
    _retire(cluster, uid, observed, draft)
    return Plan(
        tuple(draft.apply),
        tuple(draft.patch),
        tuple(draft.delete),
        tuple(draft.taken),
        tuple(draft.blocked),
        draft.held,
        draft.replicas,
    )


def owned(obj: Object, cluster: Cluster, uid: str) -> Object:
    """Give an object with its namespace and its owner: it goes with the cluster."""
    owner = {
        "apiVersion": CLUSTER.api_version,
        "kind": CLUSTER.kind,
        "name": cluster.name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {**obj["metadata"], "namespace": cluster.namespace, "ownerReferences": [owner]}
    return {**obj, "metadata": metadata}


def labelled(obj: Object, cluster: Cluster) -> Object:
    """Give an object that the builders do not make with the labels of the cluster."""
    labels = {**cluster.labels, **names.cluster_labels(cluster)}
    return {**obj, "metadata": {**obj["metadata"], "labels": labels}}


def applied_replicas(stateful_set: Object | None) -> int:
    """Give the replicas that were decided on last; a hand's change of the StatefulSet is no decision."""
    if stateful_set is None:
        return 0
    text = (stateful_set["metadata"].get("annotations") or {}).get(names.REPLICAS_ANNOTATION, "")
    decided = int(text) if text.isdecimal() else MOST_REPLICAS + 1
    return decided if decided <= MOST_REPLICAS else int(stateful_set["spec"].get("replicas", 1))


def pods_to_replace(cluster: Cluster, observed: Observed, facts: builders.Facts) -> list[tuple[Object, str]]:
    """List the pods that Kubernetes would not replace (in time) by itself, and why."""
    found = []
    for group in cluster.groups:
        stateful_set = observed.stateful_set(cluster, group)
        if stateful_set is None or group.paused:
            continue
        template = stateful_set["spec"]["template"]["metadata"].get("annotations") or {}
        has_key = template.get(names.SWARM_KEY_ANNOTATION, "") == facts.swarm_key_hash
        for pod in observed.pods_of(name_of(stateful_set)):
            if "deletionTimestamp" in pod["metadata"] or not outdated(pod, stateful_set):
                continue
            if (
                stateful_set.get("status", {}).get("observedGeneration", 0)
                < stateful_set["metadata"]["generation"]
            ):
                continue  # made again now, it would be made by the old template
            annotations = pod["metadata"].get("annotations") or {}
            if has_key and annotations.get(names.SWARM_KEY_ANNOTATION, "") != facts.swarm_key_hash:
                found.append((pod, "SwarmKeyChanged"))
            elif is_stuck(pod):
                found.append((pod, "StuckOnOldSpec"))
    return found


def is_stuck(pod: Object) -> bool:
    """Tell whether a pod will not become ready until something is mended."""
    status = pod["status"]
    return not status["ready"] and (
        status["waiting"].get("reason", "") in STUCK or bool(status["unschedulable"])
    )


def _sized(cluster: Cluster, observed: Observed, facts: builders.Facts, draft: _Draft) -> Cluster:
    """Give the cluster with the replicas that each group is to have: no fewer than it has, unless by force.

    Those that are held back are among them, for pods are told the names of all roots from the start: their template
    would change, and they would be restarted, when the others may come.
    """
    groups = []
    for group in cluster.groups:
        applied = applied_replicas(observed.stateful_set(cluster, group))
        replicas = group.replicas
        if replicas < applied and not cluster.force_scale_down and not group.paused:
            draft.blocked.append(f"{group.name} from {applied} to {replicas}")
            replicas = applied
        groups.append(replace(group, replicas=replicas))
        if group.is_root and not facts.store_address and applied <= 1 and replicas > 1:
            # Several roots that start together on empty volumes would each make a log.
            draft.held[group.name] = f"waits for {names.member(group, 0)} to make the contributions store"
            replicas = 1
        draft.replicas[group.name] = applied if group.paused or cluster.paused else replicas
    return replace(cluster, root=groups[0], regions=tuple(groups[1:]))


def _want(obj: Object, cluster: Cluster, uid: str, observed: Observed, draft: _Draft) -> None:
    if obj["kind"] == STATEFUL_SET.kind:
        if name_of(obj) == names.group_object(cluster, cluster.root) and draft.held:
            obj = {**obj, "spec": {**obj["spec"], "replicas": 1}}
        annotations = {names.REPLICAS_ANNOTATION: str(obj["spec"]["replicas"])}
        obj = {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}
    key = (obj["kind"], name_of(obj))
    draft.kept.add(key)
    live = observed.objects.get(key)
    if live is not None and not is_ours(live, uid):
        draft.taken.append(live)
        return
    draft.apply.append(drift.stamped(owned(obj, cluster, uid)))


def _retire(cluster: Cluster, uid: str, observed: Observed, draft: _Draft) -> None:
    """Deal with what the manifest no longer means: regions first emptied, then all of them deleted."""
    kept_groups: set[str] = set()
    for key, live in observed.objects.items():
        if key[0] != STATEFUL_SET.kind or key in draft.kept or not _owned_by(live, uid):
            continue
        name = name_of(live)
        if not cluster.force_scale_down:
            region = (live["metadata"].get("labels") or {}).get(names.REGION_LABEL, name)
            if applied_replicas(live):
                draft.blocked.append(f"region {region} with {applied_replicas(live)} members")
                kept_groups.add(name)
                continue
        if live["spec"].get("replicas") or observed.pods_of(name):
            kept_groups.add(name)
            draft.patch.extend(_emptied(cluster, live))
    for key, live in observed.objects.items():
        if key in draft.kept or not _owned_by(live, uid) or "deletionTimestamp" in live["metadata"]:
            continue
        if _of_group(live) and key[1] in kept_groups:
            continue
        draft.delete.append((BY_NAME[key[0]], live))


def _emptied(cluster: Cluster, live: Object) -> Iterator[tuple[Kind, str, Object]]:
    """Scale a region to none; its volumes are then kept or not as for any scaling down."""
    spec: Object = {"replicas": 0}
    if live["spec"].get("volumeClaimTemplates"):
        spec["persistentVolumeClaimRetentionPolicy"] = {
            "whenDeleted": cluster.retention.when_scaled,
            "whenScaled": cluster.retention.when_scaled,
        }
    if not drift.covers(live["spec"], spec):
        metadata = {"uid": live["metadata"]["uid"], "annotations": {names.REPLICAS_ANNOTATION: "0"}}
        yield STATEFUL_SET, name_of(live), {"metadata": metadata, "spec": spec}


def _of_group(obj: Object) -> bool:
    return names.REGION_LABEL in (obj["metadata"].get("labels") or {})


def _owned_by(obj: Object, uid: str) -> bool:
    controller = controller_of(obj)
    return controller is not None and controller["uid"] == uid
