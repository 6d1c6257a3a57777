from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline._order import timeline_order

# True events: each has a true time, a clock, and a place in a chain. Estimates are the true time made so coarse that
# ties abound, as a floor does: it keeps every order that there is, and makes neighbours equal.
EVENTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(-1, 3)), max_size=25)


def column(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


@given(EVENTS, st.integers(1, 50))
def test_an_order_of_consistent_events_contradicts_no_clock_and_no_chain(
    events: list[tuple[int, int, int]], coarseness: int
) -> None:
    true = [time for time, _, _ in events]
    clock = [each for _, each, _ in events]
    chain = [each for _, _, each in events]
    # Along a chain levels rise with time; equal times of a chain share a level.
    level = true
    estimate = [time // coarseness for time in true]
    order = timeline_order(
        np.ones(len(events), dtype=np.bool_),
        column(estimate),
        column(level),
        column(clock),
        column(true),
        column(chain),
    ).tolist()
    assert sorted(order) == list(range(len(events)))
    place = {row: position for position, row in enumerate(order)}
    for a in range(len(events)):
        for b in range(len(events)):
            if estimate[a] < estimate[b]:
                assert place[a] < place[b]
            if true[a] < true[b] and (clock[a] == clock[b] or chain[a] == chain[b] >= 0):
                assert place[a] < place[b]


@given(EVENTS)
def test_a_clocks_own_readings_stand_in_order_even_where_levels_say_otherwise(
    events: list[tuple[int, int, int]],
) -> None:
    readings, clock = [time for time, _, _ in events], [each for _, each, _ in events]
    level = [-reading for reading in readings]
    none = column([-1] * len(events))
    order = timeline_order(
        np.ones(len(events), dtype=np.bool_),
        column([7] * len(events)),
        column(level),
        column(clock),
        column(readings),
        none,
    ).tolist()
    for each in set(clock):
        own = [readings[row] for row in order if clock[row] == each]
        assert own == sorted(own)


def test_among_equal_instants_a_hand_over_comes_before_the_start_and_the_start_before_the_end() -> None:
    same = column([5, 5, 5, 5])
    order = timeline_order(
        np.ones(4, dtype=np.bool_), same, column([6, 4, 2, 1]), column([0, 1, 1, 0]), same, column([0, 0, 0, 0])
    )
    assert order.tolist() == [3, 2, 1, 0]


def test_events_that_cannot_be_placed_come_last_clock_by_clock_in_the_order_of_their_readings() -> None:
    known = np.array([False, True, False, False])
    order = timeline_order(
        known,
        column([0, 10**9, 0, 0]),
        column([1] * 4),
        column([4, 0, 3, 4]),
        column([50, 1, 99, 20]),
        column([-1] * 4),
    )
    assert order.tolist() == [1, 2, 3, 0]


def test_a_circle_of_false_evidence_loses_no_event() -> None:
    # By clock 0: row 1, then row 0. By chain 0: row 0, then row 1.
    order = timeline_order(
        np.ones(2, dtype=np.bool_), column([5, 5]), column([1, 2]), column([0, 0]), column([9, 8]), column([0, 0])
    )
    assert sorted(order.tolist()) == [0, 1]
