"""
Whose step it was: breaks between two clocks become steps of one of them, or of either.

A break of a pair says that one of its two clocks was set. Other pairs say which:

    a partner saw the clock move at that time, and as far           speaks for this clock
    a partner's messages exclude that the other clock moved so far  speaks for this clock
    all that speaks, speaks for one of the two                      it stepped
    else, steps that are known add up to the break                  it says nothing new
    else, the reference is one of the two                           the other one stepped: the reference is what
                                                                    instants count on
    else                                                            it is not known which, and both are cut

Cutting a clock that did not step is harmless: what was shown before and what was shown after get bounds of their own,
each from fewer messages. Not cutting one that did makes its bounds false. So where nobody can tell, both are cut; the
likelier one is told, with the other one as its rival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal, NamedTuple

import numpy as np

from coeval.alignment._messages import Messages
from coeval.alignment._pair_scan import Points
from coeval.alignment._pairs import (
    PASSED_NS_MOST,
    PairScan,
    bounded,
    bounds_at,
    clocks_of,
    pairs_of,
    points_along,
    slope_between,
)
from coeval.alignment._rate import Int64Array
from coeval.alignment._strands import Cut

# What rounding may add where sizes are compared in floats.
_TOLERANCE_NS = 4.0

# So many steps of one clock, at most, are looked at as the parts of what a pair saw as one.
_RUN_MOST = 3


@dataclass(frozen=True, slots=True)
class Step:
    """
    A clock was set, or may have been.

    Attributes:
        clock: its code.
        cut: between which of its readings.
        sizes: how far forward it was set, in ns, as an interval.
        is_certain: it is this clock that stepped: others agree. False: of the two of one pair, it may be the other.
        others: codes of the clocks whose messages prove it.
        rival: the other clock of the pair, that may have stepped instead. It is cut too, but the reference.
        is_told: False: the rival is the likelier one. The clock is cut, and the step is told with that of the rival.
    """

    clock: int
    cut: Cut
    sizes: tuple[float, float]
    is_certain: bool
    others: tuple[int, ...]
    rival: int | None = None
    is_told: bool = True


def owned(
    messages: Messages, rows: Int64Array, scans: Sequence[PairScan], limits: Sequence[int], given: Sequence[Step]
) -> tuple[Step, ...]:
    """
    Give each break to one of its two clocks, or cut both, and join those of one clock that are one step.

    Args:
        rows: of all messages that were scanned.
        scans: the pairs that break.
        limits: the rate bound of each clock against the reference, on the grid.
        given: steps that are known anyway.

    Returns:
        In the order of clocks, and of each clock in the order of its steps.
    """
    owner = _Owner(messages, rows, scans, limits)
    open_breaks = [(index, number) for index, scan in enumerate(scans) for number in range(len(scan.breaks))]
    found: list[_Break] = []
    # What is known of some steps tells of others; in the end the reference is taken at its word.
    for takes_word in (False, True):
        is_new = True
        while is_new and open_breaks:
            known = _joined(found, scans)
            decided, open_breaks = owner.decided(open_breaks, known)
            found += decided
            is_new = bool(decided)
        if not takes_word:
            by_word = [each for each in open_breaks if 0 in (scans[each[0]].near, scans[each[0]].far)]
            open_breaks = [each for each in open_breaks if each not in by_word]
            found += [_Break(*each, replace(owner.likelier(*each), is_certain=False, rival=0)) for each in by_word]
    for each in open_breaks:
        found += [_Break(*each, step) for step in owner.either(*each)]
    by_clock = {step.clock: 0 for step in given} | {each.step.clock: 0 for each in found}
    joined = _apart(_joined(found, scans))
    return tuple(
        step for clock in sorted(by_clock) for steps in (given, joined) for step in steps if step.clock == clock
    )


class _Break(NamedTuple):
    """A break as a step of one of its clocks: of which scan, which of its breaks, and the step."""

    scan: int
    number: int
    step: Step


class _Owner:
    """What all pairs say about the breaks of each of them."""

    def __init__(self, messages: Messages, rows: Int64Array, scans: Sequence[PairScan], limits: Sequence[int]) -> None:
        self._messages = messages
        self._scans = scans
        self._limits = limits
        self._rows = {clocks_of(messages, pair): pair for pair in pairs_of(messages, rows)}
        self._scan_of = {(min(scan.near, scan.far), max(scan.near, scan.far)): scan for scan in scans}
        self._views: dict[tuple[int, int], _View] = {}

    def decided(
        self, breaks: Sequence[tuple[int, int]], known: Sequence[Step]
    ) -> tuple[list[_Break], list[tuple[int, int]]]:
        """The breaks of which it is certain whose they are, and those of which it is not; what adds up is left out."""
        found, left = [], []
        for index, number in breaks:
            scan = self._scans[index]
            if _is_sum(scan, number, known):
                continue
            near, far = self._speaking_for(scan, number, known)
            if (near > 0) != (far > 0):
                found.append(_Break(index, number, self.step(index, number, scan.near if near else scan.far, known)))
            else:
                left.append((index, number))
        return found, left

    def step(self, index: int, number: int, clock: int, known: Sequence[Step] = ()) -> Step:
        """
        A break as a step of this clock, less what is known of the other one's own that the pair saw with it as one.

        Of the reference it is never certain: all others may have been set together, as for a leap second.
        """
        scan = self._scans[index]
        other, (least, greatest) = scan.other_of(clock), scan.sizes_of(clock, number)
        elsewhere = [each for each in range(len(scan.breaks)) if each != number]
        unseen = [
            step
            for step in known
            if step.clock == other and not any(is_seen_in(step, scan, each) for each in elsewhere)
        ]
        hidden = [run.sizes for run in _runs(scan.cut_of(other, number), unseen, other) if run.step_count]
        if hidden:
            least, greatest = least + min(low for low, _ in hidden), greatest + max(high for _, high in hidden)
        return Step(clock, scan.cut_of(clock, number, (least, greatest)), (least, greatest), clock != 0, (other,))

    def likelier(self, index: int, number: int) -> Step:
        """
        The break as a step of the likelier clock: the one for which more speaks, else the one whose fastest messages
        with others moved more. The reference is taken at its word.
        """
        scan = self._scans[index]
        if 0 in (scan.near, scan.far):
            return self.step(index, number, scan.near + scan.far)
        near, far = self._speaking_for(scan, number, ())
        if near == far:
            near, far = (self._moved(clock, scan, number) for clock in (scan.near, scan.far))
        return self.step(index, number, scan.near if near > far else scan.far)

    def either(self, index: int, number: int) -> tuple[Step, Step]:
        """The break as a step of the likelier clock, and as one of the other; or each was set for a part of it."""
        scan = self._scans[index]
        told = self.likelier(index, number)
        other = self.step(index, number, scan.other_of(told.clock))
        shown = [_shown(step.cut) for step in (told, other)]
        passed = min(ceil(max(last - first for first, last in shown)), PASSED_NS_MOST)
        told, other = (
            replace(
                step,
                cut=step.cut._replace(is_set_back=True, passed_ns=passed, is_doubtful=True),
                is_certain=False,
                rival=scan.other_of(step.clock),
            )
            for step in (told, other)
        )
        return told, replace(other, is_told=False)

    def _speaking_for(self, scan: PairScan, number: int, known: Sequence[Step]) -> tuple[float, float]:
        """How many clocks say that it was the near clock that stepped, and how many that it was the far one."""
        saw, excluded = {}, {}
        for clock in (scan.near, scan.far):
            said = [self._said(clock, partner, scan, number, known) for partner in self._partners(clock, scan)]
            saw[clock], excluded[clock] = said.count("saw"), said.count("excludes")
        return saw[scan.near] + excluded[scan.far], saw[scan.far] + excluded[scan.near]

    def _partners(self, clock: int, scan: PairScan) -> list[int]:
        """The other clocks that it exchanged messages with."""
        pairs = [pair for pair in self._rows if clock in pair]
        return [other for pair in pairs if (other := sum(pair) - clock) != scan.other_of(clock)]

    def _said(
        self, clock: int, partner: int, scan: PairScan, number: int, known: Sequence[Step]
    ) -> Literal["saw", "excludes", "nothing"]:
        """What a partner says: it saw this clock move then, and as far; or that it did not; or nothing."""
        cut, sizes = scan.cut_of(clock, number), scan.sizes_of(clock, number)
        other = self._scan_of.get((min(clock, partner), max(clock, partner)))
        seen = []
        for at in range(0 if other is None else len(other.breaks)):
            assert other is not None
            if _overlap(_window(cut), _window(other.cut_of(clock, at))):
                least, greatest = other.sizes_of(clock, at)
                # The partner's own steps have a part in what it saw.
                partners_own = _runs(other.cut_of(partner, at), known, partner)
                seen.append([(least + run.sizes[0], greatest + run.sizes[1]) for run in partners_own])
        if seen:
            if any(_overlap(each, sizes) for moved in seen for each in moved):
                return "saw"
            own = _runs(cut, known, clock)
            is_known = all(any(_overlap(each, run.sizes) for each in moved for run in own) for moved in seen)
            return "excludes" if is_known else "nothing"
        gained = self._view(clock, partner).gained(cut, sizes)
        return "excludes" if gained and not any(_overlap(each, sizes) for each in gained) else "nothing"

    def _moved(self, clock: int, scan: PairScan, number: int) -> float:
        """How much nearer to the whole step than to none the clock's offset to its other partners moved, in ns."""
        cut, size, total = scan.cut_of(clock, number), scan.size_of(clock, number), 0.0
        for partner in self._partners(clock, scan):
            for low, high in self._view(clock, partner).gained(cut, scan.sizes_of(clock, number))[:1]:
                if np.isfinite(low) and np.isfinite(high):
                    middle = (low + high) / 2
                    total += abs(middle) - abs(middle - size)
        return total

    def _view(self, clock: int, partner: int) -> _View:
        view = self._views.get((clock, partner))
        if view is None:
            pair = min(clock, partner), max(clock, partner)
            slope = slope_between(self._limits, *pair)
            rows, _, own_ns, _, points = points_along(self._messages, self._rows[pair], partner, clock, slope)
            scan = self._scan_of.get(pair)
            stretches = np.zeros(len(rows), dtype=np.int64) if scan is None else scan.stretches(rows)
            view = self._views[clock, partner] = _View(own_ns, stretches, points)
        return view


