"""The rules of the join give what trying every admissible assignment of times gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.timeline.join._asof import CERTAIN, NO_CLOCK, NO_ROW, NONE, POSSIBLE, AsofRights, Direction, Events
from coeval.timeline.join._groups import UNKNOWN_AFTER, UNKNOWN_BEFORE, GroupedValues, Int64Array
from tests.timeline.join.brute_force import SCALE, Row, verdict

DIRECTIONS: Sequence[Direction] = ("backward", "forward", "nearest")


def events(rows: Sequence[Row], estimates: Sequence[int | None] | None = None) -> Events:
    def column(values: Sequence[int]) -> Int64Array:
        return np.array(values, dtype=np.int64)

    return Events(
        column([row.group for row in rows]),
        column([row.clock for row in rows]),
        column([row.raw for row in rows]),
        column([UNKNOWN_BEFORE if row.earliest is None else row.earliest for row in rows]),
        column([UNKNOWN_AFTER if e is None else e for e in estimates or [None] * len(rows)]),
        column([UNKNOWN_AFTER if row.latest is None else row.latest for row in rows]),
    )


@st.composite
def row_of(draw: st.DrawFn, clocks: Sequence[int], groups: int, unknown: bool = False) -> Row:
    begin = draw(st.integers(0, 4))
    width = draw(st.sampled_from([0, 0, 1, 1, 2]))
    earliest: int | None = begin * SCALE
    latest: int | None = (begin + width) * SCALE
    if unknown:
        earliest, latest = draw(st.sampled_from([(None, latest), (earliest, None), (None, None)]))
    # Mostly as a clock that is right; sometimes one whose order and bounds contradict each other.
    raw = draw(st.integers(0, 3)) + (begin if draw(st.integers(0, 4)) else 0)
    return Row(draw(st.integers(0, groups - 1)), draw(st.sampled_from(clocks)), raw, earliest, latest)


@st.composite
def sides(draw: st.DrawFn, clocks: Sequence[int]) -> tuple[list[Row], list[Row]]:
    groups = draw(st.sampled_from([1, 1, 2]))
    where_unknown = draw(st.sampled_from(["nowhere", "nowhere", "left", "right"]))
    rights = [
        draw(row_of(clocks, groups, unknown=where_unknown == "right" and number == 0))
        for number in range(draw(st.integers(0, 4)))
    ]
    # A source is written in its clock's order; sources are mixed at will.
    for clock in set(clocks) - {NO_CLOCK}:
        places = [number for number, row in enumerate(rights) if row.clock == clock]
        for place, row in zip(places, sorted((rights[p] for p in places), key=lambda row: row.raw), strict=True):
            rights[place] = row
    lefts = [draw(row_of(clocks, groups, unknown=where_unknown == "left")) for _ in range(2)]
    return lefts, rights


WITHIN = st.sampled_from([None, None, 0, SCALE, 2 * SCALE, 3 * SCALE])


def check(lefts: list[Row], rights: list[Row], direction: Direction, within: int | None) -> None:
    prepared = AsofRights(events(rights), 2, direction, within)
    found = prepared.match(events(lefts))
    listed: list[set[int]] = [set() for _ in lefts]
    for left, right in prepared.pairs(events(lefts)):
        for number, row in zip(left.tolist(), right.tolist(), strict=True):
            assert row not in listed[number]
            listed[number].add(row)
    for number, left_row in enumerate(lefts):
        possible, certain = verdict(left_row, rights, direction, within)
        assert listed[number] == possible
        assert found.possible[number] == len(possible)
        expected = CERTAIN if certain is not None else POSSIBLE if possible else NONE
        assert found.verdict[number] == expected
        shown = int(found.row[number])
        assert shown in possible if possible else shown == NO_ROW
        assert certain is None or shown == certain


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(both=sides([NO_CLOCK, 0, 1, 2]), within=WITHIN)
@settings(max_examples=150, deadline=None)
def test_certain_is_what_every_assignment_gives_and_possible_what_some_does(
    direction: Direction, both: tuple[list[Row], list[Row]], within: int | None
) -> None:
    check(*both, direction, within)


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(both=sides([0]), within=WITHIN)
@settings(max_examples=75, deadline=None)
def test_rows_that_one_clock_wrote_compare_by_its_readings(
    direction: Direction, both: tuple[list[Row], list[Row]], within: int | None
) -> None:
    check(*both, direction, within)


@pytest.mark.parametrize("direction", DIRECTIONS)
@given(both=sides([0]), within=WITHIN)
@settings(max_examples=75, deadline=None)
def test_a_right_side_of_one_clock_and_a_left_side_of_another(
    direction: Direction, both: tuple[list[Row], list[Row]], within: int | None
) -> None:
    lefts, rights = both
    check([row._replace(clock=1) for row in lefts], rights, direction, within)


@given(data=st.data(), direction=st.sampled_from(DIRECTIONS), within=WITHIN)
@settings(max_examples=100, deadline=None)
def test_of_exact_times_the_match_is_that_of_a_plain_as_of_join_and_certain(
    data: st.DataObject, direction: Direction, within: int | None
) -> None:
    times = st.lists(st.integers(0, 20), max_size=12)
    left_times, right_times = data.draw(times), data.draw(times)
    lefts = [Row(0, NO_CLOCK, 0, time, time) for time in left_times]
    rights = [Row(0, NO_CLOCK, 0, time, time) for time in right_times]
    found = AsofRights(events(rights, right_times), 1, direction, within).match(events(lefts, left_times))
    for number, time in enumerate(left_times):
        sorted_rows = sorted(range(len(rights)), key=lambda row: (right_times[row], row))
        before = [row for row in sorted_rows if right_times[row] <= time]
        after = [row for row in sorted_rows if right_times[row] >= time]
        if direction == "backward":
            best = before[-1:]
        elif direction == "forward":
            best = after[:1]
        else:
            distance = min((abs(right_times[row] - time) for row in sorted_rows), default=0)
            nearest = [row for row in sorted_rows if abs(right_times[row] - time) == distance]
            best = [row for row in nearest if right_times[row] <= time][-1:] or nearest[-1:]
        best = [row for row in best if within is None or abs(right_times[row] - time) <= within]
        assert found.row[number] == (best[0] if best else NO_ROW)
        two_sides = {right_times[row] for row in before[-1:] + after[:1] if best} if direction == "nearest" else set()
        is_tie = len({abs(side - time) for side in two_sides}) == 1 and len(two_sides) == 2
        assert found.verdict[number] == (NONE if not best else POSSIBLE if is_tie else CERTAIN)


@given(
    data=st.data(),
    groups=st.integers(1, 5),
    offset=st.sampled_from([0, 1 << 60]),
)
@settings(max_examples=100, deadline=None)
def test_searching_in_groups_counts_what_is_not_greater_also_beside_unknowns(
    data: st.DataObject, groups: int, offset: int
) -> None:
    value = st.one_of(
        st.integers(-5, 5),
        st.integers(-5, 5).map(lambda v: v + offset),
        st.sampled_from([UNKNOWN_BEFORE, UNKNOWN_AFTER]),
    )
    columns = [sorted(data.draw(st.lists(value, max_size=6))) for _ in range(groups)]
    starts = np.cumsum([0, *(len(column) for column in columns)]).astype(np.int64)
    grouped = GroupedValues(np.array([v for column in columns for v in column], dtype=np.int64), starts)
    asked = data.draw(st.lists(st.tuples(st.integers(0, groups - 1), value), min_size=1, max_size=8))
    group = np.array([g for g, _ in asked], dtype=np.int64)
    limit = np.array([v for _, v in asked], dtype=np.int64)
    for inclusive in (True, False):
        found = grouped.count_until(group, limit, inclusive=inclusive) - starts[group]
        expected = [sum(v <= x if inclusive else v < x for v in columns[g]) for g, x in asked]
        assert found.tolist() == expected
