"""
Joins of timeline tables by uncertain times, table in, table out.

    right table -> RightSide (numbers, sorted once) <- left rows, any number at a time -> rows with a verdict
"""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa

from coeval.timeline.join._asof import NONE, AsofRights, Direction
from coeval.timeline.join._columns import (
    Clocks,
    Keys,
    Times,
    check_references,
    check_times,
    left_events,
    right_events,
)
from coeval.timeline.join._groups import TIME_MAX, Int64Array
from coeval.timeline.join._pairs import ROWS_HELD, portions
from coeval.timeline.join._slices import in_threads

How: TypeAlias = Literal["left", "inner"]

DIRECTIONS = ("backward", "forward", "nearest")
HOWS = ("left", "inner")
VERDICTS = pa.array(["none", "possible", "certain"])

ROWS_AT_ONCE = 1 << 17
"""
Left rows that are looked at together. More of them, and the columns that come and go meanwhile are given back to the
system each time and begun with fresh pages: four times as many page faults at twice as many rows. Fewer, and Python's
own time counts.
"""


def join(
    left: pa.Table,
    right: pa.Table,
    *,
    on: str | Sequence[str] = (),
    within_ns: int | None = None,
    direction: Direction = "backward",
    how: How = "left",
    all_matches: bool = False,
) -> pa.Table:
    """
    Match each left row with the right row before it, after it, or nearest to it, and say whether that is certain.

    An assignment gives every row a time `t` in its interval, earliest_ns <= t <= latest_ns (null: no limit), such that
    readings of one clock keep their order and equal ones are one time. Under it, the match of the left row `l` is, of
    the right rows `r` with the same key,

    * backward: the last with t(r) <= t(l) and t(l) - t(r) <= within_ns;
    * forward: the first with t(r) >= t(l) and t(r) - t(l) <= within_ns;
    * nearest: the one with the least |t(r) - t(l)|, if that is <= within_ns.

    Rows of one clock compare by their readings, whatever their bounds: an error that both have cancels. A right row
    with the very reading of the left row is its match. Where two right rows are equally good, either may be the match,
    unless they are known to be at one time (exact and equal, or equal readings of one clock): then the later in the
    table counts (forward: the earlier). The match is *certain* if it is the same under every assignment, and
    *possible* otherwise; a right row is a possible match if it is one under some assignment.

    Only the left row and the right rows of its key are bound by a clock's order, and only as far as their own bounds
    allow it; a clock whose bounds contradict its order is not believed. Stamps that were cut (`resolution_ns`) and
    clocks that were set back go by their bounds alone.

    Args:
        left, right: timelines (`coeval.timeline._layout`); of their own columns, `earliest_ns` and `latest_ns` are
            needed, `estimate_ns`, `clock`, `raw_ns` and `resolution_ns` are used if they are there. Any order; both on
            one reference.
        on: columns that must be equal. A null equals nothing.
        within_ns: the tolerance, in ns, inclusive; None: none.
        how: "left": every left row is in the result, "inner": those with a match.
        all_matches: a row for each possible match instead of one per left row.

    Returns:
        Rows in the left table's order. The left columns, those of the right table but `on`, with `_right` behind a
        name that the left has, then `verdict` ("certain", "possible", "none") and `matches_possible`, how many right
        rows are possible. The right row shown is the match if every time were its estimate; where there is none, one
        of those possible.

    Raises:
        WrongTable: a column is missing or of no use; a key has another type on the other side.
        DifferentClocks: the two tables count on different references.
    """
    return AsofJoin(right, on=on, within_ns=within_ns, direction=direction, how=how, all_matches=all_matches).table(
        left
    )


_Part: TypeAlias = tuple[pa.Table, Int64Array]
"""Rows of the result, and what they add to the counts."""


