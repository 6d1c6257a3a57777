"""
The solution on one axis: every strand's bounds in both grades, what they rest on, and how any of them came about.

    declared   slopes within the declared rate bounds                        -> tightest bounds
    assumed    slopes within what each strand's own evidence says of its rate (wander)   -> tightest bounds
               and the rate changes slowly (curvature)                       -> caps, then tightest bounds again

Each step takes what the one before found. Where an assumption contradicts the evidence it is widened, and where that
does not help it is not made: then the two grades are one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from coeval.alignment._axis import Axis
from coeval.alignment._band import Band
from coeval.alignment._curvature import Curvature, Knots, curvature_of
from coeval.alignment._envelope import NOTHING, Envelope, Potential, Slopes, is_known
from coeval.alignment._rate import BoolArray, Float64Array, Int64Array
from coeval.alignment._steadiness import Points, Wander, wander_of
from coeval.alignment._system import Hop, Result, System
from coeval.clocks import Grade

# How often the rates are read off anew: clocks far from the reference know theirs once their neighbours' are narrow.
_ROUNDS_MAX = 3
# How often an assumption that the whole refutes is widened before it is dropped.
_WIDENINGS_MAX = 8


@dataclass(frozen=True, eq=False, slots=True)
class Grading:
    """
    One grade's bounds.

    Attributes:
        slopes, costs: of each strand.
        began: what was known of each event to begin with, from above and from below.
        result: the tightest bounds.
        bands: of each strand.
    """

    slopes: tuple[Slopes, ...]
    costs: list[Potential]
    began: tuple[Int64Array, Int64Array]
    result: Result
    bands: tuple[Band, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Solution:
    """
    Attributes:
        axis: the system and its origins.
        declared, assumed: by grade; the same object where nothing is assumed.
        likely: bands whose middle is the estimate of both grades.
        wanders, curvatures: what the assumed grade rests on, of each strand; None: nothing is assumed of it.
    """

    axis: Axis
    declared: Grading
    assumed: Grading
    likely: tuple[Band, ...]
    wanders: tuple[Wander | None, ...]
    curvatures: tuple[Curvature | None, ...]

    def grading(self, grade: Grade) -> Grading:
        """By its name."""
        return self.declared if grade == "declared" else self.assumed

    def ways(self, strand: int, reading_ns: int, grade: Grade) -> tuple[list[Hop], list[Hop]]:
        """The ways that set the earliest and the latest of a reading; empty where that side is unknown."""
        found, system = self.grading(grade), self.axis.system
        turned = [cost.turned() for cost in found.costs]
        x = reading_ns - self.axis.x_origins[strand]
        earliest: list[Hop] = []
        latest: list[Hop] = []
        event = _setting(system, strand, x, found.result.upper, found.slopes[strand])
        if event is not None:
            latest = system.way(found.result.upper, found.began[0], found.costs, event, forth=False)[0]
        event = _setting(system, strand, x, -found.result.lower, found.slopes[strand], turned=True)
        if event is not None:
            earliest = system.way(-found.result.lower, -found.began[1], turned, event, forth=True)[0]
        return earliest, latest


def solve_declared(axis: Axis, slopes: Sequence[Slopes]) -> tuple[Result, list[Potential]]:
    """The tightest bounds under the declared slopes alone; the result may hold a contradiction."""
    costs = axis.system.costs(slopes)
    return axis.system.solve(costs, axis.upper, axis.lower), costs


def solution_of(
    axis: Axis, slopes: Sequence[Slopes], costs: list[Potential], declared: Result, free: BoolArray
) -> Solution:
    """
    Find the assumed grade too.

    Args:
        declared: without contradiction.
        free: which strands are not the axis itself.
    """
    system = axis.system
    began = (axis.upper, axis.lower)
    count = system.strand_count
    first = Grading(tuple(slopes), costs, began, declared, _bands(axis, declared, slopes))
    result, narrower = declared, list(slopes)
    wanders: list[Wander | None] = [None] * count
    narrower_costs = costs
    for _ in range(_ROUNDS_MAX):
        found = _wandering(axis, slopes, result, free)
        trial = [
            wander.slopes(slope) if wander is not None else slope for wander, slope in zip(found, slopes, strict=True)
        ]
        if trial == narrower:
            break
        settled = _widened(axis, slopes, found, trial, declared)
        if settled is None:
            break
        is_better = _span(settled[0]) < _span(narrower)
        narrower, wanders, narrower_costs, result = settled
        if not is_better or not _reaches_far(system, free):
            break
    if result is declared:
        return Solution(axis, first, first, first.bands, (None,) * count, (None,) * count)
    curvatures = _curving(axis, narrower, result, free)
    caps = began
    while any(curvatures):
        knots = [found.bounds if found is not None else None for found in curvatures]
        caps = _caps(axis, narrower, knots)
        capped = system.solve(narrower_costs, *caps, result)
        if capped.circle is None:
            result = capped
            break
        involved = _involved(system, capped)
        kept = [None if number in involved else found for number, found in enumerate(curvatures)]
        curvatures = kept if kept != curvatures else [None] * count
        caps = began
    bands = _bands(axis, result, narrower, [found.bounds if found is not None else None for found in curvatures])
    second = Grading(tuple(narrower), narrower_costs, caps, result, bands)
    likely = _likely(axis, second, curvatures) or bands
    return Solution(axis, first, second, likely, tuple(wanders), tuple(curvatures))


def _likely(axis: Axis, assumed: Grading, curvatures: Sequence[Curvature | None]) -> tuple[Band, ...] | None:
    """Bands under the steadiest rates that explain the evidence; None where nothing is steadier than assumed."""
    knots = [found.likely if found is not None else None for found in curvatures]
    if not any(knots):
        return None
    caps = _caps(axis, assumed.slopes, knots)
    began = np.minimum(assumed.result.upper, caps[0]), np.maximum(assumed.result.lower, caps[1])
    result = axis.system.solve(assumed.costs, *began, assumed.result)
    return None if result.circle is not None else _bands(axis, result, assumed.slopes, knots)


def _involved(system: System, result: Result) -> set[int]:
    """The strands that a contradiction goes through."""
    messages = list(result.circle or ())
    ends = np.concatenate((system.sent[messages], system.received[messages], np.array(result.ends, dtype=np.int64)))
    return set(system.strand_of[ends].tolist())


def _span(slopes: Sequence[Slopes]) -> int:
    return sum(slope.high - slope.low for slope in slopes)


def _reaches_far(system: System, free: BoolArray) -> bool:
    """Are there messages between two strands neither of which is the axis?"""
    if not len(system.sent):
        return False
    both = free[system.strand_of[system.sent]] & free[system.strand_of[system.received]]
    return bool(both.any())


def _wandering(axis: Axis, slopes: Sequence[Slopes], result: Result, free: BoolArray) -> list[Wander | None]:
    points = _points(axis, result)
    return [wander_of(points(number), slopes[number]) if free[number] else None for number in range(len(slopes))]


def _widened(
    axis: Axis, declared: Sequence[Slopes], wanders: list[Wander | None], slopes: list[Slopes], known: Result
) -> tuple[list[Slopes], list[Wander | None], list[Potential], Result] | None:
    """Solve under these slopes; where the whole refutes them, widen those that take part."""
    system, wanders, slopes = axis.system, list(wanders), list(slopes)
    for _ in range(_WIDENINGS_MAX):
        costs = system.costs(slopes)
        result = system.solve(costs, axis.upper, axis.lower, known)
        if result.circle is None:
            return slopes, wanders, costs, result
        for number in _involved(system, result):
            wander = wanders[number]
            if wander is not None:
                wanders[number] = Wander(wander.least, wander.most, 2 * wander.assumed, wander.assumed)
                slopes[number] = wanders[number].slopes(declared[number])  # type: ignore[union-attr]
    return None


def _points(axis: Axis, result: Result) -> Callable[[int], Points]:
    """What bounds each strand at its own events, where its other events do not imply it."""
    system = axis.system
    upper, lower = axis.upper.copy(), axis.lower.copy()
    upper[system.sent] = np.minimum(upper[system.sent], result.upper[system.received] + system.weights)
    lower[system.received] = np.maximum(lower[system.received], result.lower[system.sent] - system.weights)
    sets_upper = (upper <= result.upper) & is_known(upper)
    sets_lower = (lower >= result.lower) & is_known(-lower)

    def of(number: int) -> Points:
        part = slice(int(system.starts[number]), int(system.starts[number + 1]))
        above, below = sets_upper[part], sets_lower[part]
        return Points(system.x[part][above], upper[part][above], system.x[part][below], lower[part][below], system.bits)

    return of


def _curving(axis: Axis, slopes: Sequence[Slopes], result: Result, free: BoolArray) -> list[Curvature | None]:
    points = _points(axis, result)
    return [curvature_of(points(number), slopes[number]) if free[number] else None for number in range(len(slopes))]


def _caps(axis: Axis, slopes: Sequence[Slopes], knots: Sequence[Knots | None]) -> tuple[Int64Array, Int64Array]:
    """What is known to begin with, with the bounds that slowly changing rates give at every event."""
    system = axis.system
    upper, lower = axis.upper.copy(), axis.lower.copy()
    for number, found in enumerate(knots):
        part = slice(int(system.starts[number]), int(system.starts[number + 1]))
        if found is None or part.start == part.stop:
            continue
        x = system.x[part]
        inside = (x >= found.x[0]) & (x <= found.x[-1])
        above, below = (_side(found, slopes[number], system.bits, forth=forth) for forth in (True, False))
        cap, floor = _units(found.upper_at(x), system.bits), -_units(-found.lower_at(x), system.bits)
        if above is not None:
            cap = np.minimum(cap, above.excess_at(x))
        if below is not None:
            floor = np.maximum(floor, -below.excess_at(-x))
        upper[part] = np.minimum(upper[part], np.where(inside, cap, NOTHING))
        lower[part] = np.maximum(lower[part], np.where(inside, floor, -NOTHING))
    return upper, lower


def _units(excess_ns: Float64Array, bits: int) -> Int64Array:
    """Bounds from above in units, rounded up; what does not fit says nothing."""
    units = np.ceil(excess_ns * float(1 << bits))
    fits = np.abs(units) < NOTHING // 2
    return np.where(fits, np.where(fits, units, 0.0).astype(np.int64), NOTHING)


def _side(found: Knots, slopes: Slopes, bits: int, *, forth: bool) -> Envelope | None:
    """What the knots of a curvature say, also between events far apart."""
    if forth:
        return Envelope.over(found.x, _units(found.upper, bits), slopes, bits)
    return Envelope.over(-found.x[::-1], _units(-found.lower, bits)[::-1], slopes, bits)


def _bands(
    axis: Axis, result: Result, slopes: Sequence[Slopes], knots: Sequence[Knots | None] = ()
) -> tuple[Band, ...]:
    system = axis.system
    bands = []
    for number, slope in enumerate(slopes):
        part = slice(int(system.starts[number]), int(system.starts[number + 1]))
        x, above, below = system.x[part], result.upper[part], result.lower[part]
        upper = Envelope.over(x, above, slope, system.bits)
        lower = Envelope.over(-x[::-1], -below[::-1], slope, system.bits)
        found = knots[number] if knots else None
        if found is not None:
            upper = _joined(upper, _side(found, slope, system.bits, forth=True))
            lower = _joined(lower, _side(found, slope, system.bits, forth=False))
        bands.append(Band(axis.x_origins[number], axis.y_origins[number], upper, lower))
    return _with_lean(axis, result, slopes, bands)


def _joined(side: Envelope | None, knots: Envelope | None) -> Envelope | None:
    if side is None or knots is None:
        return knots if side is None else side
    x = np.concatenate((side.x, knots.x))
    order = np.argsort(x, kind="stable")
    return Envelope.over(x[order], np.concatenate((side.excess, knots.excess))[order], side.slopes, side.bits)


def _with_lean(axis: Axis, result: Result, slopes: Sequence[Slopes], bands: list[Band]) -> tuple[Band, ...]:
    """
    Where one side only is known, the bound is not the best estimate: clocks of which both are known count on theirs.
    """
    one_sided = [(band.upper is None) != (band.lower is None) for band in bands]
    if not any(one_sided):
        return tuple(bands)
    system, bits = axis.system, axis.system.bits
    costs = system.costs(slopes)
    both = is_known(result.upper) & is_known(-result.lower)
    rounded_up = (result.upper + ((1 << bits) - 1)) >> bits
    estimate = (((result.lower >> bits) + rounded_up) >> 1) << bits
    from_above = system.upper_from(costs, np.where(both, estimate, NOTHING))
    # Rounded as it will be shown, so that what is not before it is not shown before it.
    from_above = np.where(is_known(from_above), -(-from_above >> bits) << bits, NOTHING)
    only_above = is_known(result.upper) & ~both
    pinned = np.where(both, estimate, np.where(only_above & is_known(from_above), from_above, -NOTHING))
    from_below = system.lower_from(costs, pinned)
    made = []
    for number, band in enumerate(bands):
        part = slice(int(system.starts[number]), int(system.starts[number + 1]))
        lean, x = None, system.x[part]
        if one_sided[number] and band.upper is not None:
            lean = Envelope.over(x, from_above[part], slopes[number], bits)
        elif one_sided[number]:
            lean = Envelope.over(-x[::-1], -from_below[part][::-1], slopes[number], bits)
        made.append(Band(band.x_origin, band.y_origin, band.upper, band.lower, lean))
    return tuple(made)


def _setting(
    system: System, strand: int, x: int, values: Int64Array, slopes: Slopes, *, turned: bool = False
) -> int | None:
    """The event of a strand that sets the bound at a reading; None: none does."""
    part = slice(int(system.starts[strand]), int(system.starts[strand + 1]))
    events, excess = system.x[part], values[part]
    known = np.flatnonzero(is_known(excess))
    if not len(known):
        return None
    sign = -1 if turned else 1
    order = known[::sign]
    side = Envelope(sign * events[order], excess[order], slopes, system.bits)
    return part.start + int(order[side.set_by(sign * x)])
