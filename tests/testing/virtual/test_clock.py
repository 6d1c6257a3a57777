"""Virtual clocks are exact, run forward between steps, go there and back, and keep to the rate that they tell."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.clocks import ClockId
from coeval.testing.virtual import (
    Constant,
    LeapSmear,
    Linear,
    RandomWalk,
    Shape,
    Slew,
    Step,
    Suspend,
    TemperatureSine,
    VirtualClock,
)
from coeval.testing.virtual._exact import DIVISOR_MAX, scaled

SECOND_NS = 10**9
YEAR_NS = 31_556_952 * SECOND_NS
CLOCK = ClockId("c")

spans = st.sampled_from((10**6, SECOND_NS, 600 * SECOND_NS, 86_400 * SECOND_NS, YEAR_NS // 4))


@st.composite
def clocks(draw: st.DrawFn, *, breaks: bool = True) -> tuple[VirtualClock, int]:
    """A clock of any shapes, and its span."""
    span = draw(spans)
    every = max(span // 50, 1_000_000)
    shapes: list[Shape] = [
        Constant(draw(st.integers(-60 * YEAR_NS, 60 * YEAR_NS))),
        Linear(draw(st.floats(-1000, 1000))),
    ]
    if draw(st.booleans()):
        shapes.append(RandomWalk(draw(st.floats(0, 1e-6)), limit_ppm=draw(st.floats(0.01, 50)), every_ns=every))
    if draw(st.booleans()):
        shapes.append(TemperatureSine(draw(st.floats(0, 50)), max(span / SECOND_NS, 0.1), every_ns=every))
    if draw(st.booleans()):
        size = draw(st.integers(-(10**9), 10**9))
        shapes.append(Slew(draw(st.integers(0, span)), size, draw(st.sampled_from((500.0, 83_333.0)))))
    if breaks:
        for _ in range(draw(st.integers(0, 2))):
            shapes.append(Step(draw(st.integers(0, span)), draw(st.integers(-YEAR_NS, YEAR_NS))))
        awake = draw(st.integers(0, span))
        for _ in range(draw(st.integers(0, 2))):
            asleep = draw(st.integers(1, span))
            shapes.append(Suspend(awake, asleep))
            awake += asleep + draw(st.integers(0, span))
    return VirtualClock.of(CLOCK, shapes, span_ns=span, seed=draw(st.integers(0, 2**32))), span


@st.composite
def readings_of(draw: st.DrawFn, span: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Increasing true times within and around a span, some of them neighbours."""
    times = draw(st.lists(st.integers(-span, 2 * span), min_size=1, max_size=20))
    return np.array(sorted({*times, *(time + 1 for time in times)}), dtype=np.int64)


