"""
A rate, kept so that multiplying it with nanoseconds is exact.

Floats would do for a minute; over years of nanoseconds their rounding error is larger than a message's flight. So a
rate is a fraction with a power of two below, rounded outward once when it is made, and a product with int64 nanoseconds
is the exact integer floor or ceiling. Nothing downstream needs a tolerance, and nothing runs backwards by rounding.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Int64Array: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

RATE_LIMIT = Fraction(1, 2)
"""Rates stay below this, so that a clock never stands still against another and sums fit 64 bits."""

DURATION_NS_LIMIT = 2**62
"""Durations stay below this (146 years), so that the products below fit 64 bits."""

_LIMB_BITS = 30
_SHIFT_MAX = 60


class Rate(NamedTuple):
    """
    `numerator / 2**shift`, dimensionless (ns per ns), magnitude below `RATE_LIMIT`; make one with `up` or `down`.
    """

    numerator: int
    shift: int

    @classmethod
    def up(cls, value: Fraction) -> Rate:
        """The least representable rate that is not below `value`."""
        return -cls.down(-value)

    @classmethod
    def down(cls, value: Fraction) -> Rate:
        """The greatest representable rate that is not above `value`; 29 significant bits or more are kept."""
        if abs(value) >= RATE_LIMIT:
            raise ValueError(f"a rate of {float(value)} is out of range: it must be less than {float(RATE_LIMIT)}")
        shift = min(_SHIFT_MAX, _LIMB_BITS - 1 - value.numerator.bit_length() + value.denominator.bit_length())
        return cls((value.numerator << shift) // value.denominator, shift)

    def __neg__(self) -> Rate:
        return Rate(-self.numerator, self.shift)

    @property
    def value(self) -> Fraction:
        """What this rate is exactly."""
        return Fraction(self.numerator, 1 << self.shift)

    def floor_times(self, duration_ns: Int64Array) -> Int64Array:
        """
        The exact floor of rate times duration, int64 ns.

        The duration is split into two limbs, because the whole product needs more than 64 bits.
        """
        spare = self.shift - _LIMB_BITS
        high: Int64Array = (duration_ns >> _LIMB_BITS) * self.numerator
        low: Int64Array = (duration_ns & ((1 << _LIMB_BITS) - 1)) * self.numerator
        low += (high & ((1 << spare) - 1)) << _LIMB_BITS
        high >>= spare
        low >>= self.shift
        high += low
        return high

    def ceil_times(self, duration_ns: Int64Array) -> Int64Array:
        """The exact ceiling of rate times duration, int64 ns."""
        return -((-self).floor_times(duration_ns))


def ppm(value: float | Fraction) -> Fraction:
    """Parts per million as the exact fraction."""
    return Fraction(value) / 1_000_000
