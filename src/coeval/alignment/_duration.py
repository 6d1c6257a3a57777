"""From one reading to another: how long it was, with the error that both share left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coeval.alignment._axis import Axis
from coeval.alignment._envelope import NOTHING, Envelope, Slopes
from coeval.alignment._rate import GRID_BITS, Int64Array
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
    system = axis.system
    offers = [_along(found.slopes[one], first_ns, second_ns)] if one == other else []
    here, there = (slice(int(system.starts[number]), int(system.starts[number + 1])) for number in (one, other))
    if here.start < here.stop and there.start < there.stop:
        # Stamps may be far from all evidence, where units of the system have no room: the way to it is added after.
        leaves_at, enters_at = _nearest(axis, one, here, first_ns), _nearest(axis, other, there, second_ns)
        start = Envelope(_one(leaves_at - axis.x_origins[one]), _one(0), found.slopes[one], system.bits)
        began = np.full(len(system.x), NOTHING, dtype=np.int64)
        began[here] = start.excess_at(system.x[here])
        spread = system.upper_from(found.costs, began)[there]
        side = Envelope.over(system.x[there], spread, found.slopes[other], system.bits)
        if side is not None:
            arrived = int(side.at(_one(enters_at - axis.x_origins[other]))[0]) + axis.y_origins[other]
            left = leaves_at - axis.x_origins[one] + axis.y_origins[one]
            outside = _along(found.slopes[one], first_ns, leaves_at), _along(found.slopes[other], enters_at, second_ns)
            offers.append(outside[0] + (arrived - left) + outside[1])
    return min(offers, default=None)


def _along(slopes: Slopes, first_ns: int, second_ns: int) -> int:
    """The longest from one reading of a clock to another one, by its rate alone; exact, then rounded up."""
    shown = second_ns - first_ns
    return shown - (-(slopes.high if shown > 0 else slopes.low) * shown >> GRID_BITS)


def _nearest(axis: Axis, number: int, part: slice, reading_ns: int) -> int:
    """The reading nearest to this one among those that a strand's evidence spans."""
    first, last = (axis.x_origins[number] + int(axis.system.x[place]) for place in (part.start, part.stop - 1))
    return min(max(reading_ns, first), last)


def _one(value: int) -> Int64Array:
    return np.array([value], dtype=np.int64)
