"""The status of a benchmark: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from peersdb_operator.kube.benchmark.results import Outcome
from peersdb_operator.load import Progress
from peersdb_operator.status import Condition, made

MAX_MESSAGE = 1024
#: Of text that a summary brings: a figure and its unit.
MAX_FIGURE = 64
MAX_THRESHOLDS = 32

PENDING, RUNNING, COLLECTING, SUCCEEDED, FAILED = "Pending", "Running", "Collecting", "Succeeded", "Failed"

#: The figures of the summary in the status, by their metric.
_FIGURES = {
    "requests.rate": "requestsPerSecond",
    "post.p50": "postP50",
    "post.p99": "postP99",
    "replication.p50": "replicationP50",
    "replication.p99": "replicationP99",
    "replication.max": "replicationMax",
    "join.median": "joinMedian",
    "join.max": "joinMax",
}

_BY_TYPE = {"requests.rate": "/s", "memory.max": "B"}
_PLAIN = ("errors.ratio", "errors.count", "cpu.mean")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a benchmark stands.

    Attributes:
        phase: for people.
        started: condition.
        progressing: condition.
        complete: condition; its message is what `kubectl get -o wide` shows.
        thresholds: condition.
        degraded: condition.
        fields: of the status, to be set; a None takes one away.
    """

    phase: str
    started: Condition
    progressing: Condition
    complete: Condition
    thresholds: Condition = ("Unknown", "NotMeasured", "nothing was measured yet")
    degraded: Condition = ("False", "AsSpecified", "nothing is wrong")
    fields: Mapping[str, Any] = field(default_factory=dict)


def make(previous: dict[str, Any], standing: Standing, *, generation: int, now: float) -> dict[str, Any]:
    """Make the status.

    Args:
        previous: the status before: what is not set anew stays.
        standing: how it stands.
        generation: of the manifest.
        now: seconds since the epoch.
    """
    conditions = {
        "Started": standing.started,
        "Progressing": standing.progressing,
        "Complete": standing.complete,
        "ThresholdsMet": standing.thresholds,
        "Degraded": standing.degraded,
    }
    kept = {name: value for name, value in previous.items() if name not in standing.fields}
    fields = {name: value for name, value in standing.fields.items() if value is not None}
    return {
        **kept,
        **fields,
        "observedGeneration": generation,
        "phase": standing.phase,
        "conditions": [
            made(
                kind,
                (state, reason, short(message)),
                generation=generation,
                previous=previous,
                now=now,
            )
            for kind, (state, reason, message) in conditions.items()
        ],
    }


def waiting(reason: str, message: str) -> Standing:
    """Give the standing of one that has not begun, and why."""
    return Standing(
        PENDING,
        ("False", reason, message),
        ("False", reason, message),
        ("False", reason, message),
    )


def of_progress(progress: Progress | None) -> dict[str, Any]:
    """Give the fields that tell how far a run is."""
    if progress is None:
        return {}
    fields: dict[str, Any] = {
        "progress": f"{int(100 * progress.done)} %",
        "stage": progress.stage,
        "users": progress.users,
        "workersReady": progress.workers,
        "requests": progress.requests,
        "failures": progress.failures,
    }
    if progress.p99 is not None:
        fields["summary"] = {"replicationP99": seconds(progress.p99)}
    return fields


def of_outcome(outcome: Outcome, progress: Progress | None) -> dict[str, Any]:
    """Give the fields of the end: figures, thresholds and where the results are."""
    headline = outcome.summary.get("headline")
    figures = {}
    for metric, name in _FIGURES.items():
        entry = headline.get(metric) if isinstance(headline, dict) else None
        value = entry.get("value") if isinstance(entry, dict) else None
        if value is not None:
            figures[name] = figure(metric, value)
    if progress is not None:
        figures["failures"] = f"{progress.failures} of {progress.requests}"
    return {"summary": figures, "thresholds": list(_thresholds(outcome))}


def _thresholds(outcome: Outcome) -> list[dict[str, Any]]:
    told = outcome.summary.get("thresholds")
    found: dict[str, dict[str, Any]] = {}
    for entry in told[:MAX_THRESHOLDS] if isinstance(told, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("metric"), str):
            continue
        metric = entry["metric"][:MAX_FIGURE]
        threshold = {
            "metric": metric,
            "limit": _limit(entry.get("limit"), metric),
            "passed": entry.get("passed") is True,
        }
        if entry.get("value") is not None:
            threshold["value"] = figure(metric, entry["value"])
        found[metric] = threshold
    return list(found.values())


def _limit(limit: Any, metric: str) -> str:
    return limit[:MAX_FIGURE] if isinstance(limit, str) else figure(metric, limit)


def thresholds_met(thresholds: Sequence[Mapping[str, Any]]) -> Condition:
    """Give the condition of all thresholds."""
    if not thresholds:
        return "True", "NoThresholds", "the manifest has no thresholds"
    missed = [
        f"{threshold['metric']} is {threshold.get('value', 'not measured')}, wanted {threshold['limit']}"
        for threshold in thresholds
        if not threshold["passed"]
    ]
    if missed:
        return "False", "Missed", "; ".join(missed)
    return "True", "AllMet", f"{len(thresholds)} of {len(thresholds)} thresholds are kept"


def figure(metric: str, value: Any) -> str:
    """Write a figure with its unit."""
    if isinstance(value, str):
        return value[:MAX_FIGURE]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)[:MAX_FIGURE]
    if metric in _PLAIN:
        return f"{value:.4g}"
    if metric in _BY_TYPE:
        return (
            f"{value:.1f}{_BY_TYPE[metric]}"
            if metric == "requests.rate"
            else f"{value:.0f}{_BY_TYPE[metric]}"
        )
    return seconds(float(value))


def seconds(value: float) -> str:
    """Write a time as people do: ``12.3ms``, ``1.50s``."""
    return f"{value:.2f}s" if value >= 1 else f"{1000 * value:.1f}ms"


def stamp(now: float) -> str:
    """Write a time for a field of the status, to the microsecond: what happened is told by it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def at(text: str) -> float:
    """Read such a time."""
    return datetime.fromisoformat(text).timestamp()


def whole(now: float) -> str:
    """Write a time as the API server itself does."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short(message: str) -> str:
    """Cut a message to what a person reads."""
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"
