"""
The grain of a clock's stamps, read off the stamps: a log with milliseconds writes nothing else.

A grain that is found where there is none only widens bounds; one that is missed would make them false. So a few stamps
are enough for a decimal grain, and more for any other (ticks), where chance can look like one: 32 random stamps have a
common step of two or more with a probability of 2^-31.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Int64Array: TypeAlias = npt.NDArray[np.int64]

DECIMAL_STAMPS_MIN = 3
TICK_STAMPS_MIN = 32
DECIMAL_GRAINS_NS = (10**9, 10**6, 10**3)

_HEAD = 4096
_CHUNK = 1 << 20


class Grain(NamedTuple):
    """
    What a clock's stamps are cut to.

    Attributes:
        resolution_ns: a stamp means [stamp, stamp + resolution_ns).
        source: "detected", or "given" by `resolutions_ns`.
    """

    resolution_ns: int
    source: str


def detected_grain_ns(stamps_ns: Int64Array) -> int:
    """
    The greatest step that all stamps are multiples of, counted from the first one; 0: none is seen.

    Of stamps at regular intervals and of a few, only a decimal grain is believed.

    Args:
        stamps_ns: of one clock, any order.
    """
    distinct = np.unique(stamps_ns[:_HEAD])
    if len(distinct) < TICK_STAMPS_MIN and len(stamps_ns) > _HEAD:
        distinct = np.unique(stamps_ns)
    if len(distinct) < DECIMAL_STAMPS_MIN:
        return 0
    steps = np.diff(distinct)
    # What is done by a timetable has a step of its own, which is none of the clock's.
    is_regular = bool((steps == steps[0]).all())
    if len(distinct) < TICK_STAMPS_MIN or is_regular:
        if is_regular:
            distinct = stamps_ns
        return next((grain for grain in DECIMAL_GRAINS_NS if not (distinct % grain).any()), 0)
    step = int(np.gcd.reduce(steps))
    first = int(distinct[0])
    for start in range(0, len(stamps_ns), _CHUNK):
        if step == 1:
            return 0
        # Two stamps may be more than int64 apart, but not by more than wraps: their remainders are right in any case.
        remainders = (stamps_ns[start : start + _CHUNK] % step - first % step) % step
        odd = remainders[remainders != 0]
        if len(odd):
            step = int(np.gcd(np.gcd.reduce(odd), step))
    return 0 if step == 1 else step


def stamps_by_clock(
    clock_count: int, columns: list[tuple[npt.NDArray[np.int32], Int64Array]]
) -> Iterator[tuple[int, Int64Array]]:
    """
    The stamps of each clock that has some.

    Args:
        columns: codes and stamps, such as senders with sent and receivers with received.
    """
    sorted_columns = []
    for codes, stamps in columns:
        # Few clocks are the rule, and numpy sorts 16 bits by counting.
        narrow = codes.astype(np.int16) if clock_count < 2**15 else codes
        order = np.argsort(narrow, kind="stable")
        ends = np.searchsorted(narrow[order], np.arange(clock_count + 1))
        sorted_columns.append((stamps, order, ends))
    for code in range(clock_count):
        parts = [stamps[order[ends[code] : ends[code + 1]]] for stamps, order, ends in sorted_columns]
        found = np.concatenate(parts)
        if len(found):
            yield code, found
