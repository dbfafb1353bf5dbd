"""The cluster itself does what a Kubernetes does; the same on the harness's own and on any other."""

import http.client
import subprocess
import time

import pytest

from cluster.commands import wait_for
from cluster.errors import CommandFailed
from e2e_pods import Pods


@pytest.fixture(scope="module")
def pods(kubectl, shared_namespace, tools):
    return Pods(kubectl, shared_namespace, tools)


@pytest.fixture(scope="module")
def one(pods, regions):
    return pods.start(regions[0], app="one")


@pytest.fixture(scope="module")
def other(pods, regions):
    if len(regions) < 2:
        pytest.skip("this cluster has one region: nothing crosses regions on it")
    return pods.start(regions[1], app="other")


def test_every_region_has_a_ready_node(kubectl, regions):
    for region in regions:
        selector = f"--selector=topology.kubernetes.io/region={region},type!=kwok"
        nodes = kubectl.json("get", "nodes", selector)["items"]
        conditions = [
            {each["type"]: each["status"] for each in node["status"]["conditions"]} for node in nodes
        ]
        assert any(each["Ready"] == "True" for each in conditions), region


def test_pods_of_different_nodes_reach_each_other(pods, one, other):
    assert pods.get(one, pods.address(other)) == f"{other}\n"
    assert pods.get(other, pods.address(one)) == f"{one}\n"


def test_a_pod_sees_who_asks_it(pods, one, other):
    """No address is changed on the way: NetworkPolicies depend on it."""
    pods.get(one, pods.address(other))
    wait_for(lambda: f"{pods.address(one)}]" in pods("logs", other), "the asker's address in the log", 30)


def test_names_of_services_and_of_pods_resolve(pods, one, other):
    pods.stateful_set("named", 1)
    for asker in (one, other):  # names are kept for some seconds, that there is none as well
        pods.reaches_within(asker, "named-0.named", expected=True)
    assert pods.get(one, "named-0.named") == "named-0\n"
    assert pods.get(other, f"named-0.named.{pods.namespace}.svc.cluster.local") == "named-0\n"
    assert "Address" in pods.run(other, "nslookup", "kubernetes.default.svc.cluster.local")


def test_a_service_leads_to_pods_of_any_node(pods, one, other):
    pods("expose", "pod", other, "--name=by-service", "--port=80", "--target-port=8000")
    for asker in (one, other):  # the second is sent back to itself
        pods.reaches_within(asker, "by-service", expected=True, port=80)
        assert pods.get(asker, "by-service", 80) == f"{other}\n"


def test_a_volume_outlives_its_pod(pods):
    pods.stateful_set("kept", 1)
    pods("delete", "pod", "kept-0", "--wait=true")
    pods("rollout", "status", "statefulset/kept", "--timeout=60s")
    pods.wait("kept-0")
    assert pods.run("kept-0", "cat", "/data/starts") == "kept-0\nkept-0\n"


def test_programs_run_in_pods_and_their_output_is_read(pods, one):
    assert pods.run(one, "echo", "hello") == "hello\n"
    pods.run(one, "sh", "-c", "echo said >/proc/1/fd/1")
    wait_for(lambda: "said" in pods("logs", one), "the log", 30)


def test_a_port_is_forwarded(kubectl, pods, one):
    argv = [kubectl.program, f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={pods.namespace}"]
    argv += ["port-forward", one, ":8000"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as forward:
        port = int(forward.stdout.readline().split(" -> ")[0].rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/starts")
        assert connection.getresponse().read() == f"{one}\n".encode()
        forward.terminate()


def test_a_memory_limit_holds(pods, regions):
    hungry = pods.start(regions[0], "hungry")
    with pytest.raises(CommandFailed, match="137"):  # killed
        pods.run(hungry, "sh", "-c", "head -c 200000000 /dev/zero | tail -c 190000000 >/dev/null")


class TestNetworkPolicy:
    """What NetworkPolicies forbid does not pass, and what they allow does."""

    @pytest.fixture
    def policies(self, pods):
        yield lambda name, spec: pods.apply(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": name},
                "spec": spec,
            }
        )
        pods("delete", "networkpolicies", "--all")

    @pytest.fixture
    def friend(self, pods, regions):
        return pods.start(regions[-1], "friend", friend="yes")

    def test_ingress_is_for_those_who_are_named(self, pods, one, other, friend, policies):
        address = pods.address(one)
        assert pods.reaches(other, address)
        allowed = {"from": [{"podSelector": {"matchLabels": {"friend": "yes"}}}], "ports": [{"port": "http"}]}
        selector = {"matchLabels": {"app": "one"}}
        policies("ingress", {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": [allowed]})
        pods.reaches_within(other, address, expected=False)
        assert pods.reaches(friend, address)
        time.sleep(3)  # three probes of the kubelet, which no policy keeps out
        pods.wait(one)
        pods("delete", "networkpolicy", "ingress")
        pods.reaches_within(other, address, expected=True)

    def test_egress_is_to_what_is_named(self, pods, one, other, policies):
        names = {
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
            "ports": [{"port": 53, "protocol": "UDP"}],
        }
        selector = {"matchLabels": {"app": "one"}}
        policies("egress", {"podSelector": selector, "policyTypes": ["Egress"], "egress": [names]})
        pods.reaches_within(one, pods.address(other), expected=False)
        assert "Address" in pods.run(one, "nslookup", "kubernetes.default.svc.cluster.local")
        assert pods.reaches(other, pods.address(one)), "answers are no egress of their own"
