"""Acknowledged means durable: the disk was told to sync between the request and its answer.

Read off the system calls. The same look at a node whose database does not sync finds nothing: the test can fail.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from contract_nodes import Nodes, clean_environment, eventually

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see the system calls"),
]

#: A node whose SQLite never syncs, whatever it is told.
UNSAFE = """
import runpy, sqlite3
class Careless(sqlite3.Connection):
    def execute(self, sql, *args):
        return super().execute(sql.replace("synchronous=FULL", "synchronous=OFF"), *args)
connect = sqlite3.connect
sqlite3.connect = lambda *args, **kwargs: connect(*args, **kwargs, factory=Careless)
runpy.run_module("peersdb", run_name="__main__")
"""


def calls_during_post(nodes: Nodes, tmp_path: Path, content: bytes, *, safe: bool) -> list[str]:
    """The system calls of a root from a post's request to its answer, in order."""
    node = nodes.make("traced", "-root=true")
    launcher = ["-m", "peersdb"] if safe else ["-c", UNSAFE]
    node.folder.mkdir(parents=True, exist_ok=True)
    with node.log_file.open("ab") as log:
        node.process = subprocess.Popen(
            [sys.executable, *launcher, *node.arguments], stdout=log, stderr=log, env=clean_environment()
        )
    node.wait_ready()
    node.post(b"the first post makes files of its own")
    trace = tmp_path / "trace"
    tracer = subprocess.Popen(
        [
            *("strace", "-f", "-y", "-s", "40", "-o", str(trace), "-p", str(node.process.pid), "-e"),
            "trace=recvfrom,recvmsg,read,sendto,sendmsg,write,writev,fsync,fdatasync,rename,renameat,renameat2",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert tracer.stderr is not None
        attached = tracer.stderr.readline()
        assert "attached" in attached, attached
        time.sleep(0.2)  # the other threads are attached one by one, without a word
        node.post(content)
        eventually(lambda: "HTTP/1.1 200 OK" in trace.read_text(errors="replace"), "the answer in the trace")
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        tracer.stderr.close()
    lines = trace.read_text(errors="replace").splitlines()
    first = next(i for i, line in enumerate(lines) if "POST /peersdb/command" in line)
    last = next(i for i, line in enumerate(lines) if i > first and "HTTP/1.1 200 OK" in line)
    return lines[first:last]


def synced(calls: list[str], pattern: str) -> list[str]:
    """The files matching ``pattern`` that were synced, finished before the answer."""
    # A call that another thread interrupts in the trace is finished in a "<... resumed>" line of its own.
    return [
        found[1]
        for line in calls
        if (found := re.search(rf"\b(?:fsync|fdatasync)\(\d+<([^>]*{pattern})>", line))
    ]


def test_a_small_post_syncs_the_log_before_its_answer(nodes, tmp_path):
    calls = calls_during_post(nodes, tmp_path, b"small " * 100, safe=True)
    assert synced(calls, r"peersdb\.sqlite-wal"), calls


def test_a_large_post_syncs_its_file_its_directory_and_the_log_before_its_answer(nodes, tmp_path):
    calls = calls_during_post(nodes, tmp_path, b"large " * 50_000, safe=True)
    (block,) = synced(calls, r"\.tmp")
    shard = Path(block).parent
    assert shard in {Path(found) for found in synced(calls, re.escape(str(shard)))}
    assert synced(calls, r"peersdb\.sqlite-wal")
    order = [
        next(i for i, line in enumerate(calls) if re.search(wanted, line))
        for wanted in (
            r"sync\(.*\.tmp",
            r"rename",
            rf"sync\(\d+<{re.escape(str(shard))}>",
            r"sync\(.*sqlite-wal",
        )
    ]
    assert order == sorted(order), calls


def test_a_node_that_does_not_sync_is_found_out(nodes, tmp_path):
    calls = calls_during_post(nodes, tmp_path, b"small " * 100, safe=False)
    assert not synced(calls, r"peersdb\.sqlite-wal")
