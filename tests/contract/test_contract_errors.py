"""Every way in which a request fails: a status, a stable code, and a sentence that says what to do."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from contract_nodes import Node, free_port, nodes_in

pytestmark = pytest.mark.processes

COMMAND = "/peersdb/command"
UNKNOWN_CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
SOME_PEER = "12D3KooWLesyjPYDf3pj9TUJCcZuid3cG5w1GQ9AEafrbyJGTuT2"
MAX_BODY = 8192


def body(cmd: Any, *args: Any, argcnt: Any = 0, **extra: Any) -> bytes:
    return json.dumps({"method": {"argcnt": argcnt, "cmd": cmd}, "args": list(args), **extra}).encode()


FILE = base64.b64encode(b"content").decode()

#: What is sent to a node with a store: name, method, path, body, status and code of the answer.
TABLE: list[tuple[str, str, str, bytes | None, int, str]] = [
    ("no JSON", "POST", COMMAND, b"{", 400, "bad_request"),
    ("nothing", "POST", COMMAND, b"", 400, "bad_request"),
    ("not UTF-8", "POST", COMMAND, b'{"method": "\xff\xfe"}', 400, "bad_request"),
    ("nested without end", "POST", COMMAND, b"[" * 4000, 400, "bad_request"),
    ("a number of 5,000 digits", "POST", COMMAND, b"9" * 5000, 400, "bad_request"),
    ("no object", "POST", COMMAND, b"[]", 400, "bad_request"),
    ("no method", "POST", COMMAND, b'{"args": []}', 400, "bad_request"),
    ("method is no object", "POST", COMMAND, b'{"method": "query"}', 400, "bad_request"),
    ("no cmd", "POST", COMMAND, b'{"method": {"argcnt": 0}}', 404, "unknown_command"),
    ("unknown cmd", "POST", COMMAND, body("drop"), 404, "unknown_command"),
    ("after is no number", "GET", "/peersdb/changes?after=-1", None, 400, "bad_request"),
    ("a longer wait than there is", "GET", "/peersdb/changes?after=0&wait=31", None, 400, "bad_request"),
    ("more changes than there are", "GET", "/peersdb/changes?limit=1001", None, 400, "bad_request"),
    ("a number too large to be one", "GET", f"/peersdb/changes?after={2**63}", None, 400, "bad_request"),
    ("cmd is no string", "POST", COMMAND, body(["query"]), 404, "unknown_command"),
    ("cmd is half a character", "POST", COMMAND, b'{"method": {"cmd": "\\ud800"}}', 404, "unknown_command"),
    ("argcnt is negative", "POST", COMMAND, body("query", argcnt=-1), 400, "bad_request"),
    ("argcnt is a string", "POST", COMMAND, body("query", argcnt="0"), 400, "bad_request"),
    ("argcnt is true", "POST", COMMAND, body("query", argcnt=True), 400, "bad_request"),
    ("args is no list", "POST", COMMAND, b'{"method": {"cmd": "get"}, "args": "x"}', 400, "bad_request"),
    ("an arg is no string", "POST", COMMAND, body("get", 1), 400, "bad_request"),
    ("too few args", "POST", COMMAND, body("get"), 400, "bad_request"),
    ("too many args", "POST", COMMAND, body("query", "x"), 400, "bad_request"),
    ("post without a file", "POST", COMMAND, body("post"), 400, "bad_request"),
    ("file is no string", "POST", COMMAND, body("post", file=[1]), 400, "bad_request"),
    ("file is no base64", "POST", COMMAND, body("post", file="%%%%"), 400, "bad_request"),
    ("file is half a base64", "POST", COMMAND, body("post", file="QUJ"), 400, "bad_request"),
    ("name is no string", "POST", COMMAND, body("post", file=FILE, name=1), 400, "bad_request"),
    ("name is a path", "POST", COMMAND, body("post", file=FILE, name="../../etc/passwd"), 400, "bad_request"),
    ("name is half a character", "POST", COMMAND, body("post", file=FILE, name="\ud800"), 400, "bad_request"),
    ("no CID", "POST", COMMAND, body("get", "hello"), 400, "invalid_cid"),
    ("a path out of the store", "POST", COMMAND, body("get", "/ipfs/../../etc/passwd"), 400, "invalid_cid"),
    ("half a character", "POST", COMMAND, body("get", "/ipfs/\ud800"), 400, "invalid_cid"),
    ("a file nobody has", "POST", COMMAND, body("get", UNKNOWN_CID), 404, "not_found"),
    ("no multiaddr", "POST", COMMAND, body("connect", "localhost"), 400, "bad_request"),
    ("no peer id", "POST", COMMAND, body("connect", "/ip4/127.0.0.1/tcp/4001"), 400, "bad_request"),
    ("a bad peer id", "POST", COMMAND, body("connect", "/ip4/127.0.0.1/tcp/1/p2p/x"), 400, "bad_request"),
    ("udp", "POST", COMMAND, body("connect", f"/ip4/127.0.0.1/udp/1/p2p/{SOME_PEER}"), 400, "bad_request"),
    (
        "nobody listens",
        "POST",
        COMMAND,
        body("connect", f"/ip4/127.0.0.1/tcp/{free_port()}/p2p/{SOME_PEER}"),
        502,
        "peer_unreachable",
    ),
    ("too large", "POST", COMMAND, b" " * (MAX_BODY * 2), 413, "too_large"),
    ("not POST", "GET", COMMAND, None, 405, "method_not_allowed"),
    ("PUT", "PUT", COMMAND, body("query"), 405, "method_not_allowed"),
    ("status by POST", "POST", "/peersdb/status", b"{}", 405, "method_not_allowed"),
    ("benchmarks without -benchmark", "GET", "/peersdb/benchmarks", None, 404, "not_enabled"),
    ("unknown path", "GET", "/", None, 404, "unknown_path"),
    ("another unknown path", "POST", "/peersdb/commands", b"{}", 404, "unknown_path"),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """A root, and a node that has met nobody and answers pages of one origin."""
    with nodes_in(tmp_path_factory.mktemp("errors")) as made:
        root = made.start("root", "-root", "-max-body", str(MAX_BODY))
        lonely = made.start("lonely", "-cors-origin", "http://ui.example")
        yield root.wait_ready(), lonely.wait_answering()


@pytest.mark.parametrize("row", [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_an_error_has_its_status_its_code_and_a_sentence(
    pair: tuple[Node, Node], row: tuple[str, str, bytes | None, int, str]
) -> None:
    method, path, content, status, code = row
    answer = pair[0].request(method, path, content)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    document = answer.json
    assert (answer.status, document["code"]) == (status, code), document
    assert list(document) == ["error", "code"]
    assert len(document["error"]) > 10
    assert "Traceback" not in pair[0].log()


@pytest.mark.parametrize("cmd", ["post", "query"])
def test_without_a_store_what_needs_one_says_so(pair: tuple[Node, Node], cmd: str) -> None:
    extra = {"file": FILE} if cmd == "post" else {}
    answer = pair[1].request("POST", COMMAND, body(cmd, **extra))
    assert (answer.status, answer.json["code"]) == (503, "no_store")
    ready = pair[1].get_url("/readyz")
    assert (ready.status, ready.json["ready"]) == (503, False)
    assert "no contributions store" in ready.json["reason"]
    assert pair[1].get_url("/healthz").status == 200


def test_an_empty_log_is_an_empty_list_not_an_error(pair: tuple[Node, Node]) -> None:
    answer = pair[0].command("query")
    assert (answer.status, answer.body) == (200, b"[]")


def test_the_benchmark_that_is_not_enabled_is_named_as_the_original_names_it(pair: tuple[Node, Node]) -> None:
    answer = pair[0].command("benchmark")
    assert (answer.status, answer.json) == (200, "Benchmark is not enabled, use -benchmark to do so")


@pytest.mark.parametrize("left_out", ["argcnt", "args"])
def test_argcnt_and_args_may_be_left_out(pair: tuple[Node, Node], left_out: str) -> None:
    document = json.loads(body("query"))
    (document if left_out == "args" else document["method"]).pop(left_out)
    assert pair[0].request("POST", COMMAND, json.dumps(document).encode()).status == 200


def test_a_node_does_not_connect_to_itself(pair: tuple[Node, Node]) -> None:
    answer = pair[0].command("connect", pair[0].multiaddr)
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


def test_options_is_answered(pair: tuple[Node, Node]) -> None:
    assert pair[0].request("OPTIONS", COMMAND).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1", "null", "http://127.0.0.1:1"])
def test_pages_of_other_sites_are_refused(pair: tuple[Node, Node], origin: str) -> None:
    for node in pair:
        for method, path, content in (("POST", COMMAND, body("query")), ("GET", "/peersdb/status", None)):
            answer = node.request(method, path, content, {"Origin": origin})
            assert (answer.status, answer.json["code"]) == (403, "cross_origin")


def test_cors_is_off_unless_asked_for(pair: tuple[Node, Node]) -> None:
    root, lonely = pair
    for headers in ({}, {"Origin": root.url}):
        answer = root.request("OPTIONS", COMMAND, headers=headers)
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
    for method, content in (("OPTIONS", None), ("POST", body("query")), ("POST", b"{")):
        answer = lonely.request(method, COMMAND, content, {"Origin": "http://ui.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "http://ui.example"
        assert answer.headers["Access-Control-Allow-Methods"] == "POST"
        assert answer.headers["Access-Control-Allow-Headers"] == "Content-Type"


def test_a_broken_request_does_not_end_the_connection_of_others(pair: tuple[Node, Node]) -> None:
    assert pair[0].request("POST", COMMAND, b"{" * 100).status == 400
    assert pair[0].command("query").status == 200
