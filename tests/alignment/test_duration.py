"""How long from one stamp to another: as exact as messages allow, and sharper than the difference of two instants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from coeval.alignment import Alignment, Messages, align
from coeval.clocks import ClockId, Message, Stamp
from coeval.errors import ClocksNotRelated
from tests.alignment.exact import Case, Exact, cases
from tests.strategies import FAR, NEAR

# One outward at each end of the way, and one where they are added.
ROUNDING_NS = 3
HOUR_NS = 3600 * 10**9


def aligned(case: Case) -> Alignment:
    return align(
        Messages.of(case.messages), reference=next(iter(case.rate_bound_ppm)), rate_bound_ppm=case.rate_bound_ppm
    )


@settings(deadline=None, max_examples=100)
@given(cases())
def test_a_duration_is_what_every_way_between_two_stamps_allows_and_no_more(case: Case) -> None:
    exact, alignment = Exact(case.messages, case.rate_bound_ppm, case.stamps), aligned(case)
    assert not exact.contradicts
    assert not alignment.findings
    for first, second in case.pairs:
        found, most, back = alignment.duration(first, second), exact.most(first, second), exact.most(second, first)
        assert (found.greatest_ns is None) == (most is None)
        assert (found.least_ns is None) == (back is None)
        if found.greatest_ns is not None and most is not None:
            assert most <= found.greatest_ns < most + ROUNDING_NS
        if found.least_ns is not None and back is not None:
            assert -back - ROUNDING_NS < found.least_ns <= -back


@settings(deadline=None, max_examples=100)
@given(cases())
def test_instants_are_what_every_way_from_the_reference_allows_and_no_more(case: Case) -> None:
    exact, alignment = Exact(case.messages, case.rate_bound_ppm, case.stamps), aligned(case)
    for stamp in case.stamps:
        placed, latest, earliest = alignment.instant(stamp), exact.latest(stamp), exact.earliest(stamp)
        assert (placed.latest_ns is None) == (latest is None)
        assert (placed.earliest_ns is None) == (earliest is None)
        if placed.latest_ns is not None and latest is not None:
            assert latest <= placed.latest_ns < latest + ROUNDING_NS
        if placed.earliest_ns is not None and earliest is not None:
            assert earliest - ROUNDING_NS < placed.earliest_ns <= earliest


@settings(deadline=None, max_examples=100)
@given(cases())
def test_the_way_there_is_the_way_back_with_its_sign_turned(case: Case) -> None:
    alignment = aligned(case)
    for first, second in case.pairs:
        there, back = alignment.duration(first, second), alignment.duration(second, first)
        assert there.least_ns == (None if back.greatest_ns is None else -back.greatest_ns)
        assert there.greatest_ns == (None if back.least_ns is None else -back.least_ns)


@settings(deadline=None, max_examples=100)
@given(cases())
def test_the_order_of_two_stamps_is_true_and_known_wherever_their_duration_tells_it(case: Case) -> None:
    alignment = aligned(case)
    for first, second in case.pairs:
        order, between = alignment.before(first, second), alignment.duration(first, second)
        if order is True:
            assert case.true_ns(first) <= case.true_ns(second)
        if order is False:
            assert case.true_ns(first) >= case.true_ns(second)
        if between.least_ns is not None and between.least_ns > 0:
            assert order is True
        if between.greatest_ns is not None and between.greatest_ns < 0:
            assert order is False


ROUND_TRIP = (Message(FAR, 0, NEAR, 10**6), Message(NEAR, -(10**6), FAR, 0))


def test_two_stamps_of_one_clock_share_what_is_not_known_of_when_they_were() -> None:
    alignment = align(Messages.of(ROUND_TRIP), reference=NEAR)
    first, second = Stamp(FAR, 0), Stamp(FAR, 1000)
    found = alignment.duration(first, second)
    assert (found.least_ns, found.greatest_ns) == (999, 1001)
    instants = alignment.instants(FAR, np.array([0, 1000]))
    assert int(instants.latest_ns[0] - instants.earliest_ns[0]) == 2 * 10**6


def test_two_clocks_far_from_the_reference_share_the_way_to_it() -> None:
    other = ClockId("other")
    near_each_other = [Message(FAR, 0, other, 10), Message(other, -10, FAR, 0)]
    alignment = align(Messages.of([*ROUND_TRIP, *near_each_other]), reference=NEAR)
    found = alignment.duration(Stamp(FAR, 0), Stamp(other, 100))
    assert found.least_ns is not None
    assert found.greatest_ns is not None
    assert 88 <= found.least_ns <= 90
    assert 110 <= found.greatest_ns <= 112
    assert alignment.before(Stamp(FAR, 0), Stamp(other, 100)) is True


@pytest.mark.parametrize("far_away_ns", [10**13, 10**16, 10**18, 2**62])
def test_a_duration_far_from_all_evidence_is_as_wide_as_the_rates_allow(far_away_ns: int) -> None:
    # The finest units have no room for so much: a bound of 2**34 ns too little came of it once.
    alignment = align(Messages.of(ROUND_TRIP), reference=NEAR, rate_bound_ppm={NEAR: 0.0, FAR: 1000.0})
    found = alignment.duration(Stamp(FAR, 0), Stamp(FAR, far_away_ns))
    assert found.least_ns is not None
    assert found.greatest_ns is not None
    assert 0 <= far_away_ns - found.least_ns - far_away_ns // 1000 < far_away_ns // 10**6
    assert 0 <= found.greatest_ns - far_away_ns - far_away_ns // 1000 < far_away_ns // 10**6
    from_reference = alignment.duration(Stamp(NEAR, -far_away_ns), Stamp(FAR, far_away_ns))
    assert from_reference.greatest_ns is not None
    assert from_reference.greatest_ns >= 2 * far_away_ns + far_away_ns // 1000


def test_the_reference_clock_shows_itself_without_any_message() -> None:
    alone = align(Messages.of([Message(FAR, 0, ClockId("other"), 5)]), reference=NEAR)
    placed = alone.instant(Stamp(NEAR, 7))
    assert (placed.earliest_ns, placed.estimate_ns, placed.latest_ns) == (7, 7, 7)
    nothing = align(Messages.of(()), reference=NEAR, epoch_ns=100).instant(Stamp(NEAR, 7))
    assert (nothing.earliest_ns, nothing.estimate_ns, nothing.latest_ns) == (107, 107, 107)
    found = alone.duration(Stamp(NEAR, 7), Stamp(NEAR, 10))
    assert (found.least_ns, found.greatest_ns) == (3, 3)


def test_the_other_grade_is_within_the_declared_one() -> None:
    messages = [
        message
        for x in range(0, 600 * 10**9, 10**9)
        for message in (Message(FAR, x, NEAR, x + 10**5), Message(NEAR, x - 10**5, FAR, x))
    ]
    alignment = align(Messages.of(messages), reference=NEAR)
    stamps = Stamp(FAR, 0), Stamp(FAR, HOUR_NS)
    declared, assumed = alignment.duration(*stamps), alignment.duration(*stamps, grade="assumed")
    assert assumed.grade == "assumed"
    for found in (declared, assumed):
        assert found.least_ns is not None
        assert found.greatest_ns is not None
        assert found.least_ns <= HOUR_NS <= found.greatest_ns
    assert assumed.least_ns > declared.least_ns  # type: ignore[operator]
    assert assumed.greatest_ns < declared.greatest_ns  # type: ignore[operator]


def test_a_clock_without_any_evidence_has_no_duration() -> None:
    alignment = align(Messages.of(ROUND_TRIP), reference=NEAR)
    with pytest.raises(ClocksNotRelated, match="no message and no anchor names it"):
        alignment.duration(Stamp(NEAR, 0), Stamp(ClockId("stranger"), 0))