@dataclass(frozen=True, eq=False, slots=True)
class _View:
    """
    One clock as a partner sees it.

    Attributes:
        own_ns: what the clock had certainly shown, and had certainly come to show, at each message: shape (2, n).
        stretches: between which breaks of the two each message lies; -1: none.
        points: along the partner's readings.
    """

    own_ns: Int64Array
    stretches: Int64Array
    points: Points

    def gained(self, cut: Cut, sizes: tuple[float, float]) -> list[tuple[float, float]]:
        """
        How far forward the clock can have been set within a cut, by each stretch without a break that it may lie in.

        A clock that was set back shows readings twice, so what it showed shortly before the cut is of no use.
        """
        set_back = ceil(max(0.0, -bounded(sizes)[0]))
        found = []
        for number in np.unique(self.stretches[self.stretches >= 0]).tolist():
            own = self.stretches == number
            before = np.flatnonzero(own & (self.own_ns[1] <= cut.before - set_back))
            after = np.flatnonzero(own & (self.own_ns[0] >= max(cut.after, _window(cut)[1])))
            if not len(before) or not len(after):
                continue
            x = self.points.x
            last, first = float(x[before].max()), float(x[after].min())
            (old_low, old_high), (new_low, new_high) = (
                bounds_at(self.points, chosen, at) for chosen, at in ((before, last), (after, first))
            )
            drift = self.points.slope * abs(first - last) + _TOLERANCE_NS
            found.append((new_low - old_high - drift, new_high - old_low + drift))
        return found


