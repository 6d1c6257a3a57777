"""
The envelope: what a few bounds at single readings say about every reading, when the rate is bounded.

The function y(x) that is looked for (what the reference shows when the clock shows x) is not known. Known are points
that it does not exceed, y(x_i) <= y_i, and its slope, 1 + low <= dy/dx <= 1 + high. Then

    y(x) <= y_i + (1 + high) * (x - x_i)      to the right of a point
    y(x) <= y_i - (1 + low) * (x_i - x)       to the left of it

and the least of these over all points is the tightest bound there is: some admissible y touches it. Two running minima
give it for all points at once. Points that another point's line undercuts say nothing and are dropped.

Bounds from below are the same thing with both axes turned around, so there is one class for both.

All numbers are int64 ns counted from an origin of the caller's, magnitudes below `SPAN_NS_LIMIT`; results are exact to
a few nanoseconds, rounded outward, and y(x) as computed never runs backwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coeval.alignment._rate import Int64Array, Rate

SPAN_NS_LIMIT = 2**61
"""How far the readings of one clock may lie apart: 73 years."""


@dataclass(frozen=True, eq=False, slots=True)
class Ceiling:
    """
    The tightest bound from above.

    Attributes:
        x, y: the points that matter, strictly increasing x, non-decreasing y; at least one.
        low, high: the bounds of dy/dx - 1.
        kept: which of the points given to `over` these are.
    """

    x: Int64Array
    y: Int64Array
    low: Rate
    high: Rate
    kept: Int64Array

    @classmethod
    def over(cls, x: Int64Array, y: Int64Array, low: Rate, high: Rate) -> Ceiling:
        """Build it from points in any order, several at one x allowed; at least one. O(n log n), O(n) when sorted."""
        kept = _ordered(x, y)
        x, y = x[kept], y[kept]
        tight = y.copy()
        # The running minima are kept relative to lines through the origin; each line is floored, so a difference of two
        # is short by less than one: hence the + 1.
        line = x + high.floor_times(x)
        reach = np.minimum.accumulate(y - line)
        np.minimum(tight[1:], reach[:-1] + line[1:] + 1, out=tight[1:])
        line = x + low.floor_times(x)
        reach = np.minimum.accumulate((y - line)[::-1])[::-1]
        np.minimum(tight[:-1], reach[1:] + line[:-1] + 1, out=tight[:-1])
        matters = np.flatnonzero(tight == y)
        return cls(x[matters], y[matters], low, high, kept[matters])

    def at(self, x: Int64Array) -> Int64Array:
        """The bound at each x: y(x) <= this."""
        last = len(self.x) - 1
        index = np.searchsorted(self.x, x, side="right") - 1
        before, after = np.maximum(index, 0), np.minimum(index + 1, last)
        y_before, y_after = self.y[before], self.y[after]
        since = x - self.x[before]
        bound = y_before + since + self.high.ceil_times(since)
        until = self.x[after] - x
        from_right = y_after - until - self.low.floor_times(until)
        # The neighbour's own value is the floor: it keeps y(x) from running backwards by a rounded nanosecond.
        between = np.maximum(np.minimum(bound, from_right), y_before)
        bound = np.where(index < last, between, bound)
        return np.where(index < 0, from_right, bound)

    def at_one(self, x: int) -> int:
        """The same at a single x, by Python integers."""
        index = int(self.x.searchsorted(x, side="right")) - 1
        if index >= 0:
            y_before, since = int(self.y[index]), x - int(self.x[index])
            from_left = y_before + since - ((-self.high.numerator * since) >> self.high.shift)
            if index == len(self.x) - 1:
                return from_left
        until = int(self.x[index + 1]) - x
        from_right = int(self.y[index + 1]) - until - ((self.low.numerator * until) >> self.low.shift)
        return from_right if index < 0 else max(min(from_left, from_right), y_before)

    def set_by(self, x: int) -> int:
        """Which of the points given to `over` sets the bound at x."""
        gap = x - self.x
        line = np.where(gap >= 0, gap + self.high.ceil_times(gap), gap + self.low.ceil_times(gap))
        return int(self.kept[np.argmin(self.y + line)])

    def peaks(self) -> Int64Array:
        """Where, between two neighbouring points, the bound is loosest: the x of each local maximum of `at(x) - x`."""
        spread = float((self.high.value - self.low.value) or 1)
        gap = np.diff(self.x)
        rise = np.diff(self.y) - gap - self.low.floor_times(gap)
        return self.x[:-1] + np.clip((rise / spread).astype(np.int64), 0, gap)


def _ordered(x: Int64Array, y: Int64Array) -> Int64Array:
    """The indices that sort by x and keep the least y at each x."""
    order = np.arange(len(x)) if bool(np.all(x[1:] > x[:-1])) else np.lexsort((y, x))
    x_sorted = x[order]
    first = np.ones(len(order), dtype=np.bool_)
    np.not_equal(x_sorted[1:], x_sorted[:-1], out=first[1:])
    return order[first]
