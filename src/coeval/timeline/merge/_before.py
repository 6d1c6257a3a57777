"""
Where estimates alone would contradict a message: keys for the rows that it is between, and for those around them.

Alignment promises that a send's estimate is not after the *end* of its receive's resolution. Of a stamp cut to seconds
that is a second of room in which rows may stand the wrong way round. So:

    caps      from the end backwards: a row was not later than what it was certainly before
    keys      from the start on: the estimate, under the cap; lifted to what was certainly before it
    levels    of equal keys: how many messages it is away from the first

along the messages, and along each clock's own order (estimate, reading, source, line). Keys stay within the rows' own
intervals, because a cap is never below what is before it. Rows between two that a message names follow them in their
clock's order. What false evidence makes impossible, a circle, is opened at its row with the earliest estimate.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST, Messages
from coeval.timeline.merge._maps import PlacedClock
from coeval.timeline.readers._values import BoolArray, Int64Array
from coeval.timeline.sources._links import RowLinks


class Nodes(NamedTuple):
    """
    Rows that messages are between, in columns of equal length, and the messages.

    Attributes:
        clock, estimate, raw, source, line: where a row stands in its clock's own order.
        latest: the row was not later.
        before, after: of each message, the indices of its two rows.
    """

    clock: Int64Array
    estimate: Int64Array
    raw: Int64Array
    source: Int64Array
    line: Int64Array
    latest: Int64Array
    before: Int64Array
    after: Int64Array

    def __len__(self) -> int:
        return len(self.clock)

    @property
    def own_order(self) -> Int64Array:
        """Indices, clock by clock, in each clock's own order."""
        return np.lexsort((self.line, self.source, self.raw, self.estimate, self.clock))


class Keys(NamedTuple):
    """Of each node: what the order goes by, and its estimate under its cap."""

    key: Int64Array
    level: Int64Array
    capped: Int64Array


def keys_of(nodes: Nodes) -> Keys:
    """
    Find keys that keep every message and every clock's own order.

    For each message (key, level) of the row before it is less than that of the row after it. Within a clock (key,
    level) never falls.
    """
    count = len(nodes)
    own = nodes.own_order
    clock = nodes.clock[own]
    same = clock[1:] == clock[:-1]
    following = np.full(count, -1, dtype=np.int64)
    following[own[:-1][same]] = own[1:][same]
    by_sender = np.argsort(nodes.before, kind="stable")
    starts = np.searchsorted(nodes.before[by_sender], np.arange(count + 1)).tolist()
    targets = nodes.after[by_sender].tolist()
    place = np.empty(count, dtype=np.int64)
    place[np.lexsort((nodes.line, nodes.source, nodes.raw, nodes.clock, nodes.estimate))] = np.arange(count)
    waits = np.bincount(nodes.after, minlength=count)
    waits[following[following >= 0]] += 1
    nexts = following.tolist()
    order = _topological(nexts, starts, targets, waits.tolist(), place.tolist())
    cap = nodes.latest.tolist()
    done = set()
    for node in reversed(order):
        least = cap[node]
        for target in (*targets[starts[node] : starts[node + 1]], *([nexts[node]] if nexts[node] >= 0 else ())):
            if target in done and cap[target] < least:
                least = cap[target]
        cap[node] = least
        done.add(node)
    capped = np.minimum(nodes.estimate, np.array(cap, dtype=np.int64))
    best = [(key, 0) for key in capped.tolist()]
    seen = set()
    for node in order:
        seen.add(node)
        key, level = best[node]
        for target in targets[starts[node] : starts[node + 1]]:
            if target not in seen and best[target] < (key, level + 1):
                best[target] = (key, level + 1)
        target = nexts[node]
        if target >= 0 and target not in seen and best[target] < (key, level):
            best[target] = (key, level)
    key_column = np.array([key for key, _ in best], dtype=np.int64)
    return Keys(key_column, np.array([level for _, level in best], dtype=np.int64), capped)


def _topological(
    nexts: Sequence[int], starts: Sequence[int], targets: Sequence[int], waits: list[int], place: Sequence[int]
) -> list[int]:
    """Every node after all that is before it; circles are opened at their first place."""
    ready = [node for node, count in enumerate(waits) if not count]
    order: list[int] = []
    is_done = [False] * len(waits)
    closed: list[tuple[int, int]] | None = None
    while len(order) < len(waits):
        if not ready:
            if closed is None:
                closed = [(place[node], node) for node, done in enumerate(is_done) if not done]
                heapq.heapify(closed)
            _, node = heapq.heappop(closed)
            if is_done[node]:
                continue
            ready.append(node)
        node = ready.pop()
        if is_done[node]:
            continue
        is_done[node] = True
        order.append(node)
        following = nexts[node]
        for target in (*targets[starts[node] : starts[node + 1]], *([following] if following >= 0 else ())):
            waits[target] -= 1
            if not waits[target] and not is_done[target]:
                ready.append(target)
    return order


