"""The operator on a real cluster: what a user applies, sees and gets back."""

import base64
import time

import pytest
import yaml

from cluster.errors import CommandFailed
from e2e_peers import REGIONS, RESOURCE, SAMPLES, Peers, eventually, manifest


@pytest.fixture(scope="module")
def quickstart(installed, peers_namespace):
    """The sample that the README applies, in a namespace that enforces the restricted standard."""
    peers = Peers(installed, peers_namespace, "quickstart")
    began = time.monotonic()
    peers("apply", "-f", str(SAMPLES / "quickstart.yaml"))
    peers.wait("Ready", seconds=120)
    peers.seconds_to_ready = time.monotonic() - began
    yield peers
    peers.delete()


def test_the_sample_is_ready_soon_and_says_so_in_one_line(quickstart, measured):
    measured("seconds from apply to Ready", round(quickstart.seconds_to_ready, 1))
    heading, line = quickstart("get", "pdbc").splitlines()
    assert heading.split() == [
        "NAME",
        "READY",
        "ROOT",
        "PEERS",
        "DESIRED",
        "REGIONS",
        "REPLICATION",
        "REASON",
        "AGE",
    ]
    assert line.split()[:5] == ["quickstart", "True", "True", "5", "5"]
    assert "europe-west3 2/2, us-central1 1/1, asia-east2 1/1" in line


def test_each_member_runs_in_its_region(quickstart, installed):
    regions = {
        node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/region"]
        for node in installed.json("get", "nodes")["items"]
    }
    for region in REGIONS:
        for name in quickstart.pods(region=region):
            pod = quickstart.json("get", "pod", name)
            assert regions[pod["spec"]["nodeName"]] == region
            assert quickstart.node_status(name.removeprefix("quickstart-"))["region"] == region


def test_a_file_posted_in_one_region_is_got_in_another(quickstart):
    content = "a,b\n" + "1,2\n" * 50_000
    path = quickstart.post("asia-east2-0", content, "rows.csv")
    quickstart.has(path, *quickstart.members())
    quickstart.client("us-central1-0", "get", path)
    cid = path.removeprefix("/ipfs/")
    assert quickstart("exec", "quickstart-us-central1-0", "--", "cat", f"/data/downloads/{cid}") == content


def test_the_status_knows_the_log_and_that_all_have_it(quickstart):
    status = eventually(
        lambda: (
            (found := quickstart.status())
            and all(region.get("headsLag") == 0 for region in found["regions"])
            and found.get("version")
            and found
        ),
        "every region told what it has",
    )
    assert status["storeAddress"] == quickstart.node_status("root-0")["storeAddress"]
    assert status["version"] == "0.1.0"
    assert quickstart.wait("ReplicationHealthy")["reason"] == "InSync"
    assert status["rootAddresses"] == ["quickstart-root-0.quickstart-root:8080"]


def test_another_namespace_does_not_reach_the_pods_and_the_same_one_does(quickstart, installed, namespace):
    address = quickstart.pod("root-0")["status"]["podIP"]
    script = (
        "import urllib.request,sys\n"
        "try:\n"
        f"    print(urllib.request.urlopen('http://{address}:8080/healthz', timeout=3).status)\n"
        "except OSError as error:\n"
        "    print('blocked')\n"
    )
    outcomes = {}
    for where in (quickstart.namespace, namespace):
        outcomes[where] = run_python(installed, where, script)
    assert outcomes == {quickstart.namespace: "200", namespace: "blocked"}


def run_python(kubectl, namespace, script):
    """Runs a script in a pod of the node's image, and gives what it printed."""
    name = f"probe-{time.monotonic_ns()}"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "probe",
                    "image": yaml.safe_load((SAMPLES / "quickstart.yaml").read_text())["spec"]["image"][
                        "repository"
                    ]
                    + ":0.1.0",
                    "command": ["python3", "-c", script],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    kubectl.apply(pod)
    done = ("Succeeded", "Failed")
    eventually(
        lambda: kubectl.json("-n", namespace, "get", "pod", name)["status"].get("phase") in done,
        "the probe ends",
    )
    output = kubectl("-n", namespace, "logs", name).strip()
    kubectl("-n", namespace, "delete", "pod", name, "--wait=false")
    return output


