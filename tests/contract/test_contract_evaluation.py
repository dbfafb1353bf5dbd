"""The calls of the original's evaluation scripts, with curl, against three nodes: unchanged and byte for byte."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import zipfile

import pytest
from contract_nodes import BENCHMARK_KEYS, Node, eventually, originals_keys

pytestmark = pytest.mark.processes

RFC3339_NANO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


def curl(node: Node, path: str, document: object = None) -> bytes:
    """What `curl` prints; the body goes in by a pipe, as a base64 file is too long for an argument."""
    body = [] if document is None else ["--data-binary", "@-", "-H", "Content-Type: application/json"]
    return subprocess.run(
        ["curl", "-sS", "--fail", "--max-time", "30", *body, node.url + path],
        input=None if document is None else json.dumps(document).encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=40,
    ).stdout


def command(node: Node, cmd: str, *args: str, argcnt: int | None = None, **extra: str) -> bytes:
    count = len(args) if argcnt is None else argcnt
    document = {"method": {"argcnt": count, "cmd": cmd}, "args": list(args), **extra}
    return curl(node, "/peersdb/command", document)


def zipped(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def rows_on(node: Node) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(command(node, "query"))
    return rows


def test_the_evaluation_runs_unchanged(cluster: list[Node]) -> None:
    root, *peers = cluster
    before = {row["path"] for row in rows_on(root)}
    archive = zipped("machine/c4.csv", b"runtime,nodes\n12.5,4\n")
    assert command(root, "post", argcnt=1, file=base64.b64encode(archive).decode()) == b'"File uploaded"'
    (path,) = {row["path"] for row in rows_on(root)} - before

    for peer in peers:
        assert command(peer, "connect", root.multiaddr) == b'"Peer id processed"'
        eventually(
            lambda peer=peer: {row["path"] for row in rows_on(peer)}, "replication", until=lambda s: path in s
        )
        cid = path.removeprefix("/ipfs/")
        stored = f'"stored {path} successfully under {peer.downloads}/{cid}"'
        assert command(peer, "get", path).decode() == stored
        assert (peer.downloads / cid).read_bytes() == archive


def test_all_nodes_answer_query_with_the_same_bytes_in_the_originals_form(cluster: list[Node]) -> None:
    root, peer, replica = cluster
    peer.post(b"one line\n")
    everywhere = eventually(
        lambda: [command(node, "query") for node in (root, peer, replica)],
        "the same answer of all",
        until=lambda answers: len(set(answers)) == 1 and answers[0] != b"[]",
    )
    rows = json.loads(everywhere[0])
    assert everywhere[0] == json.dumps(rows, separators=(",", ":")).encode()  # compact, no key twice
    for row in rows:
        assert list(row) == ["path", "contributor", "creationTS"]
        assert row["path"].startswith("/ipfs/")
        assert RFC3339_NANO.fullmatch(row["creationTS"])
    assert peer.status()["peerId"] in {row["contributor"] for row in rows}


def test_gathering_benchmarks_gives_all_peers_and_the_own_one_last(cluster: list[Node]) -> None:
    root = cluster[0]
    cluster[1].post(b"something to replicate")
    eventually(lambda: json.loads(command(root, "benchmark"))["maxc"], "a measured replication")
    eventually(lambda: len(root.status()["peers"]), "both peers connected", until=lambda count: count == 2)
    gathered = json.loads(curl(root, "/peersdb/benchmarks"))
    assert [originals_keys(one) for one in gathered] == [BENCHMARK_KEYS] * 3
    assert sorted(one["region"] for one in gathered) == ["asia", "eu", "us"]
    assert gathered[-1]["region"] == "eu"
    for one in gathered:
        assert 0 <= one["minc"] <= one["averagec"] <= one["maxc"] < 60
        assert 0 <= one["bootstrap"] < 60


def test_benchmark_is_the_nodes_own_in_the_originals_form(cluster: list[Node]) -> None:
    body = command(cluster[1], "benchmark")
    own = json.loads(body)
    assert originals_keys(own) == BENCHMARK_KEYS
    assert own["region"] == "us"
    assert body == json.dumps(own, separators=(",", ":")).encode()
