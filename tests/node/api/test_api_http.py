"""What HTTP does where its node fails half-way or hangs: the server is real, the node behind it a stand-in."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from peersdb.api.bridge import Bridge, asyncio_thread
from peersdb.api.http import MAX_AT_ONCE, HttpApi
from peersdb.errors import StorageError
from peersdb.settings import Settings
from peersdb.store.outcome import Outcome, Report

LIMIT = 20
QUERY = b'{"method": {"cmd": "query"}}'
REQUEST = b"POST /peersdb/command HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (
    len(QUERY),
    QUERY,
)
ROW = SimpleNamespace(path="/ipfs/b", contributor="12D3KooW", created="2025-06-01T12:00:00Z")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def served(page: Any = None, **contributions: Any) -> AsyncIterator[int]:
    """The interface over a node whose log is read by ``page``; gives its port."""
    settings = Settings(http=True, http_port=free_port())
    contributions["page"] = page
    node: Any = SimpleNamespace(
        settings=settings, contributions=SimpleNamespace(**contributions), ready=lambda: "", tokens=None
    )
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as calls, asyncio_thread(HttpApi(node, Bridge(calls)).serve):
            yield settings.http_port
            calls.cancel_scope.cancel()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


async def test_pages_of_a_log_are_one_list() -> None:
    async def page(after: int = 0) -> tuple[list[Any], int | None]:
        return [ROW] * 2 if after != 1 else [], after + 1 if after < 3 else None

    async with served(page) as port:
        status, body = await trio.to_thread.run_sync(ask, port, "POST", "/peersdb/command", QUERY)
    row = b'{"path":"/ipfs/b","contributor":"12D3KooW","creationTS":"2025-06-01T12:00:00Z"}'
    assert (status, body) == (200, b"[" + b",".join([row] * 6) + b"]")


async def test_a_list_that_breaks_off_is_never_taken_for_a_whole_one() -> None:
    async def page(after: int = 0) -> tuple[list[Any], int | None]:
        if after:
            raise StorageError("the disk is gone")
        return [ROW], 1

    async with served(page) as port:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            await trio.to_thread.run_sync(ask, port, "POST", "/peersdb/command", QUERY)
        status, _ = await trio.to_thread.run_sync(ask, port, "GET", "/healthz")
        assert status == 200


async def test_health_is_answered_while_all_that_may_wait_do() -> None:
    waiting = 0
    full = trio.Event()

    async def page(_after: int = 0) -> tuple[list[Any], int | None]:
        nonlocal waiting
        waiting += 1
        if waiting == MAX_AT_ONCE:
            full.set()
        await trio.sleep_forever()
        raise AssertionError

    async with served(page) as port:
        sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_AT_ONCE + 10)]
        try:
            for each in sockets:
                each.sendall(REQUEST)
            await full.wait()
            for path in ("/healthz", "/readyz"):
                status, _ = await trio.to_thread.run_sync(ask, port, "GET", path)
                assert status == 200
            assert waiting == MAX_AT_ONCE  # the others wait their turn
        finally:
            for each in sockets:
                each.close()


async def test_a_small_post_is_answered_while_the_trio_side_is_busy() -> None:
    told: list[bytes] = []
    heard = trio.Event()

    def post_soon(content: bytes, name: str | None, report: Report) -> bool:
        assert name is None
        outcome: Outcome[bytes] = Outcome()
        outcome.result = content
        threading.Thread(target=report.crossing, args=(report.tell, outcome)).start()
        return True

    def posted(outcome: Outcome[bytes]) -> None:
        told.append(outcome.get())
        heard.set()

    answers: list[tuple[int, bytes]] = []
    async with served(post_soon=post_soon, posted=posted) as port:
        body = json.dumps({"method": {"cmd": "post"}, "file": base64.b64encode(b"small").decode()}).encode()
        client = threading.Thread(target=lambda: answers.append(ask(port, "POST", "/peersdb/command", body)))
        client.start()
        client.join(LIMIT)  # nothing of trio runs meanwhile
        assert answers == [(200, b'"File uploaded"')]
        assert told == []
        await heard.wait()
        assert told == [b"small"]
