"""Long columns, slice by slice: nobody can tell from the answer."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.timeline.join._asof import Events, _plain_repeats
from coeval.timeline.join._slices import in_threads, kept_rows, slices, without


@given(data=st.data(), count=st.integers(1, 40))
def test_rows_that_are_kept_are_all_but_the_dropped(data: st.DataObject, count: int) -> None:
    dropped = np.array(sorted(data.draw(st.sets(st.integers(0, count - 1)))), dtype=np.int64)
    column = np.arange(count, dtype=np.int64) * 7
    expected = [row for row in range(count) if row not in set(dropped.tolist())]
    assert without(column, dropped).tolist() == [7 * row for row in expected]
    assert kept_rows(count, dropped)[np.arange(len(expected))].tolist() == expected


def test_many_rows_are_dropped_as_few_are() -> None:
    dropped = np.arange(0, 60_000, 2)
    assert np.array_equal(without(np.arange(60_000), dropped), np.arange(1, 60_000, 2))
    assert np.array_equal(kept_rows(60_000, dropped)[np.arange(30_000)], np.arange(1, 60_000, 2))


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 3), st.integers(0, 2)), max_size=12),
    sort=st.booleans(),
    slice_rows=st.integers(1, 5),
)
@settings(max_examples=300, deadline=None)
def test_what_is_found_in_slices_is_what_is_found_at_once(
    rows: list[tuple[int, int, int, int]], sort: bool, slice_rows: int
) -> None:
    # Groups always come sorted. In order throughout, with repeats, is what is mostly found.
    rows = (
        sorted((group, group % 2, raw, 1) for group, _, raw, _ in rows)
        if sort
        else sorted(rows, key=lambda row: row[0])
    )
    group, clock, raw, width = (
        (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
        if rows
        else (np.zeros(0, dtype=np.int64),) * 4
    )
    events = Events(group, clock, raw, raw * 3 - width, raw * 3, raw * 3 + width)
    at_once, in_slices = _plain_repeats(events, 100), _plain_repeats(events, slice_rows)
    assert (at_once is None) == (in_slices is None)
    if at_once is not None and in_slices is not None:
        assert in_slices.tolist() == at_once.tolist()


def test_work_in_threads_comes_back_in_order_and_stops_when_nobody_asks_any_more() -> None:
    assert list(in_threads(lambda cut: cut.start, slices(1000, 7))) == list(range(0, 1000, 7))
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        return number

    results = in_threads(work, range(100_000))
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    done = len(started)
    assert done < 100_000
    assert len(started) == done
