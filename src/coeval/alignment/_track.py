"""
The track of one clock: where each of its readings lies on the axis, strand by strand.

Where the clock was stepped between two readings that are known, a reading between them may be of either strand; and
where it was set back, it showed readings twice. Such a reading has both places as its interval, unless it is the very
stamp of a message whose strand is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coeval.alignment._band import Band, Bounds
from coeval.alignment._instants import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST, middle
from coeval.alignment._rate import BoolArray, Int64Array
from coeval.alignment._strands import Cut


class Track:
    """
    Args:
        bands: of each strand, in order; at least one.
        cuts: between them.
        known: of each strand, readings that are known to be of it, ascending.
    """

    def __init__(self, bands: Sequence[Band], cuts: Sequence[Cut], known: Sequence[Int64Array]) -> None:
        self.bands = tuple(bands)
        self._cuts = tuple(cuts)
        self._known = tuple(known)
        self._was_set_back = any(cut.is_set_back for cut in cuts)
        self._has_known = self._was_set_back or any(cut.others_ns for cut in cuts)

    def bounds(self, readings: Int64Array) -> Bounds:
        """Place readings."""
        if len(self.bands) == 1:
            return self.bands[0].bounds(readings)
        result = Bounds.unknown(len(readings))
        is_found = np.zeros(len(readings), dtype=np.bool_)
        may_be = [self._may_be(number, readings) for number in range(len(self.bands))]
        for number, band in enumerate(self.bands):
            _add(result, is_found, may_be[number], band.bounds(readings[may_be[number]]))
        for number, cut in enumerate(self._cuts):
            if not cut.is_given:
                between = cut.shown_between(readings) & ~self._is_known_anywhere(readings)
                if bool(between.any()):
                    _add(result, is_found, between, self._between(number, int(between.sum())))
        return result

    def latest(self, readings: Int64Array) -> Int64Array:
        """One column of `bounds`."""
        return self.bands[0].latest(readings) if len(self.bands) == 1 else self.bounds(readings).latest

    def _may_be(self, number: int, readings: Int64Array) -> BoolArray:
        """Which readings a strand may have shown."""
        first, last = self._range(number)
        may_be: BoolArray = (readings >= first) & (readings <= last)
        if self._was_set_back:
            may_be &= self._is_known(number, readings) | ~self._is_known_anywhere(readings)
        return may_be

    def _is_known(self, number: int, readings: Int64Array) -> BoolArray:
        known = self._known[number]
        if not len(known):
            return np.zeros(len(readings), dtype=np.bool_)
        found: BoolArray = known[np.minimum(known.searchsorted(readings), len(known) - 1)] == readings
        return found

    def _is_known_anywhere(self, readings: Int64Array) -> BoolArray:
        if not self._has_known:  # then every reading is of one strand by itself
            return np.zeros(len(readings), dtype=np.bool_)
        found: BoolArray = np.logical_or.reduce([self._is_known(number, readings) for number in range(len(self.bands))])
        return found

    def _between(self, number: int, count: int) -> Bounds:
        """Whichever strand they are of, readings between the two of a cut are after the one and before the other."""
        cut = self._cuts[number]
        before = self.bands[number].bounds(np.array([cut.before], dtype=np.int64))
        after = self.bands[number + 1].bounds(np.array([cut.after], dtype=np.int64))
        earliest, latest = before.earliest.repeat(count), after.latest.repeat(count)
        one_sided = (before if int(earliest[0]) != UNKNOWN_EARLIEST else after).estimate.repeat(count)
        return Bounds(earliest, middle(earliest, latest, one_sided), latest)

    def at_one(self, reading: int) -> tuple[int, int]:
        """Earliest and latest of one reading, with the sentinels of `Instants`."""
        if len(self.bands) == 1:
            return self.bands[0].at_one(reading)
        earliest, _, latest = self.bounds(np.array([reading], dtype=np.int64))
        return int(earliest[0]), int(latest[0])

    def strands_at(self, reading: int) -> list[int]:
        """Which strands a reading may belong to."""
        one = np.array([reading], dtype=np.int64)
        return [number for number in range(len(self.bands)) if bool(self._may_be(number, one)[0])]

    def _range(self, number: int) -> tuple[int, int]:
        """The first and the last reading that may belong to a strand."""
        first, last = UNKNOWN_EARLIEST, UNKNOWN_LATEST
        if number > 0:
            first = self._cuts[number - 1].after - self._gap_ns(number - 1)
        if number < len(self._cuts):
            last = self._cuts[number].before + self._gap_ns(number)
        return first, last

    def _gap_ns(self, number: int) -> int:
        """
        How much longer than is known a strand may have gone on before a cut, if the clock was set back.

        The step happened between the two readings. A clock that was set forward is between the two readings anyway.
        """
        cut = self._cuts[number]
        return cut.passed_ns if cut.is_set_back else 0


def _add(result: Bounds, is_found: BoolArray, chosen: BoolArray, part: Bounds) -> None:
    """Put bounds of some readings in; what was found already may be there or here, or in between."""
    rows, again = np.flatnonzero(chosen), is_found[chosen]
    for column, values in zip(result, part, strict=True):
        column[rows[~again]] = values[~again]
    both = rows[again]
    earliest = np.minimum(result.earliest[both], part.earliest[again])
    latest = np.maximum(result.latest[both], part.latest[again])
    result.earliest[both], result.latest[both] = earliest, latest
    result.estimate[both] = middle(earliest, latest, np.full(len(both), UNKNOWN_ESTIMATE))
    is_found |= chosen
