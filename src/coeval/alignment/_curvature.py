"""
Bounds on one strand whose rate changes slowly: by no more than c per second.

At a reading x0 such a clock is a straight line, up to c * d**2 / 2 at a distance d. So the excess at x0 is at most what
some line reaches there that stays below every point from above raised by that much, and above every point from below
lowered by it: two unknowns, the line's value and its slope, and the best line touches the convex hulls of the points.

The trick is to add the parabola once, around the origin: what changes from one x0 to the next is then the same line for
all points of a side, so the hulls never change, and thousands of messages become some tens of corners. Tangents are
found by bisection in the slopes of the hulls' edges, for all x0 at once.

Floats do here, as excesses are counted from the strand's common rate; results are rounded outward beyond their error.

Source: the critical lines of Jabbarifar and Dagenais, Online incremental clock synchronization, JNSM 23 (2015), are the
case c = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from coeval.alignment._envelope import Slopes
from coeval.alignment._rate import GRID_BITS, Float64Array, Int64Array
from coeval.alignment._steadiness import CONSISTENT_FACTOR, Points

# The curvature assumed of any strand, at least, per second. Raw oscillators stay below 1e-8 (0.01 ppm per second) while
# a machine idles, and reach 1e-7 while it heats up, which dense traffic then shows.
CURVATURE_PRIOR = 2e-8

# Beyond this, what the data show is not an oscillator that drifts, and the assumption is not made.
CURVATURE_LIMIT = 1e-5

_Side: TypeAlias = Callable[[Float64Array], tuple[Float64Array, Float64Array]]
"""For each knot a slope; to each the extreme value of such a line there, and the corner that it touches."""

_KNOT_EVERY_S = 1.2
_KNOTS_LEAST, _KNOTS_MOST = 64, 2048
_BISECTIONS = 44
_SEARCH_STEPS = 4
_NS_PER_S = 1e9
# What floats may have lost, in ns: excesses here are below a second.
_FLOAT_ERROR_NS = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Curvature:
    """
    Bounds under the assumption that the rate changes by no more than `assumed` per second.

    Attributes:
        assumed: the assumption, per second.
        consistent: the smallest tried value that explains every point, per second; the prior's half if that does.
        x: where the bounds were found, int64 ns from the strand's origin, ascending.
        upper, lower: of the excess there, in ns, rounded outward.
        sag_ns: how much more it may be between two of them than the chord says.
    """

    assumed: float
    consistent: float
    x: Int64Array
    upper: Float64Array
    lower: Float64Array
    sag_ns: float

    def upper_at(self, x: Int64Array) -> Float64Array:
        """Bounds from above at readings between the first and the last knot."""
        return np.interp(x, self.x, self.upper) + self.sag_ns

    def lower_at(self, x: Int64Array) -> Float64Array:
        """Likewise from below."""
        return np.interp(x, self.x, self.lower) - self.sag_ns


def curvature_of(points: Points, slopes: Slopes) -> Curvature | None:
    """
    Bound a strand by the curvature that its points allow; None where they tell nothing or it is no steady oscillator.

    Args:
        points: without contradiction under `slopes`.
        slopes: which slopes are possible at all.
    """
    if len(points.upper_x) < 2 or len(points.lower_x) < 2:
        return None
    lines = _Lines(points, slopes)
    if lines.span_s <= 0:
        return None
    enough = CURVATURE_PRIOR / CONSISTENT_FACTOR
    if lines.bounds(enough) is None:
        too_small = enough
        while lines.bounds(enough) is None:
            too_small, enough = enough, enough * 4
            if enough > CURVATURE_LIMIT:
                return None
        for _ in range(_SEARCH_STEPS):
            middle = float(np.sqrt(too_small * enough))
            if lines.bounds(middle) is None:
                too_small = middle
            else:
                enough = middle
    assumed = max(CURVATURE_PRIOR, CONSISTENT_FACTOR * enough)
    found = lines.bounds(assumed)
    if found is None:
        return None
    upper, lower = found
    drift = lines.rate * lines.knots_s
    sag_ns = assumed * _NS_PER_S * lines.step_s**2 / 8 + _FLOAT_ERROR_NS
    return Curvature(assumed, enough, lines.knots, upper + drift, lower + drift, sag_ns)


class _Lines:
    """The lines that pass between the points of a strand; seconds and ns, counted from its common rate."""

    def __init__(self, points: Points, slopes: Slopes) -> None:
        scale = float(1 << points.bits)
        self.first = int(min(points.upper_x[0], points.lower_x[0]))
        last = int(max(points.upper_x[-1], points.lower_x[-1]))
        self.span_s = (last - self.first) / _NS_PER_S
        count = int(np.clip(self.span_s / _KNOT_EVERY_S, _KNOTS_LEAST, _KNOTS_MOST))
        self.knots = np.linspace(self.first, last, count).astype(np.int64)
        # In seconds from the first knot, so that ten digits are left of a parabola over months.
        self.knots_s = self.knots / _NS_PER_S
        self.step_s = float(np.diff(self.knots_s).max()) if count > 1 else 0.0
        unit = _NS_PER_S / (1 << GRID_BITS)
        self.rate = (slopes.low + slopes.high) / 2 * unit
        self.low, self.high = slopes.low * unit - self.rate, slopes.high * unit - self.rate
        self.middle_s = (self.knots_s[0] + self.knots_s[-1]) / 2
        upper_s, lower_s = points.upper_x / _NS_PER_S, points.lower_x / _NS_PER_S
        self.upper = upper_s - self.middle_s, points.upper_e / scale - self.rate * upper_s
        self.lower = lower_s - self.middle_s, points.lower_e / scale - self.rate * lower_s

    def bounds(self, curvature: float) -> tuple[Float64Array, Float64Array] | None:
        """Greatest and least excess at each knot; None where no line fits at some knot."""
        bend = curvature * _NS_PER_S
        above = _Hull(self.upper[0], self.upper[1] + bend / 2 * self.upper[0] ** 2)
        below = _Hull(self.lower[0], -(self.lower[1] - bend / 2 * self.lower[0] ** 2))
        x0 = self.knots_s - self.middle_s
        bow = bend / 2 * x0**2

        def ceiling(slope: Float64Array) -> tuple[Float64Array, Float64Array]:
            value, corner = above.least(slope + bend * x0)
            return value + slope * x0 + bow, corner

        def floor(slope: Float64Array) -> tuple[Float64Array, Float64Array]:
            value, corner = below.least(-(slope - bend * x0))
            return -value + slope * x0 - bow, corner

        fits = self._where(lambda slope: floor(slope)[1] - ceiling(slope)[1], x0)
        room = ceiling(fits)[0] - floor(fits)[0]
        if bool((room < -_FLOAT_ERROR_NS).any()):
            return None
        highest = self._where(lambda slope: x0 - ceiling(slope)[1], x0)
        lowest = self._where(lambda slope: floor(slope)[1] - x0, x0)
        upper = ceiling(self._until(fits, highest, ceiling, floor))[0]
        lower = floor(self._until(fits, lowest, ceiling, floor))[0]
        slack = _FLOAT_ERROR_NS + np.abs(upper) * 1e-12
        return upper + slack, lower - slack

    def _where(self, rises: Callable[[Float64Array], Float64Array], x0: Float64Array) -> Float64Array:
        """The slope at which a concave function stops to rise, at each knot."""
        low, high = np.full(len(x0), self.low), np.full(len(x0), self.high)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            up = rises(middle) > 0
            low, high = np.where(up, middle, low), np.where(up, high, middle)
        return (low + high) / 2

    def _until(self, fits: Float64Array, wanted: Float64Array, ceiling: _Side, floor: _Side) -> Float64Array:
        """How far from a slope that fits towards the wanted one lines fit; a little beyond, so that none is missed."""
        inside, outside = fits, wanted
        for _ in range(_BISECTIONS):
            middle = (inside + outside) / 2
            fit = ceiling(middle)[0] >= floor(middle)[0]
            inside, outside = np.where(fit, middle, inside), np.where(fit, outside, middle)
        all_the_way = ceiling(wanted)[0] >= floor(wanted)[0]
        until: Float64Array = np.where(all_the_way, wanted, outside)
        return until


class _Hull:
    """The lower convex hull of points with ascending x."""

    def __init__(self, x: Float64Array, y: Float64Array) -> None:
        corners = _corners(x, y)
        self.x, self.y = x[corners], y[corners]
        self.edges = np.diff(self.y) / np.diff(self.x)

    def least(self, slope: Float64Array) -> tuple[Float64Array, Float64Array]:
        """The least y - slope * x over all points, and the x where it is."""
        corner = np.searchsorted(self.edges, slope)
        return self.y[corner] - slope * self.x[corner], self.x[corner]


def _corners(x: Float64Array, y: Float64Array) -> Int64Array:
    """Of the lower convex hull, left to right."""
    order = np.lexsort((y, x))
    order = order[np.concatenate(([True], np.diff(x[order]) > 0))]
    while len(order) > 2:
        # What lies above the chord of its neighbours is no corner, whether or not they are; where every point is a
        # corner of its neighbours, it is one of the whole.
        ax, bx, cx = x[order[:-2]], x[order[1:-1]], x[order[2:]]
        ay, by, cy = y[order[:-2]], y[order[1:-1]], y[order[2:]]
        turns = np.concatenate(([True], (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) > 0, [True]))
        if bool(turns.all()):
            break
        order = order[turns]
    return order
