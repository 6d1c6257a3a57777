"""
Parquet: groups of rows read by themselves, and of each only the columns that somebody will look at.

A group that is damaged costs itself only. Without its end a Parquet file has no columns at all, and is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.errors import WrongTable
from coeval.timeline.readers._input import Head, is_plain, is_url, open_input, size_of
from coeval.timeline.readers._merged import DERIVED, MergedEvents, merged_columns
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._stamp_columns import SAMPLE_ROWS, Sample, StampColumns, names_tried, stamp_columns
from coeval.timeline.readers._table_events import Rows, TableEvents
from coeval.timeline.readers._values import no_rows

_MAGIC = b"PAR1"
DAMAGED = (pa.ArrowException, OSError)
"""What a damaged table raises; also that it wants more memory than there is, or names what is not there."""

# A merge keeps a batch of each source in memory. Four times as many rows took 200 MB more for eight sources, and no
# less time as far as that could be told.
ROWS_IN_BATCH = 1 << 15
_GROUPS_TRIED = 16


class ParquetReader:
    """Tables in Parquet files."""

    name = "parquet"
    rereads = True

    def match(self, head: Head) -> float:
        return 1.0 if head.data.startswith(_MAGIC) else 0.0

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        with _open(path, source) as file:
            _stamps(file, source, settings)
            metadata = file.metadata
            sizes = [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]
        return [Part(source, path, self.name, settings, start, stop) for start, stop in grouped(sizes, size)]

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        with _open(part.path, part.source) as file:
            stamps, is_merged = _stamps(file, part.source, part.settings)
            stop = file.metadata.num_row_groups if part.stop is None else part.stop
            columns = columns_needed(file.schema_arrow.names, stamps, wanted, is_merged)
            as_codes = [name for name in columns if name == stamps.clock or _repeats(file, name)]
        events = (MergedEvents if is_merged else TableEvents)(stamps, part, tally, wanted)
        with _open(part.path, part.source, as_codes) as file:
            for group in range(part.start, stop):
                count = file.metadata.row_group(group).num_rows
                stop_line = tally.lines + count
                for batch in _batches_of(file, group, columns, part, tally, stop_line):
                    lines = np.arange(tally.lines, tally.lines + batch.num_rows)
                    tally.lines += batch.num_rows
                    yield from events.of(Rows(batch, lines))
                tally.lines = stop_line

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        return Messages.of(()), ()


def _batches_of(
    file: Any, group: int, columns: Sequence[str], part: Part, tally: Tally, stop_line: int
) -> Iterator[pa.RecordBatch]:
    """A group's rows, up to where it is damaged."""
    found = file.iter_batches(ROWS_IN_BATCH, row_groups=[group], columns=list(columns), use_threads=False)
    while True:
        try:
            batch = next(found, None)
            if batch is not None:
                batch.validate(full=True)  # pages have no checksums as a rule
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            tally.problems.append(
                f"{part.source} is damaged: {stop_line - tally.lines} rows of its row group {group} could not be read: "
                f"{error}"
            )
            return
        if batch is None:
            return
        yield batch


def grouped(sizes: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """
    Runs of neighbours of about so many bytes together; at least one run.

    Returns:
        Start and stop of each, as indices into `sizes`.
    """
    start = total = 0
    for index, more in enumerate(sizes):
        if index > start and total + more > size:
            yield start, index
            start, total = index, 0
        total += more
    yield start, len(sizes)


def columns_needed(
    names: Sequence[str], stamps: StampColumns, wanted: Collection[str] | None, is_merged: bool
) -> list[str]:
    """The columns to read: those of the stamps, and of the payload those that are wanted."""
    kept = {stamps.time, stamps.end, stamps.clock, *(("source", "assumed") if is_merged else ())}
    dropped = set(DERIVED) - kept if is_merged else set()
    return [name for name in names if name in kept or (name not in dropped and (wanted is None or name in wanted))]


# Texts that take no more bytes than this in the file are few ones again and again: a plain one takes four at least.
_REPEATED_BYTES_MAX = 2.5


def _repeats(file: Any, name: str) -> bool:
    """Whether a column is of texts that are best read as codes, which are read, sorted and written times faster."""
    metadata = file.metadata
    entry = file.schema_arrow.field(name)
    if not metadata.num_row_groups or not (pa.types.is_string(entry.type) or pa.types.is_large_string(entry.type)):
        return False
    group = metadata.row_group(0)
    found = next((group.column(at) for at in range(group.num_columns) if group.column(at).path_in_schema == name), None)
    return (
        found is not None
        and found.has_dictionary_page
        and found.total_uncompressed_size <= _REPEATED_BYTES_MAX * group.num_rows
    )


def _stamps(file: Any, source: str, settings: SourceSettings) -> tuple[StampColumns, bool]:
    schema = file.schema_arrow
    check_names(schema, source)
    merged = merged_columns(schema, source, settings)
    if merged is not None:
        return merged, True
    tried = names_tried(schema, settings)
    sample = no_rows(pa.schema([schema.field(name) for name in tried]))
    for group in range(min(file.metadata.num_row_groups, _GROUPS_TRIED)):
        try:
            # One page of each column is decoded for this.
            found = file.iter_batches(SAMPLE_ROWS, row_groups=[group], columns=tried, use_threads=False)
            sample = next(found, sample)
            sample.validate(full=True)
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            continue
        break
    else:
        if file.metadata.num_row_groups:
            raise WrongTable(f"{source} is damaged: none of its first groups of rows can be read.")
    # Columns that nobody would take for stamps are not decoded for this.
    columns = [
        sample.column(entry.name) if entry.name in tried else pa.nulls(len(sample), entry.type) for entry in schema
    ]
    return stamp_columns(Sample(source, pa.RecordBatch.from_arrays(columns, names=schema.names)), settings), False


def check_names(schema: pa.Schema, source: str) -> None:
    """
    Refuse a table in which a name means two columns, or is no text.

    Raises:
        WrongTable: a name is there twice, or is not UTF-8.
    """
    try:
        names = schema.names
    except UnicodeDecodeError as error:
        raise WrongTable(f"{source} is damaged: the name of a column is not UTF-8.") from error
    for entry in schema:
        try:
            getattr(entry.type, "tz", None)
        except UnicodeDecodeError as error:
            raise WrongTable(f"{source} is damaged: the zone of column {entry.name} is not UTF-8.") from error
    refuse_repeated(names, source)


def refuse_repeated(names: Sequence[str], source: str) -> None:
    """
    Refuse a table in which a name means two columns.

    Raises:
        WrongTable: a name is there twice.
    """
    repeated = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if repeated:
        raise WrongTable(f"{source} has several columns named {repeated[0]}: give each a name of its own.")


def refuse_empty(path: str, source: str) -> None:
    """
    A file of a format that is never of no bytes.

    Raises:
        WrongTable: it is empty.
    """
    if not size_of(path):
        raise WrongTable(f"{source} is empty.")


def _open(path: str, source: str, as_codes: Sequence[str] = ()) -> Any:
    import pyarrow.parquet as pq

    refuse_empty(path, source)
    where: Any = path
    if not is_plain(path):
        with closing(open_input(path)) as file:
            where = pa.BufferReader(file.read())
    elif is_url(path):
        where = open_input(path)
    try:
        return pq.ParquetFile(where, read_dictionary=list(as_codes))
    except UnicodeDecodeError as error:
        raise WrongTable(f"{source} is damaged: the name of a column is not UTF-8.") from error
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise WrongTable(
            f"{source} is no whole Parquet file: {error} Without its last bytes its columns are not known: copy or "
            "write it again."
        ) from error
