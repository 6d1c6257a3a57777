"""
A piece: what the scan of one part found, small enough to travel, and where its rows can be read again in chunks.

Rows of a format that is cheap to read stay where they are, and only their stamps are looked at. Others are parsed once,
into Arrow files of the spill folder. Either way the rows come in the same chunks each time, and of each chunk it is
known how early and how late its stamps are, so whoever wants a stretch of time reads only the chunks that meet it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.timeline._shared_files import own_name
from coeval.timeline.merge._aside import AsideFile
from coeval.timeline.merge._batch_file import ChunkFile, ChunkWriter, has_places
from coeval.timeline.readers._reader import EventBatch, Part, Reader, Tally
from coeval.timeline.readers._registry import reader_named
from coeval.timeline.readers._set_aside import SetAside
from coeval.timeline.readers._values import Int64Array, as_numpy
from coeval.timeline.sources._rows import EvidenceRows, EvidenceWriter, extract
from coeval.timeline.sources._rules import EvidenceRules

SAMPLE_EVERY = 1024
"""One stamp of so many tells how events spread over time."""

# Rows in a chunk that is written, about: small enough to keep one of every open piece, large enough to cost nothing.
CHUNK_ROWS = 1 << 15

# Where texts stay in their log until they are put together, so many times as much: fewer chunks are faster.
_PLACES_FOR_TEXTS = 4
# What a row of such a chunk takes in memory: where it ends.
_PLACE_BYTES = 8


class ClockStretch(NamedTuple):
    """
    The stamps of one clock in a piece, chunk by chunk.

    Attributes:
        chunks: which chunks have some, ascending.
        first_ns, last_ns: the least and the greatest reading in each.
        counts: how many in each.
        samples_ns: every `SAMPLE_EVERY`-th reading.
        latest_ns: the greatest reading with what its stamp may mean: its resolution, and a fold.
    """

    chunks: Int64Array
    first_ns: Int64Array
    last_ns: Int64Array
    counts: Int64Array
    samples_ns: Int64Array
    latest_ns: int


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """
    What is known of a part.

    Attributes:
        part: where it is from.
        file: the spilled rows; "": they are read from the part again.
        chunk_rows: how many rows each chunk has.
        clocks: stamps by clock; "" is the source's own.
        schemas: of the payloads that come, each once; of what was spilled, as if no text had a code.
        repeating: columns of texts that come as dictionaries in every chunk, beside those of `schemas`.
        has_end, has_resolution, has_assumed: whether some rows have an end, a stamp that was cut, or a zone that nobody
            said.
        lines: lines or rows passed.
        read: records that were there.
        reasons: of those set aside, how many for which reason.
        aside_file: those set aside, as lines of JSON; "": none.
        problems: what kept the part from being read to its end.
        bytes_in_row: about how much memory a row takes.
        waiting_bytes_in_row: while it waits for its stretch; less where texts stay in their log until then.
        evidence: rows that may be evidence.
        messages, anchors: what the format itself says about clocks.
    """

    part: Part
    file: str
    chunk_rows: Int64Array
    clocks: dict[str, ClockStretch]
    schemas: tuple[pa.Schema, ...]
    repeating: frozenset[str]
    has_end: bool
    has_resolution: bool
    has_assumed: bool
    lines: int
    read: int
    reasons: dict[str, int]
    aside_file: str
    problems: tuple[str, ...]
    bytes_in_row: float
    waiting_bytes_in_row: float
    evidence: EvidenceRows
    messages: Messages
    anchors: tuple[Anchor, ...]

    @property
    def events(self) -> int:
        """How many rows it has."""
        return int(self.chunk_rows.sum())


@dataclass(frozen=True, slots=True)
class ScanOrder:
    """
    What to scan and where to put it.

    Attributes:
        number: of the part; names its files.
        folder: where rows and those set aside are spilled, a path or a URL.
        clock: of rows of which the format names none.
        rules: what rows may be evidence.
        wanted: columns of the payload that somebody will look at; None: all.
        has_codes: texts that repeat may come as dictionaries.
    """

    part: Part
    number: int
    folder: str
    clock: str
    rules: EvidenceRules
    wanted: frozenset[str] | None = None
    has_codes: bool = False


def scan(order: ScanOrder) -> Piece:
    """
    Read a part once. Repeating it gives the same piece, in files of its own.

    Raises:
        WrongTable, OSError: as its reader.
    """
    reader = reader_named(order.part.reader)
    own = own_name(f"{order.folder}/part-{order.number:06}")
    with AsideFile(f"{own}.aside.jsonl") as aside, EvidenceWriter(own) as evidence:
        tally = Tally(SetAside(aside.add))
        notes = _Notes()

        def noted(batches: Iterator[EventBatch]) -> Iterator[EventBatch]:
            for batch in batches:
                found = extract(batch, order.rules, clock=order.clock, source=order.part.source, part=order.number)
                evidence.add(found)
                yield batch

        if getattr(reader, "rereads", False):
            file = ""
            for batch in noted(reader.batches(order.part, tally, order.rules.columns)):
                notes.add(batch)
            payloads = _first_payload(reader, order.part, order.wanted)
        else:
            file = f"{own}.arrow"
            needed = None if order.wanted is None else order.wanted | order.rules.columns
            writer = ChunkWriter(file, has_codes=order.has_codes)
            payloads = _spilled(noted(reader.batches(order.part, tally, needed)), order.wanted, notes, writer)
        rows = evidence.close()
    messages, anchors = reader.evidence(order.part)
    return notes.piece(order.part, file, payloads, tally, aside.path, Evidence(rows, messages, tuple(anchors)))


def chunks_of(piece: Piece, wanted: Collection[str] | None, start: int = 0) -> Iterator[EventBatch]:
    """
    The rows of a piece, chunk by chunk as they were scanned.

    Args:
        wanted: columns of the payload; None: all.
        start: the first chunk that is wanted.
    """
    if piece.file:
        with ChunkFile(piece.file, piece.part.path) as file:
            for number in range(start, len(file)):
                yield file.chunk(number)
        return
    reader = reader_named(piece.part.reader)
    for number, batch in enumerate(reader.batches(piece.part, Tally(SetAside()), wanted)):
        if number >= start:
            yield batch


class Evidence(NamedTuple):
    """What a part says about clocks; see `Piece`."""

    rows: EvidenceRows
    messages: Messages
    anchors: tuple[Anchor, ...]


class _Payloads(NamedTuple):
    schemas: tuple[pa.Schema, ...]
    bytes_in_row: float
    waiting_bytes_in_row: float
    repeating: frozenset[str] = frozenset()


def _first_payload(reader: Reader, part: Part, wanted: Collection[str] | None) -> _Payloads:
    """One batch tells the columns of a format that has the same in all."""
    for batch in reader.batches(part, Tally(SetAside()), wanted):
        bytes_in_row = batch.payload.nbytes / max(1, len(batch))
        return _Payloads((batch.payload.schema,), bytes_in_row, bytes_in_row)
    return _Payloads((), 0.0, 0.0)


def _spilled(
    batches: Iterator[EventBatch], wanted: Collection[str] | None, notes: _Notes, writer: ChunkWriter
) -> _Payloads:
    rows = size = waiting = 0
    with writer:
        for batch in batches:
            if wanted is not None:
                names = [name for name in batch.payload.schema.names if name in wanted]
                batch = replace(batch, payload=batch.payload.select(names))
            rows += len(batch)
            size += batch.payload.nbytes
            # Rows that are not in order are read with their texts at once.
            is_waiting_in_log = has_places(batch) and batch.clocks is None and _is_ascending(batch.raw_ns)
            waiting += _PLACE_BYTES * len(batch) if is_waiting_in_log else batch.payload.nbytes
            count = max(1, round(len(batch) / (CHUNK_ROWS * (_PLACES_FOR_TEXTS if is_waiting_in_log else 1))))
            cuts = [len(batch) * number // count for number in range(count + 1)]
            for start, stop in pairwise(cuts):
                chunk = batch if count == 1 else sliced(batch, start, stop)
                notes.add(chunk)
                writer.write(chunk)
    return _Payloads(tuple(writer.schemas), size / max(1, rows), waiting / max(1, rows), writer.repeating)


def sliced(batch: EventBatch, start: int, stop: int) -> EventBatch:
    """Some neighbouring events of a batch."""
    return replace(
        batch,
        lines=batch.lines[start:stop],
        raw_ns=batch.raw_ns[start:stop],
        payload=batch.payload.slice(start, stop - start),
        clocks=None if batch.clocks is None else batch.clocks.slice(start, stop - start),
        end_raw_ns=None if batch.end_raw_ns is None else batch.end_raw_ns[start:stop],
        fold_ns=None if batch.fold_ns is None else batch.fold_ns[start:stop],
        edges=None if batch.edges is None else batch.edges[start : stop + 1],
    )


class _Notes:
    """What is noted of each chunk while a part is scanned."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._stretches: dict[str, list[tuple[int, int, int, int, Int64Array]]] = {}
        self._latest: dict[str, int] = {}
        self._left: dict[str, int] = {}
        self._has_end = self._has_resolution = self._has_assumed = False

    def add(self, batch: EventBatch) -> None:
        number = len(self._rows)
        self._rows.append(len(batch))
        self._has_end |= batch.end_raw_ns is not None
        self._has_resolution |= bool(batch.resolution_ns) or batch.fold_ns is not None
        self._has_assumed |= batch.is_assumed
        means_ns = batch.resolution_ns + (0 if batch.fold_ns is None or not len(batch) else int(batch.fold_ns.max()))
        for clock, raw in readings_by_clock(batch):
            # Where a chunk begins between two samples, its first one comes that much later.
            left = self._left.get(clock, 0)
            samples = (raw if _is_ascending(raw) else np.sort(raw))[left::SAMPLE_EVERY]
            self._left[clock] = (left - len(raw)) % SAMPLE_EVERY
            last = int(raw.max())
            stretch = (number, int(raw.min()), last, len(raw), samples.copy())
            self._stretches.setdefault(clock, []).append(stretch)
            self._latest[clock] = max(self._latest.get(clock, last), last + means_ns)

    def piece(
        self, part: Part, file: str, payloads: _Payloads, tally: Tally, aside_file: str, evidence: Evidence
    ) -> Piece:
        clocks = {}
        for clock, stretches in self._stretches.items():
            chunks, first, last, counts, samples = zip(*stretches, strict=True)
            columns = [np.array(column, dtype=np.int64) for column in (chunks, first, last, counts)]
            clocks[clock] = ClockStretch(
                columns[0], columns[1], columns[2], columns[3], np.concatenate(samples), self._latest[clock]
            )
        return Piece(
            part,
            file,
            np.array(self._rows, dtype=np.int64),
            clocks,
            payloads.schemas,
            payloads.repeating,
            self._has_end,
            self._has_resolution,
            self._has_assumed,
            tally.lines,
            tally.read,
            dict(tally.aside.reasons),
            aside_file if len(tally.aside) else "",
            tuple(tally.problems),
            payloads.bytes_in_row,
            payloads.waiting_bytes_in_row,
            evidence.rows,
            evidence.messages,
            evidence.anchors,
        )


def _is_ascending(raw: Int64Array) -> bool:
    return bool(np.all(raw[1:] >= raw[:-1]))


def readings_by_clock(batch: EventBatch) -> Iterator[tuple[str, Int64Array]]:
    """The stamps of each clock of a batch."""
    if batch.clocks is None:
        if len(batch):
            yield "", batch.raw_ns
        return
    codes = as_numpy(batch.clocks.indices)
    for code, name in enumerate(batch.clocks.dictionary.to_pylist()):
        raw = batch.raw_ns[codes == code]
        if len(raw):
            yield name, raw
