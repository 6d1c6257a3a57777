"""Multiplying a rate with nanoseconds is exact, over all of the range."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment._rate import DURATION_NS_LIMIT, RATE_LIMIT, Rate

rates = st.one_of(
    st.fractions(-RATE_LIMIT, RATE_LIMIT).filter(lambda value: abs(value) < RATE_LIMIT),
    st.integers(-(10**6), 10**6).map(lambda value: Fraction(value, 10**12)),
    st.just(Fraction(0)),
)
durations = st.integers(-DURATION_NS_LIMIT + 1, DURATION_NS_LIMIT - 1)


@given(rates, st.lists(durations, min_size=1, max_size=5))
def test_a_product_is_the_exact_floor_and_ceiling(value: Fraction, some: list[int]) -> None:
    rate = Rate.down(value)
    array = np.array(some, dtype=np.int64)
    assert rate.floor_times(array).tolist() == [floor(rate.value * each) for each in some]
    assert rate.ceil_times(array).tolist() == [ceil(rate.value * each) for each in some]


@given(rates)
def test_rounding_goes_outward_and_costs_little(value: Fraction) -> None:
    down, up = Rate.down(value), Rate.up(value)
    assert down.value <= value <= up.value
    assert up.value - down.value <= abs(value) / 2**28 + Fraction(1, 2**59)


@pytest.mark.parametrize("value", [RATE_LIMIT, -RATE_LIMIT, Fraction(2)])
def test_a_rate_out_of_range_is_refused(value: Fraction) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Rate.down(value)
