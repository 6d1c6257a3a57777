"""A timeline as JSON lines: an object for each event or call, integers in ns, null for what is unknown, stable keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from coeval.clocks import Instant, Stamp
from coeval.timeline._event import CallAttempt, Duration, TimelineCall, TimelineEvent
from coeval.timeline._timeline import TableEvent
from coeval.timeline.writers._json_value import json_value

if TYPE_CHECKING:
    from coeval.timeline._timeline import Timeline


def write_jsonl(timeline: Timeline, file: TextIO) -> int:
    """
    Write every event of a timeline, in its order, a line each; ASCII, so that no encoding matters.

    Returns:
        How many lines were written: all events.
    """
    count = 0
    for event in timeline:
        file.write(json.dumps(event_json(event), separators=(",", ":"), allow_nan=False) + "\n")
        count += 1
    return count


def event_json(event: TimelineEvent | TableEvent) -> dict[str, Any]:
    """An event as a JSON object."""
    if isinstance(event, TableEvent):
        return {name: json_value(value) for name, value in event.row.items() if name != "time"}
    return {
        "kind": event.kind,
        "name": event.name,
        "label": event.label,
        **_moment(event.begin, event.begin_stamp),
        "end": None if event.end is None or event.end_stamp is None else _moment(event.end, event.end_stamp),
        "executor": event.executor,
        "call": event.call,
        "attempt": event.attempt,
        "batch": event.batch,
        "item": event.item,
        "process": event.process,
        "worker": event.worker,
        "host": event.host,
        "pid": event.pid,
        "fields": dict(event.fields),
        "shared_by": event.shared_by,
        "reference": event.begin.reference,
        "grade": event.begin.grade,
    }


def call_json(call: TimelineCall) -> dict[str, Any]:
    """A call with its last try as a JSON object."""
    last = call.last
    instant = next((instant for instant in last.instants if instant is not None), None)
    return {
        "call": call.number,
        "executor": call.executor,
        "function": call.function,
        "label": call.label,
        "status": call.status,
        "tries": len(call.attempts),
        "attempt": last.number,
        "batch": last.batch,
        "item": last.item,
        "outcome": last.outcome,
        "process": last.process,
        "worker": last.worker,
        "host": last.host,
        "pid": last.pid,
        "shared_by": last.shared_by,
        **dict(_four(last)),
        "queued_ns": _interval(last.queued),
        "running_ns": _interval(last.running),
        "failure": None
        if last.failure is None
        else {
            "kind": last.failure.kind,
            "type": last.failure.type_name,
            "message": last.failure.message,
            "arguments": last.failure.arguments,
            "final": last.failure.is_final,
        },
        "reference": None if instant is None else instant.reference,
        "grade": None if instant is None else instant.grade,
    }


def _four(attempt: CallAttempt) -> Iterator[tuple[str, dict[str, Any] | None]]:
    for name, instant, stamp in zip(attempt.stamps._fields, attempt.instants, attempt.stamps, strict=True):
        yield name, None if instant is None or stamp is None else _moment(instant, stamp)


def _moment(instant: Instant, stamp: Stamp) -> dict[str, Any]:
    return {**instant_json(instant), "raw_ns": stamp.reading_ns, "clock": stamp.clock}


def _interval(duration: Duration | None) -> list[int | None] | None:
    return None if duration is None else [duration.least_ns, duration.greatest_ns]


def instant_json(instant: Instant | None) -> dict[str, int | None]:
    """The three numbers of an instant, ns on its reference."""
    if instant is None:
        return {"earliest_ns": None, "estimate_ns": None, "latest_ns": None}
    return {"earliest_ns": instant.earliest_ns, "estimate_ns": instant.estimate_ns, "latest_ns": instant.latest_ns}
