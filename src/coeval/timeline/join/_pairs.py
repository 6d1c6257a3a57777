"""
Every pair of a question and an interval that touch.

Intervals are parted by their width, a class for each power of two, and each class is sorted by its begin. What touches
a question stands in one stretch of a class, and that stretch is never more than the class's width too long: one very
wide interval, such as an unknown one, costs nothing but itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from coeval.timeline.join._groups import (
    UNKNOWN_AFTER,
    UNKNOWN_BEFORE,
    GroupedValues,
    Int64Array,
    order_in_groups,
    starts_of,
)

ROWS_HELD = 1 << 19
"""
So many pairs are looked at together, and so many rows of a result wait for who writes them: what bounds the memory of a
join with many possible matches.
"""

_UNBOUNDED = 63


class _Class(NamedTuple):
    width: int | None  # None: some side is unknown
    begins: GroupedValues
    positions: Int64Array


def ranges(starts: Int64Array, stops: Int64Array) -> tuple[Int64Array, Int64Array]:
    """
    Count from each start to its stop.

    Returns:
        Which of the ranges, and the number, range after range.
    """
    lengths = np.maximum(stops - starts, 0)
    which = np.repeat(np.arange(len(starts), dtype=np.int64), lengths)
    ends = np.cumsum(lengths)
    numbers = np.arange(len(which), dtype=np.int64)
    numbers += np.repeat(starts - (ends - lengths), lengths)
    return which, numbers


def portions(lengths: Int64Array, at_most: int = ROWS_HELD) -> Iterator[slice]:
    """Cut questions so that those of a portion have about so many answers together; one question is never cut."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + at_most, side="right")))
        yield slice(start, stop)
        start = stop


class Intervals:
    """
    Intervals to be asked for those that touch others.

    Args:
        groups: of each interval, below `count`.
        earliest, latest: int64, closed; unknown sides are the two unknowns.
    """

    def __init__(self, groups: Int64Array, count: int, earliest: Int64Array, latest: Int64Array) -> None:
        self.latest = latest
        known = (earliest > UNKNOWN_BEFORE) & (latest < UNKNOWN_AFTER)
        widths = np.where(known, latest - earliest, 0)
        # The exponent of the next power of two; floats are exact enough for a bound that is checked below.
        exponents = np.where(widths > 0, np.ceil(np.log2(np.maximum(widths, 1).astype(np.float64))), 0).astype(np.int64)
        exponents[~known] = _UNBOUNDED
        self._classes: list[_Class] = []
        for exponent in np.unique(exponents).tolist():
            members = np.flatnonzero(exponents == exponent)
            group, begin = groups[members], earliest[members]
            if exponent == _UNBOUNDED:
                width, begin = None, np.full(len(members), UNKNOWN_BEFORE, dtype=np.int64)
            else:
                width = int(widths[members].max())
            order = order_in_groups(group, count, begin)
            if order is not None:
                group, begin, members = group[order], begin[order], members[order]
            self._classes.append(_Class(width, GroupedValues(begin, starts_of(group, count)), members))
        self._earliest = earliest

    def touching(
        self, groups: Int64Array, first: Int64Array, last: Int64Array, at_most: int = ROWS_HELD
    ) -> Iterator[tuple[Int64Array, Int64Array]]:
        """
        Every interval that touches [first, last] of a question of its group.

        Args:
            at_most: pairs that are looked at together, about.

        Yields:
            The question and the interval of each pair, some pairs at a time. The questions ascend from portion to
            portion: all pairs of one question are in one portion.
        """
        found = []
        total = np.zeros(len(groups), dtype=np.int64)
        for width, begins, _ in self._classes:
            if width is None:
                start, stop = begins.starts[groups], begins.starts[groups + 1]
            else:
                least = np.where(first <= UNKNOWN_BEFORE, UNKNOWN_BEFORE, np.maximum(first - width, UNKNOWN_BEFORE))
                start = begins.count_until(groups, least, inclusive=False)
                stop = begins.count_until(groups, last)
            found.append((start, stop))
            total += np.maximum(stop - start, 0)
        for portion in portions(total, at_most):
            questions, intervals = [], []
            for (_, _, positions), (start, stop) in zip(self._classes, found, strict=True):
                which, number = ranges(start[portion], stop[portion])
                which += portion.start
                interval = positions[number]
                touches = (self.latest[interval] >= first[which]) & (self._earliest[interval] <= last[which])
                questions.append(which[touches])
                intervals.append(interval[touches])
            if questions:
                yield np.concatenate(questions), np.concatenate(intervals)
