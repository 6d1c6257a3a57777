"""
A timeline as a table of a SQLite database: all of it or nothing, in timeline order, so that `rowid` is the order.

Times of the `time` column are text, `2026-11-05T12:34:56.123456789Z`, which sorts as it should; bounds are integers.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coeval.timeline._target import Target

# Whoever shows a run imports this package, and is not to wait for Arrow.
if TYPE_CHECKING:
    import pyarrow as pa

# Checks of `pyarrow.types`; the first that holds.
_TYPES = {
    "is_boolean": "INTEGER",
    "is_uint64": "TEXT",
    "is_integer": "INTEGER",
    "is_floating": "REAL",
    "is_binary": "BLOB",
    "is_large_binary": "BLOB",
}


def write_sqlite(
    rows: pa.Table | pa.RecordBatchReader | Iterable[pa.RecordBatch],
    path: str | os.PathLike[str],
    table: str,
    *,
    replace: bool = False,
) -> int:
    """
    Write rows into a new table of a database, which is made if there is none.

    Either all rows are there afterwards or the database is as it was, also where the process is killed.

    Args:
        rows: in the order that the table is to have.
        table: its name.
        replace: a table of this name goes, with the rows it has.

    Returns:
        How many rows were written.

    Raises:
        FileExistsError: there is such a table, and nobody said `replace`.
        ValueError: two columns have names that SQLite takes for the same.
        sqlite3.Error: the database cannot be written.
    """
    import pyarrow as pa

    batches = iter(rows.to_batches() if isinstance(rows, pa.Table) else rows)
    first = next(batches, None)
    if first is None:
        if not isinstance(rows, (pa.Table, pa.RecordBatchReader)):
            raise ValueError("there is no batch, so that the columns are not known: give at least an empty one")
        first = pa.RecordBatch.from_pylist([], rows.schema)
    written = itertools.chain([first], batches)
    place = Path(path)
    if place.exists():
        return _written(written, first.schema, place, table, replace)
    target = Target(place)
    with target:
        return _written(written, first.schema, target.partial, table, replace)


def _written(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, table: str, replace: bool) -> int:
    statement = _create(table, schema)
    count = 0
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("begin immediate")
        try:
            there = database.execute(
                "select type from sqlite_schema where name = ? collate nocase", (table,)
            ).fetchone()
            if there is not None and not (replace and there[0] == "table"):
                raise FileExistsError(
                    f"{path} has a {there[0]} {table} already: give another name"
                    + (", or say that it is to be replaced." if there[0] == "table" else ".")
                )
            if there is not None:
                database.execute(f"drop table {_quoted(table)}")
            database.execute(statement)
            for batch in batches:
                count += _inserted(database, table, batch)
            database.execute("commit")
        except BaseException:
            if database.in_transaction:  # a full disk has ended it already
                database.execute("rollback")
            raise
    return count


def _create(table: str, schema: pa.Schema) -> str:
    seen: dict[str, str] = {}
    for name in schema.names:
        other = seen.setdefault(name.lower(), name)
        if other is not name:
            raise ValueError(f"columns {other} and {name} have one name for SQLite, which sees no case: rename one")
    columns = ", ".join(f"{_quoted(entry.name)} {_type_of(entry.type)}" for entry in schema)
    return f"create table {_quoted(table)} ({columns})"


def _type_of(kind: pa.DataType) -> str:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return next((name for check, name in _TYPES.items() if getattr(types, check)(kind)), "TEXT")


def _inserted(database: sqlite3.Connection, table: str, batch: pa.RecordBatch) -> int:
    places = ", ".join("?" * batch.num_columns)
    columns = [_values(column) for column in batch.columns]
    database.executemany(f"insert into {_quoted(table)} values ({places})", zip(*columns, strict=True))
    return int(batch.num_rows)


def _values(column: pa.Array) -> list[Any]:
    """What SQLite can hold: everything that is no number and no bytes as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_timestamp(kind):
        # Seconds with as many digits as the unit has.
        return pc.strftime(column, "%Y-%m-%dT%H:%M:%S" + ("Z" if kind.tz else "")).to_pylist()  # type: ignore[no-any-return]
    values: list[Any] = column.to_pylist()
    if _type_of(kind) != "TEXT" or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return values
    if pa.types.is_nested(kind):
        return [None if value is None else json.dumps(value, default=str) for value in values]
    return [None if value is None else str(value) for value in values]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
