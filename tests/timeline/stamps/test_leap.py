from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from coeval.timeline.stamps._leap import unsmeared

NS = 10**9
NOON = int(datetime(2016, 12, 31, 12, tzinfo=UTC).timestamp()) * NS
DAY = 86_400 * NS


def true_utc(shown: Fraction) -> tuple[Fraction, Fraction]:
    """What POSIX time may be when a smearing clock shows this, from the noon before; exact."""
    if not 0 <= shown <= DAY:
        return shown, shown
    passed = shown * 86_401 / 86_400
    if passed < DAY / 2:
        return passed, passed
    if passed < DAY // 2 + NS:
        return Fraction(DAY // 2), Fraction(DAY // 2 + NS)
    return passed - NS, passed - NS


@given(st.integers(-DAY, 2 * DAY), st.sampled_from([0, 1, 1000, 10**6, NS]), st.fractions(0, 1))
@example(DAY // 2 - 1, NS, Fraction(1, 2))
@example(-NS // 2, NS, Fraction(99, 100))
@example(DAY - NS // 2, NS, Fraction(1, 100))
@example(DAY - 1, 1, Fraction(0))
def test_interval_holds_utc_whatever_the_stamp_was_cut_from(shown: int, resolution_ns: int, where: Fraction) -> None:
    one = unsmeared(np.array([NOON + shown]), np.array([resolution_ns]))
    low = int(one.ns[0]) - NOON
    high = low + int(one.resolution_ns[0])
    least, greatest = true_utc(shown + where * max(resolution_ns - 1, 0))
    assert low <= least
    assert greatest <= high
    assert high - low <= resolution_ns + NS + 2


def test_clock_is_right_at_both_noons_and_half_a_second_behind_before_midnight() -> None:
    at = np.array([NOON, NOON + DAY, NOON + DAY // 2 - NS])
    told = unsmeared(at, np.full(3, 1))
    assert told.ns[:2].tolist() == at[:2].tolist()
    assert abs(int(told.ns[2] - at[2]) - NS // 2) < 20_000


def test_far_from_any_leap_second_nothing_changes() -> None:
    at = np.array([int(datetime(2026, 11, 5, tzinfo=UTC).timestamp()) * NS, 0, -(2**62)])
    told = unsmeared(at, np.array([1, 2, 3]))
    assert told.ns.tolist() == at.tolist()
    assert told.resolution_ns.tolist() == [1, 2, 3]
