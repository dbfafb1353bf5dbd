"""What ``run.json`` says of the parts of a run: segments, thresholds, events, clocks. Old runs have none."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from loadtests.errors import ResultsError

T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """One combination of the matrix; None where the matrix does not say."""

    regions: int | None = None
    peers: int | None = None
    payload_size: int | None = None
    """Bytes."""

    @property
    def label(self) -> str:
        """For people: ``3 regions, 2 peers each, 64 KiB``."""
        words = []
        if self.regions is not None:
            words.append(f"{self.regions} region{'s' * (self.regions != 1)}")
        if self.peers is not None:
            words.append(f"{self.peers} peer{'s' * (self.peers != 1)} each")
        if self.payload_size is not None:
            words.append(_binary(self.payload_size))
        return ", ".join(words) or "all"


@dataclass(frozen=True)
class Segment:
    """One repeat of one cell. Times are seconds since the epoch."""

    index: int
    cell: Cell
    repeat: int
    began: float
    ended: float
    warm_until: float
    """What began earlier is in no figure."""

    @property
    def seconds(self) -> float:
        """How long it was measured."""
        return max(0.0, self.ended - max(self.began, self.warm_until))


@dataclass(frozen=True)
class Event:
    """Something done to the cluster: ``wave``, ``deleted``, ``back``, ``cut``, ``healed``."""

    kind: str
    at: float
    wave: int | None
    region: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Clock:
    """A node's clock against the load generator's, in seconds."""

    node: str
    offset: float
    error: float


@dataclass(frozen=True)
class Parts:
    """The parts of a run."""

    segments: tuple[Segment, ...] = ()
    thresholds: tuple[dict[str, str], ...] = ()
    """As declared: ``{"metric": …, "max": …}`` or ``{"metric": …, "min": …}``."""

    events: tuple[Event, ...] = ()
    clocks: tuple[Clock, ...] = ()
    latency: dict[str, float] = field(default_factory=dict)
    """Round trips in milliseconds by ``regionA/regionB``."""


def read_parts(path: Path) -> Parts:
    """Read the parts from a ``run.json``.

    Raises:
        ResultsError: the file cannot be read, or a part of it is not what it should be.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    try:
        return Parts(
            segments=_all(value.get("segments"), _segment),
            thresholds=_all(value.get("thresholds"), _threshold),
            events=tuple(sorted(_all(value.get("events"), _event), key=lambda event: event.at)),
            clocks=tuple(
                Clock(str(node), float(clock["offset"]), float(clock["error"]))
                for node, clock in sorted((value.get("clocks") or {}).items())
            ),
            latency=latency_of(value.get("latency") or {}),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path}: {type(error).__name__}: {error}") from error


def latency_of(value: Any) -> dict[str, float]:
    """Round trips by pair of regions, from decoded JSON.

    Raises:
        ValueError: it is no such map.
    """
    if not isinstance(value, dict):
        raise ValueError('round trips must be {"regionA/regionB": milliseconds}')  # noqa: TRY004  # of a file
    found = {}
    for pair, milliseconds in value.items():
        if (
            pair.count("/") != 1
            or isinstance(milliseconds, bool)
            or not isinstance(milliseconds, int | float)
        ):
            raise ValueError(f'{pair!r}: {milliseconds!r} is not "regionA/regionB": milliseconds')
        if milliseconds < 0:
            raise ValueError(f"{pair}: a round trip of {milliseconds} ms")
        found[pair] = float(milliseconds)
    return found


def _all(values: Any, read: Callable[[Any], T]) -> tuple[T, ...]:
    return tuple(read(value) for value in values or ())


def _segment(value: dict[str, Any]) -> Segment:
    cell = value.get("cell") or {}
    return Segment(
        index=int(value["index"]),
        cell=Cell(*(_whole(cell.get(name)) for name in ("regions", "peers", "payload_size"))),
        repeat=int(value["repeat"]),
        began=float(value["began"]),
        ended=float(value["ended"]),
        warm_until=float(value["warm_until"]),
    )


def _threshold(value: dict[str, Any]) -> dict[str, str]:
    return {name: str(value[name]) for name in ("metric", "max", "min") if value.get(name) is not None}


def _event(value: dict[str, Any]) -> Event:
    return Event(
        kind=str(value["kind"]),
        at=float(value["at"]),
        wave=_whole(value.get("wave")),
        region=str(value.get("region") or ""),
        members=tuple(str(member["name"]) for member in value.get("members") or ()),
    )


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _binary(count: int) -> str:
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"
