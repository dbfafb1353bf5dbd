"""What this node's HTTP offers beyond the original's: files of any size, cursors, votes, metrics."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
from typing import Any

import psutil
import pytest
from contract_nodes import Node, Nodes, eventually

pytestmark = pytest.mark.processes

MIB = 1024 * 1024


def upload(node: Node, pieces: list[bytes], **headers: str) -> tuple[int, dict[str, object]]:
    """Sends a file in pieces, chunked."""
    answer = node.request("POST", "/peersdb/files?name=some.bin", iter(pieces), headers)  # type: ignore[arg-type]
    return answer.status, answer.json


def test_a_file_of_any_size_is_shared_at_flat_memory(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    peer = nodes.start("peer", "-bootstrap", f"127.0.0.1:{root.http_port}").wait_ready()
    assert root.process is not None
    process = psutil.Process(root.process.pid)
    before = process.memory_info().rss
    piece = os.urandom(MIB)
    pieces = [bytes([i]) + piece for i in range(160)]
    status, document = upload(root, pieces)
    assert (status, document["size"]) == (200, 160 * (MIB + 1))
    grown = process.memory_info().rss - before
    assert grown < 48 * MIB, f"{grown / MIB:.0f} MiB for a file of 160 MiB"
    eventually(lambda: len(peer.query()) == 1, "the entry at the peer")
    found = peer.get(str(document["path"]))
    assert hashlib.sha256(found).digest() == hashlib.sha256(b"".join(pieces)).digest()
    peer_memory = psutil.Process(peer.process.pid).memory_info().rss  # type: ignore[union-attr]
    assert peer_memory < before + 64 * MIB


def test_an_upload_that_breaks_off_shares_nothing(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    with socket.create_connection(("127.0.0.1", root.http_port)) as connection:
        connection.sendall(
            b"POST /peersdb/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n"
            + b"x" * 2 * MIB
        )
    root.post(b"still at work")
    assert len(root.query()) == 1


def test_a_name_that_is_none_is_refused_before_the_body(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    answer = root.request("POST", "/peersdb/files?name=a%2Fb", b"content")
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


def test_a_cursor_gives_what_came_since(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    root.post(b"first", "one.csv")
    root.post(b"second")
    first = root.command("query", "limit=1").json
    assert [row["name"] for row in first["contributions"]] == ["one.csv"]
    rest = root.command("query", f"since={first['cursor']}").json
    assert [row["size"] for row in rest["contributions"]] == [len(b"second")]
    nothing = root.command("query", f"since={rest['cursor']}").json
    assert nothing == {"contributions": [], "cursor": rest["cursor"]}
    root.post(b"first")
    same = root.command("query", f"path={first['contributions'][0]['path']}").json
    assert len(same["contributions"]) == 2
    for wrong in ("limit=0", "limit=10001", "since=x", "path=/ipfs/x", "order=asc", "limit"):
        assert root.command("query", wrong).status == 400, wrong


def original(document: dict[str, Any]) -> dict[str, Any]:
    """The keys that the original's answer has, in their order."""
    return dict(list(document.items())[:3])


def test_votes_of_peers_decide_and_are_counted(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    joining = ("-bootstrap", f"127.0.0.1:{root.http_port}")
    poster = nodes.start("poster", *joining).wait_ready()
    poster.post(b"a file that its poster judged")
    (path,) = poster.paths()
    # Of one connected peer, its poster, more than half found it valid.
    eventually(lambda: root.paths() == [path], "the entry at the root")
    assert original(root.command("isvalid", path).json) == {"path": path, "isValid": True, "voteCnt": 1}
    assert original(poster.command("isvalid", path).json) == {"path": path, "isValid": True, "voteCnt": 0}
    # The root decided by votes, so it does not vote itself: of two peers one vote is not more than half.
    third = nodes.start("third", *joining).wait_ready()
    eventually(lambda: len(third.status()["peers"]) == 2, "both peers at the third")
    assert original(third.command("isvalid", path).json) == {"path": path, "isValid": True, "voteCnt": 0}


def test_metrics_follow_the_status(nodes: Nodes) -> None:
    root = nodes.start("root", "-root", "-region", "eu").wait_ready()
    root.post(b"counted")
    text = root.get_url("/metrics").body.decode()
    assert "peersdb_entries 1.0\n" in text
    assert 'peersdb_info{region="eu",root="true",version=' in text
    assert 'peersdb_http_requests_total{status="200",what="/peersdb/command"} 1.0\n' in text
    root.get_url("/some/path/nobody/has")
    assert 'what="other"' in root.get_url("/metrics").body.decode()  # no path of a stranger becomes a label


def test_on_loopback_only_localhost_is_a_name_for_it(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()

    def status(host: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", root.http_port, timeout=10)
        connection.request("GET", "/peersdb/status", headers={"Host": host})
        try:
            return connection.getresponse().status
        finally:
            connection.close()

    for good in ("127.0.0.1", f"localhost:{root.http_port}", "[::1]:80", "node.localhost"):
        assert status(good) == 200, good
    for bad in ("evil.example", f"evil.example:{root.http_port}", "localhost.evil.example"):
        assert status(bad) == 403, bad
