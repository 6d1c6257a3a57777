"""
Searching in groups: many sorted columns laid end to end, one per group, and many questions at once.

A question is a group and a value. Where groups times span fits into an int64, group and value become one number, and
one `searchsorted` over all answers every question; where not, all questions are halved together, step by step.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int64Array: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

UNKNOWN_BEFORE = -(1 << 62)
"""Stands for an unknown earliest: before every time."""

UNKNOWN_AFTER = 1 << 62
"""Stands for an unknown latest: after every time."""

TIME_MAX = 1 << 61
"""Times stay below it on both sides of zero, so that two of them can be added and a distance doubled."""

_GROUPS_MAX_OF_16_BITS = 1 << 15


class GroupedValues:
    """
    Values in ascending order within each group.

    Args:
        values: int64, group after group; beside times, only the two unknowns.
        starts: where each group begins, and the length at the end.
    """

    def __init__(self, values: Int64Array, starts: Int64Array) -> None:
        self.values = values
        self.starts = starts
        self._low = self._high = self._span = 0
        self._combined: Int64Array | None = None
        groups = len(starts) - 1
        if groups == 1 or not len(values):
            return
        self._low, self._high = int(values.min()), int(values.max())
        is_known = self._low > UNKNOWN_BEFORE and self._high < UNKNOWN_AFTER
        if not is_known:
            finite = values[(values > UNKNOWN_BEFORE) & (values < UNKNOWN_AFTER)]
            self._low, self._high = (int(finite.min()), int(finite.max())) if len(finite) else (0, 0)
        self._span = self._high - self._low + 5
        if groups * self._span < (1 << 63):
            bases = np.arange(groups, dtype=np.int64) * self._span
            if is_known:
                # All are within: no copy to clip them.
                numbers = np.repeat(bases - (self._low - 2), np.diff(starts))
                numbers += values
            else:
                numbers = np.repeat(bases, np.diff(starts))
                numbers += self._clipped(values)
            self._combined = numbers

    def __len__(self) -> int:
        return len(self.values)

    def _clipped(self, values: Int64Array) -> Int64Array:
        """From 0, in the values' order; what is outside, but known, stays apart from the unknowns."""
        clipped: Int64Array = np.clip(values, self._low - 1, self._high + 1)
        clipped -= self._low - 2
        clipped[values <= UNKNOWN_BEFORE] = 0
        clipped[values >= UNKNOWN_AFTER] = self._span - 1
        return clipped

    def count_until(self, groups: Int64Array, limits: Int64Array, *, inclusive: bool = True) -> Int64Array:
        """
        Where values pass a limit: the index behind those of the group that are at most the limit, or less than it.

        Args:
            groups: of each question; ascending is fast.
        """
        side: str = "right" if inclusive else "left"
        if not len(self.values):
            return np.zeros(len(limits), dtype=np.int64)
        if len(self.starts) == 2:
            return np.searchsorted(self.values, limits, side=side).astype(np.int64, copy=False)  # type: ignore[call-overload,no-any-return]
        if self._combined is not None:
            questions = self._clipped(limits)
            questions += groups * self._span
            return np.searchsorted(self._combined, questions, side=side).astype(np.int64, copy=False)  # type: ignore[call-overload,no-any-return]
        low, high = self.starts[groups], self.starts[groups + 1]
        while True:
            open_ = low < high
            if not bool(open_.any()):
                return low
            middle = (low + high) >> 1
            value = self.values[np.minimum(middle, len(self.values) - 1)]
            passed = ((value <= limits) if inclusive else (value < limits)) & open_
            low = np.where(passed, middle + 1, low)
            high = np.where(open_ & ~passed, middle, high)


def stable_order(codes: Int64Array, count: int) -> Int64Array:
    """Rows by code, those of one code in their sequence. Few codes are sorted by counting."""
    if count <= _GROUPS_MAX_OF_16_BITS:
        return np.argsort(codes.astype(np.int16), kind="stable").astype(np.int64, copy=False)
    if count <= _GROUPS_MAX_OF_16_BITS**2:
        # Two passes of counting are half the time of one by comparing.
        low = np.argsort((codes & (_GROUPS_MAX_OF_16_BITS - 1)).astype(np.int16), kind="stable")
        high = (codes >> 15).astype(np.int16)[low]
        return low[np.argsort(high, kind="stable")].astype(np.int64, copy=False)
    return np.argsort(codes, kind="stable").astype(np.int64, copy=False)


def order_in_groups(groups: Int64Array, count: int, values: Int64Array) -> Int64Array | None:
    """Rows by group, then by value, then as they came; None: they stand so."""
    if count == 1:
        if bool((values[1:] >= values[:-1]).all()):
            return None
        return np.argsort(values, kind="stable").astype(np.int64, copy=False)
    order = stable_order(groups, count)
    by_group, sorted_values = groups[order], values[order]
    if bool(((sorted_values[1:] < sorted_values[:-1]) & (by_group[1:] == by_group[:-1])).any()):
        first = np.argsort(values, kind="stable")
        order = first[stable_order(groups[first], count)]
    return order


def starts_of(sorted_groups: Int64Array, count: int) -> Int64Array:
    """Where each of `count` groups begins in a sorted column of groups, and the length at the end."""
    if count == 1:
        return np.array([0, len(sorted_groups)], dtype=np.int64)
    starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(sorted_groups, minlength=count), out=starts[1:])
    return starts


def running_max(values: Int64Array, starts: Int64Array) -> Int64Array:
    """Of each row the greatest value of its group so far."""
    if len(starts) <= 2 or not len(values):
        return np.maximum.accumulate(values)
    # One accumulation over everything, of ranks that grow from group to group: no loop over groups.
    lengths = np.diff(starts)
    low, high = int(values.min()), int(values.max())
    if (high - low + 1) * len(lengths) < (1 << 63):
        lift = np.repeat(np.arange(len(lengths), dtype=np.int64) * (high - low + 1), lengths)
        result: Int64Array = np.maximum.accumulate(values - low + lift) - lift + low
        return result
    ranks, rank_of = np.unique(values, return_inverse=True)
    lift = np.repeat(np.arange(len(lengths), dtype=np.int64) * len(ranks), lengths)
    return ranks[np.maximum.accumulate(rank_of.astype(np.int64) + lift) - lift]
