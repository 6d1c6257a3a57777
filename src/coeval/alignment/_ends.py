"""
Which strand of its clock each end of a message is of.

    by the reading alone                  where a clock was set forward, or only back by less than it had gone on
    what the other ends leave             where it showed readings twice
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from coeval.alignment._messages import Messages
from coeval.alignment._ownership import Step
from coeval.alignment._pair_scan import ceiling_at
from coeval.alignment._rate import GRID_BITS, BoolArray, Float64Array, Int64Array

# How often what is certain of one direction is held against the other.
_SORTING_ROUNDS = 3

# What rounding may add where bounds are compared in floats.
_TOLERANCE_NS = 2.0


class Ends(NamedTuple):
    """
    One clock's ends of messages.

    Attributes:
        sends: whether it sent them, or received them.
        places: which of the rows.
        low, high: the clock had shown the one and not yet passed the other.
        partner: code of the clock at the other end.
        x: what that one showed, a receive as late as it may have been.
    """

    sends: bool
    places: Int64Array
    low: Int64Array
    high: Int64Array
    partner: npt.NDArray[np.int32]
    x: Int64Array


def ends_of(messages: Messages, rows: Int64Array, clock: int, *, sends: bool) -> Ends:
    if sends:
        places = np.flatnonzero(messages.sender[rows] == clock)
        own = rows[places]
        low, other = messages.sent_ns[own], messages.received_by_at(own)
        return Ends(True, places, low, low + messages.sender_resolution_ns[own], messages.receiver[own], other)
    places = np.flatnonzero(messages.receiver[rows] == clock)
    own = rows[places]
    received, by = messages.received_ns[own], messages.received_by_at(own)
    return Ends(False, places, received, by, messages.sender[own], messages.sent_ns[own])


def strands_at(
    ends: Ends, others: Ends, steps: Sequence[Step], limits: Sequence[int], set_clocks: Sequence[int]
) -> tuple[Int64Array, BoolArray]:
    """
    The number of the strand of each end, and whether that is certain.

    Readings alone tell it but where a clock was set back and showed them twice. There a message may be of either
    strand, unless it would have arrived before it was sent by what is certain of one of the two.

    Args:
        ends: whose strands are asked for.
        others: the clock's ends of messages the other way.
        steps: of the clock, in order.
        set_clocks: all that stepped.
    """
    possible, others_possible = by_reading(ends, steps), by_reading(others, steps)
    for _ in range(_SORTING_ROUNDS if any(step.cut.is_set_back for step in steps) else 0):
        found = _excluded(ends, possible, others, others_possible, steps[0].clock, limits, set_clocks)
        others_possible = _excluded(others, others_possible, ends, possible, steps[0].clock, limits, set_clocks)
        possible = found
    return np.argmax(possible, axis=1), possible.sum(axis=1) == 1


def by_reading(ends: Ends, steps: Sequence[Step]) -> BoolArray:
    """Which strands may have shown each reading: shape (n, strands)."""
    possible = np.ones((len(ends.places), len(steps) + 1), dtype=np.bool_)
    for number, step in enumerate(steps):
        cut = step.cut
        if cut.is_set_back:
            possible[:, number] &= ends.low <= cut.before + cut.passed_ns
            possible[:, number + 1] &= ends.high >= cut.after - cut.passed_ns
        else:  # a reading in between may be of either
            possible[:, number] &= ends.low < cut.after
            possible[:, number + 1] &= ends.high > cut.before
    return possible


def _excluded(
    ends: Ends,
    possible: BoolArray,
    others: Ends,
    others_possible: BoolArray,
    clock: int,
    limits: Sequence[int],
    set_clocks: Sequence[int],
) -> BoolArray:
    """The same without strands on which an end would contradict what is certain of them."""
    possible = possible.copy()
    is_open = possible.sum(axis=1) > 1
    # What a partner showed that was set itself does not tell when.
    is_open &= ~np.isin(ends.partner, set_clocks)
    certain = others_possible.sum(axis=1) == 1
    for partner in np.unique(ends.partner[is_open]).tolist():
        slope = (limits[clock] + limits[partner]) / (1 << GRID_BITS)
        from_partner = certain & (others.partner == partner)
        for number in range(possible.shape[1]):
            asked = np.flatnonzero(is_open & (ends.partner == partner) & possible[:, number])
            known = np.flatnonzero(from_partner & others_possible[:, number])
            possible[asked, number] = _may_be(ends, asked, others, known, slope / (1 - slope / 2))
    # Where none is left, the message is false: that is for the circles to say.
    none = ~possible.any(axis=1)
    possible[none] = True
    return possible


def _may_be(ends: Ends, asked: Int64Array, others: Ends, known: Int64Array, slope: float) -> BoolArray:
    """Which ends agree with the messages the other way that are known to be of one strand."""
    if not len(known):
        return np.ones(len(asked), dtype=np.bool_)
    origin_x, origin_y = int(others.x[known[0]]), int(others.low[known[0]])

    def excess(of: Ends, rows: Int64Array) -> tuple[Float64Array, Float64Array]:
        x = of.x[rows] - origin_x
        return x.astype(np.float64), ((of.low if of.sends else of.high)[rows] - origin_y - x).astype(np.float64)

    # The clock had shown what it sent when that arrived, and had not passed what it received when that was sent.
    sign = 1.0 if ends.sends else -1.0
    known_x, known_excess = excess(others, known)
    asked_x, asked_excess = excess(ends, asked)
    ceiling = ceiling_at(known_x, sign * known_excess, asked_x, slope)
    return np.asarray(sign * asked_excess <= ceiling + _TOLERANCE_NS, dtype=np.bool_)
