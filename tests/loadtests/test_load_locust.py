"""locust, as a user starts it, against three real nodes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import gevent
import psutil
import pytest

from loadtests.benchmarks import CSV_HEADER
from loadtests.process import free_port
from loadtests.quiet import meet
from loadtests.replication import Replication
from loadtests.samples import read_node_samples, read_samples
from loadtests.targets import Node

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
        *("-u", 5, "-r", 5, "-t", "6s", "--newcomers", 1, "--nodes", named(cluster), "--report", report),
        *("--csv", tmp_path / "locust"),
    )
    assert done.returncode == 0, done.stderr
    figures = summary(report)
    assert figures["passed"] is True
    assert set(figures["requests"]) == {"post", "get", "query"}
    regions = ("asia", "eu", "us")
    pairs = {(one["source"], one["target"]) for one in figures["replication"]}
    assert pairs == {(source, target) for source in regions for target in regions if source != target}
    assert figures["newcomers"][0]["seconds"] > 0
    assert not newcomers()
    samples = read_samples(report / "samples.csv")
    assert {sample.kind for sample in samples} == {"post", "get", "query", "replication", "join"}
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
        *("-u", 6, "-r", 6, "-t", "4s", "--newcomers", 0, "--processes", 2),
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
        (["--profile", "soak"], "there is no profile 'soak'"),
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


def test_an_entry_that_nobody_posted_is_a_failure_on_every_other_node(cluster):
    samples = in_thread(lambda: watch(cluster, timeout=0.4, limit=1, entries=1)[0])
    assert len(samples) == 2
    assert all(not sample.ok and sample.seconds >= 0.4 for sample in samples)
    assert all("within 0.4 s" in sample.error for sample in samples)
    assert {sample.target_region for sample in samples} == {"us", "asia"}


def test_beyond_the_limit_posts_go_unwatched_and_are_counted(cluster):
    samples, skipped = in_thread(lambda: watch(cluster, timeout=0.3, limit=2, entries=5))
    assert skipped == 3
    assert len(samples) == 4


def test_a_node_that_does_not_answer_is_named_in_the_failure(cluster):
    silent = Node("gone-0", f"http://127.0.0.1:{free_port()}", "moon")
    samples, _ = in_thread(lambda: watch([*cluster[:1], silent], timeout=0.3, limit=1, entries=1))
    assert "gone-0 does not answer" in samples[0].error


def watch(nodes, *, timeout, limit, entries):
    """Await entries that do not exist."""
    samples = []
    known = [node if node.name == "gone-0" else meet(node) for node in nodes]
    watching = Replication(known, samples.append, limit=limit, timeout=timeout)
    try:
        for turn in range(entries):
            watching.watch(f"bafy{turn}", known[0], started=time.time(), size=1)
        watching.drain()
    finally:
        watching.close()
    return samples, watching.skipped


def in_thread(work):
    """Run gevent code in a thread of its own: its event loop ends with the thread, and trio's tests never meet it."""
    results = []

    def run():
        try:
            results.append(work())
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert results, "the work ended with an error"
    return results[0]


def until(look, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)
