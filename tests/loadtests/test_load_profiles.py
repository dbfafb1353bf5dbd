"""Each profile against real nodes: its users, its shape, its samples."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.arguments import PROFILES
from loadtests.samples import read_samples

ROOT = Path(__file__).resolve().parents[2]
SHORT = ("--headless", "--only-summary", "-u", "6", "-r", "6", "--rate", "4")

TABLE = "import json, loadtests.locustfile, loadtests.profiles as p; print(json.dumps(list(p.PROFILES)))"


def test_every_profile_that_can_be_named_is_there():
    done = subprocess.run(
        [sys.executable, "-c", TABLE], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert tuple(json.loads(done.stdout)) == PROFILES


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "arguments", "kinds"),
    [
        ("burst", ("-t", "12s"), {"post", "query", "get", "replication"}),
        (
            "large-files",
            ("-t", "4s", "--payload-size", "3Mi", "--rate", "20"),
            {"post", "get", "replication"},
        ),
        ("soak", ("-t", "4s"), {"post", "query", "replication"}),
        ("bootstrap", ("-t", "2s", "--per-wave", "1"), {"post", "replication", "join"}),
    ],
)
def test_a_profile_does_what_it_says(cluster, tmp_path, profile, arguments, kinds):
    nodes = ",".join(node.url for node in cluster)
    command = [sys.executable, "-m", "loadtests", *SHORT, "--profile", profile, "--nodes", nodes, *arguments]
    done = subprocess.run(
        [*command, "--report", str(tmp_path / "report")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    samples = read_samples(tmp_path / "report" / "samples.csv")
    assert {sample.kind for sample in samples} >= kinds
    if profile == "burst":
        begin = min(sample.ts for sample in samples)
        requests = [sample.ts - begin for sample in samples if sample.kind in ("post", "query", "get")]
        assert sum(when > 10.5 for when in requests) < sum(when < 1.5 for when in requests)
    if profile == "large-files":
        assert {sample.bytes for sample in samples if sample.kind == "post"} == {3 << 20}
