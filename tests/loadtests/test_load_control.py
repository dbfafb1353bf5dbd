"""The control API over HTTP: the token first, then limits, then what was asked."""

import http.client
import json
import socket
import threading

import gevent
import pytest

from loadtests import control as module
from loadtests.board import DONE, RUNNING, Board
from loadtests.control import MAX_BODY, Control

TOKEN = "-".join(["t0ken"] * 3)
WAVE = {"kind": "wave", "at": 5.0, "wave": 1, "members": []}


class Served:
    """A control API in a thread of its own, with its event loop."""

    def __init__(self, board):
        self.board, self.told = board, []
        self._up, self._stop = threading.Event(), None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._up.wait(10)

    def _run(self):
        control = Control(
            self.board, TOKEN, progress=lambda: {"state": self.board.state}, told=self.told.append
        )
        self.port = control.start("127.0.0.1", 0)
        self._stop = gevent.get_hub().loop.async_()
        done = gevent.event.Event()
        self._stop.start(done.set)
        self._up.set()
        done.wait()
        control.close()
        gevent.get_hub().destroy(destroy_loop=True)

    def close(self):
        self._stop.send()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def ask(self, method, path, body=None, *, token=TOKEN, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, body, {**sent, **(headers or {})})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, answer


@pytest.fixture
def served():
    api = Served(Board(state=RUNNING))
    yield api
    api.close()


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "ü"])
@pytest.mark.parametrize("path", ["/v1/progress", "/v1/results/", "/v1/nothing"])
def test_without_the_token_nothing_is_told_not_even_what_there_is(served, path, token):
    status, answer = served.ask("GET", path, token=token)
    assert status == 401
    assert TOKEN.encode() not in answer


def test_progress_is_told_and_other_paths_and_methods_are_refused(served):
    assert served.ask("GET", "/v1/progress") == (200, b'{"state": "running"}')
    assert served.ask("GET", "/v1/nothing")[0] == 404
    assert served.ask("POST", "/v1/progress")[0] == 405
    assert served.ask("GET", "/v1/events")[0] == 405


def test_an_event_told_twice_counts_once(served):
    for _ in range(2):
        assert served.ask("POST", "/v1/events", json.dumps(WAVE)) == (204, b"")
    assert len(served.told) == len(served.board.events.told) == 1


@pytest.mark.parametrize("body", ["", "{", "[]", '{"kind": "storm", "at": 1}', "[" * 100_000, "\xff"])
def test_what_is_no_event_is_refused(served, body):
    assert served.ask("POST", "/v1/events", body.encode("latin-1"))[0] == 400
    assert served.ask("GET", "/v1/progress")[0] == 200


def test_a_body_is_limited_before_it_is_read(served):
    headers = {"Content-Length": str(MAX_BODY + 1)}
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    connection.putrequest("POST", "/v1/events")
    for name, value in {**headers, "Authorization": f"Bearer {TOKEN}"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    chunked = {"Transfer-Encoding": "chunked"}
    assert served.ask("POST", "/v1/events", iter([b"{}"]), headers=chunked)[0] == 411


def test_results_are_there_when_the_run_is_done_and_no_other_file_is(served, tmp_path):
    for path in ("/v1/results/", "/v1/results/run.json"):
        assert served.ask("GET", path)[0] == 409
    assert served.ask("POST", "/v1/collected")[0] == 409
    place = tmp_path / "report"
    place.mkdir()
    (place / "run.json").write_bytes(b"x" * 300_000)
    (tmp_path / "secret").write_text("s")
    (place / "link").symlink_to(tmp_path / "secret")
    served.board.results, served.board.state = place, DONE
    assert json.loads(served.ask("GET", "/v1/results/")[1]) == {"files": {"run.json": 300_000}}
    assert served.ask("GET", "/v1/results/run.json") == (200, b"x" * 300_000)
    for name in ("../secret", "link", "%2e%2e/secret", "nothing"):
        assert served.ask("GET", f"/v1/results/{name}")[0] == 404
    assert not served.board.collected.is_set()
    assert served.ask("POST", "/v1/collected")[0] == 204
    assert served.board.collected.is_set()


def test_who_says_nothing_is_cut_off(monkeypatch):
    monkeypatch.setattr(module, "SOCKET_SECONDS", 0.2)
    api = Served(Board())
    try:
        with socket.create_connection(("127.0.0.1", api.port), timeout=10) as silent:
            silent.sendall(b"POST /v1/events HTTP/1.1\r\nHost: a\r\n")
            assert b"204" not in silent.recv(1000)
    finally:
        api.close()
