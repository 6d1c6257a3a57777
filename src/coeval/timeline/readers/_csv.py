"""
CSV and its kin: separated by commas, semicolons, tabs or bars, with a line of column names.

    block of lines -> Arrow, in columns of the types that the beginning of the file has: nearly always
                   -> the standard library's parser, record by record, where a block has a quoted line end, a lone CR,
                      or a quote that does not end

A row with too few or too many fields is set aside; a value that does not fit its column's type makes that column text.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.errors import WrongTable
from coeval.timeline.readers._blocks import Block, blocks, byte_parts, shown
from coeval.timeline.readers._input import Head, head_of, is_plain, is_url, open_input, size_of
from coeval.timeline.readers._lines import BLOCK_BYTES
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._set_aside import SetAsideRow
from coeval.timeline.readers._source import split_header
from coeval.timeline.readers._stamp_columns import Sample, StampColumns, may_have_stamps, stamp_columns
from coeval.timeline.readers._table_events import Rows, TableEvents
from coeval.timeline.readers._values import Int64Array

_HEAD_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 18
_RECORDS_LOOKED_AT = 20
# A quoted value is looked for so far; a quote that is still open then was none.
_QUOTED_LINES_MAX = 1000

_COLUMN_NAME = re.compile(r"[A-Za-z_@#$][\w .:@#$%/()\[\]-]*")
_EXACT = pa.decimal128(38, 18)


class CsvReader:
    """Separated values, with column names in the first line."""

    name = "csv"

    def match(self, head: Head) -> float:
        try:
            text = head.data.removeprefix(b"\xef\xbb\xbf").decode()
        except UnicodeDecodeError:
            return 0.0
        lines = text.splitlines()[:1]
        if not lines or "\0" in text:
            return 0.0
        try:
            separator, names = split_header(lines[0])
        except WrongTable:
            return 0.0
        if len(names) < 2 or not all(_COLUMN_NAME.fullmatch(name) for name in names):
            return 0.0
        whole = text if head.is_whole else text[: text.rfind("\n") + 1]
        records = itertools.islice(csv.reader(io.StringIO(whole, newline=""), delimiter=separator), _RECORDS_LOOKED_AT)
        try:
            fields = [len(record) for record in records if record][1:]
        except csv.Error:
            return 0.0
        if fields and sum(count == len(names) for count in fields) * 2 <= len(fields):
            return 0.0
        return (0.95 if fields else 0.6) if may_have_stamps(names) else 0.3

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        _looked_at(source, path, settings)
        is_small = is_plain(path) and size_of(path) <= size
        if not is_small and (is_url(path) or _may_quote_line_ends(path)):
            return [Part(source, path, self.name, settings)]
        return byte_parts(source, path, self.name, settings, size)

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        form = _looked_at(part.source, part.path, part.settings)
        if not form.names:
            return
        events = TableEvents(form.stamps, part, tally, wanted)
        table = _Table(form, part, tally, wanted)
        for block in _without_header(blocks(part, tally), part):
            for rows in table.read(block):
                yield from events.of(rows)
        for rows in table.end():
            yield from events.of(rows)

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        return Messages.of(()), ()


class _Form(NamedTuple):
    """What the beginning of a file tells."""

    separator: str
    names: list[str]
    types: dict[str, pa.DataType]
    stamps: StampColumns


class _Table:
    """Blocks of lines as rows."""

    def __init__(self, form: _Form, part: Part, tally: Tally, wanted: Collection[str] | None) -> None:
        self._form = form
        self._part = part
        self._tally = tally
        self._types = dict(form.types)
        stamps = (form.stamps.time, form.stamps.end, form.stamps.clock)
        self._kept = [name for name in form.names if wanted is None or name in wanted or name in stamps]
        self._open: Block | None = None  # a record that may go on in the next block

    def read(self, block: Block) -> Iterator[Rows]:
        if self._open is not None:
            block = Block(self._open.data + block.data, self._open.first)
            self._open = None
        data = block.data if block.data.endswith(b"\n") else block.data + b"\n"
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 10)
        if _is_odd(data, ends):
            yield from self._by_hand(data, block.first, is_last=False)
            return
        rows = self._by_arrow(data, block.first, ends)
        if rows is None:
            yield from self._by_hand(data, block.first, is_last=False)
        else:
            yield rows

    def end(self) -> Iterator[Rows]:
        """What was kept for a next block that does not come."""
        if self._open is not None:
            block, self._open = self._open, None
            yield from self._by_hand(block.data, block.first, is_last=True)

    def _by_arrow(self, data: bytes, first: int, ends: Int64Array) -> Rows | None:
        """None: the block is not what Arrow takes it for."""
        starts = np.concatenate(([0], ends[:-1] + 1))
        leading = np.frombuffer(data, dtype=np.uint8)[starts]
        lines = np.flatnonzero((leading != 10) & ~((leading == 13) & (ends - starts == 1)))
        unfit: list[tuple[int, int, str]] = []

        def keep_aside(row: Any) -> str:
            unfit.append((row.number - 1, row.actual_columns, row.text))
            return "skip"

        table = self._parsed(data, keep_aside, unfit)
        if table is None or table.num_rows + len(unfit) != len(lines):
            return None
        good = np.ones(len(lines), dtype=np.bool_)
        # Arrow numbers rows, of which an empty line is none.
        good[[row for row, _, _ in unfit]] = False
        for row, count, text in unfit:
            self._set_aside(first + int(lines[row]), self._misfit(count), text.encode())
        batch = table.combine_chunks().to_batches()
        columns = batch[0] if batch else pa.RecordBatch.from_pylist([], table.schema)
        kept = lines[good]

        def said(row: int) -> dict[str, str | None]:
            return shown(data[starts[kept[row]] : ends[kept[row]]])

        return Rows(columns, first + kept, "line", said)

    def _parsed(self, data: bytes, unfit_row: Any, unfit: list[Any]) -> pa.Table | None:
        from pyarrow import csv as arrow_csv

        for types in (self._types, dict.fromkeys(self._form.names, pa.string())):
            unfit.clear()
            try:
                table = arrow_csv.read_csv(
                    pa.BufferReader(data),
                    arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=self._form.names),
                    arrow_csv.ParseOptions(delimiter=self._form.separator, invalid_row_handler=unfit_row),
                    arrow_csv.ConvertOptions(
                        column_types=types,
                        include_columns=self._kept,
                        null_values=[""],
                        strings_can_be_null=True,
                    ),
                )
            except pa.ArrowInvalid:
                continue
            return table if types is self._types else self._retyped(table)
        return None

    def _retyped(self, table: pa.Table) -> pa.Table:
        """Texts as the types that they still fit; a column that they do not stays text from here on."""
        for index, entry in enumerate(table.schema):
            kind = self._types[entry.name]
            try:
                table = table.set_column(index, entry.name, table.column(index).cast(kind))
            except pa.ArrowInvalid:
                stamps = self._form.stamps
                if entry.name not in (stamps.time, stamps.end):
                    self._types[entry.name] = pa.string()
        return table

    # Record by record -------------------------------------------------------------------------------------------------

    def _by_hand(self, data: bytes, first: int, is_last: bool) -> Iterator[Rows]:
        lines = data.splitlines(keepends=True) if b"\r" not in data else data.split(b"\n")
        if b"\r" in data:
            lines = [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
        records: list[list[str]] = []
        numbers: list[int] = []
        raw: list[bytes] = []
        index = 0
        while index < len(lines):
            stop, fields, reason = self._record(lines, index, is_last)
            if stop is None:
                self._open = Block(b"".join(lines[index:]), first + index)
                break
            text = b"".join(lines[index:stop])
            if fields is not None:
                records.append(fields)
                numbers.append(first + index)
                raw.append(text)
            elif reason:
                self._set_aside(first + index, reason, text)
            index = stop
        if records:
            texts = {
                name: pa.array([record[column] or None for record in records], pa.string())
                for column, name in enumerate(self._form.names)
                if name in self._kept
            }
            table = self._retyped(pa.table(texts))
            yield Rows(
                table.combine_chunks().to_batches()[0],
                np.array(numbers, dtype=np.int64),
                "line",
                lambda row: shown(raw[row]),
            )

    def _record(self, lines: list[bytes], index: int, is_last: bool) -> tuple[int | None, list[str] | None, str]:
        """Where the record that begins here stops, its fields or why it has none; None: it may go on later."""
        line = lines[index]
        if not line.strip(b"\r\n"):
            return index + 1, None, ""
        if line.count(b'"') % 2:
            for stop in range(index + 1, min(index + _QUOTED_LINES_MAX, len(lines))):
                if lines[stop].count(b'"') % 2:
                    fields = self._fields(b"".join(lines[index : stop + 1]))
                    if isinstance(fields, list) and len(fields) == len(self._form.names):
                        return stop + 1, fields, ""
                    break
            else:
                if not is_last and len(lines) - index < _QUOTED_LINES_MAX:
                    return None, None, ""
        fields = self._fields(line)
        if isinstance(fields, str):
            return index + 1, None, fields
        if len(fields) != len(self._form.names):
            return index + 1, None, self._misfit(len(fields))
        return index + 1, fields, ""

    def _fields(self, data: bytes) -> list[str] | str:
        """The fields of one record, or why it is none."""
        try:
            records = list(
                csv.reader(io.StringIO(data.decode(), newline=""), delimiter=self._form.separator, strict=True)
            )
        except UnicodeDecodeError:
            return "is not UTF-8"
        except csv.Error as error:
            return f"is no record: {error}"
        return records[0] if len(records) == 1 else "is several records"

    def _misfit(self, count: int) -> str:
        return f"has {count} fields, and the header has {len(self._form.names)}"

    def _set_aside(self, line: int, reason: str, text: bytes) -> None:
        self._tally.read += 1
        self._tally.aside.add(SetAsideRow(self._part.source, "line", line + 1, reason, shown(text)))


def _is_odd(data: bytes, ends: Int64Array) -> bool:
    """Whether a block wants to be read record by record."""
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        return True
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            return True
    return b'"' in data and _has_open_quote(data, ends)


def _has_open_quote(data: bytes, ends: Int64Array) -> bool:
    """Whether a line ends within quotes."""
    quotes = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 34)
    return bool((np.searchsorted(quotes, ends) % 2).any()) or len(quotes) % 2 == 1


def _may_quote_line_ends(path: str) -> bool:
    """Whether some line of a file ends within quotes: then no part of it can be read alone."""
    if not is_plain(path):
        return True
    rest = b""
    with closing(open_input(path)) as file:
        while data := file.read(BLOCK_BYTES):
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            if b'"' in data[:cut]:
                ends = np.flatnonzero(np.frombuffer(data[:cut], dtype=np.uint8) == 10)
                if _has_open_quote(data[:cut], ends):
                    return True
    return rest.count(b'"') % 2 == 1


def _without_header(found: Iterator[Block], part: Part) -> Iterator[Block]:
    is_header = part.start == 0
    for block in found:
        if is_header:
            is_header = False
            end = block.data.find(b"\n") + 1 or len(block.data)
            block = Block(block.data[end:], block.first + 1)
        if block.data:
            yield block


def _looked_at(source: str, path: str, settings: SourceSettings) -> _Form:
    head = head_of(path, _HEAD_BYTES)
    data = head.data.removeprefix(b"\xef\xbb\xbf")
    line, _, rest = data.partition(b"\n")
    try:
        header = line.decode().strip("\r\n")
    except UnicodeDecodeError:
        header = ""
    if not data.strip():
        return _Form(",", [], {}, StampColumns(""))
    if not header.strip() or "\0" in header:
        raise WrongTable(f"{source} does not begin with a line of column names; it begins with {line[:80]!r}.")
    separator, names = split_header(header)
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise WrongTable(f"{source} has several columns named {repeated[0]!r}: give each a name of its own.")
    if not head.is_whole or len(rest) > _SAMPLE_BYTES:
        rest = rest[:_SAMPLE_BYTES]
        rest = rest[: rest.rfind(b"\n") + 1]
    sample = _typed_sample(_only_utf8(rest), names, separator)
    stamps = stamp_columns(Sample(source, sample), settings)
    types = {entry.name: pa.string() if pa.types.is_null(entry.type) else entry.type for entry in sample.schema}
    for name in (stamps.time, stamps.end):
        if name and pa.types.is_floating(types[name]):
            types[name] = _EXACT
    return _Form(separator, names, types, stamps)


def _typed_sample(data: bytes, names: list[str], separator: str) -> pa.RecordBatch:
    """The first rows, with the types that they have; a time is text, so that nothing of it is lost."""
    from pyarrow import csv as arrow_csv

    def parsed(types: dict[str, pa.DataType]) -> pa.Table:
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            arrow_csv.ParseOptions(
                delimiter=separator, invalid_row_handler=lambda row: "skip", newlines_in_values=True
            ),
            arrow_csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True),
        )

    empty = pa.RecordBatch.from_pylist([], pa.schema([(name, pa.null()) for name in names]))
    if not data.strip():
        return empty
    try:
        table = parsed({})
        times = [entry.name for entry in table.schema if _is_time(entry.type)]
        if times:
            table = parsed(dict.fromkeys(times, pa.string()))
    except pa.ArrowInvalid:
        try:
            table = parsed(dict.fromkeys(names, pa.binary()))
        except pa.ArrowInvalid:
            return empty
        whole = [_as_text(column) for column in table.columns]
        table = pa.table(dict(zip(names, whole, strict=True)))
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else empty


def _only_utf8(data: bytes) -> bytes:
    """The lines that can be read."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return b"".join(line for line in data.splitlines(keepends=True) if _is_utf8(line))
    return data


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind))


def _as_text(column: pa.ChunkedArray) -> pa.Array:
    return pa.array(
        [None if value is None else value.decode(errors="replace") for value in column.to_pylist()], pa.string()
    )
