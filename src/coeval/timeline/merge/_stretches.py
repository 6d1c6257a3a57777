"""
The timeline cut into stretches of about equal size, and the work on them: in threads that share streams, or as calls
that any executor can run anywhere, each a block of neighbouring stretches with streams of its own.

    threads     stream ─┬─ stretch 0 ── table ─┐         each stream is read once; stretch n takes its rows
                stream ─┼─ stretch 1 ── table ─┼─> driver   when n-1 has taken its own
                stream ─┴─ stretch 2 ── table ─┘
    calls       block 0: streams, stretches 0…7 ── file of tables ──> driver
                block 1: streams, stretches 8…15 ── file of tables ──> driver

Either way the same rows are in the same stretch in the same order, so results do not depend on who works.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from coeval.timeline._shared_files import begin_file, file_to_read, own_name, remove_file
from coeval.timeline.merge._columns import MergedColumns
from coeval.timeline.merge._piece import SAMPLE_EVERY
from coeval.timeline.merge._range import merged_table
from coeval.timeline.merge._rows import Rows
from coeval.timeline.merge._stream import PlacedPiece, Stream, StreamSettings, is_broken_off
from coeval.timeline.readers._values import Int64Array

# Blocks in flight, each a file in the spill folder until it is its turn to be written.
_BLOCKS_AHEAD_MAX = 8
_BLOCKS_MAX = 32
_STRETCHES_IN_BLOCK_MIN = 4


@dataclass(frozen=True, eq=False, slots=True)
class Pass:
    """
    One way through the pieces, for clocks that can be placed or for one that cannot.

    Attributes:
        pieces: in the order of sources and parts.
        cuts: keys between stretches, ascending.
        is_placed: keys are estimates.
    """

    pieces: tuple[PlacedPiece, ...]
    settings: StreamSettings
    columns: MergedColumns
    cuts: tuple[int, ...]
    is_placed: bool

    @property
    def ends(self) -> list[int | None]:
        """Of each stretch."""
        return [*self.cuts, None]


def cuts_of(samples: Sequence[Int64Array], rows: int) -> tuple[int, ...]:
    """
    Keys that cut a timeline into stretches of about so many rows.

    Args:
        samples: every `SAMPLE_EVERY`-th key of each clock of each piece.
    """
    everything = np.sort(np.concatenate(samples)) if samples else np.empty(0, dtype=np.int64)
    step = max(1, rows // SAMPLE_EVERY)
    return tuple(np.unique(everything[step::step]).tolist())


def tables_in_threads(work: Pass, pool: Executor, ahead: int) -> Iterator[pa.Table]:
    """
    The tables of all stretches, in order, made by the threads of a pool.

    Args:
        ahead: how many stretches may be begun before the first is taken.
    """
    streams = [Stream(piece, work.settings) for piece in work.pieces]
    numbers = iter(enumerate(work.ends))
    waiting: deque[Future[pa.Table]] = deque()
    reading: list[Future[None]] = []

    def begin() -> None:
        for number, until in numbers:
            # Sources of like size come to the ends of their chunks together, and one stretch would read them all, one
            # after the other: all threads together are faster.
            reading[:] = [future for future in reading if not future.done() or future.exception() is not None]
            reading.extend(pool.submit(stream.read_ahead, until) for stream in streams if stream.is_behind(until))
            waiting.append(pool.submit(_stretch, streams, number, until, work.columns, work.is_placed))
            return

    try:
        for _ in range(ahead):
            begin()
        while waiting:
            table = waiting.popleft().result()
            begin()
            yield table
    except BaseException as error:
        for stream in streams:
            stream.break_off()
        for future in (*reading, *waiting):
            future.cancel()
        if is_broken_off(error):
            raise _first_cause([*reading, *waiting], error) from None
        raise
    finally:
        for future in (*reading, *waiting):
            if not future.cancelled():
                future.exception()


def _first_cause(waiting: Sequence[Future[Any]], error: BaseException) -> BaseException:
    for future in waiting:
        if not future.cancelled() and (found := future.exception()) is not None and not is_broken_off(found):
            return found
    return error


def _stretch(
    streams: Sequence[Stream], number: int, until: int | None, columns: MergedColumns, is_placed: bool
) -> pa.Table:
    parts: list[Rows] = []
    for stream in streams:
        parts += stream.take(number, until)
    return merged_table(parts, columns, is_placed=is_placed)


@dataclass(frozen=True, eq=False, slots=True)
class BlockOrder:
    """
    Some neighbouring stretches, to be put into a file.

    Attributes:
        start: keys from here on; None: from the first.
        ends: of the stretches.
        path: what the file's name begins with, a path or a URL.
    """

    work: Pass
    start: int | None
    ends: tuple[int | None, ...]
    path: str


def write_block(order: BlockOrder) -> str:
    """Make the tables of a block and return their file's name. Repeating it gives the same, in a file of its own."""
    work = order.work
    streams = [Stream(piece, work.settings, order.start) for piece in work.pieces]
    path = own_name(order.path)
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with begin_file(path) as file, pa.ipc.new_stream(file, _plain(work.columns.schema), options=options) as writer:
        for number, until in enumerate(order.ends):
            table = _stretch(streams, number, until, work.columns, work.is_placed)
            writer.write_table(_with_codes(table))
    return path


