"""The operator's process: what it serves, how it ends, and that there is never more than one leader."""

import http.server
import json
import signal
import socket
import threading
import time

import pytest
import yaml
from api_benchmark import benchmark
from api_process import OperatorProcess
from api_support import GENERATED, ROOT, manifest

from cluster.commands import wait_for

pytestmark = pytest.mark.processes


@pytest.fixture
def namespace(api):
    api.server.kubectl("create", "namespace", api.namespace)
    return api.namespace


def put(api, wanted):
    api.kubectl("apply", "-f", "-", stdin=json.dumps(wanted))


def get(api, *what):
    return json.loads(api.kubectl("get", *what, "-o", "json"))


def made(api, name):
    """Whether a cluster's last objects are there."""
    found = api.kubectl("get", "statefulsets", "-o", "name").split()
    return {f"statefulset.apps/{name}-root", f"statefulset.apps/{name}-eu"} <= set(found)


def test_it_serves_works_and_ends_and_leaves_nothing_of_kopf_on_an_object(api, namespace, tmp_path):
    put(api, manifest(name="before"))
    with OperatorProcess(tmp_path, api.server.kubeconfig, namespace, "--no-election") as operator:
        wait_for(lambda: made(api, "before"), "what was there is made", 60)
        wait_for(operator.healthy, "it is healthy", 60)
        put(api, manifest(name="after"))
        wait_for(lambda: made(api, "after"), "what comes is made", 60)
        for name in ("before", "after"):
            metadata = get(api, "peersdbcluster", name)["metadata"]
            assert "finalizers" not in metadata
            assert not [key for key in metadata["annotations"] if "kopf" in key or "zalando" in key]
        put(api, benchmark(cluster="missing"))
        wait_for(lambda: _waits(api), "a benchmark is seen", 60)
        assert "finalizers" not in get(api, "peersdbbenchmark", "run")["metadata"]
        assert operator.metric("peersdb_benchmarks") == 1
        assert operator.leads()
        assert operator.metric("peersdb_operator_reconciles_total") >= 2
        assert operator.metric("peersdb_cluster_ready") == 0
        code, seconds = operator.end()
        assert (code, seconds < 10) == (0, True), operator.text()
        assert "Traceback" not in operator.text()
        assert "ERROR" not in operator.text()


def _waits(api):
    found = get(api, "peersdbbenchmark", "run").get("status", {}).get("conditions", [])
    return "ClusterNotFound" in {condition["reason"] for condition in found}


@pytest.mark.slow
def test_another_leads_at_once_when_a_leader_is_ended_as_kubernetes_ends_a_pod(api, namespace, tmp_path):
    several = [OperatorProcess(tmp_path, api.server.kubeconfig, namespace, name=name) for name in "ab"]
    with several[0], several[1], Watch(several) as watch:
        wait_for(lambda: all(one.healthy() for one in several), "both are healthy", 90)
        first = wait_for(watch.leader, "there is a leader", 60)
        first.end(signal.SIGTERM)
        _, seconds = watch.next_leader(first)
        assert seconds <= 4, f"after SIGTERM: {seconds:.1f} s"
        put(api, manifest(name="after"))
        wait_for(lambda: made(api, "after"), "it works", 60)
    assert watch.most == 1


@pytest.mark.slow
def test_another_leads_when_a_leader_dies_and_when_the_api_server_was_away(api, namespace, tmp_path):
    several = [OperatorProcess(tmp_path, api.server.kubeconfig, namespace, name=name) for name in "ab"]
    with several[0], several[1], Watch(several) as watch:
        wait_for(lambda: all(one.healthy() for one in several), "both are healthy", 90)
        wait_for(watch.leader, "there is a leader", 60)
        api.server.restart(signal.SIGKILL)
        put(api, manifest(name="first"))
        wait_for(lambda: made(api, "first"), "it works", 60)
        first = wait_for(watch.leader, "there is a leader", 60)
        first.end(signal.SIGKILL)
        _, seconds = watch.next_leader(first)
        assert 10 < seconds <= 20, f"after SIGKILL: {seconds:.1f} s"
        put(api, manifest(name="second"))
        wait_for(lambda: made(api, "second"), "it works", 60)
    assert watch.most == 1


class Watch:
    """Looks all the time who leads."""

    def __init__(self, several):
        self.several, self.most, self._ended = several, 0, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _look(self):
        while not self._ended.wait(0.2):
            # Twice, for one may just have ended between two questions; two leaders would be so for seconds.
            both = {one.name for one in self.several if one.leads()} & {
                one.name for one in self.several if one.leads()
            }
            self.most = max(self.most, len(both))

    def leader(self):
        return next((one for one in self.several if one.leads()), None)

    def next_leader(self, before):
        """Wait for another leader; gives it and how long that took."""
        began = time.monotonic()
        found = wait_for(lambda: (it := self.leader()) is not before and it, "another leads", 60)
        return found, time.monotonic() - began


