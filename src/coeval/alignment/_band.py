"""A band: bounds from above and from below on one strand, with the numbers of the user on both axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from coeval.alignment._envelope import SPAN_NS_LIMIT, Envelope
from coeval.alignment._instants import (
    UNKNOWN_EARLIEST,
    UNKNOWN_ESTIMATE,
    UNKNOWN_LATEST,
    middle,
    shifted,
)
from coeval.alignment._rate import BoolArray, Int64Array

_EXTRAPOLATION_NS_LIMIT = SPAN_NS_LIMIT // 2

# Of readings all of which are near enough.
_ALL = np.ones(1, dtype=np.bool_)


class Bounds(NamedTuple):
    """Columns of int64 ns with the sentinels of `Instants`."""

    earliest: Int64Array
    estimate: Int64Array
    latest: Int64Array

    @classmethod
    def unknown(cls, count: int) -> Bounds:
        """Of so many readings nothing is known."""
        return cls(
            np.full(count, UNKNOWN_EARLIEST, dtype=np.int64),
            np.full(count, UNKNOWN_ESTIMATE, dtype=np.int64),
            np.full(count, UNKNOWN_LATEST, dtype=np.int64),
        )


@dataclass(frozen=True, eq=False, slots=True)
class Band:
    """
    Attributes:
        x_origin, y_origin: what the envelopes' numbers count from, on the clock and on the axis.
        upper, lower: None: nothing is known on that side. The lower one has both axes turned around.
        lean: where one side only is known, the estimate: a bound of that side that keeps to all messages with clocks
            of which both sides are known.
    """

    x_origin: int
    y_origin: int
    upper: Envelope | None
    lower: Envelope | None
    lean: Envelope | None = None

    def bounds(self, readings: Int64Array) -> Bounds:
        """Place readings; each column is non-decreasing in the reading where it is known."""
        x, inside = self._relative(readings)
        earliest, latest = self._earliest(self.lower, x, inside), self._latest(self.upper, x, inside)
        one_sided: Int64Array | int = UNKNOWN_ESTIMATE
        if self.lower is None and self.upper is not None:
            one_sided = self._latest(self.lean or self.upper, x, inside)
            one_sided[one_sided == UNKNOWN_LATEST] = UNKNOWN_ESTIMATE
        elif self.upper is None and self.lower is not None:
            one_sided = self._earliest(self.lean or self.lower, x, inside)
        return Bounds(earliest, middle(earliest, latest, one_sided), latest)

    def latest(self, readings: Int64Array) -> Int64Array:
        """One column of `bounds`, which takes a third of its time."""
        return self._latest(self.upper, *self._relative(readings))

    def at_one(self, reading: int) -> tuple[int, int]:
        """Earliest and latest of one reading."""
        earliest, _, latest = self.bounds(np.array([reading], dtype=np.int64))
        return int(earliest[0]), int(latest[0])

    def turning_points(self) -> Int64Array:
        """Readings among which the width is least and greatest within the evidence."""
        parts = [side.x * sign for side, sign in ((self.upper, 1), (self.lower, -1)) if side is not None]
        parts += [side.peaks() * sign for side, sign in ((self.upper, 1), (self.lower, -1)) if side is not None]
        return np.concatenate(parts) + self.x_origin if parts else np.empty(0, dtype=np.int64)

    def _latest(self, side: Envelope | None, x: Int64Array, inside: BoolArray) -> Int64Array:
        if side is None:
            return np.full(len(x), UNKNOWN_LATEST, dtype=np.int64)
        found = shifted(side.at(x), self.y_origin, UNKNOWN_LATEST)
        return found if bool(inside.all()) else np.where(inside, found, UNKNOWN_LATEST)

    def _earliest(self, side: Envelope | None, x: Int64Array, inside: BoolArray) -> Int64Array:
        if side is None:
            return np.full(len(x), UNKNOWN_EARLIEST, dtype=np.int64)
        found = shifted(-side.at(-x), self.y_origin, UNKNOWN_EARLIEST)
        return found if bool(inside.all()) else np.where(inside, found, UNKNOWN_EARLIEST)

    def _relative(self, readings: Int64Array) -> tuple[Int64Array, BoolArray]:
        """Counted from the origin; and which of them are near enough to it, of each or of all."""
        least = max(self.x_origin - _EXTRAPOLATION_NS_LIMIT, UNKNOWN_EARLIEST)
        greatest = min(self.x_origin + SPAN_NS_LIMIT + _EXTRAPOLATION_NS_LIMIT, UNKNOWN_LATEST)
        if len(readings) and readings.min() >= least and readings.max() <= greatest:
            return readings - self.x_origin, _ALL
        clipped = np.clip(readings, least, greatest)
        return clipped - self.x_origin, clipped == readings
