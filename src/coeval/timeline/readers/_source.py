"""
Where tables come from: CSV and Parquet files, compressed or not, and anything in memory that can be Arrow.

What a file is, its first bytes say: names lie. Whatever it is, it comes as Arrow batches whose rows have numbers.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, TypeAlias

import pyarrow as pa

from coeval.errors import WrongTable
from coeval.timeline.readers._input import DAMAGED, open_input
from coeval.timeline.readers._numbering import Numbering
from coeval.timeline.readers._set_aside import SetAside, SetAsideRow

Tabular: TypeAlias = Any
"""
A path of a CSV or Parquet file, an object with the Arrow PyCapsule interface (`__arrow_c_stream__`: pyarrow, pandas,
Polars, DuckDB, …), or a mapping of column names to sequences or arrays.
"""

# What is parsed at once. Larger takes more memory and is not faster.
_BLOCK_BYTES = 8 << 20
_PIECE_BYTES = 1 << 18
_HEADER_BYTES_MAX = 1 << 20
_ROWS_IN_BATCH = 1 << 18
_SEPARATORS = ",;\t|"

_PARQUET = b"PAR1"


class Source(ABC):
    """
    A table whose rows come in batches.

    Attributes:
        name: the file's, or what the table is for.
        unit: what numbers count: "line" or "row", from 1.
        numbering: of the rows that came so far.
        columns: the names of all columns.
        problems: what kept it from being read to its end, one sentence each.
    """

    def __init__(self, name: str, unit: str, first: int, columns: Sequence[str]) -> None:
        self.name = name
        self.unit = unit
        self.numbering = Numbering(first)
        self.columns = tuple(columns)
        self.problems: list[str] = []
        repeated = [column for column in dict.fromkeys(self.columns) if self.columns.count(column) > 1]
        if repeated:
            raise WrongTable(f"{name} has several columns named {repeated[0]}: give each a name of its own.")

    @abstractmethod
    def batches(self, wanted: Sequence[str], aside: SetAside) -> Iterator[pa.RecordBatch]:
        """The rows, with these columns; rows that are no rows go aside."""


def open_source(table: Tabular, name: str) -> Source:
    """
    See what a table is.

    Args:
        table: see `Tabular`.
        name: what it is for, where it is no file.

    Raises:
        WrongTable: it is empty, or is no table.
        OSError: the file cannot be read.
    """
    if isinstance(table, (str, os.PathLike)):
        return _open_file(Path(table))
    if hasattr(table, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(table)
        return _ArrowSource(name, reader.schema, lambda columns: _only(reader, columns))
    if isinstance(table, Mapping):
        made = _table_of(table, name)
        return _ArrowSource(name, made.schema, lambda columns: iter(made.select(columns).to_batches(_ROWS_IN_BATCH)))
    raise TypeError(
        f"{name} is {type(table).__name__}; expected a path, a table with the Arrow interface (pandas 2.2, Polars, "
        "pyarrow, DuckDB, …), or a mapping of columns"
    )


class _ArrowSource(Source):
    """Typed columns."""

    def __init__(self, name: str, schema: pa.Schema, read: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]) -> None:
        super().__init__(name, "row", 1, schema.names)
        self.schema = schema
        self._read = read

    def batches(self, wanted: Sequence[str], aside: SetAside) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._read(wanted)
        except (pa.ArrowInvalid, OSError) as error:
            self.problems.append(f"{self.name} is damaged, and was read only as far as that: {error}")


class _CsvSource(Source):
    """Text: every column is bytes, so that a bad value is seen where it stands."""

    def __init__(self, name: str, open_bytes: Callable[[], IO[bytes]]) -> None:
        with closing(open_bytes()) as file:
            header = _header(file, name)
        self._separator, columns = split_header(header)
        self._open_bytes = open_bytes
        super().__init__(name, "line", 2, columns)

    def batches(self, wanted: Sequence[str], aside: SetAside) -> Iterator[pa.RecordBatch]:
        from pyarrow import csv as arrow_csv

        def unfit(row: Any) -> str:
            # Seen only in this process's own thread, in order: use_threads is off, or rows had no numbers.
            self.numbering.leave_out(row.number)
            reason = f"has {row.actual_columns} fields, and the header has {row.expected_columns}"
            aside.add(SetAsideRow(self.name, self.unit, row.number, reason, {"text": row.text}))
            return "skip"

        with closing(_WholeLines(self._open_bytes(), self._say_damaged)) as file:
            try:
                reader = arrow_csv.open_csv(
                    pa.PythonFile(file, "r"),
                    arrow_csv.ReadOptions(
                        use_threads=False, block_size=_BLOCK_BYTES, column_names=list(self.columns), skip_rows=1
                    ),
                    arrow_csv.ParseOptions(
                        delimiter=self._separator, ignore_empty_lines=False, invalid_row_handler=unfit
                    ),
                    arrow_csv.ConvertOptions(
                        column_types=dict.fromkeys(self.columns, pa.binary()),
                        include_columns=list(wanted),
                        null_values=[""],
                        strings_can_be_null=True,
                    ),
                )
                yield from reader
            except pa.ArrowInvalid as error:
                self._say_damaged(error)

    def _say_damaged(self, error: Exception) -> None:
        self.problems.append(f"{self.name} is damaged, and was read only as far as that: {error}")


class _WholeLines(io.RawIOBase):
    """
    A file up to its end, or up to the last whole line before it is damaged: half a number is a wrong number.
    """

    def __init__(self, file: IO[bytes], say_damaged: Callable[[Exception], None]) -> None:
        self._file = file
        self._say_damaged = say_damaged
        self._tail = b""
        self._is_at_end = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = size if size >= 0 else sys.maxsize
        pieces = [self._tail]
        length = len(self._tail)
        is_damaged = False
        while not self._is_at_end and length < size:
            try:
                piece = self._file.read(min(size - length, _PIECE_BYTES))
            except DAMAGED as error:
                self._say_damaged(error)
                self._is_at_end = is_damaged = True
                break
            self._is_at_end = not piece
            pieces.append(piece)
            length += len(piece)
        data = b"".join(pieces)
        end = data.rfind(b"\n") + 1
        if is_damaged:
            self._tail = b""
            return data[:end]
        if self._is_at_end or not end:  # not end: a line that is longer than what is asked for
            end = min(len(data), size)
        self._tail = data[end:]
        return data[:end]

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_file(path: Path) -> Source:
    if path.is_dir():
        raise WrongTable(f"{path} is a folder; expected a CSV or Parquet file.")
    name = path.name
    with open(path, "rb") as plain:
        start = plain.read(8)
    if not start:
        raise WrongTable(f"{path} is empty; expected a CSV file that begins with a line of column names, or Parquet.")

    def open_bytes() -> IO[bytes]:
        return open_input(str(path))

    try:
        with closing(open_bytes()) as file:
            is_parquet = file.read(4) == _PARQUET
        if not is_parquet:
            return _CsvSource(name, open_bytes)
        return _open_parquet(name, path if start.startswith(_PARQUET) else pa.py_buffer(_all_of(open_bytes)))
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise WrongTable(f"{path} is damaged: {error}") from error


def _open_parquet(name: str, where: Path | pa.Buffer) -> Source:
    import pyarrow.parquet as pq

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(where if isinstance(where, Path) else pa.BufferReader(where)) as file:
            yield from file.iter_batches(_ROWS_IN_BATCH, columns=list(columns))

    with pq.ParquetFile(where if isinstance(where, Path) else pa.BufferReader(where)) as file:
        return _ArrowSource(name, file.schema_arrow, read)


def _all_of(open_bytes: Callable[[], IO[bytes]]) -> bytes:
    with closing(open_bytes()) as file:
        return file.read()


def _header(file: IO[bytes], name: str) -> str:
    head = b""
    while b"\n" not in head and len(head) < _HEADER_BYTES_MAX and (more := file.read(1 << 16)):
        head += more
    line = head.partition(b"\n")[0].removeprefix(b"\xef\xbb\xbf")
    try:
        text = line.decode().strip("\r\n")
    except UnicodeDecodeError:
        text = ""
    if not text.strip() or "\0" in text:
        raise WrongTable(f"{name} does not begin with a line of column names; expected a CSV or a Parquet file.")
    return text


def split_header(header: str) -> tuple[str, list[str]]:
    """The separator, which is the one that splits the header most, and the columns' names."""
    separator = max(_SEPARATORS, key=header.count)
    try:
        return separator, [column.strip() for column in next(csv.reader([header], delimiter=separator))]
    except csv.Error as error:
        raise WrongTable(f"the line of column names is no record: {error}: {header[:80]!r}.") from error


def _only(reader: pa.RecordBatchReader, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        yield batch.select(list(columns))


def _table_of(columns: Mapping[str, Any], name: str) -> pa.Table:
    arrays: dict[str, Any] = {}
    for key, values in columns.items():
        try:
            # Lists have no type to go by: as int64 a float among integers is refused, not rounded.
            arrays[str(key)] = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise WrongTable(f"column {key} of {name} cannot be an Arrow array: {error}") from error
    lengths = {key: len(array) for key, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise WrongTable(f"the columns of {name} have different lengths: {lengths}.")
    return pa.table(arrays)
