"""A proxy in front of an API server that makes the faults of `api_faults`.

``python -m cluster.fault_proxy HOST PORT UPSTREAM CA CERTIFICATE KEY RULES LOG``. It ends TLS, so clients are known to
the API server by their tokens, not by certificates; upgrades (exec, port-forward) do not pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from pathlib import Path
from typing import NoReturn, TextIO, TypeVar

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from cluster.api_faults import ApiFault, read, status

#: Seconds between two looks at the rules.
LOOK = 0.05
#: Requests are logged up to this many: some minutes of a busy operator.
MOST_LINES = 200_000
#: The largest body that is held: etcd takes no larger object.
MOST_BODY = 8 * 1024 * 1024
#: What speaks of one connection, and not of the message.
HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "host",
}

T = TypeVar("T")


class Changed(Exception):
    """The rules changed while something was waited for."""


class Rules:
    """The rules in force, and how often each has matched."""

    def __init__(self, file: Path) -> None:
        """Read them."""
        self._file = file
        self._text = ""
        self._faults: list[ApiFault] = []
        self._matched: list[int] = []
        self.changed = asyncio.Event()
        self._load()

    async def follow(self) -> None:
        """Read them again whenever they change, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            self._load()

    def choose(self, method: str, path: str, *, watch: bool) -> ApiFault | None:
        """Give the fault that this request gets."""
        for number, fault in enumerate(self._faults):
            if fault.matches(method, path, watch=watch):
                self._matched[number] += 1
                if fault.chosen(self._matched[number] - 1):
                    return fault
        return None

    async def unless_changed(self, awaited: Awaitable[T]) -> T:
        """Wait for something.

        Raises:
            Changed: the rules changed first; what was awaited goes on.
        """
        task = asyncio.ensure_future(awaited)
        change = asyncio.ensure_future(self.changed.wait())
        await asyncio.wait({task, change}, return_when=asyncio.FIRST_COMPLETED)
        change.cancel()
        if not task.done():
            raise Changed
        return task.result()

    def _load(self) -> None:
        text = self._file.read_text()
        if text != self._text:
            self._text = text
            self._faults = read(self._file)
            self._matched = [0] * len(self._faults)
            self.changed.set()
            self.changed = asyncio.Event()


class Proxy:
    """Answers requests, by itself or by the API server."""

    def __init__(self, upstream: str, rules: Rules, session: aiohttp.ClientSession, log: TextIO) -> None:
        """Prepare to answer."""
        self._upstream = upstream
        self._rules = rules
        self._session = session
        self._log = log
        self._lines = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        watch = request.query.get("watch") in {"true", "1"}
        fault = self._rules.choose(request.method, request.path_qs, watch=watch)
        response: web.StreamResponse | None = None
        try:
            if fault is not None and not (watch and fault.kind in {"stall", "expire"}):
                if fault.kind == "delay":
                    await asyncio.sleep(fault.seconds)
                else:
                    response = await self._fail(request, fault)
                    return response
            response = await self._pass_on(request, watch=watch)
            return response
        finally:
            self._write(request, response, fault)

    async def _fail(self, request: web.Request, fault: ApiFault) -> web.StreamResponse:
        if fault.passes:
            async with self._ask(request) as upstream:
                await upstream.read()
        if fault.kind == "cut":
            _hang_up(request)
        headers = {"Retry-After": str(int(fault.seconds))} if fault.status == 429 else {}
        told = status(fault.status, "the harness made this fault", fault.seconds if headers else 0.0)
        return web.json_response(told, status=fault.status, headers=headers)

    async def _pass_on(self, request: web.Request, *, watch: bool) -> web.StreamResponse:
        async with self._ask(request) as upstream:
            response = web.StreamResponse(status=upstream.status, headers=_end_to_end(upstream.headers))
            await response.prepare(request)
            if watch and upstream.status == 200:
                await self._relay_watch(request, upstream, response)
            else:
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
            await response.write_eof()
            return response

    async def _relay_watch(
        self, request: web.Request, upstream: aiohttp.ClientResponse, response: web.StreamResponse
    ) -> None:
        """Pass events on until the watch ends or a rule ends it."""
        arriving: asyncio.Future[bytes] | None = None
        whole = True  # whether what was passed on ends with an event
        try:
            while True:
                fault = self._rules.choose(request.method, request.path_qs, watch=True)
                if fault is not None and (fault.kind == "cut" or (fault.kind == "expire" and not whole)):
                    _hang_up(request)
                if fault is not None and fault.kind == "expire":
                    gone = {"type": "ERROR", "object": status(410, "the harness made this fault")}
                    await response.write(json.dumps(gone).encode() + b"\n")
                    return
                try:
                    if fault is not None and fault.kind == "stall":
                        await self._rules.unless_changed(asyncio.Event().wait())
                    arriving = arriving or asyncio.ensure_future(upstream.content.readany())
                    chunk = await self._rules.unless_changed(asyncio.shield(arriving))
                except Changed:
                    continue
                arriving = None
                if not chunk:
                    return
                await response.write(chunk)
                whole = chunk.endswith(b"\n")
        finally:
            if arriving is not None:
                arriving.cancel()

    @contextlib.asynccontextmanager
    async def _ask(self, request: web.Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request on; one that cannot reach the API server is left without an answer."""
        url = URL(self._upstream + request.raw_path, encoded=True)
        headers, body = _end_to_end(request.headers), await request.read()
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body or None, allow_redirects=False
            ) as upstream:
                yield upstream
        except aiohttp.ClientError:
            _hang_up(request)

    def _write(
        self, request: web.Request, response: web.StreamResponse | None, fault: ApiFault | None
    ) -> None:
        self._lines += 1
        if self._lines > MOST_LINES:
            return
        line = {
            "method": request.method,
            "path": request.path_qs,
            "status": response.status if response else 0,
            "fault": fault.kind if fault else "",
            "agent": request.headers.get("User-Agent", ""),
        }
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


def _hang_up(request: web.Request) -> NoReturn:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("cut, as the rules say")


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)


async def serve(
    host: str, port: int, upstream: str, *, authority: str, certificate: str, key: str, rules: str, log: str
) -> None:
    """Serve for ever."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate, key)
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authority), limit=0)
    forever = aiohttp.ClientTimeout(total=None, sock_read=None)
    with Path(log).open("a", encoding="utf-8") as lines:  # noqa: ASYNC230 - before anything is served
        async with aiohttp.ClientSession(
            connector=connector, timeout=forever, auto_decompress=False
        ) as session:
            in_force = Rules(Path(rules))
            proxy = Proxy(upstream, in_force, session, lines)
            application = web.Application(client_max_size=MOST_BODY)
            application.router.add_route("*", "/{rest:.*}", proxy.answer)
            runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, host, port, ssl_context=server_context, reuse_port=True).start()
            await in_force.follow()


def main() -> None:
    """Run the program."""
    host, port, upstream, authority, certificate, key, rules, log = sys.argv[1:]
    asyncio.run(
        serve(
            host,
            int(port),
            upstream,
            authority=authority,
            certificate=certificate,
            key=key,
            rules=rules,
            log=log,
        )
    )


if __name__ == "__main__":
    main()
