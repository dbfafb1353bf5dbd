"""A small HTTP client for looking on: requests that measure others and are not themselves part of the load.

geventhttpclient without locust, so that these requests fire no events.
"""

import json
from dataclasses import replace
from typing import Any, Self

from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPConnectionClosed, HTTPProtocolViolationError

from loadtests.errors import NodeError
from loadtests.targets import Node

# A node that takes longer to say how it is counts as not answering.
TIMEOUT_SECONDS = 10.0

_FAILURES = (OSError, HTTPConnectionClosed, HTTPProtocolViolationError)


class QuietClient:
    """One node's HTTP API, for one greenlet at a time."""

    def __init__(self, node: Node, *, timeout: float = TIMEOUT_SECONDS) -> None:
        """Connect at the first request; ``timeout`` in seconds."""
        self.node = node
        self._client = HTTPClient.from_url(
            node.url, concurrency=1, connection_timeout=timeout, network_timeout=timeout
        )

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def status(self) -> dict[str, Any]:
        """``GET /peersdb/status``.

        Raises:
            NodeError: the node does not answer so.
        """
        return self._object(self._get("/peersdb/status"))

    def benchmarks(self) -> list[dict[str, Any]]:
        """``GET /peersdb/benchmarks``: those of the peers that it is connected to and, last, its own.

        Raises:
            NodeError: the node does not answer so.
        """
        value = self._json(self._get("/peersdb/benchmarks"))
        if not isinstance(value, list):
            raise NodeError(f"{self.node.name}: its benchmarks are no list")
        return value

    def benchmark(self) -> dict[str, Any]:
        """The command ``benchmark``: the node's own.

        Raises:
            NodeError: the node does not answer so, or was started without ``-benchmark``.
        """
        return self._object(self._command("benchmark"))

    def query(self) -> bytes:
        """The command ``query``, as it came: who looks for one path need not read all of them.

        Raises:
            NodeError: the node does not answer so.
        """
        return self._command("query")

    def _command(self, name: str) -> bytes:
        body = json.dumps({"method": {"argcnt": 0, "cmd": name}, "args": []})
        return self._request("POST", "/peersdb/command", body)

    def _get(self, path: str) -> bytes:
        return self._request("GET", path, "")

    def _request(self, method: str, path: str, body: str) -> bytes:
        try:
            response = self._client.request(
                method, path, body=body, headers={"Content-Type": "application/json"}
            )
            answer = bytes(response.read())
        except _FAILURES as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NodeError(f"{self.node.name} does not answer at {self.node.url}: {why}") from error
        if response.status_code != 200:
            raise NodeError(f"{self.node.name}: {error_text(response.status_code, answer)}")
        return answer

    def _json(self, answer: bytes) -> Any:
        try:
            return json.loads(answer)
        except ValueError as error:
            raise NodeError(f"{self.node.name}: its answer is no JSON: {answer[:80]!r}") from error

    def _object(self, answer: bytes) -> dict[str, Any]:
        value = self._json(answer)
        if not isinstance(value, dict):
            raise NodeError(f"{self.node.name}: not what was asked for: {answer[:200]!r}")
        return value


def error_text(status: int, body: bytes) -> str:
    """A failed answer in one line: the status, and the node's own words if it has any."""
    try:
        value = json.loads(body)
        return f"{status} {value['code']}: {value['error']}"
    except (ValueError, KeyError, TypeError):
        return f"{status} {body[:200].decode('utf-8', 'replace')}".strip()


def meet(node: Node) -> Node:
    """Ask a node who it is: peer id, version, role, and its region unless one was given.

    Raises:
        NodeError: it does not answer, or answers as something else than a node does.
    """
    with QuietClient(node) as client:
        status = client.status()
    try:
        return replace(
            node,
            region=node.region or status["region"] or "(none)",
            peer_id=status["peerId"],
            root=bool(status["root"]),
            version=status["version"],
        )
    except KeyError as error:
        raise NodeError(f"{node.name}: its status has no {error}: is this a PeersDB node?") from error