def account(api, tmp_path, rules):
    """A kubeconfig of a service account with some rights in its namespace."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "op"},
        "rules": rules,
    }
    api.kubectl("create", "serviceaccount", "op")
    api.kubectl("apply", "-f", "-", stdin=json.dumps(role))
    api.kubectl("create", "rolebinding", "op", "--role=op", f"--serviceaccount={api.namespace}:op")
    path = tmp_path / "account.kubeconfig"
    token = api.kubectl("create", "token", "op").strip()
    path.write_text(api.server.authority.token_kubeconfig(api.server.control.url, token))
    return path


@pytest.mark.slow
def test_the_namespaced_role_is_enough_and_without_nodes_nobody_knows_of_regions(api, namespace, tmp_path):
    """All that the operator does in a namespace, under the role of deploy/: make, take out, renew, empty, remove."""
    (role,) = [
        document
        for document in yaml.safe_load_all((ROOT / "deploy" / "base" / "role.yaml").read_text())
        if document["metadata"]["name"] == "peersdb-operator"
    ]
    kubeconfig = account(api, tmp_path, role["rules"])
    force = {"security": GENERATED, "scaleDown": {"policy": "Force"}}
    put(api, manifest({"eu": 1, "us": 1}, **force))
    with OperatorProcess(tmp_path, kubeconfig, namespace, "--no-election") as operator:
        wait_for(lambda: made(api, "demo"), "it is made", 60)
        port = '[{"op": "add", "path": "/spec/ports/-", "value": {"name": "x", "port": 99}}]'
        api.kubectl("patch", "service", "demo", "--type=json", "-p", port)
        wait_for(lambda: len(get(api, "service", "demo")["spec"]["ports"]) == 1, "the port is taken out", 60)
        put(api, manifest({"eu": 1}, annotations={"peersdb.io/rotate-api-token": "1"}, **force))
        gone = lambda: "statefulset.apps/demo-us" not in api.kubectl("get", "statefulsets", "-o", "name")  # noqa: E731
        wait_for(gone, "the region is removed", 60)
        assert get(api, "secret", "demo-token")["metadata"]["annotations"] == {
            "peersdb.io/rotate-api-token": "1"
        }
        conditions = {c["type"]: c for c in get(api, "peersdbcluster", "demo")["status"]["conditions"]}
        assert (conditions["RegionsSchedulable"]["status"], conditions["RegionsSchedulable"]["reason"]) == (
            "Unknown", "NodesNotVisible",
        )  # fmt: skip
        assert conditions["Degraded"]["status"] == "False"
        assert "Removed" in api.kubectl("get", "events", "-o", "name", "-o", "jsonpath={.items[*].reason}")
        assert "nodes is forbidden" in operator.text()
        assert operator.text().count("forbidden") == operator.text().count("nodes is forbidden")


def test_a_role_that_does_not_allow_the_work_ends_the_process_with_what_is_missing(api, namespace, tmp_path):
    rules = [
        {"apiGroups": ["peersdb.io"], "resources": ["peersdbclusters"], "verbs": ["get", "list", "watch"]}
    ]
    kubeconfig = account(api, tmp_path, rules)
    with OperatorProcess(tmp_path, kubeconfig, namespace, "--no-election") as operator:
        code, text = operator.wait()
    assert code == 1
    assert "peersdb-operator: the operator's role does not allow what it needs" in text.splitlines()[-1]
    assert 'cannot list resource "' in text.splitlines()[-1]


# What is said in one line at the start.


class _NotFound(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def empty_server(tmp_path):
    """The kubeconfig of an API server that knows nothing."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NotFound) as listening:
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        url = f"http://127.0.0.1:{listening.server_port}"
        config = {
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "x"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        (tmp_path / "empty.kubeconfig").write_text(yaml.safe_dump(config))
        yield tmp_path / "empty.kubeconfig"
        listening.shutdown()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 1, "the API server does not know PeersDBCluster: apply crds/ first"),
        (["--health", "nonsense"], 2, "--health nonsense is not http://HOST:PORT/PATH"),
        (["--health", "http://127.0.0.1:TAKEN/healthz"], 2, "--health: cannot listen on port TAKEN"),
        (["--metrics", "127.0.0.1:TAKEN"], 2, "--metrics: cannot listen on port TAKEN"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(empty_server, tmp_path, arguments, code, said):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = [argument.replace("TAKEN", port) for argument in arguments]
        with OperatorProcess(tmp_path, empty_server, "x", "--no-election", *given) as operator:
            ended, text = operator.wait()
    assert (ended, text.count("\n")) == (code, 1)
    assert said.replace("TAKEN", port) in text
