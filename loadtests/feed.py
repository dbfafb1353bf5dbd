"""Watching nodes for what arrives there, by their own feed: a request that the node answers when something came.

One greenlet follows each node. The node's clock in its answer says when the entry was visible there. Nobody looks
between an answer and the moment when the next question has reached the node: an entry that came in that gap is told
late, at most by the gap, which goes along as its error.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import gevent

from loadtests.clocks import Comparison, best, compare
from loadtests.errors import NodeAnswersError, NodeError
from loadtests.quiet import Changes, QuietClient
from loadtests.targets import Node

# A node lets a question wait for 30 s at most.
WAIT_SECONDS = 20.0
# At most 1,000 entries of 200 bytes come at once.
LIMIT = 1000
QUESTIONS = 3
# While a node is away it is asked again after these pauses.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
# What was made so long before the watching began is not of this run, however the clocks differ.
OLDER_SECONDS = 60.0


@dataclass(frozen=True)
class Seen:
    """An entry that a node has shown."""

    path: str
    target: str
    at: float
    """When, by the node's own clock, seconds since the epoch."""

    gap: float
    """It was there at most so many seconds earlier."""

    created: float
    """Its signed creation, by its author's clock."""


@dataclass
class Follower:
    """How far one node was followed. Pure: times are passed in."""

    target: str
    since: float
    """What was created before is left out."""

    after: int | None = None
    """The number of the last entry known; None before the first answer."""

    _last: float = 0.0
    _clock: Comparison | None = None
    missed_start: bool = field(default=False)
    """The node did not answer when the watching began: then all it has may be new."""

    def first(self, answers: Sequence[tuple[float, Changes, float]]) -> None:
        """Begin, or begin again, with some answers to questions without a number: (sent, answer, received).

        What came while the node was away is told late by all of that time: the last look stays where it was.
        """
        found = [compare(sent=sent, now=answer.now, received=received) for sent, answer, received in answers]
        self._clock = best(found, answers[-1][2])
        if self.after is None:
            self._last = answers[-1][1].now
            self.after = 0 if self.missed_start else answers[-1][1].seq

    def take(self, sent: float, answer: Changes) -> list[Seen]:
        """What an answer to a question sent at ``sent`` (by the clock here) shows for the first time."""
        gap = self._gap(sent, answer.now)
        self._last, self.after = answer.now, answer.seq
        return [
            Seen(entry.path, self.target, answer.now, gap, entry.created)
            for entry in answer.entries
            if entry.created >= self.since
        ]

    def _gap(self, sent: float, now: float) -> float:
        whole = now - self._last
        if self._clock is None:
            return max(0.0, whole)
        # The question had reached the node a round trip after it was sent, at the latest.
        reached = sent + self._clock.offset + 3 * self._clock.error
        return max(0.0, min(whole, reached - self._last))


class Feed:
    """Follows nodes."""

    def __init__(
        self,
        nodes: Sequence[Node],
        report: Callable[[Seen], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start a greenlet for each node; each entry seen is passed to ``report``."""
        self._report = report
        self._clock = clock
        self._since = clock() - OLDER_SECONDS
        self._waiting = {node.name for node in nodes}
        self.too_old: set[str] = set()
        """Nodes that have no feed."""

        self._greenlets = [gevent.spawn(self._follow, node) for node in nodes]

    def wait(self, seconds: float) -> None:
        """Wait until each node is followed, or was found not to answer; at most so long."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            gevent.sleep(0.01)

    def close(self) -> None:
        """Stop watching."""
        gevent.killall(self._greenlets)

    def _follow(self, node: Node) -> None:
        follower = Follower(node.name, self._since)
        pause = FIRST_PAUSE
        # The node answers within the time it was given, or it is away.
        with QuietClient(node, timeout=WAIT_SECONDS + 10) as client:
            while True:
                try:
                    self._begin(client, follower)
                    self._waiting.discard(node.name)
                    pause = FIRST_PAUSE
                    while True:
                        sent = self._clock()
                        answer = client.changes(follower.after, wait=WAIT_SECONDS, limit=LIMIT)
                        for seen in follower.take(sent, answer):
                            self._report(seen)
                except NodeError as error:
                    if isinstance(error, NodeAnswersError) and str(error).partition(": ")[2].startswith(
                        "404"
                    ):
                        self.too_old.add(node.name)
                    if follower.after is None:
                        follower.missed_start = True
                    self._waiting.discard(node.name)
                    gevent.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)

    def _begin(self, client: QuietClient, follower: Follower) -> None:
        answers = []
        for _ in range(QUESTIONS):
            sent = self._clock()
            answers.append((sent, client.changes(None), self._clock()))
        follower.first(answers)
