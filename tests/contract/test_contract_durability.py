"""What was acknowledged survives kill -9; a cluster finds itself again in any order of restarts."""

from __future__ import annotations

import base64
import http.client
import json
import random
import threading

import pytest
from contract_nodes import Node, Nodes, eventually, free_port

pytestmark = pytest.mark.processes

#: Posts before a kill: from the first one to well after the start.
MOST_POSTS = 80


def post_until_it_dies(node: Node, number: int, kill_after: int) -> list[bytes]:
    """Posts from two connections at once; kills the node during a post. Gives what was acknowledged.

    Files are small and large by turns: the small ones live in the database, the others as block files.
    """
    acknowledged: list[bytes] = []
    dying = threading.Event()

    def posts(writer: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=20)
        count = 0
        while True:
            count += 1
            content = f"{number}/{writer}/{count} ".encode() * (4000 if count % 4 == 0 else 1)
            body = json.dumps({"method": {"cmd": "post"}, "file": base64.b64encode(content).decode()})
            try:
                connection.request("POST", "/peersdb/command", body)
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (200, b'"File uploaded"')
            except (OSError, http.client.HTTPException):
                break  # killed during this post: it may be there or not
            acknowledged.append(content)
            if len(acknowledged) >= kill_after:
                dying.set()
        connection.close()

    writers = [threading.Thread(target=posts, args=(writer,)) for writer in range(2)]
    for writer in writers:
        writer.start()
    assert dying.wait(30), "the posts did not get on"
    node.kill()
    for writer in writers:
        writer.join()
    return acknowledged


@pytest.mark.parametrize("rounds", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_no_acknowledged_post_is_lost_by_kill_9(nodes: Nodes, rounds: int) -> None:
    moments = random.Random(rounds)
    node = nodes.make("root", "-root")
    expected: set[bytes] = set()
    for number in range(rounds):
        node.start().wait_ready()
        expected.update(post_until_it_dies(node, number, moments.randint(1, MOST_POSTS)))
    node.start().wait_ready()
    paths = node.paths()
    entries = len(paths)
    # Each kill may have left one post of each connection that was done and not yet answered.
    assert len(expected) <= entries <= len(expected) + 2 * rounds
    assert len(set(paths)) == entries
    served = {node.get(path) for path in paths}
    assert expected <= served
    assert node.status()["entries"] == entries


def test_peers_that_restart_while_the_root_is_down_are_ready_and_exchange_entries(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    peers = [nodes.start(f"peer{n}", "-bootstrap", f"127.0.0.1:{root.http_port}") for n in range(2)]
    for peer in peers:
        peer.wait_ready()
    root.post(b"before")
    for peer in peers:
        eventually(peer.paths, "replication")
    # The peers have to know each other before the root goes: they learn of it by the root.
    ids = [peer.status()["peerId"] for peer in peers]
    eventually(
        lambda: {seen["peerId"] for seen in peers[0].status()["peers"]},
        "a link",
        until=lambda seen: ids[1] in seen,
    )
    root.stop()
    for peer in peers:
        peer.kill()
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.wait_ready()
    before = set(peers[0].paths())
    peers[0].post(b"while the root is down")
    (new,) = set(peers[0].paths()) - before
    eventually(peers[1].paths, "replication without the root", until=lambda seen: new in seen)
    assert peers[1].get(new) == b"while the root is down"

    root.start().wait_ready()
    eventually(root.paths, "the root's catching up", until=lambda seen: new in seen)
    logs = eventually(
        lambda: [node.query() for node in (root, *peers)],
        "one log",
        until=lambda logs: logs[0] == logs[1] == logs[2],
    )
    assert len(logs[0]) == 2


def test_a_peer_joins_by_any_form_of_bootstrap(cluster: list[Node], nodes: Nodes) -> None:
    root = cluster[0]
    root.post(b"for the newcomers")
    forms = [f"127.0.0.1:{root.http_port}", f"localhost:{root.http_port}", root.multiaddr]
    newcomers = [nodes.start(f"newcomer{n}", "-bootstrap", form) for n, form in enumerate(forms)]
    for newcomer in newcomers:
        newcomer.wait_ready()
        eventually(newcomer.query, "the whole log", until=lambda rows: rows == root.query())


def test_a_bootstrap_peer_may_come_up_later(nodes: Nodes) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    root = nodes.make("root", "-root")
    peer = nodes.start("peer", "-bootstrap", f"{nobody},127.0.0.1:{root.http_port}").wait_answering()
    answer = peer.get_url("/readyz")
    assert (answer.status, answer.json["ready"]) == (503, False)
    root.start().wait_ready()
    peer.wait_ready()
    root.post(b"hello")
    eventually(peer.paths, "replication")
