"""
From tables to the integers that the rules of a join want: who may match whom, whose reading, and when.

The right side is prepared once; left rows then come in as many portions as somebody likes. Times count from 1970, or,
where they are so far from it that distances could not be doubled without leaving an int64, from the middle of what the
right side has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.errors import DifferentClocks, WrongTable
from coeval.timeline._layout import END_INSTANT, INSTANT, set_back_in
from coeval.timeline.join._asof import NO_CLOCK, Events
from coeval.timeline.join._groups import TIME_MAX, UNKNOWN_AFTER, UNKNOWN_BEFORE, BoolArray, Int64Array

_DIRECT_MAX = 1 << 22
"""Integer keys in a range below it are group numbers as they are."""

_INT64 = np.iinfo(np.int64)


def numbers_of(column: pa.ChunkedArray) -> tuple[Int64Array, BoolArray | None]:
    """A column as int64, and where it is null; None: nowhere."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("ns", array.type.tz))
    if array.type != pa.int64():
        array = array.cast(pa.int64())
    if not array.null_count:
        return array.to_numpy(zero_copy_only=False), None
    return pc.fill_null(array, 0).to_numpy(zero_copy_only=False), pc.is_null(array).to_numpy(zero_copy_only=False)


def column_of(table: pa.Table, name: str, side: str) -> pa.ChunkedArray:
    """
    Find a column.

    Raises:
        WrongTable: it is not there, or twice.
    """
    count = table.column_names.count(name)
    if count != 1:
        what = f"has no column {name!r}" if not count else f"has {count} columns called {name!r}"
        raise WrongTable(f"the {side} table {what}; expected one. It has {', '.join(table.column_names)}")
    return table.column(name)


def check_times(table: pa.Table, side: str, names: Sequence[str] = (INSTANT[0], INSTANT[2])) -> None:
    """
    Refuse a table that does not say how sure its times are.

    Raises:
        WrongTable: it has no bounds, or ones that are no integers.
    """
    for name in names:
        if name not in table.column_names:
            raise WrongTable(
                f"the {side} table has no column {name!r}, so nobody knows how sure its times are; expected a timeline "
                "as `coeval merge` writes it. Merge it first, or say how far each time may be off: --bound 2ms "
                "(in Python: with_bounds(table, bound_ns))"
            )
        kind = column_of(table, name, side).type
        if not pa.types.is_integer(kind):
            raise WrongTable(f"column {name!r} of the {side} table is {kind}; expected int64, nanoseconds since 1970")


def check_references(left: pa.Schema, right: pa.Schema) -> None:
    """
    Refuse to compare what does not count on one time.

    Raises:
        DifferentClocks: both say what they count on, and it is not the same.
    """
    said = [(schema.metadata or {}).get(b"coeval.reference") for schema in (left, right)]
    if None not in said and said[0] != said[1]:
        names = [
            ((schema.metadata or {}).get(b"coeval.reference_label") or reference or b"").decode()
            for schema, reference in zip((left, right), said, strict=True)
        ]
        raise DifferentClocks(
            f"the left table's times count on {names[0]}, the right one's on {names[1]}; expected one reference. "
            "Merge the sources of both in one `coeval merge`, or both with --reference or --trust-clocks the same"
        )


