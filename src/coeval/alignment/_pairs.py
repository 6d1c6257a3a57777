"""
Two clocks that exchange messages both ways, and what a scan of their messages finds: which are false, and where the
offset between the two broke.

A break says that one of the two was set, and not which: that is for `_ownership.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from coeval.alignment._messages import Messages
from coeval.alignment._pair_scan import Break, Points, is_consistent, scan_of
from coeval.alignment._rate import GRID_BITS, BoolArray, Int64Array
from coeval.alignment._strands import Cut

# More than any clock can have counted between two of its readings.
PASSED_NS_MOST = 2**61

# Of a pair's messages no larger part is false in any evidence worth the name; of few messages, so many may be.
_FALSE_MOST = 0.05
_FALSE_FEW = 10
_FALSE_NEAR = 2

# So many messages that are false along the one clock only are not: they are mixed.
_FALSE_BY_MIXING = 5

# What a message may have taken where nothing else tells how long it took.
_LONGEST_NS = 1e9

# Most messages of a pair say nothing that faster ones nearby do not. Of each kind and bucket of about a second the
# fastest so many are scanned; where they prove false, the next ones have their turn.
SCANNED_PER_BUCKET = 4
_BUCKET_BITS = 30
_SCANNED_WHOLE = 50_000


@dataclass(frozen=True, eq=False, slots=True)
class PairScan:
    """
    What a scan of one pair found.

    Attributes:
        near, far: codes of the two clocks; the scan went along the near one's readings.
        rows: of the messages that it went through, in its order.
        near_ns, far_ns: what either clock had certainly shown, and had certainly come to show, at each: shape (2, n).
        false_rows: not believed.
        breaks: places among `rows`, before and after each step.
        gains: how much the far clock went ahead of the near one at each break, in ns: the least and the greatest, each
            infinite where nothing bounds it.
        points: all of them, without the false ones.
        set_ns: how far either clock had been set before each message, as other pairs tell, what the scan took off:
            shape (2, n); None: nothing.
    """

    near: int
    far: int
    rows: Int64Array
    near_ns: Int64Array
    far_ns: Int64Array
    false_rows: Int64Array
    breaks: tuple[Break, ...]
    gains: tuple[tuple[float, float], ...]
    points: Points = field(repr=False)
    set_ns: Int64Array | None = field(repr=False, default=None)

    @property
    def is_without_steps(self) -> bool:
        """Whether what other pairs tell of its clocks' steps was taken off."""
        return self.set_ns is not None

    def cut_of(self, clock: int, number: int, sizes: tuple[float, float] | None = None) -> Cut:
        """
        A break as a cut of one of the two clocks.

        Args:
            sizes: how far it was set forward, if not by all that the pair saw: the other one may have been set as well.
        """
        found, readings = self.breaks[number], self.near_ns if clock == self.near else self.far_ns
        before, after = int(readings[0, found.before]), int(readings[1, found.after])
        least, _ = bounded(self.sizes_of(clock, number) if sizes is None else sizes)
        if self.set_ns is not None:
            set_ns = self.set_ns[0 if clock == self.near else 1]
            least += float(set_ns[found.after] - set_ns[found.before])
        passed = max(0.0, after - least - before) * (1 + self.points.slope) + self.points.tolerance_ns
        others = readings[0, found.before + 1 : found.after]
        is_false = np.isin(self.rows[found.before + 1 : found.after], self.false_rows)
        # Beyond the two it was on its way at the step, unless it is false, or readings were shown twice.
        is_other = is_false | ((others > before) & (others < after)) if least >= 0 else np.ones_like(is_false)
        return Cut(
            before,
            after,
            is_set_back=least < 0,
            passed_ns=min(ceil(passed), PASSED_NS_MOST),
            others_ns=tuple(np.unique(others[is_other]).tolist()),
            false_ns=tuple(np.unique(others[is_false]).tolist()),
        )

    def sizes_of(self, clock: int, number: int) -> tuple[float, float]:
        """How far one of the two clocks would have been set forward, if a break is its step: as for `gains`."""
        least, greatest = self.gains[number]
        return (least, greatest) if clock == self.far else (-greatest, -least)

    def size_of(self, clock: int, number: int) -> float:
        """The same as one number: the middle, or what is known of it."""
        least, greatest = bounded(self.sizes_of(clock, number))
        return (least + greatest) / 2

    def other_of(self, clock: int) -> int:
        """The one of its two clocks that is not this one."""
        return self.far if clock == self.near else self.near

    def stretches(self, rows: Int64Array) -> Int64Array:
        """Between which breaks each of these rows lies, from 0; -1: within one, or false, or not scanned."""
        numbers = np.full(len(self.rows), -1, dtype=np.int64)
        start = 0
        for number, found in enumerate(self.breaks):
            numbers[start : found.before + 1] = number
            start = found.after
        numbers[start:] = len(self.breaks)
        numbers[np.isin(self.rows, self.false_rows)] = -1
        order = np.argsort(self.rows)
        places = order[np.searchsorted(self.rows, rows, sorter=order) % len(order)]
        return np.where(self.rows[places] == rows, numbers[places], -1)


