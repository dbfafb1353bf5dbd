"""How sure a figure is: Student's t over repeats, Welch's for differences, resampling where there is one run.

scipy has these too, but is 100 MB for three functions.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, variance

import numpy as np

from loadtests.statistics import percentile

CONFIDENCE = 0.95
Interval = tuple[float, float]

# Contiguous stretches of a run that are drawn together: requests close in time slow each other down, and a
# resampling of single requests would take that for agreement of many independent ones.
BLOCKS = 50
RESAMPLES = 1000
MIN_RESAMPLES = 200
# Values looked at in all resamples together: about 3 s of one core.
MAX_LOOKS = 200_000_000
SEED = 7


def t_quantile(share: float, freedom: float) -> float:
    """The value that Student's t with ``freedom`` degrees (need not be whole) stays below with a probability
    of ``share``, 0.5 to below 1.
    """
    low, high = 0.0, 1.0
    while _t_below(high, freedom) < share:
        low, high = high, high * 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_below(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def of_mean(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The interval of the mean of repeats; None for fewer than two, or where one of them is not finite."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    half = t_quantile((1 + confidence) / 2, len(values) - 1) * math.sqrt(variance(values) / len(values))
    return fmean(values) - half, fmean(values) + half


def of_difference(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Interval | None:
    """Welch's interval of the second mean minus the first; None where ``of_mean`` has none for one of them."""
    both = (*first, *second)
    if min(len(first), len(second)) < 2 or not all(map(math.isfinite, both)):
        return None
    difference = fmean(second) - fmean(first)
    shares = [variance(values) / len(values) for values in (first, second)]
    total = math.fsum(shares)
    if total == 0:
        return difference, difference
    weights = zip(shares, (first, second), strict=True)
    freedom = 1 / math.fsum((share / total) ** 2 / (len(values) - 1) for share, values in weights)
    half = t_quantile((1 + confidence) / 2, freedom) * math.sqrt(total)
    return difference - half, difference + half


Statistic = Callable[["Weighted"], float]
"""A figure of weighted samples."""


class Weighted:
    """Samples in ascending order, each as often as its stretch of the run was drawn."""

    def __init__(self, ordered: "np.ndarray[tuple[int], np.dtype[np.float64]]", weights: object) -> None:
        """Values in ascending order and how often each of them counts."""
        self._ordered = ordered
        self._weights = np.asarray(weights)
        self._ends = np.cumsum(self._weights)

    def percentile(self, q: float) -> float:
        """As ``loadtests.statistics.percentile`` of the values written out."""
        count = int(self._ends[-1])
        rank = (count - 1) * q / 100
        below = math.floor(rank)
        places = np.searchsorted(self._ends, [below, min(below + 1, count - 1)], side="right")
        low, high = (float(self._ordered[place]) for place in places)
        return low if low == high or rank == below else low + (high - low) * (rank - below)

    def mean(self) -> float:
        """The mean; infinite as soon as one drawn value is."""
        drawn = self._weights > 0
        return float(np.average(self._ordered[drawn], weights=self._weights[drawn]))

    def failed(self) -> float:
        """The share of values that never ended."""
        return float(self._weights[np.isinf(self._ordered)].sum() / self._ends[-1])


def resampled_difference(
    first: Sequence[float], second: Sequence[float], statistic: Statistic, confidence: float = CONFIDENCE
) -> Interval:
    """The interval of ``statistic(second) - statistic(first)`` by drawing the samples again, with one seed.

    Args:
        first: samples in the order of time; infinite for failures. Not empty.
        second: the same of the other run.
        statistic: the figure.
        confidence: 0 to 1.
    """
    rounds = max(MIN_RESAMPLES, min(RESAMPLES, MAX_LOOKS // (len(first) + len(second))))
    random = np.random.default_rng(SEED)
    before, after = (_resample(values, statistic, rounds, random) for values in (first, second))
    # Two failures are no difference; one is an infinite one.
    found = sorted(b - a if a != b else 0.0 for a, b in zip(before, after, strict=True))
    tail = (1 - confidence) / 2 * 100
    return _safe_percentile(found, tail), _safe_percentile(found, 100 - tail)


def _resample(
    values: Sequence[float], statistic: Statistic, rounds: int, random: np.random.Generator
) -> list[float]:
    array = np.asarray(values, dtype=np.float64)
    count = min(BLOCKS, len(array))
    order = np.argsort(array, kind="stable")
    blocks = (np.arange(len(array)) * count // len(array))[order]
    ordered = array[order]
    drawn = random.multinomial(count, [1 / count] * count, size=rounds)
    return [statistic(Weighted(ordered, times[blocks])) for times in drawn]


def _safe_percentile(ordered: Sequence[float], q: float) -> float:
    """Like ``percentile``, but an infinite neighbour is taken whole: between -inf and inf is no number."""
    rank = (len(ordered) - 1) * q / 100
    low, high = ordered[math.floor(rank)], ordered[math.ceil(rank)]
    if math.isinf(low) or math.isinf(high):
        return low if q < 50 else high
    return percentile(ordered, q)


def _t_below(value: float, freedom: float) -> float:
    """The distribution function of Student's t for values from 0."""
    tail = _beta(freedom / 2, 0.5, freedom / (freedom + value * value)) / 2
    return 1 - tail


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function (Numerical Recipes, 6.4: Lentz's continued fraction)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 300):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * fraction / a
