"""The watermark: no event still to come is before it."""

from __future__ import annotations

import numpy as np
import pytest

from coeval.alignment import Messages, align
from coeval.clocks import ClockId, Message, Stamp
from coeval.errors import ClocksNotRelated
from coeval.testing.virtual import drawn_network
from tests.strategies import FAR, NEAR

REFERENCE = ClockId("c0")


@pytest.mark.parametrize("seed", range(20))
def test_no_event_that_comes_after_the_newest_readings_is_before_the_mark(seed: int) -> None:
    trace = drawn_network(seed, messages=60).trace(seed)
    alignment = align(trace.messages, reference=REFERENCE, rate_bound_ppm=trace.rate_bound_ppm)
    random = np.random.default_rng(seed)
    shown = {clock: trace.true_times_ns(20, seed=number) for number, clock in enumerate(alignment.clocks)}
    newest_true = {clock: int(random.choice(times)) for clock, times in shown.items()}
    newest = {clock: int(trace.clocks[clock].readings_ns([true])[0]) for clock, true in newest_true.items()}
    mark = alignment.watermark(newest)
    earliest = [alignment.instant(Stamp(clock, reading)).earliest_ns for clock, reading in newest.items()]
    if None in earliest:  # too few messages came from one of them
        assert mark is None
        return
    assert mark == min(value for value in earliest if value is not None)
    for clock, times in shown.items():
        later = times[times >= newest_true[clock]]
        question = trace.question(clock, REFERENCE, later)
        assert bool(np.all(question.greatest_ns >= mark))


@pytest.mark.parametrize("seed", range(5))
def test_the_mark_never_goes_back_while_clocks_go_on(seed: int) -> None:
    trace = drawn_network(seed, messages=60).trace(seed)
    alignment = align(trace.messages, reference=REFERENCE, rate_bound_ppm=trace.rate_bound_ppm)
    marks = []
    for true in trace.true_times_ns(30).tolist():
        newest = {clock: int(trace.clocks[clock].readings_ns([true])[0]) for clock in alignment.clocks}
        marks.append(alignment.watermark(newest))
    assert marks == sorted(marks, key=lambda mark: mark or 0)


def test_a_silent_clock_holds_the_mark_back_until_it_is_left_out() -> None:
    alignment = align(Messages.of([Message(FAR, 0, NEAR, 10), Message(NEAR, -10, FAR, 0)]), reference=NEAR)
    assert alignment.watermark({NEAR: 10**9, FAR: 0}) == -10
    assert alignment.watermark({NEAR: 10**9}) == 10**9


def test_where_a_clocks_earliest_is_unknown_there_is_no_mark() -> None:
    alignment = align(Messages.of([Message(FAR, 0, NEAR, 10)]), reference=NEAR)
    assert alignment.watermark({NEAR: 5, FAR: 0}) is None


def test_a_mark_of_no_clocks_or_of_a_strange_one_is_refused() -> None:
    alignment = align(Messages.of(()), reference=NEAR)
    with pytest.raises(ValueError, match="newest is empty"):
        alignment.watermark({})
    with pytest.raises(ClocksNotRelated):
        alignment.watermark({FAR: 0})
