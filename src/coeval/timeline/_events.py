"""Every event of a recording, in columns, in timeline order; single events are made when somebody looks at one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from coeval.clocks import ClockId, Stamp
from coeval.recording import JsonScalar, Recording
from coeval.recording._rows import ClockRow, EventRow, ProcessRow
from coeval.timeline._attempts import (
    FINISHED,
    HANDED_OVER,
    NOBODY,
    SEEN,
    STARTED,
    Attempts,
    BoolArray,
    Int64Array,
    ProcessIndex,
    columns,
    is_shared,
)
from coeval.timeline._event import TimelineEvent, TimelineEventKind
from coeval.timeline._evidence import Evidence
from coeval.timeline._order import timeline_order
from coeval.timeline._placed import Placed, place

KINDS: tuple[TimelineEventKind, ...] = (
    "handed over",
    "started",
    "finished",
    "seen",
    "failure",
    "mark",
    "span",
    "log",
    "output",
    "worker first seen",
    "worker last seen",
)
_CODE = {kind: code for code, kind in enumerate(KINDS)}

# How far along its call an event is, which decides where two instants are equal.
_LEVEL = {
    "worker first seen": 0,
    "handed over": 1,
    "started": 2,
    "mark": 3,
    "span": 3,
    "log": 3,
    "output": 3,
    "finished": 4,
    "failure": 5,
    "seen": 6,
    "worker last seen": 8,
}
# A failure that is only known from its outcome comes after it.
_LEVEL_FAILURE_SEEN = 7

_NO_READING = np.iinfo(np.int64).min


class Names:
    """Who and what the numbers of a recording are."""

    def __init__(self, recording: Recording) -> None:
        self._functions = {(row.executor, row.function): row.name for row in recording.functions}
        self.processes: Sequence[ProcessRow] = recording.processes
        self._sent = recording.sent

    def process(self, index: int) -> ProcessRow:
        """A process by its index; one that is not known has no name."""
        return self.processes[index] if index >= 0 else _UNKNOWN_PROCESS

    def function(self, sent_index: int) -> str:
        """The function of a batch; "" if it is not recorded."""
        if sent_index < 0:
            return ""
        row = self._sent[sent_index]
        return self._functions.get((row.executor, row.function), "")

    def label(self, sent_index: int, item: int) -> str:
        """What `ex.options(name=...)` called an item of a batch."""
        labels = self._sent[sent_index].labels if sent_index >= 0 else ()
        return labels[item] if 0 <= item < len(labels) else ""


_UNKNOWN_PROCESS = ProcessRow(NOBODY, "", "", 0, "", "", NOBODY)


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """Events of one kind of source, columns of equal length."""

    kind: Int64Array
    level: Int64Array
    process: Int64Array  # index; whose clock
    reading: Int64Array
    end: Int64Array  # _NO_READING: it has none
    attempt: Int64Array  # row of Attempts; NOBODY: outside of any call
    source: Int64Array  # index into recording.events or recording.failures
    piece: Int64Array  # 1: the reading is shared, the truth is between the piece's stamps

    @classmethod
    def of(
        cls,
        kind: TimelineEventKind,
        process: Int64Array,
        reading: Int64Array,
        *,
        end: Int64Array | None = None,
        attempt: Int64Array | None = None,
        source: Int64Array | None = None,
        piece: Int64Array | None = None,
        level: Int64Array | None = None,
    ) -> _Part:
        count = len(reading)

        def filled(values: Int64Array | None, value: int) -> Int64Array:
            return np.full(count, value, dtype=np.int64) if values is None else values

        return cls(
            filled(None, _CODE[kind]),
            filled(level, _LEVEL[kind]),
            process,
            reading,
            filled(end, _NO_READING),
            filled(attempt, NOBODY),
            filled(source, NOBODY),
            filled(piece, 0),
        )

    @classmethod
    def joined(cls, parts: Sequence[_Part]) -> _Part:
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    def taken(self, rows: Int64Array) -> _Part:
        return _Part(*(getattr(self, name)[rows] for name in self.__slots__))


class TimelineEvents(Sequence[TimelineEvent]):
    """
    All events in timeline order: by estimate, and where two are equal, so that nothing contradicts what is known.
    Events that cannot be placed come last.
    """

    def __init__(self, recording: Recording, attempts: Attempts, evidence: Evidence) -> None:
        self._recording = recording
        self._attempts = attempts
        self._clock_of = evidence.clock_of
        self._names = Names(recording)
        part = _Part.joined(
            [
                *_stamp_parts(attempts),
                *_failure_parts(recording, attempts),
                *_row_parts(recording, attempts),
                *_seen_parts(recording, attempts),
            ]
        )
        clocks, clock_codes = clock_codes_of(evidence.clock_of, part.process)
        placed = place(evidence.alignment, clocks, clock_codes, part.reading)
        _widen_shared(placed, part, attempts, evidence, clocks, clock_codes)
        order = timeline_order(
            placed.estimate != _NO_READING, placed.estimate, part.level, clock_codes, part.reading, part.attempt
        )
        self._part = part.taken(order)
        self.begins = placed.taken(order)
        self.clock_codes, self.clocks = clock_codes[order], clocks
        self.is_shared: BoolArray = self._part.piece == 1
        self._ends = place(
            evidence.alignment,
            clocks,
            np.where(self._part.end == _NO_READING, NOBODY, self.clock_codes),
            self._part.end,
        )

    def __len__(self) -> int:
        return len(self._part.kind)

    @overload
    def __getitem__(self, index: int) -> TimelineEvent: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TimelineEvent, ...]: ...
    def __getitem__(self, index: int | slice) -> TimelineEvent | tuple[TimelineEvent, ...]:
        if isinstance(index, slice):
            return tuple(map(self._event, range(*index.indices(len(self)))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"event {index} of {len(self)}: there is none")
        return self._event(index % len(self))

    def __iter__(self) -> Iterator[TimelineEvent]:
        return map(self._event, range(len(self)))

    def __repr__(self) -> str:
        return f"<coeval.timeline.TimelineEvents: {len(self)}>"

    def counts(self) -> Mapping[TimelineEventKind, int]:
        """How many there are of each kind."""
        found = np.bincount(self._part.kind, minlength=len(KINDS)).tolist()
        return {kind: count for kind, count in zip(KINDS, found, strict=True) if count}

    def _event(self, index: int) -> TimelineEvent:
        part, attempts, names = self._part, self._attempts, self._names
        kind = KINDS[int(part.kind[index])]
        process_at, attempt, source = int(part.process[index]), int(part.attempt[index]), int(part.source[index])
        process = names.process(process_at)
        clock = self._clock_of[process_at] if process_at >= 0 else ClockId("")
        has_end, in_piece = int(part.end[index]) != _NO_READING, bool(part.piece[index])
        sent = int(attempts.sent[attempt]) if attempt >= 0 else NOBODY
        item = int(attempts.item[attempt]) if attempt >= 0 else NOBODY
        name, fields = self._name_and_fields(kind, source, sent, process)
        return TimelineEvent(
            kind,
            name,
            names.label(sent, item),
            self.begins[index],
            self._ends[index] if has_end else None,
            Stamp(clock, int(part.reading[index])),
            Stamp(clock, int(part.end[index])) if has_end else None,
            process.host,
            process.pid,
            process.process,
            process.worker,
            int(attempts.executor[attempt]) if attempt >= 0 else NOBODY,
            int(attempts.call[attempt]) if attempt >= 0 else NOBODY,
            int(attempts.attempt[attempt]) if attempt >= 0 else 0,
            int(attempts.batch[attempt]) if attempt >= 0 else NOBODY,
            item,
            fields,
            int(attempts.shared_by[attempt]) if in_piece else 1,
            (
                Stamp(clock, int(attempts.stamps[attempt, STARTED])),
                Stamp(clock, int(attempts.stamps[attempt, FINISHED])),
            )
            if in_piece
            else None,
        )

    def _name_and_fields(
        self, kind: TimelineEventKind, source: int, sent: int, process: ProcessRow
    ) -> tuple[str, Mapping[str, JsonScalar]]:
        if kind in ("mark", "span", "log", "output"):
            row = self._recording.events[source]
            return row.name, row.fields
        if kind == "failure":
            failure = self._recording.failures[source]
            return self._names.function(sent), {
                "kind": failure.kind,
                "type": failure.type_name,
                "message": failure.message,
                "arguments": failure.arguments,
                "final": failure.final,
            }
        if kind in ("worker first seen", "worker last seen"):
            return process.role, {"python": process.python}
        return self._names.function(sent), {}


def clock_codes_of(clock_of: Sequence[ClockId], processes: Int64Array) -> tuple[tuple[ClockId, ...], Int64Array]:
    """The distinct clocks, and for each process index the code of its clock; NOBODY for a process not known."""
    codes: dict[ClockId, int] = {}
    table = np.array([*(codes.setdefault(clock, len(codes)) for clock in clock_of), NOBODY], dtype=np.int64)
    return tuple(codes), table[processes]


def _stamp_parts(attempts: Attempts) -> Iterator[_Part]:
    sides: tuple[tuple[TimelineEventKind, int, Int64Array], ...] = (
        ("handed over", HANDED_OVER, attempts.driver),
        ("started", STARTED, attempts.process),
        ("finished", FINISHED, attempts.process),
        ("seen", SEEN, attempts.driver),
    )
    shared = is_shared(attempts)
    for kind, place_in_row, process in sides:
        rows = np.flatnonzero(attempts.stamps[:, place_in_row] != 0)
        piece = shared[rows].astype(np.int64) if place_in_row in (STARTED, FINISHED) else None
        yield _Part.of(kind, process[rows], attempts.stamps[rows, place_in_row], attempt=rows, piece=piece)


def _failure_parts(recording: Recording, attempts: Attempts) -> Iterator[_Part]:
    rows = np.flatnonzero((attempts.failure >= 0) & (attempts.stamps.any(axis=1)))
    ended = (attempts.stamps[rows, FINISHED] != 0) & (attempts.process[rows] >= 0)
    seen = attempts.stamps[rows, SEEN]
    # Of an unfinished one the hand-over is all there is.
    home = np.where(seen != 0, seen, attempts.stamps[rows, HANDED_OVER])
    yield _Part.of(
        "failure",
        np.where(ended, attempts.process[rows], attempts.driver[rows]),
        np.where(ended, attempts.stamps[rows, FINISHED], home),
        attempt=rows,
        source=attempts.failure[rows],
        level=np.where(ended, _LEVEL["failure"], _LEVEL_FAILURE_SEEN),
    )


def _row_parts(recording: Recording, attempts: Attempts) -> Iterator[_Part]:
    events = recording.events
    process, executor, batch, item, reading = columns(events, EventRow, "process executor batch item reading_ns")
    process = ProcessIndex(recording).find(process)
    attempt = attempts.find(executor, batch, item)
    end = np.fromiter(
        (_NO_READING if row.end_ns is None else row.end_ns for row in events), dtype=np.int64, count=len(events)
    )
    kind = np.fromiter((_CODE.get(row.kind, NOBODY) for row in events), dtype=np.int64, count=len(events))  # type: ignore[call-overload]
    kinds: tuple[TimelineEventKind, ...] = ("mark", "span", "log", "output")
    for name in kinds:
        rows = np.flatnonzero(kind == _CODE[name])
        yield _Part.of(name, process[rows], reading[rows], end=end[rows], attempt=attempt[rows], source=rows)


def _seen_parts(recording: Recording, attempts: Attempts) -> Iterator[_Part]:
    """The first and the last reading of each worker."""
    workers = np.array([row.role != "driver" for row in recording.processes], dtype=np.bool_)
    snapshot_process, before, after = columns(recording.clocks, ClockRow, "process raw_before_ns raw_after_ns")
    event_process, event_reading = columns(recording.events, EventRow, "process reading_ns")
    find = ProcessIndex(recording).find
    process = np.concatenate(
        [attempts.process, attempts.process, find(snapshot_process), find(snapshot_process), find(event_process)]
    )
    reading = np.concatenate([attempts.stamps[:, STARTED], attempts.stamps[:, FINISHED], before, after, event_reading])
    usable = (reading != 0) & (process >= 0)
    process, reading = process[usable], reading[usable]
    least = np.full(len(workers), np.iinfo(np.int64).max)
    greatest = np.full(len(workers), np.iinfo(np.int64).min)
    np.minimum.at(least, process, reading)
    np.maximum.at(greatest, process, reading)
    rows = np.flatnonzero(workers & (least <= greatest))
    yield _Part.of("worker first seen", rows, least[rows])
    yield _Part.of("worker last seen", rows, greatest[rows])


def _widen_shared(
    placed: Placed,
    part: _Part,
    attempts: Attempts,
    evidence: Evidence,
    clocks: Sequence[ClockId],
    clock_codes: Int64Array,
) -> None:
    """A start or end that calls share is anywhere between the piece's two stamps."""
    rows = np.flatnonzero(part.piece)
    stamps = attempts.stamps[part.attempt[rows]]
    placed.earliest[rows] = place(evidence.alignment, clocks, clock_codes[rows], stamps[:, STARTED]).earliest
    placed.latest[rows] = place(evidence.alignment, clocks, clock_codes[rows], stamps[:, FINISHED]).latest