def pairs_of(messages: Messages, rows: Int64Array) -> list[Int64Array]:
    """The rows of each pair of clocks that exchanged messages both ways."""
    sender, receiver = messages.sender[rows].astype(np.int64), messages.receiver[rows].astype(np.int64)
    code = np.minimum(sender, receiver) * len(messages.clocks) + np.maximum(sender, receiver)
    order = np.argsort(code, kind="stable")
    parts = np.split(rows[order], np.flatnonzero(np.diff(code[order])) + 1) if len(rows) else []
    return [part for part in parts if len(np.unique(messages.sender[part])) > 1]


def clocks_of(messages: Messages, rows: Int64Array) -> tuple[int, int]:
    """The codes of the two clocks of a pair, the lower one first."""
    one, other = sorted((int(messages.sender[rows[0]]), int(messages.receiver[rows[0]])))
    return one, other


def bounded(sizes: tuple[float, float]) -> tuple[float, float]:
    """
    Sizes to reckon readings with: where nothing bounds one side, as if a message took no longer than a second, and
    where nothing bounds either, nothing.
    """
    least, greatest = sizes
    if np.isinf(least) and np.isinf(greatest):
        return -_LONGEST_NS, _LONGEST_NS
    if np.isinf(least):
        return greatest - 2 * _LONGEST_NS, greatest
    return least, least + 2 * _LONGEST_NS if np.isinf(greatest) else greatest


def slope_between(limits: Sequence[int], one: int, other: int) -> float:
    """How fast two clocks may part, ns per ns of either, from their rate bounds against the reference on the grid."""
    slope = (limits[one] + limits[other]) / (1 << GRID_BITS)
    return slope / (1 - slope / 2)


def scanned(messages: Messages, rows: Int64Array, limits: Sequence[int]) -> PairScan | None:
    """
    Scan one pair along either clock's readings, and take what is safer, then what needs fewer faults; None: it has no
    contradiction.

    Args:
        rows: of the pair's messages.
        limits: the rate bound of each clock against the reference, on the grid.
    """
    one, other = clocks_of(messages, rows)
    slope = slope_between(limits, one, other)
    best: PairScan | None = None
    for near, far in ((one, other), (other, one)):
        found = _scanned_along(messages, rows, near, far, slope)
        if found is None:
            return None
        if best is None or _is_better(found, best):
            best = found
        if not best.breaks:
            break
    return best


def is_mixed(scan: PairScan) -> bool:
    """
    Is what was before and what was after a step mixed?

    Then a large part of the messages is called false, or some near a step of the near clock backwards, or what is left
    of them contradicts itself, or the offset jumps to and fro among the readings that were shown twice.
    """
    if scan.is_without_steps:
        return False
    if len(scan.false_rows) > max(_FALSE_MOST * len(scan.rows), _FALSE_FEW):
        return True
    if any(least > greatest for least, greatest in scan.gains):
        return True
    false_ns = scan.near_ns[0, np.isin(scan.rows, scan.false_rows)]
    for number, found in enumerate(scan.breaks):
        start_ns, gain = int(scan.near_ns[0, found.before]), scan.size_of(scan.far, number)
        near_false = np.count_nonzero(np.abs(false_ns - start_ns) <= 2 * gain)
        if gain > 0 and ((scan.near != 0 and near_false > _FALSE_NEAR) or _goes_to_and_fro(scan, number)):
            return True
    return False


def _goes_to_and_fro(scan: PairScan, number: int) -> bool:
    """After a break, is the offset what it was before, and then again what it was after, among readings shown twice?"""
    end_ns = int(scan.near_ns[0, scan.breaks[number].before]) + 2 * scan.size_of(scan.far, number)
    least, greatest = scan.gains[number]
    fro = False
    for later in range(number + 1, len(scan.breaks)):
        (low, high), at_ns = scan.gains[later], int(scan.near_ns[1, scan.breaks[later].after])
        if at_ns > end_ns:
            return False
        if fro and low <= greatest and least <= high:
            return True
        fro = fro or least + low <= 0 <= greatest + high
    return False


def _is_better(scan: PairScan, other: PairScan) -> bool:
    """
    Is what one scan of a pair found likelier than what the scan along the other clock found?

    What is false is false along either clock. Along the readings of a clock that was set back, messages of before and
    of after are mixed, and some seem false that are not.
    """
    if is_mixed(scan) != is_mixed(other):
        return is_mixed(other)
    if abs(len(scan.false_rows) - len(other.false_rows)) >= _FALSE_BY_MIXING:
        return len(scan.false_rows) < len(other.false_rows)
    return _badness(scan) < _badness(other)


def _badness(scan: PairScan) -> tuple[int, int]:
    """Less is better: how safe it is, and how many faults it needs."""
    return _unsafe(scan), len(scan.false_rows) + 10 * len(scan.breaks)


