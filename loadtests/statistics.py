"""Statistics of samples: percentiles that a failure makes worse, never better.

A percentile is the linear interpolation between the two closest ranks (numpy's and pandas' default; type 7 of
Hyndman and Fan). A failed sample counts as one that never ended: infinitely long. So a run in which 2 % of
the requests fail has an infinite p99, however fast the failures came, and the report writes it as such.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def percentile(ordered: Sequence[float], q: float) -> float:
    """The ``q``-th percentile of an ascending sequence.

    Args:
        ordered: values in ascending order; infinities are allowed at the end.
        q: 0 to 100.

    Returns:
        The interpolated value; ``nan`` for no values, ``inf`` as soon as an infinite value has a weight in
        it.

    Raises:
        ValueError: ``q`` is outside 0 to 100.
    """
    if not 0 <= q <= 100:
        raise ValueError(f"a percentile lies between 0 and 100, not {q}")
    if not ordered:
        return math.nan
    rank = (len(ordered) - 1) * q / 100
    below = math.floor(rank)
    weight = rank - below
    if weight == 0:
        return ordered[below]
    low, high = ordered[below], ordered[below + 1]
    return low if low == high else low + (high - low) * weight


@dataclass(frozen=True)
class Summary:
    """A sample set in numbers; all but the counts in the unit of the values."""

    count: int
    """All samples, failures included."""

    failed: int
    p50: float
    p90: float
    p95: float
    p99: float
    maximum: float
    mean: float
    """``inf`` as soon as one sample failed."""

    @property
    def failure_ratio(self) -> float:
        """Failed samples of all, 0 to 1; 0 for no samples."""
        return self.failed / self.count if self.count else 0.0


def summarise(values: Iterable[float], *, failed: int = 0) -> Summary:
    """Describe ``values`` (the successes) and ``failed`` further samples that never ended."""
    ordered = [*sorted(values), *([math.inf] * failed)]
    return Summary(
        count=len(ordered),
        failed=failed,
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        maximum=ordered[-1] if ordered else math.nan,
        mean=math.fsum(ordered) / len(ordered) if ordered else math.nan,
    )


def cdf(values: Iterable[float], *, failed: int = 0) -> tuple[list[float], list[float]]:
    """The empirical distribution: ascending values, and the share (0 to 1) of all samples at or below each.

    With failures the curve ends below 1: those never arrived.
    """
    ordered = sorted(values)
    total = len(ordered) + failed
    return ordered, [(rank + 1) / total for rank in range(len(ordered))]
