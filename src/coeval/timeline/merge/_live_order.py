"""
What of a live stream may be written, in which order, and what may not: decisions alone, no files.

    events as they come, each source's in the order it wrote them
      far ahead of the one before, confirmed by no other           -> set aside: future
      else wait until all still to come is certainly after them     -> emitted, by their estimates
      certainly before something that was emitted                   -> set aside: late

An event waits until its latest time is before the mark, and until everything in front of it does not wait any more. So
whatever comes later, also a message that nobody knew of, cannot say that it should have come first.

Every source that may still write holds the mark (`Alignment.watermark`) at the newest reading that it showed, which
rests on sources writing in the order of their clocks. One that breaks this, or was left out because it was silent,
loses those of its events that would contradict what is out; the others still come, as nobody knows their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST
from coeval.timeline.readers._values import Int64Array

FUTURE_NS = 3600 * 10**9
"""How far a stamp may be ahead of the one before it in its source until another one confirms it."""

LATE = "late: it was certainly before what was written already"
FUTURE = "future: its stamp is far ahead of what its source and the others show"
UNRELATED = "nothing relates its clock to the others"

Places: TypeAlias = Callable[[str, Int64Array], "tuple[Int64Array, Int64Array, Int64Array] | None"]
"""Earliest, estimate and latest of readings of a clock, with the sentinels of `alignment`; None: it is not placed."""


Keys: TypeAlias = Callable[[str, str, Int64Array, Int64Array, Int64Array], "tuple[Int64Array, Int64Array | None]"]
"""By clock, source, estimates, readings and lines of events: what the order goes by, and the level of equals."""


def by_estimate(
    clock: str, source: str, estimate: Int64Array, raw: Int64Array, lines: Int64Array
) -> tuple[Int64Array, Int64Array | None]:
    """No message says more of the order than the estimates do."""
    return estimate, None


class LiveEvent(NamedTuple):
    """
    One event.

    Attributes:
        means_ns: the stamp means [reading, reading + means): what it is cut to, and a fold.
        row: what is written of it, beside its times.
    """

    source: str
    clock: str
    line: int
    raw_ns: int
    means_ns: int
    row: Mapping[str, Any]


class Emitted(NamedTuple):
    """
    An event that is due.

    Attributes:
        without: sources that had been silent and were left out, so that they may still have earlier ones.
        order: what it was ordered by.
    """

    event: LiveEvent
    earliest_ns: int | None
    estimate_ns: int
    latest_ns: int | None
    without: tuple[str, ...]
    order: tuple[int, int, int, str, int]


class Aside(NamedTuple):
    """An event that is not written."""

    event: LiveEvent
    reason: str


@dataclass
class _Lane:
    """What one source showed of one clock; a source that showed nothing yet has a lane without a clock."""

    newest_ns: int | None = None
    unconfirmed: LiveEvent | None = None
    is_silent: bool = False


class LiveOrder:
    """
    The order of one stream.

    Args:
        sources: all that may give events; none is emitted before each has shown a reading.
        future_ns: see `FUTURE_NS`.
    """

    def __init__(self, sources: Sequence[str], future_ns: int = FUTURE_NS) -> None:
        self._lanes: dict[tuple[str, str | None], _Lane] = {(name, None): _Lane() for name in sources}
        self._ended: set[str] = set()
        self._future_ns = future_ns
        self._waiting: list[LiveEvent] = []
        self._asides: list[Aside] = []
        self._first: Emitted | None = None
        self._emitted_earliest_ns: int | None = None
        self._emitted_raw_ns: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        """How many events are neither emitted nor set aside."""
        held = sum(lane.unconfirmed is not None for lane in self._lanes.values())
        return len(self._waiting) + len(self._asides) + held

    @property
    def lanes(self) -> list[tuple[str, str | None]]:
        """Of what is waited for: sources that showed nothing yet (None), and each clock of the others."""
        return [key for key, lane in self._lanes.items() if not lane.is_silent and key[0] not in self._ended]

    def take(self, events: Iterable[LiveEvent]) -> None:
        """Events as they come; those of one source in the order it wrote them."""
        for event in events:
            self._lanes.pop((event.source, None), None)
            lane = self._lanes.setdefault((event.source, event.clock), _Lane())
            lane.is_silent = False
            held, lane.unconfirmed = lane.unconfirmed, None
            if held is not None:
                if event.raw_ns < held.raw_ns - self._future_ns:
                    self._asides.append(Aside(held, FUTURE))
                else:
                    self._accept(lane, held)
            if lane.newest_ns is None or event.raw_ns > lane.newest_ns + self._future_ns:
                lane.unconfirmed = event
            else:
                self._accept(lane, event)

    def silent(self, source: str, clock: str | None) -> None:
        """Do not wait for this lane any more, until it gives an event."""
        self._lanes[source, clock].is_silent = True

    def ended(self, source: str) -> None:
        """This source gives no more events."""
        self._ended.add(source)

    def holding(self, places: Places) -> list[tuple[str, str | None]]:
        """The lanes that the mark rests at: those that have shown nothing, or else what is furthest back."""
        return self._mark(places)[1]

    def due(self, places: Places, keys: Keys = by_estimate) -> tuple[list[Emitted], list[Aside]]:
        """
        What can be decided now.

        Args:
            places: where readings lie, as far as is known now.
            keys: what messages change in the order.
        """
        self._confirm(places)
        mark = self._mark(places)[0]
        asides, self._asides = self._asides, []
        placed, left = self._placed(places, keys)
        placed.sort(key=lambda each: each.order)
        count = len(placed)
        if mark is not None:
            is_out = (each.latest_ns is not None and each.latest_ns < mark for each in placed)
            count = next((number for number, out in enumerate(is_out) if not out), count)
        self._first = placed[count] if count < len(placed) else None
        emitted = []
        for each in placed[:count]:
            if self._is_late(each):
                asides.append(Aside(each.event, LATE))
            else:
                self._note(each)
                emitted.append(each)
        self._waiting = [*(each.event for each in placed[count:]), *left]
        return emitted, asides

    def finish(self, places: Places, keys: Keys = by_estimate) -> tuple[list[Emitted], list[Aside]]:
        """Decide everything that waits; what is on clocks that nothing relates is set aside."""
        for source, _ in self._lanes:
            self.ended(source)
        emitted, asides = self.due(places, keys)
        asides += [Aside(event, UNRELATED) for event in self._waiting]
        self._waiting = []
        return emitted, asides

    @property
    def unbounded(self) -> str | None:
        """A clock whose first waiting event cannot be written because nobody knows how late it was; None: none."""
        return self._first.event.clock if self._first is not None and self._first.latest_ns is None else None

    def _accept(self, lane: _Lane, event: LiveEvent) -> None:
        lane.newest_ns = event.raw_ns if lane.newest_ns is None else max(lane.newest_ns, event.raw_ns)
        self._waiting.append(event)

    def _confirm(self, places: Places) -> None:
        """
        A stamp that is ahead of its own lane counts if another lane is about as far; and if no further line comes, also
        where there is no other lane.
        """
        shown = {
            key: self._estimate(places, key[1], lane.newest_ns)
            for key, lane in self._lanes.items()
            if key[1] is not None and lane.newest_ns is not None
        }
        for key, lane in self._lanes.items():
            held = lane.unconfirmed
            if held is None:
                continue
            own = self._estimate(places, held.clock, held.raw_ns)
            others = [value for other, value in shown.items() if other != key and value is not None]
            if own is not None and others and own <= max(others) + self._future_ns:
                lane.unconfirmed = None
                self._accept(lane, held)
            elif lane.is_silent or key[0] in self._ended:
                lane.unconfirmed = None
                if own is not None and others:
                    self._asides.append(Aside(held, FUTURE))
                else:
                    self._accept(lane, held)

    def _estimate(self, places: Places, clock: str | None, reading_ns: int | None) -> int | None:
        found = None if clock is None else places(clock, np.array([reading_ns], dtype=np.int64))
        return None if found is None or int(found[1][0]) == UNKNOWN_ESTIMATE else int(found[1][0])

    def _mark(self, places: Places) -> tuple[int | None, list[tuple[str, str | None]]]:
        """
        No event still to come is before it; None: none comes. And the lanes that it rests at.
        """
        earliest: dict[tuple[str, str | None], int] = {}
        for key in self.lanes:
            source, clock = key
            newest_ns = self._lanes[source, clock].newest_ns
            found = None if clock is None or newest_ns is None else places(clock, np.array([newest_ns], dtype=np.int64))
            earliest[key] = UNKNOWN_EARLIEST if found is None else int(found[0][0])
        if not earliest:
            return None, []
        mark = min(earliest.values())
        return mark, [key for key, value in earliest.items() if value == mark]

    def _placed(self, places: Places, keys: Keys) -> tuple[list[Emitted], list[LiveEvent]]:
        """Those that wait, as far as their clocks are placed; and the others."""
        groups: dict[tuple[str, str], list[LiveEvent]] = {}
        for event in self._waiting:
            groups.setdefault((event.clock, event.source), []).append(event)
        without = tuple(
            sorted({key[0] for key, lane in self._lanes.items() if lane.is_silent and key[0] not in self._ended})
        )
        placed: list[Emitted] = []
        left: list[LiveEvent] = []
        for (clock, source), events in groups.items():
            raw = np.array([event.raw_ns for event in events], dtype=np.int64)
            means = np.array([event.means_ns for event in events], dtype=np.int64)
            first, last = places(clock, raw), places(clock, raw + means)
            if first is None or last is None:
                left += events
                continue
            lines = np.array([event.line for event in events], dtype=np.int64)
            key, level = keys(clock, source, first[1], raw, lines)
            levels = [0] * len(events) if level is None else level.tolist()
            columns = (first[0].tolist(), first[1].tolist(), last[2].tolist(), key.tolist(), levels)
            for event, earliest, estimate, latest, at, rank in zip(events, *columns, strict=True):
                if estimate == UNKNOWN_ESTIMATE:
                    left.append(event)
                    continue
                sides = None if earliest == UNKNOWN_EARLIEST else earliest, None if latest == UNKNOWN_LATEST else latest
                order = (at, rank, event.raw_ns, event.source, event.line)
                placed.append(Emitted(event, sides[0], estimate, sides[1], without, order))
        return placed, left

    def _is_late(self, each: Emitted) -> bool:
        event = each.event
        out_ns = self._emitted_earliest_ns
        if out_ns is not None and each.latest_ns is not None and each.latest_ns < out_ns:
            return True
        raw_ns = self._emitted_raw_ns.get(event.clock)
        return raw_ns is not None and event.raw_ns + max(event.means_ns, 1) <= raw_ns

    def _note(self, each: Emitted) -> None:
        clock = each.event.clock
        self._emitted_raw_ns[clock] = max(self._emitted_raw_ns.get(clock, each.event.raw_ns), each.event.raw_ns)
        if each.earliest_ns is not None:
            out_ns = self._emitted_earliest_ns
            self._emitted_earliest_ns = each.earliest_ns if out_ns is None else max(out_ns, each.earliest_ns)
