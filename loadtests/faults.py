"""What is done to the cluster while it is measured, as the operator tells: faults, and waves of newcomers. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from loadtests.errors import OptionsError
from loadtests.targets import Node, parse_members

WAVE, DELETED, BACK, CUT, HEALED = "wave", "deleted", "back", "cut", "healed"
KINDS = (WAVE, DELETED, BACK, CUT, HEALED)
# A fault every second of an hour.
MAX_EVENTS = 4_000
# The member goes before its deletion is told, and the operator's clock is not ours.
MARGIN_SECONDS = 3.0


@dataclass(frozen=True)
class Event:
    """One thing that was done."""

    kind: str
    at: float
    """When, seconds since the epoch by the operator's clock."""

    received: float
    """When it was told, by the clock here."""

    wave: int | None = None
    region: str = ""
    members: tuple[Node, ...] = ()

    @classmethod
    def parse(cls, value: object, received: float) -> Self:
        """Read a decoded event.

        Raises:
            OptionsError: it is none.
        """
        if not isinstance(value, dict) or value.get("kind") not in KINDS:
            raise OptionsError(f"an event needs a kind: {', '.join(KINDS)}")
        at, wave, region = value.get("at"), value.get("wave"), value.get("region") or ""
        if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < 1e11:
            raise OptionsError("an event's at is its moment, in seconds since 1970")
        if value["kind"] == WAVE and (type(wave) is not int or wave < 1):
            raise OptionsError("a wave's number is a whole one from 1")
        if not isinstance(region, str):
            raise OptionsError("an event's region is a text")
        members = tuple(parse_members(value["members"] if value.get("members") is not None else []))
        return cls(
            value["kind"], float(at), received, wave if value["kind"] == WAVE else None, region, members
        )

    @property
    def key(self) -> tuple[str, float]:
        """The same for the same event told twice."""
        return (self.kind, float(self.wave) if self.wave is not None else self.at)

    def public(self) -> dict[str, Any]:
        """For ``run.json``."""
        members = [
            {
                "name": node.name,
                "http": node.url,
                "region": node.region,
                "role": "root" if node.root else "peer",
            }
            for node in self.members
        ]
        found = {"kind": self.kind, "at": self.at, "region": self.region, "members": members}
        return found if self.wave is None else {**found, "wave": self.wave}


@dataclass
class Events:
    """All that was told, each once."""

    told: dict[tuple[str, float], Event] = field(default_factory=dict)

    def add(self, event: Event) -> bool:
        """Keep an event. Returns whether it is a new one.

        Raises:
            OptionsError: there are too many.
        """
        if event.key in self.told:
            return False
        if len(self.told) >= MAX_EVENTS:
            raise OptionsError(f"more than {MAX_EVENTS} events")
        self.told[event.key] = event
        return True

    def wave(self, number: int) -> Event | None:
        """The wave of this number, if it was told."""
        return self.told.get((WAVE, float(number)))

    def away(self) -> set[str]:
        """Members that were deleted and are not back yet."""
        found: set[str] = set()
        for event in self._in_order():
            names = {node.name for node in event.members}
            if event.kind == DELETED:
                found |= names
            elif event.kind == BACK:
                found -= names
        return found

    def excuses(self, name: str, began: float, ended: float) -> bool:
        """Whether a request to a member failed because the member was deleted then."""
        since: float | None = None
        for event in self._in_order():
            if name not in {node.name for node in event.members}:
                continue
            if event.kind == DELETED and since is None:
                since = min(event.at, event.received) - MARGIN_SECONDS
            elif event.kind == BACK and since is not None:
                until = max(event.at, event.received) + MARGIN_SECONDS
                if since <= ended and began <= until:
                    return True
                since = None
        return since is not None and since <= ended

    def _in_order(self) -> Iterable[Event]:
        return sorted(self.told.values(), key=lambda event: event.at)
