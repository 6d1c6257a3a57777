"""Products and quotients of int64 columns whose middle needs more than 64 bits, exact."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int64Array: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

DIVISOR_MAX = 2**51
"""With divisors up to this (26 days of ns) and quotients below 2**61 `scaled` is exact."""


def scaled(value: Int64Array, times: Int64Array, by: Int64Array) -> Int64Array:
    """
    The floor of value * times / by, elementwise.

    A float quotient is off by some of its last bits. What is then left over is small, and is right although the two
    products that it is the difference of wrap around, as both do so modulo 2**64.

    Args:
        by: from 1 to `DIVISOR_MAX`; |times| is not above it.
    """
    quotient = np.floor(value.astype(np.float64) * times / by).astype(np.int64)
    with np.errstate(over="ignore"):
        left_over = value * times - quotient * by
    quotient += left_over // by
    return quotient
