"""Two runs compared: what changed, and whether beyond noise.

Where both have repeats, Welch's interval of the difference of their means decides; where not, the raw samples
are drawn again in stretches of time. A run that failed is never the better one.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.report import headline, summary
from loadtests.report.data import Part, Results
from loadtests.report.headline import MAX, MEAN, METRICS, OTHERS, Figure, Metric, response
from loadtests.report.intervals import CONFIDENCE, Interval, Weighted, of_difference, resampled_difference

BETTER, WORSE, SAME, INCOMPARABLE = "better", "worse", "no change beyond noise", "cannot be compared"
WELCH, RESAMPLED = "over repeats", "over samples"

# With fewer samples beyond it a percentile hangs on single ones, and drawing them again shows no noise.
MIN_BEYOND = 5
# Where a run was, not what it was.
_PLACES = {"report", "nodes", "cluster_status", "targets", "host", "seed", "region"}


@dataclass(frozen=True)
class Change:
    """One metric of one cell."""

    cell: str
    """Empty where there is one cell."""

    metric: str
    before: float
    after: float
    interval: Interval | None
    """Of the difference, in the metric's unit."""

    method: str
    """``over repeats``, ``over samples`` or empty."""

    verdict: str
    why: str
    """Why it cannot be compared, or what else is to be said."""

    @property
    def ratio(self) -> float:
        """After by before; ``nan`` without a value."""
        if not math.isfinite(self.before) or self.before == 0:
            return math.nan
        return self.after / self.before


