"""Multiplying a rate with nanoseconds is exact, in whole nanoseconds and in binary fractions of them."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment._rate import GRID_BITS, ceil_times, floor_times, grid_down, grid_up

UNIT = Fraction(1, 2**GRID_BITS)
rates = st.one_of(
    st.fractions(Fraction(-1, 2), Fraction(1, 2)),
    st.integers(-(10**6), 10**6).map(lambda value: Fraction(value, 10**12)),
    st.just(Fraction(0)),
)


@st.composite
def products(draw: st.DrawFn) -> tuple[int, list[int], int]:
    """A rate on the grid, durations, and bits, whose products fit 63 bits."""
    rate, bits = draw(rates), draw(st.integers(0, GRID_BITS))
    most = 2**61 if not rate else min(2**61, int((2**61 >> bits) / abs(rate)) + 1)
    return grid_down(rate), draw(st.lists(st.integers(-most, most), min_size=1, max_size=5)), bits


@given(products())
def test_a_product_is_the_exact_floor_and_ceiling(case: tuple[int, list[int], int]) -> None:
    rate, some, bits = case
    array = np.array(some, dtype=np.int64)
    exact = [rate * UNIT * each * 2**bits for each in some]
    assert floor_times(rate, array, bits).tolist() == [floor(each) for each in exact]
    assert ceil_times(rate, array, bits).tolist() == [ceil(each) for each in exact]


@given(rates, st.integers(-(2**30), 2**30))
def test_with_all_bits_of_the_grid_nothing_is_rounded(rate: Fraction, duration: int) -> None:
    on_grid, array = grid_up(rate), np.array([duration], dtype=np.int64)
    (exact,) = floor_times(on_grid, array, GRID_BITS).tolist()
    assert exact == on_grid * duration


@given(rates)
def test_rounding_goes_outward_and_costs_less_than_a_unit_of_the_grid(value: Fraction) -> None:
    down, up = grid_down(value) * UNIT, grid_up(value) * UNIT
    assert down <= value <= up
    assert up - value < UNIT
    assert value - down < UNIT
