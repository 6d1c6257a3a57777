"""Readings of several clocks, placed on the timeline column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST, Alignment
from coeval.clocks import ClockId, Grade, Instant
from coeval.timeline._attempts import BoolArray, Int64Array


@dataclass(frozen=True, eq=False, slots=True)
class Placed:
    """
    Instants in columns, int64 ns, with the sentinels of `alignment.Instants` where a side is unknown.
    """

    reference: ClockId
    earliest: Int64Array
    estimate: Int64Array
    latest: Int64Array
    grade: Grade = "declared"

    def __len__(self) -> int:
        return len(self.estimate)

    def __getitem__(self, index: int) -> Instant:
        earliest, estimate, latest = int(self.earliest[index]), int(self.estimate[index]), int(self.latest[index])
        return Instant(
            self.reference,
            None if earliest == UNKNOWN_EARLIEST else earliest,
            None if estimate == UNKNOWN_ESTIMATE else estimate,
            None if latest == UNKNOWN_LATEST else latest,
            self.grade,
        )

    def taken(self, rows: Int64Array) -> Placed:
        """Some of the rows."""
        return Placed(self.reference, self.earliest[rows], self.estimate[rows], self.latest[rows], self.grade)

    @property
    def known(self) -> BoolArray:
        """Where both sides are known."""
        known: BoolArray = (self.earliest != UNKNOWN_EARLIEST) & (self.latest != UNKNOWN_LATEST)
        return known

    def widths_ns(self) -> Int64Array:
        """From earliest to latest, of the rows where both sides are known."""
        known = self.known
        return self.latest[known] - self.earliest[known]


def place(
    alignment: Alignment, clocks: Sequence[ClockId], codes: Int64Array, readings: Int64Array, grade: Grade = "declared"
) -> Placed:
    """
    Place each reading by its clock.

    A clock of which there is no evidence (code -1: not even its name is known) gives unknown instants.

    Args:
        clocks: clock ids by code.
        codes: of each reading's clock.
        readings: int64 ns, same length.
    """
    result = Placed(
        alignment.reference,
        np.full(len(readings), UNKNOWN_EARLIEST, dtype=np.int64),
        np.full(len(readings), UNKNOWN_ESTIMATE, dtype=np.int64),
        np.full(len(readings), UNKNOWN_LATEST, dtype=np.int64),
        grade,
    )
    for code, clock in enumerate(clocks):
        rows = np.flatnonzero(codes == code)
        if not len(rows) or clock not in alignment.clocks:
            continue
        found = alignment.instants(clock, readings[rows], grade)
        result.earliest[rows] = found.earliest_ns
        result.estimate[rows] = found.estimate_ns
        result.latest[rows] = found.latest_ns
    return result
