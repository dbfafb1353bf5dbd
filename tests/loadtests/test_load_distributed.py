"""A master and a worker for each region, as the operator starts them: told by the control API, honest about losses."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from loadtests.process import child, free_port, tail
from loadtests.samples import read_samples

pytestmark = [pytest.mark.processes, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
RUN_SECONDS = 100.0
TOKEN = "-".join(["c0ntrol"] * 3)


class Distributed:
    """One run of several processes."""

    def __init__(self, stack, place, nodes, *arguments, workers, expected=None):
        self.place, self.report = place, place / "report"
        self.control, port = free_port(), free_port()
        (place / "token").write_text(TOKEN + "\n")
        members = [
            {
                "name": node.name,
                "http": node.url,
                "region": node.region,
                "role": "root" if node.root else "peer",
            }
            for node in nodes
        ]
        (place / "targets.json").write_text(json.dumps({"members": members}))
        common = [sys.executable, "-m", "loadtests", "--headless", "--only-summary"]
        common += ["--targets", str(place / "targets.json"), *map(str, arguments)]
        master = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
        master += ["--expect-workers", str(expected or len(workers)), "--report", str(self.report)]
        master += ["--control", f"127.0.0.1:{self.control}", "--control-token-file", str(place / "token")]
        self.master = stack.enter_context(child([*common, *master], log=place / "master.log", cwd=ROOT))
        self.workers = {}
        for region in workers:
            worker = [
                "--worker",
                "--master-host",
                "127.0.0.1",
                "--master-port",
                str(port),
                "--region",
                region,
            ]
            log = place / f"worker-{region}.log"
            self.workers[region] = stack.enter_context(child([*common, *worker], log=log, cwd=ROOT))

    def ask(self, method, path, body=None):
        request = urllib.request.Request(  # http only
            f"http://127.0.0.1:{self.control}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return response.read()

    def progress(self):
        return json.loads(self.ask("GET", "/v1/progress"))

    def until(self, what):
        """Wait until the progress is as asked for."""
        deadline, found = time.monotonic() + RUN_SECONDS, None
        while time.monotonic() < deadline:
            assert self.master.poll() is None, tail(self.place / "master.log", 30)
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                found = self.progress()
                if what(found):
                    return found
            time.sleep(0.1)
        raise AssertionError(f"not in time: {found}; {tail(self.place / 'master.log', 30)}")

    def collect(self):
        """Wait for the end, take the results; gives the last progress and the master's exit code."""
        found = self.until(lambda now: now["state"] == "done")
        files = json.loads(self.ask("GET", "/v1/results/"))["files"]
        for name, size in files.items():
            assert len(self.ask("GET", f"/v1/results/{name}")) == size
        assert {"samples.csv", "nodes.csv", "run.json", "summary.json", "report.html"} <= set(files)
        self.ask("POST", "/v1/collected", {})
        return found, self.master.wait(30)

    def samples(self, kind):
        return [one for one in read_samples(self.report / "samples.csv") if one.kind == kind]

    def run(self):
        return json.loads((self.report / "run.json").read_text())


@pytest.fixture
def distributed(tmp_path, cluster):
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, nodes=cluster, **how: Distributed(stack, tmp_path, nodes, *arguments, **how)


