"""A small HTTP client for looking on: requests that measure others and are not themselves part of the load.

geventhttpclient without locust, so that these requests fire no events.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Self

from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPConnectionClosed, HTTPProtocolViolationError

from loadtests.benchmarks import parse_time
from loadtests.errors import NodeAnswersError, NodeError
from loadtests.targets import Node

# A node that takes longer to say how it is counts as not answering.
TIMEOUT_SECONDS = 10.0

_FAILURES = (OSError, HTTPConnectionClosed, HTTPProtocolViolationError)


@dataclass(frozen=True)
class Entry:
    """A contribution as ``changes`` tells it."""

    path: str
    created: float
    """The signed creation time, seconds since the epoch by its author's clock."""

    seq: int


@dataclass(frozen=True)
class Changes:
    """An answer of ``changes``."""

    seq: int
    now: float
    """The node's clock when it answered, seconds since the epoch."""

    entries: tuple[Entry, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read a decoded answer.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        entries = tuple(
            Entry(str(one["path"]), parse_time(one["creationTS"]), int(one["seq"]))
            for one in value["entries"]
        )
        return cls(int(value["seq"]), parse_time(value["now"]), entries)


class QuietClient:
    """One node's HTTP API, for one greenlet at a time."""

    def __init__(self, node: Node, *, timeout: float = TIMEOUT_SECONDS) -> None:
        """Connect at the first request; ``timeout`` in seconds."""
        self.node = node
        self._client = HTTPClient.from_url(
            node.url, concurrency=1, connection_timeout=min(timeout, TIMEOUT_SECONDS), network_timeout=timeout
        )
        self._headers = {"Content-Type": "application/json", **authorization(node)}

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

    def changes(self, after: int | None, *, wait: float = 0.0, limit: int = 1000) -> Changes:
        """``GET /peersdb/changes``: what came to the node since.

        Args:
            after: the number that the last answer gave; None asks for the present one.
            wait: seconds that the node may wait for the next entry, if there is none yet.
            limit: entries at most.

        Raises:
            NodeError: the node does not answer so, or is too old to have it.
        """
        query = f"?after={after}&wait={wait:g}&limit={limit}" if after is not None else ""
        answer = self._object(self._get(f"/peersdb/changes{query}"))
        try:
            return Changes.from_json(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise NodeError(f"{self.node.name}: not an answer to changes: {error}") from error

    def _command(self, name: str) -> bytes:
        body = json.dumps({"method": {"argcnt": 0, "cmd": name}, "args": []})
        return self._request("POST", "/peersdb/command", body)

    def _get(self, path: str) -> bytes:
        return self._request("GET", path, "")

    def _request(self, method: str, path: str, body: str) -> bytes:
        try:
            response = self._client.request(method, path, body=body, headers=self._headers)
            answer = bytes(response.read())
        except _FAILURES as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NodeError(f"{self.node.name} does not answer at {self.node.url}: {why}") from error
        if response.status_code != 200:
            raise NodeAnswersError(f"{self.node.name}: {error_text(response.status_code, answer)}")
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


def authorization(node: Node) -> dict[str, str]:
    """The header for a node that asks for a token."""
    return {"Authorization": f"Bearer {node.token}"} if node.token else {}


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
