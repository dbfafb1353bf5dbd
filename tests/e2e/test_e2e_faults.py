"""The harness's faults do what they say, end when they are healed, and hit nothing else."""

import json
import subprocess
import time

import pytest

from cluster import cli, images, simulated
from cluster.api_faults import ApiFault
from cluster.commands import wait_for
from cluster.errors import CommandFailed
from e2e_pods import LOST, Pods

#: A node without a sign of life counts as not ready after 12 s, in units of the controller's looks.
NOT_READY = 60


@pytest.fixture(scope="module")
def pods(harness, kubectl, shared_namespace, tools, request):
    if harness is None:
        pytest.skip("only the harness's own cluster has faults: PEERSDB_E2E=1 without KUBECONFIG")
    found = Pods(kubectl, shared_namespace, tools)
    for region in harness.regions:
        found.start(region, name_of(region))
    return found


def name_of(region):
    return f"pod-{region}"


def reaches(pods, source, target):
    return pods.reaches(name_of(source), pods.address(name_of(target)))


def test_a_cut_stops_both_ways_and_nothing_else(faults, pods):
    a, b, c = faults.regions[:3]
    faults.partition.cut(a, b)
    assert not reaches(pods, a, b)
    assert not reaches(pods, b, a)
    assert reaches(pods, a, c)
    assert reaches(pods, c, b)
    assert all(map(faults.node_ready, (a, b)))
    assert faults.partition.dropped()[f"cut {a} {b}"] > 0
    faults.partition.heal()
    assert reaches(pods, a, b)
    assert faults.partition.dropped() == {}


def test_a_one_way_cut_lets_the_other_way_pass(faults, pods):
    a, b = faults.regions[:2]
    faults.partition.one_way(b, a)
    before = echoes_received(pods, b)
    told = pods.run(name_of(a), "sh", "-c", f"ping -c 3 -i 0.1 -W 1 {pods.address(name_of(b))} || true")
    assert " 0 packets received" in told
    assert echoes_received(pods, b) == before + 3
    assert faults.partition.dropped()[f"one way {b} {a}"] == 3


def echoes_received(pods, region):
    lines = pods.run(name_of(region), "grep", "^Icmp:", "/proc/net/snmp").splitlines()
    return int(dict(zip(lines[0].split(), lines[1].split(), strict=True))["InEchos"])


def test_a_loss_is_of_so_many_packets(faults, pods):
    a, b = faults.regions[:2]
    faults.partition.loss(a, b, 50)
    told = pods.run(name_of(a), "sh", "-c", f"ping -c 60 -i 0.02 -W 1 {pods.address(name_of(b))} || true")
    received = int(told.partition(" packets received")[0].rpartition(" ")[2])
    assert 2 <= received <= 30, (
        told
    )  # a quarter of 60 echoes is expected: half of the way there, half of the way back
    assert faults.partition.dropped()[f"loss {a} {b}"] >= 30


def test_an_isolated_region_is_lost_to_all(faults, pods):
    a, b = faults.regions[:2]
    faults.partition.isolate(a)
    assert not reaches(pods, b, a)
    wait_for(lambda: not faults.node_ready(a), "the isolated node is not ready", NOT_READY)
    assert faults.node_ready(b)
    faults.partition.heal()
    wait_for(lambda: faults.node_ready(a), "the node is ready again", NOT_READY)
    pods.reaches_within(name_of(b), pods.address(name_of(a)), expected=True)


def test_latency_is_what_was_said(faults, pods):
    a, b, c = faults.regions[:3]
    bare = round_trip(pods, a, b)
    faults.latency.set({(a, b): 40})
    assert 80 <= round_trip(pods, a, b) < 80 + 10 * bare + 20
    assert round_trip(pods, b, c) < 40, "another pair has none"
    faults.partition.cut(a, b)
    assert not reaches(pods, a, b), "a delay is no way around a cut"
    faults.partition.heal()
    faults.latency.clear()
    assert round_trip(pods, a, b) < 40


