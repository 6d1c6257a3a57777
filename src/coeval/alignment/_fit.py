"""
One clock against one reference: from half-bounds to bounds for every reading, in both grades.

A half-bound is "when the clock showed x, the reference showed at most y" (or at least y). Where half-bounds come from,
messages or anchors, is no matter here.

*Declared* bounds assume that the rate between the two stays within the declared bound, and nothing else: the envelope
of `_envelope.py` with the slope 1 -/+ that bound.

*Assumed* bounds assume in addition that this rate, whatever it is, changes by no more than a small wander w in all
(its greatest value minus its least). Every pair of half-bounds, one from above and one from below, bounds the mean
rate between their two readings; let `most` be the least of those upper bounds, and `least` the greatest of the lower
ones. Some rate that occurs is at most `most`, and some is at least `least`, so that no rate is above `most` + w or
below `least` - w. That is the envelope again, with a slope that is usually a hundred times less uncertain. No rate is
guessed: where the evidence is too short or one-sided to tell the rate, the two grades are one and the same.

Source: clocks.md section 4.2 and 4.3; there the rate is the middle of the feasible range and w counts from it. Here the
whole feasible range stays in, so that the assumption does not depend on a choice of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from coeval.alignment._envelope import SPAN_NS_LIMIT, Ceiling
from coeval.alignment._rate import BoolArray, Int64Array, Rate, ppm
from coeval.clocks import Grade

UNKNOWN_EARLIEST = int(np.iinfo(np.int64).min)
"""Stands for an earliest time of which nothing is known."""

UNKNOWN_LATEST = int(np.iinfo(np.int64).max)
"""Stands for a latest time of which nothing is known."""

# The wander assumed of any pair, at least. Raw oscillators change by 0.02 ppm within minutes in still air, and by about
# 1 ppm as a machine warms up; less than this would save little and be wrong for a machine that heats up.
WANDER_PPM_PRIOR = 2.0

# How many times the smallest wander that explains the data is assumed: what was seen is a lower bound of what was.
WANDER_FACTOR = 2

_WANDER_PPM_STEP = 0.01
_SLOPE_TRIES_MAX = 60
_YEAR_NS = 31_556_952 * 10**9
_EXTRAPOLATION_NS_LIMIT = SPAN_NS_LIMIT // 2


@dataclass(frozen=True, eq=False, slots=True)
class HalfBounds:
    """
    What is known at single readings, int64 ns: y(upper_x) <= upper_y and y(lower_x) >= lower_y, in any order.

    x is the clock, y the reference.
    """

    upper_x: Int64Array
    upper_y: Int64Array
    lower_x: Int64Array
    lower_y: Int64Array

    @classmethod
    def none(cls) -> HalfBounds:
        """No evidence at all."""
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, empty, empty)

    def __add__(self, other: HalfBounds) -> HalfBounds:
        return HalfBounds(
            np.concatenate((self.upper_x, other.upper_x)),
            np.concatenate((self.upper_y, other.upper_y)),
            np.concatenate((self.lower_x, other.lower_x)),
            np.concatenate((self.lower_y, other.lower_y)),
        )

    def __len__(self) -> int:
        return len(self.upper_x) + len(self.lower_x)


@dataclass(frozen=True, eq=False, slots=True)
class Band:
    """
    An envelope from above and one from below; None: no evidence on that side.

    `x_origin`, `y_origin` are what the envelopes' numbers count from. The lower envelope has both axes turned around.
    """

    x_origin: int
    y_origin: int
    upper: Ceiling | None
    lower: Ceiling | None

    def latest(self, x: Int64Array) -> Int64Array:
        """The greatest y possible at each x; `UNKNOWN_LATEST` where unknown or beyond int64."""
        if self.upper is None:
            return np.full(len(x), UNKNOWN_LATEST, dtype=np.int64)
        relative, inside = self._relative(x)
        return np.where(inside, shifted(self.upper.at(relative), self.y_origin, UNKNOWN_LATEST), UNKNOWN_LATEST)

    def earliest(self, x: Int64Array) -> Int64Array:
        """The least y possible at each x; `UNKNOWN_EARLIEST` where unknown or beyond int64."""
        if self.lower is None:
            return np.full(len(x), UNKNOWN_EARLIEST, dtype=np.int64)
        relative, inside = self._relative(x)
        return np.where(inside, shifted(-self.lower.at(-relative), self.y_origin, UNKNOWN_EARLIEST), UNKNOWN_EARLIEST)

    def at_one(self, x: int) -> tuple[int, int]:
        """`earliest` and `latest` of one reading, by Python integers: ten times as fast as arrays of one."""
        relative = x - self.x_origin
        inside = -_EXTRAPOLATION_NS_LIMIT <= relative <= SPAN_NS_LIMIT + _EXTRAPOLATION_NS_LIMIT
        earliest, latest = UNKNOWN_EARLIEST, UNKNOWN_LATEST
        if inside and self.lower is not None:
            earliest = self.y_origin - self.lower.at_one(-relative)
        if inside and self.upper is not None:
            latest = self.y_origin + self.upper.at_one(relative)
        return (
            earliest if UNKNOWN_EARLIEST < earliest < UNKNOWN_LATEST else UNKNOWN_EARLIEST,
            latest if UNKNOWN_EARLIEST < latest < UNKNOWN_LATEST else UNKNOWN_LATEST,
        )

    @property
    def contradicted_at(self) -> int | None:
        """A reading where the least is above the greatest by more than anywhere else; None: nowhere is it."""
        if self.upper is None or self.lower is None:
            return None
        x = -self.lower.x
        excess = -self.lower.y - self.upper.at(x)
        worst = int(np.argmax(excess))
        return int(x[worst]) + self.x_origin if excess[worst] > 0 else None

    def turning_points(self) -> Int64Array:
        """Readings among which the width is least and greatest within the evidence."""
        parts = [side.x * sign for side, sign in ((self.upper, 1), (self.lower, -1)) if side is not None]
        parts += [side.peaks() * sign for side, sign in ((self.upper, 1), (self.lower, -1)) if side is not None]
        return np.concatenate(parts) + self.x_origin if parts else np.empty(0, dtype=np.int64)

    def _relative(self, x: Int64Array) -> tuple[Int64Array, BoolArray]:
        least = max(self.x_origin - _EXTRAPOLATION_NS_LIMIT, UNKNOWN_EARLIEST)
        greatest = min(self.x_origin + SPAN_NS_LIMIT + _EXTRAPOLATION_NS_LIMIT, UNKNOWN_LATEST)
        clipped = np.clip(x, least, greatest)
        return clipped - self.x_origin, clipped == x


@dataclass(frozen=True, slots=True)
class Wander:
    """
    What the assumed grade rests on.

    Attributes:
        slope_least, slope_most: what the half-bounds prove of dy/dx - 1: it is somewhere at least `slope_least`, and
            somewhere at most `slope_most`.
        assumed: how much dy/dx is assumed to change in all.
        consistent: the smallest such change that explains every half-bound, up to 0.01 ppm.
    """

    slope_least: Fraction
    slope_most: Fraction
    assumed: Fraction
    consistent: Fraction

    @property
    def slope(self) -> Fraction:
        """The middle of what is known of the common slope."""
        return (self.slope_least + self.slope_most) / 2


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """
    Bounds on y(x) for one clock, one reference and one stretch without a step.

    Attributes:
        declared: true whenever the declared rate bound is.
        assumed: true whenever `wander` is too; None: no narrower than declared.
        wander: None where the evidence cannot tell a rate.
        contradiction: which half-bound from above and which from below cannot both be true; None: no contradiction.
            With one, neither band is trustworthy.
        evidence: the first and the last x with a half-bound; None: there are none.
    """

    declared: Band
    assumed: Band | None
    wander: Wander | None
    contradiction: tuple[int, int] | None
    evidence: tuple[int, int] | None

    def bounds(self, x: Int64Array, grade: Grade) -> tuple[Int64Array, Int64Array]:
        """Least and greatest y at each x, int64 ns with the sentinels of this module."""
        earliest, latest = self.declared.earliest(x), self.declared.latest(x)
        if grade == "assumed" and self.assumed is not None:
            np.maximum(earliest, self.assumed.earliest(x), out=earliest)
            np.minimum(latest, self.assumed.latest(x), out=latest)
        return earliest, latest


def fit(half_bounds: HalfBounds, slope_limit: Fraction) -> Fit:
    """
    Bound y(x) at every x.

    Args:
        half_bounds: the evidence.
        slope_limit: the declared bound: dy/dx stays within 1 -/+ this.

    Raises:
        ValueError: Readings of one clock lie more than 73 years apart.
    """
    if not len(half_bounds):
        return Fit(Band(0, 0, None, None), None, None, None, None)
    evidence = x_origin, _ = _range(half_bounds.upper_x, half_bounds.lower_x)
    y_origin, _ = _range(half_bounds.upper_y, half_bounds.lower_y)
    low, high = Rate.down(-slope_limit), Rate.up(slope_limit)
    upper = lower = None
    if len(half_bounds.upper_x):
        upper = Ceiling.over(half_bounds.upper_x - x_origin, half_bounds.upper_y - y_origin, low, high)
    if len(half_bounds.lower_x):
        lower = Ceiling.over(x_origin - half_bounds.lower_x, y_origin - half_bounds.lower_y, low, high)
    declared = Band(x_origin, y_origin, upper, lower)
    if upper is None or lower is None:
        return Fit(declared, None, None, None, evidence)
    where = declared.contradicted_at
    if where is not None:
        relative = where - x_origin
        return Fit(declared, None, None, (upper.set_by(relative), lower.set_by(-relative)), evidence)
    wander = _wander(upper, lower, slope_limit)
    return Fit(declared, _narrower(declared, wander, wander.assumed, slope_limit), wander, None, evidence)


def _wander(upper: Ceiling, lower: Ceiling, slope_limit: Fraction) -> Wander:
    # Points that the declared envelope dropped set no slope within the declared limit either: what is left is enough.
    most = _slope_most(upper.x, upper.y - upper.x, -lower.x, lower.x - lower.y, slope_limit)
    least = -_slope_most(-upper.x, upper.y - upper.x, lower.x, lower.x - lower.y, slope_limit)
    wander = Wander(least, most, ppm(WANDER_PPM_PRIOR), Fraction(0))
    band = Band(0, 0, upper, lower)

    def explains(change: Fraction) -> bool:
        if wander.slope_least - change > wander.slope_most + change:
            return False
        narrower = _narrower(band, wander, change, slope_limit)
        return narrower is None or narrower.contradicted_at is None

    if least <= most:
        return wander
    too_small, enough = Fraction(0), 2 * slope_limit
    if explains(wander.assumed / WANDER_FACTOR):
        enough = wander.assumed / WANDER_FACTOR
    while enough - too_small > max(ppm(_WANDER_PPM_STEP), enough / 50):
        middle = (too_small + enough) / 2
        if explains(middle):
            enough = middle
        else:
            too_small = middle
    return replace(wander, assumed=max(wander.assumed, WANDER_FACTOR * enough), consistent=enough)


def _narrower(band: Band, wander: Wander, change: Fraction, slope_limit: Fraction) -> Band | None:
    """The band under a rate that changes by `change` in all; None where that excludes no slope within the limit."""
    least, most = max(wander.slope_least - change, -slope_limit), min(wander.slope_most + change, slope_limit)
    if least == -slope_limit and most == slope_limit:
        return None
    assert band.upper is not None
    assert band.lower is not None
    low, high = Rate.down(least), Rate.up(most)
    upper = Ceiling.over(band.upper.x, band.upper.y, low, high)
    lower = Ceiling.over(band.lower.x, band.lower.y, low, high)
    return Band(band.x_origin, band.y_origin, upper, lower)


def _slope_most(
    upper_x: Int64Array, upper_y: Int64Array, lower_x: Int64Array, lower_y: Int64Array, limit: Fraction
) -> Fraction:
    """
    The least mean slope from a lower point to an upper point right of it, at most `limit`. Lower points may come in
    descending x.

    Newton's way to minimise a ratio: at a trial slope, the pair that falls short of it most gives the next one. Any
    pair's slope is a valid answer, so floats in the search cost tightness at worst.
    """
    if len(lower_x) > 1 and lower_x[0] > lower_x[-1]:
        lower_x, lower_y = lower_x[::-1], lower_y[::-1]
    partners = np.searchsorted(lower_x, upper_x, side="left")
    upper_x, upper_y, partners = upper_x[partners > 0], upper_y[partners > 0], partners[partners > 0]
    slope = limit
    if not len(upper_x):
        return slope
    upper_x_float, lower_x_float = upper_x.astype(np.float64), lower_x.astype(np.float64)
    for _ in range(_SLOPE_TRIES_MAX):
        lower_residue = lower_y - float(slope) * lower_x_float
        highest = np.maximum.accumulate(lower_residue)
        last = int(np.argmin(upper_y - float(slope) * upper_x_float - highest[partners - 1]))
        first = int(np.argmax(lower_residue[: partners[last]]))
        rise, run = int(upper_y[last]) - int(lower_y[first]), int(upper_x[last]) - int(lower_x[first])
        steeper = Fraction(rise, run)
        if steeper >= slope:
            break
        slope = steeper
    return max(slope, -limit)


def _range(first: Int64Array, second: Int64Array) -> tuple[int, int]:
    least = min(int(part.min()) for part in (first, second) if len(part))
    greatest = max(int(part.max()) for part in (first, second) if len(part))
    if greatest - least > SPAN_NS_LIMIT:
        raise ValueError(
            f"readings of one clock go from {least} to {greatest} ns, {(greatest - least) / _YEAR_NS:.0f} years: at "
            f"most {SPAN_NS_LIMIT / _YEAR_NS:.0f} are possible. Look for stamps in another unit or of another clock."
        )
    return least, greatest


def shifted(values: Int64Array, by: int, unknown: int) -> Int64Array:
    """Add a constant, itself within int64; a sentinel, and what no longer fits int64, becomes `unknown`."""
    fits = (values >= UNKNOWN_EARLIEST + 1 - min(by, 0)) & (values <= UNKNOWN_LATEST - 1 - max(by, 0))
    return np.where(fits, np.where(fits, values, 0) + np.int64(by), unknown)
