"""Parts of a Parquet file that were encoded apart make the file that is written in one go."""

from __future__ import annotations

import io
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline.merge import _output
from coeval.timeline.merge._output import ParquetTableWriter
from coeval.timeline.merge._parquet_parts import MAGIC, Footers, Value, _Reader, _written, parquet_part

SCHEMA = pa.schema(
    [
        ("time", pa.timestamp("ns", "UTC")),
        ("n", pa.int64()),
        ("text", pa.string()),
        ("x", pa.float64()),
        ("ok", pa.bool_()),
        ("codes", pa.dictionary(pa.int32(), pa.string())),
        ("some", pa.list_(pa.struct([("a", pa.int32()), ("b", pa.binary())]))),
    ],
    metadata={"what": "a table of all sorts"},
)


def table_of(count: int, seed: int = 1) -> pa.Table:
    draw = random.Random(seed)
    rows = [
        {
            "time": draw.randrange(2**60),
            "n": draw.choice([None, draw.randrange(-(2**62), 2**62)]),
            "text": draw.choice([None, "a", "é" * draw.randrange(30)]),
            "x": draw.random(),
            "ok": draw.choice([None, True, False]),
            "codes": draw.choice(["red", "green"]),
            "some": [{"a": draw.randrange(9), "b": b"b"}] * draw.randrange(3),
        }
        for _ in range(count)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def in_one_go(table: pa.Table, rows: int, **options: Any) -> bytes:
    made = io.BytesIO()
    with pq.ParquetWriter(made, table.schema, **options) as writer:
        if table.num_rows:
            writer.write_table(table, row_group_size=rows)
    return made.getvalue()


def in_parts(table: pa.Table, rows: int, **options: Any) -> bytes:
    footers, made = Footers(), [MAGIC]
    for at in range(0, max(table.num_rows, 1), rows):
        part = parquet_part(memoryview(in_one_go(table.slice(at, rows), rows, **options)))
        footers.add(part)
        made.append(bytes(part.pages))
    return b"".join([*made, footers.whole()])


@pytest.mark.parametrize("count", [0, 1, 10, 95, 300])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False, "compression": "zstd"},
        {"store_schema": False, "data_page_version": "2.0", "write_statistics": False},
        {"column_encoding": {"time": "DELTA_BINARY_PACKED"}, "use_dictionary": ["text"]},
        {"sorting_columns": [pq.SortingColumn(0)], "write_page_checksum": True},
    ],
)
def test_the_file_is_that_of_one_writer(count: int, options: dict[str, Any]) -> None:
    table = table_of(count)
    assert in_parts(table, 10, **options) == in_one_go(table, 10, **options)


def test_what_is_written_is_read_by_others() -> None:
    import duckdb

    table = table_of(500).drop_columns(["some"])
    made = io.BytesIO()
    writer = ParquetTableWriter(made, table.schema)
    rows, _output.GROUP_ROWS = _output.GROUP_ROWS, 64
    try:
        for start in range(0, 500, 33):
            writer.write(table.slice(start, 33))
        writer.finish()
    finally:
        _output.GROUP_ROWS = rows
    found = pq.ParquetFile(io.BytesIO(made.getvalue()))
    assert [found.metadata.row_group(number).num_rows for number in range(found.num_row_groups)] == [64] * 7 + [52]
    assert found.schema_arrow.metadata == SCHEMA.metadata
    plain = table.set_column(5, "codes", table.column("codes").cast(pa.string()))
    assert found.read().equals(plain)
    assert duckdb.from_parquet(io.BytesIO(made.getvalue())).fetchall() == duckdb.from_arrow(plain).fetchall()


def test_an_error_while_a_group_is_encoded_is_raised() -> None:
    writer = ParquetTableWriter(io.BytesIO(), SCHEMA)
    writer.write(pa.table({"other": [1, 2, 3]}))
    with pytest.raises(ValueError, match="schema"):
        writer.finish()


integers = st.integers(-(2**63), 2**63 - 1)
values = st.recursive(
    st.builds(Value, st.just(6), integers)
    | st.builds(Value, st.just(8), st.binary(max_size=200))
    | st.builds(Value, st.sampled_from([1, 2]), st.none()),
    lambda inner: st.builds(
        lambda fields: Value(12, dict(fields)),
        st.lists(st.tuples(st.integers(1, 2**15 - 1), inner), max_size=8),
    ),
)


@given(st.dictionaries(st.integers(1, 2**15 - 1), values, max_size=20), st.lists(integers, max_size=40))
def test_a_struct_is_read_as_it_was_written(fields: dict[int, Value], numbers: list[int]) -> None:
    fields[3] = Value(9, (6, numbers))
    assert _Reader(b"".join(_written(Value(12, fields)))).struct() == fields
