"""GET /peersdb/changes of real nodes: told as soon as it is there, ended with the node, bounded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from contract_nodes import Answer, Node, Nodes, eventually

from peersdb.api.endpoints import MAX_FOLLOWERS

pytestmark = pytest.mark.processes


class Question:
    """A request that waits."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self.answer: Answer | None = None

        def run() -> None:
            self.answer = ask()

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def result(self) -> Answer:
        self._thread.join(40)
        assert self.answer is not None
        return self.answer


def changes(node: Node, **query: Any) -> Callable[[], Answer]:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return lambda: node.get_url(f"/peersdb/changes?{text}")


def followed(node: Node) -> Callable[[], Answer]:
    """Asks for news again and again, as a follower does, until there is some or it is refused."""
    ask = changes(node, after=0, wait=20)

    def follow() -> Answer:
        while (answer := ask()).status == 200 and not answer.json["entries"]:
            pass
        return answer

    return follow


def open_connections(node: Node) -> int:
    assert node.process is not None
    found = psutil.Process(node.process.pid).net_connections("tcp")
    return sum(one.status == "ESTABLISHED" and one.laddr.port == node.http_port for one in found)


def test_a_post_on_another_node_answers_who_waits(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    peer = nodes.start("peer", "-bootstrap", f"127.0.0.1:{root.http_port}").wait_ready()
    start = peer.get_url("/peersdb/changes").json
    assert start["entries"] == []
    question = Question(changes(peer, after=start["seq"], wait=30))
    began = time.monotonic()
    root.post(b"news")
    answer = question.result().json
    assert time.monotonic() - began < 20
    assert [{key: entry[key] for key in root.query()[0]} for entry in answer["entries"]] == root.query()
    assert answer["seq"] == answer["entries"][-1]["seq"]


def test_a_node_that_stops_answers_who_waits(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    question = Question(changes(root, after=0, wait=30))
    follower = Question(changes(root, after=0, wait=30))
    eventually(lambda: open_connections(root) >= 2, "both questions asked")
    root.stop()
    assert {question.result().status, follower.result().status} == {503}


def test_more_followers_than_there_are_places_are_told_so_and_others_are_served(nodes: Nodes) -> None:
    root = nodes.start("root", "-root").wait_ready()
    # One more than there are places for, and no other: whoever came last is refused, the others have a place.
    questions = [Question(followed(root)) for _ in range(MAX_FOLLOWERS + 1)]
    refused = eventually(lambda: [one for one in questions if one.answer is not None], "a refusal")
    assert [(one.answer.status, one.answer.json["code"]) for one in refused] == [(503, "busy")]
    root.post(b"served")  # and it answers all of them
    served = [question.result() for question in questions if question not in refused]
    assert [len(answer.json["entries"]) for answer in served] == [1] * MAX_FOLLOWERS
    assert root.get_url("/peersdb/changes?after=0").json["seq"] == 1
