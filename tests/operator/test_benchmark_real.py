"""A benchmark with nothing in anybody's place: two regions of real nodes, the real load test, its report."""

import csv
import json
import subprocess
import sys

import pytest
import yaml
from operator_cluster import Local, end, manifest, measure

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def test_contribution_on_two_regions_ends_with_a_report_of_what_was_replicated(tmp_path):
    local = Local(tmp_path, node_command=f"{sys.executable} -P -m peersdb")
    file, out = tmp_path / "bench.yaml", tmp_path / "out"
    limits = [{"metric": "replication.p99", "max": "30s"}]
    spec = {"runTime": "4s", "warmup": "1s", "users": 2, "payloadSize": "4Ki", "thresholds": limits}
    file.write_text(yaml.safe_dump(measure(**spec)))
    try:
        local.up(manifest(benchmark={"enabled": True}))
        argv = [
            sys.executable,
            "-m",
            "peersdb_operator",
            "benchmark",
            "run",
            "-f",
            str(file),
            "--out",
            str(out),
        ]
        argv += ["--dir", str(local.directory)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        end(local)
    assert "measure: passed" in done.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["passed"]
    with (out / "samples.csv").open(newline="") as lines:
        kinds = {row["kind"] for row in csv.DictReader(lines)}
    assert {"post", "replication"} <= kinds
    assert (out / "report.html").stat().st_size > 10_000
