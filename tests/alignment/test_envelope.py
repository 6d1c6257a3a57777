"""The envelope is exact where its units hold it, sound everywhere, and never runs backwards; each point is asked."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment._envelope import NOTHING, Envelope, Slopes
from coeval.alignment._rate import GRID_BITS, grid_down, grid_up

UNIT = Fraction(1, 2**GRID_BITS)
# Each of: the point's own closing, and the way from it. Far away both are whole nanoseconds.
ROUNDED_NS = 3

slopes = st.one_of(st.integers(-(10**5), 10**5), st.integers(-(10**8), 10**8)).map(lambda value: Fraction(value, 10**9))


class Case:
    """Points by reading, with their excess in ns, and readings to ask about."""

    def __init__(self, points: list[tuple[int, int]], bounds: Slopes, bits: int, asked: list[int]) -> None:
        self.points, self.slopes, self.bits, self.asked = sorted(points), bounds, bits, asked

    def built(self) -> Envelope:
        x, excess = np.array(self.points, dtype=np.int64).T
        made = Envelope.over(x, excess << self.bits, self.slopes, self.bits)
        assert made is not None
        return made

    def exact(self, x: int) -> Fraction:
        return min(
            x + excess + (x - at) * (self.slopes.high if x >= at else self.slopes.low) * UNIT
            for at, excess in self.points
        )

    def __repr__(self) -> str:
        return f"Case({self.points}, {self.slopes}, {self.bits}, {self.asked})"


@st.composite
def cases(draw: st.DrawFn, *, exact: bool = False) -> Case:
    span = draw(st.sampled_from((20, 10**6, 10**9) if exact else (20, 10**6, 10**12, 10**16)))
    low, high = sorted((draw(slopes), draw(slopes)))
    most = 2**30 if exact else 2**40
    residue = st.one_of(st.integers(-4, 4), st.integers(-most, most))
    points = draw(st.lists(st.tuples(st.integers(0, span), residue), min_size=1, max_size=15))
    room = int(max(abs(low), abs(high)) * 2 * span) + most
    bits = GRID_BITS if exact else draw(st.integers(0, max(0, min(GRID_BITS, 60 - room.bit_length()))))
    asked = draw(st.lists(st.integers(-span // 2, span + span // 2), min_size=1, max_size=10))
    return Case(points, Slopes(grid_down(low), grid_up(high)), bits, asked + [at for at, _ in points])


@given(cases(exact=True))
def test_with_all_bits_the_bound_is_the_exact_one_rounded_up_to_whole_nanoseconds(case: Case) -> None:
    found = case.built().at(np.array(case.asked, dtype=np.int64)).tolist()
    assert found == [ceil(case.exact(x)) for x in case.asked]


@given(cases())
def test_with_fewer_bits_the_bound_is_sound_and_within_three_nanoseconds(case: Case) -> None:
    for x, bound in zip(case.asked, case.built().at(np.array(case.asked, dtype=np.int64)).tolist(), strict=True):
        assert 0 <= bound - case.exact(x) < ROUNDED_NS


@given(cases(), st.integers(1, 2**61))
def test_far_away_the_bound_is_sound_and_grows_with_the_slopes(case: Case, distance: int) -> None:
    asked = [case.points[-1][0] + distance, case.points[0][0] - distance]
    for x, bound in zip(asked, case.built().at(np.array(asked, dtype=np.int64)).tolist(), strict=True):
        assert 0 <= bound - case.exact(x) < ROUNDED_NS + 1


@given(cases())
def test_no_point_is_exceeded(case: Case) -> None:
    x, excess = np.array(case.points, dtype=np.int64).T
    assert bool(np.all(case.built().at(x) <= x + excess))


@given(cases(), st.integers(0, 2**60))
def test_the_bound_never_runs_backwards(case: Case, distance: int) -> None:
    around = [*case.asked, -distance, distance]
    near = np.unique([x + step for x in around for step in (-2, -1, 0, 1, 2)])
    assert bool(np.all(np.diff(case.built().at(near)) >= 0))


@given(cases(exact=True))
def test_the_point_that_sets_a_bound_is_named(case: Case) -> None:
    made = case.built()
    for x in case.asked:
        index = made.set_by(x)
        at, excess = int(made.x[index]), Fraction(int(made.excess[index]), 2**case.bits)
        alone = x + excess + (x - at) * (case.slopes.high if x >= at else case.slopes.low) * UNIT
        assert alone - case.exact(x) < ROUNDED_NS


def test_points_that_say_nothing_are_left_out_and_nothing_but_such_gives_no_envelope() -> None:
    x, excess = np.array([0, 10], dtype=np.int64), np.array([NOTHING, 5], dtype=np.int64)
    made = Envelope.over(x, excess, Slopes(0, 0), 0)
    assert made is not None
    assert made.x.tolist() == [10]
    assert Envelope.over(x, np.full(2, NOTHING, dtype=np.int64), Slopes(0, 0), 0) is None


@given(cases(), st.lists(st.integers(-(2**20), 2**20), min_size=64, max_size=80))
def test_readings_in_order_are_placed_as_they_are_in_any_order(case: Case, more: list[int]) -> None:
    made = case.built()
    x = np.sort(np.array([*case.asked, *more], dtype=np.int64))
    one_by_one = [int(made.at(x[number : number + 1])[0]) for number in range(len(x))]
    assert made.at(x).tolist() == one_by_one
    assert made.at(x[::-1]).tolist() == one_by_one[::-1]
