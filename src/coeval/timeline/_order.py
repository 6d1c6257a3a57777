"""
The order of a timeline: one that contradicts nothing that is known.

Events stand by their estimates. Alignment promises that estimates of one clock's readings never run backwards and that
a message is not received before it is sent; equal estimates are left, and these are put into order by what is known of
them: each clock's own readings first, then how far along its call an event is.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from coeval.timeline._attempts import BoolArray, Int64Array


def timeline_order(
    known: BoolArray, estimate: Int64Array, level: Int64Array, clock: Int64Array, reading: Int64Array, chain: Int64Array
) -> Int64Array:
    """
    Which row stands where on the timeline.

    Args:
        known: False: the estimate is unknown; these come last, clock by clock, in the order of their readings.
        estimate: on the timeline, int64 ns.
        level: how far along its chain an event is; of one chain, a lower level happened first.
        clock, reading: the raw reading.
        chain: rows with one number belong to one attempt; -1: to none.

    Returns:
        Row numbers; rows that nothing tells apart keep their sequence.
    """
    part = np.where(known, -2, clock)
    when = np.where(known, estimate, reading)
    order: Int64Array = np.lexsort((clock, level, when, part))
    for begin, end in _tied_against_a_clock(order, part, when, clock, reading):
        order[begin:end] = _sorted_tie(order[begin:end].tolist(), level, clock, reading, chain)
    return order


def _tied_against_a_clock(
    order: Int64Array, part: Int64Array, when: Int64Array, clock: Int64Array, reading: Int64Array
) -> list[tuple[int, int]]:
    """Runs of equal times in which the readings of some clock do not stand in their order."""
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (np.diff(part[order]) != 0) | (when[order][1:] != when[order][:-1])
    if bool(new.all()):
        return []
    run = np.cumsum(new) - 1
    starts = np.append(np.flatnonzero(new), len(order))
    by_clock = np.lexsort((run, clock[order]))
    clocks, runs, readings = clock[order][by_clock], run[by_clock], reading[order][by_clock]
    backwards = (clocks[1:] == clocks[:-1]) & (runs[1:] == runs[:-1]) & (readings[1:] < readings[:-1])
    return [(int(starts[number]), int(starts[number + 1])) for number in np.unique(runs[1:][backwards]).tolist()]


def _sorted_tie(
    rows: Sequence[int], level: Int64Array, clock: Int64Array, reading: Int64Array, chain: Int64Array
) -> list[int]:
    """
    Sort events of one estimate so that every clock's readings and every chain's levels stand in order.

    Where false evidence makes that impossible, what is caught in the circle keeps the order it came in.
    """
    waits_for: dict[int, int] = dict.fromkeys(rows, 0)
    releases: dict[int, list[int]] = {row: [] for row in rows}
    for groups, key in ((clock, reading), (chain, level)):
        by_group: dict[int, dict[int, list[int]]] = {}
        for row in rows:
            by_group.setdefault(int(groups[row]), {}).setdefault(int(key[row]), []).append(row)
        for group, steps in by_group.items():
            if group < 0:
                continue
            values = sorted(steps)
            for earlier, later in pairwise(values):
                for row in steps[earlier]:
                    releases[row] += steps[later]
                for row in steps[later]:
                    waits_for[row] += len(steps[earlier])
    position = {row: number for number, row in enumerate(rows)}
    ready = [position[row] for row in rows if not waits_for[row]]
    heapq.heapify(ready)
    result: list[int] = []
    while ready:
        row = rows[heapq.heappop(ready)]
        result.append(row)
        for other in releases[row]:
            waits_for[other] -= 1
            if not waits_for[other]:
                heapq.heappush(ready, position[other])
    done = set(result)
    return result + [row for row in rows if row not in done]
