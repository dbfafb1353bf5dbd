"""Where the time of one post goes, looked at from inside a node.

``python -m benchmarks.budget REPORT FLAG...`` is a node that notes the time at each stage of a post, and writes the
medians to the file REPORT at its end. It patches the node's functions: each note costs about a microsecond.
"""

from __future__ import annotations

import atexit
import json
import runpy
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

#: What ends each stage, in order, and what the stage is.
STAGES = {
    "received": "client: its turn, and the way of answer and request",
    "handler": "aiohttp: request read and parsed, a task made for it, routed",
    "decoded": "checks, JSON, base64",
    "queued": "block, CID, validation record, hand-over",
    "writer": "the writer's thread wakes",
    "begun": "BEGIN",
    "unsigned": "the log's row, clock, contribution, first encoding",
    "signed": "Ed25519 signature",
    "kept": "second encoding, rows of entry, heads, vector, block, pin, record",
    "committed": "COMMIT: pages into the WAL, checksums, sync",
    "told": "HTTP's thread wakes",
    "sent": "answer: headers, one send",
}
#: Posts left out at the start: the first ones load code and make tables grow.
WARM = 100


def run(report: Path) -> None:
    """Runs a node with the flags in ``sys.argv``."""
    now: dict[str, int] = {}
    posts: list[dict[str, int]] = []

    def note(stage: str) -> None:
        now[stage] = time.perf_counter_ns()

    def end() -> None:
        note("sent")
        if now.keys() >= STAGES.keys():
            posts.append(dict(now))

    patch(note, end)
    atexit.register(lambda: report.write_text(json.dumps(medians(posts[WARM:]))))
    runpy.run_module("peersdb", run_name="__main__")


def medians(posts: list[dict[str, int]]) -> dict[str, float]:
    """The median of each stage, microseconds."""
    names = list(STAGES)
    found = {"received": [post["received"] - last["sent"] for last, post in pairwise(posts)]}
    for before, after in pairwise(names):
        found[after] = [post[after] - post[before] for post in posts]
    return {name: statistics.median(times) / 1e3 for name, times in found.items()}


def patch(note: Callable[[str], None], end: Callable[[], None]) -> None:
    """Lets the stages note their time."""
    from aiohttp.web_protocol import RequestHandler  # noqa: PLC0415 - in the node's process alone

    from peersdb.api.bridge import Bridge  # noqa: PLC0415
    from peersdb.api.http import HttpApi  # noqa: PLC0415
    from peersdb.core.identity import Signer  # noqa: PLC0415
    from peersdb.store.database import Database  # noqa: PLC0415
    from peersdb.store.outcome import Outcome  # noqa: PLC0415

    for owner, name, before, after in (
        (HttpApi, "_answer", "handler", ""),
        (Bridge, "direct", "decoded", ""),
        (Signer, "sign", "unsigned", "signed"),
        (Database, "_commit", "writer", "committed"),
        (Outcome, "get", "told", ""),
    ):
        setattr(owner, name, noting(getattr(owner, name), note, before, after))
    submit, finish = Database.submit, RequestHandler.finish_response
    receive = RequestHandler.data_received

    def receive_noting(self: RequestHandler, data: bytes) -> None:
        if data:  # aiohttp calls it once more without any
            note("received")
        receive(self, data)

    def submit_noting(self: Database, job: Callable[..., Any], **how: Any) -> Any:
        note("queued")
        return submit(self, noting(job, note, "begun", "kept"), **how)

    async def finish_noting(self: RequestHandler, *args: Any) -> Any:
        result = await finish(self, *args)
        end()
        return result

    setattr(RequestHandler, "data_received", receive_noting)  # noqa: B010 - a method is replaced on purpose
    setattr(Database, "submit", submit_noting)  # noqa: B010
    setattr(RequestHandler, "finish_response", finish_noting)  # noqa: B010


def noting(
    function: Callable[..., Any], note: Callable[[str], None], before: str, after: str
) -> Callable[..., Any]:
    """A function that notes its begin and, where that is a stage, its end."""

    def run(*args: Any, **how: Any) -> Any:
        note(before)
        result: Any | Awaitable[Any] = function(*args, **how)
        if after:
            note(after)
        return result

    return run


if __name__ == "__main__":
    target = Path(sys.argv[1])
    sys.argv[:2] = ["peersdb"]
    run(target)
