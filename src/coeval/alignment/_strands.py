"""
Strands: each clock cut into the stretches between its steps, and every end of a message on one of them.

What a clock showed before a step says nothing about its offset after, so each strand has bounds of its own. One thing
crosses the cut: whatever was shown before it was not later than whatever was shown after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from coeval.alignment._rate import BoolArray, Int64Array


class Cut(NamedTuple):
    """
    A step of one clock.

    Attributes:
        before: a reading that was shown before the step; the last one that is known.
        after: one that was shown after it; the first one that is known. Less than `before` where the clock was set
            back by more than the time between the two.
        is_given: the user named the very reading, so `before` and `after` are neighbours and nothing lies between.
        is_set_back: the clock was set back, or may have been: it showed readings twice, wherever `after` is.
        passed_ns: at most so much time passed between the two, as the clock counts.
        others_ns: what it had shown at the messages of the pair between the two, which are of neither strand for
            certain: the clock may have been set more than once.
        false_ns: those of them that are not believed: around them it may have been at a third offset.
        is_doubtful: it may be that another clock was set instead, and this one was not.
    """

    before: int
    after: int
    is_given: bool = False
    is_set_back: bool = False
    passed_ns: int = 0
    others_ns: tuple[int, ...] = ()
    false_ns: tuple[int, ...] = ()
    is_doubtful: bool = False

    def shown_between(self, readings: Int64Array) -> BoolArray:
        """Which readings the clock may have shown between the two, as far as anything says."""
        shown: BoolArray = (readings > self.before) & (readings < self.after)
        if self.is_set_back:
            shown |= (readings > self.before) & (readings <= self.before + self.passed_ns)
            shown |= (readings < self.after) & (readings >= self.after - self.passed_ns)
        if self.others_ns:
            shown |= np.isin(readings, self.others_ns)
        for reading in self.false_ns:
            shown |= np.abs(readings - reading) <= self.passed_ns
        return shown


@dataclass(frozen=True, eq=False, slots=True)
class Sorting:
    """
    Which messages are believed, and where their ends lie.

    Attributes:
        rows: of the messages, as indices.
        sent_strand, received_strand: of each of `rows`, the strand of its sender and its receiver, numbered through
            `strands`.
        strands: of all clocks, clock by clock.
        cuts: between the strands of each clock, by code; clocks without any are left out.
    """

    rows: Int64Array
    sent_strand: Int64Array
    received_strand: Int64Array
    strands: tuple[Strand, ...]
    cuts: Mapping[int, Sequence[Cut]]


class Strand(NamedTuple):
    """
    Attributes:
        clock: its code.
        number: which strand of that clock, from 0.
    """

    clock: int
    number: int


def strands_of(clock_count: int, cuts: Mapping[int, Sequence[Cut]]) -> tuple[Strand, ...]:
    """All strands, clock by clock."""
    return tuple(Strand(code, number) for code in range(clock_count) for number in range(len(cuts.get(code, ())) + 1))


def first_strands(strands: Sequence[Strand], clock_count: int) -> Int64Array:
    """The position of each clock's first strand."""
    return np.searchsorted([strand.clock for strand in strands], np.arange(clock_count)).astype(np.int64)