def tables_by_calls(work: Pass, executor: Executor, folder: str, name: str) -> Iterator[pa.Table]:
    """The tables of all stretches, in order, made by calls that leave files where all can reach them."""
    ends = work.ends
    count = max(_STRETCHES_IN_BLOCK_MIN, -(-len(ends) // _BLOCKS_MAX))
    orders = iter(
        BlockOrder(
            _met(work, begin, ends[at : at + count][-1]),
            begin,
            tuple(ends[at : at + count]),
            f"{folder}/{name}-{at:06}",
        )
        for at, begin in [(at, ends[at - 1] if at else None) for at in range(0, len(ends), count)]
    )
    waiting: deque[Future[str]] = deque()
    try:
        for order in orders:
            waiting.append(executor.submit(write_block, order))
            if len(waiting) >= _BLOCKS_AHEAD_MAX:
                yield from _block_tables(waiting.popleft().result(), work.columns)
        while waiting:
            yield from _block_tables(waiting.popleft().result(), work.columns)
    finally:
        for future in waiting:
            future.cancel()


def _met(work: Pass, start: int | None, until: int | None) -> Pass:
    """The same work on the pieces that meet a block."""
    pieces = tuple(
        piece
        for piece in work.pieces
        if (start is None or piece.last_key >= start) and (until is None or piece.first_key < until)
    )
    return Pass(pieces, work.settings, work.columns, work.cuts, work.is_placed)


def _block_tables(path: str, columns: MergedColumns) -> Iterator[pa.Table]:
    with file_to_read(path) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            yield _with_names(pa.Table.from_batches([batch]), columns)
    remove_file(path)


# A stream of batches may not change a dictionary; clocks and sources travel as codes.
_NAMED = ("clock", "source")


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema([entry.with_type(pa.int32()) if entry.name in _NAMED else entry for entry in schema])


def _with_codes(table: pa.Table) -> pa.Table:
    for name in (each for each in _NAMED if each in table.schema.names):
        at = table.schema.get_field_index(name)
        codes = pa.chunked_array([chunk.indices for chunk in table.column(name).chunks], pa.int32())
        table = table.set_column(at, name, codes)
    return table.replace_schema_metadata(None)


def _with_names(table: pa.Table, columns: MergedColumns) -> pa.Table:
    for name, names in (("clock", columns.clocks), ("source", columns.sources)) if columns.has_origin else ():
        at = table.schema.get_field_index(name)
        codes = table.column(name).combine_chunks()
        codes = codes.chunk(0) if isinstance(codes, pa.ChunkedArray) else codes
        table = table.set_column(at, name, pa.DictionaryArray.from_arrays(codes, pa.array(names, pa.string())))
    return (
        table.cast(columns.schema)
        if table.schema != columns.schema
        else table.replace_schema_metadata(columns.schema.metadata)
    )


def in_process(executor: Executor) -> bool:
    """Whether its workers share this process's memory."""
    return isinstance(executor, ThreadPoolExecutor)