class RightSide(ABC):
    """
    The right side of a join, prepared; asked by several threads at once.

    Attributes:
        counts: of what was joined so far, how many left rows have no match, only possible ones, a certain one.
        rows_held: so many rows of the result wait at most for who writes them, for each thread, and so many are made
            together: a left row may have many matches.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(3, dtype=np.int64)
        self.rows_held = ROWS_HELD

    @abstractmethod
    def check(self, left: pa.Schema) -> None:
        """
        Refuse left tables that cannot be joined.

        Raises:
            WrongTable, DifferentClocks: see `join`.
        """

    @abstractmethod
    def schema(self, left: pa.Schema) -> pa.Schema:
        """What the result looks like."""

    @abstractmethod
    def _joined(self, left: pa.Table) -> Iterator[_Part]:
        """The result for some left rows, a part of them at a time."""

    def table(self, left: pa.Table) -> pa.Table:
        """
        Join a whole table.

        Raises:
            WrongTable, DifferentClocks: see `join`.
        """
        self.check(left.schema)
        parts = list(self.tables(_slices(left, ROWS_AT_ONCE)))
        return pa.concat_tables([self.schema(left.schema).empty_table(), *parts])

    def tables(
        self, lefts: Iterable[pa.Table] | Iterable[Callable[[], Iterable[pa.Table]]], workers: int | None = None
    ) -> Iterator[pa.Table]:
        """
        Join portion after portion, several at a time.

        Args:
            lefts: tables, or what reads them when it is called, in the thread that joins them.
            workers: threads; None: one per processor.

        Yields:
            The results in the portions' order. `counts` then has how many left rows got which verdict.
        """
        workers = workers or os.cpu_count() or 1
        with ThreadPoolExecutor(workers, thread_name_prefix="coeval-join") as pool:
            waiting = []
            for left in lefts:
                waiting.append(pool.submit(self._work, left))
                # As many as are worked on, and one that is ready when somebody asks.
                if len(waiting) > workers:
                    yield from self._counted(waiting.pop(0).result())
            while waiting:
                yield from self._counted(waiting.pop(0).result())

    def _counted(self, parts: Iterator[_Part]) -> Iterator[pa.Table]:
        for table, counts in parts:
            self.counts += counts
            yield table

    def _work(self, left: pa.Table | Callable[[], Iterable[pa.Table]]) -> Iterator[_Part]:
        """All parts: those that may be held are made here, more of them when they are asked for."""
        parts = (part for table in (left() if callable(left) else [left]) for part in self._joined(table))
        made: list[_Part] = []
        rows = 0
        for part in parts:
            made.append(part)
            rows += part[0].num_rows
            if rows >= self.rows_held:
                break
        return itertools.chain(made, parts)


class AsofJoin(RightSide):
    """The right side of an as-of join, prepared; see `join` for what the arguments mean."""

    def __init__(
        self,
        right: pa.Table,
        *,
        on: str | Sequence[str] = (),
        within_ns: int | None = None,
        direction: Direction = "backward",
        how: How = "left",
        all_matches: bool = False,
    ) -> None:
        if direction not in DIRECTIONS:
            raise ValueError(f"direction is {direction!r}; expected one of {', '.join(DIRECTIONS)}")
        if how not in HOWS:
            raise ValueError(f"how is {how!r}; expected one of {', '.join(HOWS)}")
        if within_ns is not None and not 0 <= within_ns < TIME_MAX:
            raise ValueError(f"within_ns is {within_ns}; expected nanoseconds from 0 to {TIME_MAX - 1} (73 years)")
        self._on = (on,) if isinstance(on, str) else tuple(on)
        self._how = how
        self._all_matches = all_matches
        check_times(right, "right")
        # In one piece each, columns are numbers without being copied, and rows are fetched fast.
        right = in_one_piece(right)
        self._schema = right.schema
        self._times = Times.around(right, ("earliest_ns", "latest_ns"), "right", within_ns or 0)
        self._keys = Keys(right, self._on)
        self._clocks = Clocks(right)
        events = right_events(right, self._keys, self._clocks, self._times)
        self._rights = AsofRights(events, self._keys.count, direction, within_ns)
        self._rights.prepare()
        kept = [name for name in right.column_names if name not in self._on]
        self._payload = right.select(kept)
        super().__init__()

    def check(self, left: pa.Schema) -> None:
        check_times(left.empty_table(), "left")
        check_references(left, self._schema)
        self._keys.of_left(left.empty_table())

    def schema(self, left: pa.Schema) -> pa.Schema:
        fields = list(left)
        taken = set(left.names)
        for field in self._payload.schema:
            fields.append(field.with_name(free_name(field.name, "_right", taken)).with_nullable(True))
        fields.append(pa.field(free_name("verdict", "_", taken), pa.dictionary(pa.int8(), pa.string())))
        fields.append(pa.field(free_name("matches_possible", "_", taken), pa.int64()))
        return pa.schema(fields, metadata=left.metadata)

    def _joined(self, left: pa.Table) -> Iterator[_Part]:
        events = left_events(left, self._keys, self._clocks, self._times)
        found = self._rights.match(events)
        if self._all_matches and left.num_rows > 1 and int(found.possible.sum()) > self.rows_held:
            for rows in portions(np.maximum(found.possible, 1), self.rows_held):
                yield from self._joined(left.slice(rows.start, rows.stop - rows.start))
            return
        counts = np.bincount(found.verdict, minlength=3)
        verdict, row, possible = found
        chosen: Int64Array | None = None
        if self._all_matches:
            pairs = list(self._rights.pairs(events))
            nothing = np.zeros(0, dtype=np.int64)
            chosen = np.concatenate([nothing, *(pair[0] for pair in pairs)])
            row = np.concatenate([nothing, *(pair[1] for pair in pairs)])
            if self._how == "left":
                lonely = np.flatnonzero(verdict == NONE)
                chosen, row = np.concatenate([chosen, lonely]), np.concatenate([row, np.full(len(lonely), -1)])
            order = np.lexsort((row, chosen))
            chosen, row = chosen[order], row[order]
        elif self._how == "inner":
            chosen = np.flatnonzero(verdict != NONE)
            row = row[chosen]
        if chosen is not None:
            left, verdict, possible = left.take(pa.array(chosen)), verdict[chosen], possible[chosen]
        is_missing = row < 0
        indices = pa.array(row, mask=is_missing if bool(is_missing.any()) else None)
        schema = self.schema(left.schema)
        columns = [
            *left.columns,
            *(column.take(indices) for column in self._payload.columns),
            pa.DictionaryArray.from_arrays(pa.array(verdict, pa.int8()), VERDICTS),
            pa.array(possible),
        ]
        yield pa.table(columns, schema=schema), counts


def in_one_piece(table: pa.Table) -> pa.Table:
    """Each column in one chunk, as far as it can hold it."""
    if all(column.num_chunks == 1 for column in table.columns):
        return table
    numbers = range(table.num_columns)
    columns = in_threads(lambda number: table.select([number]).combine_chunks().column(0), numbers)
    return pa.table(list(columns), schema=table.schema)


def free_name(name: str, suffix: str, taken: set[str]) -> str:
    """A name that is not taken; now it is."""
    while name in taken:
        name += suffix
    taken.add(name)
    return name


def _slices(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)
