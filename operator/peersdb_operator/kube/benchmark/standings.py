"""How a run stands that goes on, by what its master says and what is seen of its pods. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peersdb_operator.kube.benchmark import status
from peersdb_operator.kube.benchmark.observed import held_up, lost
from peersdb_operator.kube.benchmark.status import Standing
from peersdb_operator.kube.benchmark.tools import Run
from peersdb_operator.load import Progress

Condition = Mapping[str, Any]

BEGUN = ("True", "Begun", "all its objects were made")
SOUND = ("False", "AsSpecified", "nothing is wrong")


def going_on(
    started: tuple[str, str, str],
    message: str,
    fields: dict[str, Any],
    *,
    phase: str = status.RUNNING,
    degraded: tuple[str, str, str] = SOUND,
) -> Standing:
    """Say how a benchmark stands that has begun and is not over."""
    return Standing(
        phase,
        started,
        ("True", phase, message),
        ("False", phase, message),
        degraded=degraded,
        fields=fields,
    )


def running(run: Run, progress: Progress | None, before: Condition | None) -> Standing:
    """Say how a run stands that goes on, by what was wrong with it before."""
    fields = {**status.of_progress(progress), **run.fields}
    phase = status.COLLECTING if progress and progress.state == "done" else status.RUNNING
    message = missing(progress) if progress is None or progress.state == "waiting" else progress.stage
    message = "its results are being fetched" if phase == status.COLLECTING else message
    held = held_up((*run.observed.masters, *run.observed.workers))
    if held:
        message = "; ".join(held)
    return going_on(
        BEGUN,
        message or "is running",
        fields,
        phase=phase,
        degraded=degraded(run, progress, before),
    )


def degraded(run: Run, progress: Progress | None, before: Condition | None) -> tuple[str, str, str]:
    """Say what is wrong with a run that goes on all the same; a pod that was lost is not forgotten."""
    if before and before["status"] == "True" and before["reason"] == "WorkerLost":
        return "True", "WorkerLost", str(before["message"])
    if progress is None or progress.state != "done":  # at the end they end too
        words = lost(run.observed.workers) or run.observed.failed_workers()
        if words:
            return "True", "WorkerLost", "; ".join(words)
    if run.memory.without_effect or (before and before["reason"] == "PartitionWithoutEffect"):
        message = "members stay connected across the cut: does the network plugin enforce NetworkPolicy?"
        return "True", "PartitionWithoutEffect", message
    if run.troubles:
        return "True", run.troubles[0][0], run.troubles[0][1]
    if progress is not None and progress.problems:
        return "True", "Problems", "; ".join(progress.problems)
    return SOUND


def missing(progress: Progress | None) -> str:
    """Say what a run waits for that has not begun to measure."""
    if progress is None:
        return "the master has not answered yet"
    return f"{progress.workers} of {progress.expected} workers are at work"
