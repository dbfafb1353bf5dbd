"""A private network of real nodes: members work together, strangers stay outside and are told why."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
from pathlib import Path

import pytest
from contract_nodes import Node, Nodes, eventually, run_peersdb
from test_contract_flags import one_line

pytestmark = pytest.mark.processes

PAGE = (Path(__file__).parents[2] / "docs" / "private.md").read_text()
KEY, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4


def key_file(folder: Path, name: str, text: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


@pytest.fixture
def members(nodes: Nodes) -> list[Node]:
    """A root and a peer with one key: in IPFS's format by the flag, and bare by the environment."""
    ipfs = key_file(nodes.folder, "swarm.key", f"/key/swarm/psk/1.0.0/\n/base16/\n{KEY}\n")
    bare = key_file(nodes.folder, "bare.key", KEY)
    root = nodes.start("root", "-root", "-swarm-key-file", ipfs).wait_answering()
    peer = nodes.start("peer", "-bootstrap", f"127.0.0.1:{root.http_port}", PEERSDB_SWARM_KEY_FILE=bare)
    return [root.wait_ready(), peer.wait_ready()]


def test_members_share_and_strangers_stay_outside(nodes: Nodes, members: list[Node]) -> None:
    root, peer = members
    root.post(content := os.urandom(300_000))
    (path,) = eventually(peer.paths, "replication")
    assert peer.get(path) == content
    assert peer.status()["swarmKey"] == root.status()["swarmKey"] != KEY

    other = key_file(nodes.folder, "other.key", OTHER)
    bootstrap = ("-bootstrap", f"127.0.0.1:{root.http_port}")
    strangers = [nodes.start("open", *bootstrap), nodes.start("other", *bootstrap, "-swarm-key-file", other)]
    words = ["a member of a private network (-swarm-key-file)", "another swarm key than this node"]
    for stranger, said in zip(strangers, words, strict=True):
        stranger.wait_answering()
        eventually(stranger.log, "the reason in its log", until=lambda log, said=said: said in log)
        assert "bootstrap peer not reached" in stranger.log()
        answer = stranger.command("connect", root.multiaddr)
        assert (answer.status, answer.json["code"]) == (502, "peer_unreachable")
        assert said in answer.json["error"]
        answer = root.command("connect", stranger.multiaddr)
        assert (answer.status, answer.json["code"]) == (502, "peer_unreachable")
        assert "swarm key" in answer.json["error"]
        assert stranger.status()["peers"] == []
        assert stranger.get_url("/readyz").status == 503
    assert strangers[0].status()["swarmKey"] is None
    assert strangers[1].status()["swarmKey"] != root.status()["swarmKey"]
    assert [one["peerId"] for one in root.status()["peers"]] == [peer.status()["peerId"]]
    assert "a connection was refused" in root.log(60_000)


def test_garbage_and_silence_on_the_port_leave_the_members_together(members: list[Node]) -> None:
    root, peer = members
    silent = [socket.create_connection(("127.0.0.1", root.ipfs_port)) for _ in range(20)]
    for garbage in (
        b"GET / HTTP/1.1\r\nHost: root\r\n\r\n",
        os.urandom(100_000),
        b"\x13/multistream/1.0.0\n",
    ):
        with socket.create_connection(("127.0.0.1", root.ipfs_port)) as stranger:
            stranger.sendall(garbage)
            stranger.settimeout(5)
            try:
                while stranger.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    root.post(b"still here")
    assert len(eventually(peer.paths, "replication")) == 1
    peer.stop()
    peer.start().wait_ready()
    assert eventually(lambda: peer.status()["peers"], "the peer is back")
    for stranger in silent:
        stranger.close()
    assert root.log(60_000).count("a connection was refused") <= 2


def test_the_key_is_in_no_log_and_no_answer(nodes: Nodes) -> None:
    file = key_file(nodes.folder, "swarm.key", KEY)
    node = nodes.start("root", "-root", "-devlogs", "-swarm-key-file", file).wait_ready()
    assert node.status()["swarmKey"] in node.log(1_000_000)
    assert KEY not in node.log(1_000_000) + node.get_url("/peersdb/status").body.decode()


@pytest.mark.parametrize(
    "text", ["", "not a key\n", KEY[:-1], None], ids=["empty", "words", "short", "missing"]
)
def test_a_bad_key_file_is_one_line_and_status_2(tmp_path: Path, text: str | None) -> None:
    path = str(tmp_path / "nothing") if text is None else key_file(tmp_path, "bad.key", text)
    line = one_line(run_peersdb("-swarm-key-file", path, "-repo", str(tmp_path / "repo")), 2)
    assert line.startswith(f"peersdb: flag -swarm-key-file: {'cannot read ' if text is None else ''}{path}")
    assert not (tmp_path / "repo").exists()


def test_the_commands_of_the_page_make_a_private_network(nodes: Nodes) -> None:
    make, start = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    nodes.folder.mkdir(exist_ok=True)
    subprocess.run(["sh", "-eu", "-c", make], cwd=nodes.folder, check=True)
    assert (nodes.folder / "swarm.key").stat().st_mode & 0o777 == 0o600
    shown = [shlex.split(line) for line in start.splitlines()]
    assert all(words[-2:] == ["-swarm-key-file", "swarm.key"] for words in shown)
    root = nodes.start("root", "-root", *shown[0][-2:]).wait_ready()
    peer = nodes.start("peer", "-bootstrap", f"127.0.0.1:{root.http_port}", *shown[1][-2:]).wait_ready()
    assert len(peer.status()["swarmKey"]) == 32
    for node in (root, peer):
        assert "not kept secret" not in node.log()
