"""Years for stamps that have none: they only go on, from the year of the first or back from the year of the last."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from coeval.timeline.readers._values import BoolArray, Int64Array
from coeval.timeline.stamps._written import YEARLESS_YEAR

LATE_DAYS_MAX = 31
"""
How much earlier than the line before it a line may be without meaning the next year: logs arrive in disorder, and
rotated ones are put together with the newest first. A log that says nothing for eleven months is rarer.
"""

ODD_ONES_MAX = 3
"""So many odd stamps in a row are told from a New Year."""

CONTEXT = ODD_ONES_MAX + 2
"""Stamps before others that tell which of those are odd."""

_DAY_S = 86_400
_DAYS = 366
_BASE_DAY = (date(YEARLESS_YEAR, 1, 1) - date(1970, 1, 1)).days


def year_steps(seconds: Int64Array) -> npt.NDArray[np.int64]:
    """
    How many New Years lie between the first stamp of a log and each, in its order.

    A stamp that is more than a month earlier in the year than the one before it is of the next year; one that is almost
    a year later is a late one of the year before. A few stamps in a row that are far from those around them, which are
    of one day, are odd ones, and count for themselves only: one wrong letter must not move all that follows by a year.

    Args:
        seconds: of stamps without a year, as `Written` has them, int64, shape (n,).

    Returns:
        int64, shape (n,).
    """
    days = seconds // _DAY_S
    if not len(days):
        return days
    usual = _without_odd_ones(days)
    return np.cumsum(_crossed(np.diff(usual, prepend=usual[:1]))) + _crossed(days - usual)


def odd_ones(seconds: Int64Array) -> BoolArray:
    """Which stamps are odd, and tell nothing about others."""
    days = seconds // _DAY_S
    is_odd: BoolArray = _without_odd_ones(days) != days
    return is_odd


def _crossed(steps: Int64Array) -> Int64Array:
    """New Years between two stamps, from how many days the second is later in the year."""
    return (steps < -LATE_DAYS_MAX).astype(np.int64) - (steps > _DAYS - 1 - LATE_DAYS_MAX)


def _without_odd_ones(days: Int64Array) -> Int64Array:
    """With the day before it in the place of each that is odd."""
    leaps = np.flatnonzero(np.abs(np.diff(days)) > LATE_DAYS_MAX) + 1
    usual, back = days, 0
    # Few, so that going through them one by one costs nothing.
    for place in leaps.tolist():
        if place <= back or (place > 1 and abs(days[place - 1] - days[place - 2]) > 1):
            continue
        near = np.flatnonzero(np.abs(days[place + 1 : place + 1 + ODD_ONES_MAX] - days[place - 1]) <= 1)
        if len(near):
            back = place + 1 + int(near[0])
            usual = usual.copy() if usual is days else usual
            usual[place:back] = days[place - 1]
    return usual


def in_years(seconds: Int64Array, years: npt.NDArray[np.int64]) -> tuple[Int64Array, BoolArray]:
    """
    Stamps without a year, in given years.

    Returns:
        Their seconds since 1970, and which of them there are: only leap years have a 29 February.
    """
    days = seconds // _DAY_S - _BASE_DAY
    is_leap = ((years % 4 == 0) & (years % 100 != 0)) | (years % 400 == 0)
    exists = (days != 59) | is_leap
    before = years - 1
    begins = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
    # Day 59 is 29 February of the leap year that they are counted in.
    return (begins + days - ((days > 59) & ~is_leap)) * _DAY_S + seconds % _DAY_S, exists


def first_year(last_s: int, steps: int, not_after_s: int) -> int:
    """
    The year of the first stamp of a file.

    Args:
        last_s: the last stamp, as `Written` has it.
        steps: New Years between the first and the last.
        not_after_s: when the file was last written, seconds since 1970; the last stamp is at most a day after it,
            being of a zone that may be ahead.
    """
    year = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=not_after_s)).year + 1
    while True:
        seconds, exists = in_years(np.array([last_s], np.int64), np.array([year], np.int64))
        if exists[0] and seconds[0] <= not_after_s + _DAY_S:
            return year - steps
        year -= 1
