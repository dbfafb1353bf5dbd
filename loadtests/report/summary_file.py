"""``summary.json``: the figures of the page for programs."""

import math
from typing import Any

from loadtests.report import headline, paper, summary, thresholds
from loadtests.report.data import Results
from loadtests.report.headline import Figure
from loadtests.report.paper import Group, Row
from loadtests.samples import JOIN, of_kind
from loadtests.statistics import Summary


def table(results: Results) -> dict[str, Any]:
    """The content of ``summary.json``. Seconds, bytes, percent of a core; null for a failure or no value."""
    judged = summary.verdict(results)
    return {
        "passed": judged.passed,
        "problems": [*judged.problems, *judged.missed],
        "thresholds": [
            {
                "metric": one.metric,
                "bound": one.bound,
                "limit": one.limit,
                "value": _number(one.value),
                "text": one.text,
                "passed": one.passed,
                "why": one.why,
                "cell": one.cell,
            }
            for one in thresholds.judge(results)
        ],
        "headline": _figures(headline.whole(results)),
        "cells": [
            {"cell": {**vars(one.cell), "label": one.cell.label}, "headline": _figures(one.figures)}
            for one in headline.cells(results)
        ],
        "warmup": {"samples": results.warm[0], "failed": results.warm[1]},
        "requests": {kind: _summary(one) for kind, one in summary.requests(results.samples).items()},
        "replication": [
            {"source": one.source, "target": one.target, "error_bar": one.error_bar, **_summary(one.summary)}
            for one in summary.pairs(results.samples)
        ],
        "newcomers": [
            {"region": one.target_region, "seconds": one.seconds if one.ok else None, "error": one.error}
            for one in of_kind(results.samples, JOIN)
        ],
        "throughput": vars(summary.throughput(results.samples, results.seconds)),
        "own": [vars(one) for one in summary.own(results.benchmarks)],
        "paper": {
            "bootstrap": [_row(one) for one in paper.start_rows(results)],
            "replication": [_row(one) for one in paper.spread_rows(results)],
        },
    }


def _figures(figures: dict[str, Figure]) -> dict[str, Any]:
    return {
        name: {
            "value": _number(one.value),
            "failed": math.isinf(one.value),
            "ci95": list(one.interval) if one.interval else None,
            "repeats": len(one.repeats),
            "values": [_number(value) for value in one.repeats],
        }
        for name, one in figures.items()
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "region": row.region,
        "limit": _number(row.limit),
        **{label: _group(group) for label, group in row.groups.items()},
    }


def _group(group: Group) -> dict[str, float | None]:
    return {name: _number(value) for name, value in vars(group).items()}


def _summary(one: Summary) -> dict[str, float | None]:
    return {name: _number(value) for name, value in vars(one).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
