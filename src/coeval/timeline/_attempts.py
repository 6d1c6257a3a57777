"""
The calls of a recording as columns: one row for each item of an outcome, with its call, its process and four stamps.

Rows of a recording are small tuples that name each other by numbers; this file follows the names once, for all rows at
the same time, so that a million calls take seconds. Numbers come from a file and may be anything: none of them is ever
used as a size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from coeval.recording import Recording
from coeval.recording._rows import ExecutorRow, FailureRow, ItemRow, OutcomeRow, ProcessRow, SentRow

Int64Array: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

NOBODY = -1
"""In a column of codes: there is none, or it is not known."""

UNFINISHED = "unfinished"
"""The outcome of an item that was handed over and of which nothing came home."""

HANDED_OVER, STARTED, FINISHED, SEEN = range(4)


@dataclass(frozen=True, eq=False, slots=True)
class Attempts:
    """
    Every attempt at every call, columns of equal length n in recorded order; unfinished ones last.

    Attributes:
        executor, batch, item: what the recording calls it; int64.
        call, attempt: the call's number in its executor and which try; NOBODY and 0 where the hand-over is not known.
        sent: index into `recording.sent`, NOBODY where it is missing.
        outcome_codes: index into `outcomes`.
        outcomes: kinds of outcome: "ok", a failure's kind, or UNFINISHED.
        process, driver: indices into `recording.processes` of who ran it and who asked; NOBODY where nobody did.
        stamps: raw readings as recorded, int64 ns, shape (n, 4); 0: it never got so far. Columns 0 and 3 count on the
            driver's clock, 1 and 2 on the worker's.
        shared_by: so many calls have these starts and ends in common: they ran one after the other between the two.
            1: they are its own.
        failure: index into `recording.failures`, the last one of this attempt; NOBODY: none.
    """

    executor: Int64Array
    batch: Int64Array
    item: Int64Array
    call: Int64Array
    attempt: Int64Array
    sent: Int64Array
    outcome_codes: Int64Array
    outcomes: tuple[str, ...]
    process: Int64Array
    driver: Int64Array
    stamps: Int64Array
    shared_by: Int64Array
    failure: Int64Array
    _items: _ItemIndex

    def __len__(self) -> int:
        return len(self.executor)

    def find(self, executors: Iterable[int], batches: Iterable[int], items: Iterable[int]) -> Int64Array:
        """The row of each of these items; NOBODY where there is none, as for what happened outside of any call."""
        return self._items.find(column(executors), column(batches), column(items))


class _BatchCodes:
    """Small numbers for batches, which are named by their executor and a number of its own."""

    def __init__(self, executors: Int64Array, batches: Int64Array) -> None:
        self._executors, self._batches = distinct(executors), distinct(batches)
        self._keys = distinct(self._key(executors, batches))

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, executors: Int64Array, batches: Int64Array) -> Int64Array:
        return position_in(self._keys, self._key(executors, batches))

    def _key(self, executors: Int64Array, batches: Int64Array) -> Int64Array:
        executor, batch = position_in(self._executors, executors), position_in(self._batches, batches)
        return np.where((executor < 0) | (batch < 0), NOBODY, executor * (len(self._batches) + 1) + batch)


class _ItemIndex:
    """Which row an item of a batch has."""

    def __init__(self, codes: _BatchCodes, executors: Int64Array, batches: Int64Array, items: Int64Array) -> None:
        self._codes = codes
        self._items = distinct(items)
        keys = self._key(executors, batches, items)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def find(self, executors: Int64Array, batches: Int64Array, items: Int64Array) -> Int64Array:
        place = position_in(self._keys, self._key(executors, batches, items))
        return np.where(place < 0, NOBODY, self._order[np.maximum(place, 0)]) if len(self._order) else place

    def _key(self, executors: Int64Array, batches: Int64Array, items: Int64Array) -> Int64Array:
        batch, item = self._codes.find(executors, batches), position_in(self._items, items)
        return np.where((batch < 0) | (item < 0), -2, batch * (len(self._items) + 1) + item)


def attempts_of(recording: Recording) -> Attempts:
    """Follow the recording's numbers, and lay every attempt at every call out in columns."""
    sent_executor, sent_batch, sent_attempt, sent_ns = columns(
        recording.sent, SentRow, "executor batch attempt sent_ns"
    )
    calls_of = list(map(itemgetter(SentRow._fields.index("calls")), recording.sent))
    lengths = column(map(len, calls_of))
    calls = column(chain.from_iterable(calls_of))
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
    executor, batch, first, item_count, process, *stamp_columns = columns(
        recording.outcomes,
        OutcomeRow,
        "executor batch first item_count process handed_over_ns started_ns finished_ns seen_ns",
    )
    codes = _BatchCodes(np.concatenate((sent_executor, executor)), np.concatenate((sent_batch, batch)))
    row_of_batch = np.full(len(codes), NOBODY, dtype=np.int64)
    row_of_batch[codes.find(sent_executor, sent_batch)] = np.arange(len(sent_executor))
    sent = row_of_batch[codes.find(executor, batch)]

    # A piece whose hand-over is lost is one row: how many calls it held says only the hand-over.
    room = np.where(sent >= 0, lengths[sent] if len(lengths) else 0, first + 1) - first
    count = np.clip(np.where(sent >= 0, item_count, 1), 0, np.where(first >= 0, np.maximum(room, 0), 0))
    piece = np.repeat(np.arange(len(count)), count)
    item = first[piece] + np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    flat = offsets[np.maximum(sent[piece], 0)] + item
    covered = np.zeros(len(calls), dtype=np.bool_)
    covered[flat[sent[piece] >= 0]] = True

    open_flat = np.flatnonzero(~covered)
    open_sent = np.searchsorted(offsets, open_flat, side="right") - 1
    open_stamps = np.zeros((len(open_flat), 4), dtype=np.int64)
    open_stamps[:, HANDED_OVER] = sent_ns[open_sent]
    all_sent = np.concatenate((sent[piece], open_sent))
    all_flat = np.concatenate((np.where(sent[piece] >= 0, flat, NOBODY), open_flat))
    stamps = np.concatenate((np.stack(stamp_columns, axis=1)[piece], open_stamps))
    outcome_names, outcome_codes = _kinds(recording.outcomes)
    all_executor = np.concatenate((executor[piece], sent_executor[open_sent]))
    all_batch = np.concatenate((batch[piece], sent_batch[open_sent]))
    all_item = np.concatenate((item, open_flat - offsets[open_sent]))
    index = _ItemIndex(codes, all_executor, all_batch, all_item)
    shared_by = np.concatenate((item_count[piece], np.ones(len(open_flat), dtype=np.int64)))
    _give_own_stamps(recording.items, index, stamps, shared_by)
    return Attempts(
        all_executor,
        all_batch,
        all_item,
        np.where(all_flat >= 0, calls[all_flat] if len(calls) else NOBODY, NOBODY),
        np.where(all_sent >= 0, sent_attempt[all_sent] if len(sent_attempt) else 0, 0),
        all_sent,
        np.concatenate((outcome_codes[piece], np.full(len(open_flat), len(outcome_names) - 1))),
        outcome_names,
        np.concatenate((ProcessIndex(recording).find(process)[piece], np.full(len(open_flat), NOBODY))),
        _drivers(recording, all_executor),
        stamps,
        np.maximum(shared_by, 1),
        _failures(recording.failures, index, len(all_executor)),
        index,
    )


