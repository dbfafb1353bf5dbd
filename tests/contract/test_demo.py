"""``make demo``, short: what a stranger runs first must work, say the truth, and leave nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
DEMO = [sys.executable, str(ROOT / "scripts" / "demo.py")]
DEMO_SECONDS = 150


def left_behind(directory):
    """Processes that have the demo's directory in their command line or as their working directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if process.pid != os.getpid() and any(str(directory) in word for word in words):
            found.append(words)
    return found


@pytest.mark.slow
def test_the_demo_works_and_leaves_only_its_report(tmp_path):
    directory = tmp_path / "run"
    done = subprocess.run(
        [*DEMO, "--dir", str(directory), "--seconds", "6"],
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in (
        "peersdb-operator local up -f deploy/samples/quickstart.yaml",
        "locust -f loadtests/locustfile.py",
        "peersdb-operator local down",
        "seattle-weather.csv",
        "Replication, median / p99",
    ):
        assert shown in done.stdout
    assert len(re.findall(r"\bsame\b", done.stdout)) == 4
    assert "Newcomer 2" in done.stdout
    figures = json.loads((directory / "report" / "summary.json").read_text())
    assert figures["passed"] is True
    assert len(figures["newcomers"]) == 2
    assert (directory / "report" / "report.html").is_file()
    assert not left_behind(directory)


@pytest.mark.parametrize("moment", ["Starting", pytest.param("locust -f", marks=pytest.mark.slow)])
def test_ctrl_c_at_any_time_leaves_no_process(tmp_path, moment):
    directory = tmp_path / "run"
    with subprocess.Popen(
        [*DEMO, "--dir", str(directory), "--seconds", "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as demo:
        output = []
        for line in demo.stdout:
            output.append(line)
            if moment in line:
                demo.send_signal(signal.SIGINT)
                break
        output += demo.stdout
        assert demo.wait(60) == 130, "".join(output)
    until(lambda: not left_behind(directory), lambda: left_behind(directory))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--file", "nothing.yaml"], "there is no manifest"),
        (["--dir", "/proc/demo"], "cannot write to /proc/demo"),
    ],
)
def test_what_is_missing_is_said_in_one_line_before_anything_starts(tmp_path, arguments, message):
    done = subprocess.run(
        [*DEMO, "--dir", str(tmp_path), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert message in done.stdout
    assert "local up" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def until(look, describe, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.05)
