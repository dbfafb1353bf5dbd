"""Percentiles: those of numpy and pandas, and never better for a failure."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.statistics import cdf, percentile, summarise

values = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=50)
quantiles = st.floats(0, 100, allow_nan=False)


@given(values, quantiles)
def test_a_percentile_is_that_of_numpy_and_pandas(found, q):
    ours = percentile(sorted(found), q)
    assert ours == pytest.approx(float(np.percentile(found, q)), rel=1e-9, abs=1e-9)
    assert ours == pytest.approx(float(pd.Series(found).quantile(q / 100)), rel=1e-9, abs=1e-9)


@given(values, st.integers(0, 20), quantiles)
def test_a_failure_never_improves_a_percentile(found, failed, q):
    without = percentile(sorted(found), q)
    with_failures = percentile([*sorted(found), *([math.inf] * failed)], q)
    assert with_failures >= without or with_failures == pytest.approx(without)


@given(values, st.integers(1, 20))
def test_a_failure_makes_maximum_and_mean_infinite(found, failed):
    summary = summarise(found, failed=failed)
    assert (summary.count, summary.failed) == (len(found) + failed, failed)
    assert summary.maximum == summary.mean == math.inf


def test_two_failures_of_a_hundred_make_the_p99_infinite_and_leave_the_p95():
    summary = summarise([0.01] * 98, failed=2)
    assert summary.p95 == 0.01
    assert summary.p99 == math.inf
    assert summary.failure_ratio == 0.02


def test_nothing_measured_is_no_figure():
    summary = summarise([])
    assert summary.count == 0
    assert all(math.isnan(value) for value in (summary.p50, summary.p99, summary.maximum, summary.mean))


@pytest.mark.parametrize("q", [-1, 100.5])
def test_a_percentile_outside_0_to_100_is_refused(q):
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile([1.0], q)


@given(values, st.integers(0, 20))
def test_the_distribution_ends_at_the_share_that_arrived(found, failed):
    ordered, shares = cdf(found, failed=failed)
    assert ordered == sorted(found)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(len(found) / (len(found) + failed))
