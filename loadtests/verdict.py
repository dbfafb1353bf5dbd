"""The report of a run, drawn in a process of its own, and whether it says that the run has passed."""

import json
import logging
import subprocess
import sys
from pathlib import Path

log = logging.getLogger("loadtests")

# 2,000,000 samples are drawn in about two minutes.
REPORT_SECONDS = 600
SUMMARY_FILE = "summary.json"


def draw(directory: Path) -> bool:
    """Draw the report of the results in a directory. Returns whether the run has passed: no report, not passed."""
    # matplotlib in a process of its own: it knows nothing of gevent, and locust's memory stays small.
    (directory / SUMMARY_FILE).unlink(missing_ok=True)  # an older one must not speak for this run
    try:
        done = subprocess.run(
            [sys.executable, "-m", "loadtests.report", str(directory)],
            capture_output=True,
            text=True,
            timeout=REPORT_SECONDS,
            check=False,
        )
    except subprocess.SubprocessError as error:
        log.error("the report: %s", error)
        return False
    if done.stdout:
        log.info(done.stdout.strip())
    if done.stderr:
        log.error("the report: %s", done.stderr.strip())
    try:
        return json.loads((directory / SUMMARY_FILE).read_text(encoding="utf-8"))["passed"] is True
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.error("the report has no verdict: %s", error)
        return False
