"""Lamport clock of the log."""

from dataclasses import dataclass
from functools import total_ordering

# The largest whole number that JavaScript holds exactly; OrbitDB's clocks are such numbers.
MAX_TIME = 2**53


@total_ordering
@dataclass(frozen=True, slots=True)
class Clock:
    """A logical time and whose it is, ordered by time first, then by id.

    Attributes:
        id: the writer's public key in hex.
        time: 1 for an entry without parents, else one more than the latest parent's.
    """

    id: str
    time: int

    def __lt__(self, other: "Clock") -> bool:
        return (self.time, self.id) < (other.time, other.id)
