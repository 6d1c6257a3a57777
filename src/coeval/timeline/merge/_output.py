"""
Where a merged timeline goes: a file that is there under its name once it is whole, or a stream.

    parquet, jsonl, csv    the table
    text                   a line for people for each event, with its corrected time
    log                    the lines as they were written, in their order in time
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, tzinfo
from typing import IO, Any, Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline._layout import OWN_COLUMNS
from coeval.timeline._python_rows import python_rows
from coeval.timeline._timeline import Timeline
from coeval.timeline.merge._columns import conformed, is_text, texts_repeat
from coeval.timeline.merge._parquet_parts import MAGIC, Footers, ParquetPart, parquet_part
from coeval.timeline.readers._text import WHOLE_TEXT
from coeval.timeline.writers._text import text_lines

Format: TypeAlias = Literal["parquet", "jsonl", "csv", "text", "log"]

FORMATS: tuple[Format, ...] = get_args(Format)

# Rows in a group of a Parquet file, whatever stretches they came in: equal files however the work was cut.
GROUP_ROWS = 1 << 18

# Groups that are encoded at once; each takes some tens of MB meanwhile.
_GROUPS_AT_ONCE = 2

_ENDINGS: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".txt": "text",
    ".log": "log",
}


def format_of(name: str) -> Format:
    """
    What a file's name asks for.

    Raises:
        ValueError: nothing that is known.
    """
    for ending, kind in _ENDINGS.items():
        if name.endswith(ending):
            return kind
    raise ValueError(f"{name} does not say what to write; expected a name that ends in {', '.join(_ENDINGS)}, or --to")


class TableWriter(ABC):
    """
    Takes tables in timeline order.

    Attributes:
        rows: how many were written.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.rows = 0

    @abstractmethod
    def write(self, table: pa.Table) -> None:
        """The next rows."""

    def finish(self) -> None:
        """There are no more."""
        return  # written already, unless a kind says otherwise


class ParquetTableWriter(TableWriter):
    """
    Groups of `GROUP_ROWS` rows. Times are written as differences, and only texts that repeat by dictionary: that takes
    a third of the time that the library's own choice takes, and gives smaller files. Groups are encoded in threads.
    """

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        super().__init__(file)
        self._schema = schema
        self._options: dict[str, Any] = {}
        self._held: list[pa.Table] = []
        self._held_rows = 0
        self._pool = ThreadPoolExecutor(_GROUPS_AT_ONCE, thread_name_prefix="coeval-encode")
        self._encoding: deque[Future[ParquetPart]] = deque()
        self._footers = Footers()

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        while table.num_rows:
            part = table.slice(0, GROUP_ROWS - self._held_rows)
            table = table.slice(part.num_rows)
            self._held.append(part)
            self._held_rows += part.num_rows
            if self._held_rows == GROUP_ROWS:
                self._encode_group()

    def finish(self) -> None:
        if self._held_rows or not self._options:
            self._encode_group()
        while self._encoding:
            self._write_group()
        self._pool.shutdown()
        self._file.write(self._footers.whole())

    def _encode_group(self) -> None:
        group = pa.concat_tables(self._held) if self._held else self._schema.empty_table()
        self._held, self._held_rows = [], 0
        if not self._options:
            self._options = self._chosen_options(group)
            self._file.write(MAGIC)
        while len(self._encoding) >= _GROUPS_AT_ONCE:
            self._write_group()
        self._encoding.append(self._pool.submit(_encoded, group, self._schema, self._options))

    def _write_group(self) -> None:
        part = self._encoding.popleft().result()
        self._footers.add(part)
        self._file.write(part.pages)

    def _chosen_options(self, group: pa.Table) -> dict[str, Any]:
        deltas = {
            entry.name
            for entry in self._schema
            if pa.types.is_timestamp(entry.type) or (pa.types.is_integer(entry.type) and entry.type.bit_width >= 32)
        }
        return {
            # Differences do not get smaller by it.
            "compression": {entry.name: "none" if entry.name in deltas else "zstd" for entry in self._schema},
            "compression_level": {entry.name: 1 for entry in self._schema if entry.name not in deltas},
            "store_schema": False,
            "use_dictionary": _repeating(group),
            "column_encoding": dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
            # Of texts nearly every group has the least and the greatest, so no reader skips one by them.
            "write_statistics": [entry.name for entry in self._schema if not is_text(entry.type)],
        }


