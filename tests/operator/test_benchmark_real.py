"""A benchmark with nothing in anybody's place: regions of real nodes, the real load test, its report."""

import csv
import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from operator_cluster import Local, end, manifest, measure, until

pytestmark = [pytest.mark.processes, pytest.mark.slow]


class Measured:
    """`peersdb-operator benchmark run` on a cluster of real nodes, and what it left."""

    def __init__(self, cluster, home):
        self.cluster, self.home, self.out = cluster, home, home / "out"
        self.temporary = home / "temporary"
        self.temporary.mkdir()

    def run(self, profile, **spec):
        """Run it as it is written; it passes."""
        file = self.home / "bench.yaml"
        limits = [{"metric": "errors.count", "max": "0"}]
        value = measure(profile=profile, users=2, payloadSize="4Ki", warmup="1s", thresholds=limits, **spec)
        file.write_text(yaml.safe_dump(value))
        argv = [sys.executable, "-m", "peersdb_operator", "benchmark", "run", "-f", str(file)]
        argv += ["--out", str(self.out), "--dir", str(self.cluster.directory)]
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "measure: passed" in done.stdout
        assert done.stdout.splitlines()[-1] == str(self.out / "report.html")
        assert (self.out / "report.html").stat().st_size > 10_000
        return done

    def summary(self):
        return json.loads((self.out / "summary.json").read_text())

    def events(self):
        """What was done to the cluster: kind and members, in order."""
        told = json.loads((self.out / "run.json").read_text())["events"]
        return [(it["kind"], [member["name"] for member in it["members"]]) for it in told]

    def samples(self, kind):
        with (self.out / "samples.csv").open(newline="") as lines:
            return [row for row in csv.DictReader(lines) if row["kind"] == kind]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Local(tmp_path_factory.mktemp("real"), node_command=f"{sys.executable} -P -m peersdb")
    try:
        made.up(manifest({"eu": 1, "us": 2}, benchmark={"enabled": True}))
        yield made
    finally:
        end(made)


@pytest.fixture
def measured(cluster, tmp_path):
    made = Measured(cluster, tmp_path)
    yield made
    assert list(made.temporary.iterdir()) == []


def test_contribution_ends_with_a_report_of_what_was_replicated(measured):
    measured.run("contribution", runTime="4s")
    assert measured.summary()["passed"]
    assert measured.samples("post")
    pairs = {(row["source_region"], row["target_region"]) for row in measured.samples("replication")}
    assert {("eu", "us"), ("us", "eu")} <= pairs


def test_under_churn_members_are_killed_come_back_and_cost_nobody_a_request(measured, cluster):
    before, members = cluster.pids(), cluster.members()
    restarts = {name: row["restarts"] for name, row in members.items()}
    addresses = {name: row["http"] for name, row in members.items()}
    measured.run("churn", runTime="30s", faults={"interval": "4s"})
    after = until(
        lambda: (m := cluster.members()) and all(it["ready"] for it in m.values()) and m, "all are ready"
    )
    told = measured.events()
    killed = [names for kind, names in told if kind == "deleted"]
    assert killed[:4] == [["eu-0"], ["us-0"], ["eu-0"], ["us-1"]][: len(killed)]
    assert told == [(kind, names) for names in killed for kind in ("deleted", "back")]
    assert {name for name in before if before[name] != after[name]["pid"]} == {name for (name,) in killed}
    assert {name: row["http"] for name, row in after.items()} == addresses
    assert sum(row["restarts"] - restarts[name] for name, row in after.items()) == len(killed)
    headline = measured.summary()["headline"]
    assert headline["errors.count"]["value"] == 0
    assert headline["replication.max"]["value"] < 60
    assert {"post", "query", "get", "replication"} == {
        kind for kind in ("post", "query", "get", "replication", "join") if measured.samples(kind)
    }


def test_each_newcomer_of_each_wave_joins_with_all_that_was_there_and_leaves(measured, cluster):
    before = cluster.pids()
    done = measured.run("bootstrap", runTime="5s", newcomers={"perWave": 2, "waves": 2})
    assert re.search(r"2 newcomers", done.stderr)
    assert measured.events() == [
        ("wave", ["eu-new-0", "eu-new-1"]), ("wave", ["us-new-0", "us-new-1"]),
    ]  # fmt: skip
    joins = measured.samples("join")
    assert [row["ok"] for row in joins] == ["1"] * 4
    assert {(row["source"], row["source_region"]) for row in joins} == {
        ("eu-new-0", "eu"), ("eu-new-1", "eu"), ("us-new-0", "us"), ("us-new-1", "us"),
    }  # fmt: skip
    summary = measured.summary()
    longest = max(float(row["seconds"]) for row in joins)
    assert summary["headline"]["join.max"]["value"] == pytest.approx(longest)
    assert summary["headline"]["errors.count"]["value"] == 0
    assert cluster.pids() == before
    assert not [it for it in cluster.processes() if it not in [*before.values(), cluster.supervisor()]]