def test_pods_have_no_token_and_their_files_are_read_only(quickstart):
    for name in quickstart.pods():
        pod = quickstart.json("get", "pod", name)
        mounts = [mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]]
        assert "/var/run/secrets/kubernetes.io/serviceaccount" not in mounts
        with pytest.raises(CommandFailed):
            quickstart("exec", name, "--", "touch", "/usr/file")
        assert quickstart("exec", name, "--", "id", "-u").strip() != "0"


def test_a_region_added_and_more_peers_come_up_with_all_there_is(quickstart):
    before = quickstart.paths("root-0")
    spec = quickstart.json("get", RESOURCE, "quickstart")["spec"]
    for region in spec["regions"]:
        if region["name"] == "us-central1":
            region["replicas"] = 2
    quickstart.change(regions=spec["regions"])
    quickstart.wait("Ready")
    eventually(lambda: quickstart.ready("us-central1-1"), "the new peer is ready")
    assert set(before) <= set(quickstart.paths("us-central1-1"))


def test_fewer_peers_are_refused_until_forced_and_their_volume_stays(quickstart):
    spec = quickstart.json("get", RESOURCE, "quickstart")["spec"]
    for region in spec["regions"]:
        if region["name"] == "us-central1":
            region["replicas"] = 1
    quickstart.change(regions=spec["regions"])
    blocked = quickstart.wait("ScaleDownBlocked")
    assert "us-central1 from 2 to 1" in blocked["message"]
    assert "scaleDown.policy" in blocked["message"]
    assert "quickstart-us-central1-1" in quickstart.pods()
    quickstart.change(scaleDown={"policy": "Force"})
    quickstart.wait("ScaleDownBlocked", "False")
    eventually(lambda: "quickstart-us-central1-1" not in quickstart.pods(), "the peer is gone")
    assert "data-quickstart-us-central1-1" in quickstart("get", "pvc", "-o", "name")
    quickstart.change(scaleDown=None)


def test_a_region_without_nodes_is_named_and_the_rest_goes_on(quickstart):
    spec = quickstart.json("get", RESOURCE, "quickstart")["spec"]
    quickstart.change(regions=[*spec["regions"], {"name": "mars-north1", "replicas": 1}])
    found = quickstart.wait("RegionsSchedulable", "False", reason="RegionWithoutNodes")
    assert "mars-north1" in found["message"]
    path = quickstart.post("root-0", "goes on", "goes-on.txt")
    quickstart.has(path, "asia-east2-0")
    quickstart.change(regions=spec["regions"], scaleDown={"policy": "Force"})
    quickstart.wait("Ready")
    quickstart.change(scaleDown=None)


def test_resources_are_rolled_without_losing_anything(quickstart):
    before = quickstart.paths("root-0")
    spec = quickstart.json("get", RESOURCE, "quickstart")["spec"]
    uids = {name: quickstart.json("get", "pod", name)["metadata"]["uid"] for name in quickstart.pods()}
    root = {**spec["root"], "resources": {"requests": {"cpu": "0.05", "memory": "200Mi"}}}
    quickstart.change(root=root)
    eventually(
        lambda: quickstart.pod("root-0")["metadata"]["uid"] != uids["quickstart-root-0"],
        "the root is replaced",
    )
    quickstart.wait("Ready", seconds=120)
    assert quickstart.pod("root-0")["spec"]["containers"][0]["resources"]["requests"]["memory"] == "200Mi"
    peers = [name for name in quickstart.pods(role="peer") if name in uids]
    assert all(quickstart.json("get", "pod", name)["metadata"]["uid"] == uids[name] for name in peers)
    assert set(before) <= set(quickstart.paths("root-0"))


def test_a_missing_image_heals_when_it_is_mended(quickstart):
    image = quickstart.json("get", RESOURCE, "quickstart")["spec"]["image"]
    quickstart.change(image={**image, "tag": "no-such-tag", "pullPolicy": "IfNotPresent"})
    found = eventually(
        lambda: (c := quickstart.condition("Ready"))["status"] == "False" and "Image" in c["message"] and c,
        "the message names the image",
        120,
    )
    assert "no-such-tag" in found["message"] or "ImagePull" in found["message"]
    quickstart.change(image=image)
    quickstart.wait("Ready", seconds=120)


def test_deletion_protection_holds_until_it_is_lifted(quickstart):
    quickstart.change(deletionProtection=True)
    with pytest.raises(CommandFailed, match="deletionProtection"):
        quickstart("delete", RESOURCE, "quickstart", "--wait=false")
    quickstart.change(deletionProtection=False)
    assert "deletionTimestamp" not in quickstart.json("get", RESOURCE, "quickstart")["metadata"]


