"""From one reading to another: how long it was, with the error that both share left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coeval.alignment._axis import Axis
from coeval.alignment._envelope import NOTHING, Envelope, is_known
from coeval.alignment._rate import Int64Array
from coeval.alignment._solution import Grading
from coeval.clocks import Grade


@dataclass(frozen=True, slots=True)
class Duration:
    """
    How long after one stamp another one was, ns on the reference clock; negative: before it.

    Attributes:
        least_ns, greatest_ns: the truth is between; None: unknown on that side.
        grade: what the bounds rest on.
    """

    least_ns: int | None
    greatest_ns: int | None
    grade: Grade


def durations_between(
    axis: Axis,
    found: Grading,
    first: tuple[Sequence[int], int],
    second: tuple[Sequence[int], int],
    grade: Grade,
) -> Duration:
    """
    Bound the time between two readings.

    Args:
        first, second: the strands that the reading may belong to, and the reading.
    """
    greatest = [_most_between(axis, found, one, first[1], other, second[1]) for one in first[0] for other in second[0]]
    least = [_most_between(axis, found, other, second[1], one, first[1]) for one in first[0] for other in second[0]]
    upper = [value for value in greatest if value is not None]
    lower = [-value for value in least if value is not None]
    return Duration(
        min(lower) if lower and len(lower) == len(least) else None,
        max(upper) if upper and len(upper) == len(greatest) else None,
        grade,
    )


def _most_between(axis: Axis, found: Grading, one: int, first_ns: int, other: int, second_ns: int) -> int | None:
    """The longest that the second can be after the first: the tightest bound of a system that starts at the first."""
    system, bits = axis.system, axis.system.bits
    began = np.full(len(system.x), NOTHING, dtype=np.int64)
    x_first, x_second = first_ns - axis.x_origins[one], second_ns - axis.x_origins[other]
    here, there = (slice(int(system.starts[number]), int(system.starts[number + 1])) for number in (one, other))
    start = Envelope(_one(x_first), _one(0), found.slopes[one], bits)
    if here.start < here.stop:
        began[here] = start.excess_at(system.x[here])
    spread = system.upper_from(found.costs, began)
    offers = []
    if is_known(spread[there]).any():
        side = Envelope.over(system.x[there], spread[there], found.slopes[other], bits)
        assert side is not None
        offers.append(int(side.at(_one(x_second))[0]) + axis.y_origins[other])
    if one == other:
        offers.append(int(start.at(_one(x_second))[0]) + axis.y_origins[other])
    return min(offers) - (x_first + axis.y_origins[one]) if offers else None


def _one(value: int) -> Int64Array:
    return np.array([value], dtype=np.int64)
