"""Overlapping spans and windows, against trying every pair of times."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.timeline.join import overlap_join, window_join
from coeval.timeline.join._overlaps import WindowJoin
from coeval.timeline.join._pairs import ROWS_HELD


class Span(NamedTuple):
    key: int
    clock: str
    begin: tuple[int, int]
    end: tuple[int, int]
    raw: tuple[int, int]


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    result = []
    for _ in range(draw(st.integers(0, 4))):
        begin, width = draw(st.integers(0, 6)), draw(st.integers(0, 2))
        length, more = draw(st.integers(0, 3)), draw(st.integers(0, 2))
        clock = draw(st.sampled_from(["", "a", "b"]))
        # A clock that counts the middle of each interval: its order never contradicts the bounds of equal width.
        raw = (2 * begin + width, 2 * (begin + length) + width)
        if clock:
            more = 0
        result.append(
            Span(
                draw(st.integers(0, 1)),
                clock,
                (begin, begin + width),
                (begin + length, begin + length + width + more),
                raw,
            )
        )
    return result


def table(rows: list[Span]) -> pa.Table:
    integers = pa.int64()
    return pa.table(
        {
            "earliest_ns": pa.array([s.begin[0] for s in rows], integers),
            "latest_ns": pa.array([s.begin[1] for s in rows], integers),
            "end_earliest_ns": pa.array([s.end[0] for s in rows], integers),
            "end_latest_ns": pa.array([s.end[1] for s in rows], integers),
            "raw_ns": pa.array([s.raw[0] for s in rows], integers),
            "end_raw_ns": pa.array([s.raw[1] for s in rows], integers),
            "clock": pa.array([s.clock for s in rows], pa.string()),
            "key": pa.array([s.key for s in rows], integers),
            "number": pa.array(range(len(rows)), integers),
        }
    )


def possibilities(left: Span, right: Span) -> set[bool]:
    """Whether the two overlap, for every choice of their times."""
    if left.clock == right.clock != "":
        return {left.raw[0] <= right.raw[1] and right.raw[0] <= left.raw[1]}
    result = set()
    for b, e, c, f in itertools.product(
        range(left.begin[0], left.begin[1] + 1),
        range(left.end[0], left.end[1] + 1),
        range(right.begin[0], right.begin[1] + 1),
        range(right.end[0], right.end[1] + 1),
    ):
        if b <= e and c <= f:
            result.add(b <= f and c <= e)
    return result


@given(lefts=spans(), rights=spans())
@settings(max_examples=150, deadline=None)
def test_an_overlap_is_certain_if_every_choice_of_times_has_it_and_possible_if_one_has(
    lefts: list[Span], rights: list[Span]
) -> None:
    joined = overlap_join(table(lefts), table(rights), on="key").to_pylist()
    found = {(row["number"], row["number_right"]): row["verdict"] for row in joined}
    expected = {}
    for (i, left), (j, right) in itertools.product(enumerate(lefts), enumerate(rights)):
        outcomes = possibilities(left, right)
        if left.key == right.key and True in outcomes:
            expected[i, j] = "possible" if False in outcomes else "certain"
    assert found == expected


@given(lefts=spans(), rights=spans(), before=st.integers(0, 3), after=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_a_window_counts_what_is_in_it_for_every_and_for_some_choice_of_times(
    lefts: list[Span], rights: list[Span], before: int, after: int
) -> None:
    counted = window_join(table(lefts), table(rights), before_ns=before, after_ns=after, on="key").to_pylist()
    listed = window_join(
        table(lefts), table(rights), before_ns=before, after_ns=after, on="key", all_matches=True, how="inner"
    ).to_pylist()
    for number, (left, row) in enumerate(zip(lefts, counted, strict=True)):
        certain = possible = 0
        for right in rights:
            if left.key != right.key:
                continue
            outcomes = set()
            for t, s in itertools.product(
                range(left.begin[0], left.begin[1] + 1), range(right.begin[0], right.begin[1] + 1)
            ):
                if left.clock == right.clock != "":
                    ahead = right.raw[0] - left.raw[0]
                    if (ahead >= 0 and s < t) or (ahead <= 0 and s > t):
                        continue
                outcomes.add(-before <= s - t <= after)
            possible += True in outcomes
            certain += outcomes == {True}
        assert (row["certain_count"], row["possible_count"]) == (certain, possible)
        mine = [pair["verdict"] for pair in listed if pair["number"] == number]
        assert (mine.count("certain"), len(mine)) == (certain, possible)


def test_left_rows_without_an_overlap_are_kept_if_asked_for() -> None:
    one = Span(0, "", (0, 1), (2, 3), (0, 0))
    other = Span(0, "", (9, 9), (9, 9), (0, 0))
    assert overlap_join(table([one]), table([other])).num_rows == 0
    kept = overlap_join(table([one]), table([other]), how="left").to_pylist()
    assert [(row["number_right"], row["verdict"]) for row in kept] == [(None, "none")]


def test_events_without_an_end_are_spans_of_no_length() -> None:
    span = table([Span(0, "", (0, 1), (5, 6), (0, 0))])
    event = pa.table({"earliest_ns": [3, 5, 20], "latest_ns": [4, 7, 21], "number": [0, 1, 2]})
    assert overlap_join(span, event)["verdict"].to_pylist() == ["certain", "possible"]


def test_one_interval_that_is_open_to_both_sides_touches_everything_and_slows_nothing() -> None:
    events = pa.table({"earliest_ns": [None, *range(1000)], "latest_ns": [None, *range(1000)]})
    joined = overlap_join(events.slice(1), events)
    assert joined.num_rows == 2000
    assert sorted(set(joined["verdict"].to_pylist())) == ["certain", "possible"]


@pytest.mark.parametrize("name", ["before_ns", "after_ns"])
def test_a_window_of_negative_length_is_refused(name: str) -> None:
    empty = table([])
    with pytest.raises(ValueError, match=name):
        window_join(empty, empty, **{name: -1})  # type: ignore[arg-type]


def test_more_pairs_than_are_held_come_in_parts_in_the_order_of_the_left_rows() -> None:
    lefts = np.where(np.arange(3000) % 10 == 3, 10**12, np.arange(3000))
    left, right = (
        pa.table({"earliest_ns": times, "latest_ns": times, "number": np.arange(len(times))})
        for times in (lefts, np.arange(1000) * 3)
    )
    joined = WindowJoin(right, before_ns=10**6, after_ns=10**6, all_matches=True, how="left")
    parts = list(joined.tables([left]))
    assert len(parts) > 3 and max(part.num_rows for part in parts) <= ROWS_HELD + 1000
    whole = pa.concat_tables(parts)
    lonely = lefts == 10**12
    assert np.array_equal(whole["number"], np.repeat(np.arange(3000), np.where(lonely, 1, 1000)))
    assert whole["number_right"].null_count == lonely.sum()
    matches = whole["number_right"].drop_null().to_numpy().reshape(-1, 1000)
    assert (matches == np.arange(1000)).all()
    assert joined.counts.tolist() == [lonely.sum(), 0, 3000 - lonely.sum()]
