"""Faults on a real cluster: after each, the cluster is what it was and nothing is lost, without a hand."""

import json
import time

import pytest

from e2e_peers import RESOURCE, Peers, eventually, manifest

SYSTEM = "peersdb-system"


@pytest.fixture(scope="module")
def peers(installed, peers_namespace):
    peers = Peers(installed, peers_namespace, "faults")
    peers.apply(manifest("faults"))
    peers.wait("Ready", seconds=120)
    yield peers
    peers.delete()


@pytest.fixture
def kept(peers):
    """Paths shared before a fault; they are there after it."""
    shared = [peers.post("europe-west3-0", f"before {time.monotonic_ns()}", "before.txt")]
    peers.has(shared[0], *peers.members())
    yield shared
    peers.wait("Ready", seconds=120)
    for path in shared:
        peers.has(path, *peers.members())


def operators(kubectl):
    names = kubectl(
        "-n", SYSTEM, "get", "pods", "-l", "app.kubernetes.io/name=peersdb-operator", "-o", "name"
    )
    return names.replace("pod/", "").split()


def leader(kubectl):
    return kubectl.json("-n", SYSTEM, "get", "lease", "peersdb-operator")["spec"].get("holderIdentity", "")


def test_a_deleted_pod_is_back_and_in_sync_soon(peers, kept, measured):
    uid = peers.pod("us-central1-0")["metadata"]["uid"]
    began = time.monotonic()
    peers("delete", "pod", "faults-us-central1-0", "--wait=false")
    eventually(
        lambda: peers.pod("us-central1-0")["metadata"]["uid"] != uid and peers.ready("us-central1-0"),
        "it is ready",
    )
    seconds = time.monotonic() - began
    assert set(kept) <= set(peers.paths("us-central1-0"))
    measured("seconds from deletion to Ready", round(seconds, 1))


def test_objects_deleted_or_edited_by_hand_come_back(peers, kept):
    kinds = (
        "statefulset/faults-asia-east2",
        "service/faults-root",
        "networkpolicy/faults",
        "pdb/faults-root",
        "cm/faults",
    )
    peers("delete", *kinds, "--wait=false")
    for kind in kinds:
        eventually(
            lambda kind=kind: "deletionTimestamp" not in peers.json("get", kind)["metadata"],
            f"{kind} is back",
        )
    peers("scale", "statefulset/faults-us-central1", "--replicas=0")
    eventually(
        lambda: peers.json("get", "statefulset/faults-us-central1")["spec"]["replicas"] == 1,
        "the scale is taken back",
    )
    extra = [{"op": "add", "path": "/spec/ports/-", "value": {"name": "extra", "port": 9999}}]
    peers("patch", "service", "faults", "--type=json", "--patch", json.dumps(extra))
    eventually(
        lambda: len(peers.json("get", "service", "faults")["spec"]["ports"]) == 1, "the port is taken out"
    )


def test_the_leader_killed_without_warning_is_followed_by_another(peers, kept, installed, measured):
    before = eventually(lambda: leader(installed), "there is a leader")
    began = time.monotonic()
    installed("-n", SYSTEM, "delete", "pod", before, "--grace-period=0", "--force")
    eventually(lambda: leader(installed) not in ("", before), "another leads", 60)
    seconds = time.monotonic() - began
    measured("seconds of fail-over", round(seconds, 1))
    peers("delete", "service", "faults-us-central1", "--wait=false")
    eventually(
        lambda: "deletionTimestamp" not in peers.json("get", "service/faults-us-central1")["metadata"],
        "it works",
    )


def test_an_operator_that_is_killed_in_the_middle_leaves_a_whole_cluster(
    peers, kept, installed, peers_namespace
):
    other = Peers(installed, peers_namespace, "midway")
    other.apply(manifest("midway"))
    for _ in range(3):
        for name in operators(installed):
            installed("-n", SYSTEM, "delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
        time.sleep(1)
    other.wait("Ready", seconds=150)
    other.delete()


def test_members_killed_for_their_memory_are_named_and_heal_with_a_higher_limit(peers, kept):
    spec = peers.json("get", RESOURCE, "faults")["spec"]
    tight = {"requests": {"memory": "40Mi"}, "limits": {"memory": "40Mi"}}
    peers.change(regions=[*spec["regions"][:-1], {**spec["regions"][-1], "resources": tight}])
    found = eventually(
        lambda: "OOMKilled" in (c := peers.condition("Ready"))["message"] and c,
        "the message names the reason",
        120,
    )
    assert "asia-east2-0" in found["message"]
    peers.change(regions=spec["regions"])


def test_a_peer_restarted_while_every_root_is_down_is_ready(peers, kept, faults):
    faults.partition.isolate("europe-west3")
    uid = peers.pod("us-central1-0")["metadata"]["uid"]
    peers("delete", "pod", "faults-us-central1-0", "--wait=false")
    eventually(
        lambda: peers.pod("us-central1-0")["metadata"]["uid"] != uid and peers.ready("us-central1-0"),
        "ready",
    )
    path = peers.post("us-central1-0", "while the root is away", "away.txt")
    peers.has(path, "asia-east2-0")
    kept.append(path)


def test_a_stopped_kubelet_is_survived(peers, kept, faults):
    faults.node("asia-east2").stop_kubelet()
    found = peers.wait("Ready", "False", seconds=60)
    assert "asia-east2" in found["message"]
    faults.node("asia-east2").start_kubelet()
    peers.wait("Ready", seconds=60)


def test_a_power_cut_names_the_region_and_heals_after_it(peers, kept, faults, measured):
    uid = peers.pod("us-central1-0")["metadata"]["uid"]
    faults.node("us-central1").power_off()
    found = peers.wait("RegionsSchedulable", "False", reason="NodesNotReady", seconds=60)
    assert "us-central1" in found["message"]
    assert peers.pod("us-central1-0")["metadata"]["uid"] == uid, "the pod of a dead node is left alone"
    path = peers.post("europe-west3-0", "while it is dark", "dark.txt")
    kept.append(path)
    faults.node("us-central1").start()
    began = time.monotonic()
    eventually(lambda: peers.ready("us-central1-0"), "it is ready again", 60)
    seconds = time.monotonic() - began
    measured("seconds from power to Ready", round(seconds, 1))


def test_a_restarted_api_server_is_survived(peers, kept, faults):
    faults.control.stop_apiserver()
    time.sleep(5)
    faults.control.start_apiserver()
    spec = eventually(lambda: peers.json("get", RESOURCE, "faults")["spec"], "the API server answers")
    peers.change(
        regions=[*spec["regions"][:-1], {**spec["regions"][-1], "resources": {"limits": {"memory": "900Mi"}}}]
    )
    eventually(
        lambda: (
            peers.pod("asia-east2-0")["spec"]["containers"][0]["resources"]["limits"]["memory"] == "900Mi"
        ),
        "the change is carried out",
        120,
    )
