"""
A pair of clocks of which one was set, scanned as if it had not been.

Along the readings of a clock that was set back, messages of before and of after are mixed; where both clocks of a pair
were, no order of its messages is right. Once other pairs have told when and how far one of the two was set, its
readings are taken back to what it would have shown without, and along those a scan tells the steps of the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from math import ceil
from typing import NamedTuple

import numpy as np

from coeval.alignment._ends import by_reading, ends_of
from coeval.alignment._messages import Messages
from coeval.alignment._ownership import Step
from coeval.alignment._pairs import PairScan, clocks_of, is_mixed, readings_of, scanned
from coeval.alignment._rate import Int64Array


class ScannedAgain(NamedTuple):
    """
    Attributes:
        is_clear: the messages are not mixed now. False also where no step is known, or too few messages are left.
        scan: what was found; None: no contradiction, or nothing was scanned.
    """

    is_clear: bool
    scan: PairScan | None


def scanned_without_steps(
    messages: Messages, rows: Int64Array, steps: Sequence[Step], limits: Sequence[int]
) -> ScannedAgain:
    """
    Scan a pair along readings that are less what its clocks are known to have been set by.

    Args:
        rows: of the pair's messages. Those near a step, of which the reading alone does not tell the strand, are left
            out.
        steps: of all clocks, in their order. What other pairs tell of these two is taken off; of a clock with a step
            that may have been another clock's, nothing.
        limits: the rate bound of each clock against the reference, on the grid.
    """
    less = _without_steps(messages.taken(rows), steps)
    if not less.is_any or len(np.unique(less.messages.sender[less.rows])) < 2:
        return ScannedAgain(False, None)
    found = scanned(less.messages, less.rows, limits)
    if found is None:
        return ScannedAgain(True, None)
    of_all = rows[found.rows]
    near_ns, far_ns, goes_forth = readings_of(messages, of_all, found.near)
    sent_ns, received_ns = less.sent_set_ns[found.rows], less.received_set_ns[found.rows]
    as_shown = replace(
        found,
        rows=of_all,
        near_ns=near_ns,
        far_ns=far_ns,
        false_rows=rows[found.false_rows],
        set_ns=np.stack((np.where(goes_forth, sent_ns, received_ns), np.where(goes_forth, received_ns, sent_ns))),
        points=replace(found.points, tolerance_ns=found.points.tolerance_ns + less.error_ns),
    )
    return ScannedAgain(not is_mixed(found), as_shown)


class _Less(NamedTuple):
    """
    Messages less the steps.

    Attributes:
        rows: those that are surely of one strand at both ends.
        sent_set_ns, received_set_ns: how far the clock had been set before, at either end of each.
        error_ns: how far off that may be, of both ends together.
        is_any: whether there was a step.
    """

    messages: Messages
    rows: Int64Array
    sent_set_ns: Int64Array
    received_set_ns: Int64Array
    error_ns: int
    is_any: bool


def _without_steps(messages: Messages, steps: Sequence[Step]) -> _Less:
    rows = np.arange(len(messages))
    set_ns = {sends: np.zeros(len(rows), dtype=np.int64) for sends in (True, False)}
    is_known = np.ones(len(rows), dtype=np.bool_)
    error_ns, is_any = 0, False
    for clock, other in permutations(clocks_of(messages, rows)):
        # What only this pair tells is not taken off: it would be what is asked for.
        own = [step for step in steps if step.clock == clock and set(step.others) - {other}]
        if not own or not all(_is_told(step) for step in own):
            continue
        is_any = True
        sizes = np.array([step.sizes for step in own])
        set_by = np.concatenate(([0], np.rint(sizes.mean(axis=1)).cumsum())).astype(np.int64)
        error_ns += ceil(float((sizes[:, 1] - sizes[:, 0]).sum() / 2)) + len(own)
        for sends in (True, False):
            ends = ends_of(messages, rows, clock, sends=sends)
            possible = by_reading(ends, own)
            is_known[ends.places[possible.sum(axis=1) != 1]] = False
            set_ns[sends][ends.places] = set_by[np.argmax(possible, axis=1)]
    # A message that came later says less: what is not known of the steps makes none too fast.
    sent_ns, received_ns = messages.sent_ns - set_ns[True], messages.received_ns - set_ns[False] + error_ns
    less = replace(messages, sent_ns=sent_ns, received_ns=received_ns)
    return _Less(less, np.flatnonzero(is_known), set_ns[True], set_ns[False], error_ns, is_any)


def _is_told(step: Step) -> bool:
    """It is this clock's, or taken to be, and its size is known."""
    return not step.cut.is_doubtful and bool(np.all(np.isfinite(step.sizes))) and step.sizes[0] <= step.sizes[1]
