"""
What an as-of join of uncertain times means, tried out: every admissible assignment of times, one after the other.

Times are whole numbers here, and bounds multiples of `SCALE`, so that between two bounds there is room for rows to
stand in every order.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from coeval.timeline.join._asof import NO_CLOCK

SCALE = 4


class Row(NamedTuple):
    """One row; a side that is None is unknown, a clock `NO_CLOCK` too."""

    group: int
    clock: int
    raw: int
    earliest: int | None
    latest: int | None


def representatives(rights: list[Row], direction: str) -> list[int]:
    """Of rows that are known to be at one time the last (forward: the first) stands for all."""
    rights = [row._replace(clock=clock) for row, clock in zip(rights, believed(rights), strict=True)]
    bounds = narrowed(rights)

    def is_one(a: int, b: int) -> bool:
        first, second = rights[a], rights[b]
        if first.group != second.group:
            return False
        same_reading = first.clock == second.clock != NO_CLOCK and first.raw == second.raw
        exact = bounds[a][0] == bounds[a][1] == bounds[b][0] == bounds[b][1]
        return same_reading or exact

    kept = []
    by_reading = []
    numbers = range(len(rights))
    # Equal readings first, then exact times.
    for number in numbers:
        others = [n for n in numbers if (n < number if direction == "forward" else n > number)]
        same = [
            n
            for n in others
            if rights[n].clock == rights[number].clock != NO_CLOCK
            and rights[n].raw == rights[number].raw
            and rights[n].group == rights[number].group
        ]
        if not same:
            by_reading.append(number)
    for number in by_reading:
        others = [n for n in by_reading if (n < number if direction == "forward" else n > number)]
        if not any(is_one(number, n) for n in others):
            kept.append(number)
    return kept


def believed(rights: list[Row]) -> list[int]:
    """Clocks whose order the bounds contradict are not believed, group by group."""
    bounds = narrowed(rights)
    broken = {
        (row.group, row.clock)
        for row, (low, high) in zip(rights, bounds, strict=True)
        if row.clock != NO_CLOCK and low > high
    }
    return [NO_CLOCK if (row.group, row.clock) in broken else row.clock for row in rights]


def narrowed(rights: list[Row]) -> list[tuple[float, float]]:
    result = []
    for row in rights:
        chain = [row]
        if row.clock != NO_CLOCK:
            chain = [other for other in rights if other.group == row.group and other.clock == row.clock]
        low = max(-np.inf if o.earliest is None else o.earliest for o in chain if o.raw <= row.raw)
        high = min(np.inf if o.latest is None else o.latest for o in chain if o.raw >= row.raw)
        result.append((low, high))
    return result


def outcomes(left: Row, rights: list[Row], direction: str, within: int | None) -> set[frozenset[int]]:
    """
    The sets of right rows that are the match, or equally good ones, under some assignment; an empty set: no match.
    """
    clocks = believed(rights)
    rights = [row._replace(clock=clock) for row, clock in zip(rights, clocks, strict=True)]
    kept = [number for number in representatives(rights, direction) if rights[number].group == left.group]
    rows = [left, *(rights[number] for number in kept)]
    bounds = [(row.earliest, row.latest) for row in rows]
    # All rows of the clock narrow each other, also those that are not kept.
    for position, number in enumerate(kept):
        low, high = narrowed(rights)[number]
        bounds[position + 1] = (None if low == -np.inf else int(low), None if high == np.inf else int(high))
    known = [side for bound in bounds for side in bound if side is not None] or [0]
    margin = (within or 0) + 2 * SCALE + (max(known) - min(known) if direction == "nearest" else 0)
    grids = [
        range(
            min(known) - margin if low is None else low,
            (max(known) + margin if high is None else high) + 1,
        )
        for low, high in bounds
    ]
    result = found(rows, grids, kept, direction, within)
    if not result:
        # The left row contradicts its clock: its order with the clock's rows is not known.
        rows[0] = left._replace(clock=NO_CLOCK)
        result = found(rows, grids, kept, direction, within)
    return result


def found(
    rows: list[Row], grids: list[range], kept: list[int], direction: str, within: int | None
) -> set[frozenset[int]]:
    times = np.array(list(itertools.product(*grids)), dtype=np.int64)
    admissible = np.ones(len(times), dtype=bool)
    for a, b in itertools.permutations(range(len(rows)), 2):
        if rows[a].clock == rows[b].clock != NO_CLOCK:
            if rows[a].raw < rows[b].raw:
                admissible &= times[:, a] <= times[:, b]
            elif rows[a].raw == rows[b].raw:
                admissible &= times[:, a] == times[:, b]
    times = times[admissible]
    left = times[:, 0]
    count = len(kept)
    at = times[:, 1:]

    def own(number: int) -> int | None:
        """-1, 0, 1: before, at, after the left row by their common clock."""
        row = rows[number + 1]
        if row.clock == rows[0].clock != NO_CLOCK:
            return int(np.sign(row.raw - rows[0].raw))
        return None

    distance = np.abs(at - left[:, None])
    is_candidate = np.ones((len(times), count), dtype=bool)
    for number in range(count):
        side = own(number)
        if direction == "backward":
            is_candidate[:, number] = at[:, number] <= left if side is None else side <= 0
        if direction == "forward":
            is_candidate[:, number] = at[:, number] >= left if side is None else side >= 0
    if within is not None:
        is_candidate &= distance <= within
    unbeaten = is_candidate.copy()
    for number, other in itertools.permutations(range(count), 2):
        first, second = rows[number + 1], rows[other + 1]
        beats = distance[:, other] < distance[:, number]
        if first.clock == second.clock != NO_CLOCK:
            # Of two readings of one clock on one side the nearer one by the clock.
            both_before = (at[:, number] <= left) & (at[:, other] <= left)
            both_after = (at[:, number] > left) & (at[:, other] > left)
            if direction == "forward":
                both_before, both_after = (
                    (at[:, number] < left) & (at[:, other] < left),
                    (at[:, number] >= left) & (at[:, other] >= left),
                )
            if first.clock == rows[0].clock:
                both_before = np.full(len(times), (own(number) or 0) <= 0 and (own(other) or 0) <= 0)
                both_after = np.full(len(times), (own(number) or 0) >= 0 and (own(other) or 0) >= 0)
            beats |= both_before & (second.raw > first.raw)
            beats |= both_after & (second.raw < first.raw)
        if own(other) == 0 and own(number) != 0:
            beats |= True
        unbeaten[:, number] &= ~(beats & is_candidate[:, other])
    packed = np.unique(unbeaten, axis=0)
    return {frozenset(kept[n] for n in np.flatnonzero(row).tolist()) for row in packed}


def verdict(left: Row, rights: list[Row], direction: str, within: int | None) -> tuple[set[int], int | None]:
    """The possible rows, and the certain one."""
    sets = outcomes(left, rights, direction, within)
    possible = set().union(*sets)
    certain = next(iter(possible)) if len(possible) == 1 and frozenset() not in sets else None
    return possible, certain
