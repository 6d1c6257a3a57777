"""
Which right row is a left row's match, for certain or possibly: the rules of the as-of joins, in numpy.

What is joined is times that nobody knows exactly. Each row's time is somewhere in its interval; readings of one clock
keep their order. Of the many assignments of times that this admits, each gives a match, as any as-of join would find
it. A right row is *possible* if some assignment makes it the match, *certain* if every one does.

Nobody has to try them all. Let `L0`, `L1` bound the left row and `e`, `u` a right one. For the match at or before the
left row:

* `u > L0` and `e <= L1`: possible, as both may have happened at one time;
* `u <= L0`: before it in any case. Possible if no other that is before it in any case must be later (`u` is not less
  than the greatest `e` of those), if no later reading of its own clock is before it in any case, and if `u` is within
  the tolerance of `L0`;
* `e > L1`: impossible.

The assignment that is best for a right row pushes it and the left row together as far as their intervals allow, and all
others away; each rule says what then is still in its way. The match at or after is the same with time turned round. For
the nearest, with `d` the distance from `L0` back to `u`, others must get as far away as `d`; the least of how far they
can get away from `L0` is a function with slopes of at most one, so again the end of the left interval decides.

The first match alone, "certain", needs more: that no other is possible and that this one always is there, which is so
if it is before the left row in any case and even its `e` is within the tolerance of `L1`.

Sorted columns answer all of this with a few searches per left row. Only where several clocks wrote a group's right
rows, those of the second rule are looked at one by one: they are the few within a bound's width before the left row.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from coeval.timeline.join._groups import (
    UNKNOWN_AFTER,
    UNKNOWN_BEFORE,
    BoolArray,
    GroupedValues,
    Int64Array,
    order_in_groups,
    running_max,
    stable_order,
    starts_of,
)
from coeval.timeline.join._pairs import Intervals, portions, ranges
from coeval.timeline.join._slices import ROWS_IN_SLICE, Rows, in_threads, kept_rows, slices, without

Direction: TypeAlias = Literal["backward", "forward", "nearest"]

NO_CLOCK = -1
NO_ROW = -1

NONE, POSSIBLE, CERTAIN = 0, 1, 2
"""Verdicts, by code."""

_NEVER = np.iinfo(np.int64).max


class Events(NamedTuple):
    """
    Events in columns of equal length, int64.

    Attributes:
        group: who may match whom; -1: nobody.
        clock: which clock wrote the reading; `NO_CLOCK`: not known, so that its order with others is not known either.
        raw: the reading.
        earliest, estimate, latest: when. Unknown sides are `UNKNOWN_BEFORE` and `UNKNOWN_AFTER`; an unknown estimate
            is `UNKNOWN_AFTER`.
    """

    group: Int64Array
    clock: Int64Array
    raw: Int64Array
    earliest: Int64Array
    estimate: Int64Array
    latest: Int64Array

    @property
    def size(self) -> int:
        """How many rows; `len` counts the columns."""
        return len(self.group)

    def taken(self, rows: Int64Array | BoolArray | slice) -> Events:
        """Some of the rows."""
        return Events(*(column[rows] for column in self))

    def turned(self) -> Events:
        """The same with time running backwards; rows stand as they did."""
        unknown = self.estimate >= UNKNOWN_AFTER
        estimate = np.where(unknown, UNKNOWN_AFTER, -self.estimate)
        return Events(self.group, self.clock, -self.raw, -self.latest, estimate, -self.earliest)


class Matches(NamedTuple):
    """
    What was found for each left row.

    Attributes:
        verdict: `NONE`, `POSSIBLE` or `CERTAIN`, int8.
        row: the right row to show, `NO_ROW` where none is possible.
        possible: how many right rows are possible.
    """

    verdict: np.ndarray[tuple[int], np.dtype[np.int8]]
    row: Int64Array
    possible: Int64Array

    @classmethod
    def none(cls, count: int) -> Matches:
        return cls(
            np.zeros(count, dtype=np.int8), np.full(count, NO_ROW, dtype=np.int64), np.zeros(count, dtype=np.int64)
        )


class _Left(NamedTuple):
    """Left rows that are asked together, and, where the right side has rows of their clock, the two next to each."""

    group: Int64Array
    least: Int64Array  # L0
    greatest: Int64Array  # L1
    estimate: Int64Array
    previous: _Own | None = None
    following: _Own | None = None
    is_same: BoolArray | None = None  # `previous` is the same reading


class _Own(NamedTuple):
    """The right row of the left row's own clock on one side of it, where there is one; of the others, unknowns."""

    exists: BoolArray
    row: Int64Array
    earliest: Int64Array
    estimate: Int64Array
    latest: Int64Array

    def taken(self, rows: Int64Array) -> _Own:
        """Of some left rows."""
        return _Own(self.exists[rows], self.row[rows], self.earliest[rows], self.estimate[rows], self.latest[rows])


class _Found(NamedTuple):
    """What the rules say of some left rows; positions are those of the sorted right rows."""

    middle: Int64Array  # how many may be at the left row's own time
    middle_stop: Int64Array  # behind the last that begins in time, sorted by `earliest`
    near: Int64Array  # how many others are possible
    near_position: Int64Array  # one of them
    first: Int64Array  # whose latest is before this is impossible
    last: Int64Array  # whose earliest is after this is impossible
    own_previous: BoolArray
    own_following: BoolArray


