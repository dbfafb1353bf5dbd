"""Every command of README.md and CONTRIBUTING.md is run as it is written there.

The commands use the default ports, so they run in a network of their own where the system allows it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
#: Blocks that are the whole of another test or of CI.
RUN_ELSEWHERE = {"make demo", "make test"}

pytestmark = pytest.mark.processes


def blocks(name: str) -> list[str]:
    return [found.strip() for found in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)]


def with_word(name: str, word: str) -> str:
    (found,) = [block for block in blocks(name) if word in block]
    return found


@pytest.fixture
def shell(tmp_path):
    """Runs a script in the documents' place: the clone, with .venv active, a home and a network of its own."""
    isolated = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    alone = (
        shutil.which("unshare")
        and not subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode
    )
    work = tmp_path / "clone"
    work.mkdir()
    for name in ("README.md", "deploy", "crds"):
        (work / name).symlink_to(ROOT / name)
    (work / ".venv").symlink_to(BIN.parent)
    environment = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }

    def run(script: str, timeout: float = 60) -> str:
        # Whatever the script started ends with it.
        guarded = f"set -eu\n{script}\n"
        process = subprocess.Popen(
            [*(isolated if alone else []), "bash", "-c", guarded],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            with_group(process.pid, signal.SIGTERM)
        assert process.returncode == 0, f"{script}\n{out}\n{err}"
        return out

    return run


def with_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


WAIT = "for i in $(seq 200); do curl -sf localhost:{port}/readyz >/dev/null && break; sleep 0.1; done"


def test_a_cluster_of_your_own(shell):
    out = shell(
        with_word("README.md", "local up")
        + "\npeersdb-operator local scale europe-west3=3\npeersdb-operator local status -o json\n"
        + "peersdb-operator local down >/dev/null\n"
    )
    status = json.loads(out[out.index("\n{") :])["status"]
    regions = {region["name"]: region["readyReplicas"] for region in status["regions"]}
    assert regions == {"europe-west3": 3, "us-central1": 1, "asia-east2": 1}


def test_nodes_by_hand(shell):
    root, peer = with_word("README.md", "-root -http -shell").splitlines()
    post, query = with_word("README.md", '"cmd":"post"').splitlines()
    client_post, client_query = with_word("README.md", "peersdb post README.md").splitlines()
    out = shell(
        "mkfifo typed; exec 3<>typed\n"
        f"{root} <typed & A=$!\n{WAIT.format(port=8080)}\n{peer} & B=$!\n{WAIT.format(port=8081)}\n"
        f"{client_post}\nfor i in $(seq 50); do {client_query} | grep -q ipfs && break; sleep 0.1; done\n"
        f"{client_query}\n{post}\n"
        f"for i in $(seq 50); do {query} | grep -q '}},{{' && break; sleep 0.1; done\n{query}\nkill $A $B\n"
    )
    path, listed, posted = out.splitlines()
    assert path.startswith("/ipfs/bafk")
    assert listed.split("\t")[0] == path
    assert listed.endswith("README.md\tunknown")
    answer, rows = posted.split("[", 1)
    assert answer == '"File uploaded"'
    assert [row["path"] for row in json.loads("[" + rows)] == [path, path]


def test_debugging_with_debugpy(shell):
    command = with_word("CONTRIBUTING.md", "debugpy")
    listens = "(: </dev/tcp/127.0.0.1/5678) 2>/dev/null"
    shell(
        f"{command} & A=$!\nfor i in $(seq 100); do {listens} && break; sleep 0.1; done\n{listens}\nkill -9 $A"
    )


def test_no_command_of_the_documents_is_left_out():
    run_here = ["peersdb post", "local up", "-root -http -shell", '"cmd":"post"', "-m debugpy"]
    for name in ("README.md", "CONTRIBUTING.md"):
        for block in blocks(name):
            if block.startswith(("kubectl ", "printf ")) and "kubectl" in block:
                continue  # tests/e2e/test_e2e_readme.py runs them on a cluster
            assert block in RUN_ELSEWHERE or any(word in block for word in run_here), (
                f"{name}: not run:\n{block}"
            )
