"""Who a process is, and its end: with real processes."""

import os
import subprocess
import sys

import pytest
from operator_cluster import until

from peersdb_operator.local import process

pytestmark = pytest.mark.processes

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


@pytest.fixture
def child(tmp_path):
    started = []

    def start(code):
        found = process.start([sys.executable, "-S", "-E", "-c", code], tmp_path / "log", tmp_path)
        started.append(found)
        return found, process.identify(found.pid)

    yield start
    for found in started:
        if found.poll() is None:
            found.kill()
        found.wait()


def test_a_process_that_ended_is_not_alive_though_not_yet_reaped(child):
    popen, identity = child("pass")
    until(lambda: not identity.alive(), "it ended")
    assert popen.returncode is None


def test_another_process_of_the_same_id_is_not_the_same(child):
    _, identity = child("import time; time.sleep(60)")
    assert identity.alive()
    assert not process.ProcessId(identity.pid, identity.start + "0").alive()


def test_nothing_is_signalled_that_is_not_the_process(child):
    popen, identity = child("import time; time.sleep(60)")
    assert process.end([process.ProcessId(identity.pid, "another start")], grace=5) == []
    assert popen.poll() is None


def test_sigterm_is_enough_for_one_that_listens(child):
    popen, identity = child("import time; time.sleep(60)")
    assert process.end([identity], grace=5) == []
    assert popen.wait() == -15


def test_one_that_ignores_sigterm_is_killed_after_the_grace(child, tmp_path):
    popen, identity = child(STUBBORN)
    until((tmp_path / "log").read_text, "it ignores SIGTERM by now")
    assert process.end([identity], grace=0.3) == [identity]
    assert popen.wait() == -9


def test_a_started_process_has_a_session_of_its_own_and_none_of_the_nodes_settings(
    child, tmp_path, monkeypatch
):
    monkeypatch.setenv("PEERSDB_STORE", "/orbitdb/other")
    popen, _ = child("import os; print(os.environ.get('PEERSDB_STORE'), os.getsid(0) == os.getpid())")
    assert popen.wait() == 0
    assert (tmp_path / "log").read_text() == "None True\n"


def test_a_process_is_found_by_the_repo_it_was_started_on(tmp_path):
    repo = tmp_path / "repo"
    command = [sys.executable, "-S", "-E", "-c", "import time; time.sleep(60)", "-repo", str(repo)]
    popen = process.start(command, tmp_path / "log", tmp_path)
    try:
        until(lambda: process.holding([repo]), "its command line is to be seen")
        found, line = process.holding([repo, tmp_path])[repo]
        assert (found.pid, list(line)) == (popen.pid, command)
    finally:
        popen.kill()
        popen.wait()


def test_there_is_nothing_to_say_of_an_id_that_nobody_has():
    done = subprocess.Popen(["true"])
    done.wait()
    assert process.identify(done.pid) is None
    assert process.identify(os.getpid()).alive()
