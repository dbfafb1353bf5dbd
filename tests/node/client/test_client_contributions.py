"""Laws of listing page by page, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from client_peers import answering, read_request, response
from hypothesis import given, settings
from hypothesis import strategies as st

from peersdb.client import contributions as listing
from peersdb.client.arguments import endpoint
from peersdb.client.contributions import Selection, contributions
from peersdb.client.errors import BadAnswer
from peersdb.client.transport import Api

PAGE = 4


class Pages(BaseHTTPRequestHandler):
    """`query` with options over the numbers from 1 to `count`, each its own cursor."""

    count = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = dict(arg.split("=", 1) for arg in body["args"])
        first = int(asked["since"]) + 1
        numbers = range(first, min(first + int(asked["limit"]), type(self).count + 1))
        cursor = str(numbers[-1]) if numbers else asked["since"]
        answer = json.dumps({"contributions": [{"size": n} for n in numbers], "cursor": cursor}).encode()
        self.wfile.write(response(answer))

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 13), st.none() | st.integers(0, 14), st.none() | st.integers(1, 14))
def test_pages_together_are_the_list_after_the_cursor_up_to_the_limit(
    pages: str, count: int, since: int | None, limit: int | None
) -> None:
    Pages.count = count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "PAGE", PAGE)
        wanted = Selection(since=None if since is None else str(since), limit=limit)
        rows = contributions(Api(endpoint(pages), None, "1"), wanted)
        assert [row["size"] for row in rows] == list(range(1, count + 1))[since or 0 :][:limit]


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [{}],
        None,
        "File uploaded",
        {"contributions": []},
        {"contributions": None, "cursor": "1"},
        {"contributions": [1], "cursor": "1"},
        {"contributions": [{}], "cursor": 1},
        {"contributions": [{}], "cursor": "0"},
        {"contributions": [{}, {}, {}], "cursor": "3"},
    ],
)
def test_what_is_no_page_or_would_never_end_is_refused(answer: Any) -> None:
    def serve(connection: Any) -> None:
        read_request(connection)
        connection.sendall(response(json.dumps(answer).encode()))

    with answering(serve) as url, pytest.raises(BadAnswer, match="no page of contributions"):
        list(contributions(Api(endpoint(url), None, "1"), Selection(limit=2)))