class _Rights:
    """
    Right rows of the kind that knows nothing of a left row but its interval, sorted.

    Args:
        events: one per moment (`_distinct`), bounds narrowed, estimates inside them.
        rows: their numbers; of rows at one time the one with the greater number is the later.
        is_plain: they are known to be as `_plain_repeats` says.
    """

    def __init__(self, events: Events, rows: Int64Array | None, groups: int, is_plain: bool = False) -> None:
        order = None if is_plain else order_in_groups(events.group, groups, events.latest)
        self._is_plain = is_plain
        self._is_prepared = False
        if order is not None:
            events = events.taken(order)
            rows = order if rows is None else rows[order]
        self.rows = rows
        self.groups = groups
        self.starts = starts_of(events.group, groups)
        self.events = events

    def __len__(self) -> int:
        return self.events.size

    def prepare(self) -> None:
        """Sort by everything that is asked for in any case."""
        if self._is_prepared:
            return
        _ = self.is_single  # the others ask for it
        names = ["latest", "earliest", "estimate", *(["greatest_earliest"] if len(self) else [])]
        for _ in in_threads(self.__getattribute__, names):
            pass
        self._is_prepared = True

    def row_at(self, positions: Int64Array) -> Int64Array:
        """What rows are called."""
        return positions if self.rows is None else self.rows[positions]

    @cached_property
    def latest(self) -> GroupedValues:
        """Sorted by `latest`."""
        return GroupedValues(self.events.latest, self.starts)

    @cached_property
    def is_single(self) -> bool:
        """Each group was written by one clock, so that one order serves for everything."""
        if self._is_plain:
            return True
        clock, group = self.events.clock, self.events.group
        if len(clock) and int(clock.min()) == NO_CLOCK:
            return False
        new = (clock[1:] != clock[:-1]) & (group[1:] == group[:-1])
        return not bool(new.any())

    @cached_property
    def _following(self) -> Int64Array:
        """The position of the next row of the same group and clock; `_NEVER`: there is none."""
        result = np.full(len(self), _NEVER, dtype=np.int64)
        order, same = _chains(self.events)
        result[order[:-1][same]] = order[1:][same]
        return result

    @cached_property
    def _preceding(self) -> Int64Array:
        """The position of the row before of the same group and clock; -1: there is none."""
        result = np.full(len(self), -1, dtype=np.int64)
        order, same = _chains(self.events)
        result[order[1:][same]] = order[:-1][same]
        return result

    @cached_property
    def greatest_earliest(self) -> Int64Array:
        """Of each row and those before it, the greatest `earliest`: so late one of them was at least."""
        if self.is_single:
            return self.events.earliest
        return running_max(self.events.earliest, self.starts)

    @cached_property
    def _earliest_order(self) -> Int64Array | None:
        return None if self.is_single else order_in_groups(self.events.group, self.groups, self.events.earliest)

    @cached_property
    def earliest(self) -> GroupedValues:
        """Sorted by `earliest`."""
        values = self.events.earliest
        if self._needs_no_positions_of_earliest:
            # Only counted, never looked up: a sort of values is several times as fast as one of positions.
            return GroupedValues(np.sort(values), self.starts)
        order = self._earliest_order
        return GroupedValues(values if order is None else values[order], self.starts)

    @property
    def _needs_no_positions_of_earliest(self) -> bool:
        return not self.is_single and self.groups == 1 and "_earliest_order" not in self.__dict__

    def position_by_earliest(self, places: Int64Array) -> Int64Array:
        """The position of what stands at these places when sorted by `earliest`."""
        order = self._earliest_order
        return places if order is None else order[places]

    @cached_property
    def _latest_so_far(self) -> Int64Array:
        """Of what is sorted by `earliest`: the place of the row with the greatest `latest` so far in its group."""
        order = self._earliest_order
        latest = self.events.latest if order is None else self.events.latest[order]
        places = np.arange(len(latest), dtype=np.int64)
        is_new = latest == running_max(latest, self.starts)
        result: Int64Array = np.maximum.accumulate(np.where(is_new, places, 0))
        return result

    def widest_until(self, stops: Int64Array) -> Int64Array:
        """The position of the row with the greatest `latest` of those before a place when sorted by `earliest`."""
        return self.position_by_earliest(self._latest_so_far[stops - 1])

    @cached_property
    def _estimate_order(self) -> Int64Array | None:
        # Of one estimate the later row stands last, so that it is the one found.
        if self._is_plain:
            return None
        events = self.events
        order = order_in_groups(events.group, self.groups, events.estimate)
        estimate, group = (
            (events.estimate, events.group) if order is None else (events.estimate[order], events.group[order])
        )
        if self.rows is None:
            return order
        rows = self.rows if order is None else self.rows[order]
        if bool(((estimate[1:] == estimate[:-1]) & (group[1:] == group[:-1]) & (rows[1:] < rows[:-1])).any()):
            return np.lexsort((self.rows, events.estimate, events.group)).astype(np.int64, copy=False)
        return order

    @cached_property
    def estimate(self) -> GroupedValues:
        """Sorted by the estimate."""
        order = self._estimate_order
        return GroupedValues(self.events.estimate if order is None else self.events.estimate[order], self.starts)

    def position_by_estimate(self, places: Int64Array) -> Int64Array:
        order = self._estimate_order
        return places if order is None else order[places]

    @cached_property
    def _by_centre(self) -> tuple[GroupedValues, Int64Array, Int64Array]:
        """Twice each interval's middle, sorted; the greatest `earliest` up to it, the least `latest` from it on."""
        events = self.events
        centre = events.earliest + events.latest
        centre[events.latest >= UNKNOWN_AFTER] = UNKNOWN_AFTER
        centre[events.earliest <= UNKNOWN_BEFORE] = UNKNOWN_BEFORE
        order = order_in_groups(events.group, self.groups, centre)
        earliest, latest = events.earliest, events.latest
        if order is not None:
            centre, earliest, latest = centre[order], earliest[order], latest[order]
        lengths = np.diff(self.starts)[::-1]
        starts_turned = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        least_latest = -running_max(-latest[::-1], starts_turned)[::-1]
        return GroupedValues(centre, self.starts), running_max(earliest, self.starts), least_latest

    def escape(self, group: Int64Array, time: Int64Array) -> Int64Array:
        """How far from a time every row of the group can be: the least, over rows, of its farthest distance."""
        centres, greatest_earliest, least_latest = self._by_centre
        result = np.full(len(time), UNKNOWN_AFTER, dtype=np.int64)
        known = np.abs(time) < UNKNOWN_AFTER
        place = centres.count_until(group, np.where(known, 2 * np.where(known, time, 0), 0))
        before = known & (place > self.starts[group])
        back = greatest_earliest[np.maximum(place, 1)[before] - 1]
        result[before] = np.where(back <= UNKNOWN_BEFORE, UNKNOWN_AFTER, time[before] - back)
        after = known & (place < self.starts[group + 1])
        ahead = least_latest[place[after]]
        result[after] = np.minimum(result[after], np.where(ahead >= UNKNOWN_AFTER, UNKNOWN_AFTER, ahead - time[after]))
        return result

    @cached_property
    def intervals(self) -> Intervals:
        """For listing."""
        return Intervals(self.events.group, self.groups, self.events.earliest, self.events.latest)

    def is_last_before(self, positions: Int64Array, count_before: Int64Array) -> BoolArray:
        """No later reading of the clock is among so many first rows."""
        if self.is_single:
            last: BoolArray = positions == count_before - 1
            return last
        free: BoolArray = self._following[positions] >= count_before
        return free

    def following_latest(self, positions: Int64Array) -> Int64Array:
        """The `latest` of the clock's next row."""
        if self.is_single:
            following = positions + 1
            ends = self.starts[self.events.group[positions] + 1]
            following = np.where(following < ends, following, _NEVER)
        else:
            following = self._following[positions]
        exists = following != _NEVER
        return np.where(exists, self.events.latest[np.where(exists, following, 0)], UNKNOWN_AFTER)

    def preceding_earliest(self, positions: Int64Array) -> Int64Array:
        """The `earliest` of the clock's row before."""
        if self.is_single:
            preceding = positions - 1
            preceding = np.where(preceding >= self.starts[self.events.group[positions]], preceding, -1)
        else:
            preceding = self._preceding[positions]
        return np.where(preceding >= 0, self.events.earliest[np.maximum(preceding, 0)], UNKNOWN_BEFORE)


