"""
Arrow IPC: files (Feather), whose batches are read by themselves, and streams.

A file that was cut off has lost its index only: it is read like a stream, as far as it goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.errors import WrongTable
from coeval.timeline.readers._input import Head, is_plain, is_url, open_input
from coeval.timeline.readers._merged import MergedEvents, merged_columns
from coeval.timeline.readers._parquet import DAMAGED, check_names, columns_needed, refuse_empty
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._stamp_columns import SAMPLE_ROWS, Sample, StampColumns, stamp_columns
from coeval.timeline.readers._table_events import Rows, TableEvents
from coeval.timeline.readers._values import no_rows

_FILE = b"ARROW1\0\0"
_STREAM = b"\xff\xff\xff\xff"


class ArrowReader:
    """Tables in Arrow's own format."""

    name = "arrow"

    def match(self, head: Head) -> float:
        if head.data.startswith(_FILE):
            return 1.0
        # A stream begins with a mark and the length of its schema, which is a flatbuffer and nothing else is likely.
        return 0.9 if head.data.startswith(_STREAM) and head.data[8:12] not in (b"", b"\xff\xff\xff\xff") else 0.0

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        with closing(_Batches(path, source)) as table:
            _stamps(table, source, settings)
            if table.count is None:
                return [Part(source, path, self.name, settings)]
            whole = table.bytes // max(table.count, 1)
            step = max(1, size // max(whole, 1))
            starts = range(0, max(table.count, 1), step)
            return [Part(source, path, self.name, settings, start, min(start + step, table.count)) for start in starts]

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        with closing(_Batches(part.path, part.source)) as table:
            stamps, is_merged = _stamps(table, part.source, part.settings)
        with closing(_Batches(part.path, part.source)) as table:
            if part.start == 0 and table.strange:
                tally.problems.append(f"{part.source} was read without {table.strange}, whose values cannot be held.")
            columns = columns_needed(table.schema.names, stamps, wanted, is_merged)
            events = (MergedEvents if is_merged else TableEvents)(stamps, part, tally, wanted)
            for batch in table.read(part.start, part.stop, tally):
                lines = np.arange(tally.lines, tally.lines + batch.num_rows)
                tally.lines += batch.num_rows
                yield from events.of(Rows(batch.select(columns), lines))

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        return Messages.of(()), ()


class _Batches:
    """
    The batches of a file or stream.

    Attributes:
        count: how many batches there are; None: not known before they are read.
        schema: of the columns whose values can be held.
        strange: the others, with their types, in words.
    """

    def __init__(self, path: str, source: str) -> None:
        from pyarrow import ipc

        refuse_empty(path, source)
        self._source = source
        if is_plain(path) and not is_url(path):
            self._input: Any = pa.memory_map(path, "r")
        else:
            with closing(open_input(path)) as file:
                self._input = pa.BufferReader(file.read())
        self.bytes = int(self._input.size())
        self.count: int | None = None
        self.is_cut = False
        try:
            if self._input.read(len(_FILE)) == _FILE:
                try:
                    self._reader: Any = ipc.open_file(self._input)
                    self.count = self._reader.num_record_batches
                except DAMAGED:
                    self.is_cut = True
                    self._input.seek(len(_FILE))
                    self._reader = ipc.open_stream(self._input)
            else:
                self._input.seek(0)
                self._reader = ipc.open_stream(self._input)
        except DAMAGED as error:
            raise WrongTable(f"{source} is no Arrow file or stream, or is damaged at its beginning: {error}") from error
        known = [_can_be_held(field.type) for field in self._reader.schema]
        self.schema = pa.schema(list(compress(self._reader.schema, known)), self._reader.schema.metadata)
        self.strange = ", ".join(
            f"column {field.name!r} of type {field.type}"
            for field, is_known in zip(self._reader.schema, known, strict=True)
            if not is_known
        )
        check_names(self.schema, source)

    def read(self, start: int, stop: int | None, tally: Tally) -> Iterator[pa.RecordBatch]:
        if self.count is not None:
            for index in range(start, self.count if stop is None else stop):
                try:
                    batch = self._reader.get_batch(index)
                    batch.validate(full=True)
                except DAMAGED as error:
                    tally.problems.append(f"{self._source} is damaged: its batch {index} could not be read: {error}")
                    continue
                yield batch
            return
        try:
            for batch in self._reader:
                batch.validate(full=True)
                yield batch
        except DAMAGED as error:
            tally.problems.append(f"{self._source} is damaged, and was read only as far as that: {error}")
        else:
            if self.is_cut:
                tally.problems.append(f"{self._source} has lost its end; it was read as far as it goes.")

    def close(self) -> None:
        self._input.close()


def _can_be_held(kind: pa.DataType) -> bool:
    """Columns of months, or of days and ms, can be read and have no class in Arrow's Python package."""
    try:
        pa.nulls(0, kind)
    except (pa.ArrowNotImplementedError, KeyError):
        return False
    inner = [kind.field(index).type for index in range(kind.num_fields)]
    if pa.types.is_dictionary(kind):
        inner.append(kind.value_type)
    return all(map(_can_be_held, inner))


def _stamps(table: _Batches, source: str, settings: SourceSettings) -> tuple[StampColumns, bool]:
    merged = merged_columns(table.schema, source, settings)
    if merged is not None:
        return merged, True
    first = next(table.read(0, None if table.count is None else min(table.count, 1), _nowhere()), None)
    sample = no_rows(table.schema) if first is None else first.select(table.schema.names).slice(0, SAMPLE_ROWS)
    return stamp_columns(Sample(source, sample), settings), False


def _nowhere() -> Tally:
    from coeval.timeline.readers._set_aside import SetAside

    return Tally(SetAside())