def is_shared(attempts: Attempts) -> BoolArray:
    """Where start and end are not the call's own."""
    shared: BoolArray = attempts.shared_by > 1
    shared &= (attempts.stamps[:, STARTED] != 0) & (attempts.stamps[:, FINISHED] != 0)
    return shared


def column(values: Iterable[int]) -> Int64Array:
    """Integers as int64."""
    return np.fromiter(values, dtype=np.int64)


def columns(rows: Sequence[Any], row_type: type[Any], names: str) -> list[Int64Array]:
    """The named integer fields of all rows, a column each."""
    fields = row_type._fields
    return [
        np.fromiter(map(itemgetter(fields.index(name)), rows), dtype=np.int64, count=len(rows))
        for name in names.split()
    ]


def distinct(values: Int64Array) -> Int64Array:
    """Each value once, sorted; several times as fast as `numpy.unique` on the nearly sorted numbers of a recording."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), dtype=np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def position_in(sorted_keys: Int64Array, keys: Int64Array) -> Int64Array:
    """Where each key stands in a sorted column (the first of equals); NOBODY where it does not."""
    if not len(sorted_keys):
        return np.full(len(keys), NOBODY, dtype=np.int64)
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.where(sorted_keys[place] == keys, place, NOBODY)


class ProcessIndex:
    """From process numbers of the recording to indices into `recording.processes`; NOBODY where it is not there."""

    def __init__(self, recording: Recording) -> None:
        (numbers,) = columns(recording.processes, ProcessRow, "process")
        self._order = np.argsort(numbers, kind="stable")
        self._numbers = numbers[self._order]

    def find(self, numbers: Int64Array) -> Int64Array:
        place = position_in(self._numbers, numbers)
        return np.where(place < 0, NOBODY, self._order[np.maximum(place, 0)]) if len(self._order) else place


def drivers_by_executor(recording: Recording) -> Mapping[int, int]:
    """
    For each executor the index of its driver in `recording.processes`.

    An executor's row does not name its process; it stands after it, in the same spool.
    """
    drivers = [index for index, row in enumerate(recording.processes) if row.role == "driver"]
    if len(drivers) <= 1:
        return {row.executor: driver for row in recording.executors for driver in drivers}
    result: dict[int, int] = {}
    position, driver = -1, NOBODY
    for row in recording:
        if isinstance(row, ProcessRow):
            position += 1
            driver = position if row.role == "driver" else driver
        elif isinstance(row, ExecutorRow):
            result[row.executor] = driver
    return result


def _drivers(recording: Recording, executors: Int64Array) -> Int64Array:
    drivers = drivers_by_executor(recording)
    # An executor whose own row is lost was most likely the first driver's.
    first = next((index for index, row in enumerate(recording.processes) if row.role == "driver"), NOBODY)
    names, codes = np.unique(executors, return_inverse=True)
    return column(drivers.get(name, first) for name in names.tolist())[codes]


def _kinds(outcomes: Sequence[OutcomeRow]) -> tuple[tuple[str, ...], Int64Array]:
    codes: dict[str, int] = {}
    kinds = list(map(itemgetter(OutcomeRow._fields.index("kind")), outcomes))
    for kind in kinds:
        codes.setdefault(kind, len(codes))
    return (*codes, UNFINISHED), column(map(codes.__getitem__, kinds))


def _give_own_stamps(items: Sequence[ItemRow], index: _ItemIndex, stamps: Int64Array, shared_by: Int64Array) -> None:
    executor, batch, item, started_ns, finished_ns = columns(
        items, ItemRow, "executor batch item started_ns finished_ns"
    )
    rows = index.find(executor, batch, item)
    known = rows >= 0
    stamps[rows[known], STARTED] = started_ns[known]
    stamps[rows[known], FINISHED] = finished_ns[known]
    shared_by[rows[known]] = 1


def _failures(failures: Sequence[FailureRow], index: _ItemIndex, count: int) -> Int64Array:
    rows = index.find(*columns(failures, FailureRow, "executor batch item"))
    found = np.full(count, NOBODY, dtype=np.int64)
    known = np.flatnonzero(rows >= 0)
    found[rows[known]] = known
    return found