class AsofRights:
    """
    The right side of an as-of join, prepared once and asked as often as there are left rows.

    Args:
        events: in any sequence. Of rows that are known to be at one time (equal readings of one clock; exact and equal)
            one counts: the last in this sequence, or, where the first match after is looked for, the first.
        groups: group numbers are below it.
        within: the tolerance; None: none.
    """

    def __init__(self, events: Events, groups: int, direction: Direction, within: int | None) -> None:
        self._is_nearest = direction == "nearest"
        self._is_turned = direction == "forward"
        self._within = within
        self._groups = groups
        self._count = events.size
        rows: Int64Array | None = None
        if self._is_turned:
            events = Events(*(column[::-1] for column in events.turned()))
        if events.size and int(events.group.min()) < 0:
            rows = np.flatnonzero(events.group >= 0)
            events = events.taken(rows)
        if groups > 1 and bool((events.group[1:] < events.group[:-1]).any()):
            order = stable_order(events.group, groups)
            events, rows = _in_order(events, order), order if rows is None else rows[order]
        # What merge writes stands in each clock's order, with one clock or a few per group; nothing then is to be put
        # right.
        repeats = _plain_repeats(events)
        self._is_plain = repeats is not None
        self._rows: Rows | None = rows
        if repeats is not None:
            if len(repeats):
                self._rows = kept_rows(events.size, repeats) if rows is None else without(rows, repeats)
                events = _without_repeats(events, repeats)
        else:
            events = _narrowed(events)
            if not _keeps_readings(events):
                # Unsorted. By estimate every clock's readings stand in their order again.
                order = np.lexsort((events.raw, events.estimate, events.group)).astype(np.int64, copy=False)
                events, rows = events.taken(order), order if rows is None else rows[order]
            events, self._rows = _distinct(events, rows)
        self._events = events
        self._clocks = _distinct_codes(events.clock)
        self._plain: _Rights | None = None
        self._of_clock: dict[int, tuple[_OwnRows, _Rights]] = {}

    def prepare(self) -> None:
        """Sort now what is asked for in any case, so that several threads can ask."""
        rights = self._plain = self._plain or _Rights(self._events, None, self._groups, self._is_plain)
        rights.prepare()

    def match(self, left: Events) -> Matches:
        """
        Find the match of each left row.

        Args:
            left: in any sequence; clocks have the right side's numbers.
        """
        result = Matches.none(left.size)
        for rows, asked, rights in self._questions(left):
            found = self._rules(asked, rights)
            verdict, row, possible = self._verdicts(asked, rights, found)
            result.verdict[rows], result.row[rows], result.possible[rows] = verdict, self._name(row), possible
        return result

    def pairs(self, left: Events) -> Iterator[tuple[Int64Array, Int64Array]]:
        """
        List every possible match.

        Yields:
            The left row and the right row of some of them, in no sequence.
        """
        for rows, asked, rights in self._questions(left):
            found = self._rules(asked, rights)
            for neighbour, is_possible in (
                (asked.previous, found.own_previous),
                (asked.following, found.own_following),
            ):
                if neighbour is not None:
                    at = np.flatnonzero(is_possible)
                    yield rows[at], self._name(neighbour.row[at])
            others = np.arange(len(rows)) if asked.is_same is None else np.flatnonzero(~asked.is_same)
            count_before = rights.latest.count_until(asked.group, asked.least)
            questions = rights.intervals.touching(asked.group[others], found.first[others], found.last[others])
            for number, position in questions:
                at = others[number]
                keep = self._is_free(asked, rights, at, position, count_before[at])
                yield rows[at[keep]], self._name(rights.row_at(position[keep]))

    def _name(self, row: Int64Array) -> Int64Array:
        """Back to the numbers that the caller gave."""
        if self._rows is not None and self._events.size:
            row = np.where(row >= 0, self._rows[np.maximum(row, 0)], NO_ROW)
        return np.where(row >= 0, self._count - 1 - row, NO_ROW) if self._is_turned else row

    def _questions(self, left: Events) -> Iterator[tuple[Int64Array, _Left, _Rights]]:
        """Left rows that are asked of the same right rows: clock by clock, then those of no clock of the right side."""
        if self._is_turned:
            left = left.turned()
        rows = np.flatnonzero(left.group >= 0) if left.size and int(left.group.min()) < 0 else None
        if self._groups > 1:
            if rows is None:
                rows = stable_order(left.group, self._groups)
            else:
                rows = rows[stable_order(left.group[rows], self._groups)]
        if rows is None:
            rows = np.arange(left.size, dtype=np.int64)
        else:
            left = left.taken(rows)
        left = left._replace(estimate=_inside(left))
        plain = np.ones(left.size, dtype=np.bool_)
        for clock in sorted(self._clocks & _distinct_codes(left.clock)):
            members = np.flatnonzero(left.clock == clock)
            own, others = self._split(clock)
            asked, is_told = own.beside(left.taken(members))
            members = members[is_told]
            plain[members] = False
            if len(members):
                yield rows[members], asked, others
        if bool(plain.any()):
            if not bool(plain.all()):
                left, rows = left.taken(plain), rows[plain]
            self.prepare()
            assert self._plain is not None
            yield rows, _Left(left.group, left.earliest, left.latest, left.estimate), self._plain

    def _split(self, clock: int) -> tuple[_OwnRows, _Rights]:
        """The rows of a clock, and those of others in the groups that it wrote in."""
        if clock not in self._of_clock:
            is_own = self._events.clock == clock
            wrote = np.zeros(self._groups, dtype=np.bool_)
            wrote[self._events.group[is_own]] = True
            own = np.flatnonzero(is_own)
            others = np.flatnonzero(~is_own & wrote[self._events.group])
            self._of_clock[clock] = (
                _OwnRows(self._events.taken(own), own, self._groups),
                _Rights(self._events.taken(others), others, self._groups),
            )
        return self._of_clock[clock]

    def _rules(self, asked: _Left, rights: _Rights) -> _Found:
        """Apply the rules that the top of this file gives."""
        group, least, greatest = asked.group, asked.least, asked.greatest
        events = rights.events
        count_before = rights.latest.count_until(group, least)
        middle_stop = rights.earliest.count_until(group, greatest)
        has_before = count_before > rights.starts[group]
        count = len(group)
        nothing = np.zeros(count, dtype=np.bool_)
        last = greatest
        if self._is_nearest:
            reach = rights.escape(group, least)
            reach_after = rights.escape(group, greatest)
            if asked.previous is not None and asked.following is not None:
                for time, result in ((least, reach), (greatest, reach_after)):
                    np.minimum(result, _gap(asked.previous.earliest, time), out=result)
                    np.minimum(result, _gap(time, asked.following.latest), out=result)
            if self._within is not None:
                np.minimum(reach, self._within, out=reach)
                np.minimum(reach_after, self._within, out=reach_after)
            first = np.where((least <= UNKNOWN_BEFORE) | (reach >= UNKNOWN_AFTER), UNKNOWN_BEFORE, least - reach)
            is_open = (greatest >= UNKNOWN_AFTER) | (reach_after >= UNKNOWN_AFTER)
            last = np.where(is_open, UNKNOWN_AFTER, greatest + np.where(is_open, 0, reach_after))
        else:
            if events.size:
                first = np.where(has_before, rights.greatest_earliest[np.maximum(count_before, 1) - 1], UNKNOWN_BEFORE)
            else:
                first = np.full(count, UNKNOWN_BEFORE, dtype=np.int64)
            if self._within is not None:
                np.maximum(first, np.maximum(least - self._within, UNKNOWN_BEFORE), out=first)
        own_previous = own_following = nothing
        if asked.previous is not None and asked.following is not None:
            own = asked.previous
            own_previous = own.exists & ((own.latest > least) | (own.latest >= first))
            if self._is_nearest:
                own_following = asked.following.exists & (asked.following.earliest <= last)
            else:
                first = np.maximum(first, own.earliest)
        near, near_position = self._before(rights, group, least, count_before, has_before, first)
        if self._is_nearest:
            more, more_position = self._after(rights, group, greatest, middle_stop, last)
            near_position = np.where(near > 0, near_position, more_position)
            near = near + more
        middle = middle_stop - count_before
        if asked.is_same is not None:
            same = asked.is_same
            middle, near = np.where(same, 0, middle), np.where(same, 0, near)
            own_previous, own_following = own_previous | same, own_following & ~same
        return _Found(middle, middle_stop, near, near_position, first, last, own_previous, own_following)

    def _before(
        self,
        rights: _Rights,
        group: Int64Array,
        least: Int64Array,
        count_before: Int64Array,
        has_before: BoolArray,
        first: Int64Array,
    ) -> tuple[Int64Array, Int64Array]:
        """How many rows that are before the left row in any case are possible, and one of them."""
        near_position = np.maximum(count_before - 1, 0)
        if not len(rights):
            return np.zeros(len(group), dtype=np.int64), near_position
        latest = rights.events.latest
        if rights.is_single:
            is_near = has_before & (latest[near_position] >= first)
            if self._is_nearest:
                is_near &= self._is_far_from_next(rights, near_position, least)
            return is_near.astype(np.int64), near_position
        start = rights.latest.count_until(group, first, inclusive=False)
        near = np.zeros(len(group), dtype=np.int64)
        asked = np.flatnonzero(start < count_before)
        for portion in portions((count_before - start)[asked]):
            questions = asked[portion]
            which, position = ranges(start[questions], count_before[questions])
            at = questions[which]
            keep = rights.is_last_before(position, count_before[at])
            if self._is_nearest:
                keep &= self._is_far_from_next(rights, position, least[at])
            near += np.bincount(at[keep], minlength=len(group))
            near_position[at[keep]] = position[keep]
        return near, near_position

    def _after(
        self, rights: _Rights, group: Int64Array, greatest: Int64Array, middle_stop: Int64Array, last: Int64Array
    ) -> tuple[Int64Array, Int64Array]:
        """The same of rows that are after the left row in any case."""
        near = np.zeros(len(group), dtype=np.int64)
        near_position = np.zeros(len(group), dtype=np.int64)
        if not len(rights):
            return near, near_position
        stop = rights.earliest.count_until(group, last)
        if rights.is_single:
            stop = np.minimum(stop, middle_stop + 1)
        asked = np.flatnonzero(stop > middle_stop)
        for portion in portions((stop - middle_stop)[asked]):
            questions = asked[portion]
            which, place = ranges(middle_stop[questions], stop[questions])
            at, position = questions[which], rights.position_by_earliest(place)
            keep = self._is_far_from_previous(rights, position, greatest[at])
            near += np.bincount(at[keep], minlength=len(group))
            near_position[at[keep]] = position[keep]
        return near, near_position

    @staticmethod
    def _is_far_from_next(rights: _Rights, position: Int64Array, least: Int64Array) -> BoolArray:
        """The clock's next row can be on the left row's other side, and not nearer."""
        following = rights.following_latest(position)
        return (following >= UNKNOWN_AFTER) | (following - least >= least - rights.events.latest[position])

    @staticmethod
    def _is_far_from_previous(rights: _Rights, position: Int64Array, greatest: Int64Array) -> BoolArray:
        preceding = rights.preceding_earliest(position)
        return (preceding <= UNKNOWN_BEFORE) | (greatest - preceding >= rights.events.earliest[position] - greatest)

    def _is_free(
        self, asked: _Left, rights: _Rights, at: Int64Array, position: Int64Array, count_before: Int64Array
    ) -> BoolArray:
        """Of rows between the bounds: no other row of their own clock is in their way."""
        least, greatest = asked.least[at], asked.greatest[at]
        earliest, latest = rights.events.earliest[position], rights.events.latest[position]
        before, after = latest <= least, earliest > greatest
        free = ~before | rights.is_last_before(position, count_before)
        if self._is_nearest:
            free &= ~before | self._is_far_from_next(rights, position, least)
            free &= ~after | self._is_far_from_previous(rights, position, greatest)
        return free

    def _verdicts(self, asked: _Left, rights: _Rights, found: _Found) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Put together what the rules say of each left row."""
        least, greatest, within = asked.least, asked.greatest, self._within
        possible = found.middle + found.near + found.own_previous + found.own_following
        alone = possible == 1
        count = len(possible)
        certain = np.zeros(count, dtype=np.bool_)
        earliest, latest = rights.events.earliest, rights.events.latest
        is_near = alone & (found.near == 1)
        at = np.flatnonzero(is_near) if within is not None else np.zeros(0, dtype=np.int64)
        if within is None:
            certain |= is_near
        elif len(at):
            certain[at] = self._always_within(
                earliest[found.near_position[at]], latest[found.near_position[at]], least[at], greatest[at]
            )
        if self._is_nearest:
            # Without a tolerance the nearest of one is found wherever it is.
            at = np.flatnonzero(alone & (found.middle == 1))
            if within is None:
                certain[at] = True
            elif len(at):
                # Of what begins in time it reaches farthest: the others end before the left row.
                position = rights.widest_until(found.middle_stop[at])
                certain[at] = self._always_within(earliest[position], latest[position], least[at], greatest[at])
        for own, is_possible in ((asked.previous, found.own_previous), (asked.following, found.own_following)):
            if own is not None:
                at = np.flatnonzero(alone & is_possible)
                certain[at] = self._always_within(own.earliest[at], own.latest[at], least[at], greatest[at])
        if asked.is_same is not None:
            certain |= asked.is_same
        row = self._shown(asked, rights, found, possible)
        verdict = np.where(certain, CERTAIN, np.where(possible > 0, POSSIBLE, NONE))
        return verdict, row, possible

    def _always_within(
        self, earliest: Int64Array, latest: Int64Array, least: Int64Array, greatest: Int64Array
    ) -> BoolArray:
        """Even where they are farthest apart, the tolerance is kept."""
        if self._within is None:
            return np.ones(len(earliest), dtype=np.bool_)
        result = _gap(earliest, greatest) <= self._within
        if self._is_nearest:
            result &= _gap(least, latest) <= self._within
        return result

    def _shown(self, asked: _Left, rights: _Rights, found: _Found, possible: Int64Array) -> Int64Array:
        """
        The row to show: the match if every time were its estimate.

        Where the estimates give none, as they are too far apart or unknown, one that is possible all the same.
        """
        count = len(possible)
        row = np.full(count, NO_ROW, dtype=np.int64)
        time = asked.estimate
        is_known = time < UNKNOWN_AFTER
        distance = np.full(count, UNKNOWN_AFTER, dtype=np.int64)
        limit = UNKNOWN_AFTER - 1 if self._within is None else self._within
        place = rights.estimate.count_until(asked.group, time)
        sides = [is_known & (place > rights.starts[asked.group])]
        if self._is_nearest:
            sides.append(is_known & (place < rights.starts[asked.group + 1]))
        for number, exists in enumerate(sides):
            at = np.flatnonzero(exists) if not bool(exists.all()) else slice(None)
            places = place[at] - 1 + number
            estimate = rights.estimate.values[places]
            far = np.where(estimate >= UNKNOWN_AFTER, UNKNOWN_AFTER, np.abs(time[at] - estimate))
            better = (far < distance[at]) & (far <= limit)
            candidates = rights.row_at(rights.position_by_estimate(places))
            row[at] = np.where(better, candidates, row[at])
            distance[at] = np.where(better, far, distance[at])
        for number, own in enumerate((asked.previous, asked.following if self._is_nearest else None)):
            if own is None:
                continue
            known = own.exists & is_known & (own.estimate < UNKNOWN_AFTER)
            gap = own.estimate - time if number else time - own.estimate
            far = np.where(known, np.maximum(np.where(known, gap, 0), 0), UNKNOWN_AFTER)
            later = own.row > row if number == 0 else np.zeros(count, dtype=np.bool_)
            better = (far <= limit) & ((far < distance) | ((far == distance) & later))
            row, distance = np.where(better, own.row, row), np.where(better, far, distance)
        if asked.is_same is not None and asked.previous is not None:
            row = np.where(asked.is_same, asked.previous.row, row)
        row[possible == 0] = NO_ROW
        self._fill(row, np.flatnonzero((possible > 0) & (row == NO_ROW)), asked, rights, found)
        return row

    @staticmethod
    def _fill(row: Int64Array, at: Int64Array, asked: _Left, rights: _Rights, found: _Found) -> None:
        if not len(at):
            return
        for own, is_possible in ((asked.previous, found.own_previous), (asked.following, found.own_following)):
            if own is not None:
                chosen = at[is_possible[at]]
                row[chosen] = own.row[chosen]
        at = at[row[at] == NO_ROW]
        chosen = at[found.near[at] > 0]
        row[chosen] = rights.row_at(found.near_position[chosen])
        at = at[row[at] == NO_ROW]
        if len(at):
            row[at] = rights.row_at(rights.widest_until(found.middle_stop[at]))


class _OwnRows:
    """The right rows of one clock, by group and reading."""

    def __init__(self, events: Events, rows: Int64Array, groups: int) -> None:
        order = order_in_groups(events.group, groups, events.raw)
        if order is not None:
            events, rows = events.taken(order), rows[order]
        self.events, self.rows = events, rows
        self.starts = starts_of(events.group, groups)
        self.raw = _Ranked(events.raw, self.starts)

    def beside(self, left: Events) -> tuple[_Left, Int64Array]:
        """
        What the clock's own order says of left rows of the clock.

        Returns:
            The left rows of groups that the clock wrote in, narrowed by its rows there; and which of the rows these
            are. One whose bounds contradict the clock's order is not among them.
        """
        stop = self.raw.count_until(left.group, left.raw)
        begin, end = self.starts[left.group], self.starts[left.group + 1]
        has_previous, has_following = stop > begin, stop < end
        previous = self._own(has_previous, stop - 1)
        following = self._own(has_following, stop)
        same = has_previous & (self.events.raw[np.maximum(stop - 1, 0)] == left.raw)
        least = np.maximum(left.earliest, previous.earliest)
        greatest = np.minimum(left.latest, following.latest)
        greatest = np.where(same, np.minimum(greatest, previous.latest), greatest)
        told = np.flatnonzero((has_previous | has_following) & (least <= greatest))
        least, greatest = least[told], greatest[told]
        known = left.estimate[told] < UNKNOWN_AFTER
        estimate = np.where(known, np.clip(left.estimate[told], least, greatest), UNKNOWN_AFTER)
        previous, following = previous.taken(told), following.taken(told)
        previous = previous._replace(latest=np.minimum(previous.latest, greatest))
        following = following._replace(earliest=np.maximum(following.earliest, least))
        previous = previous._replace(
            latest=np.where(previous.exists, previous.latest, UNKNOWN_AFTER),
            estimate=np.where(
                known & (previous.estimate < UNKNOWN_AFTER), np.minimum(previous.estimate, estimate), previous.estimate
            ),
        )
        following = following._replace(
            earliest=np.where(following.exists, following.earliest, UNKNOWN_BEFORE),
            estimate=np.where(
                known & (following.estimate < UNKNOWN_AFTER),
                np.maximum(following.estimate, estimate),
                following.estimate,
            ),
        )
        return _Left(left.group[told], least, greatest, estimate, previous, following, same[told]), told

    def _own(self, exists: BoolArray, place: Int64Array) -> _Own:
        safe = np.where(exists, place, 0)
        events = self.events
        return _Own(
            exists,
            np.where(exists, self.rows[safe], NO_ROW),
            np.where(exists, events.earliest[safe], UNKNOWN_BEFORE),
            np.where(exists, events.estimate[safe], UNKNOWN_AFTER),
            np.where(exists, events.latest[safe], UNKNOWN_AFTER),
        )


class _Ranked:
    """Readings may be any int64: they are searched in as ranks."""

    def __init__(self, values: Int64Array, starts: Int64Array) -> None:
        self._values = np.unique(values)
        self._ranks = GroupedValues(np.searchsorted(self._values, values).astype(np.int64, copy=False), starts)

    def count_until(self, group: Int64Array, limits: Int64Array) -> Int64Array:
        ranks = np.searchsorted(self._values, limits, side="right").astype(np.int64, copy=False) - 1
        return self._ranks.count_until(group, ranks)


def _gap(first: Int64Array, last: Int64Array) -> Int64Array:
    """From first to last; `UNKNOWN_AFTER` where either is unknown."""
    unknown = (np.abs(first) >= UNKNOWN_AFTER) | (np.abs(last) >= UNKNOWN_AFTER)
    return np.where(unknown, UNKNOWN_AFTER, np.where(unknown, 0, last) - np.where(unknown, 0, first))


def _inside(events: Events) -> Int64Array:
    """Estimates within their bounds; where there is none, the middle of the bounds, or the side that is known."""
    earliest, estimate, latest = events.earliest, events.estimate, events.latest
    if bool(((earliest <= estimate) & (estimate <= latest) & (estimate < UNKNOWN_AFTER)).all()):
        return estimate
    begins, ends = earliest > UNKNOWN_BEFORE, latest < UNKNOWN_AFTER
    middle = np.where(begins & ends, earliest + (np.where(begins & ends, latest - earliest, 0) >> 1), UNKNOWN_AFTER)
    middle = np.where(begins & ~ends, earliest, np.where(ends & ~begins, latest, middle))
    return np.where(estimate < UNKNOWN_AFTER, np.clip(estimate, earliest, latest), middle)


def _chains(events: Events) -> tuple[Int64Array, BoolArray]:
    """
    Rows by group and clock, those of one clock in their sequence.

    Returns:
        The order, and whether each but the first continues the chain of the one before.
    """
    group, clock = events.group, events.clock
    clocks = int(clock.max()) + 2 if len(clock) else 1
    order = stable_order(clock + 1, clocks)
    groups = int(group.max()) + 1 if len(group) else 1
    if groups > 1:
        order = order[stable_order(group[order], groups)]
    sorted_group, sorted_clock = group[order], clock[order]
    same = (sorted_group[1:] == sorted_group[:-1]) & (sorted_clock[1:] == sorted_clock[:-1])
    same &= sorted_clock[1:] != NO_CLOCK
    return order, same


def _narrowed(events: Events) -> Events:
    """
    Let each clock's order narrow its rows' bounds, group by group, and put the estimates inside.

    A clock whose order the bounds contradict is not believed: its rows of that group are of no clock.
    """
    if not events.size:
        return events
    order, same = _chains(events)
    by_chain = events.taken(order)
    raw = by_chain.raw
    if bool((same & (raw[1:] < raw[:-1])).any()):
        # Not in the clock's order. Sort by reading within each chain.
        chain = np.concatenate([[0], np.cumsum(~same)]).astype(np.int64)
        inner = np.lexsort((raw, chain))
        order, by_chain = order[inner], by_chain.taken(inner)
        raw = by_chain.raw
    earliest, latest = by_chain.earliest, by_chain.latest
    tied = same & (raw[1:] == raw[:-1])
    crooked = same & ((earliest[1:] < earliest[:-1]) | (latest[1:] < latest[:-1]))
    crooked |= tied & ((earliest[1:] != earliest[:-1]) | (latest[1:] != latest[:-1]))
    estimate = _inside(by_chain)
    bent = bool(crooked.any())
    known = (estimate[1:] < UNKNOWN_AFTER) & (estimate[:-1] < UNKNOWN_AFTER)
    bent_estimate = bool((same & known & (estimate[1:] < estimate[:-1])).any())
    clock = by_chain.clock
    if bent or bent_estimate:
        chain = np.concatenate([[0], np.cumsum(~same)]).astype(np.int64)
        chain_starts = np.concatenate([np.flatnonzero(np.concatenate([[True], ~same])), [len(raw)]]).astype(np.int64)
        turned_starts = (len(raw) - chain_starts)[::-1]
        earliest = running_max(earliest, chain_starts)
        latest = -running_max(-latest[::-1], turned_starts)[::-1]
        # Equal readings are one time, whichever of them the bounds say it of.
        tie = np.concatenate([[0], np.cumsum(~tied)]).astype(np.int64)
        tie_starts = np.concatenate([np.flatnonzero(np.concatenate([[True], ~tied])), [len(raw)]]).astype(np.int64)
        earliest = np.maximum.reduceat(earliest, tie_starts[:-1])[tie]
        latest = np.minimum.reduceat(latest, tie_starts[:-1])[tie]
        broken = np.zeros(int(chain[-1]) + 1, dtype=np.bool_)
        broken[chain[earliest > latest]] = True
        is_broken = broken[chain]
        earliest = np.where(is_broken, by_chain.earliest, earliest)
        latest = np.where(is_broken, by_chain.latest, latest)
        clock = np.where(is_broken, NO_CLOCK, clock)
        by_chain = by_chain._replace(earliest=earliest, latest=latest)
        estimate = _inside(by_chain)
        rising = running_max(np.where(estimate < UNKNOWN_AFTER, estimate, UNKNOWN_BEFORE), chain_starts)
        estimate = np.where((estimate < UNKNOWN_AFTER) & ~is_broken, np.clip(rising, earliest, latest), estimate)
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order), dtype=np.int64)
    if bent or bent_estimate:
        return Events(events.group, clock[back], events.raw, earliest[back], estimate[back], latest[back])
    return events._replace(estimate=estimate[back])


def _distinct_codes(clocks: Int64Array) -> set[int]:
    """The clocks that are known."""
    if not len(clocks):
        return set()
    found = clocks[:1] if bool((clocks == clocks[0]).all()) else np.unique(clocks)
    return set(found.tolist()) - {NO_CLOCK}


def _plain_repeats(events: Events, rows_in_slice: int = ROWS_IN_SLICE) -> Int64Array | None:
    """
    Which rows are followed by one that is known to be at the same time, if otherwise nothing is to be put right.

    That is: sorted by group, each group of one known clock, its rows and all they say in its order. None: it is not so.
    """
    found = [np.zeros(0, dtype=np.int64)]
    # Each slice sees the row before it, too: what is asked is how neighbours stand.
    cuts = [slice(max(cut.start - 1, 0), cut.stop) for cut in slices(events.size, rows_in_slice)]
    for cut, repeats in zip(cuts, in_threads(lambda cut: _plain_repeats_of(events.taken(cut)), cuts), strict=True):
        if repeats is None:
            return None
        found.append(repeats + cut.start)
    return np.concatenate(found)


def _plain_repeats_of(events: Events) -> Int64Array | None:
    """The same of some rows."""
    if int(events.clock.min()) == NO_CLOCK or int(events.estimate.max()) >= UNKNOWN_AFTER:
        return None
    inside = (events.earliest <= events.estimate) & (events.estimate <= events.latest)
    if not bool(inside.all()):
        return None
    is_one_group = int(events.group[0]) == int(events.group[-1])
    changes = None if is_one_group else events.group[1:] != events.group[:-1]

    def holds(good: BoolArray) -> bool:
        return bool(good.all()) or (changes is not None and bool((good | changes).all()))

    if not holds(events.clock[1:] == events.clock[:-1]):
        return None
    for column in (events.raw, events.earliest, events.estimate, events.latest):
        if not holds(column[1:] >= column[:-1]):
            return None
    same_bounds = (events.earliest[1:] == events.earliest[:-1]) & (events.latest[1:] == events.latest[:-1])
    same_reading = events.raw[1:] == events.raw[:-1]
    if not holds(same_bounds | ~same_reading):
        return None
    repeats = same_bounds & (same_reading | (events.earliest[1:] == events.latest[1:]))
    if changes is not None:
        repeats &= ~changes
    return np.flatnonzero(repeats)


def _in_order(events: Events, order: Int64Array) -> Events:
    """The same rows in another order, column by column on all processors."""

    def reordered(column: Int64Array) -> Int64Array:
        is_constant = int(column[0]) == int(column[-1]) and int(column.min()) == int(column.max())
        return column if is_constant else column[order]

    return Events(*in_threads(reordered, events))


def _without_repeats(events: Events, repeats: Int64Array) -> Events:
    """The same without rows that `_plain_repeats` found."""
    columns = list(in_threads(lambda column: without(column, repeats), events[2:]))
    if int(events.group[0]) == int(events.group[-1]):
        # One group, so one clock: these columns say the same all the way.
        count = events.size - len(repeats)
        return Events(events.group[:count], events.clock[:count], *columns)
    return Events(without(events.group, repeats), without(events.clock, repeats), *columns)


def _keeps_readings(events: Events) -> bool:
    """Each clock's rows of a group stand in the order of its readings."""
    order, same = _chains(events)
    raw = events.raw[order]
    return not bool((same & (raw[1:] < raw[:-1])).any())


def _distinct(events: Events, rows: Int64Array | None) -> tuple[Events, Int64Array | None]:
    """Of rows that are known to be at one time keep the last."""
    if not events.size:
        return events, rows
    keep = np.ones(events.size, dtype=np.bool_)
    order, same = _chains(events)
    raw = events.raw[order]
    keep[order[:-1][same & (raw[1:] == raw[:-1])]] = False
    exact = np.flatnonzero(keep & (events.earliest == events.latest))
    if len(exact):
        by_time = exact[np.lexsort((exact, events.earliest[exact], events.group[exact]))]
        time, group = events.earliest[by_time], events.group[by_time]
        keep[by_time[:-1][(time[1:] == time[:-1]) & (group[1:] == group[:-1])]] = False
    if bool(keep.all()):
        return events, rows
    kept = np.flatnonzero(keep)
    return events.taken(kept), kept if rows is None else rows[kept]
