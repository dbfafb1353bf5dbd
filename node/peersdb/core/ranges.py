"""Range-based set reconciliation, for what version vectors do not explain.

Two nodes compare the fingerprints of ranges of the log's order; where they differ, the range is split in
sixteen, until one side has few enough entries in it to name them. Rounds grow with the logarithm of the log,
bytes with the difference. After A. Meyer, "Range-Based Set Reconciliation" (arXiv 2212.13567).

Stateless: each message is answered from the set alone, so it does not matter who began.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from peersdb.core.reconcile import Fingerprint

#: A range with so many entries or fewer is told item by item.
LEAF = 256
#: Parts a larger range is split into.
PARTS = 16

Bound = tuple[int, bytes]
"""A place in the order (clock time, digest); a range is from one, inclusive, to another, exclusive."""

LOWEST: Bound = (0, b"")
HIGHEST: Bound = (2**63 - 1, b"\xff" * 32)


@dataclass(frozen=True, slots=True)
class Range:
    """What somebody has between two places."""

    low: Bound
    high: Bound
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Items:
    """All digests that somebody has in a range."""

    range: Range
    digests: tuple[bytes, ...]


class RangeStore(Protocol):
    """A set of entries in its order."""

    def fingerprint(self, low: Bound, high: Bound) -> Fingerprint:
        """Count and sum of the range."""
        ...

    def digests(self, low: Bound, high: Bound) -> tuple[bytes, ...]:
        """All digests of the range, in order; only asked of small ranges."""
        ...

    def cuts(self, low: Bound, high: Bound, count: int, parts: int) -> list[Bound]:
        """Places that cut a range of ``count`` entries into parts of about the same size, ascending."""
        ...


def whole(store: RangeStore) -> Range:
    """The range of everything: how a comparison begins."""
    return Range(LOWEST, HIGHEST, store.fingerprint(LOWEST, HIGHEST))


def compare(store: RangeStore, theirs: Sequence[Range]) -> tuple[list[Range], list[Items]]:
    """Answers what the other side said of its ranges.

    Returns:
        Parts of the ranges that differ, to be compared in turn; and the items of those small enough.
    """
    parts: list[Range] = []
    items: list[Items] = []
    for their in theirs:
        mine = store.fingerprint(their.low, their.high)
        if mine == their.fingerprint:
            continue
        if mine.count <= LEAF:
            items.append(Items(Range(their.low, their.high, mine), store.digests(their.low, their.high)))
        else:
            parts += _split(store, their.low, their.high, mine.count)
    return parts, items


def settle(store: RangeStore, theirs: Items) -> tuple[list[bytes], list[bytes] | None]:
    """Answers the items of a range.

    Returns:
        What they have and we lack; and what we have and they lack, or None where that is more than a leaf
        and so has to be sent as a range.
    """
    low, high = theirs.range.low, theirs.range.high
    named = set(theirs.digests)
    if store.fingerprint(low, high).count > LEAF + len(named):
        return [], None
    mine = store.digests(low, high)
    return sorted(named.difference(mine)), [digest for digest in mine if digest not in named]


def _split(store: RangeStore, low: Bound, high: Bound, count: int) -> list[Range]:
    places = [low, *store.cuts(low, high, count, PARTS), high]
    return [
        Range(start, end, store.fingerprint(start, end)) for start, end in pairwise(places) if start < end
    ]
