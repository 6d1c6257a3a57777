"""
Rates, kept so that multiplying them with nanoseconds is exact.

Floats would do for a minute; over years of nanoseconds their rounding error is larger than a message's flight. So a
rate is a whole number of `2**-30` (0.001 ppm), rounded outward once when it is made, and a product with int64
nanoseconds is the exact integer floor or ceiling, in nanoseconds or in a binary fraction of them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int64Array: TypeAlias = npt.NDArray[np.int64]
Float64Array: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

GRID_BITS = 30
"""A rate is a whole number of 2**-30, about 0.001 ppm."""

_LIMB_MASK = (1 << GRID_BITS) - 1


def grid_up(rate: Fraction) -> int:
    """The least rate on the grid that is not below this one."""
    return -grid_down(-rate)


def grid_down(rate: Fraction) -> int:
    """The greatest rate on the grid that is not above this one."""
    return (rate.numerator << GRID_BITS) // rate.denominator


def floor_times(rate: int, duration_ns: Int64Array, bits: int) -> Int64Array:
    """
    The exact floor of rate times duration, in units of `2**-bits` ns.

    The duration is split into two limbs, because the whole product needs more than 64 bits. The result must fit int64.

    Args:
        rate: on the grid.
        duration_ns: int64 ns.
        bits: 0 to `GRID_BITS`; with all of them nothing is rounded.
    """
    high: Int64Array = (duration_ns >> GRID_BITS) * np.int64(rate)
    low: Int64Array = (duration_ns & _LIMB_MASK) * np.int64(rate)
    high <<= bits
    low >>= GRID_BITS - bits
    high += low
    return high


def ceil_times(rate: int, duration_ns: Int64Array, bits: int) -> Int64Array:
    """The exact ceiling of rate times duration, in units of `2**-bits` ns."""
    return -floor_times(-rate, duration_ns, bits)


def ppm(value: float | Fraction) -> Fraction:
    """Parts per million as the exact fraction."""
    return Fraction(value) / 1_000_000
