"""
Placed stamps as a file: CSV, Parquet or lines of JSON, by the name's ending.

Columns that were there come as they were. In Parquet and JSON the reading of a text file is a number, and all else of
it text.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline.readers._values import integers

StampsFormat = Literal["csv", "csv.gz", "parquet", "jsonl"]
STAMPS_FORMATS: tuple[StampsFormat, ...] = ("csv", "csv.gz", "parquet", "jsonl")


def write_stamps(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    kind: StampsFormat,
    file: IO[bytes],
    *,
    is_text: bool,
    metadata: dict[str, str],
) -> None:
    """
    Write batches of placed stamps.

    Args:
        is_text: all columns but the instants are text, from a text file.
        metadata: what times count on, for formats that have a place for it.
    """
    if kind == "csv.gz":
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
            _write_csv(batches, schema, packed.write)
    elif kind == "csv":
        _write_csv(batches, schema, file.write)
    else:
        if is_text:
            index = schema.get_field_index("reading_ns")
            schema = schema.set(index, pa.field("reading_ns", pa.int64()))
            batches = _with_numbers(batches, index, schema)
        if kind == "jsonl":
            for batch in batches:
                file.writelines(_json_line(row) for row in batch.to_pylist())
        else:
            _write_parquet(batches, schema.with_metadata({**(schema.metadata or {}), **metadata}), file)


def _write_csv(batches: Iterable[pa.RecordBatch], schema: pa.Schema, write: Callable[[bytes], Any]) -> None:
    from pyarrow import csv

    write(",".join(map(_csv_name, schema.names)).encode() + b"\n")
    for batch in batches:
        batch = _plain_columns(batch)
        for quoting in ("none", "needed"):  # "needed" quotes every text as soon as one of a column needs it
            sheet = io.BytesIO()
            try:
                csv.write_csv(batch, sheet, csv.WriteOptions(include_header=False, quoting_style=quoting))
            except pa.ArrowInvalid:
                continue
            write(sheet.getvalue())
            break


def _plain_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """What CSV has no form for, such as lists, as JSON text."""
    columns = []
    for column in batch.columns:
        if pa.types.is_nested(column.type):
            column = pa.array(
                [None if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
            )
        elif pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            column = pc.cast(column, pa.string())
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _write_parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema, file: IO[bytes]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _with_numbers(batches: Iterable[pa.RecordBatch], index: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        values, faults = integers(batch.column(index))
        import numpy as np

        missing = np.zeros(batch.num_rows, dtype=np.bool_)
        for fault in faults:
            missing[fault.rows] = True
        columns = list(batch.columns)
        columns[index] = pa.array(values, pa.int64(), mask=missing)
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _json_line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":"), default=str).encode() + b"\n"


def _csv_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if any(sign in name for sign in ',"\r\n') else name
