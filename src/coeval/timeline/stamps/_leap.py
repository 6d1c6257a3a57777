"""
Leap seconds: a clock that spreads one over a day, put back to UTC as POSIX counts it.

A positive leap second makes one UTC day 86,401 s long; POSIX gives its last second the number of the next day's first.
Clocks that smear have no such second: from the noon before to the noon after, 86,401 s are counted as 86,400.

Sources: IERS Bulletin C (the dates), the "24-hour linear smear" that public NTP services describe.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np

from coeval.timeline.readers._values import Int64Array

# The first day after each leap second.
_DAYS_AFTER = (
    (1972, 7), (1973, 1), (1974, 1), (1975, 1), (1976, 1), (1977, 1), (1978, 1), (1979, 1), (1980, 1), (1981, 7),
    (1982, 7), (1983, 7), (1985, 7), (1988, 1), (1990, 1), (1991, 1), (1992, 7), (1993, 7), (1994, 7), (1996, 1),
    (1997, 7), (1999, 1), (2006, 1), (2009, 1), (2012, 7), (2015, 7), (2017, 1),
)  # fmt: skip
_NS = 10**9
_HALF_DAY_NS = 43_200 * _NS
_DAY_NS = 2 * _HALF_DAY_NS
_MIDNIGHTS_NS = np.array(
    [(date(year, month, 1) - date(1970, 1, 1)).days * _DAY_NS for year, month in _DAYS_AFTER], np.int64
)


class Unsmeared(NamedTuple):
    """Readings by UTC, and what each now means: [reading, reading + resolution)."""

    ns: Int64Array
    resolution_ns: Int64Array


def unsmeared(ns: Int64Array, resolution_ns: Int64Array) -> Unsmeared:
    """
    Take a 24-hour linear smear, noon to noon, out of readings.

    Args:
        ns: what the smearing clock showed, int64 ns since 1970.
        resolution_ns: what its stamps are cut to; 0: exact.

    Returns:
        UTC as POSIX counts it. The resolution covers everything that the stamp may mean: a stretched interval is
        rounded outwards; within the leap second itself it is that whole second, which has the next one's number.
    """
    width = np.maximum(resolution_ns, 1)
    # The smear that is going on when the stamp's interval ends; it may begin within the interval.
    index = np.clip(np.searchsorted(_MIDNIGHTS_NS - _HALF_DAY_NS, ns + width, "left") - 1, 0, len(_MIDNIGHTS_NS) - 1)
    noons = _MIDNIGHTS_NS[index] - _HALF_DAY_NS
    since = ns - noons
    is_smeared = (since + width > 0) & (since < _DAY_NS)
    if not is_smeared.any():
        return Unsmeared(ns, resolution_ns)
    low = _since_noon(since)
    high = _since_noon(since + width, is_end=True)
    return Unsmeared(np.where(is_smeared, noons + low, ns), np.where(is_smeared, high - low, resolution_ns))


def _since_noon(shown: Int64Array, *, is_end: bool = False) -> Int64Array:
    """UTC since the noon before a leap second, from what a smearing clock shows; rounded down, an end up."""
    # 86,401 / 86,400 = 1 + 1 / 86,400, so that nothing goes beyond int64.
    gained = -(-shown // 86_400) if is_end else shown // 86_400
    passed = shown + np.clip(gained, 0, _NS)
    if is_end:
        return np.where(passed <= _HALF_DAY_NS, passed, np.maximum(passed - _NS, _HALF_DAY_NS + _NS))
    return np.where(passed < _HALF_DAY_NS, passed, np.maximum(passed - _NS, _HALF_DAY_NS))
