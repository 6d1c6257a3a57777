"""
The events of a table as a trace for Perfetto (and chrome://tracing).

    a process for each clock, a thread for each of its sources
      events with an end are slices, those without are instants
      a span ──arrow──> the span that names it as its parent, from begin to begin: that order is certain, ends are not

Slices of one thread must lie inside each other or apart, and spans of one source need not. What does not fit goes to
one more thread of the source.

Perfetto stacks instants of one thread that are at the same time, a row for each: a log cut to seconds would be a tower.
A stamp that was cut means any time of its resolution, so those that share one are laid a nanosecond apart, in their
order; `args` have the times as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from coeval.timeline.writers._json_value import json_value
from coeval.timeline.writers._trace_event import microseconds, trace_event

if TYPE_CHECKING:
    from coeval.timeline._timeline import TableEvent, Timeline

# What may name an event, the first that it has.
_NAMES = ("name", "message", "text", "body", "event", "kind")
_NAME_LENGTH_MAX = 200


class _Place(NamedTuple):
    process: int
    thread: int
    begin_ns: int


class TableTrace:
    """The events of the trace; `slices` and `left_out` count them while they are made."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._processes: dict[str, int] = {}
        self._threads: dict[tuple[str, str, int], int] = {}
        self._lanes: dict[tuple[str, str], list[list[int]]] = {}
        self._last_instants: dict[tuple[str, str], tuple[int, int]] = {}
        self._spans: dict[tuple[str, str], _Place] = {}
        self._children: list[tuple[tuple[str, str], _Place]] = []
        self.slices = 0
        self.left_out = 0
        first = next(timeline.rows(), None)
        self.base_ns = 0 if first is None else first.begin.estimate_ns or 0

    def events(self) -> Iterator[str]:
        """Every line of the trace."""
        for event in self._timeline.rows():
            yield from self._event(event)
        for number, (parent, child) in enumerate(self._children):
            if parent in self._spans:
                yield self._arrow("s", number, self._spans[parent])
                yield self._arrow("f", number, child)

    def _event(self, event: TableEvent) -> Iterator[str]:
        begin, end = event.begin, event.end
        if begin.estimate_ns is None:
            self.left_out += 1
            return
        self.slices += 1
        end_ns = None if end is None or end.estimate_ns is None else max(end.estimate_ns, begin.estimate_ns)
        source = str(event.row.get("source") or "")
        lane = 0 if end_ns is None else self._lane(event.stamp.clock, source, begin.estimate_ns, end_ns)
        yield from self._named(event.stamp.clock, source, lane)
        place = _Place(
            self._processes[event.stamp.clock], self._threads[event.stamp.clock, source, lane], begin.estimate_ns
        )
        facts = {name: json_value(value) for name, value in event.row.items() if name != "time" and value is not None}
        name = _name(event)
        if end_ns is None:
            at = microseconds(begin.estimate_ns - self.base_ns + self._apart(event, source, begin.estimate_ns))
            yield trace_event("i", at, place.process, tid=place.thread, name=name, s="t", args=facts)
            return
        at = microseconds(begin.estimate_ns - self.base_ns)
        length = microseconds(end_ns - begin.estimate_ns)
        yield trace_event("X", at, place.process, tid=place.thread, name=name, dur=length, args=facts)
        trace, span, parent = (str(event.row.get(key) or "") for key in ("trace_id", "span_id", "parent_span_id"))
        if span:
            self._spans.setdefault((trace, span), place)
        if parent:
            self._children.append(((trace, parent), place))

    def _lane(self, clock: str, source: str, begin_ns: int, end_ns: int) -> int:
        """The first thread of the source in which a span lies inside the innermost that is open, or after all."""
        lanes = self._lanes.setdefault((clock, source), [])
        for number, ends in enumerate(lanes):
            while ends and ends[-1] <= begin_ns:
                ends.pop()
            if not ends or end_ns <= ends[-1]:
                ends.append(end_ns)
                return number
        lanes.append([end_ns])
        return len(lanes) - 1

    def _apart(self, event: TableEvent, source: str, begin_ns: int) -> int:
        """How far behind its time an instant is shown, so that it is beside the last one of its source."""
        track = event.stamp.clock, source
        last_ns, apart_ns = self._last_instants.get(track, (begin_ns - 1, 0))
        apart_ns = min(apart_ns + 1, max(event.resolution_ns - 1, 0)) if last_ns == begin_ns else 0
        self._last_instants[track] = begin_ns, apart_ns
        return apart_ns

    def _named(self, clock: str, source: str, lane: int) -> Iterator[str]:
        """The names of a process and a thread, the first time they are needed."""
        if clock not in self._processes:
            number = self._processes[clock] = self._next_number()
            yield trace_event("M", pid=number, name="process_name", args={"name": clock})
        if (clock, source, lane) not in self._threads:
            thread = self._threads[clock, source, lane] = self._next_number()
            title = source if lane == 0 else f"{source} ({lane + 1})"
            yield trace_event("M", pid=self._processes[clock], tid=thread, name="thread_name", args={"name": title})

    def _next_number(self) -> int:
        """A thread with the number of its process would be called its main thread."""
        return len(self._processes) + len(self._threads) + 1

    def _arrow(self, phase: str, flow: int, place: _Place) -> str:
        at = microseconds(place.begin_ns - self.base_ns)
        ends: dict[str, Any] = {"bp": "e"} if phase == "f" else {}  # to the slice around it, not to the next one
        return trace_event(phase, at, place.process, tid=place.thread, name="caused", cat="span", id=flow, **ends)


def _name(event: TableEvent) -> str:
    found = next((str(event.row[name]) for name in _NAMES if event.row.get(name)), f"line {event.row.get('line')}")
    return found[:_NAME_LENGTH_MAX]
