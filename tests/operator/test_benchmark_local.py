"""`peersdb-operator benchmark run` on a local cluster: real processes, a load test that does as it is told."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from operator_cluster import SHARED_PORTS, Local, end, manifest, measure, until

pytestmark = pytest.mark.processes
LOAD = Path(__file__).with_name("standin_load.py")


class Bench:
    """The command on a cluster of its own."""

    def __init__(self, cluster, home):
        self.cluster, self.home = cluster, home
        self.script, self.file, self.out = home / "script.json", home / "bench.yaml", home / "out"

    def argv(self, *more, script=None, **spec):
        self.script.write_text(json.dumps(script or {}))
        self.file.write_text(yaml.safe_dump(measure(**spec)))
        command = f"{sys.executable} {LOAD} --script {self.script}"
        return [
            sys.executable, "-m", "peersdb_operator", "benchmark", "run", "-f", str(self.file),
            "--dir", str(self.cluster.directory), "--load-command", command, "--out", str(self.out), *more,
        ]  # fmt: skip

    def run(self, *more, code=0, script=None, **spec):
        done = subprocess.run(
            self.argv(*more, script=script, **spec),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self.environment(),
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done

    def environment(self):
        return {**os.environ, "TMPDIR": str(self.home)}

    def result(self, name):
        return json.loads((self.out / name).read_text())

    def processes(self):
        """All processes of the load test and of newcomers, whose files lie below this test's directory."""
        lines = ((p.pid, " ".join(p.info["cmdline"] or ())) for p in psutil.process_iter(["cmdline"]))
        return [pid for pid, line in lines if str(self.home) in line]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Local(tmp_path_factory.mktemp("bench"))
    made.up(manifest({"eu": 1, "us": 2}, network=SHARED_PORTS))
    yield made
    end(made)


@pytest.fixture
def bench(cluster, tmp_path):
    made = Bench(cluster, tmp_path)
    yield made
    assert made.processes() == []


def test_a_run_ends_with_its_results_and_0(bench):
    done = bench.run(
        users=7, rate="0.5", matrix={"peers": [1, 2]}, payloadSize="1Ki", dataset={"generated": {}}
    )
    assert "measure: passed" in done.stdout
    assert done.stdout.splitlines()[-1] == str(bench.out / "report.html")
    assert "replication.p99  40.0 ms (30.0 ms to 50.0 ms)" in done.stdout
    assert "join.max" not in done.stdout
    assert " 37 %  repeat 1/1, cell 1/1  6 users, 2/2 workers, 1,234 requests, 0 failed" in done.stderr
    given = bench.result("arguments.json")
    assert (given["profile"], given["users"], given["rate"], given["run_time"], given["warmup"]) == (
        "contribution", "7", "0.5", "60s", "5",
    )  # fmt: skip
    assert (json.loads(given["matrix"]), given["payload_size"]) == ({"peers": [1, 2]}, "1024")
    assert (given["generated_files"], given["generated_size"]) == ("20", "65536")
    assert (bench.out / "report.html").stat().st_size == 300_000
    assert not (bench.home / "evil").exists()


def test_the_load_test_knows_every_member_with_its_region(bench, cluster):
    bench.run()
    members = bench.result("targets.json")["members"]
    assert [(it["name"], it["region"], it["role"]) for it in members] == [
        ("root-0", "eu", "root"), ("eu-0", "eu", "peer"), ("us-0", "us", "peer"), ("us-1", "us", "peer"),
    ]  # fmt: skip
    assert {it["name"]: it["http"] for it in members} == {
        name: row["http"] for name, row in cluster.members().items()
    }


def test_each_region_has_a_worker_that_drives_its_members(bench):
    bench.run()
    logs = sorted((bench.out / "logs").glob("worker-*"))
    assert [log.read_text().split(",")[0] for log in logs] == ["worker of eu", "worker of us"]


def test_a_single_worker_drives_all_regions(bench):
    bench.run(workers=1)
    (log,) = (bench.out / "logs").glob("worker-*")
    assert log.read_text().startswith("worker of eu,us,")


def test_a_missed_threshold_ends_with_1_and_the_results_are_there(bench):
    limits = [{"metric": "replication.p99", "max": "30ms"}]
    done = bench.run(code=1, script={"passed": False}, thresholds=limits)
    assert re.search(r"^replication\.p99 <= 30ms +40\.0 ms +MISSED$", done.stdout, re.MULTILINE)
    assert "measure: failed" in done.stdout
    assert "problem: eu-0 does not answer" in done.stderr
    assert json.loads(bench.result("arguments.json")["thresholds"]) == limits


def test_a_load_test_that_ends_early_is_no_result(bench):
    done = bench.run(code=1, script={"crash": True})
    assert "the load test ended with code 3 before its results were there" in done.stderr
    assert "standin: no such profile" in done.stderr
    assert not (bench.out / "summary.json").exists()


def test_a_result_that_breaks_off_is_no_result(bench):
    assert "broke off after" in bench.run(code=1, script={"broken": True}).stderr
    assert [path.name for path in bench.out.iterdir()] == ["logs"]


