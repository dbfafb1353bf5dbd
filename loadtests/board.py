"""What a run says of itself, and what it is told: shared by the shape, the files and the control API."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gevent.event import Event as Signal

from loadtests.evaluating import Evaluating
from loadtests.faults import Event, Events
from loadtests.segments import Segment

WAITING, RUNNING, SETTLING, DONE = "waiting", "running", "settling", "done"


@dataclass
class Board:
    """The state of the one run that is under way."""

    state: str = WAITING
    stage: str = "waiting for workers"
    passed: bool | None = None
    segments: int = 1
    segment: Segment | None = None
    began: float = 0.0
    """When the segment began, by the monotonic clock."""

    seconds: float | None = None
    """How long the segment takes; None: until somebody ends it."""

    share: float = 1.0
    """The part of the whole that the segments are; the rest are waves."""

    waves: float = 0.0
    """The part of the waves that is done, 0 to 1."""

    wave: int | None = None
    """The wave that is waited for."""

    fault: bool = False
    """A fault may be made."""

    started: float = field(default_factory=time.monotonic)
    events: Events = field(default_factory=Events)
    told: Signal = field(default_factory=Signal)
    """Set when an event was told."""

    evaluating: Evaluating = field(default_factory=Evaluating)

    results: Path | None = None
    """Where the files are, once the run is done."""

    collected: Signal = field(default_factory=Signal)
    """Somebody has the results."""

    problems: list[str] = field(default_factory=list)
    """Those of the start, before there is a run to have them."""

    def tell(self, event: Event) -> bool:
        """Take an event. Returns whether it is a new one.

        Raises:
            OptionsError: there are too many.
        """
        new = self.events.add(event)
        self.told.set()
        return new

    def done(self) -> float:
        """How much is done, 0 to 1."""
        if self.state == DONE:
            return 1.0
        if self.segment is None:
            return 0.0
        part = 0.0
        if self.state == SETTLING:
            part = 1.0
        elif self.state == RUNNING and self.seconds:
            part = min(1.0, (time.monotonic() - self.began) / self.seconds)
        elif self.state == RUNNING:
            part = self.evaluating.part
        whole = min(1.0, (self.segment.index + part) / self.segments)
        return min(0.999, self.share * whole + (1 - self.share) * self.waves)

    def wants(self) -> dict[str, Any] | None:
        """What the operator is asked for."""
        if self.wave is not None and self.state == RUNNING:
            return {"wave": self.wave}
        return {"fault": True} if self.fault and self.state == RUNNING else None
