"""What a measure found."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """One row.

    Attributes:
        what: the measure.
        value: the figure, in ``unit``.
        unit: of value and target.
        target: what it is held against, or None.
        better: ``higher`` or ``lower``.
        rival: what others reach, as text: published figures, other machines.
        runs: the single figures where ``value`` is their median.
        key: what the same measure of a rival is called in `rivals`, or empty.
        same_run: what rivals reached in this run, in ``unit``, by their names.
    """

    what: str
    value: float
    unit: str
    target: float | None
    better: str
    rival: str
    runs: tuple[float, ...] = ()
    key: str = ""
    same_run: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.better == "higher" else self.value <= self.target

    def as_dict(self) -> dict[str, Any]:
        """The row with its verdict."""
        return {**asdict(self), "met": self.met}


def median(
    what: str,
    runs: Iterable[float],
    unit: str,
    *,
    target: float | None = None,
    rival: str = "",
    key: str = "",
) -> Result:
    """The row of several runs, of which more is better."""
    runs = tuple(runs)
    return Result(what, statistics.median(runs), unit, target, "higher", rival, runs, key)
