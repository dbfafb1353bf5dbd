"""Benchmarks on a real cluster: from apply to report without a hand, and what becomes of runs that go wrong."""

import itertools
import json

import pandas as pd
import pytest

from e2e_benchmarks import Bench
from e2e_peers import REGIONS, Peers, eventually, manifest

#: Seconds from apply to the report of a run of one minute: images are here, two cores do everything.
ENOUGH = 300.0
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def peers(installed, peers_namespace):
    made = Peers(installed, peers_namespace, "measured")
    regions = [{"name": region, "replicas": 2} for region in REGIONS]
    made.apply(
        manifest("measured", regions=regions, benchmark={"enabled": True}, validation={"enabled": False})
    )
    made.wait("Ready", seconds=180)
    yield made
    made.delete()


@pytest.fixture
def bench(peers):
    made = Bench(peers, f"run-{next(NUMBERS)}")
    yield made
    made.delete()


def test_a_contribution_run_reports_what_pandas_finds_in_its_raw_samples(bench, tmp_path, measured):
    bench.apply(
        "contribution", users=3, runTime="60s", thresholds=[{"metric": "replication.p99", "max": "30s"}]
    )
    status = bench.ended(ENOUGH)
    assert status["phase"] == "Succeeded", status
    out = bench.results(tmp_path / "out")
    assert {"report.html", "summary.json", "benchmark.json", "benchmark.csv"} <= {
        path.name for path in out.iterdir()
    }
    samples = pd.read_csv(out / "samples.csv")
    run = json.loads((out / "run.json").read_text())
    headline = json.loads((out / "summary.json").read_text())["headline"]
    kept = samples[(samples.kind == "replication") & (samples.ts >= run["segments"][0]["warm_until"])]
    assert kept.ok.all()
    assert set(kept.target_region) == set(REGIONS)
    for q in (50, 90, 99):
        assert headline[f"replication.p{q}"]["value"] == pytest.approx(
            kept.seconds.quantile(q / 100), rel=1e-9
        )
    measured("replication p50, p99", f"{1e3 * kept.seconds.quantile(0.5):.0f}, {status['summary']}")


def test_load_pods_hold_no_token_and_all_but_jobs_and_results_is_gone_at_the_end(bench, peers):
    bench.apply("steady", users=3, runTime="10s")
    bench.running()
    for pod in bench.pods():
        spec = peers.json("get", "pod", pod)["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert not [volume for volume in spec["volumes"] if "projected" in volume]
    assert bench.ended(ENOUGH)["phase"] == "Succeeded"
    label = f"peersdb.io/benchmark={bench.name}"
    kinds = "services,secrets,networkpolicies"
    eventually(
        lambda: not peers.json("get", kinds, "-l", label)["items"], "only jobs and results are left", 60
    )


def test_a_threshold_that_is_missed_fails_the_run_and_its_results_are_there(bench):
    bench.apply(
        "steady", users=3, runTime="10s", thresholds=[{"metric": "replication.p50", "max": "0.001ms"}]
    )
    status = bench.ended(ENOUGH)
    assert status["phase"] == "Failed"
    assert bench.condition("ThresholdsMet")["status"] == "False"
    assert [one["passed"] for one in status["thresholds"]] == [False]
    assert bench.summary()["passed"] is False


def test_a_worker_that_is_killed_is_named_and_results_are_there(bench, peers):
    bench.apply("steady", users=3, runTime="30s")
    bench.running()
    victim = next(pod for pod in bench.pods() if "worker" in pod)
    peers("delete", "pod", victim, "--grace-period=0", "--force")
    status = bench.ended(ENOUGH)
    assert (status["phase"], bench.condition("Complete")["reason"]) == ("Failed", "WorkerLost")
    assert bench.summary()["problems"]


def test_a_member_that_dies_is_named_and_results_are_there(bench, peers, faults):
    bench.apply("contribution", users=3, runTime="40s", workers=1)
    bench.running()
    busy = {peers.json("get", "pod", pod)["spec"]["nodeName"] for pod in bench.pods()}
    region = next(region for region in REGIONS[1:] if faults.node(region).name not in busy)
    faults.node(region).power_off()
    status = bench.ended(ENOUGH)
    assert (status["phase"], bench.condition("Complete")["reason"]) == ("Failed", "RunFailed")
    assert f"measured-{region}-0" in bench.condition("Degraded")["message"]
    assert bench.summary()["passed"] is False
    faults.node(region).start()
    peers.wait("Ready", seconds=180)


def test_churn_deletes_members_and_the_cluster_is_whole_afterwards(bench, peers):
    before = {pod: peers.json("get", "pod", pod)["metadata"]["uid"] for pod in peers.pods()}
    bench.apply("churn", users=3, runTime="60s", faults={"interval": "15s"})
    bench.ended(ENOUGH)
    peers.wait("Ready", seconds=120)
    after = {pod: peers.json("get", "pod", pod)["metadata"]["uid"] for pod in peers.pods()}
    assert before.keys() == after.keys()
    assert before != after


def test_a_partition_cuts_a_region_off_and_is_healed(bench, peers):
    bench.apply(
        "partition",
        users=3,
        runTime="60s",
        faults={"interval": "20s", "duration": "8s", "region": REGIONS[1]},
    )
    bench.running()
    eventually(lambda: bench.status().get("fault", {}).get("kind") == "cut", "the cut", 60)
    bench.ended(ENOUGH)
    assert "fault" not in bench.status()
    peers.wait("Ready", seconds=120)
    path = peers.post("root-0", "after the partition", "healed.txt")
    peers.has(path, f"{REGIONS[1]}-0", f"{REGIONS[2]}-0")


def test_newcomers_of_each_wave_are_timed_and_gone_at_the_end(bench, peers, measured):
    bench.apply("bootstrap", users=2, runTime="10s", newcomers={"perWave": 2, "waves": 2})
    status = bench.ended(ENOUGH)
    assert status["phase"] == "Succeeded", status
    assert len(bench.summary()["newcomers"]) == 4
    measured("newcomers, slowest", status["summary"]["joinMax"])
    eventually(lambda: len(peers.pods()) == 7, "the newcomers are gone", 60)