class _Run(NamedTuple):
    """Steps of one clock, one after the other: how many, and how far forward it was set by all of them."""

    step_count: int
    sizes: tuple[float, float]


def _runs(cut: Cut, known: Sequence[Step], clock: int) -> list[_Run]:
    """
    No step, or steps of a clock, one after the other, that may be what a cut of it is about: one of them is within it.

    The others need not look so: a clock that was set back showed the readings of before once more.
    """
    runs, steps = [_Run(0, (0.0, 0.0))], [step for step in known if step.clock == clock]
    near = {index for index, step in enumerate(steps) if _overlap(_shown(cut), _shown(step.cut))}
    for first in range(len(steps)):
        for last in range(first, min(first + _RUN_MOST, len(steps))):
            if near.intersection(range(first, last + 1)):
                run = steps[first : last + 1]
                runs.append(_Run(len(run), (sum(each.sizes[0] for each in run), sum(each.sizes[1] for each in run))))
    return runs


def is_seen_in(step: Step, scan: PairScan, number: int) -> bool:
    """Is a break of a pair as large as this step of one of its clocks?"""
    return _overlap(step.sizes, scan.sizes_of(step.clock, number))


def _is_sum(scan: PairScan, number: int, known: Sequence[Step]) -> bool:
    """Do several steps that are known, of one of its clocks or of both, add up to a break?"""
    near, far = (_runs(scan.cut_of(clock, number), known, clock) for clock in (scan.near, scan.far))
    gain = scan.sizes_of(scan.far, number)
    return any(
        one.step_count + other.step_count > 1
        and _overlap((one.sizes[0] - other.sizes[1], one.sizes[1] - other.sizes[0]), gain)
        for one in far
        for other in near
    )


