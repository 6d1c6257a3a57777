"""
SQLite databases: a table, a view or a SELECT, read-only, in the order of the rows.

SQLite has types by value, not by column: a column of mixed ones comes as text.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.errors import WrongTable
from coeval.timeline.readers._input import Head, is_plain, is_url, open_input
from coeval.timeline.readers._parquet import refuse_empty, refuse_repeated
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._set_aside import SetAsideRow
from coeval.timeline.readers._stamp_columns import SAMPLE_ROWS, Sample, StampColumns, may_have_stamps, stamp_columns
from coeval.timeline.readers._table_events import Rows, TableEvents

_MAGIC = b"SQLite format 3\0"
_ROWS_IN_BATCH = 1 << 15
_SELECT = re.compile(r"\s*(select|with|values)\b", re.IGNORECASE)


class SqliteReader:
    """Tables of SQLite databases."""

    name = "sqlite"

    def match(self, head: Head) -> float:
        return 1.0 if head.data.startswith(_MAGIC) else 0.0

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        with closing(_open(path, source)) as database:
            _looked_at(database, source, settings)
        return [Part(source, path, self.name, settings)]

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        with closing(_open(part.path, part.source)) as database:
            query, stamps, types = _looked_at(database, part.source, part.settings)
            events = TableEvents(stamps, part, tally, wanted)
            for columns, lines in _rows(database, query, types, part, tally):
                yield from events.of(Rows(columns, lines))

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        return Messages.of(()), ()


class _OddText(str):
    """A text that is not UTF-8, as far as it can be read."""


def _rows(
    database: sqlite3.Connection, query: str, types: dict[str, pa.DataType], part: Part, tally: Tally
) -> Iterator[tuple[pa.RecordBatch, Any]]:
    """Batches of rows with their numbers; what is not UTF-8 goes aside."""
    cursor = database.execute(query)
    names = [column[0] for column in cursor.description]
    is_careful = False
    while True:
        first = tally.lines
        try:
            found = cursor.fetchmany(_ROWS_IN_BATCH)
        except sqlite3.OperationalError as error:
            if is_careful or "decode" not in str(error):
                tally.problems.append(_damage(part.source, error))
                return
            # From here on every text is looked at; a query has no place to go on from.
            is_careful = True
            database.text_factory = _decoded
            cursor = database.execute(query)
            for _ in range(0, first, _ROWS_IN_BATCH):
                cursor.fetchmany(min(_ROWS_IN_BATCH, first))
            continue
        except sqlite3.DatabaseError as error:
            tally.problems.append(_damage(part.source, error))
            return
        if not found:
            return
        tally.lines += len(found)
        lines = np.arange(first, tally.lines)
        if is_careful:
            odd = np.array([any(type(value) is _OddText for value in row) for row in found])
            for at in np.flatnonzero(odd).tolist():
                tally.read += 1
                pairs = zip(names, found[at], strict=True)
                values = {name: None if value is None else str(value) for name, value in pairs}
                reason = "holds text that is not UTF-8"
                tally.aside.add(SetAsideRow(part.source, "row", int(lines[at]) + 1, reason, values))
            found = [found[at] for at in np.flatnonzero(~odd).tolist()]
            lines = lines[~odd]
        yield _columns(names, found, types), lines


def _columns(names: Sequence[str], rows: list[tuple[Any, ...]], types: dict[str, pa.DataType]) -> pa.RecordBatch:
    values = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.RecordBatch.from_arrays(
        [_column(name, list(column), types) for name, column in zip(names, values, strict=True)], names=list(names)
    )


def _column(name: str, values: list[Any], types: dict[str, pa.DataType]) -> pa.Array:
    """One column, of the type that it had before where it can be."""
    for kind in (types.get(name), None):
        try:
            made = pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            continue
        if pa.types.is_null(made.type):
            return pa.nulls(len(values), types.get(name, pa.null()))
        types[name] = made.type
        return made
    if all(value is None or isinstance(value, (int, float)) for value in values) and _fit_doubles(values):
        types[name] = pa.float64()
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    types[name] = pa.string()
    return pa.array([_text(value) for value in values], pa.string())


def _fit_doubles(values: list[Any]) -> bool:
    return all(value is None or abs(value) < 2**53 for value in values)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return None if value is None else str(value)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _OddText(data.decode(errors="backslashreplace"))


def _looked_at(
    database: sqlite3.Connection, source: str, settings: SourceSettings
) -> tuple[str, StampColumns, dict[str, pa.DataType]]:
    """What to ask, where the stamps are, and the types of the first rows."""
    try:
        query = _query(database, source, settings)
        cursor = database.execute(query)
        names = [column[0] for column in cursor.description or ()]
        database.text_factory = _decoded
        rows = database.execute(query).fetchmany(SAMPLE_ROWS)
        database.text_factory = str
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise WrongTable(f"{source} cannot be asked {settings.query or 'for its tables'}: {error}.") from error
    refuse_repeated(names, source)
    types: dict[str, pa.DataType] = {}
    sample = _columns(names, rows, types)
    return query, stamp_columns(Sample(source, sample), settings), types


def _query(database: sqlite3.Connection, source: str, settings: SourceSettings) -> str:
    if _SELECT.match(settings.query):
        return settings.query
    # In a damaged file a name may be a blob.
    found = database.execute(
        "select name, type from sqlite_schema "
        "where type in ('table', 'view') and typeof(name) = 'text' and substr(name, 1, 7) <> 'sqlite_'"
    ).fetchall()
    kinds = dict(found)
    there = ", ".join(kinds) or "none"
    name = settings.query
    if name and name not in kinds:
        raise WrongTable(f"{source} has no table {name!r}; there is {there}. Give a table's name or a SELECT.")
    if not name:
        likely = [
            table
            for table in kinds
            if may_have_stamps([row[1] for row in database.execute(f"pragma table_info({_quoted(table)})")])
        ]
        if len(kinds) == 1:
            likely = list(kinds)
        if len(likely) != 1:
            raise WrongTable(
                f"{source} has {len(likely) or 'no'} tables with a column named as times are; its tables are {there}. "
                "Say which to read, by its name or with a SELECT, as query=."
            )
        name = likely[0]
    ordered = f"select * from {_quoted(name)} order by rowid"
    if kinds[name] == "table":
        try:
            database.execute(f"select rowid from {_quoted(name)} limit 0")
        except sqlite3.OperationalError:
            return f"select * from {_quoted(name)}"  # WITHOUT ROWID: in the order of its primary key
        return ordered
    return f"select * from {_quoted(name)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _damage(source: str, error: Exception) -> str:
    return f"{source} is damaged, and was read only as far as that: {error}."


def _open(path: str, source: str) -> sqlite3.Connection:
    refuse_empty(path, source)
    try:
        if is_plain(path) and not is_url(path):
            where = Path(path).absolute().as_uri()
            database = sqlite3.connect(f"{where}?mode=ro", uri=True)
        else:
            with closing(open_input(path)) as file:
                data = file.read()
            database = sqlite3.connect(":memory:")
            database.deserialize(data)
        database.execute("pragma query_only = on")
        database.execute("select count(*) from sqlite_schema").fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise WrongTable(f"{source} is no SQLite database, or is damaged: {error}.") from error
    return database
