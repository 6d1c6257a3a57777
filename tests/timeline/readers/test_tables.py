"""Parquet, Arrow and SQLite: types, groups, damage, other programs' files, and timelines read back."""

from __future__ import annotations

import ctypes
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.clocks import ClockId
from coeval.errors import WrongTable
from coeval.timeline._layout import LAYOUT, TableClaims
from coeval.timeline.readers._parquet import grouped
from coeval.timeline.readers._reader import SourceSettings
from tests.timeline.readers.reading import Read

BEGIN_NS = 1_793_923_200_123_456_789


def rows(count: int) -> pa.Table:
    times = pa.array([BEGIN_NS + number for number in range(count)], pa.timestamp("ns", "UTC"))
    return pa.table({"time": times, "host": ["web1"] * count, "count": list(range(count))})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table"


def test_groups_of_rows_are_parts(path: Path) -> None:
    pq.write_table(rows(1000), path, row_group_size=100)
    read = Read("parquet", path, size=1)
    assert read.parts == 10
    assert read.column("count") == list(range(1000))
    assert read.raw_ns == [BEGIN_NS + number for number in range(1000)]


@given(st.lists(st.integers(0, 10**6)), st.integers(1, 10**6))
def test_groups_are_each_in_one_part_and_parts_are_no_larger_than_one_group_makes_them(
    sizes: list[int], size: int
) -> None:
    found = list(grouped(sizes, size))
    assert [index for start, stop in found for index in range(start, stop)] == list(range(len(sizes)))
    assert all(stop - start <= 1 or sum(sizes[start:stop]) <= size for start, stop in found)


def test_damaged_group_costs_itself_only(path: Path) -> None:
    pq.write_table(rows(1000), path, row_group_size=100, compression="zstd", use_dictionary=False)
    data = bytearray(path.read_bytes())
    chunk = pq.ParquetFile(path).metadata.row_group(4).column(0)
    begin = chunk.data_page_offset
    data[begin : begin + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(data)
    read = Read("parquet", path)
    assert read.column("count") == [*range(400), *range(500, 1000)]
    assert [int(line) for batch in read.batches for line in batch.lines] == [*range(400), *range(500, 1000)]
    [problem] = read.problems
    assert "100 rows of its row group 4" in problem


def test_file_without_its_end_is_refused(path: Path) -> None:
    pq.write_table(rows(10), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(WrongTable, match="no whole Parquet file"):
        Read("parquet", path)


def test_arrow_file_without_its_end_is_read_as_far_as_it_goes(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows(1).schema) as writer:
        writer.write_table(rows(1000), max_chunksize=100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    read = Read("arrow", path)
    assert read.column("count") == list(range(len(read.raw_ns)))
    assert len(read.raw_ns) in range(100, 600, 100)
    assert read.problems


def test_arrow_stream_is_read(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows(1).schema) as writer:
        writer.write_table(rows(10))
    assert Read("arrow", path).raw_ns == [BEGIN_NS + number for number in range(10)]


@pytest.mark.parametrize("reader", ["parquet", "arrow"])
def test_zone_that_is_no_text_is_refused(path: Path, reader: str) -> None:
    times = pa.array([1_790_000_000_000_000_000], pa.timestamp("ns", "Europe/Berlin"))
    table = pa.table({"ts": times})
    if reader == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"Europe/Berlin", b"Eur\xfape/Berlin"))
    if reader == "arrow":
        with pytest.raises(WrongTable, match="the zone of column ts is not UTF-8"):
            Read(reader, path)
    else:
        # Parquet keeps the zone within a text of Arrow's own, and knows the column without it.
        path.write_bytes(whole)
        assert Read(reader, path).raw_ns == [1_790_000_000_000_000_000]


@pytest.mark.parametrize("reader", ["parquet", "arrow"])
def test_table_without_rows_may_have_columns_of_any_type(path: Path, reader: str) -> None:
    days = pa.array([19_000], pa.date32()).dictionary_encode().slice(1)
    table = pa.table({"ts": pa.array([], pa.timestamp("ns", "UTC")), "day": days})
    if reader == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema):
            pass
    assert Read(reader, path).raw_ns == []


