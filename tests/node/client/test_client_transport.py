"""What becomes of a request when the other end is no good node: over real sockets."""

from __future__ import annotations

import io
import json
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from client_peers import answering, read_head, read_request, response

from peersdb.client import transport
from peersdb.client.arguments import endpoint
from peersdb.client.errors import BadAnswer, BrokenOff, ClientError, FileProblem, Refused, Unreachable
from peersdb.client.transport import PIECE, Api

REFUSAL = json.dumps({"error": "there is no space", "code": "disk_full"}).encode()


def api(url: str, token: str | None = None) -> Api:
    return Api(endpoint(url), token, "1.2.3")


def status_of(url: str) -> Any:
    with api(url).get("/peersdb/status") as answer:
        return answer.document()


def ignore(_count: int) -> None:
    return None


def after_request(data: bytes) -> Callable[[socket.socket], None]:
    """Reads the request, answers with ``data`` and hangs up."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(data)

    return serve


def test_a_command_is_sent_as_the_page_says_with_its_token_and_options() -> None:
    seen: list[tuple[bytes, bytes]] = []

    def serve(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(response(b'"ok"'))

    with (
        answering(serve) as url,
        api(f"{url}/behind", "sesame").command("get", "a", options={"limit": 3}) as answer,
    ):
        assert answer.document() == "ok"
    ((head, body),) = seen
    assert head.startswith(b"POST /behind/peersdb/command HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer sesame\r\n" in head
    assert b"\r\nUser-Agent: peersdb/1.2.3\r\n" in head
    assert json.loads(body) == {"method": {"argcnt": 1, "cmd": "get"}, "args": ["a"], "limit": 3}


def test_without_a_token_none_is_sent() -> None:
    heads: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heads.append(read_request(connection)[0])
        connection.sendall(response(b"{}"))

    with answering(serve) as url:
        assert status_of(url) == {}
    assert b"authorization" not in heads[0].lower()


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (response(REFUSAL, "507 x"), Refused, "there is no space"),
        (response(b"<html>", "502 Bad Gateway"), BadAnswer, "answered 502"),
        (response(b'{"error": 1, "code": "x"}', "500 x"), BadAnswer, "answered 500"),
        (response(b"[]", "404 Not Found"), BadAnswer, "answered 404"),
        (response(b"<html>"), BadAnswer, "answered 200"),
        (response(b"[" * 100_000), BadAnswer, "answered 200"),
        (response(b'{"a": 1', length=99), BrokenOff, "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{}\r\n", BrokenOff, "broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n", BrokenOff, "broke off"),
        (b"", BrokenOff, "broke off"),
        (b"\x13/multistream/1.0.0\n", BadAnswer, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", BadAnswer, "does not speak HTTP"),
    ],
)
def test_each_bad_answer_is_an_error_of_its_own(data: bytes, error: type[ClientError], words: str) -> None:
    with answering(after_request(data)) as url, pytest.raises(error, match=words):
        status_of(url)


def test_the_nodes_own_code_is_kept() -> None:
    with answering(after_request(response(REFUSAL, "507 x"))) as url, pytest.raises(Refused) as caught:
        status_of(url)
    assert caught.value.code == "disk_full"


def test_an_answer_that_never_ends_is_refused_before_memory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_DOCUMENT", 10_000)
    with (
        answering(after_request(response(b"[" + b" " * 20_000 + b"]"))) as url,
        pytest.raises(BadAnswer, match="more"),
    ):
        status_of(url)


def test_an_answer_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_TIMEOUT", 0.05)

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        assert connection.recv(1) == b""  # until the client has given up

    with answering(serve) as url, pytest.raises(BrokenOff, match="did not answer"):
        status_of(url)


def test_where_nobody_listens_it_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=r"Connection refused.*--api URL"):
        status_of(f"http://127.0.0.1:{port}")


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    for host in ("nowhere.invalid", "a" * 64 + ".invalid", ".invalid"):
        with pytest.raises(Unreachable, match=r"invalid:1: "):
            status_of(f"http://{host}:1")


@pytest.mark.parametrize("size", [1, PIECE, 2 * PIECE + 1])
def test_a_file_of_known_size_is_sent_with_it_and_each_piece_is_told(size: int) -> None:
    content, bodies, told = bytes(range(256)) * (size // 256 + 1), [], []
    content = content[:size]

    def serve(connection: socket.socket) -> None:
        bodies.append(read_request(connection))
        connection.sendall(response(b"{}"))

    with answering(serve) as url:
        api(url).upload("/peersdb/files?name=a+b", io.BytesIO(content), size, told.append)
    ((head, body),) = bodies
    assert head.startswith(b"POST /peersdb/files?name=a+b HTTP/1.1\r\n")
    assert body == content
    assert sum(told) == size
    assert max(told) <= PIECE


def test_a_file_of_unknown_size_is_sent_in_chunks() -> None:
    bodies: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        assert b"\r\nTransfer-Encoding: chunked\r\n" in read_head(connection)
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65536)
        bodies.append(body)
        connection.sendall(response(b"{}"))

    with answering(serve) as url:
        api(url).upload("/peersdb/files", io.BytesIO(b"hello"), None, ignore)
    assert bodies == [b"5\r\nhello\r\n0\r\n\r\n"]


class Endless:
    """A source that would be read for ever."""

    def readinto(self, buffer: memoryview) -> int:
        return len(buffer)


@pytest.mark.parametrize("size", [None, 2**60])
def test_a_refusal_that_comes_early_ends_the_upload_and_is_what_is_told(size: int | None) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(response(REFUSAL, "507 x"))
        while connection.recv(1 << 20):
            pass

    with answering(serve) as url, pytest.raises(Refused, match="no space"):
        api(url).upload("/peersdb/files", Endless(), size, ignore)


def test_a_good_answer_to_half_a_file_is_not_taken_for_success() -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(response(b'{"path":"/ipfs/x","size":1}'))
        while connection.recv(1 << 20):
            pass

    with answering(serve) as url, pytest.raises(BadAnswer, match="before it had the file"):
        api(url).upload("/peersdb/files", Endless(), None, ignore)


def test_a_node_that_dies_during_an_upload_is_told() -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.recv(PIECE)
        # Hanging up with a reset, as a killed process does.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with answering(serve) as url, pytest.raises(BrokenOff, match="broke off the connection"):
        api(url).upload("/peersdb/files", Endless(), None, ignore)


def test_a_file_that_became_shorter_is_told_and_never_acknowledged() -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        assert connection.recv(100) == b"four"
        assert connection.recv(100) == b""

    with answering(serve) as url, pytest.raises(FileProblem, match="6 bytes shorter"):
        api(url).upload("/peersdb/files", io.BytesIO(b"four"), 10, ignore)


def test_a_source_that_cannot_be_read_on_never_completes_the_upload() -> None:
    class Failing:
        def __init__(self, failure: OSError | None) -> None:
            self.left, self.failure = 1, failure

        def readinto(self, buffer: memoryview) -> int | None:
            if self.left:
                self.left = 0
                buffer[:1] = b"x"
                return 1
            if self.failure is None:
                return None
            raise self.failure

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        body = b""
        while more := connection.recv(100):
            body += more
        assert body == b"1\r\nx\r\n"

    for failure, words in ((OSError(5, "Input/output error"), "Input/output error"), (None, "O_NONBLOCK")):
        with answering(serve) as url, pytest.raises(FileProblem, match=words):
            api(url).upload("/peersdb/files", Failing(failure), None, ignore)
