"""The HTTP interface: the original's two endpoints, status and health.

Runs on asyncio; all it does with the node crosses the bridge. Requests run in parallel. Bodies are limited
before they are read. A request that a browser sends for another site's page is refused: the interface has
no other protection on loopback, and such a page could post and fetch in the user's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import os
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from peersdb.api.bodies import refusal
from peersdb.api.bridge import Bridge
from peersdb.api.endpoints import CHANGES, Endpoints
from peersdb.errors import PeersDBError, ShuttingDown, StorageError, UsageError
from peersdb.service.node import Node
from peersdb.settings import Settings

log = structlog.get_logger("http")

#: Requests that wait for the node at once; more wait their turn in the socket's queue.
MAX_AT_ONCE = 256
#: Once requests are cancelled, their last answers get so long (seconds) to leave, twice at most: by themselves,
#: and after their connections were told.
LAST_WORDS = 0.5

#: What a supervisor asks.
HEALTH = frozenset({"/healthz", "/readyz"})

#: What takes none of the places.
UNCOUNTED = HEALTH | {CHANGES}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class CrossOrigin(UsageError):
    """A browser's request from a page of another site."""

    code = "cross_origin"
    status = 403


class Unauthorized(UsageError):
    """A request without a token that this node accepts."""

    code = "unauthorized"
    status = 401


class HttpApi:
    """The interface of one node."""

    def __init__(self, node: Node, bridge: Bridge) -> None:
        """Serves ``node`` over ``bridge``."""
        self._endpoints = Endpoints(node, bridge)
        self._settings, self._tokens = node.settings, node.tokens
        self._loopback = ipaddress.ip_address(node.settings.http_host).is_loopback
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._running, self._stopping, self._idle = 0, False, asyncio.Event()

    async def serve(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Listens until ``stop`` is set, then until no request runs; cancelled, it ends those that run.

        Raises:
            StorageError: the port is taken.
        """
        app = web.Application(client_max_size=self._settings.max_body, middlewares=[self._middleware])
        self._endpoints.add_to(app.router)
        # A client that goes away takes its request with it.
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=LAST_WORDS, handle_signals=False, handler_cancellation=True
        )
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
        self._endpoints.stop()
        while self._running:
            self._idle.clear()
            await self._idle.wait()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._running += 1
        began = time.perf_counter()
        try:
            response = await self._answer(request, handler)
        finally:
            self._running -= 1
            self._idle.set()
        resource = request.match_info.route.resource
        what = resource.canonical if resource is not None else "other"
        self._endpoints.metrics.answered(what, response.status, time.perf_counter() - began)
        if response.status == 401:
            response.headers["WWW-Authenticate"] = "Bearer"
        if self._settings.cors_origin and not response.prepared:
            response.headers["Access-Control-Allow-Origin"] = self._settings.cors_origin
            response.headers["Access-Control-Allow-Methods"] = "POST"
            response.headers["Access-Control-Allow-Headers"] = "Content-Type"
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What the handler gives, or what its error becomes."""
        try:
            self._check(request)
            # Health is answered even while as many requests wait as may; who waits for changes is counted there.
            async with contextlib.nullcontext() if request.path in UNCOUNTED else self._slots:
                return await handler(request)
        except PeersDBError as error:
            if error.status >= 500:
                level = log.error if isinstance(error, StorageError) else log.info
                level("request failed", path=request.path, code=error.code, error=str(error))
            return refusal(error.status, error.code, str(error))
        except web.HTTPNotFound:
            return refusal(404, "unknown_path", f"there is nothing at {request.path}")
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            return refusal(
                405, "method_not_allowed", f"{request.path} takes {allowed} only", {"Allow": allowed}
            )
        except web.HTTPException as error:
            return refusal(error.status, "bad_request", f"{error.reason}: {request.path}")
        except Exception:  # the bug's trace goes to the log, the client learns that it is ours
            log.exception("request failed", path=request.path)
            return refusal(500, "internal", "internal error: the node's log has the details")

    def _check(self, request: web.Request) -> None:
        """Whether this request is taken at all."""
        if self._stopping:
            raise ShuttingDown("the node is stopping")
        self._check_host(request)
        if self._tokens is not None and request.path not in HEALTH and request.method != "OPTIONS":
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not self._tokens.accepts(token.strip()):
                if self._tokens.none:
                    raise Unauthorized(
                        "this node has no token that it could accept, so it refuses every request: see its log"
                    )
                raise Unauthorized(
                    "this node wants a token: send 'Authorization: Bearer <token>' (the client: --api-token-file)"
                )
        origin = request.headers.get("Origin")
        if origin is None or self._settings.cors_origin in ("*", origin):
            return
        if origin.partition("://")[2] != request.host:
            raise CrossOrigin(f"requests from pages of {origin} are refused: allow them by -cors-origin")

    def _check_host(self, request: web.Request) -> None:
        """On loopback nobody has a name for this node but ``localhost``.

        Another name that leads here is a trick of a web page, whose requests would look like its own site's.
        """
        if self._loopback and not _is_own_name(request.host):
            raise CrossOrigin(
                f"the name {request.host} for this machine's loopback is refused: use 127.0.0.1 or localhost"
            )


@functools.lru_cache(maxsize=64)  # clients use the same few; each costs as much as reading a body
def _is_own_name(host: str) -> bool:
    """Whether a request's host, with or without a port, is an address or ``localhost``."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name.rstrip(".").lower() == "localhost" or name.lower().endswith(".localhost")
    return True


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
