"""The HTTP interface: the original's two endpoints, status and health.

Runs on asyncio; all it does with the node crosses the bridge. Requests run in parallel. Bodies are limited
before they are read. A request that a browser sends for another site's page is refused: the interface has
no other protection on loopback, and such a page could post and fetch in the user's name.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from peersdb.api.bridge import Bridge
from peersdb.api.commands import Commands, check_arguments, row_document
from peersdb.errors import BadRequest, PeersDBError, ShuttingDown, StorageError, TooLarge, UsageError
from peersdb.service.node import Node
from peersdb.settings import Settings

log = structlog.get_logger("http")

#: Requests that wait for the node at once; more wait their turn in the socket's queue.
MAX_AT_ONCE = 256
#: Bodies above this size (bytes) are decoded in a worker thread.
DECODE_INLINE = 256 * 1024
#: Once requests are cancelled, their last answers get so long (seconds) to leave, twice at most: by themselves,
#: and after their connections were told.
LAST_WORDS = 0.5

#: What a supervisor asks.
HEALTH = frozenset({"/healthz", "/readyz"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CrossOrigin(UsageError):
    """A browser's request from a page of another site."""

    code = "cross_origin"
    status = 403


class HttpApi:
    """The interface of one node."""

    def __init__(self, node: Node, bridge: Bridge) -> None:
        """Serves ``node`` over ``bridge``."""
        self._node, self._bridge, self._commands = node, bridge, Commands(node)
        self._settings = node.settings
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._running, self._stopping, self._idle = 0, False, asyncio.Event()

    async def serve(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Listens until ``stop`` is set, then until no request runs; cancelled, it ends those that run.

        Raises:
            StorageError: the port is taken.
        """
        app = web.Application(client_max_size=self._settings.max_body, middlewares=[self._middleware])
        app.router.add_route("*", "/peersdb/command", self._command)
        app.router.add_get("/peersdb/benchmarks", self._benchmarks)
        app.router.add_get("/peersdb/status", self._status)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=LAST_WORDS, handle_signals=False)
        await runner.setup()
        try:
            await _listen(runner, self._settings)
            ready()
            await stop.wait()
            await self._finish(runner)
        finally:
            await runner.cleanup()

    async def _finish(self, runner: web.AppRunner) -> None:
        """Takes no more requests, neither by new connections nor by open ones, and waits for those that run."""
        for site in list(runner.sites):
            await site.stop()
        self._stopping = True
        while self._running:
            self._idle.clear()
            await self._idle.wait()

    # --- endpoints -----------------------------------------------------------------------------------

    async def _command(self, request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response()
        if request.method != "POST":
            return _error(405, "method_not_allowed", "commands are sent by POST", {"Allow": "POST, OPTIONS"})
        body = await self._read_body(request)
        method = body.get("method")
        if not isinstance(method, dict):
            raise BadRequest('the body needs "method": {"cmd": "<command>"}')
        count = method.get("argcnt", 0)
        if type(count) is not int or count < 0:
            raise BadRequest("method.argcnt is not a whole number from 0")
        command = self._commands.find(method.get("cmd"))
        args = body.get("args")
        if not isinstance(args, list | None):
            raise BadRequest("args is not a list of strings")
        arguments: list[Any] = list(check_arguments(command, args or []))
        if command.name == "post":
            arguments = [await _decoded(body.get("file")), _name(body.get("name"))]
        if command.name == "query":
            return await self._query(request)
        return _json(await self._bridge.call(command.run, *arguments))

    async def _query(self, request: web.Request) -> web.StreamResponse:
        page = self._node.contributions.page
        rows, cursor = await self._bridge.call(page)
        first = _rows(rows)
        if cursor is None:
            return web.Response(body=b"[" + first + b"]", content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        await response.prepare(request)
        try:
            await response.write(b"[" + first)
            while cursor is not None:
                rows, cursor = await self._bridge.call(page, cursor)
                if rows:
                    await response.write(b"," + _rows(rows))
            await response.write(b"]")
            await response.write_eof()
        except PeersDBError as error:
            # The status is sent already: only a cut connection tells the client that the list is not whole.
            log.error("query broke off", code=error.code, error=str(error))
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _benchmarks(self, _request: web.Request) -> web.Response:
        return _json(await self._bridge.call(self._node.benchmarks))

    async def _status(self, _request: web.Request) -> web.Response:
        return _json(await self._bridge.call(self._node.status))

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _json({"alive": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = self._node.ready()  # one attribute, read across threads
        return _json({"ready": False, "reason": reason}, 503) if reason else _json({"ready": True})

    # --- around them -----------------------------------------------------------------------------------

    async def _read_body(self, request: web.Request) -> dict[str, Any]:
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise TooLarge(
                f"the body is larger than {self._settings.max_body} bytes: start the node with a larger -max-body"
            ) from None
        body = await asyncio.to_thread(_parse, raw) if len(raw) > DECODE_INLINE else _parse(raw)
        if not isinstance(body, dict):
            raise BadRequest("the body is not a JSON object")
        return body

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._running += 1
        try:
            response = await self._answer(request, handler)
        finally:
            self._running -= 1
            self._idle.set()
        if self._settings.cors_origin and not response.prepared:
            response.headers["Access-Control-Allow-Origin"] = self._settings.cors_origin
            response.headers["Access-Control-Allow-Methods"] = "POST"
            response.headers["Access-Control-Allow-Headers"] = "Content-Type"
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What the handler gives, or what its error becomes."""
        try:
            self._check(request)
            # Health is answered even while as many requests wait as may.
            async with contextlib.nullcontext() if request.path in HEALTH else self._slots:
                return await handler(request)
        except PeersDBError as error:
            if error.status >= 500:
                level = log.error if isinstance(error, StorageError) else log.info
                level("request failed", path=request.path, code=error.code, error=str(error))
            return _error(error.status, error.code, str(error))
        except web.HTTPNotFound:
            return _error(404, "unknown_path", f"there is nothing at {request.path}")
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            return _error(
                405, "method_not_allowed", f"{request.path} takes {allowed} only", {"Allow": allowed}
            )
        except web.HTTPException as error:
            return _error(error.status, "bad_request", f"{error.reason}: {request.path}")
        except Exception:  # the bug's trace goes to the log, the client learns that it is ours
            log.exception("request failed", path=request.path)
            return _error(500, "internal", "internal error: the node's log has the details")

    def _check(self, request: web.Request) -> None:
        """Whether this request is taken at all."""
        if self._stopping:
            raise ShuttingDown("the node is stopping")
        origin = request.headers.get("Origin")
        if origin is None or self._settings.cors_origin in ("*", origin):
            return
        if origin.partition("://")[2] != request.host:
            raise CrossOrigin(f"requests from pages of {origin} are refused: allow them by -cors-origin")


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    site = web.TCPSite(runner, settings.http_host, settings.http_port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        raise StorageError(
            # asyncio puts address and port into strerror again.
            f"cannot listen on {settings.http_host} port {settings.http_port}: {os.strerror(error.errno or 0)}; "
            "choose another with -http-port"
        ) from None


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from None


async def _decoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise BadRequest('post needs "file": the content in base64')
    if len(text) > DECODE_INLINE:
        return await asyncio.to_thread(_decode, text)
    return _decode(text)


def _decode(text: str) -> bytes:
    try:
        # Line breaks are what base64(1) puts in by default.
        return base64.b64decode("".join(text.split()) if "\n" in text else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"file is not base64: {error}") from None


def _name(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise BadRequest("name is not a string")
    return value


def _rows(rows: list[Any]) -> bytes:
    return json.dumps([row_document(row) for row in rows], separators=(",", ":"))[1:-1].encode()


def _refused(request: web.Request, error: web.HTTPException) -> web.Response:
    """The errors of aiohttp itself in this interface's form."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return _error(405, "method_not_allowed", f"{request.path} takes {allowed} only", {"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return _error(404, "unknown_path", f"there is nothing at {request.path}")
    return _error(error.status, "bad_request", f"{error.reason}: {request.path}")


def _json(value: Any, status: int = 200) -> web.Response:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    response = _json({"error": message, "code": code}, status)
    response.headers.update(headers or {})
    return response
