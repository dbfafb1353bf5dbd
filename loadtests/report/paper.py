"""The two experiments of the original's evaluation, ours beside published ones, region by region.

Regions of Google's cloud are matched without their zone: ``us-west1-b`` is ``us-west1``.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from loadtests.benchmarks import Benchmark
from loadtests.report.data import RUNS, Results
from loadtests.report.headline import response
from loadtests.samples import JOIN, POST, REPLICATION, Sample, of_kind
from loadtests.statistics import percentile

ARRIVAL = "arrival"
VISIBLE = "visible by query"
JOINED = "joined"
OWN = "by its own measure"
OURS = {
    JOINED: "ours: process start until ready with all earlier entries",
    OWN: "ours, as the nodes measured it",
    ARRIVAL: "ours: arrival minus creation (as published)",
    VISIBLE: "ours: visible by query minus creation",
}
"""Our series in words; every other series is published, by its label."""

_ZONE = re.compile(r"([a-z]+-[a-z]+[0-9]+)-[a-z]")


def region_name(region: str) -> str:
    """A region without its zone."""
    found = _ZONE.fullmatch(region)
    return found.group(1) if found else region or "(none)"


@dataclass(frozen=True)
class Start:
    """One node's bootstrap."""

    region: str
    seconds: float
    """Infinite if it failed."""

    before: int | None = None
    """Nodes that were there before it; None where that is not known."""

    wave: int | None = None


@dataclass(frozen=True)
class Spread:
    """One node's replication times in seconds; a failure makes them infinite."""

    region: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """What one column of a table says of one region; ``nan`` without values."""

    nodes: int
    median: float
    """Of the nodes' values."""

    mean: float
    low: float
    high: float


