"""Newcomers that come in waves: each is timed from the start of its process until it has what the cluster had.

Somebody else starts them (the operator, as pods); until one answers there is nothing to see of it. How long its process
has run then is its own word, so no clocks are compared and no time of a scheduler is in it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from loadtests.errors import JoinFailed, NodeError
from loadtests.quiet import QuietClient
from loadtests.targets import Node

PAUSE_SECONDS = 0.02
# While it is still placed and started.
AWAY_SECONDS = 0.2
# A newcomer that does not answer for so long is asked anew.
ANSWER_SECONDS = 2.0


@dataclass(frozen=True)
class Joined:
    """How a newcomer did, in seconds from the start of its process."""

    began: float
    """When its process started, by the clock here, seconds since the epoch."""

    seconds: float
    error_bar: float
    """It had caught up at most so long before."""


def entries_of(nodes: list[Node]) -> int:
    """How many entries the cluster has: those of the root, or of the first node that answers.

    Raises:
        NodeError: none answers.
    """
    trouble = NodeError("there is no node to ask how many entries there are")
    for node in sorted(nodes, key=lambda one: not one.root):
        try:
            with QuietClient(node) as client:
                return int(client.status()["entries"])
        except NodeError as error:
            trouble = error
    raise trouble


def watch(
    node: Node,
    goal: int,
    *,
    timeout: float,
    sleep: Callable[[float], None],
    clock: Callable[[], float] = time.time,
) -> Joined:
    """Wait until a newcomer is ready and has ``goal`` entries.

    Args:
        node: it need not be there yet.
        goal: entries.
        timeout: seconds from now.
        sleep: cooperative where it must be.
        clock: wall clock, seconds since the epoch.

    Raises:
        JoinFailed: it did not come, or did not catch up, in time; or it started anew meanwhile.
    """
    since, last, entries = clock(), 0.0, -1
    uptime = 0.0
    with QuietClient(node, timeout=ANSWER_SECONDS) as client:
        while clock() - since < timeout:
            try:
                status = client.status()
                before, uptime = uptime, float(status["process"]["uptimeSeconds"])
                entries = int(status["entries"])
            except NodeError:
                sleep(AWAY_SECONDS)
                continue
            except (KeyError, TypeError, ValueError) as error:
                raise JoinFailed(f"{node.name}: its status is not one of a node: {error}") from error
            if uptime < before:
                raise JoinFailed(f"{node.name} started anew while it was joining")
            if status["ready"] and entries >= goal:
                return Joined(clock() - uptime, uptime, uptime - last)
            last = uptime
            sleep(PAUSE_SECONDS)
    if entries < 0:
        raise JoinFailed(f"{node.name} did not answer within {timeout:g} s")
    raise JoinFailed(f"{node.name} had {entries} of {goal} entries after {timeout:g} s")
