from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.testing._skew import SECOND_NS, WALL_OFFSET_NS_MAX, Piece, Skew, SkewedClock

YEAR_NS = 365 * 86_400 * SECOND_NS
readings = st.integers(0, 80 * YEAR_NS)
pieces = st.builds(
    Piece,
    since_ns=readings,
    offset_ns=st.integers(-WALL_OFFSET_NS_MAX, WALL_OFFSET_NS_MAX),
    rate_ppb=st.integers(1 - SECOND_NS, SECOND_NS - 1),
)
slow = Piece(since_ns=10_000, offset_ns=500, rate_ppb=-500_000_000)
fast = Piece(since_ns=10_000, offset_ns=500, rate_ppb=500_000_000)


@given(pieces, readings)
def test_a_clock_shows_the_truth_its_offset_and_its_gain_rounded_down(piece: Piece, true_ns: int) -> None:
    exact = true_ns + piece.offset_ns + Fraction((true_ns - piece.since_ns) * piece.rate_ppb, SECOND_NS)
    assert 0 <= exact - piece.shown(true_ns) < 1


def test_positive_is_ahead_and_faster() -> None:
    clock = SkewedClock((Piece(since_ns=0, offset_ns=7, rate_ppb=100_000),))
    assert clock.shown(0) == 7
    assert clock.shown(10 * SECOND_NS) == 10 * SECOND_NS + 7 + 1_000_000
    assert clock.offset_ns(10 * SECOND_NS + 7 + 1_000_000) == 1_000_007


@given(pieces, readings)
def test_the_true_reading_is_the_first_at_which_the_clock_showed_that_much(piece: Piece, true_ns: int) -> None:
    shown_ns = piece.shown(true_ns)
    first_ns = piece.true(shown_ns)
    assert first_ns <= true_ns
    assert piece.shown(first_ns) == shown_ns
    assert piece.shown(first_ns - 1) < shown_ns


@given(st.integers(-(10**6), 10**6))
def test_what_a_fast_clock_left_out_is_placed_at_its_next_reading(shown_ns: int) -> None:
    true_ns = fast.true(shown_ns)
    assert fast.shown(true_ns - 1) < shown_ns <= fast.shown(true_ns)


@given(st.integers(-(10**6), 10**6), st.integers(0, 300_000))
def test_a_clock_that_is_not_slow_gives_every_true_reading_back(offset_ns: int, rate_ppb: int) -> None:
    clock = SkewedClock((Piece(12345, offset_ns, rate_ppb),))
    assert all(clock.true(clock.shown(true_ns)) == true_ns for true_ns in range(0, 10**9, 10**9 // 97))


def test_a_slow_clock_shows_a_reading_for_two_ns_and_the_first_is_taken() -> None:
    assert [slow.shown(true_ns) for true_ns in range(10_000, 10_004)] == [10_500, 10_500, 10_501, 10_501]
    assert [slow.true(10_500), slow.true(10_501)] == [10_000, 10_002]


def test_each_piece_holds_from_its_own_moment_on() -> None:
    clock = SkewedClock((Piece(100, 0, 0),)).with_piece(Piece(200, 50, 0)).with_piece(Piece(300, -50, 0))
    assert [clock.shown(at) for at in (0, 199, 200, 299, 300)] == [0, 199, 250, 349, 250]


def test_a_reading_that_was_shown_twice_or_never_has_no_single_true_reading() -> None:
    clock = SkewedClock((Piece(100, 0, 0),)).with_piece(Piece(200, 50, 0)).with_piece(Piece(300, -50, 0))
    assert clock.trues(299) == (249, 349)
    with pytest.raises(ValueError, match="showed 299 2 times, at true readings 249, 349; expected once"):
        clock.true(299)
    assert clock.trues(225) == ()
    with pytest.raises(ValueError, match="showed 225 never"):
        clock.offset_ns(225)
    assert clock.true(199) == 199


@pytest.mark.parametrize("rate_ppb", [-SECOND_NS, SECOND_NS])
def test_a_clock_that_stands_still_or_runs_twice_as_fast_is_refused(rate_ppb: int) -> None:
    with pytest.raises(ValueError, match=f"wall_rate_ppb is {rate_ppb}; expected"):
        Skew(wall_rate_ppb=rate_ppb)
    with pytest.raises(ValueError, match=f"raw_rate_ppb is {rate_ppb}; expected"):
        Skew(raw_rate_ppb=rate_ppb)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_wall_clock_more_than_twenty_years_off_is_refused(sign: int) -> None:
    Skew(wall_offset_ns=sign * WALL_OFFSET_NS_MAX)
    with pytest.raises(ValueError, match="more than 20 years"):
        Skew(wall_offset_ns=sign * (WALL_OFFSET_NS_MAX + 1))
