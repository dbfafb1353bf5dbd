"""Faults of the API server: told to a proxy in between (`fault_proxy`), which makes them.

Rules are a file, so that they can be changed while it runs; what it saw is another.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cluster.certificates import Pair

PACKAGE = Path(__file__).parents[1]
"""Where Python finds the package ``cluster``."""

#: The reasons that Kubernetes gives with these statuses; clients look at them.
REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, kw_only=True)
class ApiFault:
    """One fault; of several the first that matches is made.

    Attributes:
        kind: ``answer`` with an error; ``delay`` what is asked; ``cut`` the connection without an answer, open watches
            too; ``stall`` watches: they stay open, and silent; ``expire`` watches: they end with 410, as after a
            compaction.
        methods: of HTTP; all by default.
        path: a regular expression that is searched in the path with its query.
        watch: whether it is for watches only, or for all but watches; by default for both.
        status: of ``answer``.
        seconds: of ``delay``; with ``answer`` and status 429 the time that the client is told to wait.
        passes: whether the request is carried out all the same, and only its answer is lost.
        percent: of so many of a hundred requests that match, evenly spread.
    """

    kind: Literal["answer", "delay", "cut", "stall", "expire"]
    methods: tuple[str, ...] = ()
    path: str = ""
    watch: bool | None = None
    status: int = 500
    seconds: float = 1.0
    passes: bool = False
    percent: int = 100

    def matches(self, method: str, path: str, *, watch: bool) -> bool:
        """Whether it is for a request."""
        if self.kind in {"stall", "expire"} and not watch:
            return False
        return (
            (not self.methods or method in self.methods)
            and (self.watch is None or self.watch == watch)
            and re.search(self.path, path) is not None
        )

    def chosen(self, number: int) -> bool:
        """Whether the request that matched as the ``number``th, from 0, is among the ``percent``."""
        return (number + 1) * self.percent // 100 > number * self.percent // 100


def write(file: Path, faults: Iterable[ApiFault]) -> None:
    """Put faults in force: all at once, in place of those before."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(fault) for fault in faults]))
    partial.rename(file)


def read(file: Path) -> list[ApiFault]:
    """Read what `write` wrote."""
    return [ApiFault(**{**kept, "methods": tuple(kept["methods"])}) for kept in json.loads(file.read_text())]


@dataclass(frozen=True)
class Seen:
    """A request that came by the proxy.

    Attributes:
        method: of HTTP.
        path: with its query.
        status: of the answer; 0 where there was none.
        fault: the kind of the fault that was made, or nothing.
        agent: what the client calls itself.
    """

    method: str
    path: str
    status: int
    fault: str
    agent: str

    @property
    def writes(self) -> bool:
        """Whether it was meant to change something."""
        return self.method not in {"GET", "HEAD", "OPTIONS"}


def seen(file: Path) -> list[Seen]:
    """Read what the proxy wrote of all requests so far."""
    if not file.exists():
        return []
    return [Seen(**json.loads(line)) for line in file.read_text().splitlines() if line.endswith("}")]


def status(code: int, message: str, seconds: float = 0.0) -> dict[str, Any]:
    """Give the body of an error, as an API server would."""
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": REASONS.get(code, "Unknown"),
        "code": code,
    }
    if seconds:
        body["details"] = {"retryAfterSeconds": int(seconds)}
    return body


class FaultyApi:
    """An API server as clients see it through the proxy.

    Attributes:
        argv: the proxy's command line.
    """

    def __init__(
        self, directory: Path, *, host: str, port: int, upstream: str, authority: Path, serving: Pair
    ) -> None:
        """Begin without faults; whoever runs ``argv`` decides where."""
        directory.mkdir(parents=True, exist_ok=True)
        self._rules = directory / "faults.json"
        self._log = directory / "requests.jsonl"
        self._log.unlink(missing_ok=True)
        write(self._rules, [])
        self.argv = [sys.executable, "-m", "cluster.fault_proxy", host, str(port), upstream]
        self.argv += [
            str(file) for file in (authority, serving.certificate, serving.key, self._rules, self._log)
        ]

    def set(self, *faults: ApiFault) -> None:
        """Put faults in force, in place of those before; without any, none is made.

        It takes the proxy a tenth of a second to see them.
        """
        write(self._rules, faults)

    def seen(self) -> Sequence[Seen]:
        """Give all requests so far that came to an end; watches do when they are closed."""
        return seen(self._log)
