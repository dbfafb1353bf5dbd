"""Every command of README.md and CONTRIBUTING.md is run as it is written there."""

import json

import contract_documents
import pytest
from contract_documents import ROOT, blocks, with_word

#: Blocks that are the whole of another test or of CI.
RUN_ELSEWHERE = {"make demo", "make test"}

pytestmark = pytest.mark.processes


@pytest.fixture
def shell(tmp_path):
    """Runs a script in a clone of this repository."""
    work = tmp_path / "clone"
    work.mkdir()
    for name in ("README.md", "deploy", "crds"):
        (work / name).symlink_to(ROOT / name)
    return contract_documents.shell(work, tmp_path)


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
