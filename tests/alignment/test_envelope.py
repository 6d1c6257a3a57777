"""The envelope is tight, sound and never runs backwards; the oracle asks every point about every reading."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment._envelope import SPAN_NS_LIMIT, Ceiling
from coeval.alignment._rate import Rate

TIGHT_NS = 3

slopes = st.one_of(st.integers(-(10**5), 10**5), st.integers(-4 * 10**8, 4 * 10**8)).map(
    lambda value: Fraction(value, 10**9)
)
residues = st.one_of(st.integers(-4, 4), st.integers(-(10**6), 10**6))
spans = st.sampled_from((20, 10**6, 10**15, SPAN_NS_LIMIT))


@st.composite
def ceilings(draw: st.DrawFn) -> tuple[list[tuple[int, int]], Rate, Rate, list[int]]:
    span = draw(spans)
    low, high = sorted((draw(slopes), draw(slopes)))
    x = st.integers(0, span)
    points = [(at, at + draw(residues)) for at in draw(st.lists(x, min_size=1, max_size=15))]
    asked = draw(st.lists(st.integers(-span // 2, span + span // 2), min_size=1, max_size=10))
    return points, Rate.down(low), Rate.up(high), asked + [at for at, _ in points]


def exact_bound(points: list[tuple[int, int]], low: Rate, high: Rate, x: int) -> Fraction:
    return min(y + (x - at) * (1 + (high if x >= at else low).value) for at, y in points)


def built(points: list[tuple[int, int]], low: Rate, high: Rate) -> Ceiling:
    array = np.array(points, dtype=np.int64)
    return Ceiling.over(array[:, 0], array[:, 1], low, high)


@given(ceilings())
def test_the_bound_is_sound_and_within_three_nanoseconds_of_the_tightest(
    case: tuple[list[tuple[int, int]], Rate, Rate, list[int]],
) -> None:
    points, low, high, asked = case
    for x, bound in zip(asked, built(points, low, high).at(np.array(asked, dtype=np.int64)).tolist(), strict=True):
        assert 0 <= bound - exact_bound(points, low, high, x) <= TIGHT_NS


@given(ceilings())
def test_no_point_is_exceeded(case: tuple[list[tuple[int, int]], Rate, Rate, list[int]]) -> None:
    points, low, high, _ = case
    x, y = np.array(points, dtype=np.int64).T
    assert bool(np.all(built(points, low, high).at(x) <= y))


@given(ceilings())
def test_the_bound_never_runs_backwards(case: tuple[list[tuple[int, int]], Rate, Rate, list[int]]) -> None:
    points, low, high, asked = case
    near = np.unique([x + step for x in asked for step in (-2, -1, 0, 1, 2)])
    assert bool(np.all(np.diff(built(points, low, high).at(near)) >= 0))


@given(ceilings())
def test_one_reading_and_many_give_the_same_bounds(
    case: tuple[list[tuple[int, int]], Rate, Rate, list[int]],
) -> None:
    points, low, high, asked = case
    ceiling = built(points, low, high)
    assert [ceiling.at_one(x) for x in asked] == ceiling.at(np.array(asked, dtype=np.int64)).tolist()


@given(ceilings())
def test_the_point_that_sets_a_bound_is_named(case: tuple[list[tuple[int, int]], Rate, Rate, list[int]]) -> None:
    points, low, high, asked = case
    ceiling = built(points, low, high)
    for x in asked:
        named = points[ceiling.set_by(x)]
        assert exact_bound([named], low, high, x) - exact_bound(points, low, high, x) <= TIGHT_NS


@given(ceilings(), st.randoms())
def test_the_order_of_the_points_does_not_matter(
    case: tuple[list[tuple[int, int]], Rate, Rate, list[int]], random: Random
) -> None:
    points, low, high, asked = case
    mixed = random.sample(points, len(points))
    x = np.array(asked, dtype=np.int64)
    assert built(mixed, low, high).at(x).tolist() == built(points, low, high).at(x).tolist()


@given(ceilings())
def test_no_width_between_two_points_exceeds_the_one_at_their_peak(
    case: tuple[list[tuple[int, int]], Rate, Rate, list[int]],
) -> None:
    points, low, high, asked = case
    ceiling = built(points, low, high)
    first, last = int(ceiling.x[0]), int(ceiling.x[-1])
    turning = np.concatenate((ceiling.x, ceiling.peaks()))
    within = np.array([x for x in asked if first <= x <= last], dtype=np.int64)
    middle = (low.value + high.value) / 2

    def tilted(x: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[Fraction]:
        return [int(y) - int(at) * (1 + middle) for at, y in zip(x, ceiling.at(x), strict=True)]

    if len(within):
        assert max(tilted(within)) <= max(tilted(turning)) + TIGHT_NS + 1
