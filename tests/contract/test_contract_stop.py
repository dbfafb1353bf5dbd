"""How a node ends: in time and with 0, running requests first; a stuck one does not hold it."""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import socket
import threading
import time

import pytest
from contract_nodes import BENCHMARK_KEYS, STOP_TIMEOUT, Node, Nodes, eventually, originals_keys

pytestmark = pytest.mark.processes


class Upload:
    """A `post` whose body arrives in two parts."""

    def __init__(self, node: Node, content: bytes) -> None:
        document = {
            "method": {"argcnt": 1, "cmd": "post"},
            "args": [],
            "file": base64.b64encode(content).decode(),
        }
        body = json.dumps(document).encode()
        self.socket = socket.create_connection(("127.0.0.1", node.http_port), timeout=20)
        head = f"POST /peersdb/command HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        half = len(body) // 2
        self.socket.sendall(head + body[:half])
        self.rest = body[half:]

    def finish(self) -> bytes:
        """Sends the second part and gives the whole answer."""
        self.socket.sendall(self.rest)
        return self.read()

    def read(self) -> bytes:
        """What comes until the node closes."""
        answer = b""
        while part := self.socket.recv(65536):
            answer += part
        return answer


def wait_refusing(node: Node) -> None:
    """Until the node takes no new connections: it has seen the signal."""

    def refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", node.http_port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False

    eventually(refused, "refusing new requests", STOP_TIMEOUT)


def test_sigterm_lets_a_running_post_finish_and_it_is_kept(nodes: Nodes) -> None:
    node = nodes.start("root", "-root", "-benchmark", "-region", "eu").wait_ready()
    upload = Upload(node, b"sent while the node was told to stop")
    node.get_url("/healthz")  # the upload's connection was accepted before this one
    began = time.monotonic()
    node.ask_to_end()
    wait_refusing(node)
    assert upload.finish().startswith(b"HTTP/1.1 200 OK\r\n")
    node.wait_end(STOP_TIMEOUT)
    assert time.monotonic() - began < STOP_TIMEOUT

    config = json.loads((node.folder / "root_config").read_text())
    assert list(config) == ["contributionsStoreAddr", "validationsStoreAddr", "peerID"]
    benchmark = json.loads((node.folder / "root_benchmark").read_text())
    assert originals_keys(benchmark) == BENCHMARK_KEYS
    assert benchmark["region"] == "eu"

    node.start().wait_ready()
    (row,) = node.query()
    assert node.get(row["path"]) == b"sent while the node was told to stop"
    status = node.status()
    assert (status["storeAddress"], status["peerId"]) == (config["contributionsStoreAddr"], config["peerID"])


def test_a_node_stopped_under_load_keeps_what_it_acknowledged_and_nothing_else(nodes: Nodes) -> None:
    node = nodes.start("root", "-root").wait_ready()
    acknowledged: list[int] = []
    busy = threading.Event()

    def post(writer: int) -> None:
        for number in itertools.count():
            try:
                answer = node.command("post", content=f"{writer}/{number}".encode())
            except OSError:
                return  # it takes no more
            if answer.status == 200:
                acknowledged.append(writer)
            else:
                assert (answer.status, answer.json["code"]) == (503, "shutting_down")
            if len(acknowledged) > 100:
                busy.set()

    writers = [threading.Thread(target=post, args=(writer,)) for writer in range(16)]
    for writer in writers:
        writer.start()
    assert busy.wait(20)
    node.stop()
    for writer in writers:
        writer.join()
    node.start().wait_ready()
    assert len(node.query()) == len(acknowledged)


def test_stuck_requests_do_not_hold_a_node(nodes: Nodes) -> None:
    """One waits for a body that never comes, one for a peer that hangs: both are ended in time."""
    root = nodes.start("root", "-root").wait_ready()
    peer = nodes.start("peer", "-bootstrap", f"127.0.0.1:{root.http_port}").wait_ready()
    root.post(b"only here")
    (path,) = eventually(peer.paths, "replication")
    assert root.process is not None
    os.kill(root.process.pid, signal.SIGSTOP)
    try:
        upload = Upload(peer, b"never sent")
        answers: list[tuple[int, str]] = []

        def get() -> None:
            answer = peer.command("get", path)
            answers.append((answer.status, answer.json["code"]))

        waiting = threading.Thread(target=get)
        waiting.start()
        eventually(lambda: peer.get_url("/healthz").status, "an answer", until=lambda status: status == 200)
        peer.stop()
        waiting.join(STOP_TIMEOUT)
        # Told to come back, or told that the peer is gone where that was noticed first.
        assert answers in ([(503, "shutting_down")], [(404, "not_found")])
        assert not upload.read().startswith(b"HTTP/1.1 200")
    finally:
        os.kill(root.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_the_node_as_well(nodes: Nodes, number: int) -> None:
    # A root asks its bootstrap peers for a log first: here a server that never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        node = nodes.start("root", "-root", "-bootstrap", f"127.0.0.1:{silent.getsockname()[1]}")
        asked, _ = silent.accept()
        node.ask_to_end(number)
        node.wait_end(STOP_TIMEOUT)
        asked.close()


def test_a_second_signal_ends_it_at_once(nodes: Nodes) -> None:
    node = nodes.start("root", "-root").wait_ready()
    upload = Upload(node, b"never sent")
    node.get_url("/healthz")
    node.ask_to_end()
    wait_refusing(node)
    began = time.monotonic()
    node.ask_to_end()
    node.wait_end(2)
    assert time.monotonic() - began < 2
    assert not upload.read().startswith(b"HTTP/1.1 200")
