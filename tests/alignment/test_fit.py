"""What rate two sets of half-bounds leave, against an oracle that takes every pair of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from coeval.alignment._fit import HalfBounds, fit
from coeval.alignment._rate import ppm

LIMIT = ppm(200)

points = st.lists(st.tuples(st.integers(0, 10**10), st.integers(-(10**6), 10**6)), min_size=1, max_size=12)


@given(points, points)
def test_the_slopes_left_are_those_of_the_worst_pairs(
    above: list[tuple[int, int]], below: list[tuple[int, int]]
) -> None:
    upper = [(x, x + residue + 10**6) for x, residue in above]
    lower = [(x, x + residue - 10**6) for x, residue in below]
    found = fit(half_bounds(upper, lower), LIMIT)
    assume(found.contradiction is None)
    assert found.wander is not None
    rises = [(xu - xl, yu - yl) for xu, yu in upper for xl, yl in lower if xu > xl]
    falls = [(xl - xu, yl - yu) for xu, yu in upper for xl, yl in lower if xu < xl]
    most = min([Fraction(rise, run) - 1 for run, rise in rises] + [LIMIT])
    least = max([Fraction(rise, run) - 1 for run, rise in falls] + [-LIMIT])
    assert abs(found.wander.slope_most - most) < Fraction(1, 10**12)
    assert abs(found.wander.slope_least - least) < Fraction(1, 10**12)
    assert found.wander.slope_most >= most
    assert found.wander.slope_least <= least


@given(points, points)
def test_a_contradiction_is_found_exactly_when_two_half_bounds_cannot_both_be_true(
    above: list[tuple[int, int]], below: list[tuple[int, int]]
) -> None:
    upper = [(x, x + residue) for x, residue in above]
    lower = [(x, x + residue - 10**5) for x, residue in below]
    found = fit(half_bounds(upper, lower), LIMIT)
    excess = {
        (i, j): (yl - xl) - (yu - xu) - LIMIT * abs(xl - xu)
        for i, (xu, yu) in enumerate(upper)
        for j, (xl, yl) in enumerate(lower)
    }
    worst = max(excess.values())
    if found.contradiction is None:
        assert worst <= 8
    else:
        assert worst > 0
        assert excess[found.contradiction] >= worst - 8


def test_evidence_too_short_to_tell_a_rate_leaves_the_declared_bounds() -> None:
    found = fit(half_bounds([(0, 10**5), (1000, 10**5)], [(0, -(10**5)), (1000, -(10**5))]), LIMIT)
    assert found.assumed is None


def half_bounds(upper: list[tuple[int, int]], lower: list[tuple[int, int]]) -> HalfBounds:
    above, below = np.array(upper, dtype=np.int64), np.array(lower, dtype=np.int64)
    return HalfBounds(above[:, 0], above[:, 1], below[:, 0], below[:, 1])
