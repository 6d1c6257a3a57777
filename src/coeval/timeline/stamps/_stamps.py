"""
From what is written to readings: year, zone, leap second and resolution, by what somebody said of the source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from coeval.errors import WrongTable
from coeval.timeline.readers._reader import SourceSettings
from coeval.timeline.readers._values import BoolArray, Fault, Int64Array
from coeval.timeline.stamps._leap import unsmeared
from coeval.timeline.stamps._written import GOOD, IMPOSSIBLE, NO_OFFSET, Written
from coeval.timeline.stamps._years import CONTEXT, in_years, odd_ones, year_steps
from coeval.timeline.stamps._zones import LocalTimes, Zone

_NS = 10**9
# int64 ns reach from 1677 to 2262; a little less, so that nothing that is added goes beyond.
_FIRST_S, _LAST_S = -(2**63) // _NS + 10 * 86_400, (2**63 - 1) // _NS - 10 * 86_400

NO_SUCH_TIME = "its stamp is no time that there is"
SKIPPED = "its local time was skipped when the clock was put forward"
BEYOND = "its time is beyond int64 nanoseconds, which reach from 1677 to 2262"
NO_ZONE = "its stamp has no zone, while others before it have, and nobody said one (`tz =`, --assume-utc)"
NO_SUCH_DAY = "29 February is no day of the year that the lines before it lead to"


class Stamps(NamedTuple):
    """
    Stamps as readings, in columns of equal length; of rows that are in a fault nothing else means anything.

    Attributes:
        raw_ns: since 1970 by the clock that wrote them, int64.
        resolution_ns: a stamp means [stamp, stamp + resolution); int64.
        fold_ns: where local time ran twice, the stamp may also mean so much later; else 0.
        is_assumed: the zone is nobody's word.
        faults: rows that are no time, with the reason.
    """

    raw_ns: Int64Array
    resolution_ns: Int64Array
    fold_ns: Int64Array
    is_assumed: BoolArray
    faults: list[Fault]


class StampSense:
    """
    Makes readings of one source's stamps, given in the order they were written in.

    Args:
        settings: `zone`, `assume_utc`, `year`, `resolution_ns` and `smear` count here.
        source: its name, for messages.
        refuses: whether a stamp without a zone that nobody said is an error, or a fault of its row.

    Raises:
        WrongTable: there is no such zone.
    """

    def __init__(self, settings: SourceSettings, source: str, *, refuses: bool = True) -> None:
        self._refuses = refuses
        self._settings = settings
        self._source = source
        self._zone = Zone(settings.zone) if settings.zone else None
        self._year = settings.year
        self._yearless_s = np.zeros(0, np.int64)
        self._ran_twice = _RanTwice()

    def read(self, written: Written, shown: Callable[[int], str]) -> Stamps:
        """
        Read stamps; none of them may be NO_STAMP.

        Args:
            shown: a row's text, for messages.

        Raises:
            WrongTable: a stamp names no zone, and nobody said one; or no year, and nobody said one.
        """
        count = len(written.seconds)
        bad: dict[str, BoolArray] = {NO_SUCH_TIME: written.state == IMPOSSIBLE}
        is_good = ~bad[NO_SUCH_TIME]
        seconds = written.seconds
        if written.is_yearless.any():
            seconds, bad[NO_SUCH_DAY] = self._with_years(written, is_good, shown)
        bad[BEYOND] = (seconds < _FIRST_S) | (seconds > _LAST_S)
        seconds = np.where(bad[BEYOND], 0, seconds)
        fold_s = np.zeros(count, np.int64)
        is_assumed = np.zeros(count, np.bool_)
        is_local = (written.offset_s == NO_OFFSET) & is_good
        if is_local.any() and not self._refuses and self._zone is None and not self._settings.assume_utc:
            bad[NO_ZONE] = is_local
            is_local = np.zeros(count, np.bool_)
        if is_local.any():
            local = self._of_local_times(seconds, is_local, is_good, is_assumed, shown)
            bad[SKIPPED] = np.zeros(count, np.bool_)
            bad[SKIPPED][is_local] = local.is_skipped
            fold_s[is_local] = local.fold_s
            utc_s = seconds - np.where(is_local, 0, written.offset_s)
            utc_s[is_local] = local.utc_s
        else:
            utc_s = seconds - np.where(written.offset_s == NO_OFFSET, 0, written.offset_s)
        raw_ns = utc_s * _NS + written.nanos
        resolution_ns = self._resolution(written)
        if self._settings.smear == "24h-noon":
            raw_ns, resolution_ns = unsmeared(raw_ns, resolution_ns)
        # A row has one reason, though more may be wrong with it.
        faults, is_told = [], np.zeros(count, np.bool_)
        for reason, mask in bad.items():
            rows = np.flatnonzero(mask & ~is_told)
            if len(rows):
                faults.append(Fault(reason, rows))
            is_told |= mask
        return Stamps(raw_ns, resolution_ns, fold_s * _NS, is_assumed, faults)

    def waiting(self, written: Written) -> int:
        """How many of the last of the next stamps may mean two times, between which those after them may decide."""
        if self._zone is None or not len(written.seconds) or not self._may_run_twice(written.taken(slice(-1, None)))[0]:
            return 0
        is_twice = self._may_run_twice(written)
        count = len(is_twice) - int(np.max(np.flatnonzero(~is_twice), initial=-1)) - 1
        return 0 if self._ran_twice.is_decided_by(written.seconds[-count:]) else count

    def _may_run_twice(self, written: Written) -> BoolArray:
        assert self._zone is not None
        seconds = written.seconds
        if written.is_yearless.any() and self._year is not None:
            known = np.concatenate([self._yearless_s, seconds])
            years = (self._year + year_steps(known))[len(self._yearless_s) :]
            seconds = np.where(written.is_yearless, in_years(seconds, years)[0], seconds)
        is_local: BoolArray = (written.offset_s == NO_OFFSET) & (written.state == GOOD)
        is_local &= (seconds > _FIRST_S) & (seconds < _LAST_S)
        is_local &= self._zone.read(np.where(is_local, seconds, 0)).fold_s > 0
        return is_local

    def _with_years(
        self, written: Written, is_good: BoolArray, shown: Callable[[int], str]
    ) -> tuple[Int64Array, BoolArray]:
        rows = np.flatnonzero(written.is_yearless & is_good)
        seconds = written.seconds.copy()
        missing = np.zeros(len(seconds), np.bool_)
        if not len(rows):
            return seconds, missing
        if self._year is None:
            raise WrongTable(
                f"{self._source} has stamps without a year, such as {shown(int(rows[0]))!r}; say the year of the first "
                "one, with `year =` in coeval.toml."
            )
        yearless = written.seconds[rows]
        # What was read before is looked at again, to tell single odd stamps from a New Year.
        known = len(self._yearless_s)
        yearless = np.concatenate([self._yearless_s, yearless])
        years = self._year + year_steps(yearless)
        seconds[rows], exists = in_years(yearless[known:], years[known:])
        missing[rows] = ~exists
        usual = np.flatnonzero(~odd_ones(yearless))[-CONTEXT:]
        self._yearless_s, self._year = yearless[usual], int(years[usual[0]])
        return seconds, missing

    def _of_local_times(
        self,
        seconds: Int64Array,
        is_local: BoolArray,
        is_good: BoolArray,
        is_assumed: BoolArray,
        shown: Callable[[int], str],
    ) -> LocalTimes:
        local_s = seconds[is_local]
        if self._zone is not None:
            return self._ran_twice.settled(local_s, self._zone.read(local_s))
        if not self._settings.assume_utc:
            raise no_zone(self._source, shown(int(np.flatnonzero(is_local)[0])))
        is_assumed |= is_local
        return LocalTimes(local_s, np.zeros(len(local_s), np.int64), np.zeros(len(local_s), np.bool_))

    def _resolution(self, written: Written) -> Int64Array:
        said = self._settings.resolution_ns
        if said is not None:
            resolution_ns = np.full(len(written.seconds), said, np.int64)
        else:
            resolution_ns = _GRAIN_NS[written.digits]
        if not written.is_leap.any():
            return resolution_ns
        # A leap second has the number of the second after it, and which part of it is meant cannot be told.
        return np.where(written.is_leap, np.maximum(resolution_ns, _NS), resolution_ns)


# The least that runs twice anywhere: Lord Howe Island puts its clocks back by half an hour.
_TWICE_S_MIN = 1800
_GRAIN_NS = np.array([10 ** (9 - digits) for digits in range(10)], np.int64)


def no_zone(source: str, text: str) -> WrongTable:
    """The refusal of a stamp whose zone nobody said."""
    return WrongTable(
        f"{source} has stamps without a zone, such as {text!r}. Say which it is with --tz Europe/Berlin, or `tz =` in "
        "coeval.toml for this source; or take them for UTC with --assume-utc, which marks every row."
    )


class _RanTwice:
    """
    Settles which time is meant where local time ran twice, if the log's own order tells.

    A log is in order to within less than half of what ran twice. So where its stamps go back by more than that while
    they run twice, the clock was put back there: what stands before is the first time, what follows the second. A log
    that goes back again, or forward as far, may be in disorder, and nothing is told by it.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._before_s: int | None = None
        self._is_second = False
        self._is_in_disorder = False

    def is_decided_by(self, local_s: Int64Array) -> bool:
        """Whether more stamps cannot tell more of these, which all ran twice."""
        return self._is_second or self._is_in_disorder or bool((np.diff(local_s) < -_TWICE_S_MIN // 2).any())

    def settled(self, local_s: Int64Array, times: LocalTimes) -> LocalTimes:
        """
        Args:
            local_s: in the order of the log; goes on where the call before ended.
        """
        is_twice = times.fold_s > 0
        if not is_twice.any():
            self._forget()
            return times
        utc_s, fold_s = times.utc_s.copy(), times.fold_s.copy()
        edges = np.flatnonzero(np.diff(is_twice.astype(np.int8), prepend=0, append=0))
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if begin > 0:
                self._forget()
            self._settle(local_s[begin:end], utc_s[begin:end], fold_s[begin:end])
            self._before_s = int(local_s[end - 1])
        if not is_twice[-1]:
            self._forget()
        return LocalTimes(utc_s, fold_s, times.is_skipped)

    def _settle(self, local_s: Int64Array, utc_s: Int64Array, fold_s: Int64Array) -> None:
        """Of one stretch in which every time ran twice; in place."""
        steps = np.diff(local_s, prepend=local_s[0] if self._before_s is None else self._before_s)
        backwards = np.flatnonzero(-steps > fold_s // 2)
        self._is_in_disorder |= len(backwards) + self._is_second > 1
        first_back = 0 if self._is_second else int(backwards[0]) if len(backwards) else len(steps)
        self._is_in_disorder |= bool((steps[first_back:] > fold_s[first_back:] // 2).any())
        if self._is_in_disorder or first_back == len(steps):
            return
        self._is_second = True
        utc_s[first_back:] += fold_s[first_back:]
        fold_s[:] = 0
