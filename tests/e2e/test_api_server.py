"""The API server alone: what tests of the reconcile loop stand on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from cluster.api_server import ApiServer, api_server
from cluster.commands import wait_for
from cluster.errors import CommandFailed, HarnessError, NotBuilt
from cluster.golang import API_PROGRAMS, programs
from cluster.kubectl import Kubectl
from cluster.testing import api_server_or_skip

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "deploy" / "samples" / "quickstart.yaml"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with api_server_or_skip(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def kubectl(server):
    return server.kubectl


def test_our_resource_is_served_once_its_definition_is_applied(kubectl):
    kubectl("apply", "--server-side", "-k", str(ROOT / "crds"))
    wait_for(lambda: kubectl("api-resources", "--api-group=peersdb.io", "-o", "name"), "it is served", 30)
    kubectl("apply", "--server-side", "-f", str(SAMPLE))
    kept = kubectl.json("get", "peersdbclusters.peersdb.io", "quickstart")
    assert [region["name"] for region in kept["spec"]["regions"]] == [
        region["name"] for region in yaml.safe_load(SAMPLE.read_text())["spec"]["regions"]
    ]


def test_a_service_account_may_do_what_it_was_given_and_nothing_else(server, kubectl):
    kubectl("create", "serviceaccount", "reader")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader")
    token = kubectl("create", "token", "reader").strip()
    as_reader = ["--kubeconfig=/dev/null", f"--server={server.control.url}", f"--token={token}"]
    as_reader.append(f"--certificate-authority={server.authority.certificate}")
    kubectl("create", "configmap", "to-read", "--from-literal=a=b")
    reader = Kubectl(server.kubeconfig, kubectl.program)
    assert "configmap/to-read" in reader(*as_reader, "get", "configmaps", "-o", "name")
    with pytest.raises(CommandFailed, match="cannot list resource"):
        reader(*as_reader, "get", "secrets")


@pytest.mark.slow
def test_what_it_holds_outlives_a_restart(server, kubectl):
    kubectl("create", "configmap", "kept", "--from-literal=a=b")
    for number in (signal.SIGTERM, signal.SIGKILL):
        server.restart(number)
        assert kubectl.json("get", "configmap", "kept")["data"] == {"a": "b"}


def test_a_token_serves_as_well_as_a_certificate(server, kubectl):
    by_token = Kubectl(server.token_kubeconfig, kubectl.program)
    assert "system:masters" in by_token("auth", "whoami")


@pytest.mark.slow
def test_several_run_side_by_side(server, kubectl, tmp_path):
    with api_server(tmp_path / "other") as kubeconfig:
        other = Kubectl(kubeconfig, kubectl.program)
        other("create", "configmap", "other", "--from-literal=a=b")
        with pytest.raises(CommandFailed, match="not found"):
            kubectl("get", "configmap", "other")


@pytest.mark.slow
def test_a_program_that_ends_is_named_with_the_end_of_its_log(server, tmp_path):
    with ApiServer(tmp_path / "broken") as broken:
        broken._processes["etcd"].kill()
        broken._processes["etcd"].wait()
        with pytest.raises(HarnessError, match="etcd ended with -9"):
            broken.check()


def test_controllers_make_pods_of_a_stateful_set(server, tmp_path):
    with api_server_or_skip(tmp_path / "controllers", controllers=True) as running:
        kubectl = running.kubectl
        wait_for(lambda: kubectl("get", "serviceaccount", "default"), "a service account", 30)
        container = {"name": "c", "image": "none"}
        template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container]}}
        spec = {"replicas": 2, "serviceName": "a", "podManagementPolicy": "Parallel", "template": template}
        spec["selector"] = {"matchLabels": {"app": "a"}}
        kubectl.apply(
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"}, "spec": spec}
        )
        pods = wait_for(lambda: (found := kubectl.json("get", "pods"))["items"][1:] and found, "two pods", 30)
        assert sorted(pod["metadata"]["name"] for pod in pods["items"]) == ["a-0", "a-1"]


@pytest.mark.slow
def test_nothing_is_left_when_the_test_process_is_killed(server, tmp_path):
    """The programs go with whoever started them, also when that gets no time to say goodbye."""
    argv = [sys.executable, "-m", "cluster", "api", "--dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as command:
        assert command.stdout.readline() == f"export KUBECONFIG={tmp_path}/kubeconfig\n"
        children = psutil.Process(command.pid).children()
        assert {"etcd", "kube-apiserver"} == {child.name() for child in children}
        command.kill()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert (len(gone), alive) == (2, [])


@pytest.mark.slow
def test_the_command_ends_all_on_sigterm(server, tmp_path):
    argv = [sys.executable, "-m", "cluster", "api", "--dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as command:
        command.stdout.readline()
        children = psutil.Process(command.pid).children()
        command.terminate()
        assert command.wait(30) == 0
    assert not any(child.is_running() for child in children)


def test_nothing_is_compiled_by_surprise(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(NotBuilt, match="make cluster-build"):
        programs(API_PROGRAMS)
    assert list(tmp_path.iterdir()) == []


def test_the_kubeconfig_is_complete_in_itself(server):
    """It can be copied, and read by any client: it names no other file."""
    text = server.kubeconfig.read_text()
    assert str(server.kubeconfig.parent) not in text
    assert set(yaml.safe_load(text)["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
    assert server.kubeconfig.stat().st_mode & 0o077 == 0
    assert json.loads(server.kubectl("version", "-o", "json"))["serverVersion"]["minor"] == "34"
