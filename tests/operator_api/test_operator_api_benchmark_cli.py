"""`peersdb-operator benchmark` against a real API server, with the test as the operator."""

import base64
import gzip
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from api_support import ROOT

from cluster.commands import wait_for

_numbers = itertools.count()
STARTED = {
    "phase": "Running", "startTime": "2026-01-01T00:00:00Z", "progress": "37 %", "stage": "repeat 2/3, cell 1/4",
    "users": 6, "workers": 3, "workersReady": 2, "requests": 1234, "failures": 1,
    "fault": {"kind": "cut", "region": "us"},
}  # fmt: skip


class Terminal:
    """A person with a kubeconfig, in a namespace of one test."""

    def __init__(self, server, home):
        self.server, self.home, self.namespace = server, home, f"bench-{next(_numbers)}"
        server.kubectl("create", "namespace", self.namespace)
        self.file = home / "bench.yaml"

    def write(self, name="measure", **spec):
        value = {
            "apiVersion": "peersdb.io/v1alpha1",
            "kind": "PeersDBBenchmark",
            "metadata": {"name": name},
            "spec": {"clusterRef": {"name": "quickstart"}, "profile": "contribution", **spec},
        }
        self.file.write_text(yaml.safe_dump(value))

    def start(self, *arguments):
        argv = [sys.executable, "-m", "peersdb_operator", "benchmark", *arguments]
        environment = {**os.environ, "KUBECONFIG": str(self.server.kubeconfig), "COLUMNS": "120"}
        return subprocess.Popen(
            argv, cwd=self.home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *arguments, code=0):
        process = self.start(*arguments, "-n", self.namespace)
        out, err = process.communicate(timeout=60)
        assert process.returncode == code, out + err
        return out, err

    def kubectl(self, *arguments, **options):
        return self.server.kubectl("--namespace", self.namespace, *arguments, **options)

    def shell(self, script):
        """Runs commands in the clone, with this namespace as the kubeconfig's own."""
        config = yaml.safe_load(self.server.kubeconfig.read_text())
        for context in config["contexts"]:
            context["context"]["namespace"] = self.namespace
        own = self.home / "kubeconfig"
        own.write_text(yaml.safe_dump(config))
        programs = [Path(sys.executable).parent, Path(self.server.kubectl.program).parent]
        environment = {
            **os.environ,
            "KUBECONFIG": str(own),
            "PATH": ":".join([*map(str, programs), os.environ["PATH"]]),
        }
        return subprocess.Popen(
            ["bash", "-euc", script], cwd=self.home, env=environment, stdout=subprocess.PIPE, text=True
        )

    def spec(self, name="measure"):
        return json.loads(self.kubectl("get", "pdbb", name, "-o", "json"))["spec"]

    def status(self, name="measure", **status):
        patch = json.dumps({"status": status})
        self.kubectl("patch", "pdbb", name, "--subresource=status", "--type=merge", "-p", patch)

    def results(self, name="measure", samples="kind,seconds\n"):
        page, packed = (gzip.compress(data, mtime=0) for data in (b"<html>", samples.encode()))
        config = {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-results"},
            "data": {"summary.json": "{}", "benchmark.csv": "a,b\n"},
            "binaryData": {
                "report.html": base64.b64encode(page).decode(), "samples.csv.gz": base64.b64encode(packed).decode(),
            },
        }  # fmt: skip
        self.kubectl("create", "-f", "-", stdin=json.dumps(config))
        return {"configMap": f"{name}-results", "files": ["report.html"], "omitted": ["nodes.csv"]}


def ended(*, passed=True):
    condition = {
        "type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z",
        "reason": "Done" if passed else "ThresholdsMissed", "message": "done" if passed else "1 of 1 thresholds missed",
    }  # fmt: skip
    return {
        "phase": "Succeeded" if passed else "Failed", "completionTime": "2026-01-01T00:01:00Z", "progress": "100 %",
        "summary": {"replicationP99": "40.0ms", "requestsPerSecond": "12.0"},
        "thresholds": [{"metric": "replication.p99", "limit": "<= 30ms", "value": "40.0ms", "passed": passed}],
        "conditions": [condition],
    }  # fmt: skip


@pytest.fixture
def terminal(server, tmp_path):
    return Terminal(server, tmp_path)


def test_run_hands_the_manifest_to_the_api_server_and_returns(terminal):
    terminal.write(users=7)
    _, err = terminal.run("run", "-f", "bench.yaml")
    assert f"benchmark watch measure -n {terminal.namespace}" in err
    assert terminal.spec()["users"] == 7


