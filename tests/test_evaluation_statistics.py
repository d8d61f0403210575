"""Intervals, percentiles and the comparison of two runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plainsql.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    compare_paired,
    mcnemar_exact,
    percentile,
)


def test_the_interval_is_near_the_normal_one():
    interval = bootstrap_interval([True] * 700 + [False] * 300)
    # 0.7 ± 1.96 · sqrt(0.7 · 0.3 / 1000)
    assert interval.low == pytest.approx(0.6716, abs=0.003)
    assert interval.high == pytest.approx(0.7284, abs=0.003)


def test_intervals_at_the_edges():
    assert bootstrap_interval([True] * 5) == Interval(1.0, 1.0)
    assert bootstrap_interval([False] * 5) == Interval(0.0, 0.0)
    assert bootstrap_interval([]) == Interval(0.0, 1.0)


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_the_interval_holds_the_share_and_is_reproducible(outcomes):
    interval = bootstrap_interval(outcomes, resamples=500)
    assert interval == bootstrap_interval(list(reversed(outcomes)), resamples=500)
    assert 0 <= interval.low <= sum(outcomes) / len(outcomes) <= interval.high <= 1


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3.0], 0.95, 3.0), ([1.0, 2.0, 3.0], 0.5, 2.0), ([0.0, 10.0], 0.95, 9.5)],
)
def test_percentiles(values, share, expected):
    assert percentile(values, share) == expected


# only the first right, only the second right, p: sums of binomial coefficients over 2^n
MCNEMAR = [
    (0, 0, 1.0),
    (1, 0, 1.0),
    (5, 0, 2 / 32),
    (0, 5, 2 / 32),
    (5, 5, 1.0),
    (8, 1, 2 * (1 + 9) / 512),
    (10, 2, 2 * (1 + 12 + 66) / 4096),
]


@pytest.mark.parametrize(("first", "second", "p"), MCNEMAR)
def test_mcnemar(first, second, p):
    assert mcnemar_exact(first, second) == pytest.approx(p)


def test_mcnemar_of_large_counts():
    assert mcnemar_exact(2000, 1000) < 1e-60


def test_paired_comparison():
    first = [True] * 60 + [True] * 20 + [False] * 5 + [False] * 15
    second = [True] * 60 + [False] * 20 + [True] * 5 + [False] * 15
    found = compare_paired(first, second)
    assert (found.questions, found.only_first, found.only_second) == (100, 20, 5)
    assert found.difference == pytest.approx(0.15)
    assert found.interval.low < 0.15 < found.interval.high
    assert found.interval.low > 0
    assert found.p_value == pytest.approx(mcnemar_exact(20, 5))


def test_runs_must_be_of_the_same_questions():
    with pytest.raises(ValueError, match="shorter"):
        compare_paired([True], [])
    with pytest.raises(ValueError, match="no questions"):
        compare_paired([], [])
