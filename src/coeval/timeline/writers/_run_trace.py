"""
The timeline of a run as a trace for Perfetto (and chrome://tracing).

    a track for each process: the driver, and every worker
      driver   a mark at each hand-over and at each outcome seen     ──arrow──>  start of the call on its worker
      worker   a slice for each attempt, its spans inside            ──arrow──>  the outcome seen
               marks and log records as instants

Times are corrected ones. Every slice carries its bound and its raw readings as arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from coeval.clocks import Instant
from coeval.timeline._event import CallAttempt, TimelineCall, TimelineEvent
from coeval.timeline.writers._trace_event import microseconds, trace_event

if TYPE_CHECKING:
    from coeval.timeline._run_timeline import RunTimeline

# What a moment of the driver is drawn as: arrows can only begin and end at slices.
_MOMENT_NS = 1_000

_DRIVER = 0


class RunTrace:
    """The events of the trace; `slices` and `left_out` count them while they are made."""

    def __init__(self, timeline: RunTimeline) -> None:
        self._timeline = timeline
        self._pieces: set[tuple[int, int, Instant | None]] = set()
        self.slices = 0
        self.left_out = 0
        first = [timeline.events[0].begin] if len(timeline.events) else []
        self.base_ns = next((i.estimate_ns for i in first if i.estimate_ns is not None), 0)

    def events(self) -> Iterator[str]:
        yield from self._names()
        flow = 0
        for call in self._timeline.calls:
            for attempt in call.attempts:
                yield from self._attempt(call, attempt, flow)
                flow += 2
        for event in self._timeline.events:
            if event.kind in ("mark", "span", "log", "output"):
                yield from self._event(event)

    def _names(self) -> Iterator[str]:
        for row in self._timeline.recording.processes:
            name = f"{row.role} {row.worker} on {row.host}" if row.role == "worker" else f"{row.role} on {row.host}"
            yield trace_event("M", pid=row.process, name="process_name", args={"name": f"{name}, pid {row.pid}"})
            yield trace_event("M", pid=row.process, name="process_sort_index", args={"sort_index": row.process})

    def _attempt(self, call: TimelineCall, attempt: CallAttempt, flow: int) -> Iterator[str]:
        handed_over, started, finished, seen = attempt.instants
        title = f"{call.function.rpartition(':')[2]} {call.label}".strip()
        if attempt.shared_by > 1:  # short calls that travelled together have one slice
            piece = (call.executor, attempt.batch, started)
            if piece in self._pieces:
                return
            self._pieces.add(piece)
            title = f"{call.function.rpartition(':')[2]} x{attempt.shared_by}"
        facts = {
            "call": call.number,
            "attempt": attempt.number,
            "outcome": attempt.outcome,
            "label": call.label,
            "function": call.function,
            **{
                name: _facts(instant, stamp.reading_ns if stamp else None)
                for name, instant, stamp in zip(attempt.instants._fields, attempt.instants, attempt.stamps, strict=True)
                if instant is not None
            },
        }
        if attempt.failure is not None:
            facts["error"] = f"{attempt.failure.type_name or attempt.failure.kind}: {attempt.failure.message}"
        ran = self._slice(attempt.process, title, started, finished or seen, facts)
        if ran is None:
            self.left_out += 1
            return
        yield ran
        self.slices += 1
        begin_ns, end_ns = _estimate(started), _estimate(finished)
        if (sent_ns := _estimate(handed_over)) is not None:
            yield self._moment(f"hand over #{call.number}", sent_ns)
            yield self._arrow("s", flow, _DRIVER, sent_ns)
            yield self._arrow("f", flow, attempt.process, begin_ns)
        if (seen_ns := _estimate(seen)) is not None and end_ns is not None:
            yield self._moment(f"seen #{call.number}", seen_ns)
            # The slice's last nanosecond: an arrow binds to the slice that is there at its time.
            yield self._arrow("s", flow + 1, attempt.process, max(end_ns - 1, begin_ns or end_ns))
            yield self._arrow("f", flow + 1, _DRIVER, seen_ns)

    def _event(self, event: TimelineEvent) -> Iterator[str]:
        facts = {**event.fields, "at": _facts(event.begin, event.begin_stamp.reading_ns)}
        if event.kind == "span":
            made = self._slice(event.process, event.name, event.begin, event.end, facts)
        else:
            ns = _estimate(event.begin)
            said = event.fields.get("text" if event.kind == "output" else "message", "")
            name = event.name if event.kind == "mark" else f"{event.name}: {said}"
            made = None if ns is None else trace_event("i", self._at(ns), event.process, name=name, s="t", args=facts)
        if made is None:
            self.left_out += 1
        else:
            self.slices += 1
            yield made

    def _slice(
        self, process: int, name: str, begin: Instant | None, end: Instant | None, facts: dict[str, Any]
    ) -> str | None:
        """
        A begin and an end. Not one complete event ("X"): Perfetto takes one that has ended for the innermost until the
        next one begins, and so would tie an arrow that leaves a call to the last span in it.
        """
        begin_ns, end_ns = _estimate(begin), _estimate(end)
        if begin_ns is None or process < 0:
            return None
        begins = trace_event("B", self._at(begin_ns), process, name=name, args=facts)
        ends = trace_event("E", self._at(begin_ns if end_ns is None else end_ns), process, name=name)
        return f"{begins},\n{ends}"

    def _moment(self, name: str, ns: int) -> str:
        return trace_event("X", self._at(ns), _DRIVER, name=name, dur=microseconds(_MOMENT_NS))

    def _arrow(self, phase: str, flow: int, process: int, ns: int | None) -> str:
        assert ns is not None
        if phase == "f":  # "bp": to the slice around it, not to the next one
            return trace_event("f", self._at(ns), process, name="call", cat="call", id=flow, bp="e")
        return trace_event(phase, self._at(ns), process, name="call", cat="call", id=flow)

    def _at(self, ns: int) -> str:
        return microseconds(ns - self.base_ns)


def _estimate(instant: Instant | None) -> int | None:
    return None if instant is None else instant.estimate_ns


def _facts(instant: Instant, raw_ns: int | None) -> dict[str, int | None]:
    return {
        "earliest_ns": instant.earliest_ns,
        "estimate_ns": instant.estimate_ns,
        "latest_ns": instant.latest_ns,
        "raw_ns": raw_ns,
    }
