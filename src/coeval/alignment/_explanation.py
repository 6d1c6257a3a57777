"""Why a time is what it is: the messages that set its two bounds, and where their way begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coeval.alignment._messages import Messages, described
from coeval.alignment._solution import Solution
from coeval.alignment._strands import Sorting
from coeval.alignment._system import Hop
from coeval.clocks import Anchor, ClockId, Grade, Instant, Message, Stamp


@dataclass(frozen=True, slots=True)
class BoundWay:
    """
    What sets one bound.

    Attributes:
        clocks: the way, from the stamp's clock to the one where it begins.
        messages: one for each hop between clocks, in the same direction.
        anchor: where the way begins, if that is an anchor to UTC.
        is_assumed: it begins with the assumption that the rate of the last clock changes slowly; all of that clock's
            messages bear it.
    """

    clocks: tuple[ClockId, ...]
    messages: tuple[Message, ...]
    anchor: Anchor | None
    is_assumed: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Attributes:
        stamp, instant: what was asked for, and what it is.
        earliest, latest: what sets each bound; None where it is unknown.
    """

    stamp: Stamp
    instant: Instant
    earliest: BoundWay | None
    latest: BoundWay | None

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.stamp.clock} {self.stamp.reading_ns} is {_interval(self.instant)}",
                f"  not earlier, because {_told(self.earliest)}",
                f"  not later, because {_told(self.latest)}",
            ]
        )


def explained(
    solution: Solution,
    sorting: Sorting,
    messages: Messages,
    anchors: Sequence[Anchor],
    instant: Instant,
    stamp: Stamp,
    strands: Sequence[int],
    grade: Grade,
) -> Explanation:
    """
    Follow both bounds of a stamp to where they begin.

    Args:
        strands: those that the reading may belong to; the first one's bounds from below, the last one's from above.
    """
    if not strands:
        return Explanation(stamp, instant, None, None)
    earliest, _ = solution.ways(strands[0], stamp.reading_ns, grade)
    _, latest = solution.ways(strands[-1], stamp.reading_ns, grade)
    return Explanation(
        stamp,
        instant,
        _way(earliest, solution, sorting, messages, anchors),
        _way(latest, solution, sorting, messages, anchors),
    )


def _way(
    hops: Sequence[Hop], solution: Solution, sorting: Sorting, messages: Messages, anchors: Sequence[Anchor]
) -> BoundWay | None:
    if not hops:
        return None
    axis = solution.axis
    strands = [int(axis.system.strand_of[hop.event]) for hop in hops]
    rows = [int(axis.message_rows[hop.message]) for hop in hops if hop.message >= 0]
    anchor = int(axis.anchor_rows[hops[-1].event])
    clocks = [messages.clocks[sorting.strands[strand].clock] for strand in strands]
    is_assumed = anchor < 0 and clocks[-1] != axis.name
    return BoundWay(
        tuple(dict.fromkeys(clocks)),
        tuple(messages[row] for row in rows if row >= 0),
        anchors[anchor] if anchor >= 0 else None,
        is_assumed,
    )


def _interval(instant: Instant) -> str:
    earliest = "any time" if instant.earliest_ns is None else str(instant.earliest_ns)
    latest = "any time" if instant.latest_ns is None else str(instant.latest_ns)
    return f"between {earliest} and {latest} on {instant.reference}"


def _told(way: BoundWay | None) -> str:
    if way is None:
        return "nothing bounds it on that side"
    parts = [f"message {described(message)}" for message in way.messages]
    if way.anchor is not None:
        parts.append(f"{way.anchor.source} anchors {way.anchor.clock} {way.anchor.reading_ns}")
    elif way.is_assumed:
        parts.append(f"the rate of {way.clocks[-1]} is assumed to change slowly")
    return ", then ".join(parts) or f"{way.clocks[-1]} is the reference itself"
