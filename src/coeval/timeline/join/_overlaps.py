"""Spans that overlap and events within a window of one another: all pairs, each certain or possible."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline._layout import END_INSTANT
from coeval.timeline.join._asof import CERTAIN, NO_CLOCK, NONE, POSSIBLE
from coeval.timeline.join._columns import (
    Clocks,
    Keys,
    Times,
    check_references,
    check_times,
    ends,
    instants,
    numbers_of,
)
from coeval.timeline.join._groups import TIME_MAX, UNKNOWN_AFTER, UNKNOWN_BEFORE, BoolArray, Int64Array
from coeval.timeline.join._pairs import Intervals
from coeval.timeline.join._tables import HOWS, VERDICTS, How, RightSide, free_name, in_one_piece


class _Spans(NamedTuple):
    """Begins and ends of rows; of an event, both are its one instant."""

    group: Int64Array
    clock: Int64Array
    begin_raw: Int64Array
    end_raw: Int64Array
    begin_earliest: Int64Array
    begin_latest: Int64Array
    end_earliest: Int64Array
    end_latest: Int64Array


def overlap_join(left: pa.Table, right: pa.Table, *, on: str | Sequence[str] = (), how: How = "inner") -> pa.Table:
    """
    Pair each left span with the right spans that overlap it, and say whether that is certain.

    Spans overlap if each begins at or before the time that the other ends. An event without an end is a span of length
    zero. Where times are uncertain, two spans overlap for certain if the latest begin of each is not after the earliest
    end of the other, and possibly if the earliest begin of each is not after the latest end of the other. Begins and
    ends of one clock compare by their readings.

    Args:
        left, right: timelines, in any order, on one reference; without the `end_` columns all are events.
        on: columns that must be equal. A null equals nothing.
        how: "inner": the pairs; "left": also left rows without any, with nulls.

    Returns:
        A row per pair, in the order of the left table and, for each of its rows, of the right one. The left columns,
        those of the right table but `on`, with `_right` behind a name that the left has, then `verdict` ("certain",
        "possible", "none").

    Raises:
        WrongTable: a column is missing or of no use; a key has another type on the other side.
        DifferentClocks: the two tables count on different references.
    """
    return OverlapJoin(right, on=on, how=how).table(left)


def window_join(
    left: pa.Table,
    right: pa.Table,
    *,
    before_ns: int = 0,
    after_ns: int = 0,
    on: str | Sequence[str] = (),
    all_matches: bool = False,
    how: How = "left",
) -> pa.Table:
    """
    Count or list, for each left row, the right rows from `before_ns` before it to `after_ns` after it.

    A right row at t(r) is in the window of a left row at t(l) if -before_ns <= t(r) - t(l) <= after_ns: for certain if
    that holds wherever both are in their intervals, possibly if it holds somewhere. Of rows of one clock it is known
    which was first. Ends play no part.

    Args:
        left, right: timelines, in any order, on one reference.
        before_ns, after_ns: 0 or more, inclusive.
        on: columns that must be equal. A null equals nothing.
        all_matches: list the pairs, as `overlap_join` does, instead of counting them.
        how: of a list: "inner", or "left", with the left rows that have none.

    Returns:
        The left rows with `certain_count` and `possible_count`, the latter including the former; or a list.

    Raises:
        WrongTable, DifferentClocks: see `overlap_join`.
    """
    return WindowJoin(right, before_ns=before_ns, after_ns=after_ns, on=on, all_matches=all_matches, how=how).table(
        left
    )


class _Pairs(NamedTuple):
    left: Int64Array
    right: Int64Array
    is_certain: BoolArray


class _PairsJoin(RightSide):
    """The right side of a join of pairs, prepared."""

    def __init__(self, right: pa.Table, on: str | Sequence[str], how: How, reach_ns: int = 0) -> None:
        super().__init__()
        if how not in HOWS:
            raise ValueError(f"how is {how!r}; expected one of {', '.join(HOWS)}")
        self._on = (on,) if isinstance(on, str) else tuple(on)
        self._how = how
        check_times(right, "right")
        right = in_one_piece(right)
        self._schema = right.schema
        names = [n for n in ("earliest_ns", "latest_ns", *END_INSTANT[::2]) if n in right.column_names]
        self._times = Times.around(right, names, "right", reach_ns)
        self._keys = Keys(right, self._on)
        self._clocks = Clocks(right)
        self._rights = self._spans(right, self._keys.of_right, self._clocks.of_right, self._clocks.raw_of_right)
        self._payload = right.select([name for name in right.column_names if name not in self._on])

    @abstractmethod
    def _found(self, lefts: _Spans) -> Iterator[_Pairs]:
        """All pairs, some left rows at a time."""

    def check(self, left: pa.Schema) -> None:
        check_times(left.empty_table(), "left")
        check_references(left, self._schema)
        self._keys.of_left(left.empty_table())

    def schema(self, left: pa.Schema) -> pa.Schema:
        fields, taken = list(left), set(left.names)
        fields += [
            field.with_name(free_name(field.name, "_right", taken)).with_nullable(True)
            for field in self._payload.schema
        ]
        fields.append(pa.field(free_name("verdict", "_", taken), pa.dictionary(pa.int8(), pa.string())))
        return pa.schema(fields, metadata=left.metadata)

    def _spans(self, table: pa.Table, group: Int64Array, clock: Int64Array, raw: Int64Array) -> _Spans:
        earliest, _, latest = instants(table, self._times)
        end_earliest, end_latest = ends(table, self._times)
        end_raw = raw
        if "end_raw_ns" in table.column_names:
            values, is_null = numbers_of(table.column("end_raw_ns"))
            end_raw = values if is_null is None else np.where(is_null, raw, values)
        elif END_INSTANT[0] in table.column_names:
            has_end = pc.is_valid(table.column(END_INSTANT[0])).to_numpy(zero_copy_only=False)
            # An end whose reading nobody kept is of no clock.
            clock = np.where(has_end, NO_CLOCK, clock)
        return _Spans(group, clock, raw, end_raw, earliest, latest, end_earliest, end_latest)

    def _left_spans(self, left: pa.Table) -> _Spans:
        clock, raw = self._clocks.of_left(left)
        return self._spans(left, self._keys.of_left(left), clock, raw)

    def _joined(self, left: pa.Table) -> Iterator[tuple[pa.Table, Int64Array]]:
        start = 0
        for pairs in self._found(self._left_spans(left)):
            if len(pairs.left):
                stop = int(pairs.left.max()) + 1
                yield self._listed(left.slice(start, stop - start), pairs._replace(left=pairs.left - start))
                start = stop
        nothing = np.zeros(0, dtype=np.int64)
        yield self._listed(left.slice(start), _Pairs(nothing, nothing, nothing.astype(np.bool_)))

    def _listed(self, left: pa.Table, pairs: _Pairs) -> tuple[pa.Table, Int64Array]:
        """All pairs of some left rows as rows of the result."""
        at, row, sure = pairs
        found = np.bincount(at, minlength=left.num_rows)
        counts = _verdicts(np.bincount(at[sure], minlength=left.num_rows), found)
        verdict = np.where(sure, CERTAIN, POSSIBLE)
        if self._how == "left":
            lonely = np.flatnonzero(found == 0)
            at, row = np.concatenate([at, lonely]), np.concatenate([row, np.full(len(lonely), -1)])
            verdict = np.concatenate([verdict, np.full(len(lonely), NONE)])
        order = np.lexsort((row, at))
        at, row, verdict = at[order], row[order], verdict[order]
        indices = pa.array(row, mask=row < 0)
        columns = [
            *left.take(pa.array(at)).columns,
            *(column.take(indices) for column in self._payload.columns),
            pa.DictionaryArray.from_arrays(pa.array(verdict, pa.int8()), VERDICTS),
        ]
        return pa.table(columns, schema=self.schema(left.schema)), counts


class OverlapJoin(_PairsJoin):
    """The right side of a join of spans that overlap; see `overlap_join`."""

    def __init__(self, right: pa.Table, *, on: str | Sequence[str] = (), how: How = "inner") -> None:
        super().__init__(right, on, how)
        rights = self._rights
        self._intervals = Intervals(rights.group, self._keys.count, rights.begin_earliest, rights.end_latest)

    def _found(self, lefts: _Spans) -> Iterator[_Pairs]:
        return _overlaps(lefts, self._rights, self._intervals, self.rows_held)


class WindowJoin(_PairsJoin):
    """The right side of a join of what is in a window; see `window_join`."""

    def __init__(
        self,
        right: pa.Table,
        *,
        before_ns: int = 0,
        after_ns: int = 0,
        on: str | Sequence[str] = (),
        all_matches: bool = False,
        how: How = "left",
    ) -> None:
        for name, value in (("before_ns", before_ns), ("after_ns", after_ns)):
            if not 0 <= value < TIME_MAX:
                raise ValueError(f"{name} is {value}; expected nanoseconds from 0 to {TIME_MAX - 1} (73 years)")
        super().__init__(right, on, how, max(before_ns, after_ns))
        self._before_ns, self._after_ns = before_ns, after_ns
        self._all_matches = all_matches
        rights = self._rights
        self._intervals = Intervals(rights.group, self._keys.count, rights.begin_earliest, rights.begin_latest)

    def _found(self, lefts: _Spans) -> Iterator[_Pairs]:
        return _in_window(lefts, self._rights, self._intervals, self._before_ns, self._after_ns, self.rows_held)

    def schema(self, left: pa.Schema) -> pa.Schema:
        if self._all_matches:
            return super().schema(left)
        taken = set(left.names)
        counts = [pa.field(free_name(name, "_", taken), pa.int64()) for name in ("certain_count", "possible_count")]
        return pa.schema([*left, *counts], metadata=left.metadata)

    def _joined(self, left: pa.Table) -> Iterator[tuple[pa.Table, Int64Array]]:
        if self._all_matches:
            yield from super()._joined(left)
            return
        certain, possible = np.zeros((2, left.num_rows), dtype=np.int64)
        for pairs in self._found(self._left_spans(left)):
            certain += np.bincount(pairs.left[pairs.is_certain], minlength=left.num_rows)
            possible += np.bincount(pairs.left, minlength=left.num_rows)
        columns = [*left.columns, pa.array(certain), pa.array(possible)]
        yield pa.table(columns, schema=self.schema(left.schema)), _verdicts(certain, possible)


def _verdicts(certain: Int64Array, possible: Int64Array) -> Int64Array:
    """How many rows have no match, only possible ones, a certain one, from how many each row has."""
    best = np.where(certain > 0, CERTAIN, np.where(possible > 0, POSSIBLE, NONE))
    return np.bincount(best, minlength=3)


def _told(lefts: _Spans) -> Int64Array:
    return np.flatnonzero(lefts.group >= 0)


def _overlaps(lefts: _Spans, rights: _Spans, intervals: Intervals, at_most: int) -> Iterator[_Pairs]:
    told = _told(lefts)
    first, last = lefts.begin_earliest[told], lefts.end_latest[told]
    for number, right in intervals.touching(lefts.group[told], first, last, at_most):
        left = told[number]
        certain = (lefts.begin_latest[left] <= rights.end_earliest[right]) & (
            rights.begin_latest[right] <= lefts.end_earliest[left]
        )
        same = _same_clock(lefts, rights, left, right)
        by_clock = (lefts.begin_raw[left] <= rights.end_raw[right]) & (rights.begin_raw[right] <= lefts.end_raw[left])
        keep = ~same | by_clock
        yield _Pairs(left[keep], right[keep], (certain | (same & by_clock))[keep])


def _in_window(
    lefts: _Spans, rights: _Spans, intervals: Intervals, before: int, after: int, at_most: int
) -> Iterator[_Pairs]:
    told = _told(lefts)
    earliest, latest = lefts.begin_earliest, lefts.begin_latest
    first = np.maximum(earliest[told] - before, UNKNOWN_BEFORE)
    last = np.minimum(latest[told] + after, UNKNOWN_AFTER)
    first[earliest[told] <= UNKNOWN_BEFORE] = UNKNOWN_BEFORE
    last[latest[told] >= UNKNOWN_AFTER] = UNKNOWN_AFTER
    for number, right in intervals.touching(lefts.group[told], first, last, at_most):
        left = told[number]
        same = _same_clock(lefts, rights, left, right)
        is_before = same & (rights.begin_raw[right] <= lefts.begin_raw[left])
        is_after = same & (rights.begin_raw[right] >= lefts.begin_raw[left])
        least = _distance(latest[left], rights.begin_earliest[right], -1)
        greatest = _distance(earliest[left], rights.begin_latest[right], 1)
        least = np.where(is_after, np.maximum(least, 0), least)
        greatest = np.where(is_before, np.minimum(greatest, 0), greatest)
        keep = (greatest >= -before) & (least <= after)
        certain = (least >= -before) & (greatest <= after)
        yield _Pairs(left[keep], right[keep], certain[keep])


def _distance(start: Int64Array, stop: Int64Array, sign: int) -> Int64Array:
    """From start to stop; where either is unknown, as far as can be in the direction of `sign`."""
    unknown = (np.abs(start) >= UNKNOWN_AFTER) | (np.abs(stop) >= UNKNOWN_AFTER)
    return np.where(unknown, sign * UNKNOWN_AFTER, np.where(unknown, 0, stop) - np.where(unknown, 0, start))


def _same_clock(lefts: _Spans, rights: _Spans, left: Int64Array, right: Int64Array) -> BoolArray:
    result: BoolArray = (lefts.clock[left] == rights.clock[right]) & (lefts.clock[left] != NO_CLOCK)
    return result