@dataclass(frozen=True, eq=False, slots=True)
class ClockOrder:
    """
    What messages change in the order of one clock's rows; positions in its own order, ascending.

    Attributes:
        floors: estimate, raw, source, line of rows that were lifted, and the (key, level) that no later row is below.
        caps: likewise of rows that were held down, and the key that no earlier row is above.
        lifted_ns, lowered_ns: the most that a key is above or below its estimate.
    """

    floors: tuple[Int64Array, ...]
    caps: tuple[Int64Array, ...]
    lifted_ns: int
    lowered_ns: int

    def applied(
        self, estimate: Int64Array, raw: Int64Array, source: int, line: Int64Array
    ) -> tuple[Int64Array, Int64Array | None]:
        """
        Keys of rows of one source.

        Returns:
            Keys, and levels; None: 0 for all.
        """
        rows = (estimate, raw, np.full(len(raw), source, dtype=np.int64), line)
        key, level = estimate, None
        *cap_places, cap_keys = self.caps
        if (near := _near(cap_places, estimate, 0, self.lowered_ns)) is not None:
            at = _places(tuple(column[near] for column in cap_places), rows, is_before=False)
            caps = np.append(cap_keys[near], np.iinfo(np.int64).max)
            key = np.minimum(key, caps[at])
        *floor_places, floor_keys, floor_levels = self.floors
        if (near := _near(floor_places, estimate, -self.lifted_ns - self.lowered_ns, 0)) is not None:
            at = _places(tuple(column[near] for column in floor_places), rows, is_before=True)
            floors = np.insert(floor_keys[near], 0, np.iinfo(np.int64).min)[at]
            levels = np.insert(floor_levels[near], 0, 0)[at]
            level = np.where(floors >= key, levels, 0)
            key = np.maximum(key, floors)
            if not bool(level.any()):
                level = None
        return key, level


def _near(places: Sequence[Int64Array], estimate: Int64Array, before: int, after: int) -> slice | None:
    """The entries that may matter to rows with these estimates."""
    entries = places[0]
    if not len(entries) or not len(estimate):
        return None
    least, most = int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max)
    first = int(np.searchsorted(entries, max(int(estimate.min()) + before, least), side="left"))
    last = int(np.searchsorted(entries, min(int(estimate.max()) + after, most), side="right"))
    return slice(first, last) if first < last else None


def _places(entries: tuple[Int64Array, ...], rows: tuple[Int64Array, ...], *, is_before: bool) -> Int64Array:
    """
    For each row, how many entries stand before it.

    Args:
        is_before: an entry at the row's own place counts too.
    """
    count, total = len(entries[0]), len(rows[0])
    last = np.concatenate([np.full(count, 0 if is_before else 1), np.full(total, 1 if is_before else 0)])
    columns = [np.concatenate([entry, row]) for entry, row in zip(entries, rows, strict=True)]
    order = np.lexsort((last, *reversed(columns)))
    is_entry = order < count
    passed = np.cumsum(is_entry)
    result = np.empty(total, dtype=np.int64)
    result[order[~is_entry] - count] = passed[~is_entry]
    return result


def clock_orders(nodes: Nodes, keys: Keys) -> dict[int, ClockOrder]:
    """What changes, by clock; clocks of which nothing changes are left out."""
    own = nodes.own_order
    columns = (nodes.estimate, nodes.raw, nodes.source, nodes.line)
    lifted = (keys.key > nodes.estimate) | (keys.level > 0) | (keys.key > keys.capped)
    lowered = keys.capped < nodes.estimate
    orders: dict[int, ClockOrder] = {}
    for clock in np.unique(nodes.clock[lifted | lowered]).tolist():
        of_clock = own[nodes.clock[own] == clock]
        up, down = of_clock[lifted[of_clock]], of_clock[lowered[of_clock]]
        orders[clock] = ClockOrder(
            (*(column[up] for column in columns), keys.key[up], keys.level[up]),
            (*(column[down] for column in columns), keys.capped[down]),
            int((keys.key[up] - nodes.estimate[up]).max(initial=0)),
            int((nodes.estimate[down] - keys.capped[down]).max(initial=0)),
        )
    return orders


