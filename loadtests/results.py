"""The directory of results: raw samples while a run goes on, and what describes it at the end.

``samples.csv``, ``nodes.csv`` (raw), ``run.json`` (what was run, on what, and what was left out), and where
the nodes have it ``benchmark.json`` and ``benchmark.csv``. The report is drawn from these files alone.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtests import benchmarks
from loadtests.errors import ResultsError
from loadtests.samples import (
    MAX_ROWS,
    NODE_COLUMNS,
    NODES_FILE,
    SAMPLE_COLUMNS,
    SAMPLES_FILE,
    NodeSample,
    RowWriter,
)

RUN_FILE = "run.json"
FORMAT = 1


@dataclass
class RunDescription:
    """What was run. Times are seconds since the epoch."""

    profile: str
    started: float
    ended: float
    command: str
    nodes: list[dict[str, Any]]
    """Name, region, role and version of each."""

    dataset: dict[str, Any]
    options: dict[str, Any]
    environment: dict[str, str]
    unwatched_posts: int = 0
    """Posts whose replication was not watched, because the limit of entries awaited at once was reached."""

    dropped_rows: int = 0
    """Samples that are not in the files, because a limit was reached."""

    missed_looks: dict[str, int] = field(default_factory=dict)
    """How often a node did not say how it is, by its name."""

    problems: list[str] = field(default_factory=list)
    """Why the run cannot be taken for a complete one; each makes it a failed run."""

    notes: list[str] = field(default_factory=list)
    """What a reader must know to judge the figures."""

    segments: list[dict[str, Any]] = field(default_factory=list)
    """``index``, ``cell``, ``repeat``, ``began``, ``ended`` and ``warm_until`` of each part of the run."""

    thresholds: list[dict[str, str]] = field(default_factory=list)
    """What must hold; the report judges."""

    events: list[dict[str, Any]] = field(default_factory=list)
    """Faults and newcomers' waves, as they were told."""

    clocks: dict[str, dict[str, float]] = field(default_factory=dict)
    """``offset`` of each node's clock to the load generator's and the ``error`` of that, in seconds."""

    format: int = FORMAT


class ResultsWriter:
    """Writes one run into a directory."""

    def __init__(self, directory: Path, *, limit: int = MAX_ROWS) -> None:
        """Begin, replacing an older run's files.

        Raises:
            ResultsError: the directory cannot be made, or holds other things.
        """
        prepare(directory)
        self.directory = directory
        self.samples = RowWriter(directory / SAMPLES_FILE, SAMPLE_COLUMNS, limit=limit)
        self._nodes = RowWriter(directory / NODES_FILE, NODE_COLUMNS, limit=limit)

    def node(self, sample: NodeSample) -> None:
        """Keep one look at a node."""
        self._nodes.write(sample.row())

    def finish(self, run: RunDescription, values: list[dict[str, Any]]) -> None:
        """Close the raw samples and write the description, and the nodes' benchmarks if there are any."""
        self.samples.close()
        self._nodes.close()
        run.dropped_rows += self.samples.dropped + self._nodes.dropped
        if values:
            benchmarks.write(self.directory, values)
        text = json.dumps(asdict(run), indent=2, ensure_ascii=False)
        (self.directory / RUN_FILE).write_text(text + "\n", encoding="utf-8")


def prepare(directory: Path) -> None:
    """Make a directory for results, or empty one of its older results.

    Raises:
        ResultsError: it cannot be made or written, or holds other things, which stay untouched.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()) and not (directory / SAMPLES_FILE).is_file():
            raise ResultsError(f"{directory} holds other files: name a new directory for the report")
        for name in (RUN_FILE, benchmarks.JSON_FILE, benchmarks.CSV_FILE):
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise ResultsError(f"cannot write results into {directory}: {error.strerror}") from error


def report_directory(root: Path, number: int) -> Path:
    """Where the ``number``-th run of this process (counted from 1) goes; the web UI can start several."""
    return root if number == 1 else root / f"run-{number}"


def read_run(path: Path) -> RunDescription:
    """Read a ``run.json``.

    Raises:
        ResultsError: it cannot be read, or is of another format.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise ResultsError(f"{path} has format {value['format']}, this program reads {FORMAT}")
        known = {name: value[name] for name in RunDescription.__dataclass_fields__ if name in value}
        return RunDescription(**known)  # what else there is, newer programs read
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} is no description of a run: {error}") from error
