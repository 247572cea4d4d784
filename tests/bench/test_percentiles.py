"""Percentiles are samples: the smallest that enough of the others do not exceed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.percentiles import nearest_rank, summary


def test_of_a_thousand_samples_p999_is_the_second_largest():
    found = summary([number * 1_000 for number in range(1_000, 0, -1)])
    assert found == {"n": 1_000, "p50_us": 500.0, "p99_us": 990.0, "p999_us": 999.0, "max_us": 1_000.0}


def test_of_few_samples_the_high_percentiles_are_the_largest():
    assert summary([3_000, 1_000, 2_000]) == {
        "n": 3, "p50_us": 2.0, "p99_us": 3.0, "p999_us": 3.0, "max_us": 3.0,
    }  # fmt: skip


def test_no_samples_have_no_percentile():
    with pytest.raises(ValueError, match="no samples"):
        nearest_rank([], 0.5)


@given(st.lists(st.integers(0, 10**12), min_size=1), st.floats(0.001, 1.0))
def test_a_percentile_is_a_sample_that_enough_do_not_exceed_and_the_one_before_is_not(samples, quantile):
    ordered = sorted(samples)
    found = nearest_rank(ordered, quantile)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= quantile * len(samples) - 1e-9
    below = [sample for sample in ordered if sample < found]
    assert len(below) < quantile * len(samples) + 1e-9
