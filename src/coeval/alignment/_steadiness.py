"""
How steady a strand's rate is, read off its own evidence: what the assumed grade rests on.

Two assumptions, each of a kind that evidence can refute, and each widened until it does not:

*Wander*: the rate, whatever it is, changes by no more than w in all (its greatest value minus its least). Every point
from below and every later one from above bound the mean rate between the two; let `most` be the least of those upper
bounds, and `least` the greatest of the lower ones. Some rate that occurs is at most `most`, and some is at least
`least`: so no rate is above `most` + w or below `least` - w. No rate is guessed.

*Curvature*: the rate changes by no more than c per second. Within c * d of a reading the clock is then a straight line
up to c * d**2 / 2, and every line that keeps to all points, widened by that much, is possible; see `_curvature.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coeval.alignment._envelope import Slopes
from coeval.alignment._rate import GRID_BITS, Float64Array, Int64Array

# The wander assumed of any strand, at least. Raw oscillators change by 0.02 ppm within minutes in still air, and by
# about 1 ppm as a machine warms up; less than this would save little and be wrong for a machine that heats up.
WANDER_PPM_PRIOR = 2.0

# How many times the smallest wander or curvature that explains the data is assumed: what was seen is a lower bound.
CONSISTENT_FACTOR = 2

_SLOPE_TRIES_MAX = 60
_UNIT = float(1 << GRID_BITS)


@dataclass(frozen=True, eq=False, slots=True)
class Points:
    """
    Bounds of one strand at single readings: excess <= `upper_e` at `upper_x`, >= `lower_e` at `lower_x`.

    Readings ascend, int64 ns from the strand's origin; excesses are int64 in units of `2**-bits` ns.
    """

    upper_x: Int64Array
    upper_e: Int64Array
    lower_x: Int64Array
    lower_e: Int64Array
    bits: int


@dataclass(frozen=True, slots=True)
class Wander:
    """
    Rates are of the axis against the clock, less one: ns per ns.

    Attributes:
        least, most: what is proven: the rate is somewhere at least `least`, and somewhere at most `most`.
        assumed: how much the rate is assumed to change in all.
        consistent: the smallest change that explains every point.
    """

    least: float
    most: float
    assumed: float
    consistent: float

    @property
    def middle(self) -> float:
        """The middle of what is known of the common rate."""
        return (self.least + self.most) / 2

    def slopes(self, declared: Slopes) -> Slopes:
        """The slopes that are possible, if the rate changes by no more than is assumed and keeps the declared bound."""
        # Outward on the grid, and once more for what floats may have lost.
        low = int(np.floor((self.least - self.assumed) * _UNIT)) - 1
        high = int(np.ceil((self.most + self.assumed) * _UNIT)) + 1
        low, high = max(low, declared.low), min(high, declared.high)
        return Slopes(low, high) if low <= high else declared


def wander_of(points: Points, declared: Slopes) -> Wander | None:
    """
    Read off how much the rate changes; None where the points cannot tell a rate.

    Args:
        points: without contradiction under the declared slopes; those that others imply may be left out.
    """
    if not len(points.upper_x) or not len(points.lower_x):
        return None
    scale = float(1 << points.bits)
    upper_e, lower_e = points.upper_e / scale, points.lower_e / scale
    upper_x, lower_x = points.upper_x.astype(np.float64), points.lower_x.astype(np.float64)
    limit_low, limit_high = declared.low / _UNIT, declared.high / _UNIT
    most = _slope_most(upper_x, upper_e, lower_x, lower_e, limit_low, limit_high)
    least = -_slope_most(lower_x, -lower_e, upper_x, -upper_e, -limit_high, -limit_low)
    # Every rate within that of both is possible at all points, and none that is not within it is possible at all.
    consistent = max(0.0, least - most)
    return Wander(least, most, max(WANDER_PPM_PRIOR / 1e6, CONSISTENT_FACTOR * consistent), consistent)


def _slope_most(
    upper_x: Float64Array,
    upper_e: Float64Array,
    lower_x: Float64Array,
    lower_e: Float64Array,
    least: float,
    most: float,
) -> float:
    """
    The least mean slope from a lower point to an upper point right of it, between `least` and `most`.

    Newton's way to minimise a ratio: at a trial slope, the pair that falls short of it most gives the next one. Any
    pair's slope is a valid answer, so what the search misses costs tightness at worst.
    """
    partners = np.searchsorted(lower_x, upper_x, side="left")
    right = partners > 0
    upper_x, upper_e, partners = upper_x[right], upper_e[right], partners[right]
    slope = most
    if not len(upper_x):
        return slope
    for _ in range(_SLOPE_TRIES_MAX):
        residue = lower_e - slope * lower_x
        highest = np.maximum.accumulate(residue)
        last = int(np.argmin(upper_e - slope * upper_x - highest[partners - 1]))
        first = int(np.argmax(residue[: partners[last]]))
        steeper = float((upper_e[last] - lower_e[first]) / (upper_x[last] - lower_x[first]))
        if steeper >= slope:
            break
        slope = steeper
    return max(slope, least)
