"""
The track of one clock: where each of its readings lies on another axis, stretch by stretch between known steps.

Each stretch has evidence of its own. One thing crosses the seams: a clock's reading never goes back, so whatever it
showed before a step was not later than whatever it shows after it. That keeps the clock's own order across steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from coeval.alignment._fit import UNKNOWN_EARLIEST, UNKNOWN_LATEST
from coeval.alignment._instants import UNKNOWN_ESTIMATE, middle
from coeval.alignment._rate import Int64Array
from coeval.clocks import Grade


class Bounds(NamedTuple):
    """Columns of int64 ns with the sentinels of `Instants`."""

    earliest: Int64Array
    estimate: Int64Array
    latest: Int64Array

    @classmethod
    def of(cls, earliest: Int64Array, latest: Int64Array) -> Bounds:
        """With the estimate in the middle, or on the only side known."""
        below = np.where(earliest == UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, earliest)
        return cls(earliest, middle(earliest, latest, np.where(latest == UNKNOWN_LATEST, below, latest)), latest)


class Piece(Protocol):
    """Places the readings of one stretch."""

    def bounds(self, readings: Int64Array, grade: Grade) -> Bounds:
        """Each column must be non-decreasing in the reading where it is known."""
        ...

    def declared_at(self, reading: int) -> tuple[int, int]:
        """Earliest and latest of one reading, the same numbers as `bounds` gives."""
        ...


class _Seam(NamedTuple):
    """What the other stretches say about one: nothing in it is before, or after, these."""

    earliest: int = UNKNOWN_EARLIEST
    latest: int = UNKNOWN_LATEST
    estimate_least: int = UNKNOWN_EARLIEST
    estimate_most: int = UNKNOWN_LATEST


class Track:
    """
    Args:
        splits: the readings at which a new stretch starts, increasing.
        pieces: one per stretch, so one more than splits.
    """

    def __init__(self, splits: Sequence[int], pieces: Sequence[Piece]) -> None:
        self._splits = np.array(splits, dtype=np.int64)
        self._pieces = tuple(pieces)
        self._seams: dict[Grade, list[_Seam]] = {grade: self._find_seams(grade) for grade in ("declared", "assumed")}

    def bounds(self, readings: Int64Array, grade: Grade) -> Bounds:
        """
        Place readings.

        Where the assumption of the assumed grade contradicts what is known otherwise, the declared bounds are given;
        where those contradict themselves, nothing is known.
        """
        found = self._placed(readings, grade)
        crossed = found.earliest > found.latest
        if not bool(crossed.any()):
            return found
        if grade == "assumed":
            declared = self.bounds(readings, "declared")
            return Bounds(*(np.where(crossed, wide, own) for wide, own in zip(declared, found, strict=True)))
        unknown = (UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST)
        return Bounds(*(np.where(crossed, none, own) for none, own in zip(unknown, found, strict=True)))

    def declared_at(self, reading: int) -> tuple[int, int]:
        """Earliest and latest of one reading by the declared bounds, with the sentinels of `Instants`."""
        number = int(self._splits.searchsorted(reading, side="right")) if len(self._splits) else 0
        earliest, latest = self._pieces[number].declared_at(reading)
        seam = self._seams["declared"][number]
        earliest, latest = max(earliest, seam.earliest), min(latest, seam.latest)
        return (earliest, latest) if earliest <= latest else (UNKNOWN_EARLIEST, UNKNOWN_LATEST)

    def _placed(self, readings: Int64Array, grade: Grade) -> Bounds:
        if len(self._pieces) == 1:
            return _joined(self._pieces[0].bounds(readings, grade), _Seam())
        numbers = np.searchsorted(self._splits, readings, side="right")
        result = Bounds(np.empty_like(readings), np.empty_like(readings), np.empty_like(readings))
        for number in np.unique(numbers).tolist():
            rows = numbers == number
            part = _joined(self._pieces[number].bounds(readings[rows], grade), self._seams[grade][number])
            for column, values in zip(result, part, strict=True):
                column[rows] = values
        return result

    def _find_seams(self, grade: Grade) -> list[_Seam]:
        seams = [_Seam() for _ in self._pieces]
        for number in range(len(self._pieces) - 2, -1, -1):
            next_seam = seams[number + 1]
            start = self._piece(number + 1, int(self._splits[number]), grade, next_seam)
            estimate = int(start.estimate[0])
            seams[number] = _Seam(
                latest=int(start.latest[0]),
                estimate_most=next_seam.estimate_most if estimate == UNKNOWN_ESTIMATE else estimate,
            )
        for number in range(1, len(self._pieces)):
            before = seams[number - 1]
            end = self._piece(number - 1, int(self._splits[number - 1]) - 1, grade, before)
            estimate = int(end.estimate[0])
            seams[number] = seams[number]._replace(
                earliest=int(end.earliest[0]),
                estimate_least=before.estimate_least if estimate == UNKNOWN_ESTIMATE else estimate,
            )
        return seams

    def _piece(self, number: int, reading: int, grade: Grade, seam: _Seam) -> Bounds:
        return _joined(self._pieces[number].bounds(np.array([reading], dtype=np.int64), grade), seam)


def _joined(found: Bounds, seam: _Seam) -> Bounds:
    earliest, latest = np.maximum(found.earliest, seam.earliest), np.minimum(found.latest, seam.latest)
    from_below, from_above = earliest != UNKNOWN_EARLIEST, latest != UNKNOWN_LATEST
    missing = found.estimate == UNKNOWN_ESTIMATE
    # With one side known its own estimate stands, unless a neighbour's estimate is in the way.
    low = np.maximum(np.where(missing, earliest, found.estimate), np.maximum(earliest, seam.estimate_least))
    high = np.minimum(np.where(missing, latest, found.estimate), np.minimum(latest, seam.estimate_most))
    one_sided = np.where(from_below, low, np.where(from_above, high, UNKNOWN_ESTIMATE))
    return Bounds(earliest, middle(earliest, latest, one_sided), latest)
