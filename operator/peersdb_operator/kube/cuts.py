"""Which regions are cut off right now: what a benchmark's reconcile tells its cluster's, which alone writes policies.

A cut ends by itself when the benchmark no longer says so: whatever becomes of it, the cluster is healed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peersdb_operator.kube.cache import Key

#: Seconds that a cut is good for without being said again; a run is looked at every few seconds.
GOOD_FOR = 60.0


@dataclass(frozen=True, slots=True)
class _Cut:
    region: str
    benchmark: Key
    until: float


class Cuts:
    """The cuts of all clusters; one each at most, for one benchmark at a time runs on a cluster."""

    def __init__(self, on_change: Callable[[Key], None], clock: Callable[[], float]) -> None:
        """``on_change`` is told the key of a cluster whose cut is another one now."""
        self._on_change, self._clock = on_change, clock
        self._cuts: dict[Key, _Cut] = {}

    def cut(self, cluster: Key, region: str, benchmark: Key) -> None:
        """Say that a region is to be cut off, for a while."""
        before = self._cuts.get(cluster)
        self._cuts[cluster] = _Cut(region, benchmark, self._clock() + GOOD_FOR)
        if before is None or before.region != region:
            self._on_change(cluster)

    def heal(self, benchmark: Key) -> None:
        """Say that a benchmark cuts nothing off any more."""
        for cluster, cut in list(self._cuts.items()):
            if cut.benchmark == benchmark:
                del self._cuts[cluster]
                self._on_change(cluster)

    def of(self, cluster: Key) -> tuple[str, float]:
        """Give the region of a cluster that is cut off, and for how many seconds; empty and 0 if none is."""
        cut = self._cuts.get(cluster)
        left = 0.0 if cut is None else cut.until - self._clock()
        if cut is None or left <= 0:
            self._cuts.pop(cluster, None)
            return "", 0.0
        return cut.region, left