def _unsafe(scan: PairScan) -> int:
    """
    How many breaks may be the near clock set back: along its readings, what was before that and after is mixed.

    The reference is taken at its word, so where it is one of the two, all are the other one's.
    """
    if 0 in (scan.near, scan.far):
        return 0 if scan.near == 0 else len(scan.breaks)
    return sum(scan.size_of(scan.far, number) > 0 for number in range(len(scan.breaks)))


def _scanned_along(messages: Messages, rows: Int64Array, near: int, far: int, slope: float) -> PairScan | None:
    rows, near_ns, far_ns, _, points = points_along(messages, rows, near, far, slope)
    if is_consistent(points):
        return None
    chosen = np.arange(len(rows))
    is_false = np.zeros(len(rows), dtype=np.bool_)
    while True:
        standing = chosen[~is_false[chosen]]
        looked_at = _worth_scanning(points.among(standing), near_ns[0, standing])
        scan = scan_of(points.among(standing[looked_at]))
        is_false[standing[looked_at][scan.false]] = True
        if not len(scan.false) or len(looked_at) == len(standing):
            break
    kept = standing[looked_at][~np.isin(np.arange(len(looked_at)), scan.false)]
    breaks = tuple(
        Break(int(standing[looked_at][each.before]), int(standing[looked_at][each.after])) for each in scan.breaks
    )
    good = points.among(kept)
    return PairScan(near, far, rows, near_ns, far_ns, rows[is_false], breaks, _gains(points, is_false, breaks), good)


def readings_of(messages: Messages, rows: Int64Array, near: int) -> tuple[Int64Array, Int64Array, BoolArray]:
    """
    What either clock of a pair had certainly shown, and had certainly come to show, at each message: shape (2, n); and
    which of them go forth.
    """
    goes_forth = messages.sender[rows] == near
    sent = np.stack((messages.sent_ns[rows], messages.sent_ns[rows] + messages.sender_resolution_ns[rows]))
    received = np.stack((messages.received_ns[rows], messages.received_by_at(rows)))
    return np.where(goes_forth, sent, received), np.where(goes_forth, received, sent), goes_forth


def points_along(
    messages: Messages, rows: Int64Array, near: int, far: int, slope: float
) -> tuple[Int64Array, Int64Array, Int64Array, BoolArray, Points]:
    """A pair: its rows by the near clock's readings, both clocks' readings, which of them go forth, and as points."""
    near_ns, far_ns, goes_forth = readings_of(messages, rows, near)
    # A send counts as early as it may have been, a receive as late.
    x, y = np.where(goes_forth, near_ns[0], near_ns[1]), np.where(goes_forth, far_ns[1], far_ns[0])
    order = np.argsort(x, kind="stable")
    rows, near_ns, far_ns, goes_forth = rows[order], near_ns[:, order], far_ns[:, order], goes_forth[order]
    x, y = x[order] - x[order[0]], y[order] - y[order[0]]
    # What the far clock showed when a message of the near one arrived, it had not shown when that one was sent.
    points = Points(x.astype(np.float64), (y - x).astype(np.float64), goes_forth, slope)
    return rows, near_ns, far_ns, goes_forth, points


def _worth_scanning(points: Points, near_ns: Int64Array) -> Int64Array:
    """The fastest few of each kind and about each second: the others say nothing that these do not."""
    count = len(points.x)
    if count <= _SCANNED_WHOLE:
        return np.arange(count)
    bucket = (near_ns >> _BUCKET_BITS) * 2 + points.is_upper
    speed = np.where(points.is_upper, points.excess, -points.excess)
    order = np.lexsort((speed, bucket))
    first = np.concatenate(([True], np.diff(bucket[order]) != 0))
    rank = np.arange(count) - np.maximum.accumulate(np.where(first, np.arange(count), 0))
    return np.sort(order[rank < SCANNED_PER_BUCKET])


def _gains(points: Points, is_false: BoolArray, breaks: Sequence[Break]) -> tuple[tuple[float, float], ...]:
    """How much the far clock went ahead at each break: what the stretches before and after it leave."""
    starts = [0, *(found.after for found in breaks)]
    ends = [*(found.before + 1 for found in breaks), len(points.x)]
    gains = []
    for number, found in enumerate(breaks):
        (old_low, old_high), (new_low, new_high) = (
            bounds_at(points, start + np.flatnonzero(~is_false[start:end]), float(points.x[at]))
            for start, end, at in (
                (starts[number], ends[number], found.before),
                (starts[number + 1], ends[number + 1], found.after),
            )
        )
        drift = points.slope * float(points.x[found.after] - points.x[found.before])
        gains.append((new_low - old_high - drift, new_high - old_low + drift))
    return tuple(gains)


def bounds_at(points: Points, chosen: Int64Array, x: float) -> tuple[float, float]:
    """The least and the greatest excess that some points leave at one place, each infinite where nothing bounds it."""
    drift, is_upper = points.slope * np.abs(points.x[chosen] - x), points.is_upper[chosen]
    high = (points.excess[chosen] + drift)[is_upper].min(initial=np.inf)
    low = (points.excess[chosen] - drift)[~is_upper].max(initial=-np.inf)
    return float(low), float(high)
