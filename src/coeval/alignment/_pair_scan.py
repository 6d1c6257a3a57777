"""
One pair of clocks whose messages contradict each other: which of them are false, and where did one clock step?

Both questions are asked of points: of each message, when the one clock (the key) showed x, the other was ahead of it by
at most `excess` (an upper point) or by at least that (a lower point). Only what is too fast contradicts: an upper point
below a lower one, further than the two clocks can part in between.

A false message contradicts what came before it and what came after it. A step contradicts only what is on the other
side of it. So first the false ones go, by counting among their neighbours; then a scan from left to right begins a new
stretch wherever what follows cannot be explained by what was, and agrees with itself.

Source: the look-ahead is that of fault handling in piecewise linear clock models, as in Poirier, Roy and Dagenais,
Accurate offline synchronization of distributed traces using kernel-level events, OSR 44 (2010), whose model has no
steps; taking the longest stretch each time gives the fewest, since a part of a consistent stretch is consistent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from coeval.alignment._rate import BoolArray, Float64Array, Int64Array

# How many points of the other side, before and after, a point is compared with.
# Fewer: among slow messages the few that prove something are missed. More: time, and what is across a step counts in.
_NEIGHBOURS = 24
# One contradiction may be the other one's fault, two on each side are not.
_WITNESSES_LEAST = 2

# So many blamed points, with at most so many places from one to the next, are no chance if they agree.
_AGREEING_LEAST = 5
_AGREEING_APART = 4

# After a contradiction so many points are looked at, at most, to tell a step from a false message.
# Fewer: a step hardly larger than the least round trip, which few messages prove, is taken for false messages.
_LOOK_AHEAD = 1000
# A step is believed when so many points can only be explained by it.
# Fewer: false messages in a row make a step. More: a step near the end of the evidence is not found.
_SUPPORT_LEAST = 3
# Likewise, where nothing speaks for the old offset.
_SUPPORT_UNOPPOSED = 2

# How much slower than the fastest a message may be, in widths of what its stretch leaves open, to date a step.
# Less: steps are dated by fewer messages. More: two steps with few messages between them look like one, dated too well.
_FAST = 2.0

_ROUNDS_MAX = 50


class Break(NamedTuple):
    """Between two points, by their place in the scan: the last that is before the step, the first that is after it."""

    before: int
    after: int


@dataclass(frozen=True, eq=False, slots=True)
class Points:
    """
    Attributes:
        x: the key clock's readings, in the order of the scan, float64 ns from an origin nearby.
        excess: the other clock minus the key, float64 ns from an origin nearby.
        is_upper: which kind each point is.
        slope: how fast the two may part, ns per ns.
        tolerance_ns: what rounding may add.
    """

    x: Float64Array
    excess: Float64Array
    is_upper: BoolArray
    slope: float
    tolerance_ns: float = 2.0

    def among(self, kept: Int64Array) -> Points:
        """Some of them."""
        return Points(self.x[kept], self.excess[kept], self.is_upper[kept], self.slope, self.tolerance_ns)


@dataclass(frozen=True, eq=False, slots=True)
class Scan:
    """
    Attributes:
        false: points that are not believed, ascending.
        breaks: the steps between the others, in order, as places among all points.

    What cannot be decided here, as where one message stands against another, is neither.
    """

    false: Int64Array
    breaks: tuple[Break, ...]


def scan_of(points: Points) -> Scan:
    """Tell false points from steps; without a contradiction there are neither."""
    kept = np.arange(len(points.x))
    for quorum in (0.5, 0.0):
        for _ in range(_ROUNDS_MAX):
            if is_consistent(points.among(kept)):
                break
            blamed = _blamed(points.among(kept), quorum)
            if not bool(blamed.any()):
                break
            kept = kept[~blamed]
    breaks: list[Break] = []
    contradicting: list[int] = []
    for _ in range(_ROUNDS_MAX):
        if is_consistent(points.among(kept)):
            breaks = []
            break
        false, breaks = _stretches(points.among(kept))
        if not len(false):
            break
        remaining = np.ones(len(kept), dtype=np.bool_)
        remaining[false] = False
        place = np.cumsum(remaining) - 1
        breaks = [Break(int(place[found.before]), int(place[found.after])) for found in breaks]
        contradicting += kept[false].tolist()
        kept = kept[remaining]
    placed = [(kept[found.before], kept[found.after]) for found in breaks]
    # Of two messages that contradict each other alone, either may be the false one: that is not for a scan to say.
    undecided = [place for place in contradicting if _witnesses(points, kept, place) == 1]
    kept = np.union1d(kept, np.array(undecided, dtype=np.int64))
    is_false = np.ones(len(points.x), dtype=np.bool_)
    is_false[kept] = False
    return Scan(
        np.flatnonzero(is_false),
        tuple(Break(*(int(number) for number in found)) for found in placed),
    )


def _witnesses(points: Points, kept: Int64Array, place: int) -> int:
    """How many of the kept points contradict a point."""
    sign = 1.0 if points.is_upper[place] else -1.0
    others = kept[points.is_upper[kept] != points.is_upper[place]]
    gap = np.abs(points.x[others] - points.x[place]) * points.slope + points.tolerance_ns
    return int(np.count_nonzero(sign * (points.excess[others] - points.excess[place]) > gap))


def is_consistent(points: Points) -> bool:
    """Can all points be true without a step? They may stand in any order."""
    order = np.argsort(points.x, kind="stable")
    x, excess, is_upper = points.x[order], points.excess[order], points.is_upper[order]
    upper = np.where(is_upper, excess, np.inf)
    drift = points.slope * x
    ceiling = np.minimum(
        np.minimum.accumulate(upper - drift) + drift, np.minimum.accumulate((upper + drift)[::-1])[::-1] - drift
    )
    return not bool(np.any(excess[~is_upper] > ceiling[~is_upper] + points.tolerance_ns))


def ceiling_at(x: Float64Array, upper: Float64Array, asked: Float64Array, slope: float) -> Float64Array:
    """What bounds from above at some readings say about others: the least of `upper + slope * distance`."""
    order = np.argsort(x, kind="stable")
    x, upper = x[order], upper[order]
    left = np.concatenate(([np.inf], np.minimum.accumulate(upper - slope * x)))
    right = np.concatenate((np.minimum.accumulate((upper + slope * x)[::-1])[::-1], [np.inf]))
    place = np.searchsorted(x, asked, side="right")
    return np.minimum(left[place] + slope * asked, right[place] - slope * asked)


def _blamed(points: Points, quorum: float) -> BoolArray:
    """
    Points that contradict those before them and those after them, at least two of each and this part of them, but not
    what is a short stretch between two steps.
    """
    counts, seen = _contradicted(points)
    suspected: BoolArray = np.all(counts >= _WITNESSES_LEAST, axis=0)
    blamed: BoolArray = suspected & np.all(counts >= quorum * seen, axis=0)
    return blamed & ~_stretches_among(points, blamed, suspected)


def _contradicted(points: Points) -> tuple[Float64Array, Float64Array]:
    """How many of its neighbours of the other kind contradict each point, before and after it, and of how many."""
    counts, seen = np.zeros((2, 2, len(points.x)))
    places = np.arange(len(points.x))
    for is_upper in (True, False):
        own, others = places[points.is_upper == is_upper], places[points.is_upper != is_upper]
        sign = 1.0 if is_upper else -1.0
        middle = np.searchsorted(others, own)
        for distance in range(_NEIGHBOURS):
            for side, index in ((0, middle - 1 - distance), (1, middle + distance)):
                inside = (index >= 0) & (index < len(others))
                other = others[np.clip(index, 0, max(len(others) - 1, 0))] if len(others) else own
                gap = np.abs(points.x[other] - points.x[own]) * points.slope + points.tolerance_ns
                counts[side, own] += inside & (sign * (points.excess[other] - points.excess[own]) > gap)
                seen[side, own] += inside
    return counts, seen


def _stretches_among(points: Points, blamed: BoolArray, suspected: BoolArray) -> BoolArray:
    """
    Points that stand close together and agree: a clock that was set and soon set again gives such; false messages do
    not agree.

    They agree among themselves, those of either kind; or they are of one kind, nearly all that there are of it, and
    agree with what there is of the other kind in between, which nothing contradicts as it is only slow by the old
    offset.
    """
    found = np.zeros_like(blamed)
    for group in _runs(np.flatnonzero(blamed), np.flatnonzero(blamed)):
        start = 0
        while len(group) - start >= _AGREEING_LEAST:
            end = _agreeing(points.among(group[start:]))
            if end >= _AGREEING_LEAST:
                found[group[start : start + end]] = True
            start += end
    for is_upper in (True, False):
        own = np.flatnonzero(points.is_upper == is_upper)
        for group in _runs(own[suspected[own]], np.flatnonzero(suspected[own])):
            if len(group) >= _AGREEING_LEAST:
                between = np.arange(group[0], group[-1] + 1)
                standing = between[suspected[between] == (points.is_upper[between] == is_upper)]
                found[group] |= is_consistent(points.among(standing))
    return found


def _runs(chosen: Int64Array, places: Int64Array) -> list[Int64Array]:
    """Chosen points, parted where more than so many places are between one and the next."""
    return np.split(chosen, np.flatnonzero(np.diff(places) > _AGREEING_APART) + 1)


def _agreeing(points: Points) -> int:
    """How many points from the first one on do not contradict each other."""
    least, most = 1, len(points.x)
    while least < most:
        middle = (least + most + 1) // 2
        if is_consistent(points.among(np.arange(middle))):
            least = middle
        else:
            most = middle - 1
    return least


def _stretches(points: Points) -> tuple[Int64Array, list[Break]]:
    """Scan from left to right; false points found by the way have their places here, and so have the breaks."""
    x, excess, is_upper = points.x.tolist(), points.excess.tolist(), points.is_upper.tolist()
    slope, tolerance, count = points.slope, points.tolerance_ns, len(points.x)
    false: list[int] = []
    undecided: list[int] = []
    starts = [0]
    ceiling, floor, at = float("inf"), float("-inf"), x[0] if count else 0.0
    place = 0
    while place < count:
        drift = slope * abs(x[place] - at)
        ceiling, floor, at = ceiling + drift, floor - drift, x[place]
        value = excess[place]
        if is_upper[place]:
            contradicts = value < floor - tolerance
        else:
            contradicts = value > ceiling + tolerance
        verdict = _verdict(x, excess, is_upper, place, ceiling, floor, slope, tolerance) if contradicts else "fits"
        if verdict in ("false", "undecided"):
            (false if verdict == "false" else undecided).append(place)
            place += 1
            continue
        if verdict == "step":
            starts.append(place)
            ceiling, floor = float("inf"), float("-inf")
        if is_upper[place]:
            ceiling = min(ceiling, value)
        else:
            floor = max(floor, value)
        place += 1
    return _without_tiny(points, np.array(false, dtype=np.int64), undecided, starts)


def _verdict(
    x: list[float],
    excess: list[float],
    is_upper: list[bool],
    place: int,
    ceiling: float,
    floor: float,
    slope: float,
    tolerance: float,
) -> Literal["step", "false", "undecided"]:
    """Do the points from here on need a new offset, or does the old one explain more of them?"""
    new_ceiling, new_floor, last = float("inf"), float("-inf"), x[place]
    only_new = only_old = 0
    for index in range(place, min(place + _LOOK_AHEAD, len(x))):
        drift = slope * abs(x[index] - last)
        ceiling, floor, new_ceiling, new_floor = ceiling + drift, floor - drift, new_ceiling + drift, new_floor - drift
        last, value = x[index], excess[index]
        if is_upper[index]:
            breaks_old, breaks_new = value < floor - tolerance, value < new_floor - tolerance
        else:
            breaks_old, breaks_new = value > ceiling + tolerance, value > new_ceiling + tolerance
        if breaks_old and not breaks_new:
            only_new += 1
            if is_upper[index]:
                new_ceiling = min(new_ceiling, value)
            else:
                new_floor = max(new_floor, value)
        elif breaks_new and not breaks_old:
            only_old += 1
        if abs(only_new - only_old) >= _SUPPORT_LEAST:
            break
    # A false message, among so many, would contradict some that come after it too.
    needed = _SUPPORT_LEAST if only_old else _SUPPORT_UNOPPOSED
    if only_new >= needed and only_new > only_old:
        return "step"
    return "false" if only_old > only_new else "undecided"


def _without_tiny(
    points: Points, false: Int64Array, undecided: list[int], starts: list[int]
) -> tuple[Int64Array, list[Break]]:
    """
    Between others, stretches of too few points are false points instead; of the rest, look back from each new one for
    how far what was before contradicts it.
    """
    is_good = np.ones(len(points.x), dtype=np.bool_)
    is_good[false] = False
    is_good[undecided] = False
    edges = [*starts, len(points.x)]
    tiny = [
        number
        for number in range(len(starts))
        if int(is_good[edges[number] : edges[number + 1]].sum()) < _SUPPORT_LEAST
    ]
    if tiny and len(starts) > 2:
        more = np.concatenate([np.arange(edges[number], edges[number + 1]) for number in tiny])
        return np.union1d(false, more), []
    if len(false):
        return false, []
    if tiny:  # of two stretches either may be false
        return false, []
    breaks: list[Break] = []
    fast: list[Break] = []
    for number in range(1, len(starts)):
        start, end, earlier = edges[number], edges[number + 1], edges[number - 1]
        old, new = np.arange(earlier, start), np.arange(start, end)
        before, after = _contradicting(points, old, new), _contradicting(points, new, old)
        if len(before):
            breaks.append(Break(int(before[-1]), start))
            after = after if len(after) else new
            fast.append(Break(int(_fast(points, before, old)[-1]), int(_fast(points, after, new)[0])))
    return false, _with_stretches(points, breaks, fast)


def _with_stretches(points: Points, breaks: list[Break], fast: list[Break]) -> list[Break]:
    """The breaks as fast points date them; but as all points do where too little would be left in between."""
    befores, afters = [found.before for found in fast], [found.after for found in fast]
    for number in range(len(breaks) - 1):
        kinds = points.is_upper[afters[number] : befores[number + 1] + 1]
        if not bool(kinds.any()) or bool(kinds.all()):
            afters[number], befores[number + 1] = breaks[number].after, breaks[number + 1].before
    return [Break(before, after) for before, after in zip(befores, afters, strict=True)]


def _contradicting(points: Points, chosen: Int64Array, others: Int64Array) -> Int64Array:
    """Those of some points that contradict one of the others."""
    x, excess, is_upper = points.x, points.excess, points.is_upper
    above, below = others[is_upper[others]], others[~is_upper[others]]
    ceiling = ceiling_at(x[above], excess[above], x[chosen], points.slope)
    floor = -ceiling_at(x[below], -excess[below], x[chosen], points.slope)
    found = np.where(
        is_upper[chosen],
        excess[chosen] < floor - points.tolerance_ns,
        excess[chosen] > ceiling + points.tolerance_ns,
    )
    return chosen[found]


def _fast(points: Points, chosen: Int64Array, stretch: Int64Array) -> Int64Array:
    """
    Those of some points of a stretch that are nearly as fast as its fastest; all of them where none is.

    A clock that was set twice within few messages was at another offset in between. A message of then can look like a
    slow one of the stretch before, or of the one after.
    """
    x, excess, is_upper = points.x, points.excess, points.is_upper
    above, below = stretch[is_upper[stretch]], stretch[~is_upper[stretch]]
    ceiling = ceiling_at(x[above], excess[above], x[chosen], points.slope)
    floor = -ceiling_at(x[below], -excess[below], x[chosen], points.slope)
    slack = np.where(is_upper[chosen], excess[chosen] - floor, ceiling - excess[chosen])
    fast = chosen[slack <= _FAST * (ceiling - floor)]
    return fast if len(fast) else chosen