@dataclass(frozen=True)
class Difference:
    """Something about the runs themselves that is not the same."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    title: str
    passed: bool
    problems: tuple[str, ...]
    """Why its figures cannot be believed."""

    missed: tuple[str, ...]
    """Thresholds."""


@dataclass(frozen=True)
class Comparison:
    """All that can be said of two runs."""

    before: Side
    after: Side
    confidence: float
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]

    @property
    def regressed(self) -> bool:
        """A metric is worse, or the second run does not pass where the first did."""
        return any(one.verdict == WORSE for one in self.changes) or (
            self.before.passed and not self.after.passed
        )

    @property
    def comparable(self) -> bool:
        """At least one metric could be compared."""
        return any(one.verdict != INCOMPARABLE for one in self.changes)

    def count(self, verdict: str) -> int:
        """How many metrics have a verdict."""
        return sum(one.verdict == verdict for one in self.changes)


def compare(before: Results, after: Results, *, confidence: float = CONFIDENCE) -> Comparison:
    """Compare two runs; ``confidence`` of the intervals is between 0 and 1."""
    sides = (_side(before), _side(after))
    differences = list(_differences(before, after))
    names = [one.what for one in differences if one.what in ("profile", "data set")]
    blocked = f"different {' and '.join(names)}" if names else ""
    groups = (headline.by_cell(before.parts), headline.by_cell(after.parts))
    both = [cell for cell in groups[0] if cell in groups[1]]
    figures = tuple({one.cell: one.figures for one in headline.cells(run)} for run in (before, after))
    pairs = [
        _Pair(
            cell.label if len(both) > 1 else "",
            name,
            (figures[0][cell][name], figures[1][cell][name]),
            (groups[0][cell], groups[1][cell]),
        )
        for cell in both
        for name in figures[0][cell]
    ]
    whole = (headline.whole(before), headline.whole(after))
    pairs += [
        _Pair("", name, (whole[0][name], whole[1][name]))
        for name, metric in METRICS.items()
        if not metric.repeated
    ]
    changes = [_change(pair, sides, blocked, confidence) for pair in pairs]
    found = [one for one in changes if not (math.isnan(one.before) and math.isnan(one.after))]
    return Comparison(*sides, confidence, tuple(differences), tuple(found))


@dataclass(frozen=True)
class _Pair:
    """One metric of one cell in both runs."""

    cell: str
    name: str
    figures: tuple[Figure, Figure]
    parts: tuple[Sequence[Part], Sequence[Part]] = ((), ())


def _change(pair: _Pair, sides: tuple[Side, Side], blocked: str, confidence: float) -> Change:
    a, b = (one.value for one in pair.figures)
    reason = blocked or _no_figures(a, b, sides)
    interval, method, why = (None, "", "") if reason else _interval(pair, confidence)
    if reason:
        verdict, why = INCOMPARABLE, reason
    elif math.isinf(a) or math.isinf(b):
        verdict = WORSE if math.isinf(b) else BETTER
        interval, method, why = None, "", f"failures reach into the {'second' if math.isinf(b) else 'first'}"
    elif interval is None:
        verdict, why = (SAME, "equal") if a == b else (INCOMPARABLE, why)
    elif interval[0] <= 0 <= interval[1]:
        verdict = SAME
    else:
        verdict, why = _direction(pair.name, interval, sides)
    return Change(pair.cell, pair.name, a, b, interval, method, verdict, why)


def _direction(name: str, interval: Interval, sides: tuple[Side, Side]) -> tuple[str, str]:
    better = (interval[0] > 0) == METRICS[name].more_is_better
    if sides[1 if better else 0].problems:
        return (
            INCOMPARABLE,
            f"the {'second' if better else 'first'} run failed, and is not taken for the better one",
        )
    return (BETTER if better else WORSE), ""


def _no_figures(a: float, b: float, sides: tuple[Side, Side]) -> str:
    if math.isnan(a) or math.isnan(b):
        return f"the {'first' if math.isnan(a) else 'second'} has no value"
    if math.isinf(a) and math.isinf(b):
        return "failures reach into both"
    if math.isinf(a) and sides[1].problems:
        return "failures reach into the first, and the second run failed"
    return ""


def _interval(pair: _Pair, confidence: float) -> tuple[Interval | None, str, str]:
    """The interval of the difference, how it was found, and why there is none."""
    metric = METRICS[pair.name]
    before, after = (one.repeats for one in pair.figures)
    interval = of_difference(before, after, confidence)
    if interval is not None:
        return interval, WELCH, ""
    if not metric.repeated:
        return None, "", "one value for a whole run has no interval"
    if pair.name == "memory.max" or metric.statistic == MAX:
        return None, "", "a maximum needs 2 repeats of each run"
    first, second = (_in_time(pair.name, metric, found) for found in pair.parts)
    least = min(len(first), len(second))
    needed = 2
    if metric.statistic == headline.Q:
        needed = math.ceil(MIN_BEYOND / min(metric.q / 100, 1 - metric.q / 100) - 1e-9)
    if least < needed:
        return None, "", f"{least} samples are too few: {needed} are needed, or 2 repeats of each run"
    statistic = _statistic(pair.name, metric, (len(first) + len(second)) / 2)
    return resampled_difference(first, second, statistic, confidence), RESAMPLED, ""


def _in_time(name: str, metric: Metric, parts: Iterable[Part]) -> list[float]:
    """The values that a metric is computed from, in the order of time."""
    found: list[float] = []
    for part in parts:
        if name == "cpu.mean":
            looks = sorted((look.ts, look.cpu_percent) for look in part.nodes)
            found += [percent for _, percent in looks]
        elif name == "requests.rate":
            found += _per_second(part)
        else:
            chosen = [one for one in part.samples if metric.kind in ("", one.kind)]
            found += [value for _, value in sorted((one.ts, response(one)) for one in chosen)]
    return found


def _per_second(part: Part) -> list[float]:
    """Requests that succeeded, by the whole seconds of a part."""
    asked = [one for one in part.samples if one.ok and one.kind not in OTHERS]
    seconds = math.floor(part.seconds)
    if not asked or seconds < 1:
        return []
    begin = min(one.ts for one in part.samples)
    counts = [0.0] * seconds
    for one in asked:
        place = math.floor(one.ts - begin)
        if place < seconds:
            counts[place] += 1
    return counts


def _statistic(name: str, metric: Metric, count: float) -> Callable[[Weighted], float]:
    if name == "errors.ratio":
        return Weighted.failed
    if name == "errors.count":
        # Of as many events as the two runs had on average: a longer run has more failures for that alone.
        return lambda drawn: drawn.failed() * count
    if metric.statistic in ("", MEAN):
        return Weighted.mean
    return lambda drawn: drawn.percentile(metric.q)


def _side(results: Results) -> Side:
    judged = summary.verdict(results)
    return Side(results.title, judged.passed, judged.problems, judged.missed)


def _differences(before: Results, after: Results) -> Iterable[Difference]:
    facts = (_facts(before), _facts(after))
    for what in dict.fromkeys((*facts[0], *facts[1])):
        a, b = (found.get(what, "none") for found in facts)
        if a != b:
            yield Difference(what, a, b)


def _facts(results: Results) -> dict[str, str]:
    """What should be equal, in words, in the order of its weight."""
    run = results.run
    facts = {
        "profile": run.profile if run else "unknown",
        "data set": _dataset(run.dataset) if run else "unknown",
        "cells": "; ".join(cell.label for cell in headline.by_cell(results.parts)),
        "thresholds": "; ".join(
            sorted(f"{one.get('metric')} {_bound(one)}" for one in results.described.thresholds)
        ),
        "repeats": str(max([part.repeat for part in results.parts], default=0)),
    }
    if run:
        regions = [str(node["region"]) for node in run.nodes]
        facts["nodes"] = ", ".join(f"{regions.count(one)} in {one}" for one in sorted(set(regions)))
        facts["versions of the nodes"] = ", ".join(sorted({str(node["version"]) for node in run.nodes}))
        facts |= {f"option {key}": value for key, value in run.options.items() if key not in _PLACES}
        facts |= {key: value for key, value in run.environment.items() if not key.startswith("Load average")}
    return {what: text or "none" for what, text in facts.items()}


def _dataset(value: dict[str, Any]) -> str:
    return f"{value['name']}: {value['files']} files, {value['bytes']} bytes"


def _bound(declared: dict[str, str]) -> str:
    return f"at least {declared['min']}" if "min" in declared else f"at most {declared.get('max')}"
