"""Raw samples: what was measured, one row each, and the CSV files they are kept in.

A row of ``samples.csv`` is one event of the load test, in locust's sense: a request, an entry seen on another
node, a newcomer that has caught up. A row of ``nodes.csv`` is one look at a node's process.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Self, TextIO, TypeVar

from loadtests.errors import ResultsError

T = TypeVar("T")

SAMPLES_FILE = "samples.csv"
NODES_FILE = "nodes.csv"

# A row is about 120 bytes: the file stays under 250 MB and the report under 1 GB of memory. What comes
# after is counted, and the report says so.
MAX_ROWS = 2_000_000

POST, GET, QUERY, REPLICATION, JOIN, ISVALID = "post", "get", "query", "replication", "join", "isvalid"
KINDS = (POST, GET, QUERY, REPLICATION, JOIN, ISVALID)


@dataclass(frozen=True)
class Sample:
    """One measured event."""

    ts: float
    """When it began, seconds since the epoch by the load generator's clock."""

    kind: str
    """One of ``KINDS``."""

    source: str
    """The node that was asked (post, get, query, isvalid), that the entry was posted on (replication) or that the
    newcomer joined by (join)."""

    target: str
    """The node that the entry was awaited on (replication), the newcomer (join), else empty."""

    source_region: str
    target_region: str

    seconds: float
    """From the request's first byte to the answer's last; replication: from the entry's signed creation to the first
    answer of the target node that has it, both by the nodes' own clocks, which were compared; join: from the start of
    the process to the moment it has the entries."""

    late: float
    """Seconds between the moment the request was due by its user's schedule and its start: above 0 where
    earlier requests took longer than the schedule gave them. ``late + seconds`` is free of coordinated
    omission."""

    error_bar: float
    """The event happened at most this many seconds earlier or, by what the clocks' comparison leaves open, later than
    noticed; 0 for requests."""

    bytes: int
    """Size of the file that was posted or got, 0 where it is not known or has no meaning."""

    ok: bool
    error: str
    """Empty, or what went wrong."""

    segment: int = 0
    """The part of the run that it belongs to, from 0."""

    @property
    def response(self) -> float:
        """Seconds as a user on a schedule sees them."""
        return self.late + self.seconds

    def row(self) -> list[str]:
        """The fields as text, exact (a float's shortest form that reads back as itself)."""
        return [_text(value) for value in astuple(self)]

    @classmethod
    def from_row(cls, row: Sequence[str]) -> Self:
        """Read what ``row`` wrote.

        Raises:
            ResultsError: the row has other columns or unreadable values.
        """
        return _parse(cls, row)


@dataclass(frozen=True)
class NodeSample:
    """One look at a node's process, from ``GET /peersdb/status``."""

    ts: float
    node: str
    region: str
    mem_bytes: int
    """Resident memory."""

    cpu_percent: float
    """Processor time since the last look, 100 = one core."""

    entries: int
    """Entries in the node's log."""

    peers: int
    """Peers that it is connected to."""

    wanted: int
    """Contributions whose files a full replica still has to fetch."""

    def row(self) -> list[str]:
        """The fields as text, exact."""
        return [_text(value) for value in astuple(self)]

    @classmethod
    def from_row(cls, row: Sequence[str]) -> Self:
        """Read what ``row`` wrote.

        Raises:
            ResultsError: the row has other columns or unreadable values.
        """
        return _parse(cls, row)


SAMPLE_COLUMNS = tuple(field.name for field in fields(Sample))
NODE_COLUMNS = tuple(field.name for field in fields(NodeSample))


class RowWriter:
    """Appends rows to a CSV file, at most ``limit``; what comes after is counted in ``dropped``."""

    def __init__(self, path: Path, columns: Sequence[str], *, limit: int = MAX_ROWS) -> None:
        """Create the file, or empty it, and write the header."""
        self._file: TextIO = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._csv.writerow(columns)
        self._limit = limit
        self.written = 0
        self.dropped = 0

    def write(self, row: Sequence[str]) -> None:
        """Append one row; after ``close`` or beyond the limit it only counts as dropped."""
        if self.written >= self._limit or self._file.closed:
            self.dropped += 1
            return
        self._csv.writerow(row)
        self.written += 1

    def close(self) -> None:
        """Flush and close; a second call does nothing."""
        self._file.close()


def read_samples(path: Path) -> list[Sample]:
    """All samples of a file.

    Raises:
        ResultsError: no such file, another header, or a row that cannot be read (named by its line).
    """
    return [Sample.from_row(row) for row in _rows(path, SAMPLE_COLUMNS)]


def read_node_samples(path: Path) -> list[NodeSample]:
    """All node samples of a file.

    Raises:
        ResultsError: no such file, another header, or a row that cannot be read (named by its line).
    """
    return [NodeSample.from_row(row) for row in _rows(path, NODE_COLUMNS)]


def of_kind(samples: Iterable[Sample], kind: str) -> list[Sample]:
    """The samples of one kind, in order."""
    return [sample for sample in samples if sample.kind == kind]


def _rows(path: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    try:
        file = path.open(newline="", encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error
    with file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != tuple(columns):
            raise ResultsError(f"{path} does not begin with the header {','.join(columns)}")
        for row in reader:
            if len(row) != len(columns):
                raise ResultsError(f"{path}, line {reader.line_num}: {len(row)} columns, not {len(columns)}")
            yield row


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return repr(value) if isinstance(value, float) else str(value)


_READERS: dict[Any, Any] = {
    float: float,
    int: int,
    str: str,
    bool: lambda text: {"1": True, "0": False}[text],
}


def _parse(cls: type[T], row: Sequence[str]) -> T:
    kinds = [field.type for field in fields(cls)]  # type: ignore[arg-type]  # only used with dataclasses
    try:
        return cls(*(_READERS[kind](text) for kind, text in zip(kinds, row, strict=True)))
    except (ValueError, KeyError) as error:
        raise ResultsError(f"not a {cls.__name__} row: {','.join(row)!r}") from error
