"""
What new evidence took back: times that were told before, and are no longer within what was told.

While assumptions hold, more evidence only narrows intervals. Where one widens or moves, an assumption did not hold, or
a message, a step or an anchor is judged otherwise now; whoever used the old times has to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coeval.alignment._instants import UNKNOWN_EARLIEST, UNKNOWN_LATEST
from coeval.clocks import ClockId, Grade

if TYPE_CHECKING:
    from coeval.alignment._alignment import Alignment

# Both are rounded outward to whole nanoseconds, from points of their own.
_ROUNDING_NS = 2


@dataclass(frozen=True, slots=True)
class Revision:
    """
    The times of one clock that were revised, in one grade.

    Attributes:
        clock, grade: whose times, and of which grade.
        first_ns, last_ns: readings between which they lie.
        beyond_ns: how far beyond the interval that was told the new one reaches, at most; None: what was known is not
            known any more.
        text: the same in one sentence.
    """

    clock: ClockId
    grade: Grade
    first_ns: int
    last_ns: int
    beyond_ns: int | None
    text: str


def revisions(earlier: Alignment, later: Alignment) -> tuple[Revision, ...]:
    """
    Compare two alignments of growing evidence, at every reading at which bounds of the earlier one turn.

    Raises:
        ValueError: They count on different references.
    """
    if (earlier.reference, earlier.reference_clock) != (later.reference, later.reference_clock):
        raise ValueError(
            f"the earlier alignment counts on {earlier.reference} and the later one on {later.reference}: give both "
            "one reference, and anchors to both or to none"
        )
    grades: tuple[Grade, ...] = ("declared", "assumed")
    found = [_revised(earlier, later, clock, grade) for clock in earlier.clocks for grade in grades]
    return tuple(revision for revision in found if revision is not None)


def _revised(earlier: Alignment, later: Alignment, clock: ClockId, grade: Grade) -> Revision | None:
    readings = earlier.turning_points(clock, grade)
    if not len(readings) or clock not in later.clocks:
        return None
    old, new = earlier.instants(clock, readings, grade), later.instants(clock, readings, grade)
    had_least, had_most = old.earliest_ns != UNKNOWN_EARLIEST, old.latest_ns != UNKNOWN_LATEST
    lost = (had_least & (new.earliest_ns == UNKNOWN_EARLIEST)) | (had_most & (new.latest_ns == UNKNOWN_LATEST))
    both = ~lost
    before = np.where(both & had_least, old.earliest_ns - new.earliest_ns, 0)
    after = np.where(both & had_most, new.latest_ns - old.latest_ns, 0)
    beyond = np.maximum(before, after)
    rows = np.flatnonzero(lost | (beyond > _ROUNDING_NS))
    if not len(rows):
        return None
    most = None if bool(lost.any()) else int(beyond.max())
    first, last = int(readings[rows].min()), int(readings[rows].max())
    how = "are not known any more" if most is None else f"reach up to {most} ns beyond what was told"
    text = f"The {grade} bounds of clock {clock} were revised: between its readings {first} and {last} they {how}."
    return Revision(clock, grade, first, last, most, text)