def of_type_months(table: pa.RecordBatch, column: str) -> pa.RecordBatch:
    """Have an int32 column be one of months: Arrow's format has that type, its Python package cannot make it."""
    schema, array = (ctypes.c_void_p * 16)(), (ctypes.c_void_p * 16)()  # an ArrowSchema begins with the format
    table.schema.field(column)._export_to_c(ctypes.addressof(schema))
    word = ctypes.create_string_buffer(b"tiM")
    schema[0] = ctypes.addressof(word)
    field = pa.Field._import_from_c(ctypes.addressof(schema))
    table._export_to_c(ctypes.addressof(array))
    fields = [field if each.name == column else each for each in table.schema]
    return pa.RecordBatch._import_from_c(ctypes.addressof(array), pa.schema(fields))


@pytest.mark.parametrize("count", [0, 3])
def test_arrow_is_read_without_columns_of_a_type_that_cannot_be_held(path: Path, count: int) -> None:
    times = pa.array(range(count), pa.timestamp("ns", "UTC"))
    table = pa.record_batch({"ts": times, "age": pa.array([7] * count, pa.int32()), "size": [2] * count})
    table = of_type_months(table, "age")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        if count:
            writer.write_batch(table)
    read = Read("arrow", path)
    assert read.raw_ns == list(range(count))
    assert all(batch.payload.schema.names == ["size"] for batch in read.batches)
    [problem] = read.problems
    assert problem.endswith("was read without column 'age' of type month_interval, whose values cannot be held.")


def test_clock_field_names_the_clocks(path: Path) -> None:
    pq.write_table(rows(3).append_column("node", [["a", "b", None]]), path)
    read = Read("parquet", path, SourceSettings(clock_field="node"))
    assert read.clocks == ["a", "b"]
    assert [row.reason for row in read.aside] == ["node is missing, and is to name the clock"]


def test_clock_that_was_said_counts_before_the_field(path: Path) -> None:
    pq.write_table(rows(3), path)
    assert Read("parquet", path, SourceSettings(clock_field="host", clock="mine")).clocks == [None] * 3


def test_ends_are_read_and_may_be_missing(path: Path) -> None:
    kind = pa.timestamp("us", "UTC")
    pq.write_table(
        pa.table({"start": pa.array([10**15, 10**15], kind), "end": pa.array([10**15 + 1, None], kind)}), path
    )
    [batch] = Read("parquet", path).batches
    assert batch.end_raw_ns is not None
    assert batch.end_raw_ns.tolist() == [(10**15 + 1) * 1000, -(2**63)]


def write_pandas(path: Path, times: list[int]) -> None:
    pd.DataFrame({"time": pd.to_datetime(times, unit="ns", utc=True), "x": 1}).to_parquet(path)


def write_polars(path: Path, times: list[int]) -> None:
    pl.DataFrame({"time": pl.Series(times).cast(pl.Datetime("ns", "UTC")), "x": 1}).write_parquet(path)


def write_duckdb(path: Path, times: list[int]) -> None:
    with duckdb.connect() as database:
        values = ", ".join(f"({time}::bigint)" for time in times)
        database.execute(
            f"copy (select column0 as time, 1 as x from (values {values}) t(column0)) to '{path}' (format parquet)"
        )


@pytest.mark.parametrize("write", [write_pandas, write_polars, write_duckdb])
def test_parquet_of_other_programs_gives_the_same_readings(path: Path, write: Any) -> None:
    times = [BEGIN_NS, BEGIN_NS + 1, BEGIN_NS + 10**9]
    write(path, times)
    assert Read("parquet", path).raw_ns == times


def timeline(path: Path, **columns: Any) -> None:
    made = {
        "time": pa.array([1, 2, 3], pa.timestamp("ns", "UTC")),
        "earliest_ns": [1, 2, 3],
        "estimate_ns": [1, 2, 3],
        "latest_ns": [1, 2, 3],
        "raw_ns": [BEGIN_NS, 1_793_923_201_000_000_000, 1_793_923_202_000_000_000],
        "end_raw_ns": pa.array([BEGIN_NS + 5, None, None], pa.int64()),
        "clock": ["a", "b", "b"],
        "source": ["a.log", "b.log", "b.log"],
        "line": [7, 8, 9],
        "message": ["x", "y", "z"],
    }
    claims = TableClaims(ClockId("utc"), "UTC").metadata()
    pq.write_table(pa.table({**made, **columns}).replace_schema_metadata(claims), path)


