"""Many instants, or many offsets, as columns; and what stands in them for "unknown"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coeval.alignment._rate import BoolArray, Int64Array
from coeval.clocks import ClockId, Grade, Instant

UNKNOWN_EARLIEST = int(np.iinfo(np.int64).min)
"""Stands for an earliest time of which nothing is known."""

UNKNOWN_LATEST = int(np.iinfo(np.int64).max)
"""Stands for a latest time of which nothing is known."""

UNKNOWN_ESTIMATE = UNKNOWN_EARLIEST
"""Stands for the missing estimate where neither side is known."""


@dataclass(frozen=True, eq=False, slots=True)
class Instants:
    """
    Instants in columns of equal length n, int64 ns on `reference`.

    Attributes:
        reference: what the numbers count on.
        earliest_ns: `UNKNOWN_EARLIEST` where nothing is known on this side.
        estimate_ns: the middle of the two sides; with one side known, a value on that side; with none,
            `UNKNOWN_ESTIMATE`.
        latest_ns: `UNKNOWN_LATEST` where nothing is known on this side.
        grade: what the intervals rest on.
    """

    reference: ClockId
    earliest_ns: Int64Array
    estimate_ns: Int64Array
    latest_ns: Int64Array
    grade: Grade

    def __len__(self) -> int:
        return len(self.earliest_ns)

    def __getitem__(self, index: int) -> Instant:
        earliest, estimate, latest = self.earliest_ns[index], self.estimate_ns[index], self.latest_ns[index]
        return Instant(
            self.reference,
            None if earliest == UNKNOWN_EARLIEST else int(earliest),
            None if estimate == UNKNOWN_ESTIMATE else int(estimate),
            None if latest == UNKNOWN_LATEST else int(latest),
            self.grade,
        )

    @property
    def known(self) -> BoolArray:
        """Where both sides are known."""
        return both_known(self.earliest_ns, self.latest_ns)


@dataclass(frozen=True, eq=False, slots=True)
class Offsets:
    """
    Offsets in columns of equal length n, int64 ns: clock minus reference clock, positive where that clock is ahead.

    Attributes:
        reference: the clock that the offsets are against.
        least_ns, greatest_ns: the bounds, `UNKNOWN_EARLIEST` and `UNKNOWN_LATEST` where unknown.
        estimate_ns: as in `Instants`.
        grade: what the bounds rest on.
    """

    reference: ClockId
    least_ns: Int64Array
    estimate_ns: Int64Array
    greatest_ns: Int64Array
    grade: Grade

    def __len__(self) -> int:
        return len(self.least_ns)

    @property
    def known(self) -> BoolArray:
        """Where both sides are known."""
        return both_known(self.least_ns, self.greatest_ns)


def both_known(earliest_ns: Int64Array, latest_ns: Int64Array) -> BoolArray:
    """Where neither side is a sentinel."""
    known: BoolArray = earliest_ns != UNKNOWN_EARLIEST
    known &= latest_ns != UNKNOWN_LATEST
    return known


def middle(earliest_ns: Int64Array, latest_ns: Int64Array, one_sided_ns: Int64Array | int) -> Int64Array:
    """
    The estimate: the floored middle where both sides are known, `one_sided_ns` elsewhere.

    The floor of the middle is non-decreasing in both sides, which keeps every order that both sides keep.
    """
    # The mean by bits, because the sum of two int64 is none.
    mean = earliest_ns ^ latest_ns
    mean >>= 1
    mean += earliest_ns & latest_ns
    known = both_known(earliest_ns, latest_ns)
    return mean if bool(known.all()) else np.where(known, mean, one_sided_ns)


def shifted(values: Int64Array, by: int, unknown: int) -> Int64Array:
    """Add a constant, itself within int64; a sentinel, and what no longer fits int64, becomes `unknown`."""
    least, greatest = UNKNOWN_EARLIEST + 1 - min(by, 0), UNKNOWN_LATEST - 1 - max(by, 0)
    if len(values) and values.min() >= least and values.max() <= greatest:
        return values + np.int64(by)
    fits = (values >= least) & (values <= greatest)
    return np.where(fits, np.where(fits, values, 0) + np.int64(by), unknown)
