"""What a report is drawn from."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from loadtests.benchmarks import JSON_FILE, Benchmark, parse_benchmarks
from loadtests.errors import ResultsError
from loadtests.report.run_data import Cell, Parts, read_parts
from loadtests.results import RUN_FILE, RunDescription, read_run
from loadtests.samples import (
    NODES_FILE,
    SAMPLE_COLUMNS,
    SAMPLES_FILE,
    NodeSample,
    Sample,
    read_node_samples,
)

SEGMENT = "segment"
RUNS = 2
"""Runs whose figures are kept, because tables, plots and the verdict all ask for them: a comparison has two."""


@dataclass(frozen=True)
class Part:
    """One repeat of one cell: what was measured in it, the warm-up cut off."""

    cell: Cell
    repeat: int
    samples: list[Sample]
    nodes: list[NodeSample]
    seconds: float
    """How long it was measured."""


@dataclass(frozen=True)
class Published:
    """Results of somebody else that ours stand beside."""

    label: str
    benchmarks: list[Benchmark]


@dataclass(frozen=True, eq=False)
class Results:
    """The files of one run, read. Equal to nothing but itself, so that what is computed from it can be kept."""

    title: str
    samples: list[Sample]
    """Without those of the warm-up."""

    nodes: list[NodeSample]
    """All looks, the warm-up's too: lines over time begin where the run does."""

    run: RunDescription | None
    """None where the run never came to its end, or where it is the original's."""

    benchmarks: list[Benchmark]
    """What the nodes measured of themselves."""

    parts: list[Part] = field(default_factory=list)
    """The repeats of each cell, in order; one for a run without segments."""

    described: Parts = field(default_factory=Parts)
    warm: tuple[int, int] = (0, 0)
    """How many samples of the warm-up are left out of everything, and how many of those failed."""

    strays: int = 0
    """Samples that name no segment of the run: in no figure, and the run has failed."""

    first: float = 0.0
    """When the first sample or look began, seconds since the epoch."""

    published: tuple[Published, ...] = ()

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
        return self.first

    @property
    def seconds(self) -> float | None:
        """How long was measured in all segments together; None for a run without segments."""
        return sum(part.seconds for part in self.parts) if self.described.segments else None


def load(path: Path) -> Results:
    """Read a directory of results, or a ``benchmark.json`` alone, ours or the original's.

    Raises:
        ResultsError: there is nothing to read, or a file cannot be read.
    """
    if path.is_file():
        return Results(path.stem, [], [], None, read_benchmarks(path))
    samples, nodes, run, own = (path / name for name in (SAMPLES_FILE, NODES_FILE, RUN_FILE, JSON_FILE))
    if not samples.is_file() and not own.is_file():
        raise ResultsError(f"{path} holds neither {SAMPLES_FILE} nor {JSON_FILE}: is it the report of a run?")
    results = Results(
        title=path.resolve().name,
        samples=[],
        nodes=read_node_samples(nodes) if nodes.is_file() else [],
        run=read_run(run) if run.is_file() else None,
        benchmarks=read_benchmarks(own) if own.is_file() else [],
        described=read_parts(run) if run.is_file() else Parts(),
    )
    return divide(results, read_by_segment(samples) if samples.is_file() else {})


def divide(results: Results, groups: dict[int, list[Sample]]) -> Results:
    """Give results their samples, by segment: what began before a segment was warm is cut off."""
    begins = [sample.ts for found in groups.values() for sample in found]
    begins += [look.ts for look in results.nodes]
    results = replace(results, first=min(begins, default=0.0))
    if not results.described.segments:
        samples = [sample for found in groups.values() for sample in found]
        part = Part(Cell(), 1, samples, results.nodes, _seconds(samples))
        return replace(results, samples=samples, parts=[part] if begins else [])
    parts, warm = [], [0, 0]
    for segment in results.described.segments:
        found = groups.get(segment.index, [])
        measured = [sample for sample in found if sample.ts >= segment.warm_until]
        cut = [sample for sample in found if sample.ts < segment.warm_until]
        warm = [warm[0] + len(cut), warm[1] + sum(not sample.ok for sample in cut)]
        looks = [look for look in results.nodes if segment.warm_until <= look.ts <= segment.ended]
        parts.append(Part(segment.cell, segment.repeat, measured, looks, segment.seconds))
    known = {segment.index for segment in results.described.segments}
    return replace(
        results,
        samples=[sample for part in parts for sample in part.samples],
        parts=parts,
        warm=(warm[0], warm[1]),
        strays=sum(len(found) for index, found in groups.items() if index not in known),
    )


def read_by_segment(path: Path) -> dict[int, list[Sample]]:
    """The samples of a file by their segment; all in segment 0 where the file has no such column.

    Raises:
        ResultsError: no such file, a column that is missing, or a row that cannot be read.
    """
    groups: dict[int, list[Sample]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            missing = set(SAMPLE_COLUMNS) - {SEGMENT} - set(header)
            if missing:
                raise ResultsError(f"{path} has no column {', '.join(sorted(missing))}")
            places = [header.index(name) if name in header else None for name in SAMPLE_COLUMNS]
            segment = header.index(SEGMENT) if SEGMENT in header else None
            for row in reader:
                if len(row) != len(header):
                    raise ResultsError(
                        f"{path}, line {reader.line_num}: {len(row)} columns, not {len(header)}"
                    )
                sample = Sample.from_row(["0" if place is None else row[place] for place in places])
                groups.setdefault(0 if segment is None else int(row[segment]), []).append(sample)
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    return groups


def read_benchmarks(path: Path) -> list[Benchmark]:
    """Read a ``benchmark.json``, ours or the original's.

    Raises:
        ResultsError: it cannot be read.
    """
    try:
        return parse_benchmarks(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"cannot read {path}: {error}") from error


def _seconds(samples: Iterable[Sample]) -> float:
    samples = list(samples)
    if not samples:
        return 0.0
    return max(sample.ts + sample.seconds for sample in samples) - min(sample.ts for sample in samples)
