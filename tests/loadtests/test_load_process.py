"""Children never outlive their parent, however it ends."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from loadtests.process import PORTS, child, free_port, stop, tail

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]
PARENT = """
import pathlib, sys, time
from loadtests.process import child
with child([sys.executable, "-c", "import time; time.sleep(600)"], log=pathlib.Path(sys.argv[1])) as process:
    print(process.pid, flush=True)
    time.sleep(600)
"""


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_child_is_gone_after_its_block(tmp_path):
    with child(SLEEP, log=tmp_path / "log") as process:
        assert process.poll() is None
    assert process.returncode == -signal.SIGTERM


def test_a_child_is_gone_after_an_exception(tmp_path):
    with pytest.raises(KeyboardInterrupt), child(SLEEP, log=tmp_path / "log") as process:
        raise KeyboardInterrupt
    assert process.returncode == -signal.SIGTERM


def test_a_child_that_will_not_end_is_killed(tmp_path):
    log = tmp_path / "log"
    with child(STUBBORN, log=log) as process:
        until(lambda: b"up" in log.read_bytes())
        assert stop(process, seconds=0.1) == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_ends_with_its_parent(tmp_path, number):
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        pid = int(parent.stdout.readline())
        assert os.getsid(pid) == pid, (
            "it leads a session of its own: Ctrl-C at the terminal does not reach it"
        )
        parent.send_signal(number)
        until(lambda: gone(pid))


def test_a_free_port_is_below_those_of_outgoing_connections():
    assert free_port() in PORTS


def test_the_tail_of_a_log_is_its_last_words(tmp_path):
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number}" for number in range(10_000)))
    assert tail(log, 2) == "line 9998\nline 9999"
    assert tail(tmp_path / "missing") == "(no output)"
