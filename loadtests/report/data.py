"""What a report is drawn from."""

from dataclasses import dataclass
from pathlib import Path

from loadtests.benchmarks import JSON_FILE, Benchmark, parse_benchmarks
from loadtests.errors import ResultsError
from loadtests.results import RUN_FILE, RunDescription, read_run
from loadtests.samples import (
    NODES_FILE,
    SAMPLES_FILE,
    NodeSample,
    Sample,
    read_node_samples,
    read_samples,
)


@dataclass(frozen=True)
class Results:
    """The files of one run, read."""

    title: str
    samples: list[Sample]
    nodes: list[NodeSample]
    run: RunDescription | None
    """None where the run never came to its end, or where it is the original's."""

    benchmarks: list[Benchmark]
    """What the nodes measured of themselves."""

    @property
    def regions(self) -> list[str]:
        """All regions that occur, in alphabetical order."""
        found = {sample.source_region for sample in self.samples}
        found |= {sample.target_region for sample in self.samples}
        found |= {sample.region for sample in self.nodes}
        found |= {benchmark.region for benchmark in self.benchmarks}
        return sorted(found - {""})

    @property
    def begin(self) -> float:
        """The moment that time axes count from, seconds since the epoch."""
        times = [sample.ts for sample in self.samples] + [sample.ts for sample in self.nodes]
        return min(times, default=0.0)


def load(path: Path) -> Results:
    """Read a directory of results, or a ``benchmark.json`` alone, ours or the original's.

    Raises:
        ResultsError: there is nothing to read, or a file cannot be read.
    """
    if path.is_file():
        return Results(path.stem, [], [], None, _benchmarks(path))
    samples, nodes, run, own = (path / name for name in (SAMPLES_FILE, NODES_FILE, RUN_FILE, JSON_FILE))
    if not samples.is_file() and not own.is_file():
        raise ResultsError(f"{path} holds neither {SAMPLES_FILE} nor {JSON_FILE}: is it the report of a run?")
    return Results(
        title=path.resolve().name,
        samples=read_samples(samples) if samples.is_file() else [],
        nodes=read_node_samples(nodes) if nodes.is_file() else [],
        run=read_run(run) if run.is_file() else None,
        benchmarks=_benchmarks(own) if own.is_file() else [],
    )


def _benchmarks(path: Path) -> list[Benchmark]:
    try:
        return parse_benchmarks(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