@given(
    st.lists(
        st.tuples(st.integers(-(2**61), 2**61), st.integers(1, DIVISOR_MAX), st.floats(-1, 1)), min_size=1, max_size=9
    )
)
def test_a_product_and_a_quotient_are_those_of_whole_numbers_without_limit(
    cases: list[tuple[int, int, float]],
) -> None:
    rows = [(value, int(by * share), by) for value, by, share in cases]
    value, times, by = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    assert scaled(value, times, by).tolist() == [value * times // by for value, times, by in rows]


@given(st.data())
@settings(deadline=None)
def test_a_clock_never_runs_backwards_between_steps(data: st.DataObject) -> None:
    clock, span = data.draw(clocks())
    true = data.draw(readings_of(span))
    stretch = np.searchsorted([step.at_ns for step in clock.steps if step.at_ns == step.until_ns], true, side="right")
    for way in ("down", "up"):
        shown = clock.readings_ns(true, rounded=way)
        for number in np.unique(stretch):
            assert (np.diff(shown[stretch == number]) >= 0).all()


@given(st.data())
@settings(deadline=None)
def test_what_a_clock_shows_leads_back_to_the_first_instant_at_which_it_shows_it(data: st.DataObject) -> None:
    clock, span = data.draw(clocks())
    asked = clock.readings_ns(data.draw(readings_of(span))) + data.draw(st.integers(-2, 2))
    first = clock.true_ns(asked)
    assert (clock.readings_ns(first, rounded="down") >= asked).all()
    # A reading that a step backwards repeats was there before: nothing earlier shows it.
    earlier = first[:, None] - np.array([1, 2, 1000, 10**6, 10**9, 10**12])
    assert (clock.readings_ns(earlier.ravel()).reshape(earlier.shape) < asked[:, None]).all()


@given(st.data())
@settings(deadline=None)
def test_each_stretch_has_an_inverse_of_its_own(data: st.DataObject) -> None:
    clock, span = data.draw(clocks())
    jumps = [step.at_ns for step in clock.steps if step.at_ns == step.until_ns]
    true = data.draw(readings_of(span))
    for number in range(len(jumps) + 1):
        here = true[np.searchsorted(jumps, true, side="right") == number]
        first = clock.true_ns(clock.readings_ns(here), stretch=number)
        asleep = sum(step.until_ns - step.at_ns for step in clock.steps)
        assert (first <= here).all() and (here - first <= 2 + asleep).all()


@given(st.data())
@settings(deadline=None)
def test_the_rate_that_a_clock_tells_bounds_it_and_no_lesser_one_does(data: st.DataObject) -> None:
    clock, span = data.draw(clocks(breaks=False))
    bound = Fraction(clock.rate_bound_ppm) / 10**6
    true = data.draw(readings_of(span))
    low = clock.readings_ns(true).tolist()
    high = clock.readings_ns(true, rounded="up").tolist()
    for here in range(len(true) - 1):
        passed = int(true[here + 1] - true[here])
        assert high[here + 1] - low[here] >= passed / (1 + bound)
        assert low[here + 1] - high[here] <= passed * (1 + bound)
    knots = clock._knots_ns
    gains, lengths = np.diff(clock._gained_ns).tolist(), np.diff(knots).tolist()
    reached = max(
        max(Fraction(gain, length), -Fraction(gain, length) / (1 + Fraction(gain, length)))
        for gain, length in zip(gains, lengths, strict=True)
    )
    assert 0 <= bound - max(reached, Fraction(0)) <= bound / 10**15


@given(st.data())
@settings(deadline=None)
def test_readings_are_the_exact_ones_rounded(data: st.DataObject) -> None:
    clock, span = data.draw(clocks(breaks=False))
    true = data.draw(readings_of(span))
    knots, gained = clock._knots_ns.tolist(), clock._gained_ns.tolist()
    for instant, down, up in zip(
        true.tolist(),
        clock.readings_ns(true).tolist(),
        clock.readings_ns(true, rounded="up").tolist(),
        strict=True,
    ):
        piece = min(max(int(np.searchsorted(knots, instant, side="right")) - 1, 0), len(knots) - 2)
        rate = Fraction(gained[piece + 1] - gained[piece], knots[piece + 1] - knots[piece])
        exact = instant + clock._offset_ns + gained[piece] + (instant - knots[piece]) * rate
        assert down == floor(exact)
        assert up == -floor(-exact)


def test_one_seed_gives_one_clock_and_another_name_another() -> None:
    def shown(name: str, seed: int) -> list[int]:
        clock = VirtualClock.of(ClockId(name), [RandomWalk(1e-8), TemperatureSine(1, 60)], span_ns=10**12, seed=seed)
        return clock.readings_ns(np.arange(0, 10**12, 10**10)).tolist()  # type: ignore[no-any-return]

    assert shown("a", 1) == shown("a", 1)
    assert shown("a", 1) != shown("a", 2)
    assert shown("a", 1) != shown("b", 1)


def test_years_of_offset_and_months_of_trace_keep_every_ns() -> None:
    clock = VirtualClock.of(CLOCK, [Constant(50 * YEAR_NS), Linear(-30)], span_ns=YEAR_NS)
    true = np.array([0, 1, YEAR_NS, YEAR_NS + 1], dtype=np.int64)
    shown = clock.readings_ns(true).tolist()
    assert shown[0] == 50 * YEAR_NS
    assert shown[3] - shown[2] in (0, 1, 2)
    assert shown[2] - shown[0] - YEAR_NS == pytest.approx(-YEAR_NS * 30e-6, abs=30)
    assert clock.true_ns(clock.readings_ns(true))[2] in (YEAR_NS - 1, YEAR_NS)


def test_a_step_is_where_and_as_large_as_it_was_said() -> None:
    clock = VirtualClock.of(CLOCK, [Linear(10), Step(5 * SECOND_NS, -300_000_000)], span_ns=10 * SECOND_NS)
    assert clock.readings_ns([5 * SECOND_NS - 1, 5 * SECOND_NS]).tolist() == [5_000_049_998, 4_700_050_000]
    (step,) = clock.steps
    assert step == (CLOCK, 5 * SECOND_NS, 5 * SECOND_NS, -300_000_000, 5_000_050_000, 4_700_050_000)
    # It shows this twice; the first time counts, and the stretch after the step has its own.
    assert clock.true_ns([4_800_048_000]).tolist() == [4_800_000_000]
    assert clock.true_ns([4_800_051_000], stretch=1).tolist() == [5_100_000_000]


def test_a_suspended_clock_stands_still_and_then_goes_on() -> None:
    clock = VirtualClock.of(CLOCK, [Linear(-100), Suspend(3 * SECOND_NS, 2 * SECOND_NS)], span_ns=10 * SECOND_NS)
    at = np.array([3, 4, 5, 6], dtype=np.int64) * SECOND_NS
    assert clock.readings_ns(at).tolist() == [2_999_700_000, 2_999_700_000, 2_999_700_000, 3_999_600_000]
    (step,) = clock.steps
    assert step == (CLOCK, 3 * SECOND_NS, 5 * SECOND_NS, -2 * SECOND_NS, 2_999_700_000, 2_999_700_000)
    assert clock.true_ns([2_999_700_000, 2_999_700_001]).tolist() == [3 * SECOND_NS, 5 * SECOND_NS + 2]


def test_a_slew_works_its_offset_in_at_its_rate() -> None:
    slew = Slew(SECOND_NS, 1_000_000, 500)
    assert slew.lasting_ns == 2 * SECOND_NS
    clock = VirtualClock.of(CLOCK, [slew], span_ns=10 * SECOND_NS)
    at = np.array([0, 1, 2, 3, 9], dtype=np.int64) * SECOND_NS
    assert (clock.readings_ns(at) - at).tolist() == [0, 0, 500_000, 1_000_000, 1_000_000]
    assert clock.rate_bound_ppm == pytest.approx(500)


def test_a_smeared_leap_second_is_one_second_in_a_day() -> None:
    clock = VirtualClock.of(CLOCK, [LeapSmear(SECOND_NS)], span_ns=86_410 * SECOND_NS)
    at = np.array([1, 43_201, 86_401, 86_402], dtype=np.int64) * SECOND_NS
    assert (clock.readings_ns(at) - at).tolist() == [0, -500_000_000, -SECOND_NS, -SECOND_NS]
    assert clock.rate_bound_ppm == pytest.approx(11.574, abs=0.001)


def test_a_sine_and_a_walk_keep_to_their_rate_and_its_change() -> None:
    sine = TemperatureSine(0.9, 600, every_ns=SECOND_NS)
    assert sine.curvature_per_s == pytest.approx(9.42e-9, rel=1e-3)
    for shape, rate, change in ((sine, 0.9e-6, 9.42e-9), (RandomWalk(1e-8, limit_ppm=0.05), 0.05e-6, 1e-8)):
        clock = VirtualClock.of(CLOCK, [shape], span_ns=600 * SECOND_NS, seed=3)
        at = np.arange(601) * SECOND_NS
        rates = np.diff(clock.readings_ns(at) - at) / 1e9
        assert np.abs(rates).max() == pytest.approx(rate, rel=0.05)
        assert np.abs(np.diff(rates)).max() <= change + 2.1e-9  # what rounding to whole ns each second may add


def test_a_clock_that_would_be_too_fast_is_refused_and_says_why() -> None:
    with pytest.raises(ValueError, match=r"clock c has a rate of 250000 ppm .* below 200000 ppm"):
        VirtualClock.of(CLOCK, [Linear(250_000)], span_ns=SECOND_NS)


def test_a_sleeping_clock_cannot_fall_asleep() -> None:
    with pytest.raises(ValueError, match="is suspended at 5 ns while it sleeps from 0 to 10 ns"):
        VirtualClock.of(CLOCK, [Suspend(0, 10), Suspend(5, 10)], span_ns=SECOND_NS)