def test_what_one_worker_posts_another_sees_in_every_part_of_the_run(distributed):
    run = distributed(
        *("--profile", "contribution", "-u", 6, "-r", 6, "-t", "3s", "--warmup", 1, "--rate", 4),
        *("--matrix", '{"regions": [2, 3], "payloadSizes": ["1Ki"]}'),
        *("--thresholds", '[{"metric": "errors.ratio", "max": "0"}]'),
        workers=("eu", "us", "asia"),
    )
    progress, code = run.collect()
    assert (progress["passed"], code, progress["problems"]) == (True, 0, [])
    assert progress["replication"]["count"] == len(run.samples("replication")) > 0
    posts = run.samples("post")
    for segment, regions in ((0, {"eu", "us"}), (1, {"eu", "us", "asia"})):
        own = [one for one in posts if one.segment == segment]
        assert {one.source_region for one in own} == regions
        assert {one.bytes for one in own} == {1024}
        seen = [one for one in run.samples("replication") if one.segment == segment]
        assert len(seen) == len(own) * (len(regions) - 1), "each post, on each other node, once"
        assert {one.target_region for one in seen} == regions
    told = run.run()
    assert [one["cell"]["regions"] for one in told["segments"]] == [2, 3]
    for one in told["segments"]:
        assert one["began"] + 1 <= one["warm_until"] < one["ended"]
    assert told["thresholds"] == [{"metric": "errors.ratio", "max": "0"}]
    assert set(told["clocks"]) == {"eu-0", "us-0", "asia-0"}
    assert all(abs(one["offset"]) <= one["error"] + 0.001 for one in told["clocks"].values()), (
        "it is one clock"
    )


@pytest.fixture
def folders(tmp_path):
    """A data set of two folders."""
    for name in ("grep", "sort"):
        (tmp_path / "c3o" / name).mkdir(parents=True)
        (tmp_path / "c3o" / name / "runs.tsv").write_text("machines\tseconds\n2\t150\n" * 200)
    return tmp_path / "c3o"


def test_of_all_workers_one_posts_the_evaluation_on_a_node_of_its_own(distributed, folders):
    run = distributed(
        *("--profile", "evaluation", "--dataset", folders, "--repeats", 2), workers=("asia", "eu", "us")
    )
    progress, code = run.collect()
    assert (progress["passed"], code, progress["problems"]) == (True, 0, [])
    posts = run.samples("post")
    assert [one.segment for one in posts] == 3 * [0] + 3 * [1], (
        "the whole and each folder, in each repeat once"
    )
    assert {one.source for one in posts} == {"us-0"}, "the first node that is no root"
    seen = run.samples("replication")
    assert len(seen) == len(posts) * 2, "the workers of the other nodes saw each there"
    assert all(one.ok for one in seen)


def test_an_evaluation_that_no_worker_can_post_ends_and_says_so(distributed, folders):
    run = distributed(
        *("--profile", "evaluation", "--dataset", folders, "--worker-timeout", 2),
        workers=("asia", "eu"),
        expected=3,
    )
    progress, code = run.collect()
    assert (progress["passed"], code) == (False, 1)
    assert any("no worker drives the node" in one for one in progress["problems"])
    assert run.samples("post") == []


def test_a_worker_that_is_killed_or_never_came_is_a_problem_and_what_it_watched_has_failed(distributed):
    run = distributed(
        *("--profile", "steady", "-u", 6, "-r", 6, "-t", "12s", "--replication-timeout", 2),
        *("--worker-timeout", 8),
        workers=("eu", "us"),
        expected=3,
    )
    run.until(lambda now: now["state"] == "running" and now["requests"] > 5)
    run.workers["us"].kill()
    progress, code = run.collect()
    assert (progress["passed"], code) == (False, 1)
    assert any("1 of 3 workers did not come" in one for one in progress["problems"])
    assert any("was lost" in one for one in progress["problems"])
    failed = {one.target for one in run.samples("replication") if not one.ok}
    assert failed >= {"us-0", "asia-0"}, "nobody watches them"
    assert [one for one in run.samples("post") if one.ok and one.source == "eu-0"], "the other went on"


def test_without_any_worker_there_is_a_report_that_says_so(distributed):
    run = distributed("--profile", "steady", "-t", "5s", "--worker-timeout", 0.5, workers=(), expected=2)
    progress, code = run.collect()
    assert (progress["passed"], code) == (False, 1)
    assert any("2 of 2 workers did not come" in one for one in progress["problems"])


