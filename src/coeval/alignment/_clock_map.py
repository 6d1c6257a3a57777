"""One clock's map onto the axis, small enough to travel to whoever has that clock's readings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coeval.alignment._band import Bounds
from coeval.alignment._instants import (
    UNKNOWN_EARLIEST,
    UNKNOWN_ESTIMATE,
    UNKNOWN_LATEST,
    Instants,
    shifted,
)
from coeval.alignment._rate import Int64Array
from coeval.alignment._track import Track
from coeval.clocks import ClockId, Grade


@dataclass(frozen=True, eq=False, slots=True)
class ClockMap:
    """
    Places readings of one clock exactly as the alignment does that it is of; made by `Alignment.clock_map`.

    Attributes:
        clock: whose readings.
        reference: what instants count on.
        grade: what the intervals rest on.
    """

    clock: ClockId
    reference: ClockId
    grade: Grade
    _track: Track
    _widest: Track | None
    _likely: Track
    _epoch_ns: int

    def instants(self, readings_ns: Int64Array) -> Instants:
        """
        Place readings; see `Alignment.instants`. Fastest where they are in order.

        Args:
            readings_ns: int64, shape (n,), any order.
        """
        readings = np.asarray(readings_ns, dtype=np.int64)
        earliest, estimate, latest = bounds_by(self._track, self._widest, self._likely, readings)
        if self._epoch_ns:
            earliest = shifted(earliest, self._epoch_ns, UNKNOWN_EARLIEST)
            latest = shifted(latest, self._epoch_ns, UNKNOWN_LATEST)
            estimate = shifted(estimate, self._epoch_ns, UNKNOWN_ESTIMATE)
        return Instants(self.reference, earliest, estimate, latest, self.grade)

    def latest_ns(self, readings_ns: Int64Array) -> Int64Array:
        """
        The column `latest_ns` of `instants`, for whoever wants no other.

        Args:
            readings_ns: int64, shape (n,), any order.
        """
        readings = np.asarray(readings_ns, dtype=np.int64)
        latest = self._track.latest(readings)
        if self._widest is not None:
            latest = np.minimum(latest, self._widest.latest(readings))
        return shifted(latest, self._epoch_ns, UNKNOWN_LATEST) if self._epoch_ns else latest

    @property
    def is_monotone(self) -> bool:
        """Whether no later reading has an earlier estimate: nobody set the clock back, as far as is known."""
        return len(self._track.bands) == 1 and len(self._likely.bands) == 1


def bounds_by(track: Track, widest: Track | None, likely: Track, readings: Int64Array) -> Bounds:
    """
    Place readings.

    Args:
        track: of the grade that is asked for.
        widest: of the declared grade, where that is another one.
        likely: whose estimates count.
    """
    earliest, estimate, latest = track.bounds(readings)
    if widest is not None:
        # Both round outward, each from points of its own.
        wide = widest.bounds(readings)
        earliest, latest = np.maximum(earliest, wide.earliest), np.minimum(latest, wide.latest)
    # Also where one side only is known: estimates keep to each other as long as all of them are of the same bands.
    told = likely.bounds(readings).estimate
    is_told = (told != UNKNOWN_ESTIMATE) & (estimate != UNKNOWN_ESTIMATE)
    if bool(is_told.all()):
        return Bounds(earliest, np.clip(told, earliest, latest), latest)
    return Bounds(earliest, np.where(is_told, np.clip(told, earliest, latest), estimate), latest)
