"""
The envelope: what bounds at single readings say about every reading of one clock, when its rate is bounded.

When a clock shows x, the axis (the reference clock, or UTC) shows T(x). T is not known. Known are points that it does
not exceed, and its slope, 1 + low <= dT/dx <= 1 + high. Then, with `excess(x) = T(x) - x`,

    excess(x) <= e_i + high * (x - x_i)       to the right of a point
    excess(x) <= e_i - low * (x_i - x)        to the left of it

and the least of these over all points is the tightest bound there is: some admissible T touches it. Bounds from below
are the same thing with both axes turned around, so there is one class for both.

Excesses are int64 in units of `2**-bits` ns, because small differences over long times decide. With all bits of the
rates' grid nothing at all is rounded; with fewer, where long times or large excesses need the room, each step is
rounded outward by less than one unit. Results are whole nanoseconds, rounded outward, and never run backwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coeval.alignment._rate import GRID_BITS, BoolArray, Int64Array, ceil_times, floor_times

SPAN_NS_LIMIT = 2**61
"""How far the readings of one clock may lie apart: 73 years."""

# From here on it pays to look whether readings are in order.
_MANY = 64

NOTHING = 2**62
"""An excess that means that nothing is known on this side."""


def is_known(excess: Int64Array) -> BoolArray:
    """Where an excess says something: sums with `NOTHING` in them do not."""
    known: BoolArray = excess < NOTHING // 2
    return known


@dataclass(frozen=True, eq=False, slots=True)
class Slopes:
    """Bounds of dT/dx - 1, on the grid of rates."""

    low: int
    high: int


@dataclass(frozen=True, eq=False, slots=True)
class Potential:
    """
    Costs of going along a clock, as differences: to a later reading, and to an earlier one.

    From reading j to a later k a bound grows by `later[k] - later[j] + slack`; to an earlier k by
    `earlier[k] - earlier[j] + slack`.
    """

    later: Int64Array
    earlier: Int64Array
    slack: int

    @classmethod
    def of(cls, x: Int64Array, slopes: Slopes, bits: int) -> Potential:
        """At these readings."""
        is_rounded = bits < GRID_BITS and (slopes.low, slopes.high) != (0, 0)
        return cls(floor_times(slopes.high, x, bits), floor_times(slopes.low, x, bits), int(is_rounded))

    def turned(self) -> Potential:
        """For bounds from below of the same readings in the same order, their excesses negated."""
        return Potential(-self.earlier, -self.later, self.slack)

    def spread(self, excess: Int64Array) -> Int64Array:
        """What bounds at all these readings, in order, say about each of them."""
        reach = np.minimum.accumulate(excess - self.later)
        reach += self.later
        back = np.minimum.accumulate((excess - self.earlier)[::-1])[::-1] + self.earlier
        np.minimum(reach, back, out=reach)
        reach += self.slack
        np.minimum(reach, excess, out=reach)
        return reach


@dataclass(frozen=True, eq=False, slots=True)
class Envelope:
    """
    The tightest bound from above on one stretch of a clock.

    Attributes:
        x: readings that matter, strictly increasing, int64 ns from an origin of the caller's.
        excess: the bound of T(x) - x there, int64 in units of `2**-bits` ns.
        slopes: of T.
        bits: 0 to 30.
    """

    x: Int64Array
    excess: Int64Array
    slopes: Slopes
    bits: int

    @classmethod
    def over(cls, x: Int64Array, excess: Int64Array, slopes: Slopes, bits: int) -> Envelope | None:
        """
        Build it from points in ascending x, several at one x allowed; None if none of them says anything.
        """
        known = is_known(excess)
        if not bool(known.any()):
            return None
        if not bool(known.all()):
            x, excess = x[known], excess[known]
        if len(x) > 1 and not bool(np.all(x[1:] > x[:-1])):
            first = np.flatnonzero(np.concatenate(([True], x[1:] != x[:-1])))
            x, excess = x[first], np.minimum.reduceat(excess, first)
        cost = Potential.of(x, slopes, bits)
        tight = cost.spread(excess)
        matters = _not_implied(tight, cost)
        made = cls(x[matters], tight[matters], slopes, bits)
        if bits < GRID_BITS:
            # From further away a bound may come out a unit tighter than it was spread; where that is another ns, two
            # ends of a message would be rounded from two values.
            differs = made.at(x) - x < -(-tight >> bits)
            if bool(differs.any()):
                matters = np.union1d(matters, np.flatnonzero(differs))
                made = cls(x[matters], tight[matters], slopes, bits)
        return made

    def at(self, x: Int64Array) -> Int64Array:
        """The bound of T at each x, int64 ns from the same origin: T(x) <= this."""
        if len(x) >= _MANY:
            # Rows of files come sorted, and then neighbours are found once for each point and not for each x.
            if bool(np.all(x[1:] >= x[:-1])):
                return self._at_ascending(x)
            if bool(np.all(x[1:] <= x[:-1])):
                # Turned round in memory too: arithmetic with both directions in it takes a fourth longer.
                return self._at_ascending(x[::-1].copy())[::-1]
        return self._at_any(x)

    def _at_ascending(self, x: Int64Array) -> Int64Array:
        """The same values by the same formulas, for many x in order."""
        first, end = (int(np.searchsorted(self.x, edge, side="right")) - 1 for edge in (x[0], x[-1]))
        first, end = max(first, 0), end + 1
        last = len(self.x) - 1
        points = self.x[first : min(end + 1, last + 1)]
        farthest = max(
            int(np.diff(points).max()) if len(points) > 1 else 0,
            int(self.x[0]) - int(x[0]),
            int(x[-1]) - int(self.x[last]),
        )
        steepest = max(abs(self.slopes.low), abs(self.slopes.high), 1)
        if farthest > min(self._near_ns(), (1 << 62) // steepest):
            return self._at_any(x)
        result = np.empty(len(x), dtype=np.int64)
        head = int(np.searchsorted(x, self.x[0], side="left"))
        tail = int(np.searchsorted(x, self.x[last], side="left"))
        if head:
            result[:head] = self._whole_ns(self._from_right(x[:head], self.x[0], self.excess[0] + self._up), x[:head])
        if tail < len(x):
            from_left = self._from_left(x[tail:], self.x[last], self.excess[last] + self._up)
            result[tail:] = self._whole_ns(from_left, x[tail:])
        if head < tail:
            inner = x[head:tail]
            end = min(end, last)
            points, excess = self.x[first : end + 1], self.excess[first : end + 1] + self._up
            edges = np.searchsorted(inner, points, side="left")
            edges[0], edges[-1] = 0, len(inner)
            counts = np.diff(edges)
            before, after = (points[:-1], excess[:-1]), (points[1:], excess[1:])
            least = self._from_left(inner, *(np.repeat(each, counts) for each in before))
            np.minimum(least, self._from_right(inner, *(np.repeat(each, counts) for each in after)), out=least)
            floor_ns = points[:-1] + (excess[:-1] >> self.bits)
            np.maximum(self._whole_ns(least, inner), np.repeat(floor_ns, counts), out=result[head:tail])
        return result

    @property
    def _up(self) -> int:
        return (1 << self.bits) - 1

    def _from_left(self, x: Int64Array, before: Int64Array, excess: Int64Array) -> Int64Array:
        """The excess that the point before allows; the product of distance and slope fits 63 bits."""
        value = x - before
        value *= np.int64(-self.slopes.high)
        value >>= GRID_BITS - self.bits
        np.subtract(excess, value, out=value)
        return value

    def _from_right(self, x: Int64Array, after: Int64Array, excess: Int64Array) -> Int64Array:
        """The one that the point after allows, likewise."""
        value = after - x
        value *= np.int64(self.slopes.low)
        value >>= GRID_BITS - self.bits
        np.subtract(excess, value, out=value)
        return value

    def _whole_ns(self, excess: Int64Array, x: Int64Array) -> Int64Array:
        """The bound of T in whole ns; in place. What is to be rounded up was added before."""
        excess >>= self.bits
        excess += x
        return excess

    def _at_any(self, x: Int64Array) -> Int64Array:
        """In any order, and however far away."""
        slopes, last = self.slopes, len(self.x) - 1
        index = self.x.searchsorted(x, side="right") - 1
        before, after = np.maximum(index, 0), np.minimum(index + 1, last)
        near_limit = self._near_ns()
        since, until = x - self.x[before], self.x[after] - x
        near_since, near_until = np.minimum(np.abs(since), near_limit), np.minimum(np.abs(until), near_limit)
        from_left = self.excess[before] + ceil_times(slopes.high, near_since, self.bits)
        from_right = self.excess[after] - floor_times(slopes.low, near_until, self.bits)
        up = (1 << self.bits) - 1
        left_ns = x + ((from_left + up) >> self.bits)
        right_ns = x + ((from_right + up) >> self.bits)
        far = (np.abs(since) > near_limit) | (np.abs(until) > near_limit)
        if bool(far.any()):
            self._correct_far(x, before, after, far, near_limit, left_ns, right_ns)
        # The neighbour's own bound is the floor: it keeps T from running backwards by a rounded unit.
        floor_ns = self.x[before] + ((self.excess[before] + up) >> self.bits)
        between = np.maximum(np.minimum(left_ns, right_ns), floor_ns)
        return np.where(index < 0, right_ns, np.where(index == last, left_ns, between))

    def _near_ns(self) -> int:
        """How far from a point the products below fit 64 bits."""
        steepest = max(abs(self.slopes.low), abs(self.slopes.high), 1)
        return int(min(SPAN_NS_LIMIT, (1 << (61 + GRID_BITS - self.bits)) // steepest))

    def _correct_far(
        self,
        x: Int64Array,
        before: Int64Array,
        after: Int64Array,
        far: BoolArray,
        near_limit: int,
        left_ns: Int64Array,
        right_ns: Int64Array,
    ) -> None:
        """Where a point is very far away, whole nanoseconds do, rounded outward once more; order is kept."""
        x, before, after = x[far], before[far], after[far]
        up = (1 << self.bits) - 1
        since, until = x - self.x[before], self.x[after] - x
        at_before, at_after = (self.excess[before] + up) >> self.bits, (self.excess[after] + up) >> self.bits
        left = x + at_before + ceil_times(self.slopes.high, np.maximum(since, 0), 0)
        right = x + at_after - floor_times(self.slopes.low, np.maximum(until, 0), 0)
        edge = self.excess[after] - floor_times(self.slopes.low, np.array([near_limit]), self.bits)
        right = np.minimum(right, self.x[after] - near_limit + ((edge + up) >> self.bits))
        edge = self.excess[before] + ceil_times(self.slopes.high, np.array([near_limit]), self.bits)
        left = np.maximum(left, self.x[before] + near_limit + ((edge + up) >> self.bits))
        left_ns[far] = np.where(since > near_limit, left, left_ns[far])
        right_ns[far] = np.where(until > near_limit, right, right_ns[far])

    def excess_at(self, x: Int64Array) -> Int64Array:
        """The bound of T(x) - x at each x within or near the points, in units; for arithmetic that goes on."""
        last = len(self.x) - 1
        index = self.x.searchsorted(x, side="right") - 1
        before, after = np.maximum(index, 0), np.minimum(index + 1, last)
        from_left = self.excess[before] + ceil_times(self.slopes.high, np.maximum(x - self.x[before], 0), self.bits)
        from_right = self.excess[after] - floor_times(self.slopes.low, np.maximum(self.x[after] - x, 0), self.bits)
        inside = np.minimum(from_left, from_right)
        return np.where(index < 0, from_right, np.where(index == last, from_left, inside))

    def set_by(self, x: int) -> int:
        """Which of the points sets the bound at x."""
        gap = x - self.x
        forth, back = np.maximum(gap, 0), np.maximum(-gap, 0)
        total = (self.excess >> self.bits) + ceil_times(self.slopes.high, forth, 0)
        total -= floor_times(self.slopes.low, back, 0)
        return int(np.argmin(total))

    def peaks(self) -> Int64Array:
        """Where, between two neighbouring points, the bound is loosest."""
        spread = max(self.slopes.high - self.slopes.low, 1) / (1 << GRID_BITS)
        gap = np.diff(self.x)
        rise = (np.diff(self.excess) / (1 << self.bits)) - gap * (self.slopes.low / (1 << GRID_BITS))
        return self.x[:-1] + np.clip((rise / spread).astype(np.int64), 0, gap)


def _not_implied(tight: Int64Array, cost: Potential) -> Int64Array:
    """The points that their neighbours do not imply; of several that imply each other, the first."""
    count = len(tight)
    kept = np.ones(count, dtype=np.bool_)
    kept[1:] = tight[1:] < tight[:-1] + (cost.later[1:] - cost.later[:-1]) + cost.slack
    from_right = tight[1:] + (cost.earlier[:-1] - cost.earlier[1:]) + cost.slack
    kept[:-1] &= ~((tight[:-1] >= from_right) & (kept[1:]))
    return np.flatnonzero(kept)
