"""Thresholds judged: a metric without a value, or that failures reach into, has not passed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from loadtests.report import headline
from loadtests.report.data import RUNS, Results
from loadtests.report.headline import METRICS, CellFigures, Figure
from loadtests.report.units import figure, parse_limit


@dataclass(frozen=True)
class Judged:
    """One threshold of one run."""

    metric: str
    bound: str
    """``max`` or ``min``."""

    limit: str
    """As declared."""

    value: float
    """In the metric's unit; that of the worst cell. ``nan``: no value; ``inf``: failures reach into it."""

    text: str
    """The value for people."""

    passed: bool
    why: str
    """Why not; empty if passed."""

    cell: str
    """The worst cell, if there are several."""

    @property
    def words(self) -> str:
        """In one line, for the verdict."""
        where = f" ({self.cell})" if self.cell else ""
        return f"threshold missed: {self.metric}{where}: {self.why}"


@lru_cache(RUNS)
def judge(results: Results) -> list[Judged]:
    """The declared thresholds in their order, each by its worst cell; all cells must hold it."""
    declared = results.described.thresholds
    if not declared:
        return []
    cells = headline.cells(results)
    whole = headline.whole(results)
    return [_judge_one(one, cells, whole) for one in declared]


def _judge_one(declared: dict[str, str], cells: Sequence[CellFigures], whole: dict[str, Figure]) -> Judged:
    name = declared.get("metric", "")
    bound = "min" if "min" in declared else "max"
    limit = declared.get(bound, "")
    metric = METRICS.get(name)
    if metric is None:
        return Judged(
            name, bound, limit, math.nan, "none", passed=False, why="there is no such metric", cell=""
        )
    try:
        edge = parse_limit(limit, metric.unit)
    except ValueError as error:
        return Judged(name, bound, limit, math.nan, "none", passed=False, why=str(error), cell="")
    found = (
        [("", whole[name])]
        if not metric.repeated or not cells
        else [(one.cell.label if len(cells) > 1 else "", one.figures[name]) for one in cells]
    )
    judged = []
    for cell, one in found:
        text = figure(one.value, metric.unit)
        why = _why_not(one, text, bound, edge, limit)
        judged.append(Judged(name, bound, limit, one.value, text, passed=not why, why=why, cell=cell))
    return max(judged, key=lambda one: (not one.passed, _badness(one.value, bound)))


def _why_not(one: Figure, text: str, bound: str, edge: float, limit: str) -> str:
    if math.isnan(one.value):
        return "it has no value"
    if math.isinf(one.value):
        return "failures reach into it"
    missing = [str(index) for index, value in enumerate(one.repeats, 1) if math.isnan(value)]
    if missing:
        return f"it has no value in repeat {', '.join(missing)}"
    if bound == "max" and one.value > edge:
        return f"{text} is above {limit}"
    if bound == "min" and one.value < edge:
        return f"{text} is below {limit}"
    return ""


def _badness(value: float, bound: str) -> float:
    if not math.isfinite(value):
        return math.inf
    return value if bound == "max" else -value
