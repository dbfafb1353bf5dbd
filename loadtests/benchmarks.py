"""``benchmark.json`` and ``benchmark.csv``: results in the format of the original's evaluation.

``benchmark.json`` is the list that ``GET /peersdb/benchmarks`` answers, one benchmark per node;
``benchmark.csv`` is the table that the original's scripts make of it, with their header to the letter.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from loadtests.errors import ResultsError

JSON_FILE = "benchmark.json"
CSV_FILE = "benchmark.csv"
CSV_HEADER = (
    "Bootstrap time, Maximum time for replication, Minimum time for replication, "
    "Average replication time,Node Region"
)


@dataclass(frozen=True)
class ProcessSample:
    """A node's own look at itself."""

    ts: float
    """Seconds since the epoch, by that node's clock."""

    mem_bytes: int
    cpu_percent: float


@dataclass(frozen=True)
class Benchmark:
    """What one node measured of itself; times in seconds, 0 where nothing was measured."""

    bootstrap: float
    average: float
    minimum: float
    maximum: float
    region: str
    samples: tuple[ProcessSample, ...]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read one element of the list.

        Raises:
            ResultsError: a field is missing or has another type.
        """
        try:
            return cls(
                bootstrap=float(value["bootstrap"]),
                average=float(value["averagec"]),
                minimum=float(value["minc"]),
                maximum=float(value["maxc"]),
                region=str(value["region"]),
                samples=tuple(
                    ProcessSample(parse_time(item["ts"]), int(item["membytes"]), float(item["cpupercent"]))
                    for item in value["samples"] or ()
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ResultsError(f"not a node's benchmark: {type(error).__name__}: {error}") from error


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time with up to nanoseconds, which Python reads to microseconds.

    Raises:
        ValueError: it is no such time.
    """
    head, dot, tail = text.partition(".")
    if dot:
        digits = tail.rstrip("Zz").split("+")[0].split("-")[0]
        text = f"{head}.{digits[:6].ljust(6, '0')}{tail[len(digits) :]}"
    return datetime.fromisoformat(text).timestamp()


def parse_benchmarks(text: str) -> list[Benchmark]:
    """Read a ``benchmark.json``, ours or the original's.

    Raises:
        ResultsError: it is not a list of benchmarks.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ResultsError(f"benchmark.json is no JSON: {error}") from error
    if not isinstance(values, list):
        raise ResultsError("benchmark.json must be a list of benchmarks")
    return [Benchmark.from_json(value) for value in values]


def to_csv(values: Iterable[dict[str, Any]]) -> str:
    """The original's table of a decoded ``benchmark.json``."""
    out = io.StringIO()
    out.write(CSV_HEADER + "\n")
    writer = csv.writer(out, lineterminator="\n")
    for value in values:
        writer.writerow(value[key] for key in ("bootstrap", "maxc", "minc", "averagec", "region"))
    return out.getvalue()


def write(directory: Path, values: Sequence[dict[str, Any]]) -> None:
    """Write both files into an existing directory.

    Raises:
        ResultsError: a value is no benchmark, so that no half-right file is left for later.
    """
    for value in values:
        Benchmark.from_json(value)
    (directory / JSON_FILE).write_text(json.dumps(values), encoding="utf-8")
    (directory / CSV_FILE).write_text(to_csv(values), encoding="utf-8")