def test_a_node_that_is_dead_at_the_start_is_a_problem_and_its_figures_fail(distributed, cluster):
    from dataclasses import replace

    dead = replace(cluster[2], url=f"http://127.0.0.1:{free_port()}")
    run = distributed(
        *("--profile", "contribution", "-u", 3, "-r", 3, "-t", "4s", "--replication-timeout", 2),
        nodes=[*cluster[:2], dead],
        workers=("eu,us,asia",),
    )
    progress, code = run.collect()
    assert (progress["passed"], code) == (False, 1)
    assert any(one.startswith("at the start: asia-0 does not answer") for one in progress["problems"])
    assert {one.target for one in run.samples("replication") if not one.ok} == {"asia-0"}
    assert {one.source for one in run.samples("post") if not one.ok} == {"asia-0"}
    assert [one for one in run.samples("replication") if one.ok]


def test_waves_are_asked_for_and_every_newcomer_is_timed(distributed, cluster, tmp_path):
    run = distributed(
        *("--profile", "bootstrap", "-u", 2, "-r", 2, "-t", "2s", "--waves", 2, "--join-timeout", 40),
        workers=("eu,us,asia",),
    )
    with contextlib.ExitStack() as stack:
        for wave in (1, 2):
            run.until(lambda now, wave=wave: now["wants"] == {"wave": wave})
            port = free_port()
            member = {
                "name": f"new-{wave}",
                "http": f"http://127.0.0.1:{port}",
                "region": "us",
                "role": "peer",
            }
            event = {"kind": "wave", "at": time.time(), "wave": wave, "region": "us", "members": [member]}
            run.ask("POST", "/v1/events", event)
            place = tmp_path / f"new-{wave}"
            (place / "downloads").mkdir(parents=True)
            command = [sys.executable, "-m", "peersdb", "-http", "-http-port", str(port), "-region", "us"]
            command += ["-ipfs-port", str(free_port()), "-repo", str(place / "repo")]
            command += ["-download-dir", f"{place / 'downloads'}/"]
            command += ["-bootstrap", cluster[0].url.removeprefix("http://")]
            stack.enter_context(child(command, log=place / "log", cwd=place))
        progress, code = run.collect()
    assert (progress["passed"], code, progress["problems"]) == (True, 0, [])
    joins = run.samples("join")
    assert [one.target for one in joins] == ["new-1", "new-2"]
    assert all(one.ok and 0 < one.seconds < 40 for one in joins)
    assert [one["wave"] for one in run.run()["events"]] == [1, 2]
    assert "new-2" in {node["name"] for node in run.run()["nodes"]}


def test_a_token_opens_the_nodes_and_is_written_nowhere(tmp_path):
    secret = "-".join(["n0de"] * 5)
    (tmp_path / "api-token").write_text(secret + "\n")
    port = free_port()
    (tmp_path / "downloads").mkdir()
    command = [sys.executable, "-m", "peersdb", "-http", "-root", "-benchmark", "-http-port", str(port)]
    command += ["-ipfs-port", str(free_port()), "-repo", str(tmp_path / "repo")]
    command += ["-download-dir", f"{tmp_path}/downloads/", "-api-token-file", str(tmp_path / "api-token")]
    with child(command, log=tmp_path / "log", cwd=tmp_path):
        health = f"http://127.0.0.1:{port}/readyz"
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline, tail(tmp_path / "log")
            with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=5):
                break
            time.sleep(0.05)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "loadtests", "--headless", "--only-summary", "--loglevel", "DEBUG"),
                *("--nodes", f"http://127.0.0.1:{port}=eu", "--api-token-file", str(tmp_path / "api-token")),
                *("--newcomers", "0", "-u", "7", "-r", "7", "-t", "2s", "--report", str(tmp_path / "report")),
            ],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
            cwd=ROOT,
            env=dict(os.environ),
        )
    assert done.returncode == 0, done.stderr
    assert secret not in done.stdout + done.stderr
    for path in (tmp_path / "report").iterdir():
        assert secret.encode() not in path.read_bytes(), path
