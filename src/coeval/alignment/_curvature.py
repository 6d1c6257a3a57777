"""
Bounds on one strand whose rate changes slowly: by no more than c per second.

At a reading x0 such a clock is a straight line, up to c * d**2 / 2 at a distance d. So the excess at x0 is at most what
some line reaches there that stays below every point from above raised by that much, and above every point from below
lowered by it: two unknowns, the line's value and its slope, and the best line touches the convex hulls of the points.

The trick is to add the parabola once, around the origin: what changes from one x0 to the next is then the same line for
all points of a side, so the hulls never change, and thousands of messages become some tens of corners. Tangents are
found by searches in the slopes of the hulls' edges, for all x0 at once.

Floats do here, as excesses are counted from the strand's common rate; results are rounded outward beyond their error.

Source: the critical lines of Jabbarifar and Dagenais, Online incremental clock synchronization, JNSM 23 (2015), are the
case c = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from coeval.alignment._envelope import Slopes
from coeval.alignment._rate import GRID_BITS, BoolArray, Float64Array, Int64Array
from coeval.alignment._steadiness import CONSISTENT_FACTOR, Points

# The curvature assumed of any strand, at least, per second. Raw oscillators stay below 1e-8 (0.01 ppm per second) while
# a machine idles, and reach 1e-7 while it heats up, which dense traffic then shows.
CURVATURE_PRIOR = 2e-8

# Of the assumed curvature, the parts that are tried for the estimate, the steadiest rate first.
_ESTIMATE_PARTS = (0.25, 0.35, 0.5, 0.7)

# Beyond this, what the data show is not an oscillator that drifts, and the assumption is not made.
CURVATURE_LIMIT = 1e-5

_KNOT_EVERY_S = 1.2
_KNOTS_LEAST, _KNOTS_MOST = 64, 2048
_SEARCH_STEPS = 4
# How often a tangent is followed: each time passes a corner at least, and two or three times are the rule.
_TANGENTS_MOST = 64
_NS_PER_S = 1e9
# What rounding to ns and following tangents may have lost.
_FLOAT_ERROR_NS = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Curvature:
    """
    Bounds under the assumption that the rate changes by no more than `assumed` per second.

    Attributes:
        assumed: the assumption, per second.
        consistent: the smallest tried value that explains every point, per second; a quarter of the prior if that does.
        bounds: what follows from the assumption.
        likely: what would follow from a steadier rate that explains every point just as well: their middle is the
            better estimate.
    """

    assumed: float
    consistent: float
    bounds: Knots
    likely: Knots


@dataclass(frozen=True, eq=False, slots=True)
class Knots:
    """
    Bounds of one strand's excess at some readings.

    Attributes:
        x: int64 ns from the strand's origin, ascending.
        upper, lower: of the excess there, in ns, rounded outward.
        sag_ns: how much more it may be between two of them than the chord says.
    """

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
    enough = CURVATURE_PRIOR * _ESTIMATE_PARTS[0]
    if lines.room(enough) is None:
        too_small = enough
        while lines.room(enough) is None:
            too_small, enough = enough, enough * 4
            if enough > CURVATURE_LIMIT:
                return None
        for _ in range(_SEARCH_STEPS):
            middle = float(np.sqrt(too_small * enough))
            if lines.room(middle) is None:
                too_small = middle
            else:
                enough = middle
    assumed = max(CURVATURE_PRIOR, CONSISTENT_FACTOR * enough)
    wide, narrow = lines.at_knots(assumed), lines.at_knots(_likely(lines, assumed))
    return None if wide is None or narrow is None else Curvature(assumed, enough, wide, narrow)


def _likely(lines: _Lines, assumed: float) -> float:
    """
    The steadiest rate that takes from the room for lines no more than chance does.

    By chance, the points at the corners of the hulls might have been slower messages; without them there would be so
    much more room.
    """
    whole, others = lines.room(assumed), lines.without_corners(assumed)
    without = others.room(assumed) if others is not None else None
    if whole is None:
        return assumed
    by_chance = float(without.mean() - whole.mean()) if without is not None else float("inf")
    for part in _ESTIMATE_PARTS:
        left = lines.room(part * assumed)
        if left is not None and float(whole.mean() - left.mean()) <= by_chance:
            return part * assumed
    return assumed


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
        self.x0 = self.knots_s - self.middle_s
        self._known: dict[float, _Fits] = {}

    def at_knots(self, curvature: float) -> Knots | None:
        """The bounds as they are used."""
        found = self.bounds(curvature)
        if found is None:
            return None
        drift = self.rate * self.knots_s
        sag_ns = curvature * _NS_PER_S * self.step_s**2 / 8 + _FLOAT_ERROR_NS
        return Knots(self.knots, found[0] + drift, found[1] + drift, sag_ns)

    def room(self, curvature: float) -> Float64Array | None:
        """How far apart the lowest and the highest of some parallel lines are at each knot; None where none fits."""
        return self._at(curvature).room

    def bounds(self, curvature: float) -> tuple[Float64Array, Float64Array] | None:
        """Greatest and least excess at each knot; None where no line fits at some knot."""
        found = self._at(curvature)
        if found.room is None:
            return None
        sides = found.sides
        # A line that touches the hull right at the knot bounds it best, if it passes the other hull.
        highest = np.clip(sides.slope_above(self.x0), self.low, self.high)
        lowest = np.clip(sides.slope_below(self.x0), self.low, self.high)
        upper = sides.ceiling(self._until(found.fits, highest, sides))[0]
        lower = sides.floor(self._until(found.fits, lowest, sides))[0]
        return upper + sides.error_ns, lower - sides.error_ns

    def without_corners(self, curvature: float) -> _Lines | None:
        """The same without the points that bound its lines; None: nothing would bound them."""
        sides, other = self._at(curvature).sides, copy(self)
        other._known = {}
        other.upper = _without(self.upper, sides.above.corners)
        other.lower = _without(self.lower, sides.below.corners)
        few = len(other.upper[0]) < 2 or len(other.lower[0]) < 2
        return None if few else other

    def _at(self, curvature: float) -> _Fits:
        """What one curvature allows; asked for again and again, and found once."""
        if curvature not in self._known:
            bend = curvature * _NS_PER_S
            above = _Hull(self.upper[0], self.upper[1] + bend / 2 * self.upper[0] ** 2)
            below = _Hull(self.lower[0], -(self.lower[1] - bend / 2 * self.lower[0] ** 2))
            sides = _Sides(above, below, self.x0, bend)
            fits = np.clip(sides.roomiest(), self.low, self.high)
            room: Float64Array = sides.ceiling(fits)[0] - sides.floor(fits)[0]
            fits_all = not bool((room < -sides.error_ns).any())
            self._known[curvature] = _Fits(sides, fits, room if fits_all else None)
        return self._known[curvature]

    def _until(self, fits: Float64Array, wanted: Float64Array, sides: _Sides) -> Float64Array:
        """
        How far from a slope that fits towards the wanted one lines fit; not less, so that none is missed.

        The room between the hulls is concave in the slope. From where there is none, its tangent meets nothing before
        the slopes where there is some: so the tangents' zeros come nearer and never go too far.
        """
        slope = wanted.copy()
        for _ in range(_TANGENTS_MOST):
            top, right = sides.ceiling(slope)
            bottom, left = sides.floor(slope)
            room, rises = top - bottom, left - right
            is_outside = (room < 0) & (rises != 0)
            if not bool(is_outside.any()):
                break
            step = np.divide(-room, rises, out=np.zeros_like(room), where=is_outside)
            nearer = slope + step
            # Floats: never beyond what is known to fit.
            nearer = np.where(wanted >= fits, np.clip(nearer, fits, slope), np.clip(nearer, slope, fits))
            if not bool((nearer != slope).any()):
                break
            slope = nearer
        return slope


class _Fits(NamedTuple):
    """
    What one curvature allows.

    Attributes:
        fits: the slopes of the lines between which there is most room, at each knot.
        room: how much; None where there is none at some knot.
    """

    sides: _Sides
    fits: Float64Array
    room: Float64Array | None


class _Sides:
    """
    What bounds lines at each knot x0 from above and from below, under one curvature.

    Attributes:
        error_ns: what floats may have lost.
    """

    def __init__(self, above: _Hull, below: _Hull, x0: Float64Array, bend: float) -> None:
        self.above, self.below = above, below
        self._shift, self._x0, self._bow = bend * x0, x0, bend / 2 * x0**2
        largest = max(float(np.abs(above.y).max()), float(np.abs(below.y).max()), float(self._bow.max()))
        self.error_ns = _FLOAT_ERROR_NS + 16 * float(np.finfo(np.float64).eps) * largest

    def ceiling(self, slope: Float64Array) -> tuple[Float64Array, Float64Array]:
        """The highest value at x0 of a line with this slope, and the x of the corner that it touches."""
        value, corner = self.above.least(slope + self._shift)
        return value + slope * self._x0 + self._bow, corner

    def floor(self, slope: Float64Array) -> tuple[Float64Array, Float64Array]:
        """The lowest value at x0, likewise."""
        value, corner = self.below.least(self._shift - slope)
        return -value + slope * self._x0 - self._bow, corner

    def slope_above(self, x: Float64Array) -> Float64Array:
        """At each knot, the slope from which on a line from above touches a corner at this x or to its right."""
        edges = np.concatenate(([-np.inf], self.above.edges, [np.inf]))
        slope: Float64Array = edges[np.searchsorted(self.above.x, x)] - self._shift
        return slope

    def slope_below(self, x: Float64Array) -> Float64Array:
        """At each knot, the slope from which on a line from below touches a corner at this x or to its left."""
        edges = np.concatenate(([-np.inf], self.below.edges, [np.inf]))
        slope: Float64Array = self._shift - edges[np.searchsorted(self.below.x, x, "right")]
        return slope

    def roomiest(self) -> Float64Array:
        """
        The slope at each knot of the lines between which there is most room: there the corner that bounds them from
        below passes the one that bounds them from above. That is at an edge of one of the hulls; minus infinity: it is
        at no slope, since it has passed from the start.
        """
        above, below, shift = self.above, self.below, self._shift

        def is_passed_above(edge: Int64Array) -> BoolArray:
            left = below.x[np.searchsorted(below.edges, 2 * shift - above.edges[edge])]
            passed: BoolArray = left <= above.x[edge + 1]
            return passed

        def is_passed_below(edge: Int64Array) -> BoolArray:
            right = above.x[np.searchsorted(above.edges, 2 * shift - below.edges[edge], "right")]
            passed: BoolArray = below.x[edge] <= right
            return passed

        first = _first_true(is_passed_above, len(above.edges), len(shift))
        at_above = np.append(above.edges, np.inf)[first] - shift
        # The slope grows as this edge's number falls.
        count = len(below.edges)
        last = count - 1 - _first_true(lambda edge: is_passed_below(count - 1 - edge), count, len(shift))
        at_below = shift - np.insert(below.edges, 0, -np.inf)[last + 1]
        if below.x[-1] <= above.x[0]:
            return np.full(len(shift), -np.inf)
        return np.minimum(at_above, at_below)


def _first_true(is_true: Callable[[Int64Array], BoolArray], count: int, width: int) -> Int64Array:
    """The first of so many numbers for which something holds, and from there on for all; `count`: for none."""
    low, high = np.zeros(width, dtype=np.int64), np.full(width, count, dtype=np.int64)
    for _ in range(count.bit_length()):
        middle = (low + high) >> 1
        is_open = low < high
        holds = is_true(np.minimum(middle, count - 1))
        high = np.where(is_open & holds, middle, high)
        low = np.where(is_open & ~holds, middle + 1, low)
    return low


class _Hull:
    """The lower convex hull of points with ascending x."""

    def __init__(self, x: Float64Array, y: Float64Array) -> None:
        self.corners = _corners(x, y)
        self.x, self.y = x[self.corners], y[self.corners]
        self.edges = np.diff(self.y) / np.diff(self.x)

    def least(self, slope: Float64Array) -> tuple[Float64Array, Float64Array]:
        """The least y - slope * x over all points, and the x where it is."""
        corner = np.searchsorted(self.edges, slope)
        least: Float64Array = self.y[corner] - slope * self.x[corner]
        return least, self.x[corner]


def _without(points: tuple[Float64Array, Float64Array], rows: Int64Array) -> tuple[Float64Array, Float64Array]:
    return np.delete(points[0], rows), np.delete(points[1], rows)


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
