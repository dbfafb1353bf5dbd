"""The endpoints: each takes a request, asks the node over the bridge, and gives the answer."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import nullcontext
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from peersdb.api.bodies import DECODE_INLINE, Budget, answer, decoded, file_name, read_document, refusal
from peersdb.api.bridge import Bridge
from peersdb.api.commands import POSTED, Commands, check_arguments, row_document
from peersdb.api.metrics import Metrics
from peersdb.api.pipe import BytePipe
from peersdb.core.contribution import format_timestamp
from peersdb.errors import BadRequest, Busy, PeersDBError, ShuttingDown
from peersdb.service.node import Node

log = structlog.get_logger("http")

CHANGES = "/peersdb/changes"
#: Who follows `/peersdb/changes` at once: each costs a task and a connection, and does nothing else.
MAX_FOLLOWERS = 128
#: A follower waits so long (seconds) at most, so that proxies between do not take the connection for dead.
MAX_WAIT = 30.0
#: Changes of one answer: at most, and by default (some 200 KiB of JSON).
MAX_CHANGES = 1000

#: An upload crosses to the node in pieces of this size (bytes), one chunk of the default profile.
PIECE = 1024 * 1024


class Endpoints:
    """The endpoints of one node.

    Attributes:
        metrics: what is counted of requests.
    """

    def __init__(self, node: Node, bridge: Bridge) -> None:
        """Asks ``node`` over ``bridge``."""
        self._node, self._bridge, self._commands = node, bridge, Commands(node)
        self._settings = node.settings
        self._budget = Budget()
        self._stopped = False
        self._followers: set[asyncio.Task[Any]] = set()
        self.metrics = Metrics()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Says which path is whose."""
        router.add_route("*", "/peersdb/command", self._command)
        router.add_post("/peersdb/files", self._files)
        router.add_get("/peersdb/benchmarks", self._benchmarks)
        router.add_get("/peersdb/status", self._status)
        router.add_get(CHANGES, self._changes)
        router.add_get("/metrics", self._metrics)
        router.add_get("/healthz", self._healthz)
        router.add_get("/readyz", self._readyz)

    async def _command(self, request: web.Request) -> web.StreamResponse:
        if request.method == "OPTIONS":
            return web.Response()
        if request.method != "POST":
            return refusal(405, "method_not_allowed", "commands are sent by POST", {"Allow": "POST, OPTIONS"})
        size = self._settings.max_body if request.content_length is None else request.content_length
        # Small bodies are bounded by the number of requests at once.
        async with self._budget.holding(size) if size > DECODE_INLINE else nullcontext():
            return await self._run(request, await read_document(request, self._settings.max_body))

    async def _run(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
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
            return await self._post(await decoded(body.get("file")), file_name(body.get("name")))
        if command.name == "query" and not arguments:
            return await self._query(request)
        return answer(await self._bridge.call(command.run, *arguments))

    async def _post(self, content: bytes, name: str | None) -> web.Response:
        contributions = self._node.contributions
        posted = self._bridge.direct(contributions.post_soon, content, name, then=contributions.posted)
        if posted is None:
            return answer(await self._bridge.call(self._commands.post, content, name))
        response = answer(POSTED)  # made while the disk works
        (await posted).get()
        return response

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

    async def _files(self, request: web.Request) -> web.Response:
        """A file of any size, raw, as it comes."""
        name = request.query.get("name") or None
        pipe = self._bridge.pipe()
        sharing = asyncio.ensure_future(
            self._bridge.call(self._node.contributions.post_stream, pipe.chunks(), name)
        )
        # A node that refuses reads no further: the pump would wait for room for ever.
        sharing.add_done_callback(lambda _: pipe.abandon())
        try:
            await self._pump(request, pipe, sharing)
        except BaseException as error:
            pipe.end(BadRequest(f"the body broke off: {type(error).__name__}"))
            sharing.cancel()
            raise
        path, size = await sharing
        return answer({"path": path, "size": size})

    @staticmethod
    async def _pump(request: web.Request, pipe: BytePipe, sharing: asyncio.Future[Any]) -> None:
        """Feeds the body into the pipe, until its end or until the node refuses it."""
        piece = bytearray()
        async for data in request.content.iter_any():
            piece += data
            if len(piece) >= PIECE:
                await pipe.feed(bytes(piece))
                piece.clear()
            if sharing.done():
                return
        if piece:
            await pipe.feed(bytes(piece))
        pipe.end()

    async def _metrics(self, _request: web.Request) -> web.Response:
        body = self.metrics.render(await self._bridge.call(self._node.status))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _benchmarks(self, _request: web.Request) -> web.Response:
        return answer(await self._bridge.call(self._node.benchmarks))

    async def _status(self, _request: web.Request) -> web.Response:
        return answer(await self._bridge.call(self._node.status))

    async def _changes(self, request: web.Request) -> web.Response:
        """What came since, or the next that comes."""
        after = _number(request, "after", None, 2**63 - 1)
        limit = _number(request, "limit", MAX_CHANGES, MAX_CHANGES)
        wait = _number(request, "wait", 0, MAX_WAIT)
        if len(self._followers) >= MAX_FOLLOWERS:
            raise Busy(f"{MAX_FOLLOWERS} others follow this node's changes: ask again later")
        asking = asyncio.ensure_future(
            self._bridge.call(self._node.changes.since, after, max(1, limit or 0), float(wait or 0))
        )
        self._followers.add(asking)
        try:
            news = await asking
        except asyncio.CancelledError:
            asking.cancel()
            if self._stopped:
                raise ShuttingDown("the node is stopping") from None
            raise
        finally:
            self._followers.discard(asking)
        entries = [{**row_document(row), "seq": number} for number, row in news.rows]
        return answer({"seq": news.seq, "now": format_timestamp(news.now), "entries": entries})

    def stop(self) -> None:
        """Those who wait for changes are told that none comes."""
        self._stopped = True
        for asking in self._followers:
            asking.cancel()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return answer({"alive": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        reason = self._node.ready()  # one attribute, read across threads
        return answer({"ready": False, "reason": reason}, 503) if reason else answer({"ready": True})


def _number(request: web.Request, name: str, default: int | None, most: float) -> int | None:
    """A whole number of a request's query.

    Raises:
        BadRequest: it is none, or too large.
    """
    text = request.query.get(name)
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) > most:
        raise BadRequest(f"{name} is a whole number of at most {most:.0f}, not {text[:80]!r}")
    return int(text)


def _rows(rows: list[Any]) -> bytes:
    return json.dumps([row_document(row) for row in rows], separators=(",", ":"))[1:-1].encode()
