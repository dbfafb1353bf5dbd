"""Replication: what the load posted is joined with what the nodes' feeds show, wherever each was noticed.

Pure. An entry is posted by one process and seen by another, the one in the target's own region; the master brings them
together here. The time is that from the entry's signed creation to the target's first answer that has it, each by its
node's own clock, both brought to the clock of the load generator. What was posted and not seen in time is a failure:
also where the process that should have seen it has died.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from loadtests.clocks import Comparison
from loadtests.feed import Seen

# An entry and target take about 300 bytes: 60 MB. Reached where 6,000 posts a second wait 10 s for three nodes.
MAX_AWAITED = 200_000
# Entries seen before their post was told, since processes report once a second; or never posted by us.
MAX_EARLY = 100_000
EARLY_SECONDS = 30.0
# Both reports, and a moment of a busy machine.
REPORT_SLACK = 5.0


@dataclass(frozen=True)
class Post:
    """An entry that the load has posted."""

    path: str
    source: str
    ts: float
    """When the answer to ``post`` was there, by the load generator's clock."""

    size: int
    segment: int


@dataclass(frozen=True)
class Outcome:
    """The end of waiting for an entry on one node."""

    post: Post
    target: str
    seen: Seen | None
    """None: it was not visible in time."""


@dataclass
class _Awaited:
    post: Post
    targets: set[str]
    deadline: float


@dataclass
class Ledger:
    """Joins posts with what was seen. Times passed in are of one monotonic clock."""

    timeout: float
    """Seconds from a post until a target counts as failed."""

    slack: float = REPORT_SLACK
    _awaited: dict[str, _Awaited] = field(default_factory=dict)
    _early: dict[str, list[tuple[float, Seen]]] = field(default_factory=dict)
    _early_count: int = 0
    pairs: int = 0
    """Entries and targets that are awaited."""

    unwatched: int = 0
    """Posts that were not watched, because the limit was reached."""

    forgotten: int = 0
    """Entries seen whose post may come yet, given up because the limit was reached."""

    def posted(self, post: Post, targets: Sequence[str], now: float) -> list[Outcome]:
        """Await an entry on ``targets``; what was seen already is returned."""
        if self.pairs + len(targets) > MAX_AWAITED:
            self.unwatched += 1
            return []
        if not targets or post.path in self._awaited:
            return []
        self._awaited[post.path] = _Awaited(post, set(targets), now + self.timeout + self.slack)
        self.pairs += len(targets)
        early = self._early.pop(post.path, [])
        self._early_count -= len(early)
        return [outcome for _, seen in early for outcome in self._arrived(seen)]

    def seen(self, seen: Seen, now: float) -> list[Outcome]:
        """An entry was seen on a node; a second time on the same node counts nothing."""
        if seen.path in self._awaited:
            return self._arrived(seen)
        if self._early_count >= MAX_EARLY:
            self.forgotten += 1
            return []
        self._early.setdefault(seen.path, []).append((now, seen))
        self._early_count += 1
        return []

    def expired(self, now: float) -> list[Outcome]:
        """Give up what was not seen in time, and forget what nobody posted."""
        late = []
        while self._awaited:
            first = next(iter(self._awaited.values()))  # in the order of posting, so of the deadlines
            if first.deadline > now:
                break
            late += self._give_up(first)
        while self._early:
            path, found = next(iter(self._early.items()))
            if found[0][0] + EARLY_SECONDS > now:
                break
            del self._early[path]
            self._early_count -= len(found)
        return late

    def cut_short(self) -> list[Outcome]:
        """Give up all that is still awaited."""
        return [outcome for awaited in list(self._awaited.values()) for outcome in self._give_up(awaited)]

    def _arrived(self, seen: Seen) -> list[Outcome]:
        awaited = self._awaited.get(seen.path)
        if awaited is None or seen.target not in awaited.targets:
            return []
        awaited.targets.remove(seen.target)
        self.pairs -= 1
        if not awaited.targets:
            del self._awaited[seen.path]
        return [Outcome(awaited.post, seen.target, seen)]

    def _give_up(self, awaited: _Awaited) -> list[Outcome]:
        del self._awaited[awaited.post.path]
        self.pairs -= len(awaited.targets)
        return [Outcome(awaited.post, target, None) for target in sorted(awaited.targets)]


@dataclass(frozen=True)
class Measured:
    """How long an entry took to a node, in seconds."""

    began: float
    """Its creation, by the load generator's clock."""

    seconds: float
    error_bar: float
    error: str
    """Empty, or why it counts as failed."""


def measure(
    outcome: Outcome, source: Comparison | None, target: Comparison | None, timeout: float
) -> Measured:
    """Judge an outcome, given how far the clocks of its two nodes are from the one here."""
    seen = outcome.seen
    if seen is None:
        return Measured(
            outcome.post.ts, timeout, 0.0, f"not visible on {outcome.target} within {timeout:g} s"
        )
    silent = [name for name, one in ((outcome.post.source, source), (outcome.target, target)) if one is None]
    if source is None or target is None:
        return Measured(
            outcome.post.ts, timeout, 0.0, f"the clock of {', '.join(silent)} could not be compared"
        )
    created = seen.created - source.offset
    # Below zero is what the comparison leaves open: the error bar has it.
    seconds = max(0.0, seen.at - target.offset - created)
    error = f"visible on {outcome.target} only after {seconds:.1f} s" if seconds > timeout else ""
    return Measured(created, seconds, seen.gap + source.error + target.error, error)