def _encoded(group: pa.Table, schema: pa.Schema, options: dict[str, Any]) -> ParquetPart:
    import pyarrow.parquet as pq

    made = pa.BufferOutputStream()
    # Of texts with codes, but only where all chunks have the same, the codes are written as they are.
    group = group.unify_dictionaries()
    with pq.ParquetWriter(made, schema, **options) as writer:
        # The schema itself is left out, so that texts are texts to whoever reads them, however they came.
        writer.add_key_value_metadata(schema.metadata)
        if group.num_rows:
            writer.write_table(group, row_group_size=GROUP_ROWS)
    return parquet_part(memoryview(made.getvalue()))


def _repeating(table: pa.Table) -> list[str]:
    """Columns of texts that are the same again and again."""
    return [
        entry.name
        for entry in table.schema
        if pa.types.is_dictionary(entry.type) or (is_text(entry.type) and texts_repeat(table.column(entry.name)))
    ]


class JsonTableWriter(TableWriter):
    """A line of JSON for each event; integers in ns, null for what is unknown."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        import duckdb

        self._database = duckdb.connect(config={"threads": 1})

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        shown = table.drop_columns(["time"])
        self._database.register("shown", shown)
        relation: Any = self._database.sql("select to_json(shown)::varchar || chr(10) from shown")
        # The name changed; the older one warns in later versions.
        lines = (getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader)(1 << 16)
        for batch in lines:
            _write_texts(self._file, batch.column(0))
        self._database.unregister("shown")

    def finish(self) -> None:
        self._database.close()


class CsvTableWriter(TableWriter):
    """Commas, a header, and nothing where nothing is known."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        super().__init__(file)
        import pyarrow.csv as arrow_csv

        flat = [entry for entry in schema if entry.name != "time"]
        fields = [
            entry.with_type(pa.string())
            if pa.types.is_nested(entry.type) or pa.types.is_dictionary(entry.type)
            else entry
            for entry in flat
        ]
        self._schema = pa.schema(fields)
        self._writer = arrow_csv.CSVWriter(file, self._schema)

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        for batch in table.drop_columns(["time"]).to_batches():
            self._writer.write_batch(conformed(batch, self._schema))

    def finish(self) -> None:
        self._writer.close()


class LogTableWriter(TableWriter):
    """The text of each event as it was written, a line each; of an event without one, the rest of it as JSON."""

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        for batch in table.to_batches():
            if WHOLE_TEXT in table.schema.names:
                _write_texts(self._file, batch.column(WHOLE_TEXT))
                continue
            texts = batch.column("text") if "text" in table.schema.names else pa.nulls(len(batch), pa.string())
            if texts.null_count:
                texts = pc.coalesce(texts, _as_json(batch))
            _write_texts(self._file, pc.binary_join_element_wise(texts, "", "\n"))


def _as_json(batch: pa.RecordBatch) -> pa.Array:
    names = [name for name in batch.schema.names if name not in OWN_COLUMNS]
    return pa.array([json.dumps(row, default=str, ensure_ascii=False) for row in python_rows(batch.select(names))])


class PeopleTableWriter(TableWriter):
    """
    A line for people for each event.

    Args:
        zone: of the times shown.
    """

    def __init__(self, file: IO[bytes], zone: tzinfo) -> None:
        super().__init__(file)
        self._zone = zone

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        lines = (line for event in Timeline(table).rows() for line in text_lines(event, self._zone))
        self._file.write("".join(f"{line}\n" for line in lines).encode(errors="backslashreplace"))


def _write_texts(file: IO[bytes], texts: pa.Array) -> None:
    """The bytes of texts, one after the other, as they lie in memory."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return
    width = "int64" if pa.types.is_large_string(texts.type) else "int32"
    ends = np.frombuffer(offsets, dtype=width)[[texts.offset, texts.offset + len(texts)]]
    file.write(memoryview(data)[int(ends[0]) : int(ends[1])])


def writer_for(kind: Format, file: IO[bytes], schema: pa.Schema, zone: tzinfo = UTC) -> TableWriter:
    """What writes a format."""
    match kind:
        case "parquet":
            return ParquetTableWriter(file, schema)
        case "jsonl":
            return JsonTableWriter(file)
        case "csv":
            return CsvTableWriter(file, schema)
        case "text":
            return PeopleTableWriter(file, zone)
        case "log":
            return LogTableWriter(file)


class TableKeeper(TableWriter):
    """Keeps everything in memory."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        super().__init__(file)
        self._schema = schema
        self._tables: list[pa.Table] = []

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        self._tables.append(table)

    @property
    def table(self) -> pa.Table:
        """All rows."""
        return pa.concat_tables(self._tables) if self._tables else self._schema.empty_table()
