"""The half of the load tests that others use stays free of gevent, and all of it free of what it measures."""

import subprocess
import sys

PLAIN = [
    *("statistics", "samples", "targets", "cid", "workload", "benchmarks", "process", "options", "schedule"),
    *("results", "environment", "report.data", "report.summary", "report.plots", "report.page"),
    *("report.__main__", "arguments", "segments", "faults", "verdict"),
]
CHECK = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"loadtests.{name}")
print(*sorted({"gevent", "locust", "trio", "peersdb", "peersdb_operator"} & set(sys.modules)))
"""


def loaded(*names):
    done = subprocess.run(
        [sys.executable, "-c", CHECK, *names], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_the_plain_half_loads_neither_gevent_nor_locust():
    assert loaded(*PLAIN) == set()


def test_watching_is_free_of_locust():
    modules = (
        "replication",
        "feed",
        "clocks",
        "sampler",
        "quiet",
        "newcomer",
        "waves",
        "gather",
        "board",
        "evaluating",
        "control",
    )
    assert loaded(*modules) == {"gevent"}


def test_nothing_loads_the_node_or_the_operator():
    assert loaded("locustfile") == {"gevent", "locust"}
