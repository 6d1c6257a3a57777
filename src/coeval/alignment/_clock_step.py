"""A step of a clock, for people: when it happened and how far the clock was set, as intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np

from coeval.alignment._instants import UNKNOWN_EARLIEST, UNKNOWN_LATEST
from coeval.alignment._messages import Messages
from coeval.alignment._ownership import Step
from coeval.alignment._rate import GRID_BITS
from coeval.alignment._sorting import Sorted
from coeval.alignment._track import Track
from coeval.clocks import ClockId


@dataclass(frozen=True, slots=True)
class ClockStep:
    """
    A clock was set between two of its readings.

    Attributes:
        clock: which one.
        earliest_ns, latest_ns: the last of its readings known to be before the step, and the first known to be after
            it. The first is the greater one where the clock was set back by more than lies between.
        size_ns_least, size_ns_greatest: how far forward it was set (negative: back); None: unknown on that side.
        is_given: the step was given, not found.
        is_certain: it is this clock that stepped: others agree. False: another one may have, instead.
        others: the clocks whose messages prove it.
        rival: the clock that may have been set instead, the other way; None: none, or all others together. Whatever the
            bounds of either clock say holds in both cases, but that the reference is taken at its word.
        text: the step in one sentence.
    """

    clock: ClockId
    earliest_ns: int
    latest_ns: int
    size_ns_least: int | None
    size_ns_greatest: int | None
    is_given: bool
    is_certain: bool
    others: tuple[ClockId, ...]
    rival: ClockId | None
    text: str


def clock_step(step: Step, messages: Messages, tracks: Mapping[ClockId, Track], believed: Sorted) -> ClockStep:
    """
    Measure a step: the clock's offset after it less that before it, with what drifted between added to its error.

    Args:
        tracks: on the reference clock's axis, declared.
    """
    clock, cut = messages.clocks[step.clock], step.cut
    number = believed.sorting.cuts[step.clock].index(cut)
    before, after = (
        tracks[clock].bands[number + side].bounds(np.array([reading], dtype=np.int64))
        for side, reading in ((0, cut.before), (1, cut.after))
    )
    ends = [int(column[0]) for column in (before.earliest, before.latest, after.earliest, after.latest)]
    least: int | None = None
    greatest: int | None = None
    shown, rate = cut.after - cut.before, believed.limits[step.clock] / (1 << GRID_BITS)
    passed: int | None = cut.passed_ns if cut.is_set_back else None
    if ends[0] != UNKNOWN_EARLIEST and ends[3] != UNKNOWN_LATEST:
        passed = max(0, ends[3] - ends[0])
        least = shown - (ends[3] - ends[0]) - ceil(passed * rate)
    if ends[1] != UNKNOWN_LATEST and ends[2] != UNKNOWN_EARLIEST and passed is not None:
        # Where only the clock itself tells how long it was, that much may be off too.
        greatest = shown - (ends[2] - ends[1]) + ceil(2 * passed * rate)
    others = tuple(messages.clocks[code] for code in step.others)
    rival = None if step.rival is None else messages.clocks[step.rival]
    return ClockStep(
        clock,
        cut.before,
        cut.after,
        least,
        greatest,
        cut.is_given,
        step.is_certain,
        others,
        rival,
        _text(clock, cut.before, cut.after, least, greatest, None if step.is_certain else rival or "all others"),
    )


def _text(
    clock: ClockId,
    before: int,
    after: int,
    least: int | None,
    greatest: int | None,
    rival: ClockId | str | None,
) -> str:
    if least is None:
        size = "by an unknown amount" if greatest is None else f"by at most {greatest} ns"
    else:
        size = f"by at least {least} ns" if greatest is None else f"by {least} to {greatest} ns"
    blame = "" if rival is None else f" (or {rival} did, the other way: no third clock tells)"
    return f"Clock {clock} was set {size} between its readings {before} and {after}{blame}."
