"""The control API of a run: how far it is, what is done to the cluster, and the results.

Whoever has the token may read all of it and end the run, so everything but the token's comparison (in constant time)
comes after it, and limits come before parsing. It knows nothing of locust: it is given what it tells.
"""

import hmac
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from loadtests.board import DONE, Board
from loadtests.errors import OptionsError
from loadtests.faults import Event

log = logging.getLogger("loadtests")

# An event names at most 500 members of about 300 bytes.
MAX_BODY = 256 << 10
# The operator has one connection; a person looks on with some more.
MAX_CONNECTIONS = 32
# Whoever says nothing for so long, or does not read, is cut off.
SOCKET_SECONDS = 30.0
PIECE = 64 << 10
# Results are flat: some plots, tables and pages.
MAX_FILES = 1_000

Answer = tuple[int, Any]
_REASONS = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
}


class Refused(Exception):  # it is an answer
    """A request that gets another answer than it wants."""

    def __init__(self, status: int, error: str) -> None:
        """Answer with a status and a sentence."""
        super().__init__(error)
        self.status = status


class _Handler(WSGIHandler):  # type: ignore[misc]  # gevent has no types
    """A connection that may not last for ever."""

    def __init__(self, sock: Any, *args: Any, **more: Any) -> None:
        sock.settimeout(SOCKET_SECONDS)
        super().__init__(sock, *args, **more)

    def log_request(self) -> None:
        """No line for each look at the progress."""


class Control:
    """Serves a board."""

    def __init__(
        self,
        board: Board,
        token: str,
        *,
        progress: Callable[[], dict[str, Any]],
        told: Callable[[Event], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Serve ``board`` to whoever has ``token``.

        Args:
            board: takes events, and has the place of the results.
            token: ASCII.
            progress: what ``GET /v1/progress`` answers.
            told: called with each new event.
            clock: wall clock.
        """
        self._board = board
        self._token = token.encode("ascii")
        self._progress = progress
        self._told = told
        self._clock = clock
        self._server: WSGIServer | None = None

    def start(self, host: str, port: int) -> int:
        """Listen. Returns the port, which may have been given as 0.

        Raises:
            OptionsError: the address cannot be had.
        """
        self._server = WSGIServer(
            (host, port),
            self._serve,
            log=None,
            error_log=log,
            spawn=Pool(MAX_CONNECTIONS),
            handler_class=_Handler,
        )
        try:
            self._server.start()
        except OSError as error:
            raise OptionsError(f"--control: cannot listen on {host}:{port}: {error.strerror}") from error
        return int(self._server.server_port)

    def wait_collected(self, seconds: float) -> bool:
        """Wait until somebody has the results. Returns whether somebody has."""
        return bool(self._board.collected.wait(seconds))

    def close(self) -> None:
        """Stop listening; answers under way get a moment."""
        if self._server is not None:
            self._server.stop(timeout=1)

    def _serve(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        try:
            self._check(environ)
            status, answer = self._answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ)
        except Refused as refused:
            status, answer = refused.status, {"error": str(refused)}
        headers = [("Content-Type", "application/json")]
        if status == 401:
            headers.append(("WWW-Authenticate", "Bearer"))
        if status >= 400:
            headers.append(("Connection", "close"))  # a body that was not read would be taken for a request
        if isinstance(answer, Path):
            size = str(answer.stat().st_size)
            headers = [("Content-Type", "application/octet-stream"), ("Content-Length", size)]
        start(f"{status} {_REASONS[status]}", headers if status != 204 else [])
        if isinstance(answer, Path):
            return _pieces(answer)
        return [] if status == 204 else [json.dumps(answer).encode()]

    def _check(self, environ: dict[str, Any]) -> None:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        given = token.strip().encode("latin-1", "replace")
        if not hmac.compare_digest(given, self._token) or scheme.lower() != "bearer":
            raise Refused(401, "the control API wants 'Authorization: Bearer <token>'")

    def _answer(self, method: str, path: str, environ: dict[str, Any]) -> Answer:
        name = path.removeprefix("/v1/results/")
        if path == "/v1/progress":
            _only(method, "GET")
            return 200, self._progress()
        if path == "/v1/events":
            _only(method, "POST")
            self._event(_body(environ))
            return 204, None
        if path == "/v1/collected":
            _only(method, "POST")
            self._directory()
            self._board.collected.set()
            return 204, None
        if path.startswith("/v1/results/"):
            _only(method, "GET")
            files = self._files()
            if not name:
                return 200, {"files": {file: one.stat().st_size for file, one in files.items()}}
            if name in files:
                return 200, files[name]
        raise Refused(404, f"there is nothing at {path[:200]}")

    def _event(self, body: bytes) -> None:
        try:
            event = Event.parse(json.loads(body), self._clock())
            new = self._board.tell(event)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"not JSON: {error}") from error
        except OptionsError as error:
            raise Refused(400, str(error)) from error
        if new:
            self._told(event)

    def _directory(self) -> Path:
        if self._board.state != DONE or self._board.results is None:
            raise Refused(409, "the run is not done: there are no results yet")
        return self._board.results

    def _files(self) -> dict[str, Path]:
        found = sorted(one for one in self._directory().iterdir() if one.is_file() and not one.is_symlink())
        return {one.name: one for one in found[:MAX_FILES]}


def _only(method: str, allowed: str) -> None:
    if method != allowed:
        raise Refused(405, f"this takes {allowed}")


def _body(environ: dict[str, Any]) -> bytes:
    length = environ.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        raise Refused(411, "say how long the body is")
    if int(length) > MAX_BODY:
        raise Refused(413, f"a body has at most {MAX_BODY} bytes")
    try:
        body = environ["wsgi.input"].read(int(length))
    except OSError as error:
        raise Refused(400, "the body broke off") from error
    if len(body) != int(length):
        raise Refused(400, "the body broke off")
    return bytes(body)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
            gevent.sleep(0)  # a large file is not all that there is to do
