"""
Joins of Parquet files, also of ones that do not fit into memory.

The left file is read group after group. The right file is read as a whole if it fits; else each part of the left is
joined with those right rows that can matter to it, which for files in timeline order are a few groups of rows:

* with a tolerance, what is within it of the part's times; likewise with a window;
* for spans that overlap, what has not ended before the part begins, and begins before it ends;
* without one and without keys, what is not before a row that is before the part in any case (and likewise after it);
* without one but with keys, both files are parted by key first.

A file that is not in timeline order, so that too many groups would matter, is sorted first, beside the output.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from coeval.errors import WrongTable
from coeval.timeline._layout import END_INSTANT, INSTANT
from coeval.timeline._target import Target
from coeval.timeline.join._columns import check_references, check_times, column_of, has_end, with_bounds
from coeval.timeline.join._pairs import ROWS_HELD
from coeval.timeline.join._rules import JoinRules, OverlapRules, Rules, WindowRules
from coeval.timeline.join._tables import ROWS_AT_ONCE

MEMORY_PER_BYTE = 4
"""A prepared right side takes about so many times what its columns take: themselves, sorted copies, and one more."""

_ROWS_IN_GROUP = 1 << 20
_GROUPS_READ_AGAIN_MAX = 3
"""If every group of rows were read more often than this, sorting the file is faster."""

_COPIES = 8
"""Of so many rows that are held one thread's share is: those made, and those that are put together to be written."""

_ROWS_HELD_MIN = 1 << 13

_GROUPS_AHEAD = 4
"""So many groups of left rows are read while the right side is prepared."""

_REPEATED = ("clock", "source")


class JoinCounts(NamedTuple):
    """
    How a join went.

    Attributes:
        rows: of the left side.
        certain, possible, none: how many of them have which verdict; of several, the surest.
        written: rows of the result.
    """

    rows: int
    certain: int
    possible: int
    none: int
    written: int


@dataclass(frozen=True, slots=True)
class JoinInput:
    """
    A Parquet file that is joined.

    Attributes:
        bound_ns: the file has one column of times, and each may be off by so much; None: it has bounds of its own.
    """

    path: Path
    bound_ns: int | None = None

    def schema(self) -> pa.Schema:
        """
        Its columns, bounds included.

        Raises:
            WrongTable: it is no Parquet file.
        """
        try:
            with self.open() as file:
                schema = file.schema_arrow
        except pa.ArrowInvalid as error:
            raise WrongTable(
                f"{self.path} is no Parquet file; expected one that `coeval merge` wrote: {error}"
            ) from None
        return self.bounded(schema.empty_table()).schema

    def bounded(self, table: pa.Table) -> pa.Table:
        """With bounds, if they are to be made."""
        return table if self.bound_ns is None else with_bounds(table, self.bound_ns)

    def open(self) -> pq.ParquetFile:
        """To read groups of rows."""
        names = pq.read_schema(self.path).names
        return pq.ParquetFile(self.path, read_dictionary=[name for name in _REPEATED if name in names])

    def read(self) -> pa.Table:
        """All of it."""
        with self.open() as file:
            return self.bounded(file.read())

    def bytes_in_memory(self) -> int:
        """About how much it takes when it is read."""
        metadata = pq.read_metadata(self.path)
        decoded = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        # Encoded integers are smaller than they will be.
        return max(int(decoded), int(metadata.num_rows * 8 * metadata.num_columns))


