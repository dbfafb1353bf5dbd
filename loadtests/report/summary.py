"""A run in figures: tables for the report and the terminal, and whether the run may be believed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadtests.benchmarks import Benchmark
from loadtests.report import thresholds
from loadtests.report.data import Results
from loadtests.report.units import duration, size
from loadtests.results import RUN_FILE
from loadtests.samples import GET, ISVALID, JOIN, POST, QUERY, REPLICATION, Sample, of_kind
from loadtests.statistics import Summary, percentile, summarise

__all__ = ["duration", "size"]  # for those who tell a run in words

REQUESTS = (POST, GET, QUERY, ISVALID)

MAX_ERRORS = 20
"""Different error messages that the report lists; the rest is counted."""

NAMES = {
    POST: "post",
    GET: "get",
    QUERY: "query",
    ISVALID: "isvalid",
    REPLICATION: "replication",
    JOIN: "newcomer",
}


@dataclass(frozen=True)
class Verdict:
    """Whether the figures stand for a run that worked."""

    problems: tuple[str, ...]
    """Why not."""

    errors: tuple[tuple[str, int], ...]
    """The most frequent error messages, with their counts."""

    missed: tuple[str, ...] = ()
    """Thresholds that it does not hold, in words: the figures are right, but not good enough."""

    @property
    def worked(self) -> bool:
        """Nothing failed and nothing is missing: the figures may be believed."""
        return not self.problems

    @property
    def passed(self) -> bool:
        """It worked, and holds its thresholds."""
        return self.worked and not self.missed


@dataclass(frozen=True)
class Pair:
    """Replication from one region to another, in seconds."""

    source: str
    target: str
    summary: Summary
    error_bar: float
    """Median; what a poll's distance adds to a time at most."""


@dataclass(frozen=True)
class Own:
    """What the nodes of a region measured of themselves, in seconds; 0 where nothing was measured."""

    region: str
    nodes: int
    bootstrap: float
    """Median of those that measured one."""

    average: float
    """Mean over the nodes' averages."""

    maximum: float
    """The worst of all."""


@dataclass(frozen=True)
class Throughput:
    """Per second of the run, over what succeeded."""

    seconds: float
    """From the first request to the end of the last, or what the segments were measured for."""

    posts: float
    gets: float
    queries: float
    get_bytes: float
    """Bytes got per second of the run: the load that the users' schedule makes, not a limit of the nodes."""

    get_rate: float
    """Bytes per second while a ``get`` of a known size was under way."""


def verdict(results: Results) -> Verdict:
    """Judge a run: a failure, a gap or an early end is said, whatever the other figures are."""
    problems = list(results.run.problems) if results.run else []
    if results.samples and results.run is None:
        problems.append("the run never came to its end: there is no run.json")
    if not results.samples and not results.benchmarks:
        problems.append("nothing was measured")
    for kind, name in NAMES.items():
        found = of_kind(results.samples, kind)
        failed = sum(not sample.ok for sample in found)
        if failed:
            problems.append(f"{name}: {failed} of {len(found)} failed")
    problems += _gaps(results)
    if of_kind(results.samples, POST) and _several(results) and not of_kind(results.samples, REPLICATION):
        problems.append("files were posted, but no replication was seen or awaited")
    if results.run and results.run.dropped_rows:
        problems.append(f"{results.run.dropped_rows} samples are not in the files: a limit was reached")
    missed = tuple(one.words for one in thresholds.judge(results) if not one.passed)
    return Verdict(tuple(problems), tuple(_errors(results.samples)), missed)


def _gaps(results: Results) -> list[str]:
    """What a run of segments lacks: an empty segment is no fast one."""
    found = [
        f"repeat {part.repeat} of {part.cell.label}: nothing was measured after the warm-up"
        for part in results.parts
        if not part.samples and results.described.segments
    ]
    if results.strays:
        found.append(f"{results.strays} samples name no segment of {RUN_FILE} and are in no figure")
    return found


def requests(samples: Sequence[Sample]) -> dict[str, Summary]:
    """Response times by kind of request, counted from the moment each request was due; seconds."""
    kinds = {kind: of_kind(samples, kind) for kind in REQUESTS}
    return {kind: describe(found) for kind, found in kinds.items() if found}


def describe(samples: Iterable[Sample]) -> Summary:
    """Response times in seconds; a failure counts as never ended."""
    samples = list(samples)
    values = [sample.response for sample in samples if sample.ok]
    return summarise(values, failed=len(samples) - len(values))


def pairs(samples: Iterable[Sample]) -> list[Pair]:
    """Replication by source and target region, in alphabetical order."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in of_kind(samples, REPLICATION):
        groups.setdefault((sample.source_region, sample.target_region), []).append(sample)
    return [
        Pair(source, target, describe(found), _median(sample.error_bar for sample in found if sample.ok))
        for (source, target), found in sorted(groups.items())
    ]


def throughput(samples: Sequence[Sample], seconds: float | None = None) -> Throughput:
    """What was done per second, of ``seconds`` if given; zeros if nothing was."""
    asked = [sample for sample in samples if sample.kind in REQUESTS]
    if not asked:
        return Throughput(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    if seconds is None:
        seconds = max(sample.ts + sample.seconds for sample in asked) - min(sample.ts for sample in asked)
    seconds = max(seconds, 1e-9)
    done = {kind: [sample for sample in asked if sample.kind == kind and sample.ok] for kind in REQUESTS}
    sized = [sample for sample in done[GET] if sample.bytes]
    got = sum(sample.bytes for sample in sized)
    return Throughput(
        seconds=seconds,
        posts=len(done[POST]) / seconds,
        gets=len(done[GET]) / seconds,
        queries=len(done[QUERY]) / seconds,
        get_bytes=got / seconds,
        get_rate=got / (math.fsum(sample.seconds for sample in sized) or math.inf),
    )


def own(benchmarks: Iterable[Benchmark]) -> list[Own]:
    """What the nodes measured of themselves, by region."""
    groups: dict[str, list[Benchmark]] = {}
    for benchmark in benchmarks:
        groups.setdefault(benchmark.region, []).append(benchmark)
    rows = []
    for region, found in sorted(groups.items()):
        averages = [one.average for one in found if one.maximum]
        rows.append(
            Own(
                region=region or "(none)",
                nodes=len(found),
                bootstrap=_median([one.bootstrap for one in found if one.bootstrap] or [0.0]),
                average=math.fsum(averages) / len(averages) if averages else 0.0,
                maximum=max(one.maximum for one in found),
            )
        )
    return rows


def _median(values: Iterable[float]) -> float:
    return percentile(sorted(values), 50)


def _several(results: Results) -> bool:
    return results.run is None or len(results.run.nodes) > 1


def _errors(samples: Iterable[Sample]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for sample in samples:
        if not sample.ok:
            text = (
                f"{NAMES.get(sample.kind, sample.kind)} at {sample.target or sample.source}: {sample.error}"
            )
            counts[text] = counts.get(text, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[MAX_ERRORS:])
    return ordered[:MAX_ERRORS] + ([("others", rest)] if rest else [])