def test_a_cluster_made_again_finds_its_data(installed, peers_namespace):
    peers = Peers(installed, peers_namespace, "again")
    peers.apply(manifest("again"))
    peers.wait("Ready", seconds=120)
    path = peers.post("europe-west3-0", "kept", "kept.txt")
    address = peers.node_status("root-0")["storeAddress"]
    peers.has(path, "root-0", "us-central1-0")
    peers.delete()
    eventually(
        lambda: (
            not peers(
                "get",
                "sts,svc,cm,sa,pdb,networkpolicy",
                "-l",
                "app.kubernetes.io/instance=again",
                "-o",
                "name",
            )
        ),
        "nothing but the volumes is left",
    )
    assert len(peers("get", "pvc", "-l", "app.kubernetes.io/instance=again", "-o", "name").split()) == 4
    peers.apply(manifest("again"))
    peers.wait("Ready", seconds=120)
    assert path in peers.paths("us-central1-0")
    assert peers.node_status("asia-east2-0")["storeAddress"] == address
    peers.delete()


def test_secrets_are_made_used_and_rotated_without_losing_anything(installed, peers_namespace):
    peers = Peers(installed, peers_namespace, "secret")
    security = {
        "apiTokenSecretRef": {"name": "secret-token", "generate": True},
        "swarmKeySecretRef": {"name": "secret-swarm", "generate": True},
    }
    peers.apply(manifest("secret", security=security))
    peers.wait("Ready", seconds=150)

    def token():
        data = peers.json("get", "secret", "secret-token")["data"]["token"]
        return base64.b64decode(data).decode().split()

    def with_token(member, key):
        script = 'printf %s "$0" > /tmp/token && exec peersdb query --json --api-token-file /tmp/token'
        return peers("exec", f"secret-{member}", "--", "sh", "-c", script, key)

    old = token()[0]
    path = peers.post("root-0", "kept", "kept.txt")  # the client in the pod reads the pod's own token
    peers.has(path, "asia-east2-0")
    with pytest.raises(CommandFailed, match="unauthorized"):
        with_token("root-0", "f" * 64)

    peers("annotate", RESOURCE, "secret", "peersdb.io/rotate-api-token=1")
    eventually(lambda: len(token()) == 2, "a second token")
    new = token()[0]
    assert token()[1] == old
    assert new != old

    def both_valid():
        return all(path in with_token("root-0", key) for key in (old, new))

    eventually(both_valid, "the pods take both tokens", 120)

    uids = {name: peers.json("get", "pod", name)["metadata"]["uid"] for name in peers.pods()}
    peers("annotate", RESOURCE, "secret", "peersdb.io/rotate-swarm-key=1")
    eventually(
        lambda: all(peers.json("get", "pod", name)["metadata"]["uid"] != uid for name, uid in uids.items()),
        "every pod is replaced",
        60,
    )
    peers.wait("Ready", seconds=120)
    second = peers.post("us-central1-0", "after", "after.txt")
    peers.has(second, "root-0")
    assert path in peers.paths("root-0")
    peers.delete()


def test_a_namespace_that_is_deleted_goes_away_and_others_stay(installed, namespace, quickstart):
    doomed = f"{namespace}-doomed"
    installed("create", "namespace", doomed)
    peers = Peers(installed, doomed, "gone")
    peers.apply(manifest("gone"))
    eventually(lambda: len(peers.pods()) == 4, "its pods are made")
    installed("delete", "namespace", doomed, "--wait=false")
    eventually(
        lambda: f"namespace/{doomed}" not in installed("get", "namespaces", "-o", "name").split(),
        "it is gone",
        120,
    )
    assert quickstart.condition("Ready")["status"] == "True"


def test_an_invalid_spec_is_refused_by_the_field_s_name(installed, peers_namespace):
    value = manifest("bad")
    value["spec"]["root"]["replicas"] = 4
    value["spec"]["network"] = {"httpPort": 4001}
    with pytest.raises(CommandFailed) as refused:
        Peers(installed, peers_namespace, "bad").apply(value)
    assert "spec.root.replicas" in str(refused.value)


def test_what_happened_is_told_in_events(quickstart):
    events = quickstart.json("get", "events")["items"]
    reasons = {event["reason"] for event in events if event["involvedObject"]["kind"] == "PeersDBCluster"}
    assert {"AllReady", "MembersWouldBeLost", "RegionWithoutNodes"} <= reasons
