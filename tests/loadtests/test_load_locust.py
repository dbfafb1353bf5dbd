"""locust, as a user starts it, against three real nodes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from loadtests.benchmarks import CSV_HEADER
from loadtests.process import free_port
from loadtests.samples import read_node_samples, read_samples

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 100
HEADLESS = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "--only-summary"]


def locust(*arguments, **env):
    """Run locust headless to its end."""
    return subprocess.run(
        [*HEADLESS, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        cwd=ROOT,
        env={**os.environ, **env},
    )


def named(nodes):
    return ",".join(node.url for node in nodes)


@pytest.fixture(autouse=True)
def own_newcomers(tmp_path, monkeypatch):
    """Newcomers of this test live under its own folder: others may run at the same time."""
    place = tmp_path / "newcomers"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))


def newcomers():
    """Processes of this test's newcomers that are still there."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if f"{os.environ['TMPDIR']}/peersdb-newcomer-" in line:
            found.append(process)
    return found


def summary(directory):
    return json.loads((directory / "summary.json").read_text())


def test_a_mixed_run_measures_every_kind_of_event(cluster, tmp_path):
    report = tmp_path / "report"
    done = locust(
        *("-u", 6, "-r", 6, "-t", "5s", "--newcomers", 1, "--nodes", named(cluster), "--report", report),
        *("--csv", tmp_path / "locust"),
    )
    assert done.returncode == 0, done.stderr
    figures = summary(report)
    assert figures["passed"] is True
    assert set(figures["requests"]) >= {"post", "get", "query"}
    regions = ("asia", "eu", "us")
    pairs = {(one["source"], one["target"]) for one in figures["replication"]}
    assert pairs == {(source, target) for source in regions for target in regions if source != target}
    assert figures["newcomers"][0]["seconds"] > 0
    assert not newcomers()
    samples = read_samples(report / "samples.csv")
    assert {sample.kind for sample in samples} == {"post", "get", "query", "replication", "join", "isvalid"}
    assert {sample.node for sample in read_node_samples(report / "nodes.csv")} == {
        node.url.removeprefix("http://") for node in cluster
    }
    # Raw samples are locust's own events: its CSV counts the same.
    last = (tmp_path / "locust_stats.csv").read_text().splitlines()[-1].split(",")
    assert last[1] == "Aggregated"
    assert int(last[2]) == len(samples)
    assert len(json.loads((report / "benchmark.json").read_text())) == len(cluster)


def test_the_evaluation_posts_each_archive_in_turn_and_gathers(cluster, tmp_path):
    data = tmp_path / "c3o"
    for name in ("grep", "sort"):
        (data / name).mkdir(parents=True)
        (data / name / "runs.tsv").write_text("machines\tseconds\n2\t150\n" * 200)
    report = tmp_path / "report"
    done = locust("--profile", "evaluation", "--dataset", data, "--nodes", named(cluster), "--report", report)
    assert done.returncode == 0, done.stderr
    samples = read_samples(report / "samples.csv")
    kinds = [sample.kind for sample in samples]
    assert (kinds.count("post"), kinds.count("replication"), len(kinds)) == (3, 6, 9)
    posts = [sample for sample in samples if sample.kind == "post"]
    assert {sample.source_region for sample in posts} == {"us"}, "the first node that is no root posts all"
    table = (report / "benchmark.csv").read_text().splitlines()
    assert table[0] == CSV_HEADER
    assert sorted(row.rpartition(",")[2] for row in table[1:]) == ["asia", "eu", "us"]


def test_several_processes_deliver_every_sample(cluster, tmp_path):
    report, port = tmp_path / "report", free_port()
    done = locust(
        *("-u", 4, "-r", 4, "-t", "2s", "--newcomers", 0, "--processes", 2),
        *("--nodes", named(cluster), "--report", report, "--csv", tmp_path / "locust"),
        *("--master-bind-port", port, "--master-port", port),
    )
    assert done.returncode == 0, done.stderr
    assert summary(report)["passed"] is True
    last = (tmp_path / "locust_stats.csv").read_text().splitlines()[-1].split(",")
    assert int(last[2]) == len(read_samples(report / "samples.csv")) > 0


def test_tags_choose_what_is_sent(cluster, tmp_path):
    report = tmp_path / "report"
    done = locust(
        "-u", 2, "-t", "2s", "--tags", "query", "--nodes", named(cluster), "--report", report, "Reader"
    )
    assert done.returncode == 0, done.stderr
    assert {sample.kind for sample in read_samples(report / "samples.csv")} == {"query"}


def test_a_newcomer_that_cannot_join_is_a_failure_and_leaves_nothing(cluster, tmp_path):
    report = tmp_path / "report"
    done = locust(
        *("-u", 1, "-t", "4s", "--newcomers", 1, "--join-timeout", 0.2),
        *("--nodes", named(cluster), "--report", report, "Newcomer"),
    )
    assert done.returncode == 1
    assert not newcomers()
    (join,) = read_samples(report / "samples.csv")
    assert not join.ok
    assert "entries after 0.2 s" in join.error
    assert summary(report)["newcomers"][0]["seconds"] is None


def test_a_runner_that_is_killed_leaves_no_newcomer(cluster):
    command = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "-u", "1"]
    with subprocess.Popen(
        [*command, "--newcomers", "1", "--nodes", named(cluster), "Newcomer"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    ) as runner:
        try:
            until(newcomers, "a newcomer starts")
        finally:
            runner.kill()
    until(lambda: not newcomers(), "the newcomer ends with its runner")


@pytest.mark.slow
def test_ctrl_c_ends_a_run_of_several_processes_with_its_report(cluster, tmp_path):
    report, port = tmp_path / "report", free_port()
    command = [
        *HEADLESS,
        "-u",
        "4",
        "-r",
        "4",
        "--newcomers",
        "0",
        "--processes",
        "2",
        "--report",
        str(report),
    ]
    command += ["--nodes", named(cluster), "--master-bind-port", str(port), "--master-port", str(port)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as runner:
        try:
            samples = report / "samples.csv"
            until(lambda: samples.is_file() and samples.stat().st_size > 1000, "samples arrive")
        finally:
            os.killpg(runner.pid, signal.SIGINT)  # as the terminal does: master and workers alike
        try:
            assert runner.wait(40) == 0
        finally:
            if runner.poll() is None:
                os.killpg(runner.pid, signal.SIGKILL)
    assert summary(report)["passed"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "storm"], "there is no profile 'storm'"),
        (["--nodes", "http://127.0.0.1:1"], "does not answer at http://127.0.0.1:1"),
        (["--cluster-status", "/nowhere.json"], "cannot read the cluster status"),
        (["--report", str(ROOT)], "holds other files"),
    ],
)
def test_a_wrong_start_ends_with_2_and_one_line(cluster, arguments, message):
    nodes = [] if {"--nodes", "--cluster-status"} & set(arguments) else ["--nodes", named(cluster)]
    done = locust("-t", "1s", *nodes, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def until(look, what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)