def join_files(
    left: JoinInput,
    right: JoinInput,
    rules: Rules,
    write: Callable[[Iterable[pa.Table], pa.Schema], int],
    *,
    memory_bytes: int,
    scratch: Path,
) -> JoinCounts:
    """
    Join two Parquet files.

    Args:
        write: takes the result, table after table, and says how many rows it wrote.
        memory_bytes: about so much is used at most. Rows whose bounds are unknown, and the largest group of equal
            keys, have to fit in any case.
        scratch: a folder for what does not fit; nothing is left in it.

    Returns:
        What was found. Rows are in the left file's order, or in timeline order where it had to be sorted.

    Raises:
        WrongTable, DifferentClocks: see `coeval.timeline.join.join`.
        OSError: something cannot be read or written.
    """
    left_schema, right_schema = left.schema(), right.schema()
    check_times(left_schema.empty_table(), "left")
    check_times(right_schema.empty_table(), "right")
    check_references(left_schema, right_schema)
    for name in rules.on:
        column_of(left_schema.empty_table(), name, "left")
        column_of(right_schema.empty_table(), name, "right")
    empty = rules.prepared(right_schema.empty_table())
    empty.check(left_schema)
    schema = empty.schema(left_schema)
    counts = np.zeros(3, dtype=np.int64)
    if right.bytes_in_memory() * MEMORY_PER_BYTE <= memory_bytes:
        groups = list(_groups(left))
        with ThreadPoolExecutor(1, thread_name_prefix="coeval-join-ahead") as ahead:
            # Preparing the right side keeps one processor busy; another can read the first left rows meanwhile.
            for group in groups[:_GROUPS_AHEAD]:
                group.read_ahead(ahead)
            joined = rules.prepared(right.read())
        joined.rows_held = _rows_held(left, right, memory_bytes)
        written = write(joined.tables(groups), schema)
        counts += joined.counts
    else:
        with tempfile.TemporaryDirectory(prefix=".coeval-join-", dir=scratch) as folder:
            plan = _Parted(left, right, rules, memory_bytes, Path(folder), counts)
            written = write(plan.tables(schema), schema)
    none, possible, certain = counts.tolist()
    return JoinCounts(none + possible + certain, certain, possible, none, written)


def _rows_held(left: JoinInput, right: JoinInput, memory_bytes: int) -> int:
    """How many rows of the result a thread may hold."""
    row_bytes = 0.0
    for source in (left, right):
        rows = pq.read_metadata(source.path).num_rows
        row_bytes += source.bytes_in_memory() / rows if rows else 0.0
    return min(max(int(memory_bytes / (_COPIES * max(row_bytes, 1.0))), _ROWS_HELD_MIN), ROWS_HELD)


def _groups(source: JoinInput) -> Iterator[_GroupReader]:
    """Each group of rows, read by whoever calls for it."""
    for number in range(pq.read_metadata(source.path).num_row_groups):
        yield _GroupReader(source, number)


class _GroupReader:
    def __init__(self, source: JoinInput, number: int) -> None:
        self._source = source
        self._number = number
        self._ahead: Future[pa.Table] | None = None

    def read_ahead(self, pool: ThreadPoolExecutor) -> None:
        """Read now, in another thread."""
        self._ahead = pool.submit(self._read)

    def _read(self) -> pa.Table:
        with self._source.open() as file:
            # One thread: its fellows read other groups.
            return self._source.bounded(file.read_row_group(self._number, use_threads=False))

    def __call__(self) -> Iterator[pa.Table]:
        table = self._read() if self._ahead is None else self._ahead.result()
        self._ahead = None
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            yield table.slice(start, ROWS_AT_ONCE)


class _Range(NamedTuple):
    """Times of some rows; None: not bounded."""

    first: int | None
    last: int | None


