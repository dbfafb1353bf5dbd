"""How sure a figure is: Student's t, Welch's and resampled intervals."""

import math
import random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.report.intervals import Weighted, of_difference, of_mean, resampled_difference, t_quantile
from loadtests.statistics import percentile


@pytest.mark.parametrize(
    ("freedom", "expected"),
    # Any textbook's table of Student's t.
    [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (30, 2.04227), (1000, 1.96234)],
)
def test_the_quantile_is_that_of_the_tables(freedom, expected):
    assert t_quantile(0.975, freedom) == pytest.approx(expected, rel=1e-5)


def test_other_quantiles_are_those_of_the_tables_too():
    assert t_quantile(0.95, 7) == pytest.approx(1.89458, rel=1e-5)
    assert t_quantile(0.9995, 3) == pytest.approx(12.92398, rel=1e-5)
    assert t_quantile(0.5, 5) == pytest.approx(0, abs=1e-9)


def test_the_interval_of_a_mean_is_the_textbooks():
    low, high = of_mean([10.0, 12.0, 14.0])
    assert (low, high) == pytest.approx(
        (12 - 4.30265 * 2 / math.sqrt(3), 12 + 4.30265 * 2 / math.sqrt(3)), rel=1e-5
    )


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.inf], [1.0, math.nan]])
def test_one_value_or_a_failure_has_no_interval(values):
    assert of_mean(values) is None
    assert of_difference(values, [1.0, 2.0]) is None
    assert of_difference([1.0, 2.0], values) is None


def test_welchs_interval_is_the_textbooks():
    first, second = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9], [27.1, 22.0, 20.8, 23.4]
    variances = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 5 + variances[1] ** 2 / 3)
    half = t_quantile(0.975, freedom) * math.sqrt(sum(variances))
    middle = fmean(second) - fmean(first)
    assert of_difference(first, second) == pytest.approx((middle - half, middle + half))


def test_repeats_without_any_spread_differ_by_exactly_their_difference():
    assert of_difference([1.0, 1.0], [3.0, 3.0]) == (2.0, 2.0)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(0, 4)), min_size=1, max_size=30),
    st.floats(0, 100),
    st.integers(0, 3),
)
def test_a_weighted_percentile_is_that_of_the_values_written_out(drawn, q, failed):
    drawn = sorted(drawn) + [(math.inf, 1)] * failed
    written = [value for value, times in drawn for _ in range(times)]
    if not written:
        return
    weighted = Weighted(np.array([value for value, _ in drawn]), [times for _, times in drawn])
    assert weighted.percentile(q) == pytest.approx(percentile(written, q), rel=1e-9, abs=1e-9)
    assert weighted.mean() == pytest.approx(fmean(written), rel=1e-9)
    assert weighted.failed() == pytest.approx(sum(map(math.isinf, written)) / len(written))


def median(drawn):
    return drawn.percentile(50)


def test_a_resampled_interval_covers_the_true_difference_as_often_as_it_says():
    random.seed(11)
    hits = 0
    for _ in range(60):
        first = [random.lognormvariate(0, 0.5) for _ in range(150)]
        second = [1.2 * random.lognormvariate(0, 0.5) for _ in range(150)]
        low, high = resampled_difference(first, second, median)
        hits += low <= 0.2 <= high
    assert hits >= 51, "95 % of 60 are 57"


def test_a_real_change_is_seen_and_the_same_draws_give_the_same_interval():
    random.seed(2)
    first = [random.lognormvariate(0, 0.2) for _ in range(400)]
    second = [value * 1.5 for value in first]
    low, high = resampled_difference(first, second, median)
    assert 0 < low < 0.5 < high
    assert resampled_difference(first, second, median) == (low, high)


def test_values_that_hang_together_in_time_make_the_interval_wider():
    random.seed(5)
    levels = [random.lognormvariate(0, 0.5) for _ in range(20)]
    clumped = [level * random.lognormvariate(0, 0.01) for level in levels for _ in range(20)]
    mixed = random.sample(clumped, len(clumped))
    widths = [
        high - low
        for low, high in (resampled_difference(one, one, Weighted.mean) for one in (clumped, mixed))
    ]
    assert widths[0] > 2 * widths[1]


def test_failures_that_reach_into_a_draw_leave_no_finite_edge():
    low, high = resampled_difference([1.0] * 100, [1.0] * 50 + [math.inf] * 50, median)
    assert (low, high) == (0.0, math.inf)
