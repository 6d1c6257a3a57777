"""One pair of clocks: the truth is never outside, nothing is claimed without evidence, and no order is broken."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST, Alignment, Instants, Messages, align
from coeval.alignment._rate import GRID_BITS, grid_up
from coeval.clocks import ClockId, Grade, Instant, Message, Stamp
from coeval.errors import ClocksNotRelated
from tests.strategies import FAR, NEAR, YEAR_NS, Pair, Traffic, traffic

GRADES: tuple[Grade, ...] = ("declared", "assumed")
# Whole nanoseconds, rounded outward; and once more where long times leave less than all bits for fractions.
ROUNDING_NS = 2
SLOPE_LIMIT = Fraction(grid_up(Fraction(200_010, 10**9)), 2**GRID_BITS)
"""The default of two clocks, 100 ppm each: their sum and product, rounded up on the grid of rates."""
DELAY_RATE = Fraction(grid_up(Fraction(100, 1_000_100)), 2**GRID_BITS)
"""How much less than true time the reference may count meanwhile."""


def aligned(messages: Sequence[Message], epoch_ns: int = 0) -> Alignment:
    return align(Messages.of(messages), reference=NEAR, epoch_ns=epoch_ns)


def placed(alignment: Alignment, readings: Sequence[int], grade: Grade = "declared") -> Instants:
    return alignment.instants(FAR, np.array(readings, dtype=np.int64), grade)


def assert_holds(instants: Instants, readings: Sequence[int], pair: Pair) -> None:
    for row, reading in enumerate(readings):
        instant = instants[row]
        assert instant.earliest_ns is None or instant.earliest_ns <= pair.near(reading)
        assert instant.latest_ns is None or pair.near(reading) <= instant.latest_ns


@given(traffic())
def test_the_truth_is_inside_the_declared_bounds(case: Traffic) -> None:
    alignment = aligned(case.messages)
    assert_holds(placed(alignment, case.readings), case.readings, case.pair)
    assert not alignment.findings


@given(traffic(wander_ppm=0.0, direction="both"))
def test_the_truth_is_inside_the_assumed_bounds_when_the_rate_is_steady(case: Traffic) -> None:
    assert_holds(placed(aligned(case.messages), case.readings, "assumed"), case.readings, case.pair)


@given(traffic(wander_ppm=40.0, direction="both"))
def test_the_truth_is_inside_the_assumed_bounds_whenever_what_is_reported_as_assumed_holds(case: Traffic) -> None:
    alignment = aligned(case.messages)
    (fit,) = alignment.report()
    change_ppm = float(max(case.pair.slopes) - min(case.pair.slopes)) * 1e6
    # These rates change at once, so a bound on how fast they change holds only where they do not.
    holds = fit.wander_ppm is None or change_ppm <= fit.wander_ppm
    if holds and (fit.curvature_ppm_s is None or change_ppm == 0):
        assert_holds(placed(alignment, case.readings, "assumed"), case.readings, case.pair)
    if fit.wander_ppm_consistent is not None:
        assert fit.wander_ppm_consistent <= change_ppm * 1.03 + 0.02


@given(traffic())
def test_assumed_bounds_are_never_wider_than_declared_ones(case: Traffic) -> None:
    alignment = aligned(case.messages)
    declared, assumed = (placed(alignment, case.readings, grade) for grade in GRADES)
    assert bool(np.all(assumed.earliest_ns >= declared.earliest_ns))
    assert bool(np.all(assumed.latest_ns <= declared.latest_ns))


@given(traffic())
def test_declared_bounds_are_the_tightest_there_are(case: Traffic) -> None:
    instants = placed(aligned(case.messages), case.readings)
    for row, reading in enumerate(case.readings):
        earliest, latest = exact_bounds(case.messages, reading)
        found = instants[row]
        assert (found.earliest_ns is None) == (earliest is None)
        assert (found.latest_ns is None) == (latest is None)
        if earliest is not None and found.earliest_ns is not None:
            assert earliest - ROUNDING_NS <= found.earliest_ns
        if latest is not None and found.latest_ns is not None:
            assert found.latest_ns <= latest + ROUNDING_NS


def exact_bounds(messages: Sequence[Message], reading: int) -> tuple[Fraction | None, Fraction | None]:
    """Every message for itself, in fractions."""
    slope = SLOPE_LIMIT
    earliest, latest = [], []
    for message in messages:
        arrived = message.received_ns + message.receiver_resolution_ns
        delay = message.delay_ns_min * (1 - DELAY_RATE)
        if message.sender == FAR:
            away = reading - message.sent_ns
            latest.append(arrived - delay + away + slope * abs(away))
        else:
            away = reading - arrived
            earliest.append(message.sent_ns + delay + away - slope * abs(away))
    return max(earliest, default=None), min(latest, default=None)


@given(traffic(), st.randoms())
def test_the_order_of_messages_changes_nothing(case: Traffic, random: Random) -> None:
    mixed = random.sample(case.messages, len(case.messages))
    for grade in GRADES:
        one, other = (placed(aligned(messages), case.readings, grade) for messages in (case.messages, mixed))
        assert one.earliest_ns.tolist() == other.earliest_ns.tolist()
        assert one.latest_ns.tolist() == other.latest_ns.tolist()


@given(traffic())
def test_another_message_never_widens_declared_bounds(case: Traffic) -> None:
    assume(len(case.messages) > 1)
    less, more = (placed(aligned(messages), case.readings) for messages in (case.messages[1:], case.messages))
    for row in range(len(case.readings)):
        before, after = less[row], more[row]
        if before.earliest_ns is not None:
            assert after.earliest_ns is not None
            assert after.earliest_ns >= before.earliest_ns - ROUNDING_NS
        if before.latest_ns is not None:
            assert after.latest_ns is not None
            assert after.latest_ns <= before.latest_ns + ROUNDING_NS


@given(traffic(), st.sampled_from(GRADES))
def test_estimates_satisfy_every_message_each_clocks_order_and_the_bounds(case: Traffic, grade: Grade) -> None:
    alignment = aligned(case.messages)
    near = sorted({reading + step for reading in case.readings for step in (-1, 0, 1)})
    instants = placed(alignment, near, grade)
    assert bool(np.all(np.diff(instants.estimate_ns) >= 0))
    assert bool(np.all(np.diff(instants.earliest_ns) >= 0))
    assert bool(np.all(np.diff(instants.latest_ns) >= 0))
    assert bool(np.all(instants.earliest_ns <= instants.estimate_ns))
    assert bool(np.all(instants.estimate_ns <= instants.latest_ns))
    for message in case.messages:
        arrived = message.received_ns + message.receiver_resolution_ns
        sent = alignment.instant(Stamp(message.sender, message.sent_ns), grade).estimate_ns
        received = alignment.instant(Stamp(message.receiver, arrived), grade).estimate_ns
        assert sent is not None
        assert received is not None
        assert sent <= received


@given(traffic(), st.integers(-(10**7), 10**7))
def test_an_order_that_is_told_is_true(case: Traffic, shift_ns: int) -> None:
    alignment = aligned(case.messages)
    near = [message.sent_ns if message.sender == NEAR else message.received_ns for message in case.messages]
    for far_reading in case.readings:
        for near_reading in {*near, round(case.pair.near(far_reading)) + shift_ns}:
            answer = alignment.before(Stamp(FAR, far_reading), Stamp(NEAR, near_reading))
            mirrored = alignment.before(Stamp(NEAR, near_reading), Stamp(FAR, far_reading))
            assert answer is not True or case.pair.near(far_reading) <= near_reading
            assert answer is not False or case.pair.near(far_reading) >= near_reading
            assert not (answer and mirrored)
            assert not answer or mirrored is False


def test_a_message_proves_its_order_where_the_bounds_do_not() -> None:
    alignment = aligned([Message(FAR, 1000, NEAR, 500), Message(NEAR, 0, FAR, 2000)])
    assert alignment.instant(Stamp(FAR, 1000)).before(alignment.instant(Stamp(NEAR, 500))) is None
    assert alignment.before(Stamp(FAR, 1000), Stamp(NEAR, 500)) is True
    assert alignment.before(Stamp(NEAR, 500), Stamp(FAR, 1000)) is False
    assert alignment.before(Stamp(FAR, 1001), Stamp(NEAR, 500)) is None


def test_a_coarse_receive_stamp_proves_nothing_before_its_grain_has_passed() -> None:
    alignment = aligned([Message(FAR, 1000, NEAR, 500, receiver_resolution_ns=10)])
    assert alignment.before(Stamp(FAR, 1000), Stamp(NEAR, 509)) is None
    assert alignment.before(Stamp(FAR, 1000), Stamp(NEAR, 510)) is True


def test_messages_between_two_other_clocks_prove_an_order() -> None:
    third = ClockId("third")
    alignment = aligned([Message(FAR, 10, third, 20), Message(FAR, 11, third, 21)])
    assert alignment.before(Stamp(FAR, 10), Stamp(third, 20)) is True
    assert alignment.before(Stamp(third, 20), Stamp(FAR, 10)) is False
    assert not alignment.findings
    assert alignment.components == ((NEAR,), (FAR, third))


def test_readings_of_one_clock_are_ordered_and_a_tie_is_not_before() -> None:
    alignment = aligned([])
    assert alignment.before(Stamp(NEAR, 1), Stamp(NEAR, 2)) is True
    assert alignment.before(Stamp(NEAR, 2), Stamp(NEAR, 1)) is False
    assert alignment.before(Stamp(NEAR, 1), Stamp(NEAR, 1)) is False


def test_without_messages_nothing_is_known_of_a_clock_but_the_reference() -> None:
    third = ClockId("third")
    alignment = aligned([Message(NEAR, 0, FAR, 5), Message(third, 0, FAR, 5)], epoch_ns=1000)
    assert alignment.instant(Stamp(third, 7)) == Instant(NEAR, None, None, None, "declared")
    assert alignment.instant(Stamp(NEAR, 7)) == Instant(NEAR, 1007, 1007, 1007, "declared")
    with pytest.raises(ClocksNotRelated, match="stranger"):
        alignment.instant(Stamp(ClockId("stranger"), 7))


def test_one_way_messages_give_one_side_and_no_guess_at_the_other() -> None:
    to_reference = aligned([Message(FAR, 1000, NEAR, 50)])
    assert to_reference.instant(Stamp(FAR, 1000)) == Instant(NEAR, None, 50, 50, "declared")
    from_reference = aligned([Message(NEAR, 1000, FAR, 50)])
    assert from_reference.instant(Stamp(FAR, 50)) == Instant(NEAR, 1000, 1000, None, "declared")
    for grade in GRADES:
        instants = placed(to_reference, [1000], grade)
        assert instants.earliest_ns[0] == UNKNOWN_EARLIEST
        assert not instants.known[0]


def test_bounds_widen_by_the_rate_bound_away_from_the_evidence() -> None:
    alignment = aligned([Message(FAR, 0, NEAR, 0), Message(NEAR, 0, FAR, 0)])
    instant = alignment.instant(Stamp(FAR, 10**9))
    assert instant.width_ns == pytest.approx(2 * 200_010, abs=4)


def test_a_proven_delay_narrows_and_counts_in_true_time() -> None:
    exchange = [Message(NEAR, 0, FAR, 0, delay_ns_min=10**9), Message(FAR, 0, NEAR, 3 * 10**9, delay_ns_min=10**9)]
    instant = aligned(exchange).instant(Stamp(FAR, 0))
    assert instant.earliest_ns == 999_900_009
    assert instant.latest_ns == 3 * 10**9 - 999_900_009


@pytest.mark.parametrize("far", [-(2**63) + 10**9, 2**63 - 10**9])
@pytest.mark.parametrize("near", [-(2**63) + 10**9, 2**63 - 10**9])
def test_clocks_at_the_ends_of_int64_are_placed(far: int, near: int) -> None:
    alignment = aligned([Message(FAR, far, NEAR, near + 50), Message(NEAR, near - 50, FAR, far)])
    assert alignment.instant(Stamp(FAR, far)) == Instant(NEAR, near - 50, near, near + 50, "declared")
    offsets = alignment.offset(FAR, np.array([far], dtype=np.int64))
    if abs(far - near) < 2**63 - 100:
        assert (offsets.least_ns[0], offsets.greatest_ns[0]) == (far - near - 50, far - near + 50)
    else:
        assert not offsets.known[0]


def test_what_does_not_fit_int64_is_unknown_and_never_wrapped() -> None:
    near = 2**63 - 1000
    alignment = aligned([Message(FAR, 0, NEAR, near + 1), Message(NEAR, near - 1, FAR, 0)])
    instants = placed(alignment, [-(2**63), 0, 2000, 2**63 - 1])
    assert instants.latest_ns[1] == near + 1
    assert instants.latest_ns.tolist()[2:] == [UNKNOWN_LATEST] * 2
    assert instants.earliest_ns.tolist()[::3] == [UNKNOWN_EARLIEST] * 2
    assert instants.estimate_ns.tolist()[::3] == [UNKNOWN_ESTIMATE] * 2
    shifted = aligned([Message(FAR, 0, NEAR, 5), Message(NEAR, 5, FAR, 0)], epoch_ns=2**63 - 3)
    assert shifted.instant(Stamp(FAR, 0)).latest_ns is None


def test_readings_of_one_clock_too_far_apart_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="years"):
        aligned([Message(FAR, -40 * YEAR_NS, NEAR, 0), Message(FAR, 40 * YEAR_NS, NEAR, 10)])


def test_a_steady_rate_is_read_off_and_narrows_the_assumed_bounds() -> None:
    messages = []
    for second in range(600):
        far = 10**17 + second * 10**9
        near = second * 10**9 - second * 30_000
        messages += [Message(FAR, far, NEAR, near + 100_000), Message(NEAR, near - 100_000, FAR, far)]
    alignment = aligned(messages)
    (fit,) = alignment.report()
    assert fit.rate_ppm == pytest.approx(30, abs=0.4)
    assert fit.rate_ppm_least <= 30.0009 <= fit.rate_ppm_greatest
    assert (fit.wander_ppm, fit.wander_ppm_consistent) == (2.0, 0.0)
    assert fit.assumed.width_ns_greatest is not None
    assert fit.declared.width_ns_greatest is not None
    assert fit.assumed.width_ns_greatest < 204_000 < 370_000 < fit.declared.width_ns_greatest


def test_a_wander_beyond_the_prior_is_found_and_doubled() -> None:
    messages, near = [], 0
    for second in range(600):
        far = second * 10**9
        messages += [Message(FAR, far, NEAR, near + 1000), Message(NEAR, near - 1000, FAR, far)]
        near += 10**9 + (20_000 if second < 300 else -20_000)
    (fit,) = aligned(messages).report()
    assert fit.wander_ppm_consistent == pytest.approx(40, rel=0.03)
    assert fit.wander_ppm == pytest.approx(2 * (fit.wander_ppm_consistent or 0))


def test_of_messages_that_contradict_the_one_that_sticks_out_is_not_believed_and_the_rest_is() -> None:
    third = ClockId("third")
    good = [Message(FAR, 0, NEAR, 10, "good"), Message(NEAR, 0, FAR, 5, "fine")]
    false = Message(FAR, 10**6, NEAR, 10**6 - 5000, "too fast")
    back = Message(NEAR, 10**6 - 20, FAR, 10**6, "honest")
    other = [Message(NEAR, 0, third, 5), Message(third, 5, NEAR, 6)]
    alignment = aligned([*good, false, back, *other])
    (finding,) = alignment.findings
    assert (finding.kind, finding.clock, finding.count) == ("contradiction", FAR, 1)
    assert [message.id for message in finding.messages] == ["too fast"]
    assert "2 messages cannot all be true" in finding.text
    assert alignment.rejected.tolist() == [2]
    kept = aligned([*good, back, *other])
    assert alignment.instant(Stamp(FAR, 0)) == kept.instant(Stamp(FAR, 0))
    assert alignment.before(Stamp(FAR, 10**6), Stamp(NEAR, 10**6 - 5000)) is not True
    assert alignment.instant(Stamp(third, 5)).latest_ns == 6
    far_fit = next(fit for fit in alignment.report() if fit.clock == FAR)
    assert far_fit.findings == (finding,)


def test_of_two_messages_that_contradict_and_nobody_to_decide_neither_is_believed() -> None:
    alignment = aligned([Message(FAR, 0, NEAR, -50, "one"), Message(NEAR, 50, FAR, 0, "other")])
    (finding,) = alignment.findings
    assert (finding.kind, finding.count) == ("contradiction", 2)
    assert alignment.rejected.tolist() == [0, 1]
    assert alignment.instant(Stamp(FAR, 0)) == Instant(NEAR, None, None, None, "declared")
    assert alignment.before(Stamp(FAR, 0), Stamp(NEAR, -50)) is None


def test_soft_messages_narrow_nothing_and_are_counted() -> None:
    hard = [Message(FAR, 0, NEAR, 100), Message(NEAR, -100, FAR, 0)]
    soft = [Message(FAR, 0, NEAR, 1, "a", hard=False), Message(NEAR, 0, FAR, -1, "b", hard=False)]
    alignment = aligned([*hard, *soft])
    assert alignment.instant(Stamp(FAR, 0)) == aligned(hard).instant(Stamp(FAR, 0))
    (finding,) = alignment.findings
    assert (finding.kind, finding.clock, finding.count) == ("soft messages", FAR, 2)
    assert [message.id for message in finding.messages] == ["a", "b"]
    assert alignment.before(Stamp(FAR, 0), Stamp(NEAR, 1)) is None


def test_a_message_of_one_clock_that_arrives_before_it_was_sent_is_a_finding() -> None:
    (finding,) = aligned([Message(FAR, 10, FAR, 9), Message(FAR, 10, FAR, 11)]).findings
    assert (finding.kind, finding.clock, finding.count) == ("same-clock message", FAR, 1)


def test_offsets_are_clock_minus_reference_and_positive_when_ahead() -> None:
    alignment = aligned([Message(FAR, 1000, NEAR, 410), Message(NEAR, 390, FAR, 1000)], epoch_ns=10**18)
    offsets = alignment.offset(FAR, np.array([1000], dtype=np.int64))
    assert (offsets.least_ns[0], offsets.estimate_ns[0], offsets.greatest_ns[0]) == (590, 600, 610)
    assert offsets.reference == NEAR
    assert alignment.offset(NEAR, np.array([5], dtype=np.int64)).estimate_ns.tolist() == [0]


def test_each_clock_may_have_its_own_rate_bound() -> None:
    messages = Messages.of([Message(FAR, 0, NEAR, 0), Message(NEAR, 0, FAR, 0)])
    alignment = align(messages, reference=NEAR, rate_bound_ppm={FAR: 0.0})
    assert alignment.instant(Stamp(FAR, 10**9)).width_ns == pytest.approx(200_000, abs=4)


@pytest.mark.parametrize("rate_bound_ppm", [-1.0, 1e6, float("nan")])
def test_a_rate_bound_out_of_range_is_refused(rate_bound_ppm: float) -> None:
    with pytest.raises(ValueError, match="ppm"):
        align(Messages.of([Message(FAR, 0, NEAR, 0)]), reference=NEAR, rate_bound_ppm=rate_bound_ppm)


def test_no_clock_runs_backwards_over_a_long_trace_of_dense_readings() -> None:
    generator = np.random.default_rng(5)
    sent = np.sort(generator.integers(0, 10**13, 20_000))
    delay = 20_000 + generator.exponential(50_000, len(sent)).astype(np.int64)
    messages = Messages.concatenated(
        (Messages.between(FAR, NEAR, sent[::2], (sent + delay)[::2]), Messages.between(NEAR, FAR, sent, sent + delay))
    )
    alignment = align(messages, reference=NEAR)
    readings = np.sort(generator.integers(-(10**12), 2 * 10**13, 200_000))
    for grade in GRADES:
        instants = alignment.instants(FAR, readings, grade)
        assert bool(np.all(np.diff(instants.estimate_ns) >= 0))
        assert bool(np.all((instants.earliest_ns <= readings) & (readings <= instants.latest_ns)))


def test_a_contradiction_that_grows_fast_is_told_before_its_numbers_end() -> None:
    # Each time round, the circle between b and c adds 90 ms: as whole numbers of 2**-30 ns that leaves int64 soon.
    a, b, c = (ClockId(name) for name in "abc")
    messages = [Message(a, 0, b, 0), Message(b, 0, c, -89_964_859), Message(c, 0, b, 0)]
    found = align(Messages.of(messages), reference=a)
    assert [finding.kind for finding in found.findings] == ["contradiction"]
    assert {(message.sender, message.receiver) for message in found.findings[0].messages} == {(b, c), (c, b)}
