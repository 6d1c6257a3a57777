"""Rows of an Arrow batch as Python values: datetime ends at microseconds, and pandas need not be there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def python_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """
    One dictionary for each row.

    A time in ns is text as in ISO 8601, so that no digit is lost; only the column `time`, whose digits stand in
    `estimate_ns` too, is a datetime, cut to microseconds; and so is that of the right table of a join.
    """
    import pyarrow as pa

    if not batch.num_columns:  # made of columns alone, a batch without any would have no rows
        return [{} for _ in range(batch.num_rows)]
    columns = [
        _readable(column, is_time=name in ("time", "time_right"))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    rows: list[dict[str, Any]] = pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()
    return rows


def _readable(column: pa.Array, *, is_time: bool) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    types, kind = pa.types, column.type
    if types.is_timestamp(kind) and kind.unit == "ns" and is_time:
        return pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", kind.tz))
    if (types.is_timestamp(kind) or types.is_time64(kind)) and kind.unit == "ns":
        return pc.replace_substring(column.cast(pa.string()), " ", "T", max_replacements=1)
    return column.cast(pa.int64()) if types.is_duration(kind) and kind.unit == "ns" else column