def test_newcomers_come_wave_by_wave_and_are_gone_afterwards(bench):
    done = bench.run(profile="bootstrap", newcomers={"perWave": 2, "waves": 3})
    events = bench.result("events.json")
    assert [(it["wave"], [member["name"] for member in it["members"]]) for it in events] == [
        (1, ["eu-new-0", "eu-new-1"]), (2, ["us-new-0", "us-new-1"]), (3, ["eu-new-2", "eu-new-3"]),
    ]  # fmt: skip
    assert "2 newcomers" in done.stderr
    given = bench.result("arguments.json")
    assert (given["waves"], given["per_wave"]) == ("3", "2")


def test_spread_newcomers_join_in_every_region_at_once(bench):
    bench.run(profile="bootstrap", newcomers={"perWave": 3, "waves": 1, "order": "Spread"})
    (event,) = bench.result("events.json")
    assert [member["region"] for member in event["members"]] == ["eu", "us", "eu"]


def test_churn_kills_one_member_after_the_other_and_each_comes_back(bench, cluster):
    before = cluster.pids()
    bench.run(profile="churn", faults={"interval": "1s"})
    told = [(it["kind"], it["members"][0]["name"]) for it in bench.result("events.json")]
    assert told[:4] == [("deleted", "eu-0"), ("back", "eu-0"), ("deleted", "us-0"), ("back", "us-0")]
    after = until(
        lambda: (m := cluster.members()) and all(it["ready"] for it in m.values()) and cluster.pids(),
        "all are back",
    )
    assert {name for name in before if before[name] != after[name]} == {name for _, name in told}


def test_churn_kills_members_of_the_region_that_is_named(bench):
    bench.run(profile="churn", faults={"interval": "1s", "region": "us"})
    told = [(it["kind"], it["members"][0]["name"]) for it in bench.result("events.json")]
    assert told[:4] == [("deleted", "us-0"), ("back", "us-0"), ("deleted", "us-1"), ("back", "us-1")]


def test_the_only_root_is_never_killed(bench):
    spec = {"profile": "churn", "faults": {"region": "mars"}}
    assert "region 'mars' has no member that may be killed" in bench.run(code=1, **spec).stderr


def test_a_partition_is_refused_with_the_way_out(bench):
    assert "run it on Kubernetes" in bench.run(code=1, profile="partition").stderr


def test_a_data_set_in_kubernetes_needs_files_in_its_place(bench):
    kept = {"configMap": {"name": "files"}}
    assert "give its files by --dataset DIR" in bench.run(code=1, dataset=kept).stderr
    bench.run("--dataset", str(bench.home), dataset=kept)
    assert bench.result("arguments.json")["dataset"] == str(bench.home)


def test_a_benchmark_of_another_cluster_is_refused(bench):
    assert "spec.clusterRef names 'other'" in bench.run(code=2, clusterRef={"name": "other"}).stderr


def test_too_many_newcomers_for_one_machine_are_refused(bench):
    spec = {"profile": "bootstrap", "newcomers": {"perWave": 100, "waves": 1}}
    assert "use Kubernetes for more" in bench.run(code=1, **spec).stderr


def test_results_are_never_overwritten(bench):
    bench.run()
    assert "is not empty" in bench.run(code=2).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_finds_nothing_left(bench, cluster, number):
    before = cluster.pids()
    spec = {"profile": "bootstrap", "newcomers": {"perWave": 2, "waves": 1}}
    command = bench.argv(script={"hang": True}, **spec)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=bench.environment())
    until(lambda: len(bench.processes()) >= 6, "master, workers and newcomers run")
    assert "another command is at work" in cluster.run("scale", "eu=2", code=1).stderr
    os.kill(process.pid, number)
    assert process.wait(30) == 130
    assert bench.processes() == []
    assert cluster.pids() == before
    cluster.run("status")


def test_nothing_outlives_a_killed_command(bench):
    process = subprocess.Popen(
        bench.argv(script={"hang": True}), stderr=subprocess.DEVNULL, env=bench.environment()
    )
    until(lambda: len(bench.processes()) >= 4, "master and workers run")
    process.kill()
    process.wait(10)
    until(lambda: bench.processes() == [], "the kernel ended them")


def test_by_default_results_lie_with_the_cluster_and_report_finds_the_last(bench, cluster):
    def run(*arguments):
        argv = [
            sys.executable,
            "-m",
            "peersdb_operator",
            "benchmark",
            *arguments,
            "--dir",
            str(cluster.directory),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout.strip(), done.stderr

    bench.argv()
    load = f"{sys.executable} {LOAD} --script {bench.script}"
    pages = [run("run", "-f", str(bench.file), "--load-command", load)[1].splitlines()[-1] for _ in range(2)]
    assert pages == [
        str(cluster.directory / "benchmarks" / name / "report.html") for name in ("measure", "measure.2")
    ]
    assert run("report", "measure") == (0, pages[1], "")
    assert run("report", "nothing")[0] == 1
    assert run("report", str(Path(pages[0]).parent)) == (0, pages[0], "")
