"""
Lines of JSON objects as columns.

    lines -> by the places of their quotes, where all lines of a block look alike: in no time (_json_alike.py)
          -> Arrow, where every line is an object of the types seen so far: nearly always, and then it is fast
          -> DuckDB, where something else stands in a block: nested values, mixed types, keys twice, no JSON at all

Either way a value is what was written: nested ones are JSON text, numbers beyond what a double holds are not rounded,
and a column whose types are mixed is text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline.readers._json_alike import Bytes, JsonAlike, shape_of
from coeval.timeline.readers._values import Int64Array, as_numpy

_DOUBLE_MAX = 2.0**53

# Blocks that were not alike, after which no more are tried.
_DISAPPOINTMENTS_MAX = 8
_LINES_ALIKE_MIN = 16

# Stamps with a fraction keep their digits; nineteen before the point are enough for nanoseconds.
_EXACT = pa.decimal128(38, 18)

_TYPES = {
    "BOOLEAN": pa.bool_(),
    "BIGINT": pa.int64(),
    "UBIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "NULL": pa.null(),
}

# Of values in lines that look alike; numbers with a point are left to Arrow.
_TYPES_OF_KINDS = {"text": pa.string(), "number": pa.int64(), "flag": pa.bool_()}


class Objects(NamedTuple):
    """
    Lines as rows.

    Attributes:
        columns: a column for each key.
        rows: which of the lines each row is.
        odd: lines that are no objects, and why.
    """

    columns: pa.RecordBatch
    rows: Int64Array
    odd: list[tuple[int, str]]


class JsonLines:
    """
    Turns lines into columns, and remembers the types it saw, so that a column keeps its type where it can.

    Args:
        types: of columns known before.
        exact: columns whose numbers keep every digit they are written with: as decimals, or as text.
        only: the columns that are asked for; None: all.
    """

    def __init__(
        self,
        types: Mapping[str, pa.DataType] = MappingProxyType({}),
        exact: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> None:
        self.types = {
            name: _EXACT if name in exact and pa.types.is_floating(kind) else kind
            for name, kind in types.items()
            if only is None or name in only
        }
        self._exact = exact
        self._only = only
        self._is_plain = not any(map(pa.types.is_nested, self.types.values()))
        self._database: Any = None
        self._reader: JsonAlike | None = None
        self._disappointments = 0

    def read(self, lines: pa.StringArray) -> Objects:
        """
        Read lines, none of them blank.

        Args:
            lines: UTF-8.
        """
        rows = np.arange(len(lines), dtype=np.int64)
        if not self._is_plain:
            return self._by_duckdb(lines, rows, [])
        table = self._alike(lines)
        if table is None:
            table = self._by_arrow(lines)
        if table is not None:
            return Objects(table, rows, [])
        # What a log has besides, or was cut off, seldom looks like an object.
        looks_so = as_numpy(pc.match_substring_regex(lines, r"^\s*\{(?s:.*)\}\s*$"))
        odd = [(int(row), _why_odd(lines[int(row)].as_py())) for row in np.flatnonzero(~looks_so)]
        if odd:
            lines, rows = lines.filter(pa.array(looks_so)), rows[looks_so]
            table = self._by_arrow(lines) if self._is_plain else None
        return self._by_duckdb(lines, rows, odd) if table is None else Objects(table, rows, odd)

    # Lines that look alike --------------------------------------------------------------------------------------------

    def _alike(self, lines: pa.StringArray) -> pa.RecordBatch | None:
        """None: they are not, or not yet known well enough."""
        if self._disappointments > _DISAPPOINTMENTS_MAX or len(lines) < _LINES_ALIKE_MIN:
            return None
        _, buffer, _ = lines.buffers()
        edges = np.frombuffer(buffer, dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1].astype(np.int64)
        edges -= edges[0]
        data = np.frombuffer(_bytes_of(lines), dtype=np.uint8)
        if self._reader is not None:
            batch = self._by_shape(self._reader, data, edges)
            if batch is not None:
                return self._unless_rounded(batch)
        shape = shape_of(data[: edges[1] - 1].tobytes())
        if shape is not None and (self._reader is None or shape != self._reader.shape):
            self._reader = JsonAlike(shape)
            batch = self._by_shape(self._reader, data, edges)
            if batch is not None:
                return self._unless_rounded(batch)
        self._disappointments += 1
        return None

    def _by_shape(self, reader: JsonAlike, data: Bytes, edges: Int64Array) -> pa.RecordBatch | None:
        known = {name: kind for name, kind in self.types.items() if not pa.types.is_null(kind)}
        # Arrow finds the same types, but it takes each text that looks like a time for one first, and then reads twice.
        new = {
            value.key: _TYPES_OF_KINDS[value.kind]
            for value in reader.shape.values
            if value.key not in known and (self._only is None or value.key in self._only)
        }
        batch = reader.read(data, edges, known | new, self._only)
        if batch is not None:
            self.types.update(new)
        return batch

    def _unless_rounded(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        for entry, column in zip(batch.schema, batch.columns, strict=True):
            if pa.types.is_floating(entry.type) and (entry.name in self._exact or _may_be_rounded(column)):
                return None
        return batch

    # Arrow: one type for each column, and no nesting ------------------------------------------------------------------

    def _by_arrow(self, lines: pa.StringArray) -> pa.RecordBatch | None:
        """None: these lines want the other way."""
        from pyarrow import json as arrow_json

        if not len(lines):
            return _without_columns(0)
        # Its parser ends the process where the first of all values is a null.
        if not lines[0].as_py().lstrip().startswith("{"):
            return None
        data = _bytes_of(lines)
        known = pa.schema([(name, kind) for name, kind in self.types.items() if not pa.types.is_null(kind)])
        # What nobody asks for is not even looked at, unless its type is not known yet.
        other = "infer" if self._only is None or not set(self._only) <= set(known.names) else "ignore"
        try:
            table = arrow_json.read_json(
                pa.BufferReader(data),
                arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
                arrow_json.ParseOptions(explicit_schema=known, unexpected_field_behavior=other),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != len(lines):
            return None
        if self._only is not None and other == "infer":
            table = table.select([name for name in table.schema.names if name in self._only])
        new = [entry for entry in table.schema if entry.name not in known.names]
        # A text that looks like a time stays as it is written.
        if any(pa.types.is_timestamp(entry.type) for entry in new):
            for entry in new:
                if pa.types.is_timestamp(entry.type):
                    self.types[entry.name] = pa.string()
            return self._by_arrow(lines)
        if any(pa.types.is_nested(entry.type) for entry in new):
            self._is_plain = False
            return None
        batch = table.combine_chunks().to_batches()[0]
        if self._unless_rounded(batch) is None:
            return None
        for entry in new:
            self.types[entry.name] = entry.type
        return batch

    # DuckDB: anything -------------------------------------------------------------------------------------------------

    def _by_duckdb(self, lines: pa.StringArray, rows: Int64Array, odd: list[tuple[int, str]]) -> Objects:
        """
        Args:
            rows: the number of each line.
            odd: lines that were set aside before.
        """
        found = self._no_objects(lines)
        if found:
            odd = [*odd, *((int(rows[row]), reason) for row, reason in found)]
            good = np.ones(len(lines), dtype=np.bool_)
            good[[row for row, _ in found]] = False
            rows, lines = rows[good], lines.filter(pa.array(good))
        if not len(lines):
            return Objects(_without_columns(0), rows, odd)
        asked = self._ask("select json_group_structure(line::json) from lines", lines)
        structure = json.loads(asked.column(0)[0].as_py())
        if not isinstance(structure, dict):  # that of objects without anything in them
            structure = {}
        names = [name for name in structure if self._only is None or name in self._only]
        columns: dict[str, pa.Array] = {}
        for name, text in zip(names, self._texts(names, lines), strict=True):
            kind = structure[name]
            wanted = _TYPES.get(kind, pa.string()) if isinstance(kind, str) else pa.string()
            columns[name] = self._typed(name, text, wanted)
        if not columns:
            return Objects(_without_columns(len(lines)), rows, odd)
        return Objects(pa.RecordBatch.from_pydict(columns), rows, odd)

    def _no_objects(self, lines: pa.StringArray) -> list[tuple[int, str]]:
        """Lines that are no JSON, no object, or say something twice."""
        if not len(lines) or self._are_all_objects(lines):
            return []
        is_valid = as_numpy(self._ask("select json_valid(line) from lines", lines).column(0))
        odd = [(int(row), "is no JSON") for row in np.flatnonzero(~is_valid)]
        rows = np.flatnonzero(is_valid)
        # In a query of its own, for DuckDB may ask for the type of what is not valid, and then all fail.
        valid = self._ask(
            "select json_type(line) = 'OBJECT', len(json_keys(line)) > len(list_distinct(json_keys(line))) from lines",
            lines.filter(pa.array(is_valid)) if odd else lines,
        )
        is_object, is_twice = as_numpy(valid.column(0)), as_numpy(valid.column(1))
        odd += [(int(row), "is no JSON object") for row in rows[~is_object]]
        odd += [(int(row), "has a key twice") for row in rows[is_object & is_twice]]
        return sorted(odd)

    def _are_all_objects(self, lines: pa.StringArray) -> bool:
        """The usual answer, in one query."""
        import duckdb

        if not pc.all(pc.match_substring_regex(lines, r"^\s*\{")).as_py():
            return False
        twice = "bool_or(len(json_keys(line)) > len(list_distinct(json_keys(line))))"
        try:
            return not self._ask(f"select {twice} from lines", lines).column(0)[0].as_py()
        except (duckdb.Error, UnicodeDecodeError):  # what it says of a line may end within a character
            return False

    def _texts(self, names: list[str], lines: pa.StringArray) -> Iterator[pa.Array]:
        if not names:
            return
        pointers = ["/" + name.replace("~", "~0").replace("/", "~1") for name in names]
        quoted = ", ".join("'" + pointer.replace("'", "''") + "'" for pointer in pointers)
        found = self._ask(f"select json_extract_string(line, [{quoted}]) from lines", lines).column(0).combine_chunks()
        values = found.flatten()
        places = np.arange(len(lines), dtype=np.int64) * len(names)
        for index in range(len(names)):
            yield values.take(pa.array(places + index))

    def _typed(self, name: str, text: pa.Array, wanted: pa.DataType) -> pa.Array:
        if wanted == pa.null():
            return pa.nulls(len(text), self.types.get(name, pa.null()))
        known = self.types.get(name, wanted)
        if pa.types.is_string(known) or (pa.types.is_floating(wanted) and name in self._exact):
            wanted = pa.string()
        elif known == pa.float64() and wanted == pa.int64():
            wanted = pa.float64()
        made = text
        if pa.types.is_floating(wanted):
            # Whole numbers of more digits than a double holds stay what they are.
            is_rounded = pc.any(pc.match_substring_regex(text, "^-?[0-9]{16,}$")).as_py()
            made = text if is_rounded else text.cast(wanted)
        elif wanted != pa.string():
            for kind in (wanted, pa.uint64()) if wanted == pa.int64() else (wanted,):
                try:
                    made = text.cast(kind)
                    break
                except pa.ArrowInvalid:
                    continue
        if name not in self._exact:
            self.types[name] = made.type
        return made

    def _ask(self, query: str, lines: pa.StringArray) -> pa.Table:
        if self._database is None:
            self._database = _database().cursor()
        self._database.register("lines", pa.table({"line": lines}))
        try:
            return self._database.sql(query).to_arrow_table()
        finally:
            self._database.unregister("lines")

    def close(self) -> None:
        """Let go of what it holds."""
        if self._database is not None:
            self._database.close()
            self._database = None


@cache
def _database() -> Any:
    """One for all readers of this process, each with a cursor of its own: to make one takes longer than to use it."""
    import duckdb

    database = duckdb.connect(":memory:")
    database.execute("set threads = 1")
    return database


def _why_odd(line: str) -> str:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return "is no JSON"
    return "is no JSON object"


def _without_columns(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"": pa.nulls(count)}).select([])


def _bytes_of(lines: pa.StringArray) -> pa.Buffer:
    """Their bytes, one after the other, line ends included."""
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return data.slice(int(ends[0]), int(ends[-1] - ends[0]))


def _may_be_rounded(column: pa.Array) -> bool:
    """Whether whole numbers among these may have had more digits than a double holds."""
    span = pc.min_max(column)
    least, greatest = span["min"].as_py(), span["max"].as_py()
    return least is not None and (abs(least) >= _DOUBLE_MAX or abs(greatest) >= _DOUBLE_MAX)