def test_timeline_of_coeval_is_read_back_by_its_raw_readings_and_clocks(path: Path) -> None:
    timeline(path)
    read = Read("parquet", path)
    assert sorted(zip(read.raw_ns, read.clocks, read.column("message"), strict=True)) == [
        (BEGIN_NS, "a", "x"),
        (1_793_923_201_000_000_000, "b", "y"),
        (1_793_923_202_000_000_000, "b", "z"),
    ]
    assert read.columns.names == ["source", "line", "message"]


def test_stamps_of_a_timeline_are_as_coarse_as_their_source_wrote_them(path: Path) -> None:
    timeline(path)
    assert {batch.resolution_ns: len(batch) for batch in Read("parquet", path).batches} == {1: 1, 10**9: 2}


def test_rows_of_a_timeline_whose_zone_was_assumed_stay_marked(path: Path) -> None:
    timeline(path, assumed=[True, False, None])
    assert {batch.is_assumed: len(batch) for batch in Read("parquet", path).batches if batch.is_assumed} == {True: 1}


def test_timeline_of_a_later_coeval_is_refused(path: Path) -> None:
    pq.write_table(rows(3).replace_schema_metadata({"coeval.layout": str(LAYOUT + 1)}), path)
    with pytest.raises(WrongTable, match="update coeval"):
        Read("parquet", path)


@pytest.fixture
def database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.execute("create table orders (time text, n integer)")
        made.executemany("insert into orders values (?, ?)", [(f"2026-11-05T12:34:5{n}Z", n) for n in range(5)])
        made.execute("create table other (name text)")
        made.commit()
    return path


def test_only_table_with_a_time_is_taken(database: Path) -> None:
    assert Read("sqlite", database).column("n") == [0, 1, 2, 3, 4]


def test_select_is_read_as_it_is(database: Path) -> None:
    read = Read("sqlite", database, SourceSettings(query="select * from orders where n > 2 order by n desc"))
    assert read.column("n") == [4, 3]


@pytest.mark.parametrize(
    "query", ["delete from orders", "nothing", "select * from nothing", "with x as (select 1) delete from orders"]
)
def test_query_that_cannot_be_read_or_writes_is_refused(database: Path, query: str) -> None:
    before = database.read_bytes()
    with pytest.raises(WrongTable):
        Read("sqlite", database, SourceSettings(query=query))
    assert database.read_bytes() == before


def test_text_that_is_not_utf8_costs_its_row_only(database: Path) -> None:
    with closing(sqlite3.connect(database)) as made:
        made.execute("update orders set time = cast(x'ff41' as text) where n = 2")
        made.commit()
    read = Read("sqlite", database)
    assert read.column("n") == [0, 1, 3, 4]
    assert [(row.number, row.reason) for row in read.aside] == [(3, "holds text that is not UTF-8")]


def test_damaged_database_is_read_as_far_as_it_goes(path: Path) -> None:
    with closing(sqlite3.connect(path)) as made:
        made.execute("pragma page_size = 512")
        made.execute("create table orders (time text, text text)")
        made.executemany("insert into orders values (?, ?)", [("2026-11-05T12:34:56Z", "x" * 200)] * 100_000)
        made.commit()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 512 * 512
    data[middle : middle + 512 * 64] = b"\xff" * 512 * 64
    path.write_bytes(data)
    read = Read("sqlite", path)
    assert 0 < len(read.raw_ns) < 100_000
    assert read.problems


def test_sqlite_reads_past_a_table_whose_damaged_name_is_no_text(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            f"create table events (ts integer); insert into events values ({BEGIN_NS});"
            "create table lost (ts integer); pragma writable_schema = on;"
            "update sqlite_schema set name = cast(name as blob) where name = 'lost';"
        )
    assert Read("sqlite", path).raw_ns == [BEGIN_NS]