# One step of several breaks -------------------------------------------------------------------------------------------


def _joined(breaks: Sequence[_Break], scans: Sequence[PairScan]) -> list[Step]:
    """
    Steps of one clock that several pairs saw are one, and what the others add up to is none.

    Returns:
        In the order of clocks, and in which they happened.
    """
    groups: list[list[_Break]] = []
    for clock in sorted({each.step.clock for each in breaks}):
        own = sorted((each for each in breaks if each.step.clock == clock), key=lambda each: _window(each.step.cut))
        groups += _in_order(_grouped(own), scans)
    steps = [_together([each.step for each in group]) for group in groups]
    for group, step in zip(groups, tuple(steps), strict=True):
        others = [other for other in steps if other is not step]
        if all(_is_sum(scans[each.scan], each.number, others) for each in group):
            steps = others
    return steps


def _grouped(breaks: Sequence[_Break]) -> list[list[_Break]]:
    """Breaks of one clock that are one step, each seen by another pair."""
    groups: list[list[_Break]] = []
    for each in breaks:
        for group in groups:
            is_other = each.scan not in [one.scan for one in group]
            if is_other and _is_same(_together([one.step for one in group]), each.step):
                group.append(each)
                break
        else:
            groups.append([each])
    return groups


def _is_same(one: Step, other: Step) -> bool:
    return _overlap(_window(one.cut), _window(other.cut)) and _overlap(one.sizes, other.sizes)


