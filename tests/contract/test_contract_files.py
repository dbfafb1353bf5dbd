"""Files between nodes: whole, under their names, and kept where the contributor is gone."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from contract_nodes import Node, Nodes, eventually

pytestmark = pytest.mark.processes

MIB = 1024 * 1024


@pytest.mark.parametrize("size", [0, 1, 16 * 1024 + 1, MIB, 5 * MIB])
@pytest.mark.parametrize(("source", "target"), [(0, 1), (1, 2)], ids=["root to peer", "peer to peer"])
def test_a_file_arrives_as_it_was_shared(cluster: list[Node], source: int, target: int, size: int) -> None:
    # A random byte alone would be the other case's file once in 256 runs.
    content = bytes([source]) if size == 1 else os.urandom(size)
    before = set(cluster[source].paths())
    cluster[source].post(content, f"file-{size}.bin")
    paths = set(cluster[source].paths()) - before
    if size:
        (path,) = paths
    else:  # the empty file has one CID, whoever shares it
        path = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
        assert paths | before >= {path}
    eventually(cluster[target].paths, "replication", until=lambda seen: path in seen)
    assert cluster[target].get(path) == content
    assert cluster[target].get(path.removeprefix("/ipfs/")) == content
    assert not list(cluster[target].downloads.glob(".*"))  # nothing half-written stays


def test_the_same_content_has_the_same_cid_everywhere(cluster: list[Node]) -> None:
    root, peer = cluster[:2]
    content = os.urandom(1000)
    before = set(root.paths())
    root.post(content)
    (path,) = set(root.paths()) - before
    eventually(peer.paths, "replication", until=lambda seen: path in seen)
    peer.post(content)
    contributors = [row["contributor"] for row in peer.query() if row["path"] == path]
    assert sorted(contributors) == sorted(node.status()["peerId"] for node in (root, peer))


def test_a_full_replica_keeps_files_when_their_contributor_is_gone(nodes: Nodes) -> None:
    root = nodes.start("root", "-root=true").wait_ready()
    bootstrap = ("-bootstrap", f"127.0.0.1:{root.http_port}")
    replica, reader, contributor = (
        nodes.start("replica", *bootstrap, "-full-replica"),
        nodes.start("reader", *bootstrap),
        nodes.start("contributor", *bootstrap),
    )
    for node in (contributor, replica, reader):
        node.wait_ready()
    contents = [b"small", os.urandom(2 * MIB)]
    for content in contents:
        contributor.post(content)
    eventually(
        lambda: replica.status()["pins"], "pins", until=lambda pins: pins == {"wanted": 0, "pinned": 2}
    )
    contributor.stop()
    eventually(lambda: len(reader.query()), "replication", until=lambda count: count == 2)
    connected = {peer["peerId"] for peer in reader.status()["peers"]}
    if (keeper := replica.status()["peerId"]) not in connected:
        assert reader.command("connect", replica.multiaddr).status == 200
        assert keeper in {peer["peerId"] for peer in reader.status()["peers"]}
    assert sorted((reader.get(path) for path in reader.paths()), key=len) == contents


def test_parallel_requests_never_mix_up_answers(cluster: list[Node]) -> None:
    """200 at once: each posts its own content somewhere and gets that very content back."""
    node = cluster[0]
    marks = [f"content {number} {os.urandom(8).hex()}".encode() for number in range(200)]

    def one(number: int) -> None:
        mark = marks[number]
        name = f"mark-{number}"
        match number % 4:
            case 0:
                assert node.command("nonsense", name).json["error"].startswith("unknown command 'nonsense'")
            case 1:
                assert isinstance(node.query(), list)
            case 2:
                assert node.status()["root"] is True
        node.post(mark)

    before = set(node.paths())
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(one, range(200)))
    paths = sorted(set(node.paths()) - before)
    assert len(paths) == 200

    def stored(path: str) -> bytes:
        answer = node.command("get", path)
        assert (
            answer.json == f"stored {path} successfully under {node.downloads}/{path.removeprefix('/ipfs/')}"
        )
        return Path(node.downloads, path.removeprefix("/ipfs/")).read_bytes()

    with ThreadPoolExecutor(50) as pool:
        assert sorted(pool.map(stored, paths)) == sorted(marks)
