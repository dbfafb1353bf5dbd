"""The commands of one node, as a user of the load test sends them: each a request event of locust.

An event's ``context`` carries what the raw sample needs beside the time, so that samples and locust's own
statistics come from the same events and cannot disagree.
"""

import base64
import json
from typing import Any, Protocol

from loadtests.errors import NodeError
from loadtests.quiet import error_text
from loadtests.samples import GET, POST, QUERY
from loadtests.targets import Node
from loadtests.workload import Payload


class Session(Protocol):
    """What is used of locust's ``FastHttpSession``."""

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        """Send a request; with ``catch_response`` the answer is a context manager that is told of
        failures.
        """


class NodeClient:
    """Sends commands to one node."""

    def __init__(self, node: Node, session: Session) -> None:
        """Use a session; ``node`` may be changed between commands, connections to all of them are kept."""
        self.node = node
        self._session = session

    def post(self, payload: Payload, *, late: float) -> bool:
        """Post a file. Returns whether the node has taken it; a refusal is an event of its own kind: a
        failure.
        """
        file = base64.b64encode(payload.data).decode("ascii")
        answer = self._command(POST, late=late, size=len(payload.data), file=file, name=payload.name)
        return answer is not None

    def get(self, path: str, *, late: float, size: int) -> bool:
        """Let the node fetch a file into its download directory. ``size`` in bytes, 0 if it is not known."""
        return self._command(GET, path, late=late, size=size) is not None

    def query(self, *, late: float) -> list[dict[str, str]] | None:
        """All contributions that the node knows, or None if it failed."""
        answer = self._command(QUERY, late=late, size=0)
        return answer if isinstance(answer, list) else None

    def _command(self, kind: str, *args: str, late: float, size: int, **extra: str) -> Any:
        body = {"method": {"argcnt": len(args), "cmd": kind}, "args": list(args), **extra}
        context = {"kind": kind, "node": self.node, "late": late, "bytes": size}
        with self._session.request(
            "POST",
            f"{self.node.url}/peersdb/command",
            name=kind,
            json=body,
            context=context,
            catch_response=True,
        ) as response:
            if response.status_code != 200:
                if response.status_code:  # 0: no answer at all, and locust has its own exception for it
                    response.failure(NodeError(error_text(response.status_code, response.content or b"")))
                return None
            try:
                answer = json.loads(response.content)
            except ValueError:
                answer = None
            if not _expected(kind, answer):
                response.failure(NodeError(f"not an answer to {kind}: {response.content[:80]!r}"))
                return None
            return answer


def _expected(kind: str, answer: object) -> bool:
    match kind:
        case "post":
            return answer == "File uploaded"
        case "get":
            return isinstance(answer, str) and answer.startswith("stored ")
        case _:
            return isinstance(answer, list)
