"""The commands of one node, as a user of the load test sends them: each a request event of locust.

An event's ``context`` carries what the raw sample needs beside the time, so that samples and locust's own
statistics come from the same events and cannot disagree.
"""

import base64
import json
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

import gevent

from loadtests.errors import NodeError
from loadtests.quiet import authorization, error_text
from loadtests.samples import GET, ISVALID, POST, QUERY
from loadtests.targets import Node
from loadtests.workload import Payload

VERDICTS = ("valid", "invalid", "error", "abstain")
DECIDED_BY = ("own", "votes")


class Session(Protocol):
    """What is used of locust's ``FastHttpSession``."""

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        """Send a request; with ``catch_response`` the answer is a context manager that is told of
        failures.
        """


class NodeClient:
    """Sends commands to one node."""

    def __init__(self, node: Node, session: Session, fire: Callable[..., None]) -> None:
        """Use a session; ``node`` may be changed between commands, connections to all of them are kept.

        ``fire`` makes the event of a request that was cut off by the end of the run: locust makes none, and the
        slowest would be missing.
        """
        self.node = node
        self._session = session
        self._fire = fire

    def post(self, payload: Payload, *, late: float) -> bool:
        """Post a file. Returns whether the node has taken it; a refusal is an event of its own kind: a
        failure.
        """
        file = base64.b64encode(payload.data).decode("ascii")
        size = len(payload.data)
        answer = self._command(POST, _posted, late=late, size=size, file=file, name=payload.name)
        return answer is not None

    def upload(self, payload: Payload, *, late: float) -> bool:
        """Post a file as it is, by ``/peersdb/files``: no JSON, no base64. Returns as ``post`` does."""

        def fault(answer: Any) -> str:
            expected = {"path": f"/ipfs/{payload.cid}", "size": len(payload.data)}
            return "" if answer == expected else f"not an answer to a file: {answer!r:.80}"

        url = f"/peersdb/files?name={quote(payload.name, safe='')}"
        headers = {"Content-Type": "application/octet-stream"}
        return (
            self._send(
                POST, url, fault, late=late, size=len(payload.data), data=payload.data, headers=headers
            )
            is not None
        )

    def get(self, path: str, *, late: float, size: int) -> bool:
        """Let the node fetch a file into its download directory. ``size`` in bytes, 0 if it is not known."""
        return self._command(GET, _got, path, late=late, size=size) is not None

    def query(self, *, late: float) -> list[dict[str, str]] | None:
        """All contributions that the node knows, or None if it failed."""
        found: list[dict[str, str]] | None = self._command(QUERY, _listed, late=late, size=0)
        return found

    def isvalid(self, path: str, *, late: float) -> bool:
        """Ask whether a file is valid. Returns whether the node answered in the right form, whatever it says."""

        def fault(answer: Any) -> str:
            return validity_fault(answer, path)

        return self._command(ISVALID, fault, path, late=late, size=0) is not None

    def _command(
        self, kind: str, fault: Callable[[Any], str], *args: str, late: float, size: int, **extra: str
    ) -> Any:
        body = {"method": {"argcnt": len(args), "cmd": kind}, "args": list(args), **extra}
        return self._send(kind, "/peersdb/command", fault, late=late, size=size, json=body)

    def _send(
        self, kind: str, path: str, fault: Callable[[Any], str], *, late: float, size: int, **request: Any
    ) -> Any:
        """Send a request; what ``fault`` finds wrong with the decoded answer makes it a failure. None: it failed."""
        request["headers"] = {**request.get("headers", {}), **authorization(self.node)}
        context = {"kind": kind, "node": self.node, "late": late, "bytes": size}
        began, wall = time.perf_counter(), time.time()
        try:
            with self._session.request(
                "POST", f"{self.node.url}{path}", name=kind, context=context, catch_response=True, **request
            ) as response:
                return _taken(response, fault)
        except gevent.GreenletExit:
            seconds = time.perf_counter() - began
            self._fire(
                request_type="POST",
                name=kind,
                response_time=seconds * 1000,
                response_length=0,
                exception=NodeError(f"no answer after {seconds:.1f} s, when the run ended"),
                context=context,
                start_time=wall,
                url=path,
                response=None,
            )
            raise


def _taken(response: Any, fault: Callable[[Any], str]) -> Any:
    if response.status_code != 200:
        if response.status_code:  # 0: no answer at all, and locust has its own exception for it
            response.failure(NodeError(error_text(response.status_code, response.content or b"")))
        return None
    try:
        answer = json.loads(response.content)
    except ValueError:
        answer = response.content[:80]
    wrong = fault(answer)
    if wrong:
        response.failure(NodeError(wrong))
        return None
    return answer


def validity_fault(answer: Any, path: str) -> str:
    """What is wrong with an answer to ``isvalid``, empty if nothing is."""
    if not isinstance(answer, dict):
        return f"not an answer to isvalid: {answer!r:.80}"
    fields = {
        "path": answer.get("path") == path,
        "isValid": isinstance(answer.get("isValid"), bool),
        "voteCnt": type(answer.get("voteCnt")) is int and answer["voteCnt"] >= 0,
        "verdict": answer.get("verdict") in VERDICTS,
        "decidedBy": answer.get("decidedBy") in DECIDED_BY,
    }
    wrong = [name for name, right in fields.items() if not right]
    if wrong:
        return f"isvalid: {', '.join(f'{name} is {answer.get(name)!r:.80}' for name in wrong)}"
    if answer["isValid"] != (answer["verdict"] == "valid"):
        return f"isvalid: isValid is {answer['isValid']} and the verdict {answer['verdict']}"
    return ""


def _posted(answer: Any) -> str:
    return "" if answer == "File uploaded" else f"not an answer to post: {answer!r:.80}"


def _got(answer: Any) -> str:
    right = isinstance(answer, str) and answer.startswith("stored ")
    return "" if right else f"not an answer to get: {answer!r:.80}"


def _listed(answer: Any) -> str:
    return "" if isinstance(answer, list) else f"not an answer to query: {answer!r:.80}"
