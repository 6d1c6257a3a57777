"""
Where a merged timeline goes: a file that is there under its name once it is whole, or a stream.

The name tells the format: .parquet, .jsonl, .csv; anything else is text: the column `text` of each event as it was
written, a line each, or what else there is of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline.merge._spill import remove_partials

Format: TypeAlias = Literal["parquet", "jsonl", "csv", "text"]

# Rows in a group of a Parquet file, whatever stretches they came in: equal files however the work was cut.
GROUP_ROWS = 1 << 18

# Texts that repeat this often are worth a dictionary; others only cost the look for one.
_REPEATED = 4
_LOOK_ROWS = 20_000


def format_of(path: str) -> Format:
    """What a name asks for."""
    for name, endings in (("parquet", (".parquet", ".pq")), ("jsonl", (".jsonl", ".ndjson")), ("csv", (".csv",))):
        if path.endswith(endings):
            return name  # type: ignore[return-value]
    return "text"


class Target:
    """
    A file that appears under its name when it is whole. Until then it lies beside it, locked.

    Args:
        path: its name.
    """

    def __init__(self, path: Path) -> None:
        remove_partials(path)
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial-{os.getpid()}")

    def __enter__(self) -> IO[bytes]:
        self.file = open(self.partial, "wb")  # closed on exit
        with contextlib.suppress(OSError):
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self.file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
                self.partial.replace(self.path)
                _sync_folder(self.path.parent)
        finally:
            with contextlib.suppress(OSError):
                self.file.close()
            with contextlib.suppress(OSError):
                self.partial.unlink()


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class TableWriter:
    """
    Takes tables in timeline order.

    Attributes:
        rows: how many were written.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """The next rows."""
        raise NotImplementedError

    def finish(self) -> None:
        """There are no more."""


class ParquetTableWriter(TableWriter):
    """
    Groups of `GROUP_ROWS` rows. Times are written as differences, and only texts that repeat by dictionary: that takes
    a third of the time that the library's own choice takes, and gives smaller files.
    """

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        super().__init__(file)
        self._schema = schema
        self._writer: Any = None
        self._held: list[pa.Table] = []
        self._held_rows = 0

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        while table.num_rows:
            part = table.slice(0, GROUP_ROWS - self._held_rows)
            table = table.slice(part.num_rows)
            self._held.append(part)
            self._held_rows += part.num_rows
            if self._held_rows == GROUP_ROWS:
                self._write_group()

    def finish(self) -> None:
        if self._held_rows or self._writer is None:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        group = pa.concat_tables(self._held) if self._held else self._schema.empty_table()
        self._held, self._held_rows = [], 0
        if self._writer is None:
            self._writer = self._opened(group)
        if group.num_rows:
            self._writer.write_table(group, row_group_size=GROUP_ROWS)

    def _opened(self, group: pa.Table) -> Any:
        import pyarrow.parquet as pq

        deltas = {
            entry.name
            for entry in self._schema
            if pa.types.is_timestamp(entry.type) or (pa.types.is_integer(entry.type) and entry.type.bit_width >= 32)
        }
        return pq.ParquetWriter(
            self._file,
            self._schema,
            # Differences do not get smaller by it.
            compression={entry.name: "none" if entry.name in deltas else "zstd" for entry in self._schema},
            compression_level={entry.name: 1 for entry in self._schema if entry.name not in deltas},
            store_schema=False,
            use_dictionary=_repeating(group),
            column_encoding=dict.fromkeys(deltas, "DELTA_BINARY_PACKED"),
            write_statistics=True,
        )


def _repeating(table: pa.Table) -> list[str]:
    """Columns of texts that are the same again and again."""
    head = table.slice(0, _LOOK_ROWS)
    return [
        entry.name
        for entry in table.schema
        if pa.types.is_dictionary(entry.type)
        or (
            (pa.types.is_string(entry.type) or pa.types.is_binary(entry.type))
            and head.num_rows
            and pc.count_distinct(head.column(entry.name)).as_py() * _REPEATED <= head.num_rows
        )
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
        lines = self._database.execute("select to_json(shown)::varchar || chr(10) from shown").to_arrow_reader(1 << 16)
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
        from coeval.timeline.merge._columns import conformed

        self.rows += table.num_rows
        for batch in table.drop_columns(["time"]).to_batches():
            self._writer.write_batch(conformed(batch, self._schema))

    def finish(self) -> None:
        self._writer.close()


class TextTableWriter(TableWriter):
    """The text of each event, a line each."""

    def write(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        for chunk in table.column("text").chunks:
            _write_texts(self._file, pc.binary_join_element_wise(chunk, "", "\n"))


def _write_texts(file: IO[bytes], texts: pa.Array) -> None:
    """The bytes of texts, one after the other, as they lie in memory."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return
    width = "int64" if pa.types.is_large_string(texts.type) else "int32"
    import numpy as np

    ends = np.frombuffer(offsets, dtype=width)[[texts.offset, texts.offset + len(texts)]]
    file.write(memoryview(data)[int(ends[0]) : int(ends[1])])


def writer_for(kind: Format, file: IO[bytes], schema: pa.Schema) -> TableWriter:
    """What writes a format."""
    if kind == "parquet":
        return ParquetTableWriter(file, schema)
    if kind == "jsonl":
        return JsonTableWriter(file)
    if kind == "csv":
        return CsvTableWriter(file, schema)
    return TextTableWriter(file)


def columns_wanted(kind: Format) -> Sequence[str] | None:
    """Which columns of the payload a format shows; None: all."""
    return ["text"] if kind == "text" else None
