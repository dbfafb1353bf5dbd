"""Which pods the operator replaces: those that Kubernetes would not, or not in time."""

import copy
import dataclasses

import pytest
from kube_support import KNOWN, at_rest, parsed, pod

from peersdb_operator import names
from peersdb_operator.kube import desired
from peersdb_operator.kube.kinds import STATEFUL_SET
from peersdb_operator.kube.observed import Observed


def pods_found(cluster, facts=KNOWN, generation=(1, 1), region_paused=False, **standing):
    group = cluster.regions[0]
    name = names.group_object(cluster, group)
    rest = at_rest(cluster, facts)
    live = copy.deepcopy(rest.objects[STATEFUL_SET.kind, name])
    live["metadata"]["generation"], live["status"]["observedGeneration"] = generation
    pods = {names.pod(cluster, group, 0): pod(cluster, group, 0, **standing)}
    observed = Observed({**rest.objects, (STATEFUL_SET.kind, name): live}, pods, None)
    if region_paused:
        cluster = dataclasses.replace(cluster, regions=(dataclasses.replace(group, paused=True),))
    return [reason for _, reason in desired.pods_to_replace(cluster, observed, facts)]


ONE = parsed({"eu": 1})
SECURE = dataclasses.replace(KNOWN, swarm_key_hash="0f" * 8)
STUCK = {"ready": False, "waiting": "ImagePullBackOff", "revision": "old"}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (STUCK, ["StuckOnOldSpec"]),
        ({**STUCK, "waiting": "", "unschedulable": "no node"}, ["StuckOnOldSpec"]),
        ({**STUCK, "revision": "new"}, []),  # the spec itself is at fault
        ({**STUCK, "deleting": True}, []),
        ({**STUCK, "generation": (2, 1)}, []),  # it would be made again by the old template
        ({**STUCK, "region_paused": True}, []),
        ({**STUCK, "ready": True}, []),
        ({**STUCK, "waiting": "ContainerCreating"}, []),
        ({"revision": "old"}, []),  # Kubernetes replaces it, one after the other
        ({"facts": SECURE, "revision": "old", "key_hash": "00"}, ["SwarmKeyChanged"]),
        ({"facts": SECURE, "revision": "old", "key_hash": SECURE.swarm_key_hash}, []),
        ({"facts": SECURE, "revision": "new", "key_hash": SECURE.swarm_key_hash}, []),
        ({"facts": SECURE, "revision": "old", "key_hash": "00", "deleting": True}, []),
        ({"revision": "old", "key_hash": "00"}, ["SwarmKeyChanged"]),  # the key was taken out of the manifest
    ],
)
def test_only_pods_that_would_stay_alone_or_stuck_are_replaced(found, told):
    assert pods_found(ONE, **found) == told


def test_pods_of_a_new_swarm_key_are_replaced_all_at_once_but_only_once_the_template_has_it():
    cluster = parsed({"eu": 3}, roots=2)
    new = dataclasses.replace(KNOWN, swarm_key_hash="11" * 8)
    rest = at_rest(cluster, SECURE)
    pods = {
        names.pod(cluster, group, index): pod(
            cluster, group, index, revision="old", key_hash=SECURE.swarm_key_hash
        )
        for group in cluster.groups
        for index in range(group.replicas)
    }
    before = dataclasses.replace(rest, pods=pods)
    assert desired.pods_to_replace(cluster, before, new) == []
    after = dataclasses.replace(at_rest(cluster, new), pods=pods)
    assert len(desired.pods_to_replace(cluster, after, new)) == 5


def test_nothing_is_known_of_a_group_without_a_stateful_set():
    assert desired.pods_to_replace(ONE, Observed({}, {}, None), KNOWN) == []
    assert desired.applied_replicas(None) == 0