NOBODY = Group(0, math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Row:
    """One region: a group for each series that has values in it, by the series' label."""

    region: str
    groups: dict[str, Group]
    limit: float = math.nan
    """Half a round trip from where the entries were posted, in seconds: nothing can arrive sooner."""

    def group(self, series: str) -> Group:
        """The group of a series, or one of no nodes."""
        return self.groups.get(series, NOBODY)

    def ratio(self, theirs: str, ours: str, figure: str) -> float:
        """How many times as long theirs took; ``nan`` where one of both has no value."""
        mine = float(getattr(self.group(ours), figure))
        return float(getattr(self.group(theirs), figure)) / mine if mine > 0 else math.nan

    def times_limit(self, series: str) -> float:
        """The mean in half round trips."""
        return self.group(series).mean / self.limit if self.limit > 0 else math.nan


@lru_cache(RUNS)
def starts(results: Results) -> dict[str, list[Start]]:
    """Bootstrap times by series: ours as the load generator saw it and as the nodes did, and published ones."""
    series = {
        JOINED: joined(results),
        OWN: [
            Start(region_name(one.region), one.bootstrap) for one in results.benchmarks if one.bootstrap > 0
        ],
        **{one.label: _grown(one.benchmarks) for one in results.published},
    }
    return {label: found for label, found in series.items() if found}


def joined(results: Results) -> list[Start]:
    """The newcomers in the order of their start."""
    joins = sorted(of_kind(results.samples, JOIN), key=lambda sample: sample.ts)
    waves = {
        member: event.wave
        for event in results.described.events
        if event.wave is not None
        for member in event.members
    }
    newcomers = {sample.target for sample in joins}
    base = len([node for node in results.run.nodes if node["name"] not in newcomers]) if results.run else None
    return [
        Start(
            region_name(sample.target_region),
            response(sample),
            None if base is None else base + _earlier(sample, joins, waves),
            waves.get(sample.target),
        )
        for sample in joins
    ]


@lru_cache(RUNS)
def spreads(results: Results) -> dict[str, list[Spread]]:
    """Replication times of each node by series."""
    by_node: dict[tuple[str, str], list[float]] = {}
    for sample in of_kind(results.samples, REPLICATION):
        key = (region_name(sample.target_region), sample.target)
        by_node.setdefault(key, []).append(response(sample))
    series = {
        ARRIVAL: _arrivals(results.benchmarks),
        VISIBLE: [
            Spread(region, math.fsum(values) / len(values), min(values), max(values))
            for (region, _), values in sorted(by_node.items())
        ],
        **{one.label: _arrivals(one.benchmarks) for one in results.published},
    }
    return {label: found for label, found in series.items() if found}


@lru_cache(RUNS)
def start_rows(results: Results) -> list[Row]:
    """The table of figure 1."""
    series = starts(results)
    groups = {
        label: _grouped((one.region, one.seconds, one.seconds, one.seconds) for one in found)
        for label, found in series.items()
    }
    return _rows(groups, {})


@lru_cache(RUNS)
def spread_rows(results: Results) -> list[Row]:
    """The table of figure 2."""
    groups = {
        label: _grouped((one.region, one.mean, one.low, one.high) for one in found)
        for label, found in spreads(results).items()
    }
    return _rows(groups, limits(results))


@lru_cache(RUNS)
def limits(results: Results) -> dict[str, float]:
    """Half a round trip in seconds by region, from where its entries came; only for regions where all are
    known.
    """
    trips = {
        frozenset(map(region_name, pair.split("/"))): milliseconds / 2000
        for pair, milliseconds in results.described.latency.items()
    }
    sources: dict[str, list[str]] = {}
    for sample in of_kind(results.samples, REPLICATION):
        sources.setdefault(region_name(sample.target_region), []).append(region_name(sample.source_region))
    posted = [region_name(sample.source_region) for sample in of_kind(results.samples, POST)]
    found = {}
    for region in {region_name(name) for name in results.regions}:
        halves = [trips.get(frozenset((source, region)), math.nan) for source in sources.get(region, posted)]
        half = math.fsum(halves) / len(halves) if halves else math.nan
        if math.isfinite(half):
            found[region] = half
    return found


def _earlier(sample: Sample, joins: Sequence[Sample], waves: dict[str, int]) -> int:
    """Newcomers of earlier waves: those stay, so the cluster has grown by them."""
    mine = waves.get(sample.target)
    if mine is None:
        return 0
    return sum((waves.get(other.target) or mine) < mine for other in joins)


def _grown(benchmarks: Iterable[Benchmark]) -> list[Start]:
    """Published nodes in the order of their first sample of themselves, which they take after they start."""
    ordered = sorted(benchmarks, key=lambda one: one.samples[0].ts if one.samples else math.inf)
    return [
        Start(region_name(one.region), one.bootstrap, before if one.samples else None)
        for before, one in enumerate(ordered)
        if one.bootstrap > 0
    ]


def _arrivals(benchmarks: Iterable[Benchmark]) -> list[Spread]:
    found = [one for one in benchmarks if one.maximum > 0]
    return sorted(
        (Spread(region_name(one.region), one.average, one.minimum, one.maximum) for one in found),
        key=lambda one: (one.region, one.mean),
    )


def _grouped(values: Iterable[tuple[str, float, float, float]]) -> dict[str, Group]:
    by_region: dict[str, list[tuple[float, float, float]]] = {}
    for region, value, low, high in values:
        by_region.setdefault(region, []).append((value, low, high))
    return {
        region: Group(
            nodes=len(found),
            median=percentile(sorted(value for value, _, _ in found), 50),
            mean=math.fsum(value for value, _, _ in found) / len(found),
            low=min(low for _, low, _ in found),
            high=max(high for _, _, high in found),
        )
        for region, found in by_region.items()
    }


def _rows(groups: dict[str, dict[str, Group]], limit: dict[str, float]) -> list[Row]:
    regions = sorted({region for found in groups.values() for region in found})
    return [
        Row(
            region,
            {label: found[region] for label, found in groups.items() if region in found},
            limit.get(region, math.nan),
        )
        for region in regions
    ]
