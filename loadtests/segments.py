"""The parts of a run: each cell of the matrix, each of its repeats, one after the other in one run of locust.

Pure. A matrix is declared as ``{"regions": [1, 3], "peers": [1, 2], "payloadSizes": [1024, "64Ki"]}``; every
combination is a cell, and what is left out does not vary. Repeats go over all cells before the next one begins, so that
what drifts during a run (a log that grows, a machine that warms up) reaches every cell alike.
"""

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from loadtests.errors import OptionsError
from loadtests.targets import Node
from loadtests.workload import MAX_FILE, SALT_BYTES

# A run of 500 segments of 10 s takes over an hour; the report has a row for each cell.
MAX_SEGMENTS = 500
DIMENSIONS = ("regions", "peers", "payloadSizes")

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "Ki": 1 << 10, "Mi": 1 << 20}
_QUANTITY = re.compile(r"([0-9]{1,12})(k|M|Ki|Mi)?")


@dataclass(frozen=True)
class Cell:
    """One combination of the matrix; None where the matrix does not say."""

    regions: int | None = None
    """So many regions take part: the first ones, in the order in which the nodes are named."""

    peers: int | None = None
    """So many members of each region take part: the first ones."""

    payload_size: int | None = None
    """Bytes."""


@dataclass(frozen=True)
class Segment:
    """One repeat of one cell."""

    index: int
    """From 0, over the whole run."""

    cell: Cell
    repeat: int
    """From 1."""

    def message(self) -> dict[str, Any]:
        """For a worker."""
        return asdict(self)

    @classmethod
    def from_message(cls, value: dict[str, Any]) -> Self:
        """What ``message`` gave."""
        return cls(value["index"], Cell(**value["cell"]), value["repeat"])


def parse_matrix(text: str) -> list[Cell]:
    """The cells of a matrix in JSON; one that says nothing for an empty text.

    Raises:
        OptionsError: it is no matrix, or a value of it makes no sense.
    """
    if not text:
        return [Cell()]
    try:
        value = json.loads(text)
    except ValueError as error:
        raise OptionsError(f"--matrix is no JSON: {error}") from error
    if not isinstance(value, dict) or not set(value) <= set(DIMENSIONS):
        raise OptionsError(f"--matrix must be an object with some of {', '.join(DIMENSIONS)}")
    counts = [_counts(value, name) for name in ("regions", "peers")]
    sizes: list[int | None] = [
        parse_size("--matrix: payloadSizes", one) for one in _list(value, "payloadSizes")
    ]
    return [Cell(*cell) for cell in itertools.product(*counts, sizes or [None])]


def parse_size(what: str, value: object) -> int:
    """Bytes of a payload: a whole number, or a quantity such as ``64Ki``.

    Raises:
        OptionsError: it is no size, or one that no payload can have.
    """
    found = _QUANTITY.fullmatch(str(value)) if not isinstance(value, bool) else None
    if found is None:
        raise OptionsError(f"{what}: {value!r} is no size: write a whole number of bytes, or 64Ki, 1Mi")
    size = int(found[1]) * _UNITS[found[2] or ""]
    if not SALT_BYTES <= size <= MAX_FILE:
        raise OptionsError(f"{what} must lie between {SALT_BYTES} and {MAX_FILE} bytes")
    return size


def plan(cells: Sequence[Cell], repeats: int) -> list[Segment]:
    """The segments of a run, in order.

    Raises:
        OptionsError: they are too many.
    """
    if len(cells) * repeats > MAX_SEGMENTS:
        raise OptionsError(
            f"{len(cells)} cells, each {repeats} times, are more than {MAX_SEGMENTS} parts of one run"
        )
    pairs = itertools.product(range(1, repeats + 1), cells)
    return [Segment(index, cell, repeat) for index, (repeat, cell) in enumerate(pairs)]


def taking_part(nodes: Sequence[Node], cell: Cell) -> list[Node]:
    """The nodes of a cell: the first regions in the order of the nodes, the first members of each."""
    regions = list(dict.fromkeys(node.region for node in nodes))[: cell.regions]
    found: dict[str, list[Node]] = {region: [] for region in regions}
    for node in nodes:
        if node.region in found and (cell.peers is None or len(found[node.region]) < cell.peers):
            found[node.region].append(node)
    chosen = {node.name for members in found.values() for node in members}
    return [node for node in nodes if node.name in chosen]


def stage(segment: Segment, cells: int, repeats: int) -> str:
    """Where a run is, for people: ``repeat 2/3, cell 1/4``."""
    return f"repeat {segment.repeat}/{repeats}, cell {segment.index % cells + 1}/{cells}"


def _counts(value: dict[str, Any], name: str) -> list[int | None]:
    found = _list(value, name)
    if not all(type(one) is int and one >= 1 for one in found):
        raise OptionsError(f"--matrix: {name} must be whole numbers from 1")
    return found or [None]


def _list(value: dict[str, Any], name: str) -> list[Any]:
    found = value.get(name) or []
    if not isinstance(found, list):
        raise OptionsError(f"--matrix: {name} must be a list")
    return found
