"""How far a run is, in the form of ``GET /v1/progress``."""

import math
import time
from typing import Any

from locust.runners import MasterRunner

from loadtests.board import Board
from loadtests.statistics import percentile


def progress(environment: Any, board: Board, expected_workers: int) -> dict[str, Any]:
    """What the control API tells of a run; numbers that nothing is known of are null."""
    runner = environment.runner
    direction = getattr(environment, "peersdb_latest", None)
    total = environment.stats.total
    seconds = sorted(direction.replicated) if direction else []
    workers = runner.worker_count if isinstance(runner, MasterRunner) else 1
    return {
        "state": board.state,
        "passed": board.passed,
        "stage": board.stage,
        "done": round(board.done(), 4),
        "elapsed": round(time.monotonic() - board.started, 3),
        "users": runner.user_count,
        "workers": workers,
        "expectedWorkers": expected_workers,
        "requests": total.num_requests,
        "failures": total.num_failures,
        "replication": {
            "p50": _finite(percentile(seconds, 50)),
            "p99": _finite(percentile(seconds, 99)),
            "count": len(seconds),
        },
        "wants": board.wants(),
        "problems": list(direction.problems if direction else board.problems),
    }


def _finite(value: float) -> float | None:
    """Null for no value, and where failures reach into it."""
    return value if math.isfinite(value) else None
