"""Every call of a recording with its tries, in columns, in the order they began; single calls are made on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST
from coeval.clocks import ClockId, Stamp
from coeval.recording import Recording
from coeval.recording._rows import FailureRow
from coeval.timeline._attempts import (
    FINISHED,
    HANDED_OVER,
    NOBODY,
    SEEN,
    STARTED,
    UNFINISHED,
    Attempts,
    BoolArray,
    Int64Array,
    is_shared,
)
from coeval.timeline._event import (
    CallAttempt,
    CallFailure,
    CallStatus,
    Duration,
    FourInstants,
    FourStamps,
    TimelineCall,
)
from coeval.timeline._events import Names, clock_codes_of
from coeval.timeline._evidence import Evidence
from coeval.timeline._placed import place

STATUSES: tuple[CallStatus, ...] = ("finished", "failed", "unfinished")


class TimelineCalls(Sequence[TimelineCall]):
    """
    All calls in the order in which their last tries began (started; where none did, handed over or seen).

    A call whose hand-over is not recorded is not here; `unnamed_count` says how many outcomes have none.
    """

    def __init__(self, recording: Recording, attempts: Attempts, evidence: Evidence) -> None:
        self._recording = recording
        self._attempts = attempts
        self._clock_of = evidence.clock_of
        self._alignment = evidence.alignment
        self._names = Names(recording)
        clocks, drivers = clock_codes_of(evidence.clock_of, attempts.driver)
        workers = clock_codes_of(evidence.clock_of, attempts.process)[1]
        self._clocks = (drivers, workers, workers, drivers)
        self._placed = tuple(
            place(
                evidence.alignment,
                clocks,
                np.where(attempts.stamps[:, column] != 0, codes, NOBODY),
                attempts.stamps[:, column],
            )
            for column, codes in enumerate(self._clocks)
        )
        self._widen_shared()
        named = np.flatnonzero(attempts.call >= 0)
        self.unnamed_count = int(attempts.shared_by[attempts.call < 0].sum())
        rows = named[np.lexsort((attempts.batch[named], attempts.call[named], attempts.executor[named]))]
        first = np.ones(len(rows), dtype=np.bool_)
        first[1:] = (np.diff(attempts.executor[rows]) != 0) | (np.diff(attempts.call[rows]) != 0)
        starts = np.append(np.flatnonzero(first), len(rows))
        last = rows[starts[1:] - 1]  # batches are numbered in the order they were sent
        order = np.lexsort((attempts.call[last], attempts.executor[last], *self._begin_keys(last)))
        self._rows = rows
        self._starts, self._ends, self._last = starts[:-1][order], starts[1:][order], last[order]
        self.status_codes = self._statuses(self._last)
        # Which try is not how often it was tried: what was moved never started.
        self.retried_count = int((attempts.attempt[self._last] > 1).sum())

    def _widen_shared(self) -> None:
        """A start or end that calls share is anywhere between the two."""
        started, finished = self._placed[STARTED], self._placed[FINISHED]
        rows = np.flatnonzero(is_shared(self._attempts))
        started.latest[rows] = finished.latest[rows]
        finished.earliest[rows] = started.earliest[rows]

    def _begin_keys(self, rows: Int64Array) -> tuple[Int64Array, BoolArray]:
        when = np.full(len(rows), UNKNOWN_ESTIMATE, dtype=np.int64)
        for column in (STARTED, HANDED_OVER, SEEN):
            when = np.where(when == UNKNOWN_ESTIMATE, self._placed[column].estimate[rows], when)
        return when, when == UNKNOWN_ESTIMATE

    def _statuses(self, last: Int64Array) -> Int64Array:
        attempts = self._attempts
        outcome = np.array([_PLAIN_STATUS.get(name, 1) for name in attempts.outcomes])[attempts.outcome_codes[last]]
        is_final = np.array([*(row.final for row in self._recording.failures), False], dtype=np.bool_)
        has_failure = attempts.failure[last] >= 0
        final = is_final[attempts.failure[last]] & has_failure
        # A value that arrived and could not be rebuilt is a failure; a failure that is tried again is not the end.
        return np.where(final, 1, np.where((outcome == 1) & has_failure, 2, outcome))

    def __len__(self) -> int:
        return len(self._last)

    @overload
    def __getitem__(self, index: int) -> TimelineCall: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TimelineCall, ...]: ...
    def __getitem__(self, index: int | slice) -> TimelineCall | tuple[TimelineCall, ...]:
        if isinstance(index, slice):
            return tuple(map(self._call, range(*index.indices(len(self)))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"call {index} of {len(self)}: there is none")
        return self._call(index % len(self))

    def __iter__(self) -> Iterator[TimelineCall]:
        return map(self._call, range(len(self)))

    def __repr__(self) -> str:
        return f"<coeval.timeline.TimelineCalls: {len(self)}>"

    def count(self, status: object) -> int:
        """How many calls have this status."""
        return int((self.status_codes == STATUSES.index(status)).sum()) if status in STATUSES else 0

    def functions(self) -> dict[str, int]:
        """How many calls each function had, most called first."""
        sent, counts = np.unique(self._attempts.sent[self._last], return_counts=True)
        found: dict[str, int] = {}
        for index, count in zip(sent.tolist(), counts.tolist(), strict=True):
            name = self._names.function(index)
            found[name] = found.get(name, 0) + count
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    def inconsistencies(self) -> Iterator[str]:
        """Durations that are certainly below zero: one sentence for each pair of clocks."""
        for begin, end in ((HANDED_OVER, STARTED), (STARTED, FINISHED), (FINISHED, SEEN)):
            yield from self._backwards(begin, end)

    def _backwards(self, begin: int, end: int) -> Iterator[str]:
        attempts = self._attempts
        there = (attempts.stamps[:, begin] != 0) & (attempts.stamps[:, end] != 0)
        first, second = self._clocks[begin], self._clocks[end]
        same = there & (first == second) & (attempts.stamps[:, end] < attempts.stamps[:, begin])
        early, late = self._placed[begin].earliest, self._placed[end].latest
        apart = there & (first != second) & (early != UNKNOWN_EARLIEST) & (late != UNKNOWN_LATEST) & (late < early)
        rows = np.flatnonzero(same | apart)
        _, example, counts = np.unique(
            np.stack((first[rows], second[rows]), axis=1), axis=0, return_index=True, return_counts=True
        )
        for index, count in zip(example.tolist(), counts.tolist(), strict=True):
            row = int(rows[index])
            stamps = self._stamps(row)
            a, b = stamps[begin], stamps[end]
            assert a is not None
            assert b is not None
            greatest = self._between(row, begin, end).greatest_ns
            yield (
                f"{count} durations from {_NAMES[begin]} to {_NAMES[end]} are below zero, such as call "
                f"{int(attempts.call[row])}: at most {greatest} ns from {a.reading_ns} of clock {a.clock} to "
                f"{b.reading_ns} of clock {b.clock}. One of the two clocks does not do what it declares."
            )

    def _call(self, index: int) -> TimelineCall:
        rows = self._rows[int(self._starts[index]) : int(self._ends[index])].tolist()
        attempts = self._attempts
        last = rows[-1]
        sent, item = int(attempts.sent[last]), int(attempts.item[last])
        return TimelineCall(
            int(attempts.executor[last]),
            int(attempts.call[last]),
            self._names.function(sent),
            self._names.label(sent, item),
            STATUSES[int(self.status_codes[index])],
            tuple(map(self._attempt, rows)),
        )

    def _attempt(self, row: int) -> CallAttempt:
        attempts = self._attempts
        process = self._names.process(int(attempts.process[row]))
        stamps = self._stamps(row)
        instants = [None if stamp is None else placed[row] for stamp, placed in zip(stamps, self._placed, strict=True)]
        shared_by = int(attempts.shared_by[row])
        failure = int(attempts.failure[row])
        return CallAttempt(
            int(attempts.attempt[row]),
            int(attempts.batch[row]),
            int(attempts.item[row]),
            attempts.outcomes[int(attempts.outcome_codes[row])],
            process.host,
            process.pid,
            process.process,
            process.worker,
            FourInstants(*instants),
            stamps,
            self._queued(row, stamps),
            self._running(row, stamps),
            shared_by,
            _failure(self._recording.failures[failure]) if failure >= 0 else None,
        )

    def _stamps(self, row: int) -> FourStamps:
        attempts = self._attempts
        processes = (attempts.driver, attempts.process, attempts.process, attempts.driver)
        found: list[Stamp | None] = []
        for column, process in enumerate(processes):
            reading, index = int(attempts.stamps[row, column]), int(process[row])
            clock = self._clock_of[index] if index >= 0 else ClockId("")
            found.append(Stamp(clock, reading) if reading else None)
        return FourStamps(*found)

    def _queued(self, row: int, stamps: FourStamps) -> Duration | None:
        if stamps.handed_over is None or stamps.started is None:
            return None
        until_first = self._between(row, HANDED_OVER, STARTED)
        if int(self._attempts.shared_by[row]) == 1 or stamps.finished is None:
            return until_first
        return Duration(until_first.least_ns, self._between(row, HANDED_OVER, FINISHED).greatest_ns)

    def _running(self, row: int, stamps: FourStamps) -> Duration | None:
        if stamps.started is None or stamps.finished is None:
            return None
        whole = self._between(row, STARTED, FINISHED)
        if int(self._attempts.shared_by[row]) == 1:
            return whole
        return Duration(0, whole.greatest_ns)

    def _between(self, row: int, begin: int, end: int) -> Duration:
        """
        Exact by one clock; by two, what their bounds against the reference clock allow. Against UTC both would carry
        the same unknown error, and the difference would carry it twice.
        """
        stamps = self._stamps(row)
        first, second = stamps[begin], stamps[end]
        assert first is not None
        assert second is not None
        if first.clock == second.clock:
            return Duration(second - first, second - first)
        (a_least, a_greatest), (b_least, b_greatest) = self._on_reference_clock(first), self._on_reference_clock(second)
        return Duration(_minus(b_least, a_greatest), _minus(b_greatest, a_least))

    def _on_reference_clock(self, stamp: Stamp) -> tuple[int | None, int | None]:
        if stamp.clock not in self._alignment.clocks:
            return None, None
        offset = self._alignment.offset(stamp.clock, np.array([stamp.reading_ns], dtype=np.int64))
        least, greatest = int(offset.least_ns[0]), int(offset.greatest_ns[0])
        return (
            None if greatest == UNKNOWN_LATEST else stamp.reading_ns - greatest,
            None if least == UNKNOWN_EARLIEST else stamp.reading_ns - least,
        )


_PLAIN_STATUS = {"ok": 0, "moved": 2, UNFINISHED: 2}

_NAMES = ("handed over", "started", "finished", "seen")


def _failure(row: FailureRow) -> CallFailure:
    return CallFailure(row.kind, row.type_name, row.message, row.arguments, row.final)


def _minus(later: int | None, earlier: int | None) -> int | None:
    return None if later is None or earlier is None else later - earlier
