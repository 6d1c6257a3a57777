"""
Pieces that are too far from their order: sorted by themselves, into files whose chunks are small.

A shuffled file would have to be in memory whole before its first row may go; and a thousand open files, each with a
chunk in memory, take their chunks' size a thousand times. Both are seen from the scan alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline._shared_files import own_name
from coeval.timeline.merge._batch_file import ChunkWriter
from coeval.timeline.merge._log_texts import as_batch
from coeval.timeline.merge._piece import Piece, chunks_of, sliced
from coeval.timeline.merge._stream import PlacedPiece, StreamSettings, codes_of, rows_of
from coeval.timeline.readers._reader import NO_READING, EventBatch
from coeval.timeline.readers._values import Int64Array, as_numpy

SORTED_CHUNK_ROWS = 1 << 12

# What a waiting row takes beside its payload.
_OWN_BYTES = 56


@dataclass(frozen=True, slots=True)
class SortOrder:
    """A piece to be sorted by key, where to put it, a path or a URL, and what names of its files begin with."""

    piece: PlacedPiece
    settings: StreamSettings
    folder: str
    name: str


def pieces_to_sort(pieces: Sequence[PlacedPiece], memory: int) -> list[int]:
    """
    Which pieces must be sorted first, so that waiting rows fit into memory.

    Args:
        memory: bytes for the rows that wait in all streams.
    """
    waiting = [piece.waiting_rows() * (piece.piece.waiting_bytes_in_row + _OWN_BYTES) for piece in pieces]
    sorted_size = [
        min(SORTED_CHUNK_ROWS, piece.piece.events) * (piece.piece.bytes_in_row + _OWN_BYTES) for piece in pieces
    ]
    chosen: list[int] = []
    # The greediest first; taking one more never makes the peak higher.
    candidates = sorted(range(len(pieces)), key=lambda number: waiting[number] - sorted_size[number])
    while candidates and _peak(pieces, waiting) > memory:
        for _ in range(max(1, len(candidates) // 8)):
            number = candidates.pop()
            if waiting[number] > sorted_size[number]:
                waiting[number] = sorted_size[number]
                chosen.append(number)
    return sorted(chosen)


def _peak(pieces: Sequence[PlacedPiece], sizes: Sequence[float]) -> float:
    """The most that waits at once, where each piece takes its size from its first key to its last."""
    if not pieces:
        return 0.0
    keys = np.array([piece.first_key for piece in pieces] + [piece.last_key for piece in pieces], dtype=np.int64)
    changes = np.array([*sizes, *(-size for size in sizes)])
    order = np.lexsort((changes < 0, keys))
    return float(np.cumsum(changes[order]).max())


def sort_piece(order: SortOrder) -> PlacedPiece:
    """Sort a piece. Repeating it gives the same, in files of its own."""
    placed_piece, settings = order.piece, order.settings
    batches: list[EventBatch] = []
    keys: list[Int64Array] = []
    for batch in chunks_of(placed_piece.piece, settings.wanted):
        codes = codes_of(batch, placed_piece.code_of)
        rows = rows_of(batch, placed_piece, settings)
        if rows is None:
            continue
        batch = replace(batch, payload=as_batch(batch.payload))
        batches.append(batch)
        key = rows.columns["key"]
        if len(key) < len(batch):
            own = np.array(codes)[as_numpy(batch.clocks.indices)] if batch.clocks is not None else None
            assert own is not None
            batches[-1] = _taken(batch, np.flatnonzero(np.isin(own, list(settings.clocks))))
        keys.append(key)
    path = own_name(f"{order.folder}/{order.name}")
    chunks: list[tuple[int, int, EventBatch]] = []
    for kind in _kinds(batches):
        chosen = [number for number, batch in enumerate(batches) if _kind(batch) == kind]
        whole = _joined([batches[number] for number in chosen])
        key = np.concatenate([keys[number] for number in chosen])
        by_key = np.argsort(key, kind="stable")
        whole, key = _taken(whole, by_key), key[by_key]
        for start in range(0, len(key), SORTED_CHUNK_ROWS):
            stop = min(start + SORTED_CHUNK_ROWS, len(key))
            chunks.append((int(key[start]), int(key[stop - 1]), sliced(whole, start, stop)))
    chunks.sort(key=lambda chunk: chunk[:2])
    with ChunkWriter(path, has_codes=bool(placed_piece.piece.repeating)) as writer:
        for _, _, batch in chunks:
            writer.write(batch)
    first, last, counts = (
        np.array(column, dtype=np.int64)
        for column in (
            [chunk[0] for chunk in chunks],
            [chunk[1] for chunk in chunks],
            [len(chunk[2]) for chunk in chunks],
        )
    )
    piece: Piece = replace(
        placed_piece.piece,
        file=path,
        chunk_rows=counts,
        schemas=tuple(writer.schemas),
        repeating=writer.repeating,
    )
    return replace(placed_piece, piece=piece, first_keys=first, last_keys=last)


def _kind(batch: EventBatch) -> tuple[object, ...]:
    """What must be equal for batches to be one."""
    return (
        batch.payload.schema,
        batch.resolution_ns,
        batch.is_assumed,
        batch.clocks is None,
        batch.end_raw_ns is None,
        batch.fold_ns is None,
    )


def _kinds(batches: Sequence[EventBatch]) -> list[tuple[object, ...]]:
    kinds: list[tuple[object, ...]] = []
    for batch in batches:
        if _kind(batch) not in kinds:
            kinds.append(_kind(batch))
    return kinds


def _joined(batches: Sequence[EventBatch]) -> EventBatch:
    """Batches of one kind as one."""
    head = batches[0]
    clocks = None
    if head.clocks is not None:
        clocks = pa.chunked_array([batch.clocks for batch in batches]).unify_dictionaries().combine_chunks()
        clocks = clocks.chunk(0) if isinstance(clocks, pa.ChunkedArray) else clocks
    payload = pa.Table.from_batches([batch.payload for batch in batches]).combine_chunks()
    return EventBatch(
        np.concatenate([batch.lines for batch in batches]),
        np.concatenate([batch.raw_ns for batch in batches]),
        head.resolution_ns,
        payload.to_batches()[0],
        clocks,
        None if head.end_raw_ns is None else np.concatenate([_filled(batch.end_raw_ns, batch) for batch in batches]),
        None if head.fold_ns is None else np.concatenate([_filled(batch.fold_ns, batch) for batch in batches]),
        head.is_assumed,
    )


def _filled(values: Int64Array | None, batch: EventBatch) -> Int64Array:
    return np.full(len(batch), NO_READING, dtype=np.int64) if values is None else values


def _taken(batch: EventBatch, rows: Int64Array) -> EventBatch:
    numbers = pa.array(rows)
    return EventBatch(
        batch.lines[rows],
        batch.raw_ns[rows],
        batch.resolution_ns,
        pc.take(batch.payload, numbers),
        None if batch.clocks is None else batch.clocks.take(numbers),
        None if batch.end_raw_ns is None else batch.end_raw_ns[rows],
        None if batch.fold_ns is None else batch.fold_ns[rows],
        batch.is_assumed,
    )
