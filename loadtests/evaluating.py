"""Which of the processes that make load posts the evaluation: the first that asks, of those that drive its node.

By messages of locust between them and the one that directs; a local runner is both, and talks to itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gevent import Timeout
from gevent.event import AsyncResult
from gevent.event import Event as Signal

from loadtests.gather import contributor
from loadtests.segments import Segment, taking_part

CLAIM, GRANT, POSTED = (f"peersdb_evaluation_{name}" for name in ("claim", "grant", "posted"))
# A message there and back; the other side does nothing long.
GRANT_SECONDS = 30.0
# All users are there within seconds, and ask at once.
CLAIM_SECONDS = 60.0


@dataclass
class Evaluating:
    """How the evaluation stands, where it is directed."""

    by: str | None = None
    """The client that posts."""

    part: float = 0.0
    """Of its archives that are posted, 0 to 1."""

    over: Signal = field(default_factory=Signal)
    """All is posted, or posting came to an end otherwise."""

    def begin(self) -> None:
        """Another segment: it is posted again."""
        self.by, self.part = None, 0.0
        self.over.clear()

    def stuck(self, runner: Any, seconds: float) -> str:
        """Why nobody will post any more, so long after the beginning; empty: somebody may."""
        if self.by is None:
            return "no worker drives the node that the evaluation posts on" if seconds > CLAIM_SECONDS else ""
        clients = getattr(runner, "clients", None)  # a local runner has none
        if clients is not None and (self.by not in clients or clients[self.by].state == "missing"):
            return "the worker that posted the evaluation was lost"
        return ""


def direct(environment: Any, evaluating: Evaluating) -> None:
    """Answer those who ask, from now on."""
    runner = environment.runner

    def on_claim(msg: Any, **_: Any) -> None:
        segment = Segment.from_message(environment.parsed_options.peersdb_segment)
        node = contributor(taking_part(environment.peersdb_direction.nodes, segment.cell)).name
        granted = evaluating.by is None and node in msg.data["drives"]
        if granted:
            evaluating.by = msg.node_id
        runner.send_message(GRANT, {"node": node if granted else None}, msg.node_id)

    def on_posted(msg: Any, **_: Any) -> None:
        direction = getattr(environment, "peersdb_direction", None)
        if direction is not None:
            for problem in msg.data["problems"]:
                direction.problem(problem)
        evaluating.part = msg.data["part"]
        if msg.data["over"]:
            evaluating.over.set()

    runner.register_message(CLAIM, on_claim)
    runner.register_message(POSTED, on_posted)


def take_part(environment: Any) -> None:
    """Hear answers, from now on."""

    def on_grant(msg: Any, **_: Any) -> None:
        environment.peersdb_grant.set(msg.data["node"])

    environment.runner.register_message(GRANT, on_grant)


def claim(environment: Any, drives: Iterable[str]) -> str | None:
    """The node to post on, if this process is the one that posts.

    Args:
        environment: locust's.
        drives: names of the nodes that this process drives.
    """
    environment.peersdb_grant = answer = AsyncResult()
    environment.runner.send_message(CLAIM, {"drives": sorted(drives)})
    try:
        found: str | None = answer.get(timeout=GRANT_SECONDS)
    except Timeout:
        return None
    return found


def tell(environment: Any, part: float, *, over: bool = False, problems: tuple[str, ...] = ()) -> None:
    """Say how far posting is, 0 to 1, and what went wrong."""
    environment.runner.send_message(POSTED, {"part": part, "over": over, "problems": list(problems)})
