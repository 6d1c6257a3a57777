"""Whose step it was, what is false, what is a slew; and that nothing of it is dropped silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from coeval.alignment import Alignment, Messages, align
from coeval.clocks import ClockId, Message, Stamp
from coeval.testing.virtual import Constant, Fixed, Light, Linear, Shape, Slew, Step, Trace, Traffic, VirtualNetwork

C0, C1, C2 = (ClockId(f"c{number}") for number in range(3))
SECOND_NS = 10**9
ROUND_TRIP_NS = 2 * 200_000


def traced(
    shapes: Mapping[ClockId, Sequence[Shape]],
    pairs: Sequence[tuple[ClockId, ClockId]],
    *,
    seed: int = 1,
    span_s: float = 60,
    rate_per_s: float = 20,
    wrong_share: float = 0.0,
) -> Trace:
    traffic = [Traffic(near, far, rate_per_s, Light(150_000), Light(150_000)) for near, far in pairs]
    return VirtualNetwork(shapes, traffic, span_s, wrong_share=wrong_share).trace(seed)


def assert_true_everywhere(alignment: Alignment, trace: Trace) -> None:
    """The truth is inside at every stamp of every right message, and at times between."""
    shown = trace.clocks[alignment.reference_clock]
    messages = trace.messages
    for code, clock in enumerate(messages.clocks):
        for own, readings, true in (
            (messages.sender, messages.sent_ns, trace.sent_true_ns),
            (messages.receiver, messages.received_ns, trace.received_true_ns),
        ):
            rows = np.flatnonzero((own == code) & ~trace.wrong)
            placed = alignment.instants(clock, readings[rows])
            assert bool(np.all(placed.earliest_ns <= shown.readings_ns(true[rows], rounded="up")))
            assert bool(np.all(placed.latest_ns >= shown.readings_ns(true[rows] - 2)))
        times = trace.true_times_ns(300)
        steps = [step.at_ns for step in trace.steps]
        times = np.array([time for time in times.tolist() if all(abs(time - step) > 10 for step in steps)])
        question = trace.question(clock, alignment.reference_clock, times)
        placed = alignment.instants(clock, question.readings_ns)
        assert bool(np.all(placed.earliest_ns <= question.greatest_ns))
        assert bool(np.all(placed.latest_ns >= question.least_ns))


def assert_all_counted(alignment: Alignment) -> None:
    told = [
        finding.count
        for finding in alignment.findings
        if finding.kind in ("contradiction", "wrong pair", "unsorted messages")
    ]
    assert sum(told) == len(alignment.rejected) + len(alignment.unsorted)


@pytest.mark.parametrize("size_ns", [-900_000_000, -5_000_000, -1_000_000, 1_000_000, 5_000_000, 900_000_000])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_of_the_only_other_clock_is_found_measured_and_dated(size_ns: int, seed: int) -> None:
    trace = traced({C0: [Constant(0)], C1: [Linear(30), Step(30 * SECOND_NS, size_ns)]}, [(C0, C1)], seed=seed)
    alignment = align(trace.messages, reference=C0)
    (found,), (true,) = alignment.steps, trace.steps
    assert found.clock == C1
    assert not found.is_certain
    assert found.others == (C0,)
    assert found.size_ns_least is not None
    assert found.size_ns_greatest is not None
    assert found.size_ns_least <= size_ns <= found.size_ns_greatest
    assert found.earliest_ns <= true.before_ns
    assert found.latest_ns >= true.after_ns
    assert_true_everywhere(alignment, trace)
    assert_all_counted(alignment)


@pytest.mark.parametrize("size_ns", [-300_000_000, -3_000_000, 3_000_000, 300_000_000])
def test_of_three_clocks_the_one_that_moved_against_both_others_stepped(size_ns: int) -> None:
    shapes: dict[ClockId, list[Shape]] = {C0: [], C1: [Linear(20)], C2: [Linear(-20), Step(25 * SECOND_NS, size_ns)]}
    trace = traced(shapes, [(C0, C1), (C0, C2), (C1, C2)])
    alignment = align(trace.messages, reference=C0)
    (found,) = alignment.steps
    assert found.clock == C2
    assert found.is_certain
    assert set(found.others) == {C0, C1}
    assert_true_everywhere(alignment, trace)
    assert_all_counted(alignment)


@pytest.mark.parametrize("seed", range(4))
def test_where_both_clocks_of_a_pair_were_set_back_the_steps_of_the_one_tell_those_of_the_other(seed: int) -> None:
    """No order of the messages between C1 and C2 is right, and nobody else has seen C2."""
    shapes: dict[ClockId, list[Shape]] = {
        C0: [],
        C1: [Linear(20), Step(20 * SECOND_NS, -1_400_000_000)],
        C2: [Linear(-20), Step(30 * SECOND_NS, -1_300_000_000)],
    }
    trace = traced(shapes, [(C0, C1), (C1, C2)], seed=seed)
    alignment = align(trace.messages, reference=C0)
    assert [step.clock for step in alignment.steps] == [C1, C2]
    for step, size_ns in zip(alignment.steps, (-1_400_000_000, -1_300_000_000), strict=True):
        assert step.size_ns_least is not None
        assert step.size_ns_greatest is not None
        assert step.size_ns_least <= size_ns <= step.size_ns_greatest < step.size_ns_least + 20_000_000
    assert not len(alignment.rejected)
    assert_true_everywhere(alignment, trace)
    assert_all_counted(alignment)


def test_two_clocks_set_within_one_silence_are_each_set_by_what_the_others_say() -> None:
    """C1 and C2 saw one step of the sum; C0 saw what C1's part of it is, and C2's is the other way."""
    shapes: dict[ClockId, list[Shape]] = {
        C0: [],
        C1: [Linear(20), Step(20_000_000_000, -400_000_000)],
        C2: [Linear(-20), Step(20_100_000_000, -230_000_000)],
    }
    dense = Traffic(C0, C1, 20, Light(150_000), Light(150_000))
    sparse = Traffic(C1, C2, 10, Light(150_000), Light(150_000), gaps_s=((19.9, 20.3),))
    trace = VirtualNetwork(shapes, [dense, sparse], 40).trace(1)
    alignment = align(trace.messages, reference=C0)
    assert [step.clock for step in alignment.steps] == [C1, C2]
    times = 20_100_000_000 + np.arange(-300_000_000, 300_000_000, 1_000_000)
    for clock in (C1, C2):
        question = trace.question(clock, C0, times)
        placed = alignment.instants(clock, question.readings_ns)
        assert bool(np.all(placed.earliest_ns <= question.greatest_ns))
        assert bool(np.all(placed.latest_ns >= question.least_ns))


@pytest.mark.parametrize("size_ns", [-300_000_000, 300_000_000])
def test_a_step_of_the_reference_itself_is_found_where_others_agree_on_it(size_ns: int) -> None:
    shapes: dict[ClockId, list[Shape]] = {C0: [Step(40 * SECOND_NS, size_ns)], C1: [Linear(20)], C2: [Linear(-20)]}
    trace = traced(shapes, [(C0, C1), (C0, C2), (C1, C2)])
    alignment = align(trace.messages, reference=C0)
    (found,) = alignment.steps
    assert found.clock == C0
    # All the others may have been set together, as for a leap second: no message excludes that.
    assert not found.is_certain
    assert_all_counted(alignment)


@pytest.mark.parametrize("seed", range(8))
def test_a_clock_that_was_set_back_between_few_messages_showed_readings_twice(seed: int) -> None:
    """Set back by less than the time between two messages, so that its readings in evidence go on."""
    shapes: dict[ClockId, list[Shape]] = {C0: [], C1: [Linear(10), Step(30 * SECOND_NS, -100_000_000)]}
    traffic = [Traffic(C0, C1, 8, Fixed(100_000), Fixed(100_000), pattern="regular", answered=False)]
    trace = VirtualNetwork(shapes, traffic, 60).trace(seed)
    alignment = align(trace.messages, reference=C0)
    (found,) = alignment.steps
    assert found.earliest_ns < found.latest_ns
    times = 30 * SECOND_NS + np.arange(-200_000_001, 200_000_000, 1_000_000)
    question = trace.question(C1, C0, times)
    placed = alignment.instants(C1, question.readings_ns)
    assert bool(np.all(placed.earliest_ns <= question.greatest_ns))
    assert bool(np.all(placed.latest_ns >= question.least_ns))
    twice = alignment.instant(Stamp(C1, trace.steps[0].after_ns + 50_000_000))
    assert twice.earliest_ns is not None
    assert twice.latest_ns is not None
    assert twice.latest_ns - twice.earliest_ns > 99_000_000
    assert alignment.before(Stamp(C1, found.earliest_ns - 10), Stamp(C1, found.earliest_ns)) is not False


@pytest.mark.parametrize("seed", range(3))
def test_wrong_pairs_are_told_from_steps_and_few_good_messages_go_with_them(seed: int) -> None:
    trace = traced({C0: [], C1: [Linear(30)]}, [(C0, C1)], seed=seed, rate_per_s=50, wrong_share=0.005)
    alignment = align(trace.messages, reference=C0)
    assert not alignment.steps
    good = np.setdiff1d(alignment.rejected, np.flatnonzero(trace.wrong))
    assert len(alignment.rejected) > 0
    assert len(good) <= 0.0005 * len(trace.messages)
    assert {finding.kind for finding in alignment.findings} <= {"wrong pair", "contradiction"}
    assert_true_everywhere(alignment, trace)
    assert_all_counted(alignment)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate_ppm", [2000.0, -2000.0])
def test_a_slew_is_no_staircase_of_steps_but_a_rate_bound_that_does_not_hold(seed: int, rate_ppm: float) -> None:
    slew = Slew(10 * SECOND_NS, int(rate_ppm * 1e-6 * 40 * SECOND_NS), abs(rate_ppm))
    trace = traced({C0: [], C1: [slew]}, [(C0, C1)], seed=seed, rate_per_s=50)
    alignment = align(trace.messages, reference=C0)
    (finding,) = alignment.findings
    assert finding.kind == "rate bound exceeded"
    assert finding.clock == C1
    assert not alignment.steps
    assert not len(alignment.rejected)
    (fit,) = alignment.report()
    assert fit.rate_bound_ppm >= abs(rate_ppm)
    assert_true_everywhere(alignment, trace)


def test_a_circle_through_three_clocks_loses_the_message_that_sticks_out_and_says_which() -> None:
    """Each pair by itself is consistent: only all three together are not."""
    messages = []
    for x in range(0, 100 * SECOND_NS, SECOND_NS):
        messages += [Message(C0, x, C1, x + 1_000_000), Message(C1, x, C2, x + 1_000_000)]
        messages += [Message(C2, x, C0, x + 1_000_000)]
    false = Message(C2, 50_500_000_000, C0, 50_490_000_000, "false")
    alignment = align(Messages.of([*messages, false]), reference=C0)
    (finding,) = alignment.findings
    assert finding.kind == "contradiction"
    assert finding.messages == (false,)
    assert alignment.rejected.tolist() == [len(messages)]
    without = align(Messages.of(messages), reference=C0)
    for clock in (C1, C2):
        assert alignment.instant(Stamp(clock, 50 * SECOND_NS)) == without.instant(Stamp(clock, 50 * SECOND_NS))
    assert_all_counted(alignment)


def test_two_messages_that_contradict_with_nobody_to_decide_are_both_given_up() -> None:
    messages = [Message(C1, 1000, C0, 0), Message(C0, 10, C1, 500)]
    alignment = align(Messages.of(messages), reference=C0)
    (finding,) = alignment.findings
    assert finding.kind == "contradiction"
    assert set(finding.messages) == set(messages)
    assert alignment.rejected.tolist() == [0, 1]
    placed = alignment.instant(Stamp(C1, 1000))
    assert (placed.earliest_ns, placed.latest_ns) == (None, None)
    assert not alignment.report()[0].trusted
    assert_all_counted(alignment)


def test_several_contradictions_at_once_are_all_counted() -> None:
    shapes: dict[ClockId, list[Shape]] = {
        C0: [],
        C1: [Linear(20), Step(20 * SECOND_NS, 50_000_000)],
        C2: [Step(40 * SECOND_NS, -70_000_000)],
    }
    trace = traced(shapes, [(C0, C1), (C0, C2), (C1, C2)], wrong_share=0.003)
    alignment = align(trace.messages, reference=C0)
    assert [(step.clock, step.is_certain) for step in alignment.steps] == [(C1, True), (C2, True)]
    assert_true_everywhere(alignment, trace)
    assert_all_counted(alignment)


def test_without_a_contradiction_nothing_is_rejected() -> None:
    trace = traced({C0: [], C1: [Linear(90)], C2: [Linear(-90)]}, [(C0, C1), (C1, C2)])
    alignment = align(trace.messages, reference=C0)
    assert not alignment.findings
    assert not alignment.steps
    assert not len(alignment.rejected)


@pytest.mark.parametrize("stepped", [C1, C2])
@pytest.mark.parametrize("size_ns", [-30_000_000, 30_000_000])
def test_where_nobody_can_tell_whose_step_it_was_bounds_hold_either_way(stepped: ClockId, size_ns: int) -> None:
    """Two clocks talk often, and with the reference over a path so slow that it does not show the step."""
    shapes: dict[ClockId, list[Shape]] = {C0: [], C1: [Linear(20)], C2: [Linear(-20)]}
    shapes[stepped].append(Step(30 * SECOND_NS, size_ns))
    near, far = Light(200_000), Light(40_000_000)
    traffic = [Traffic(C0, C1, 5, far, far), Traffic(C0, C2, 5, far, far), Traffic(C1, C2, 20, near, near)]
    trace = VirtualNetwork(shapes, traffic, 60).trace(seed=4)
    alignment = align(trace.messages, reference=C0)
    (found,) = alignment.steps
    assert not found.is_certain
    assert {found.clock, found.rival} == {C1, C2}
    assert f"(or {found.rival} did, the other way" in found.text
    assert_true_everywhere(alignment, trace)
    assert_all_counted(alignment)
    # Either may have been set, so neither is tied to what it was before by more than the slow path.
    stretches = [fit.clock for fit in alignment.report()]
    assert stretches.count(C1) == stretches.count(C2) == 2


@pytest.mark.parametrize("size_ns", [-300_000_000, 300_000_000])
def test_a_third_clock_that_shows_that_one_of_two_did_not_move_makes_the_step_of_the_other_certain(
    size_ns: int,
) -> None:
    """C2 is known through C1 alone, and C1 through the reference."""
    trace = traced({C0: [], C1: [Linear(20)], C2: [Step(40 * SECOND_NS, size_ns)]}, [(C0, C1), (C1, C2)])
    alignment = align(trace.messages, reference=C0)
    (found,) = alignment.steps
    assert (found.clock, found.is_certain, found.rival) == (C2, True, None)
    assert len(alignment.report()) == 3  # C1 is whole
    assert_true_everywhere(alignment, trace)


def test_what_a_sparse_pair_sees_as_one_step_is_the_sum_of_what_others_see() -> None:
    """C1 and C2 are set shortly after each other, and hardly talk to each other."""
    shapes: dict[ClockId, list[Shape]] = {
        C0: [],
        C1: [Step(30 * SECOND_NS, 70_000_000)],
        C2: [Step(30 * SECOND_NS + 400_000_000, 25_000_000)],
    }
    path = Light(150_000)
    traffic = [Traffic(C0, C1, 20, path, path), Traffic(C0, C2, 20, path, path), Traffic(C1, C2, 0.7, path, path)]
    trace = VirtualNetwork(shapes, traffic, 60).trace(seed=2)
    alignment = align(trace.messages, reference=C0)
    assert [step.clock for step in alignment.steps] == [C1, C2]
    for found, true_ns in zip(alignment.steps, (70_000_000, 25_000_000), strict=True):
        assert found.size_ns_least is not None
        assert found.size_ns_greatest is not None
        assert found.size_ns_least <= true_ns <= found.size_ns_greatest
        assert found.size_ns_greatest - found.size_ns_least < 2_000_000
    assert not len(alignment.rejected)
    assert_true_everywhere(alignment, trace)


def test_a_clock_that_was_set_twice_within_few_messages_is_placed_between_the_two() -> None:
    shapes: dict[ClockId, list[Shape]] = {
        C0: [],
        C1: [Step(30 * SECOND_NS, 150_000_000), Step(30 * SECOND_NS + 80_000_000, 470_000_000)],
    }
    for seed in range(6):
        trace = traced(shapes, [(C0, C1)], seed=seed, rate_per_s=9)
        assert_true_everywhere(align(trace.messages, reference=C0), trace)
