"""
A stream: the rows of one piece in the order of their keys, a stretch of time after the other.

Files are nearly in order as a rule. A chunk is read when a stretch begins that some row of it, or of a chunk after it,
may be in; rows of later stretches wait. How many that can be is known from the scan, so it is decided before anything
is read whether a piece must be sorted first.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from coeval.timeline.merge._piece import Piece, chunks_of
from coeval.timeline.merge._rows import Placement, Rows, Settled, placed
from coeval.timeline.readers._reader import EventBatch
from coeval.timeline.readers._values import Int64Array

_LEAST, _GREATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False, slots=True)
class PlacedPiece:
    """
    A piece, with where its rows go.

    Attributes:
        code_of: codes of its clocks by name; "" is the source's own.
        source: its source's code.
        lines_before: of the source, before this part.
        first_keys, last_keys: of each chunk, no row has a key outside of them; crossed where the chunk has none of the
            clocks in question.
        settled: rows whose stamp has two readings, and evidence says which it means.
    """

    piece: Piece
    code_of: dict[str, int]
    source: int
    lines_before: int
    first_keys: Int64Array
    last_keys: Int64Array
    settled: Settled | None = None

    @property
    def first_key(self) -> int:
        """No row is before it."""
        return int(self.first_keys.min()) if len(self.first_keys) else _GREATEST

    @property
    def last_key(self) -> int:
        """No row is after it."""
        return int(self.last_keys.max()) if len(self.last_keys) else _LEAST

    def waiting_rows(self) -> int:
        """How many rows may be in memory at once while a stream of it is read."""
        later = np.minimum.accumulate(self.first_keys[::-1])[::-1]
        most = 0
        for number, key in enumerate(later.tolist()):
            so_far = self.piece.chunk_rows[: number + 1]
            most = max(most, int(so_far[self.last_keys[: number + 1] >= key].sum()))
        return most


def place_chunks(piece: PlacedPiece, settings: StreamSettings) -> PlacedPiece:
    """
    Find the first and the last key of each chunk, of the rows of some clocks.

    Where a clock never went back, the least and the greatest reading tell. Otherwise every row is placed for it.
    """
    placement, wanted = settings.placement, settings.clocks
    count = len(piece.piece.chunk_rows)
    first = np.full(count, _GREATEST, dtype=np.int64)
    last = np.full(count, _LEAST, dtype=np.int64)
    clocks = [(name, piece.code_of[name]) for name in piece.piece.clocks if piece.code_of[name] in wanted]
    if piece.settled is not None or not all(placement.is_monotone(code) for _, code in clocks):
        for number, batch in enumerate(chunks_of(piece.piece, ())):
            rows = rows_of(batch, piece, settings)
            if rows is not None and len(rows):
                first[number], last[number] = rows.columns["key"].min(), rows.columns["key"].max()
        return replace(piece, first_keys=first, last_keys=last)
    for name, code in clocks:
        stretch = piece.piece.clocks[name]
        order = placement.orders.get(code)
        lowered_ns, lifted_ns = (order.lowered_ns, order.lifted_ns) if order is not None else (0, 0)
        np.minimum.at(first, stretch.chunks, placement.keys(code, stretch.first_ns) - lowered_ns)
        np.maximum.at(last, stretch.chunks, placement.keys(code, stretch.last_ns) + lifted_ns)
    return replace(piece, first_keys=first, last_keys=last)


def rows_of(batch: EventBatch, piece: PlacedPiece, settings: StreamSettings) -> Rows | None:
    """The placed rows of a chunk of a piece; None: it has none of these clocks."""
    return placed(
        batch,
        codes_of(batch, piece.code_of),
        settings.placement,
        settings.clocks,
        piece.source,
        piece.lines_before,
        piece.settled,
        has_bounds=settings.has_bounds,
    )


class StreamSettings(NamedTuple):
    """
    What streams of one pass have in common.

    Attributes:
        placement: where readings lie.
        clocks: codes of the clocks that are wanted.
        wanted: columns of the payload; None: all.
        has_bounds: somebody looks at more of times than at their order.
    """

    placement: Placement
    clocks: frozenset[int]
    wanted: frozenset[str] | None
    has_bounds: bool = True


class Stream:
    """
    One piece being read; threads may take stretches of it, each when it is its turn.

    Args:
        start: no row with a key before this is wanted.
    """

    def __init__(self, piece: PlacedPiece, settings: StreamSettings, start: int | None = None) -> None:
        self._piece = piece
        self._settings = settings
        self._start = start
        self._later = np.minimum.accumulate(piece.first_keys[::-1])[::-1]
        self._next = 0
        if start is not None:
            met = np.flatnonzero(piece.last_keys >= start)
            self._next = int(met[0]) if len(met) else len(self._later)
        self._chunks: Iterator[EventBatch] | None = None
        self._waiting: list[Rows] = []
        self._turn = threading.Condition()
        self._number = 0
        self._is_broken = False

    def take(self, number: int, until: int | None) -> list[Rows]:
        """
        The rows of one stretch that were not taken yet: keys before `until`.

        Args:
            number: of the stretch; waits for the one before.
            until: None: all that are left.
        """
        with self._turn:
            self._turn.wait_for(lambda: self._number == number or self._is_broken)
            if self._is_broken:
                raise _Broken
            try:
                return self._taken(until)
            except BaseException:
                self._is_broken = True
                raise
            finally:
                self._number += 1
                self._turn.notify_all()

    def is_behind(self, until: int | None) -> bool:
        """Whether chunks are to be read before a stretch can be taken that ends there."""
        at = self._next
        return at < len(self._later) and (until is None or int(self._later[at]) < until)

    def read_ahead(self, until: int | None) -> None:
        """Read those chunks, unless some stretch did or another thread failed."""
        with self._turn:
            try:
                while not self._is_broken and self.is_behind(until):
                    self._read_next()
            except BaseException:
                self._is_broken = True
                self._turn.notify_all()
                raise

    def break_off(self) -> None:
        """Whoever waits for a turn gives up."""
        with self._turn:
            self._is_broken = True
            self._turn.notify_all()

    def _taken(self, until: int | None) -> list[Rows]:
        while self.is_behind(until):
            self._read_next()
        taken, waiting = [], []
        for rows in self._waiting:
            before, after = rows.split(until)
            if len(before):
                taken.append(before)
            if after is not None:
                waiting.append(after)
        self._waiting = waiting
        if self._next == len(self._later):
            self._chunks = None  # and with it the file is closed
        return taken

    def _read_next(self) -> None:
        if self._chunks is None:
            self._chunks = chunks_of(self._piece.piece, self._settings.wanted, self._next)
        batch = next(self._chunks)
        self._next += 1
        rows = rows_of(batch, self._piece, self._settings)
        if rows is not None and self._start is not None:
            rows = rows.split(self._start)[1]
        if rows is not None and len(rows):
            self._waiting.append(rows)


class _Broken(Exception):
    """Another thread failed; what it says is what matters."""


def is_broken_off(error: BaseException) -> bool:
    """Whether this only says that another stretch failed."""
    return isinstance(error, _Broken)


def codes_of(batch: EventBatch, code_of: dict[str, int]) -> Sequence[int]:
    """The clock's code for each name in a batch's dictionary, or the one of its source."""
    if batch.clocks is None:
        return [code_of[""]]
    return [code_of.get(name, -1) for name in batch.clocks.dictionary.to_pylist()]