def test_run_again_changes_what_has_not_started_and_joins_what_runs_the_same(terminal):
    terminal.write(users=7)
    terminal.run("run", "-f", "bench.yaml")
    terminal.write(users=8)
    terminal.run("run", "-f", "bench.yaml")
    assert terminal.spec()["users"] == 8
    terminal.status(**STARTED)
    terminal.run("run", "-f", "bench.yaml")
    terminal.write(users=9)
    assert (
        "runs with another spec: give this one another name"
        in terminal.run("run", "-f", "bench.yaml", code=2)[1]
    )
    terminal.status(**ended())
    terminal.write(users=8)
    assert "has ended" in terminal.run("run", "-f", "bench.yaml", code=2)[1]


def test_watch_follows_the_status_to_its_end(terminal):
    terminal.write()
    terminal.run("run", "-f", "bench.yaml")
    terminal.status(**STARTED)
    process = terminal.start("watch", "measure", "-n", terminal.namespace)
    assert process.stderr.readline().strip() == (
        "37 %  Running: repeat 2/3, cell 1/4  6 users, 2/3 workers, 1,234 requests, 1 failed, us cut"
    )
    terminal.status(**ended(), results=terminal.results())
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.splitlines()[0].split() == ["replication.p99", "40.0ms"] or "40.0ms" in out
    assert "measure: passed" in out
    assert "results: configMap measure-results" in err


def test_run_and_wait_ends_as_the_benchmark_does_and_fetches_its_results(terminal):
    terminal.write()
    process = terminal.start("run", "-f", "bench.yaml", "--wait", "--out", "here", "-n", terminal.namespace)
    wait_for(lambda: "measure" in terminal.kubectl("get", "pdbb", "-o", "name"), "it is there", 30)
    terminal.status(**{**STARTED, **ended(passed=False)}, results=terminal.results())
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "MISSED" in out
    assert "problem: 1 of 1 thresholds missed" in out
    assert (terminal.home / "here" / "report.html").read_text() == "<html>"


def test_report_unpacks_the_results_and_names_what_did_not_fit(terminal):
    terminal.write()
    terminal.run("run", "-f", "bench.yaml")
    assert "has no results yet" in terminal.run("report", "measure", code=1)[1]
    terminal.status(**{**STARTED, **ended()}, results=terminal.results())
    out, err = terminal.run("report", "measure")
    assert out.strip() == "measure-results/report.html"
    assert "did not fit into the ConfigMap: nodes.csv" in err
    found = {path.name: path.read_text() for path in (terminal.home / "measure-results").iterdir()}
    assert found == {
        "report.html": "<html>", "samples.csv": "kind,seconds\n", "summary.json": "{}", "benchmark.csv": "a,b\n",
    }  # fmt: skip


def test_results_in_a_volume_are_named(terminal):
    terminal.write()
    terminal.run("run", "-f", "bench.yaml")
    terminal.status(**{**STARTED, **ended()}, results={"persistentVolumeClaim": "runs"})
    assert "in the claim runs, folder measure" in terminal.run("report", "measure", code=1)[1]


def test_what_is_not_there_is_said(terminal):
    assert "404" in terminal.run("watch", "nothing", code=1)[1]
    terminal.write(users=0)
    assert "spec.users: 0 is too small" in terminal.run("run", "-f", "bench.yaml", code=1)[1]


SAMPLES = (
    "ts,kind,source,target,source_region,target_region,seconds,late,error_bar,bytes,ok,error,segment\n"
    + (
        "".join(
            f"{second},replication,eu-0,us-0,eu,us,{0.04 + second % 7 / 1000},0,0.004,100,1,,0\n"
            for second in range(1, 200)
        )
    )
)


def test_the_commands_of_the_document_measure_twice_and_compare(terminal):
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    blocks = [it for it in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "--kube" in it]
    (terminal.home / "deploy").symlink_to(ROOT / "deploy")
    name, printed = "quickstart-contribution", []
    for block in blocks:
        process = terminal.shell(block)
        fresh = lambda: "startTime" not in terminal.kubectl("get", "pdbb", name, "-o", "yaml")  # noqa: E731
        wait_for(fresh, "it is there", 30)
        terminal.status(name, **{**STARTED, **ended()}, results=terminal.results(name, SAMPLES))
        printed.append(process.communicate(timeout=60)[0])
        assert process.returncode == 0, printed
        terminal.kubectl("delete", "configmap", f"{name}-results")  # which the operator's benchmark owns
    first, second = printed
    assert f"{name}: passed" in first
    assert first.splitlines()[-1] == "before/report.html"
    assert "after/report.html" in second
    assert "no change beyond noise" in second