def round_trip(pods, source, target):
    """The median of ten round trips, in milliseconds."""
    told = pods.run(name_of(source), "ping", "-c", "10", "-i", "0.1", pods.address(name_of(target)))
    times = sorted(
        float(line.partition("time=")[2].split()[0]) for line in told.splitlines() if "time=" in line
    )
    return times[len(times) // 2]


def test_a_stopped_kubelet_leaves_its_containers_running(faults, pods):
    a, b = faults.regions[:2]
    faults.node(a).stop_kubelet()
    wait_for(lambda: not faults.node_ready(a), "the node is not ready", NOT_READY)
    assert reaches(pods, b, a)
    faults.node(a).start_kubelet()
    wait_for(lambda: faults.node_ready(a), "the node is ready again", NOT_READY)


def test_a_power_cut_ends_all_at_once_and_the_disk_stays(faults, pods):
    pods.stateful_set("powered", 1)
    pod = faults.kubectl.json("get", "pod", "powered-0", f"--namespace={pods.namespace}")
    region = pod["spec"]["nodeName"].removeprefix("node-")
    other = next(name for name in faults.regions if name != region)
    faults.node(region).power_off()
    assert not pods.reaches(name_of(other), pod["status"]["podIP"])
    wait_for(lambda: not faults.node_ready(region), "the node is not ready", NOT_READY)
    faults.node(region).start()
    wait_for(lambda: faults.node_ready(region), "the node is ready again", NOT_READY)
    wait_for(
        lambda: pods.run("powered-0", "cat", "/data/starts") == "powered-0\n" * 2, "its pod again", NOT_READY
    )


def test_the_api_server_is_restarted_and_pods_do_not_notice(faults, pods):
    a, b = faults.regions[:2]
    for region in (a, b):
        pods.wait(name_of(region))
    addresses = [pods.address(name_of(region)) for region in (a, b)]
    faults.control.stop_apiserver()
    with pytest.raises(CommandFailed, match="refused"):
        faults.kubectl("get", "nodes")
    faults.control.start_apiserver()
    assert pods.reaches(name_of(a), addresses[1])
    assert [pods.address(name_of(region)) for region in (a, b)] == addresses


def test_an_image_that_is_missing_is_missed_and_then_found(faults, pods, tools):
    region = faults.regions[0]
    image = "localhost/peersdb-e2e/later:1"
    spec = {"nodeSelector": {"topology.kubernetes.io/region": region}, "terminationGracePeriodSeconds": 0}
    container = {"name": "c", "image": image, "imagePullPolicy": "Never", "command": ["sleep", "600"]}
    pods.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "later"},
            "spec": {**spec, "containers": [container]},
        },
    )
    wait_for(lambda: "ErrImageNeverPull" in pods("get", "pod", "later"), "the image is missed", 60)
    faults.node(region).containerd("images", "tag", tools, image)
    pods.wait("later")
    faults.node(region).containerd.forget(image)
    assert image not in faults.node(region).containerd.images()
    assert tools in faults.node(region).containerd.images()


def test_an_image_is_loaded_where_it_is_wanted(faults, tools):
    archive = next(path for path in images.build() if path.name.startswith("tools"))
    region = faults.regions[-1]
    faults.node(region).containerd.forget(tools)
    assert tools not in faults.node(region).containerd.images()
    faults.load_image(archive, [region])
    assert tools in faults.node(region).containerd.images()


#: Asks the API server as pods do, over one connection that stays open; says each answer's status.
ASK = """
import http.client, ssl, sys
place = "/var/run/secrets/kubernetes.io/serviceaccount/"
context = ssl.create_default_context(cafile=place + "ca.crt")
headers = {"Authorization": "Bearer " + open(place + "token").read()}
server = http.client.HTTPSConnection("kubernetes.default.svc", context=context, timeout=10)
for _ in sys.stdin:
    try:
        server.request("GET", "/api/v1/namespaces/default/services", headers=headers)
        answer = server.getresponse()
        answer.read()
        print(answer.status, flush=True)
    except (OSError, http.client.HTTPException):
        server.close()
        print("reset", flush=True)
"""


