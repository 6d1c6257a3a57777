"""
The system: all readings of all clocks that evidence speaks of, as one set of difference constraints, and its tightest
bounds.

    along a strand      excess(later) - excess(earlier)  within  slopes * (later - earlier)
    for each message    excess(sent) <= excess(received) + weight
    where it begins     the reference clock's own readings (excess 0), anchors to UTC, or one pinned reading

A strand is one clock between two steps; its excess is T(x) - x, where T is what the axis shows. Tightest bounds are
shortest paths, and so are these: bounds spread along a strand by two running minima, go over by messages to other
strands, and whatever strand got a better one has its turn next, until nothing changes. Bounds from below are the same
with signs turned and messages read backwards.

What the tightest bounds satisfy on both sides, their middle satisfies too: so estimates contradict no message and no
rate bound.

Source: Patt-Shamir and Rajsbaum, A theory of clock synchronization, STOC 1994; Ostrovsky and Patt-Shamir, Optimal and
efficient clock synchronization under drifting clocks, PODC 1999.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from coeval.alignment._envelope import NOTHING, Potential, Slopes, is_known
from coeval.alignment._rate import Int64Array

# Without a contradiction bounds settle after as many rounds as a shortest path has messages, which is a few more than
# there are strands between its ends. What does not settle after so many for each strand goes round in a circle.
ROUNDS_PER_STRAND = 8
ROUNDS_LEAST = 64


class Hop(NamedTuple):
    """
    A step of the way that sets a bound, from the bounded reading back to where it begins.

    Attributes:
        event: on the strand of the bounded reading, the one whose message (or beginning) sets the bound.
        message: which of the system's messages brings it; -1: it begins here.
    """

    event: int
    message: int


@dataclass(frozen=True, eq=False, slots=True)
class Result:
    """
    The tightest bounds of every event, in units.

    Attributes:
        upper, lower: of the excess; `NOTHING` and `-NOTHING` where unknown.
        circle: messages that cannot all be true; None: there is no contradiction.
        ends: the events where the two ways of a contradiction begin; none where it is a circle by itself.
    """

    upper: Int64Array
    lower: Int64Array
    circle: tuple[int, ...] | None
    ends: tuple[int, ...] = ()


class System:
    """
    Args:
        starts: where each strand's events begin, and after the last one the end; shape (strands + 1,).
        x: readings, by strand in ascending order, int64 ns from each strand's origin.
        sent, received: the event at either end of each message. No event is an end of two.
        weights: of the messages, in units.
        bits: a unit is 2**-bits ns.
    """

    def __init__(
        self, starts: Int64Array, x: Int64Array, sent: Int64Array, received: Int64Array, weights: Int64Array, bits: int
    ) -> None:
        self.starts = starts
        self.x = x
        self.sent = sent
        self.received = received
        self.weights = weights
        self.bits = bits
        self.strand_count = len(starts) - 1

    @cached_property
    def strand_of(self) -> Int64Array:
        """Of each event."""
        return np.repeat(np.arange(self.strand_count), np.diff(self.starts))

    @cached_property
    def _message_of_sent(self) -> Int64Array:
        return self._message_at(self.sent)

    @cached_property
    def _message_of_received(self) -> Int64Array:
        return self._message_at(self.received)

    def _message_at(self, ends: Int64Array) -> Int64Array:
        found = np.full(len(self.x), -1, dtype=np.int64)
        found[ends] = np.arange(len(ends))
        return found

    @cached_property
    def _by_receiver(self) -> list[Int64Array]:
        return self._by_strand(self.received)

    @cached_property
    def _by_sender(self) -> list[Int64Array]:
        return self._by_strand(self.sent)

    def _by_strand(self, ends: Int64Array) -> list[Int64Array]:
        order = np.argsort(ends, kind="stable")
        return np.split(order, np.searchsorted(ends[order], self.starts[1:-1]))

    @cached_property
    def _ties(self) -> list[Int64Array | None]:
        """Of each strand the first event of each reading; None: all readings differ."""
        found: list[Int64Array | None] = []
        for start, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            is_new = np.diff(self.x[start:end]) > 0
            ties = None if bool(is_new.all()) else np.concatenate(([0], np.flatnonzero(is_new) + 1))
            found.append(ties)
        return found

    def costs(self, slopes: Sequence[Slopes]) -> list[Potential]:
        """What it costs to go along each strand."""
        return [
            Potential.of(self.x[start:end], slope, self.bits)
            for start, end, slope in zip(self.starts[:-1], self.starts[1:], slopes, strict=True)
        ]

    def solve(
        self, costs: Sequence[Potential], upper: Int64Array, lower: Int64Array, within: Result | None = None
    ) -> Result:
        """
        Find the tightest bounds.

        Args:
            costs: of each strand.
            upper, lower: what is known of each event's excess to begin with, in units; not changed.
            within: bounds that hold anyway: once others cross them, there is a contradiction.
        """
        began_upper, began_lower = upper, lower
        least = began_lower if within is None else within.lower
        most = began_upper if within is None else within.upper
        upper, settled = self._relaxed(upper, costs, forth=False, least=least)
        if not settled:
            return Result(upper, lower, self._circle_in(upper, began_upper, costs, forth=False, least=least))
        turned = [cost.turned() for cost in costs]
        negated, settled = self._relaxed(-lower, turned, forth=True, least=-most)
        lower = -negated
        if not settled:
            circle = self._circle_in(negated, -began_lower, turned, forth=True, least=-most)
            return Result(upper, lower, circle)
        if not bool((upper < lower).any()):
            return Result(upper, lower, None)
        return self._crossed(upper, lower, began_upper, began_lower, costs)

    def upper_from(self, costs: Sequence[Potential], upper: Int64Array) -> Int64Array:
        """Only the bounds from above, of a system without contradiction."""
        return self._relaxed(upper, costs, forth=False)[0]

    def lower_from(self, costs: Sequence[Potential], lower: Int64Array) -> Int64Array:
        """Only the bounds from below, of a system without contradiction."""
        return -self._relaxed(-lower, [cost.turned() for cost in costs], forth=True)[0]

    def _relaxed(
        self, values: Int64Array, costs: Sequence[Potential], *, forth: bool, least: Int64Array | None = None
    ) -> tuple[Int64Array, bool]:
        """
        Spread bounds from above until nothing changes; False: they would for ever.

        Args:
            forth: messages carry bounds from the sender to the receiver, as those from below go; else back.
            least: what is known of each event from the other side to begin with: bounds that fall below it would
                hardly ever stop to.
        """
        values = values.copy()
        starts = self.starts.tolist()
        is_bound = [least is not None and bool(is_known(-least[start:end]).any()) for start, end in pairwise(starts)]
        by_strand, origins, targets = (
            (self._by_sender, self.sent, self.received) if forth else (self._by_receiver, self.received, self.sent)
        )
        waiting = deque(
            number
            for number in range(self.strand_count)
            if bool(is_known(values[starts[number] : starts[number + 1]]).any())
        )
        is_waiting = np.zeros(self.strand_count, dtype=np.bool_)
        is_waiting[list(waiting)] = True
        turns_left = max(ROUNDS_LEAST, ROUNDS_PER_STRAND * self.strand_count) * max(self.strand_count, 1)
        # What settles by itself is compared from both sides afterwards, which names the worst contradiction.
        patience = turns_left - ROUNDS_PER_STRAND * self.strand_count
        while waiting:
            if turns_left <= 0:
                return values, False
            turns_left -= 1
            number = waiting.popleft()
            is_waiting[number] = False
            start, end = starts[number], starts[number + 1]
            spread = costs[number].spread(values[start:end])
            spread[~is_known(spread)] = NOTHING
            ties = self._ties[number] if costs[number].slack else None
            if ties is not None:  # there is no way between equal readings, so nothing to round
                spread = np.repeat(np.minimum.reduceat(spread, ties), np.diff(ties, append=end - start))
            values[start:end] = spread
            if (
                turns_left < patience
                and least is not None
                and is_bound[number]
                and bool((spread < least[start:end]).any())
            ):
                return values, False
            rows = by_strand[number]
            offered = values[origins[rows]] + self.weights[rows]
            better = offered < values[targets[rows]]
            if not bool(better.any()):
                continue
            # Further down than any bound can be: it would leave int64 before the turns are over.
            if int(offered.min()) < -NOTHING:
                return values, False
            reached = targets[rows[better]]
            values[reached] = offered[better]
            for other in np.flatnonzero(np.bincount(self.strand_of[reached], minlength=self.strand_count)).tolist():
                if not is_waiting[other]:
                    is_waiting[other] = True
                    waiting.append(other)
        return values, True

    # Why --------------------------------------------------------------------------------------------------------------

    def way(
        self, values: Int64Array, began: Int64Array, costs: Sequence[Potential], event: int, *, forth: bool
    ) -> tuple[list[Hop], bool]:
        """
        The way that sets a bound from above, from its event to where it begins.

        For bounds from below (`forth`), values, what they began with and the costs are those of `_relaxed`: negated and
        turned.

        Returns:
            The hops; and whether it begins somewhere: False where it goes round in a circle, then the hops are that
            circle.
        """
        own_message, origins = (
            (self._message_of_received, self.sent) if forth else (self._message_of_sent, self.received)
        )
        hops: list[Hop] = []
        seen: dict[int, int] = {}
        while True:
            number = int(self.strand_of[event])
            start, end = int(self.starts[number]), int(self.starts[number + 1])
            messages = own_message[start:end]
            has = messages >= 0
            brought = np.full(end - start, NOTHING, dtype=np.int64)
            brought[has] = values[origins[messages[has]]] + self.weights[messages[has]]
            total = np.minimum(brought, began[start:end]) + _way_to(event - start, costs[number])
            first = source = int(np.argmin(total))
            # Two ways of equal length may make a circle of nothing: then another one of that length leads on.
            while start + source in seen:
                total[source] = NOTHING
                source = int(np.argmin(total))
                if total[source] > values[event] + costs[number].slack:
                    return hops[seen[start + first] :], False
            seen[start + source] = len(hops)
            message = int(messages[source]) if brought[source] < began[start + source] else -1
            hops.append(Hop(start + source, message))
            if message < 0:
                return hops, True
            event = int(origins[message])

    def _circle_in(
        self, values: Int64Array, began: Int64Array, costs: Sequence[Potential], *, forth: bool, least: Int64Array
    ) -> tuple[int, ...]:
        """The messages of a circle in which bounds go round for ever, or of a way to a bound that cannot be."""
        hops: list[Hop] = []
        below = int(np.argmin(np.where(is_known(values), values, 0) - np.where(is_known(-least), least, -NOTHING)))
        if is_known(-least[below]) and values[below] < least[below]:
            hops, _ = self.way(values, began, costs, below, forth=forth)
            return tuple(dict.fromkeys(hop.message for hop in hops if hop.message >= 0))
        for event in np.argsort(values, kind="stable")[:64].tolist():
            hops, begins = self.way(values, began, costs, event, forth=forth)
            if not begins:
                break
        return tuple(dict.fromkeys(hop.message for hop in hops if hop.message >= 0))

    def _crossed(
        self,
        upper: Int64Array,
        lower: Int64Array,
        began_upper: Int64Array,
        began_lower: Int64Array,
        costs: Sequence[Potential],
    ) -> Result:
        """Name the messages that put the worst event both after and before itself."""
        event = int(np.argmax(np.where(is_known(upper) & is_known(-lower), lower - upper, -NOTHING)))
        above, _ = self.way(upper, began_upper, costs, event, forth=False)
        below, _ = self.way(-lower, -began_lower, [cost.turned() for cost in costs], event, forth=True)
        circle = tuple(dict.fromkeys(hop.message for hop in (*above, *below) if hop.message >= 0))
        return Result(upper, lower, circle, (above[-1].event, below[-1].event))


def _way_to(event: int, cost: Potential) -> Int64Array:
    """What it costs to go from each event of a strand to this one."""
    position = np.arange(len(cost.later))
    way: Int64Array = np.where(position <= event, cost.later[event] - cost.later, cost.earlier[event] - cost.earlier)
    way[position != event] += cost.slack
    return way