class _Parted:
    """A join part by part."""

    def __init__(
        self,
        left: JoinInput,
        right: JoinInput,
        rules: Rules,
        memory_bytes: int,
        folder: Path,
        counts: np.ndarray[tuple[int], np.dtype[np.int64]],
    ) -> None:
        self._left, self._right = left, right
        self._rules = rules
        self._memory_bytes = memory_bytes
        self._folder = folder
        self._counts = counts
        rows = max(pq.read_metadata(right.path).num_rows, 1)
        self._has_spans = isinstance(rules, OverlapRules)
        self._rows_held = _rows_held(left, right, memory_bytes)
        self._row_bytes = max(right.bytes_in_memory() // rows, 1) * MEMORY_PER_BYTE

    def tables(self, schema: pa.Schema) -> Iterator[pa.Table]:
        rules = self._rules
        is_boundless = isinstance(rules, JoinRules) and rules.within_ns is None
        for table in self._by_key(schema) if rules.on and is_boundless else self._by_time():
            # What DuckDB sorted has lost the metadata.
            yield table if table.schema.equals(schema, check_metadata=True) else table.cast(schema)

    def _database(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(config={"memory_limit": f"{max(self._memory_bytes // 2, 1 << 27)}B"})
        connection.execute(f"SET temp_directory = '{_quoted(self._folder / 'duckdb')}'")
        # A thread holds what it sorts and writes; few of them leave the limit to the data.
        connection.execute(f"SET threads = {max(1, min(os.cpu_count() or 1, self._memory_bytes >> 28))}")
        return connection

    def _sorted(self, source: JoinInput, name: str) -> JoinInput:
        """The file in timeline order: itself, if its groups of rows follow one another."""
        ranges = _group_ranges(source)
        bounded = [found for found in ranges if found.first is not None and found.last is not None]
        overlaps = 0
        reached: int | None = None
        for found in bounded:
            assert found.first is not None
            assert found.last is not None
            overlaps += reached is not None and found.first < reached - (found.last - found.first) // 4
            reached = found.last if reached is None else max(reached, found.last)
        if overlaps * 4 <= len(ranges):
            return source
        target = self._folder / f"{name}.parquet"
        by = "estimate_ns" if "estimate_ns" in source.schema().names else "earliest_ns"
        if source.bound_ns is not None:
            by = "time" if "time" in source.schema().names else by
        with self._database() as connection:
            connection.execute(
                f"COPY (SELECT * FROM read_parquet('{_quoted(source.path)}') ORDER BY \"{by}\" NULLS LAST) "
                f"TO '{_quoted(target)}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
            )
        return replace(source, path=target)

    def _by_time(self) -> Iterator[pa.Table]:
        self._left, self._right = self._sorted(self._left, "left"), self._sorted(self._right, "right")
        rights = _span_ranges(self._right) if self._has_spans else _group_ranges(self._right)
        for numbers in self._left_parts():
            with self._left.open() as file:
                lefts = self._left.bounded(file.read_row_groups(numbers))
            wanted = self._wanted(_span(lefts, has_spans=self._has_spans))
            chosen = [number for number, found in enumerate(rights) if _overlap(found, wanted)]
            right = self._read(self._right, chosen, wanted)
            joined = self._rules.prepared(right)
            joined.rows_held = self._rows_held
            yield from joined.tables(lefts.slice(at, ROWS_AT_ONCE) for at in range(0, lefts.num_rows, ROWS_AT_ONCE))
            self._counts += joined.counts

    def _left_parts(self) -> Iterator[list[int]]:
        """Groups of rows that are joined together: as many as need about a quarter of the memory."""
        metadata = pq.read_metadata(self._left.path)
        part: list[int] = []
        rows = 0
        for number in range(metadata.num_row_groups):
            part.append(number)
            rows += metadata.row_group(number).num_rows
            if rows * self._row_bytes * 4 >= self._memory_bytes:
                yield part
                part, rows = [], 0
        if part:
            yield part

    def _wanted(self, span: _Range) -> _Range:
        """Which right rows can matter to left rows of these times."""
        first, last = span
        rules = self._rules
        if isinstance(rules, OverlapRules):
            return span
        if isinstance(rules, WindowRules):
            return _Range(
                None if first is None else first - rules.before_ns, None if last is None else last + rules.after_ns
            )
        within, direction = rules.within_ns, rules.direction
        if within is not None:
            if first is not None and direction != "forward":
                first -= within
            if last is not None and direction != "backward":
                last += within
            return _Range(first, last)
        surely_before, surely_after = self._surely(first, last)
        if direction == "backward":
            return _Range(None if first is None else surely_before, last)
        if direction == "forward":
            return _Range(first, None if last is None else surely_after)
        # The nearest: whatever is nearer than the one that is surely before is not farther away on the other side.
        if first is None or last is None or (surely_before is None and surely_after is None):
            return _Range(None, None)
        from_first = min(
            first - surely_before if surely_before is not None else 1 << 62,
            surely_after - first if surely_after is not None else 1 << 62,
        )
        from_last = min(
            last - surely_before if surely_before is not None else 1 << 62,
            surely_after - last if surely_after is not None else 1 << 62,
        )
        return _Range(first - from_first, last + from_last)

    def _surely(self, first: int | None, last: int | None) -> tuple[int | None, int | None]:
        """Of right rows surely before `first` the greatest earliest; of those surely after `last` the least latest."""
        before: int | None = None
        after: int | None = None
        with self._right.open() as file:
            names = ["earliest_ns", "latest_ns"] if self._right.bound_ns is None else None
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=names):
                table = self._right.bounded(pa.Table.from_batches([batch]))
                earliest, latest = table.column("earliest_ns"), table.column("latest_ns")
                if first is not None:
                    found = pc.max(
                        earliest.filter(pc.less_equal(latest, first), null_selection_behavior="drop")
                    ).as_py()
                    before = found if before is None else before if found is None else max(before, found)
                if last is not None:
                    found = pc.min(
                        latest.filter(pc.greater_equal(earliest, last), null_selection_behavior="drop")
                    ).as_py()
                    after = found if after is None else after if found is None else min(after, found)
        return before, after

    def _read(self, source: JoinInput, groups: Sequence[int], wanted: _Range) -> pa.Table:
        """Of these groups the rows that can matter."""
        kept = [source.schema().empty_table()]
        with source.open() as file:
            for number in groups:
                table = source.bounded(file.read_row_group(number))
                mask = None
                if wanted.first is not None:
                    mask = pc.fill_null(pc.greater_equal(_last_of(table, self._has_spans), wanted.first), True)
                if wanted.last is not None:
                    in_time = pc.fill_null(pc.less_equal(table.column("earliest_ns"), wanted.last), True)
                    mask = in_time if mask is None else pc.and_(mask, in_time)
                kept.append(table if mask is None else table.filter(mask))
        return pa.concat_tables(kept[1:]) if len(kept) > 1 else kept[0]

    def _by_key(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """Part both files by key, join part by part, and put the rows back into the left file's order."""
        left_bytes = self._left.bytes_in_memory() * MEMORY_PER_BYTE
        right_bytes = self._right.bytes_in_memory() * MEMORY_PER_BYTE
        count = max(2, -(-(left_bytes + right_bytes) * 2 // self._memory_bytes))
        keys = ", ".join(f'"{_doubled(name)}"' for name in self._rules.on)
        place = "coeval_place"
        while place in schema.names:
            place += "_"
        with self._database() as connection:
            for source, name, numbered in (
                (self._left, "left", f", file_row_number AS {place}"),
                (self._right, "right", ""),
            ):
                connection.execute(
                    f"COPY (SELECT * EXCLUDE (file_row_number){numbered}, hash({keys}) % {count} AS coeval_part "
                    f"FROM read_parquet('{_quoted(source.path)}', file_row_number = true)) "
                    f"TO '{_quoted(self._folder / name)}' "
                    "(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (coeval_part))"
                )
        results = self._folder / "results"
        results.mkdir()
        for number in range(count):
            left = self._part(self._left, self._folder / "left", number, place)
            if not left.num_rows:
                continue
            right = self._part(self._right, self._folder / "right", number, None)
            joined = self._rules.prepared(right)
            joined.rows_held = self._rows_held
            with pq.ParquetWriter(
                results / f"{number}.parquet", joined.schema(left.schema), compression="zstd"
            ) as writer:
                for table in joined.tables(
                    left.slice(at, ROWS_AT_ONCE) for at in range(0, left.num_rows, ROWS_AT_ONCE)
                ):
                    writer.write_table(table)
            self._counts += joined.counts
        target = self._folder / "ordered.parquet"
        columns = ", ".join(f'"{_doubled(name)}"' for name in schema.names)
        if not any(results.iterdir()):
            return
        with self._database() as connection:
            connection.execute(
                f"COPY (SELECT {columns} FROM read_parquet('{_quoted(results)}/*.parquet') ORDER BY {place}) "
                f"TO '{_quoted(target)}' (FORMAT parquet, COMPRESSION zstd)"
            )
        with pq.ParquetFile(target) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                yield pa.Table.from_batches([batch])

    @staticmethod
    def _part(source: JoinInput, folder: Path, number: int, place: str | None) -> pa.Table:
        schema = source.schema()
        if place is not None:
            schema = schema.append(pa.field(place, pa.int64()))
        files = sorted((folder / f"coeval_part={number}").glob("*.parquet"))
        if not files:
            return schema.empty_table()
        table = source.bounded(ds.dataset(files, format="parquet").to_table())
        table = table.select(schema.names).cast(schema)
        # Within one time the file's order counts, and DuckDB's threads do not keep it.
        return table if place is None else table.sort_by(place)


def _group_ranges(source: JoinInput) -> list[_Range]:
    """From the earliest to the latest of each group of rows, by the file's statistics."""
    metadata = pq.read_metadata(source.path)
    names = ["earliest_ns", "latest_ns"]
    if source.bound_ns is not None or any(name not in metadata.schema.names for name in names):
        # Bounds that are made: without statistics of theirs, every group of rows may matter.
        return [_Range(None, None)] * metadata.num_row_groups
    columns = [metadata.schema.names.index(name) for name in names]
    ranges = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        found = [group.column(column).statistics for column in columns]
        usable = [s is not None and s.has_min_max and s.has_null_count and not s.null_count for s in found]
        ranges.append(_Range(found[0].min if usable[0] else None, found[1].max if usable[1] else None))
    return ranges


def _span_ranges(source: JoinInput) -> list[_Range]:
    """The same with the ends of spans, by the rows: statistics do not tell whether a missing end is an unknown one."""
    ranges = []
    with source.open() as file:
        names = [name for name in (*INSTANT[::2], *END_INSTANT[::2], "end_raw_ns") if name in file.schema_arrow.names]
        for number in range(file.metadata.num_row_groups):
            columns = names if source.bound_ns is None else None
            table = source.bounded(file.read_row_group(number, columns=columns))
            ranges.append(_span(table, has_spans=True))
    return ranges


def _span(table: pa.Table, *, has_spans: bool = False) -> _Range:
    """From the earliest to the latest of all rows; a side that is unknown of some is not bounded."""
    earliest, latest = table.column("earliest_ns"), _last_of(table, has_spans)
    return _Range(
        None if earliest.null_count else pc.min(earliest).as_py(), None if latest.null_count else pc.max(latest).as_py()
    )


def _last_of(table: pa.Table, has_spans: bool) -> pa.ChunkedArray:
    """The latest time of each row: of a span, of its end. Null: unknown."""
    latest = table.column("latest_ns")
    if not has_spans or any(name not in table.column_names for name in END_INSTANT[::2]):
        return latest
    end_latest = pc.max_element_wise(table.column(END_INSTANT[2]), latest, skip_nulls=False)
    return pc.if_else(has_end(table), end_latest, latest)


def _overlap(found: _Range, wanted: _Range) -> bool:
    if found.last is not None and wanted.first is not None and found.last < wanted.first:
        return False
    return not (found.first is not None and wanted.last is not None and found.first > wanted.last)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _doubled(name: str) -> str:
    return name.replace('"', '""')


def parquet_writer(path: Path, memory_bytes: int) -> Callable[[Iterable[pa.Table], pa.Schema], int]:
    """
    What writes a result to a Parquet file, which is there once it is whole.

    Args:
        memory_bytes: as `join_files` has it.
    """

    def write(tables: Iterable[pa.Table], schema: pa.Schema) -> int:
        integers = {
            field.name: "DELTA_BINARY_PACKED"
            for field in schema
            if pa.types.is_integer(field.type) or pa.types.is_timestamp(field.type)
        }
        integers = {name: encoding for name, encoding in integers.items() if _can_be_delta(schema.field(name).type)}
        repeated = [field.name for field in schema if pa.types.is_dictionary(field.type) or field.name in _REPEATED]
        count = 0
        with (
            Target(path) as file,
            pq.ParquetWriter(
                file,
                schema,
                compression="snappy",
                use_dictionary=repeated or False,
                column_encoding=integers or None,
            ) as writer,
        ):
            for group in _in_groups(tables, memory_bytes // _COPIES):
                writer.write_table(group, row_group_size=_ROWS_IN_GROUP)
                count += group.num_rows
        return count

    return write


def _can_be_delta(kind: pa.DataType) -> bool:
    return kind in (pa.int32(), pa.int64()) or pa.types.is_timestamp(kind)


def _in_groups(tables: Iterable[pa.Table], bytes_max: int) -> Iterator[pa.Table]:
    """Put small tables together, so that a file has not too many groups of rows."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        size += table.nbytes
        if rows >= _ROWS_IN_GROUP or size >= bytes_max:
            yield pa.concat_tables(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting)