class Asker:
    """A pod that asks the API server whenever it is told."""

    def __init__(self, pods, name, image):
        container = {
            "name": "c",
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "3600"],
        }
        spec = {"containers": [container], "serviceAccountName": "asker", "terminationGracePeriodSeconds": 0}
        pods.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        pods.wait(name)
        self.address = pods.address(name)
        kubectl = pods.kubectl
        argv = [kubectl.program, f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={pods.namespace}"]
        argv += ["exec", "-i", name, "--", "python3", "-c", ASK]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(30)


@pytest.fixture
def askers(pods, images):
    account = f"{pods.namespace}:asker"
    pods("create", "serviceaccount", "asker")
    binding = f"view-{pods.namespace}"
    pods.kubectl("create", "clusterrolebinding", binding, "--clusterrole=view", f"--serviceaccount={account}")
    made = [Asker(pods, name, images["operator"]) for name in ("asker", "other")]
    yield made
    for asker in made:
        asker.end()
    pods.kubectl("delete", "clusterrolebinding", binding)


def test_the_api_server_fails_for_the_pods_that_are_named(faults, askers):
    one, other = askers
    assert (one.ask(), other.ask()) == ("200", "200")
    with faults.faulty_api([one.address]) as api:
        assert one.ask() == "reset", "the connection of before does not go on past the proxy"
        assert one.ask() == "200"
        api.set(ApiFault(kind="answer", status=429))
        wait_for(lambda: one.ask() == "429", "the fault", 20)
        assert other.ask() == "200"
        assert {seen.status for seen in api.seen()} == {200, 429}
    assert one.ask() == "reset"
    assert (one.ask(), other.ask()) == ("200", "200")


def test_simulated_nodes_run_hundreds_of_pods(faults, pods):
    start = time.monotonic()
    faults.simulate_nodes(60)
    template = {
        "metadata": {"labels": {"app": "many"}},
        "spec": {
            "nodeSelector": simulated.SELECTOR,
            "tolerations": [simulated.TOLERATION],
            "containers": [{"name": "c", "image": "none"}],
        },
    }
    spec = {"replicas": 300, "selector": {"matchLabels": {"app": "many"}}, "template": template}
    pods.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec},
    )
    pods("rollout", "status", "deployment/many", "--timeout=180s")
    assert time.monotonic() - start < 180
    found = json.loads(pods("get", "pods", "--selector=app=many", "-o", "json"))["items"]
    assert len({pod["spec"]["nodeName"] for pod in found}) > 10
    pods("delete", "deployment", "many", "--wait=false")
    faults.remove_simulated_nodes()


def test_nothing_leads_out_of_the_cluster(faults):
    """Every route of every machine stays in the cluster's addresses, and what has none is refused at once."""
    inside = f"10.{faults.settings.addresses.block}."
    control = json.loads(faults.control.machine.in_network("ip", "-json", "-4", "route"))
    assert all(route["dst"].startswith("10.") for route in control), control
    for node in faults.nodes.values():
        routes = json.loads(node.machine.in_network("ip", "-json", "-4", "route"))
        ways = [route for route in routes if route["dst"] == "default"]
        assert [way["gateway"].startswith(inside) for way in ways] == [True]
    rules = faults.control.machine.in_network("nft", "list", "table", "inet", "guard")
    assert rules.count("counter") == 5


def test_faults_are_made_by_hand_too(faults, pods, monkeypatch):
    monkeypatch.setenv("PEERSDB_E2E_STATE", str(faults.settings.state))
    a, b = faults.regions[:2]
    assert cli.main(["fault", "cut", a, b]) == 0
    assert not reaches(pods, a, b)
    assert cli.main(["fault", "cut", a, "mars"]) == 1
    assert cli.main(["fault", "heal"]) == 0
    assert reaches(pods, a, b)


def test_a_lost_packet_takes_no_longer_than_tests_wait(faults, pods):
    """`LOST` is what all of the above stand on: a live pod answers well within it."""
    a, b = faults.regions[:2]
    start = time.monotonic()
    assert reaches(pods, a, b)
    assert time.monotonic() - start < LOST
