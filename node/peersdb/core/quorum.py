"""Who decides whether a file is valid, and when the outcome cannot change any more."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: More than this share of the electorate (percent), as in the original.
HALF = 50


@dataclass(frozen=True, slots=True)
class Tally:
    """What the electorate said of one file, by weight.

    Attributes:
        valid: weight of the voters that found it valid.
        invalid: of those that found it invalid.
        other: of those that could not say (``error``, ``abstain``).
        total: of the whole electorate.
        voters: how many of them said something.
    """

    valid: int = 0
    invalid: int = 0
    other: int = 0
    total: int = 0
    voters: int = 0

    @property
    def silent(self) -> int:
        """The weight of those that said nothing."""
        return self.total - self.valid - self.invalid - self.other


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows of a tally.

    Attributes:
        verdict: ``valid``, ``invalid``, or empty while neither has its quorum.
        final: no vote that is still out can change it.
    """

    verdict: str
    final: bool


def decide(tally: Tally, percent: int = HALF) -> Outcome:
    """Whether a side has more than ``percent`` of the electorate's weight, or still may have it.

    Since a quorum below half could make a file valid and invalid at once, the smallest is 50.

    Args:
        tally: what was said.
        percent: 50 to 99.
    """
    needed = percent * tally.total

    def has(weight: int) -> bool:
        return weight * 100 > needed

    if has(tally.valid):
        return Outcome("valid", final=True)
    if has(tally.invalid):
        return Outcome("invalid", final=True)
    open_ = has(tally.valid + tally.silent) or has(tally.invalid + tally.silent)
    return Outcome("", final=not open_)


def verdict_of(verdicts: Iterable[str]) -> str:
    """One voter's (or this node's) verdict on a file from those of its validators.

    One that found a fault is enough for ``invalid``; one that failed leaves the rest unknown (``error``); ``abstain``
    is what no validator has an opinion on.
    """
    found = set(verdicts)
    return next((verdict for verdict in ("invalid", "error", "valid") if verdict in found), "abstain")


def count(votes: Mapping[str, str], weights: Mapping[str, int]) -> Tally:
    """The tally of voters' verdicts on a file; who is not of the electorate does not count.

    Args:
        votes: voter → verdict.
        weights: the electorate: voter → weight, at least 1.
    """
    sums: Counter[str] = Counter()
    voters = 0
    for voter, verdict in votes.items():
        weight = weights.get(voter, 0)
        voters += weight > 0
        sums[verdict if verdict in ("valid", "invalid") else "other"] += weight
    return Tally(sums["valid"], sums["invalid"], sums["other"], sum(weights.values()), voters)