def nodes_of(
    links: RowLinks, sources: Sequence[int], lines_before: Sequence[int], maps: Mapping[str, PlacedClock]
) -> Nodes:
    """
    Put messages between rows together.

    Args:
        sources, lines_before: of each part, its source's code, and the source's lines before it.
    """
    parts = np.concatenate((links.sender_part, links.receiver_part))
    lines = np.concatenate((links.sender_line, links.receiver_line))
    places, first, inverse = np.unique(np.stack((parts, lines)), axis=1, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    clock = np.concatenate((links.sender, links.receiver))[first]
    raw = np.concatenate((links.sent_ns, links.received_ns))[first]
    means = np.concatenate((links.sent_means_ns, links.received_means_ns))[first]
    placed = placed_by_clock(links.clocks, clock, raw, means, maps)
    return Nodes(
        clock,
        placed.estimate,
        raw,
        np.array(sources, dtype=np.int64)[places[0]],
        places[1] + np.array(lines_before, dtype=np.int64)[places[0]] + 1,
        placed.latest,
        inverse[: len(links)],
        inverse[len(links) :],
    )


# Stand for the place after all rows of one reading, and for that before all of them.
_AFTER_ALL, _BEFORE_ALL = int(np.iinfo(np.int64).max), -1


def with_messages(
    nodes: Nodes, messages: Messages, code_of: Mapping[str, int], maps: Mapping[str, PlacedClock]
) -> Nodes:
    """
    Messages of which only readings are known, not the rows, and whose estimates alone do not tell their order.

    What a clock wrote until the send is before what the other one wrote from the end of the receive's resolution on. Of
    a send whose stamp is cut, rows with that very stamp may be before or after it, and nothing is said of them.
    """
    clocks = [str(clock) for clock in messages.clocks]
    is_placed = np.array([clock in maps and clock in code_of for clock in clocks], dtype=np.bool_)
    rows = np.flatnonzero(messages.hard & (messages.sender != messages.receiver)) if len(messages) else np.empty(0, int)
    rows = rows[is_placed[messages.sender[rows]] & is_placed[messages.receiver[rows]]] if len(rows) else rows
    sender, receiver = messages.sender[rows].astype(np.int64), messages.receiver[rows].astype(np.int64)
    sent, received = messages.sent_ns[rows], messages.received_by_at(rows)
    sends = placed_by_clock(clocks, sender, sent, messages.sender_resolution_ns[rows], maps)
    receives = placed_by_clock(clocks, receiver, received, np.zeros(len(rows), dtype=np.int64), maps)
    near = (receives.estimate <= sends.estimate) & (sends.earliest <= receives.latest)
    count = int(near.sum())
    if not count:
        return nodes
    codes = np.array([code_of.get(clock, -1) for clock in clocks], dtype=np.int64)
    is_exact = messages.sender_resolution_ns[rows][near] == 0
    place = np.concatenate((np.where(is_exact, _AFTER_ALL, _BEFORE_ALL), np.full(count, _BEFORE_ALL)))
    numbers = len(nodes) + np.arange(count)
    return Nodes(
        np.concatenate((nodes.clock, codes[sender[near]], codes[receiver[near]])),
        np.concatenate((nodes.estimate, sends.estimate[near], receives.estimate[near])),
        np.concatenate((nodes.raw, sent[near], received[near])),
        np.concatenate((nodes.source, place)),
        np.concatenate((nodes.line, place)),
        np.concatenate((nodes.latest, sends.latest[near], receives.latest[near])),
        np.concatenate((nodes.before, numbers)),
        np.concatenate((nodes.after, numbers + count)),
    )


class PlacedStamps(NamedTuple):
    """Stamps on the axis: when each was at the earliest and by estimate, and at the latest all that it may mean."""

    earliest: Int64Array
    estimate: Int64Array
    latest: Int64Array


def placed_by_clock(
    clocks: Sequence[str], codes: Int64Array, raw: Int64Array, means_ns: Int64Array, maps: Mapping[str, PlacedClock]
) -> PlacedStamps:
    """Place stamps of several clocks, each of which may mean up to so much more."""
    placed = PlacedStamps(
        np.full(len(raw), UNKNOWN_EARLIEST, dtype=np.int64),
        np.full(len(raw), UNKNOWN_ESTIMATE, dtype=np.int64),
        np.full(len(raw), UNKNOWN_LATEST, dtype=np.int64),
    )
    for code in np.unique(codes).tolist():
        found = maps.get(clocks[code])
        if found is not None:
            rows = np.flatnonzero(codes == code)
            stamps, means = raw[rows], means_ns[rows]
            instants = found.instants(stamps)
            placed.earliest[rows], placed.estimate[rows] = instants.earliest_ns, instants.estimate_ns
            placed.latest[rows] = found.latest_ns(stamps + means) if bool(means.any()) else instants.latest_ns
    return placed


def near_each_other(links: RowLinks, maps: Mapping[str, PlacedClock], within_ns: int) -> BoolArray:
    """
    Messages that can be true, and whose receive's estimate is not later than its send's by more than so much.
    """
    sent = placed_by_clock(links.clocks, links.sender, links.sent_ns, links.sent_means_ns, maps)
    received = placed_by_clock(links.clocks, links.receiver, links.received_ns, links.received_means_ns, maps)
    known = (sent.estimate != UNKNOWN_ESTIMATE) & (received.estimate != UNKNOWN_ESTIMATE)
    near: BoolArray = known & (sent.earliest <= received.latest) & (received.estimate <= sent.estimate + within_ns)
    return near