class Times:
    """Where zero is."""

    def __init__(self, origin: int) -> None:
        self.origin = origin

    @classmethod
    def around(cls, table: pa.Table, names: Sequence[str], side: str, reach_ns: int = 0) -> Times:
        """
        Leave zero where it is if what a table has, and what is so near to it, is far from the limits; else put it into
        the middle of what it has.

        Raises:
            WrongTable: its times are more than 146 years apart.
        """
        low, high = _INT64.max, _INT64.min
        for name in names:
            found = pc.min_max(table.column(name)).as_py()
            if found["min"] is not None:
                low, high = min(low, found["min"]), max(high, found["max"])
        if low > high or max(high, -low) + reach_ns < TIME_MAX:
            # Columns are used as they are. A copy less is a part of the time that many rows take.
            return cls(0)
        if high - low >= 2 * TIME_MAX - 2:
            raise WrongTable(
                f"times of the {side} table go from {low} to {high} ns since 1970; expected less than 146 years. "
                "Filter out stamps that cannot be meant"
            )
        return cls((low + high) // 2)

    def column(self, table: pa.Table, name: str, unknown: int) -> Int64Array:
        """A column of times, counted from zero; null is `unknown`, what is farther off than a join cares is clipped."""
        values, is_null = numbers_of(table.column(name))
        low = max(self.origin - TIME_MAX + 1, int(_INT64.min))
        high = min(self.origin + TIME_MAX - 1, int(_INT64.max))
        if len(values) and (int(values.min()) < low or int(values.max()) > high):
            values = np.clip(values, low, high)
        if is_null is None and not self.origin:
            return values
        result: Int64Array = values - self.origin
        if is_null is not None:
            result[is_null] = unknown
        return result


def _plain_array(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_integer(array.type) and array.type != pa.uint64():
        array = array.cast(pa.int64())
    if pa.types.is_large_string(array.type) or array.type == pa.string_view():
        array = array.cast(pa.string())
    return array


def _codes(indices: pa.Array) -> Int64Array:
    codes: Int64Array = pc.fill_null(indices, -1).cast(pa.int64()).to_numpy(zero_copy_only=False)
    return codes


class _KeyColumn:
    """One column of a key: numbers for the right side's values."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        array = _plain_array(column)
        self.kind = array.type
        self.low: int | None = None
        self.values: pa.Array | None = None
        if pa.types.is_int64(array.type) and len(array) > array.null_count:
            found = pc.min_max(array).as_py()
            if found["max"] - found["min"] < _DIRECT_MAX:
                self.low, self.count = found["min"], found["max"] - found["min"] + 1
                self.of_right = self._direct(array)
                return
        encoded = array.dictionary_encode()
        self.values, self.count = encoded.dictionary, len(encoded.dictionary)
        self.of_right = _codes(encoded.indices)

    def _direct(self, array: pa.Array) -> Int64Array:
        assert self.low is not None
        values, is_null = numbers_of(pa.chunked_array([array]))
        # Far outside, the difference may wrap: what is inside is found by comparing, not by subtracting.
        inside = (values >= self.low) & (values <= self.low + self.count - 1)
        if is_null is not None:
            inside &= ~is_null
        if bool(inside.all()):
            return values - self.low if self.low else values
        return np.where(inside, np.where(inside, values, self.low) - self.low, -1)

    def codes(self, column: pa.ChunkedArray, name: str) -> Int64Array:
        """The right side's numbers of other values; -1: it has none, or they are null."""
        array = _plain_array(column)
        if array.type != self.kind:
            if pa.types.is_null(array.type) or pa.types.is_null(self.kind):
                return np.full(len(array), -1, dtype=np.int64)
            raise WrongTable(
                f"column {name!r} is {array.type} on the left and {self.kind} on the right; expected one type"
            )
        if self.low is not None:
            return self._direct(array)
        return _codes(pc.index_in(array, value_set=self.values))


class Keys:
    """
    Who may match whom: rows whose key columns are equal. A null equals nothing.

    Args:
        right: the table whose keys are numbered.
        on: names of columns that both have; none: everybody may match everybody.
    """

    def __init__(self, right: pa.Table, on: Sequence[str]) -> None:
        self._on = tuple(on)
        self._columns = [_KeyColumn(column_of(right, name, "right")) for name in on]
        self._distinct: list[Int64Array | None] = []
        self.count = 1
        combined: Int64Array | None = None
        for column in self._columns:
            combined, self.count = self._joined(combined, column.of_right, column.count)
            distinct = None
            if self.count > max(_DIRECT_MAX, 4 * len(combined)):
                distinct = np.unique(combined[combined >= 0])
                combined, self.count = _ranked(combined, distinct), len(distinct)
            self._distinct.append(distinct)
        self.count = max(self.count, 1)
        self.of_right = np.zeros(right.num_rows, dtype=np.int64) if combined is None else combined

    def _joined(self, before: Int64Array | None, codes: Int64Array, count: int) -> tuple[Int64Array, int]:
        if before is None:
            return codes, count
        return np.where((before < 0) | (codes < 0), -1, before * count + codes), self.count * count

    def of_left(self, left: pa.Table) -> Int64Array:
        """The groups of other rows."""
        combined: Int64Array | None = None
        for name, column, distinct in zip(self._on, self._columns, self._distinct, strict=True):
            combined, _ = self._joined(combined, column.codes(column_of(left, name, "left"), name), column.count)
            if distinct is not None:
                combined = _ranked(combined, distinct)
        return np.zeros(left.num_rows, dtype=np.int64) if combined is None else combined


def _ranked(codes: Int64Array, distinct: Int64Array) -> Int64Array:
    if not len(distinct):
        return np.full(len(codes), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(distinct, codes), len(distinct) - 1)
    return np.where(distinct[place] == codes, place, -1)


class Clocks:
    """
    Whose readings, by the right side's numbers. No name, an empty one, or no reading: not known.

    Likewise where readings do not tell the order: of a clock that was set back, and of stamps that were cut, as a stamp
    cut to a second may mean what comes after a later exact one. Those go by their instants alone.
    """

    def __init__(self, right: pa.Table) -> None:
        self._names: pa.Array | None = None
        self._useless = {"", *set_back_in(right.schema.metadata)}
        if "clock" not in right.column_names or "raw_ns" not in right.column_names:
            self.of_right, self.raw_of_right = self._empty(right)
        else:
            column = right.column("clock")
            encoded = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
            if not pa.types.is_dictionary(encoded.type):
                encoded = encoded.dictionary_encode()
            names = encoded.dictionary.cast(pa.string())
            # A dictionary may hold a name twice.
            distinct = names.dictionary_encode()
            self._names = distinct.dictionary
            lookup = np.append(_codes(distinct.indices), NO_CLOCK)
            self._leave_out(lookup)
            self.of_right = _looked_up(lookup, encoded)
            self.raw_of_right = self._raw(right, self.of_right)

    @staticmethod
    def _empty(table: pa.Table) -> tuple[Int64Array, Int64Array]:
        return np.full(table.num_rows, NO_CLOCK, dtype=np.int64), np.zeros(table.num_rows, dtype=np.int64)

    @staticmethod
    def _raw(table: pa.Table, clock: Int64Array) -> Int64Array:
        raw, is_null = numbers_of(table.column("raw_ns"))
        if is_null is not None:
            clock[is_null] = NO_CLOCK
        if "resolution_ns" in table.column_names:
            resolution, _ = numbers_of(table.column("resolution_ns"))
            clock[resolution > 0] = NO_CLOCK
        return raw

    def _leave_out(self, lookup: Int64Array) -> None:
        assert self._names is not None
        for code, name in enumerate(self._names.to_pylist()):
            if name in self._useless:
                lookup[lookup == code] = NO_CLOCK

    def of_left(self, left: pa.Table) -> tuple[Int64Array, Int64Array]:
        """Clock and reading of other rows."""
        if self._names is None or "clock" not in left.column_names or "raw_ns" not in left.column_names:
            return self._empty(left)
        column = left.column("clock")
        encoded = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode()
        lookup = np.append(_codes(pc.index_in(encoded.dictionary.cast(pa.string()), value_set=self._names)), NO_CLOCK)
        self._useless.update(set_back_in(left.schema.metadata))
        self._leave_out(lookup)
        clock = _looked_up(lookup, encoded)
        return clock, self._raw(left, clock)


def _looked_up(lookup: Int64Array, encoded: pa.DictionaryArray) -> Int64Array:
    """The number of each row's name; -1, the last of the lookup, of a null."""
    if len(encoded.dictionary) == 1 and not encoded.null_count:
        # Most tables are of one clock, and zeros cost nothing until they are read.
        code = int(lookup[0])
        return np.full(len(encoded), code, dtype=np.int64) if code else np.zeros(len(encoded), dtype=np.int64)
    return lookup[_codes(encoded.indices)]


def instants(
    table: pa.Table, times: Times, names: Sequence[str] = INSTANT
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """
    Earliest, estimate and latest of each row; of an event without an end that is asked for its end, its one instant.
    """
    earliest = times.column(table, names[0], UNKNOWN_BEFORE)
    latest = times.column(table, names[2], UNKNOWN_AFTER)
    if names[1] in table.column_names:
        estimate = times.column(table, names[1], UNKNOWN_AFTER)
    else:
        estimate = np.full(table.num_rows, UNKNOWN_AFTER, dtype=np.int64)
    crossed = np.flatnonzero(earliest > latest)
    if len(crossed):
        row = int(crossed[0])
        raise WrongTable(
            f"row {row + 1} is at {table.column(names[0])[row]} at the earliest and at {table.column(names[2])[row]} "
            f"at the latest, and {len(crossed) - 1:,} more are such; expected earliest <= latest"
        )
    return earliest, estimate, latest


def ends(table: pa.Table, times: Times) -> tuple[Int64Array, Int64Array]:
    """Earliest and latest end of each row; of an event without an end, its one instant."""
    earliest, _, latest = instants(table, times)
    if not all(name in table.column_names for name in (END_INSTANT[0], END_INSTANT[2])):
        return earliest, latest
    is_span = has_end(table).to_numpy()
    end_earliest = times.column(table, END_INSTANT[0], UNKNOWN_BEFORE)
    end_latest = times.column(table, END_INSTANT[2], UNKNOWN_AFTER)
    # A span does not end before it begins.
    return (
        np.where(is_span, np.maximum(end_earliest, earliest), earliest),
        np.where(is_span, np.maximum(end_latest, latest), latest),
    )


def has_end(table: pa.Table) -> pa.ChunkedArray:
    """Which rows of a table with columns of ends are spans."""
    if "end_raw_ns" in table.column_names:
        return pc.is_valid(table.column("end_raw_ns"))
    return pc.or_(*(pc.is_valid(table.column(name)) for name in END_INSTANT[::2]))


def left_events(left: pa.Table, keys: Keys, clocks: Clocks, times: Times) -> Events:
    """Left rows in the right side's numbers."""
    clock, raw = clocks.of_left(left)
    earliest, estimate, latest = instants(left, times)
    return Events(keys.of_left(left), clock, raw, earliest, estimate, latest)


def right_events(right: pa.Table, keys: Keys, clocks: Clocks, times: Times) -> Events:
    """Right rows."""
    earliest, estimate, latest = instants(right, times)
    return Events(keys.of_right, clocks.of_right, clocks.raw_of_right, earliest, estimate, latest)


def with_bounds(table: pa.Table, bound_ns: int, time: str | None = None) -> pa.Table:
    """
    Give a table with one column of times the bounds of a timeline: each time, give or take `bound_ns`.

    The columns `earliest_ns`, `estimate_ns` and `latest_ns` are added. Nothing is known of the clock behind the times,
    so that no order among the rows is relied on.

    Args:
        bound_ns: so far, in ns, each time may be off at most, in either direction.
        time: the column; None: `time`, or the one column of type timestamp. Timestamps need a zone; integers are
            nanoseconds since 1970.

    Raises:
        WrongTable: which column is meant is not clear, it is no time, or it is so far off that no bounds fit around it.
    """
    if bound_ns < 0:
        raise ValueError(f"bound_ns is {bound_ns}; expected 0 or more")
    taken = [name for name in INSTANT if name in table.column_names]
    if taken:
        raise WrongTable(f"the table has a column {taken[0]!r} already; its bounds are used as they are")
    if time is None:
        stamped = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
        if "time" not in table.column_names and len(stamped) != 1:
            found = ", ".join(stamped) or "none"
            raise WrongTable(f"the table needs one column of times; of type timestamp it has: {found}. Call it 'time'")
        time = "time" if "time" in table.column_names else stamped[0]
    kind = column_of(table, time, "given").type
    if pa.types.is_timestamp(kind) and kind.tz is None:
        raise WrongTable(f"column {time!r} has no zone, so nobody knows when its times are; give it one, such as UTC")
    if not pa.types.is_timestamp(kind) and not pa.types.is_integer(kind):
        raise WrongTable(
            f"column {time!r} is {kind}; expected a timestamp with a zone, or int64 nanoseconds since 1970"
        )
    values, is_null = numbers_of(table.column(time))
    if len(values) and (int(values.min()) < _INT64.min + bound_ns or int(values.max()) > _INT64.max - bound_ns):
        raise WrongTable(f"column {time!r} has times that leave no room for a bound of {bound_ns} ns")
    for name, shifted in zip(INSTANT, (values - bound_ns, values, values + bound_ns), strict=True):
        table = table.append_column(name, pa.array(shifted, mask=is_null))
    return table
