"""Clusters and what an API server would hold of them, for the pure parts of the Kubernetes backend; and time that
passes only when nobody has anything to do.
"""

import asyncio
import selectors

from hypothesis import strategies as st
from operator_cluster import manifest

from peersdb_operator import builders, cluster, members, names
from peersdb_operator.kube import desired
from peersdb_operator.kube.cache import reduced
from peersdb_operator.kube.kinds import NODE, POD
from peersdb_operator.kube.observed import Observed, PodFacts

UID = "0b0e0a1c-0000-4000-8000-000000000001"
KNOWN = builders.Facts("/orbitdb/zdpuSTORE")
REVISION = {"old": "demo-1", "new": "demo-2"}


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self):
        super().__init__(_NeverWaits(self))
        self.now = 1000.0

    def time(self):
        return self.now


class _NeverWaits(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        if timeout is None:
            raise AssertionError("everybody waits and no timer is set: it would be for ever")
        self._loop.now += timeout
        return super().select(0)


def virtually(scenario):
    """Run ``scenario(clock)`` on a virtual loop."""
    loop = VirtualLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(scenario(loop.time))


def parsed(regions=None, **spec):
    """A cluster of the namespace ``data``."""
    value = manifest(regions, **spec)
    value["metadata"]["namespace"] = "data"
    return cluster.from_object(value)


def served(obj, version="1", **metadata):
    """An object as the API server has it once it was applied."""
    more = {
        "uid": f"uid-{obj['kind']}-{obj['metadata']['name']}",
        "resourceVersion": version,
        "generation": 1,
    }
    status = {"status": {"observedGeneration": 1, "updateRevision": REVISION["new"]}}
    return {
        **obj,
        **(status if obj["kind"] == "StatefulSet" else {}),
        "metadata": {**obj["metadata"], **more, **metadata},
    }


def node(name="n1", *, ready=True, unschedulable=False, **labels):
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    full = {
        "metadata": {
            "name": name,
            "labels": {label.replace("_", "/"): text for label, text in labels.items()},
        },
        "spec": {"unschedulable": True} if unschedulable else {},
        "status": {"conditions": [condition]},
    }
    return reduced(NODE, full)


def pod(parsed_, group, index, **standing):
    """A pod as the cache has it; ``standing`` as of `pod_in_full`."""
    return reduced(POD, pod_in_full(parsed_, group, index, **standing))


def pod_in_full(
    parsed_,
    group,
    index,
    *,
    ready=True,
    revision="new",
    waiting="",
    unschedulable="",
    terminated="",
    restarts=0,
    deleting=False,
    node_name="n1",
    key_hash="",
    phase="Running",
):
    name = names.pod(parsed_, group, index)
    labels = {**names.group_labels(parsed_, group), "controller-revision-hash": REVISION[revision]}
    metadata = {"name": name, "namespace": parsed_.namespace, "uid": f"uid-{name}", "labels": labels}
    metadata |= {"resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"}
    if key_hash:
        metadata["annotations"] = {names.SWARM_KEY_ANNOTATION: key_hash}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    if unschedulable:
        conditions.append({"type": "PodScheduled", "status": "False", "message": unschedulable})
    container = {"name": "peersdb", "restartCount": restarts, "state": {"running": {}}}
    if waiting:
        container["state"] = {"waiting": {"reason": waiting, "message": "because"}}
    if terminated:
        container["lastState"] = {"terminated": {"reason": terminated, "exitCode": 137}}
    status = {"phase": phase, "podIP": "10.0.0.1", "conditions": conditions, "containerStatuses": [container]}
    spec = {"nodeName": node_name, "containers": [{"name": "peersdb"}]}
    return {"metadata": metadata, "spec": spec, "status": status}


def objects_of(plan_):
    """What is there once a plan's objects were applied."""
    return {(obj["kind"], obj["metadata"]["name"]): served(obj) for obj in plan_.apply}


def nodes_for(parsed_):
    """A Kubernetes node for each region."""
    regions = sorted({group.region for group in parsed_.groups})
    label = parsed_.region_label_key.replace("/", "_")
    return tuple(node(f"n-{region}", **{label: region}) for region in regions)


def at_rest(parsed_, facts=KNOWN, nodes=None):
    """A cluster that is all that its manifest says, at the first look and at the next."""
    observed = Observed({}, {}, None)
    while True:
        plan_ = desired.plan(parsed_, UID, observed, facts)
        there = objects_of(plan_)
        if there.keys() == observed.objects.keys():
            break
        observed = Observed(there, {}, None)
    pods = {
        names.pod(parsed_, member.group, member.index): pod(parsed_, member.group, member.index)
        for member in members.of_cluster(parsed_)
    }
    told = {name: pod_facts() for name in pods}
    return Observed(there, pods, nodes_for(parsed_) if nodes is None else nodes, told)


def pod_facts(**facts):
    values = {"at": 0.0, "entries": 3, "store_address": KNOWN.store_address, "version": "1", "lag": 0}
    return PodFacts(**{**values, "replication": None, **facts})


REGION_NAMES = st.sampled_from(["eu", "us", "asia", "af-1"])


@st.composite
def clusters(draw, **fixed):
    """Any cluster of a few regions."""
    spec = {"roots": draw(st.integers(1, 3))}
    if draw(st.booleans()):
        spec["scaleDown"] = {"policy": "Force"}
    if draw(st.booleans()):
        spec["storage"] = {"ephemeral": draw(st.booleans())}
    value = manifest(draw(st.dictionaries(REGION_NAMES, st.integers(0, 4), max_size=4)), **{**spec, **fixed})
    value["metadata"]["namespace"] = "data"
    for region in value["spec"]["regions"]:
        region["paused"] = draw(st.booleans())
    return cluster.from_object(value)
