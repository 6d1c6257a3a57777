"""
From local time to UTC, for many times at once.

The standard library knows a zone's rules but tells no transitions, so they are found: the offset is asked for day by
day, and where it differs the second is looked for. That is done once for a zone and a year.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
import numpy.typing as npt

from coeval.errors import WrongTable
from coeval.timeline._zone_names import fixed_offset_s
from coeval.timeline.readers._values import BoolArray, Int64Array

_DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LocalTimes(NamedTuple):
    """
    What local times are in UTC, one row each.

    Attributes:
        utc_s: seconds since 1970; of a time that ran twice, the first.
        fold_s: how much later the second one is; 0: it ran once.
        is_skipped: the clock was put forward over it.
    """

    utc_s: Int64Array
    fold_s: Int64Array
    is_skipped: BoolArray


class Zone:
    """
    A place's local time, or a fixed offset.

    Args:
        name: an IANA name such as "Europe/Berlin", "UTC", or an offset such as "+02:00": local time minus UTC.

    Raises:
        WrongTable: there is no such zone.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.fixed_s = _fixed_s(name)
        if self.fixed_s is None:
            self._rules = _rules(name)

    def read(self, local_s: Int64Array) -> LocalTimes:
        """
        What UTC is, or may be, when the zone's clocks show these times.

        Args:
            local_s: from 1970-01-01 to the date and time shown, as if all days had 86,400 s; int64, any order.
        """
        nothing = np.zeros(len(local_s), np.int64)
        if self.fixed_s is not None:
            return LocalTimes(local_s - self.fixed_s, nothing, np.zeros(len(local_s), np.bool_))
        if not len(local_s):
            return LocalTimes(local_s, nothing, np.zeros(0, np.bool_))
        first, last = int(local_s.min()), int(local_s.max())
        changes = self._changes(first - 2 * _DAY_S, last + 2 * _DAY_S)
        at, before, after = changes.at_s, changes.offset_s[:-1], changes.offset_s[1:]
        # On the local clock: a change begins to be felt at `at + before`; what lies between that and `at + after` was
        # skipped, or, where the offset shrinks, ran twice.
        index = np.searchsorted(at + before, local_s, "right")
        utc_s = local_s - changes.offset_s[index]
        if not len(at):
            return LocalTimes(utc_s, nothing, np.zeros(len(local_s), np.bool_))
        coming, gone = np.minimum(index, len(at) - 1), np.maximum(index - 1, 0)
        is_twice = (index < len(at)) & (after[coming] < before[coming]) & (local_s >= (at + after)[coming])
        is_skipped = (index > 0) & (local_s < (at + after)[gone])
        return LocalTimes(utc_s, np.where(is_twice, (before - after)[coming], 0), is_skipped)

    def _changes(self, first_s: int, last_s: int) -> _Changes:
        years = range(_year_of(first_s), _year_of(last_s) + 1)
        parts = [_changes_of_year(self.name, year) for year in years]
        at = np.concatenate([part.at_s for part in parts])
        offset_s = np.concatenate([parts[0].offset_s[:1], *(part.offset_s[1:] for part in parts)])
        return _Changes(at, offset_s)


def _fixed_s(name: str) -> int | None:
    try:
        return fixed_offset_s(name)
    except ValueError as error:
        raise WrongTable(str(error)) from None


class _Changes(NamedTuple):
    at_s: Int64Array
    """UTC; increasing."""
    offset_s: npt.NDArray[np.int64]
    """Before the first, and after each."""


def _rules(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise WrongTable(
                f"zone {name!r} cannot be looked up: this system has no zone data. pip install tzdata, or give an "
                "offset such as +02:00."
            ) from None
        like = difflib.get_close_matches(name, known, 3, 0.6)
        hint = f" Did you mean {' or '.join(like)}?" if like else ""
        raise WrongTable(
            f"{name!r} is no time zone; expected an IANA name such as Europe/Berlin, or an offset such as +02:00.{hint}"
        ) from None


@cache
def _changes_of_year(name: str, year: int) -> _Changes:
    rules = _rules(name)
    first = _at(year)
    days = range(first, _at(year + 1) + 1, _DAY_S)
    offsets = [_offset_s(rules, second) for second in days]
    at, after = [], [offsets[0]]
    for number in range(1, len(offsets)):
        low, high = days[number - 1], days[number]
        while offsets[number] != after[-1]:
            # The last second that still has the offset before.
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset_s(rules, middle) == after[-1] else (low, middle)
            at.append(high)
            after.append(_offset_s(rules, high))
            low, high = high, days[number]
    return _Changes(np.array(at, np.int64), np.array(after, np.int64))


def _at(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)


def _year_of(second: int) -> int:
    # Zones' rules do not reach further than datetime; whatever is beyond is refused later, being beyond int64 ns.
    return max(2, min(9997, (_EPOCH + timedelta(seconds=max(-(10**10) * 6, min(second, 2 * 10**11)))).year))


def _offset_s(rules: ZoneInfo, second: int) -> int:
    offset = (_EPOCH + timedelta(seconds=second)).astimezone(rules).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)
