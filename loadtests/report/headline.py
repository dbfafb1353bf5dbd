"""The figures that stand for a run: one value for each metric, with its interval over the repeats.

A value is that of all raw samples together, so that anybody can compute it again from ``samples.csv``. The
interval is of the mean of the repeats' own values: how far another such run may lie.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from loadtests.benchmarks import Benchmark
from loadtests.report import intervals
from loadtests.report.data import RUNS, Part, Results
from loadtests.report.run_data import Cell
from loadtests.report.units import BYTES, COUNT, PERCENT, RATE, RATIO, SECONDS
from loadtests.samples import GET, JOIN, POST, QUERY, REPLICATION, Sample
from loadtests.statistics import percentile

Q = "percentile"
MAX, MEAN = "max", "mean"


@dataclass(frozen=True)
class Metric:
    """What a metric's name stands for."""

    unit: str
    kind: str = ""
    """Of the samples that it is computed from; empty where it is not from one kind."""

    statistic: str = ""
    """``percentile``, ``max`` or ``mean`` of those."""

    q: float = 0.0
    more_is_better: bool = False
    repeated: bool = True
    """Whether each repeat has a value of its own; the nodes measure the whole run alone."""


def _times(kind: str, *quantiles: int) -> dict[str, Metric]:
    return {f"{kind}.p{q}": Metric(SECONDS, kind, Q, q) for q in quantiles}


METRICS = {
    **_times(POST, 50, 99),
    **_times(GET, 99),
    **_times(QUERY, 99),
    **_times(REPLICATION, 50, 90, 99),
    "replication.max": Metric(SECONDS, REPLICATION, MAX),
    "replication.mean": Metric(SECONDS, REPLICATION, MEAN),
    "join.median": Metric(SECONDS, JOIN, Q, 50),
    "join.max": Metric(SECONDS, JOIN, MAX),
    "requests.rate": Metric(RATE, more_is_better=True),
    "errors.ratio": Metric(RATIO),
    "errors.count": Metric(COUNT),
    "memory.max": Metric(BYTES),
    "cpu.mean": Metric(PERCENT),
    "own.replication.mean": Metric(SECONDS, repeated=False),
    "own.replication.max": Metric(SECONDS, repeated=False),
    "own.bootstrap.max": Metric(SECONDS, repeated=False),
}
OTHERS = (REPLICATION, JOIN)
"""Events that are no requests: everything else that was sampled is one."""


@dataclass(frozen=True)
class Figure:
    """One metric of a run or of a cell; ``nan`` for no value, ``inf`` where failures reach into it."""

    value: float
    repeats: tuple[float, ...] = ()
    """Each repeat's own value, in order."""

    interval: intervals.Interval | None = None
    """95 %, of the mean of the repeats' values."""


@dataclass(frozen=True)
class CellFigures:
    """The metrics of one cell."""

    cell: Cell
    figures: dict[str, Figure]


@lru_cache(RUNS)
def whole(results: Results) -> dict[str, Figure]:
    """Every metric of the whole run, in the order of ``METRICS``."""
    return {**_figures(results.parts), **_own(results.benchmarks)}


@lru_cache(RUNS)
def cells(results: Results) -> list[CellFigures]:
    """The metrics of each cell, in the order in which they were run; without those of the whole run alone."""
    return [CellFigures(cell, _figures(parts)) for cell, parts in by_cell(results.parts).items()]


def by_cell(parts: Iterable[Part]) -> dict[Cell, list[Part]]:
    """Parts by cell, in order."""
    groups: dict[Cell, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.cell, []).append(part)
    return groups


def response(sample: Sample) -> float:
    """Seconds; a failure never ended."""
    return sample.response if sample.ok else math.inf


def measure(parts: Sequence[Part]) -> dict[str, float]:
    """Every repeated metric over all samples of some parts together."""
    times: dict[str, list[float]] = {}
    requests = failed = total = 0
    for part in parts:
        for sample in part.samples:
            times.setdefault(sample.kind, []).append(response(sample))
            total += 1
            failed += not sample.ok
            requests += sample.ok and sample.kind not in OTHERS
    for values in times.values():
        values.sort()
    looks = [look for part in parts for look in part.nodes]
    seconds = math.fsum(part.seconds for part in parts)
    found = {
        "requests.rate": requests / seconds if seconds > 0 else math.nan,
        "errors.ratio": failed / total if total else math.nan,
        "errors.count": float(failed) if total else math.nan,
        "memory.max": float(max((look.mem_bytes for look in looks), default=math.nan)),
        "cpu.mean": _mean([look.cpu_percent for look in looks]),
    }
    return {
        name: found[name] if name in found else _statistic(metric, times.get(metric.kind, []))
        for name, metric in METRICS.items()
        if metric.repeated
    }


def _figures(parts: Sequence[Part]) -> dict[str, Figure]:
    repeats: dict[int, list[Part]] = {}
    for part in parts:
        repeats.setdefault(part.repeat, []).append(part)
    together = measure(parts)
    single = [measure(found) for _, found in sorted(repeats.items())] if len(repeats) > 1 else [together]
    figures = {}
    for name, value in together.items():
        values = tuple(one[name] for one in single)
        figures[name] = Figure(value, values, intervals.of_mean(values))
    return figures


def _own(benchmarks: Sequence[Benchmark]) -> dict[str, Figure]:
    averages = [one.average for one in benchmarks if one.maximum > 0]
    values = {
        "own.replication.mean": _mean(averages),
        "own.replication.max": max((one.maximum for one in benchmarks if one.maximum > 0), default=math.nan),
        "own.bootstrap.max": max(
            (one.bootstrap for one in benchmarks if one.bootstrap > 0), default=math.nan
        ),
    }
    return {name: Figure(value, (value,)) for name, value in values.items()}


def _statistic(metric: Metric, ordered: Sequence[float]) -> float:
    if not ordered:
        return math.nan
    if metric.statistic == MAX:
        return ordered[-1]
    return _mean(ordered) if metric.statistic == MEAN else percentile(ordered, metric.q)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
