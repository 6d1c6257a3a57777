"""
From batches of a table to batches of events: stamps become readings, the rest is payload, unusable rows go aside.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline.readers._reader import NO_READING, EventBatch, Part, Tally
from coeval.timeline.readers._set_aside import SetAsideRow
from coeval.timeline.readers._stamp_columns import StampColumns, StampReader
from coeval.timeline.readers._values import BoolArray, Fault, Int64Array, as_numpy, described, names

Values = Mapping[str, str | None]

_GRAINS_NS = tuple(10**digits for digits in range(9, 0, -1))


class Rows(NamedTuple):
    """
    Rows of a part.

    Attributes:
        columns: what stands in them.
        lines: the line or row of each, counted from 0 at the part's start.
        unit: "line" or "row".
        values_of: what a row says, for the file of those set aside; None: by its columns.
    """

    columns: pa.RecordBatch
    lines: Int64Array
    unit: str = "row"
    values_of: Callable[[int], Values] | None = None


class TableEvents:
    """
    Makes events of one part's rows, batch by batch in their order.

    Args:
        left_out: columns that are no payload, beside those of the stamps.
    """

    def __init__(
        self,
        stamps: StampColumns,
        part: Part,
        tally: Tally,
        wanted: Collection[str] | None,
        left_out: Collection[str] = (),
    ) -> None:
        self._stamps = stamps
        self._part = part
        self._tally = tally
        self._wanted = wanted
        self._left_out = {stamps.time, stamps.end, *left_out}
        said = stamps.is_unit_said
        self._begin = StampReader(stamps.time, part.source, stamps.unit, stamps.grain, said, part.settings)
        self._end: StampReader | None = None
        if stamps.end:
            self._end = StampReader(stamps.end, part.source, stamps.end_unit, stamps.end_grain, said, part.settings)

    def of(self, rows: Rows) -> Iterator[EventBatch]:
        """
        The events of rows, one batch for each resolution that their stamps have; each row is counted as read.

        Raises:
            WrongTable: see `StampReader.read`.
        """
        stamps, columns = self._stamps, rows.columns
        self._tally.read += columns.num_rows
        if not columns.num_rows:
            return
        begin = self._begin.read(_column(columns, stamps.time))
        faults = [(stamps.time, fault) for fault in begin.faults]
        resolution: int | Int64Array = begin.resolution_ns
        end_raw: Int64Array | None = None
        is_assumed = begin.is_assumed
        if self._end is not None:
            end = self._end.read(_column(columns, stamps.end))
            faults += [(stamps.end, fault) for fault in end.faults if fault.reason != "is missing"]
            end_raw = end.raw_ns.copy()
            for fault in end.faults:
                end_raw[fault.rows] = NO_READING
            if (end_raw != NO_READING).any():
                resolution = np.maximum(resolution, end.resolution_ns)
            is_assumed |= end.is_assumed
        clocks = clocks_of(_column(columns, stamps.clock)) if stamps.clock else None
        if clocks is not None and clocks.null_count:
            nulls = np.flatnonzero(as_numpy(pc.is_null(clocks)))
            faults.append((stamps.clock, Fault("is missing, and is to name the clock", nulls)))
        good = set_aside_faults(faults, rows, self._part, self._tally)
        payload = payload_of(columns, self._wanted, self._left_out)
        yield from batches_by_resolution(
            EventBatch(rows.lines, begin.raw_ns, 0, payload, clocks, end_raw, begin.fold_ns, is_assumed),
            resolution,
            good,
        )


def batches_by_resolution(batch: EventBatch, resolution_ns: int | Int64Array, good: BoolArray) -> Iterator[EventBatch]:
    """The good rows, one batch for each resolution."""
    resolution = np.asarray(resolution_ns, dtype=np.int64)
    if resolution.ndim and len(resolution) and (resolution == resolution[0]).all():
        resolution = resolution[0]
    if resolution.ndim == 0:
        taken = batch if good.all() else filtered(batch, good)
        if len(taken):
            yield replace(taken, resolution_ns=int(resolution))
        return
    for value in np.unique(resolution[good]).tolist():
        yield replace(filtered(batch, good & (resolution == value)), resolution_ns=value)


def grains_by_code_ns(codes: Int64Array, stamps_ns: Int64Array) -> Int64Array:
    """
    For each row, the greatest power of ten up to 1 s that all stamps of its code are multiples of.

    Args:
        codes: small numbers, not negative.
    """
    grain = np.ones(int(codes.max()) + 1 if len(codes) else 1, dtype=np.int64)
    for power in _GRAINS_NS:
        odd = np.bincount(codes[stamps_ns % power != 0], minlength=len(grain))
        found = (odd == 0) & (grain == 1)
        grain[found] = power
        if (grain > 1).all():
            break
    return grain[codes]


def filtered(batch: EventBatch, good: BoolArray) -> EventBatch:
    """Some events of a batch."""
    mask = pa.array(good)
    return EventBatch(
        batch.lines[good],
        batch.raw_ns[good],
        batch.resolution_ns,
        batch.payload.filter(mask),
        None if batch.clocks is None else batch.clocks.filter(mask),
        None if batch.end_raw_ns is None else batch.end_raw_ns[good],
        None if batch.fold_ns is None else batch.fold_ns[good],
        batch.is_assumed,
    )


def payload_of(columns: pa.RecordBatch, wanted: Collection[str] | None, left_out: Collection[str]) -> pa.RecordBatch:
    """The columns that somebody will look at."""
    names = [name for name in columns.schema.names if name not in left_out and (wanted is None or name in wanted)]
    return columns.select(names)


def set_aside_faults(faults: list[tuple[str, Fault]], rows: Rows, part: Part, tally: Tally) -> BoolArray:
    """Set rows aside, each for its first reason; the rest is good."""
    good = np.ones(rows.columns.num_rows, dtype=np.bool_)
    for name, fault in faults:
        for row in fault.rows[good[fault.rows]].tolist():
            good[row] = False
            values = rows.values_of(row) if rows.values_of else described(rows.columns, row, rows.columns.schema.names)
            number = int(rows.lines[row]) + 1
            # Reasons of stamps are sentences of their own.
            reason = f"{name}: {fault.reason}" if fault.reason.startswith("its ") else f"{name} {fault.reason}"
            tally.aside.add(SetAsideRow(part.source, rows.unit, number, reason, values))
    return good


def clocks_of(column: pa.Array) -> pa.DictionaryArray:
    """A column of names as the clocks of events; an empty name is none."""
    codes, known = names(column)
    if None in known:  # what is not UTF-8 names nothing
        codes = np.where(codes == known.index(None), -1, codes)
        known = [name or "" for name in known]
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32), mask=codes < 0), pa.array(known, pa.string())
    )


def _column(columns: pa.RecordBatch, name: str) -> pa.Array:
    """A column; nulls where these rows have none of this name."""
    return columns.column(name) if name in columns.schema.names else pa.nulls(columns.num_rows)