def _together(steps: Sequence[Step]) -> Step:
    """One step from what several pairs say of it: it is where all of them have it."""
    first = steps[0]
    if len(steps) == 1:
        return first
    is_certain = any(step.is_certain for step in steps)
    rivals = [step.rival for step in steps if step.rival is not None]
    narrowest = min(steps, key=lambda step: step.cut.passed_ns).cut
    cut = Cut(
        max(step.cut.before for step in steps),
        min(step.cut.after for step in steps),
        is_set_back=any(step.cut.is_set_back for step in steps),
        passed_ns=narrowest.passed_ns,
        others_ns=narrowest.others_ns,
        false_ns=narrowest.false_ns,
        is_doubtful=all(step.cut.is_doubtful for step in steps),
    )
    sizes = max(step.sizes[0] for step in steps), min(step.sizes[1] for step in steps)
    return Step(
        first.clock,
        cut,
        sizes,
        is_certain,
        tuple(dict.fromkeys(other for step in steps for other in step.others)),
        None if is_certain or not rivals else rivals[0],
        any(step.is_told for step in steps),
    )


def _in_order(groups: Sequence[list[_Break]], scans: Sequence[PairScan]) -> list[list[_Break]]:
    """
    In the order in which they happened: that of each pair's scan, and by readings where no pair saw both.

    Readings alone do not tell it where the clock was set back.
    """
    left, ordered = list(groups), []
    while left:
        free = [group for group in left if not any(_is_after(group, other) for other in left)] or left
        chosen = min(free, key=lambda group: max(_window(each.step.cut) for each in group))
        ordered.append(chosen)
        left.remove(chosen)
    return ordered


def _is_after(one: Sequence[_Break], other: Sequence[_Break]) -> bool:
    """Has some pair seen the one after the other?"""
    return any(mine.scan == yours.scan and mine.number > yours.number for mine in one for yours in other)


def _apart(steps: Sequence[Step]) -> list[Step]:
    """Steps of which it cannot be told that the one is before the other, cut out as one."""
    apart: list[Step] = []
    for step in steps:
        while apart and apart[-1].clock == step.clock and _may_be_before(step, apart[-1]):
            step = _one_of(apart.pop(), step)
        apart.append(step)
    return apart


def _may_be_before(step: Step, last: Step) -> bool:
    """May this step have been before the last one was?"""
    return step.cut.before - bounded(last.sizes)[1] < _window(last.cut)[1]


def _one_of(first: Step, second: Step) -> Step:
    """One cut for two steps of one clock, or for one that was seen twice."""
    least = min(first.sizes[0], second.sizes[0], first.sizes[0] + second.sizes[0])
    greatest = max(first.sizes[1], second.sizes[1], first.sizes[1] + second.sizes[1])
    before = min(first.cut.before, second.cut.before)
    ends = [_window(step.cut)[1] for step in (first, second)]
    after = max((first, second), key=lambda step: _window(step.cut)[1] - bounded(step.sizes)[0]).cut.after
    passed = max(ends) - before + max(0.0, -bounded(first.sizes)[0])
    rivals = [step.rival for step in (first, second) if step.rival is not None]
    return Step(
        first.clock,
        Cut(
            before,
            after,
            is_set_back=least < 0,
            passed_ns=min(max(0, ceil(passed)), PASSED_NS_MOST),
            others_ns=tuple(sorted({*first.cut.others_ns, *second.cut.others_ns})),
            false_ns=tuple(sorted({*first.cut.false_ns, *second.cut.false_ns})),
            is_doubtful=first.cut.is_doubtful or second.cut.is_doubtful,
        ),
        (least, greatest),
        first.is_certain and second.is_certain,
        tuple(dict.fromkeys((*first.others, *second.others))),
        rivals[0] if rivals else None,
        first.is_told or second.is_told,
    )


def _window(cut: Cut) -> tuple[float, float]:
    """What the clock may have shown just before it was set."""
    return cut.before, cut.before + cut.passed_ns


def _shown(cut: Cut) -> tuple[float, float]:
    """What the clock may have shown from before it was set to after it, whichever of the two clocks was."""
    return min(cut.before, cut.after), max(cut.before, cut.after) + cut.passed_ns


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
