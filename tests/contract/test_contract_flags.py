"""Flags and environment as a user types them, and what a node says that cannot start."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest
from contract_nodes import Node, Nodes, clean_environment, free_port, run_peersdb

pytestmark = pytest.mark.processes


def one_line(result: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line on stderr of a program that could not start."""
    assert (result.returncode, result.stdout) == (status, "")
    (line,) = [
        line for line in result.stderr.splitlines() if not line.startswith("20")
    ]  # logs begin with the year
    assert line.startswith("peersdb: ")
    return line


def test_help_and_version_are_printed_and_end_well() -> None:
    shown = run_peersdb("-help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "-full-replica" in shown.stdout
    version = run_peersdb("--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout.startswith("peersdb 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-full-replicas"], "unknown flag '-full-replicas'; did you mean -full-replica?"),
        (["-http-port", "http"], "flag -http-port: 'http' is not a number"),
    ],
)
def test_a_wrong_flag_is_one_line_and_status_2(arguments: list[str], words: str) -> None:
    assert words in one_line(run_peersdb(*arguments), 2)


def test_a_store_of_another_form_is_one_line_and_status_2(nodes: Nodes) -> None:
    nodes.folder.mkdir(exist_ok=True)
    result = run_peersdb("-http", "-store", "/orbitdb/nonsense", "-repo", str(nodes.folder / "repo"))
    assert "flag -store: " in one_line(result, 2)


def test_the_command_line_of_the_originals_readme_starts_a_node(nodes: Nodes) -> None:
    http, ipfs = free_port(), free_port()
    folder = nodes.folder
    command = f"-http -benchmark -http-port {http} -ipfs-port {ipfs} -repo peersdb1 -root=true -devlogs"
    with (folder / "peersdb1.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "peersdb", *command.split()],
            cwd=folder,
            env=clean_environment(HOME=str(folder)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    node = Node(folder, "peersdb1", http_port=http, ipfs_port=ipfs, process=process)
    nodes.all.append(node)
    node.wait_ready()
    node.post(b"by the readme")
    (path,) = node.paths()
    answer = node.command("get", path)
    target = folder / "Downloads" / path.removeprefix("/ipfs/")
    assert answer.json == f"stored {path} successfully under {target}"
    assert target.read_bytes() == b"by the readme"
    assert "[debug    ] settings" in node.log(60_000)


def test_the_originals_container_is_told_by_its_environment(nodes: Nodes) -> None:
    """ROOT, ROOTIP and REGION beside the fixed flags; both styles of flags; PEERSDB_ variables."""
    root = nodes.start("root", "--benchmark", ROOT="true", REGION="asia-east2-a").wait_ready()
    peer = nodes.make(
        "peer", "--benchmark=true", "--full-replica", PEERSDB_REGION="us", PEERSDB_LOG_FORMAT="json"
    )
    peer.env["ROOTIP"] = f"127.0.0.1:{root.http_port}"
    peer.start().wait_ready()
    status = peer.status()
    assert (status["region"], status["root"], status["fullReplica"]) == ("us", False, True)
    assert [seen["region"] for seen in status["peers"]] == ["asia-east2-a"]
    assert root.status()["root"] is True
    assert all(json.loads(line)["event"] for line in peer.log(60_000).splitlines())


def test_a_second_node_on_a_repo_is_refused_and_the_first_lives_on(nodes: Nodes) -> None:
    first = nodes.start("root", "-root").wait_ready()
    second = run_peersdb("-repo", str(first.repo), "-ipfs-port", "0")
    assert first.process is not None
    assert f"another node (process {first.process.pid}) runs on {first.repo}" in one_line(second, 1)

    for flags, name in (
        (["-http", "-http-port", str(first.http_port), "-ipfs-port", "0"], "-http-port"),
        (["-ipfs-port", str(first.ipfs_port)], "-ipfs-port"),
    ):
        result = run_peersdb("-repo", str(nodes.folder / "other"), *flags)
        line = one_line(result, 1)
        assert line.endswith(f"choose another with {name}")
        assert "Address already in use" in line
    first.post(b"still here")


def test_a_repo_that_cannot_be_made_is_one_line(nodes: Nodes) -> None:
    nodes.folder.mkdir(exist_ok=True)
    (nodes.folder / "file").write_text("in the way")
    assert "file/repo" in one_line(run_peersdb("-repo", str(nodes.folder / "file" / "repo")), 1)


def test_http_answers_on_this_machine_alone_unless_told_otherwise(nodes: Nodes) -> None:
    node = nodes.start("root", "-root").wait_ready()
    others = {item[4][0] for item in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {
        "127.0.0.1"
    }
    for host in others:
        for port in (node.http_port, node.ipfs_port):
            with pytest.raises(OSError):
                socket.create_connection((host, port), timeout=2).close()
    assert (node.repo / "identity.key").stat().st_mode & 0o777 == 0o600
