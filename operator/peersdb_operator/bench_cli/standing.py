"""How a benchmark stands and how it ended, in words: the same for both backends. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peersdb_operator.load import Progress

SHOWN = (
    "requests.rate", "post.p50", "post.p99", "replication.p50", "replication.p99", "replication.max", "join.median",
    "join.max", "errors.count", "errors.ratio",
)  # fmt: skip
"""The figures of a summary, in order; those without a value are left out."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a benchmark stands.

    Attributes:
        stage: where it is, in words.
        done: the part that is done, 0 to 1.
        facts: what else there is to say, shortest words first.
        problems: what went wrong so far.
        ended: whether it is over.
    """

    stage: str
    done: float
    facts: tuple[str, ...]
    problems: tuple[str, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """One threshold and what became of it."""

    metric: str
    limit: str
    value: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """How a benchmark ended.

    Attributes:
        passed: whether nothing went wrong and all thresholds were kept.
        figures: names and values.
        thresholds: in the manifest's order.
        problems: why it did not pass, beside thresholds.
    """

    passed: bool
    figures: tuple[tuple[str, str], ...]
    thresholds: tuple[Verdict, ...]
    problems: tuple[str, ...]


def of_progress(progress: Progress, note: str) -> Standing:
    """Say how a run on this machine stands."""
    facts = [f"{progress.users} users", f"{progress.workers}/{progress.expected} workers"]
    facts.append(f"{progress.requests:,} requests, {progress.failures:,} failed")
    if progress.p50 is not None and progress.p99 is not None:
        facts.append(f"replication p50 {duration(progress.p50)}, p99 {duration(progress.p99)}")
    stage = progress.stage or progress.state
    return Standing(
        stage, progress.done, tuple(filter(None, [*facts, note])), progress.problems, progress.state == "done"
    )


def of_status(status: Mapping[str, Any]) -> Standing:
    """Say how a PeersDBBenchmark stands by its status."""
    phase = status.get("phase", "Pending")
    ended = condition(status, "Complete").get("status") == "True" or phase in {"Succeeded", "Failed"}
    percent = str(status.get("progress", "0")).rstrip(" %")
    facts = []
    if "users" in status:
        facts.append(f"{status['users']} users")
    if "workersReady" in status:
        wanted = f"/{status['workers']}" if "workers" in status else ""
        facts.append(f"{status['workersReady']}{wanted} workers")
    if "requests" in status:
        facts.append(f"{status['requests']:,} requests, {status.get('failures', 0):,} failed")
    if "fault" in status:
        facts.append(f"{status['fault'].get('region', '')} {status['fault'].get('kind', '')}".strip())
    waits = condition(status, "Started").get("message", "") if phase == "Pending" else ""
    degraded = condition(status, "Degraded")
    problems = (degraded["message"],) if degraded.get("status") == "True" else ()
    done = 1.0 if ended else min(1.0, float(percent) / 100) if percent.replace(".", "", 1).isdigit() else 0.0
    stage = ": ".join(filter(None, [phase, status.get("stage") or waits]))
    return Standing(stage, done, tuple(facts), problems, ended)


def summary_of_status(status: Mapping[str, Any]) -> Summary:
    """Say how a PeersDBBenchmark ended by its status."""
    found = status.get("summary", {})
    names = {
        "requestsPerSecond": "requests.rate", "postP50": "post.p50", "postP99": "post.p99",
        "replicationP50": "replication.p50", "replicationP99": "replication.p99",
        "replicationMax": "replication.max", "joinMedian": "join.median", "joinMax": "join.max",
        "failures": "failures",
    }  # fmt: skip
    figures = tuple((names[key], str(found[key])) for key in names if key in found)
    thresholds = tuple(
        Verdict(it["metric"], it["limit"], it.get("value", "none"), bool(it["passed"]))
        for it in status.get("thresholds", [])
    )
    passed = status.get("phase") == "Succeeded"
    reasons = [condition(status, kind) for kind in ("Complete", "Degraded")]
    problems = [] if passed else [it["message"] for it in reasons if it.get("message")]
    return Summary(passed, figures, thresholds, tuple(dict.fromkeys(problems)))


def summary_of_file(value: Mapping[str, Any], *, passed: bool) -> Summary:
    """Say how a run ended by its ``summary.json``.

    Args:
        value: its content.
        passed: what the load test itself said at its end.
    """
    headline = value.get("headline", {})
    figures = [(name, _figure(name, headline[name])) for name in SHOWN if name in headline]
    thresholds = tuple(
        Verdict(
            str(it.get("metric", "")),
            _limit(it),
            str(it.get("text") or _figure(str(it.get("metric", "")), {"value": it.get("value")})),
            bool(it.get("passed")),
        )
        for it in value.get("thresholds", [])
    )
    problems = tuple(str(problem) for problem in value.get("problems", []))
    return Summary(
        passed and value.get("passed", True) is True,
        tuple((name, text) for name, text in figures if text != "none"),
        thresholds,
        problems,
    )


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Give a condition of a status; an empty one if it has none of that kind."""
    conditions: Sequence[Mapping[str, Any]] = status.get("conditions", [])
    return next((it for it in conditions if it.get("type") == kind), {})


def duration(seconds: float) -> str:
    """Write a time with three digits and a unit."""
    value, unit = (seconds, "s") if seconds >= 1 or not seconds else (seconds * 1e3, "ms")
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def _limit(threshold: Mapping[str, Any]) -> str:
    sign = {"max": "<= ", "min": ">= "}.get(str(threshold.get("bound", "")), "")
    return f"{sign}{threshold.get('limit', '')}"


def _figure(name: str, found: Mapping[str, Any]) -> str:
    value = found.get("value")
    if found.get("failed"):
        return "failed"
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "none"
    text = _value(name, float(value))
    between = found.get("ci95")
    return f"{text} ({_value(name, between[0])} to {_value(name, between[1])})" if between else text


def _value(name: str, value: float) -> str:
    if name == "requests.rate":
        return f"{value:.1f}/s"
    if name in {"errors.count", "cpu.mean"}:
        return f"{value:.0f}"
    if name == "errors.ratio":
        return f"{value:.4g}"
    if name == "memory.max":
        return f"{value / 2**20:.0f} Mi"
    return duration(value)
