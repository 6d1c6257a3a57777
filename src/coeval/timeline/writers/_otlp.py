"""
A timeline as OTLP JSON lines: a line of traces for events that have an end, a line of logs for the others.

Times are the estimates; the bounds and the raw reading are attributes `coeval.*` of each. Ids that the events have are
kept; a span without any gets one of its place in the timeline, so that writing twice gives the same.

Format: OpenTelemetry protocol, OTLP/JSON file exporter (one `TracesData` or `LogsData` in a line; ids in hex, times as
decimal strings).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from coeval.timeline._layout import END_INSTANT, INSTANT
from coeval.timeline.writers._json_value import json_value

if TYPE_CHECKING:
    from coeval.timeline._timeline import TableEvent, Timeline

# OTLP's numbers of the kinds of a span.
_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_OWN = (
    "name",
    "kind",
    "span_kind",
    "trace_id",
    "span_id",
    "parent_span_id",
    "text",
    "message",
    "body",
    "severity",
    "level",
)
_BODY = ("body", "message", "text", "name")
_EVENTS_IN_LINE = 1000


class WrittenOtlp(NamedTuple):
    """
    What was written.

    Attributes:
        spans, logs: how many events became which.
        left_out: those of which no time is known.
    """

    spans: int
    logs: int
    left_out: int


def write_otlp(timeline: Timeline, file: TextIO) -> WrittenOtlp:
    """
    Write the events of a table.

    Returns:
        Counts: every event is written or left out because nothing is known of its time.
    """
    spans: list[tuple[str, dict[str, Any]]] = []
    logs: list[tuple[str, dict[str, Any]]] = []
    counts = [0, 0, 0]
    for number, event in enumerate(timeline.rows()):
        if event.begin.estimate_ns is None:
            counts[2] += 1
        elif event.end is not None and event.end.estimate_ns is not None:
            counts[0] += 1
            spans.append((event.stamp.clock, _span(event, number, event.begin.estimate_ns, event.end.estimate_ns)))
        else:
            counts[1] += 1
            logs.append((event.stamp.clock, _log(event, event.begin.estimate_ns)))
        if len(spans) == _EVENTS_IN_LINE:
            _write(file, "Spans", "spans", spans)
        if len(logs) == _EVENTS_IN_LINE:
            _write(file, "Logs", "logRecords", logs)
    _write(file, "Spans", "spans", spans)
    _write(file, "Logs", "logRecords", logs)
    return WrittenOtlp(*counts)


def _write(file: TextIO, what: str, records: str, held: list[tuple[str, dict[str, Any]]]) -> None:
    """A line of what is held, a resource for each clock; nothing is held afterwards."""
    by_clock: dict[str, list[dict[str, Any]]] = {}
    for clock, record in held:
        by_clock.setdefault(clock, []).append(record)
    held.clear()
    if by_clock:
        resources = [
            {
                "resource": {"attributes": _attributes({"host.name": clock})},
                f"scope{what}": [{"scope": {"name": "coeval"}, records: found}],
            }
            for clock, found in by_clock.items()
        ]
        file.write(json.dumps({f"resource{what}": resources}, separators=(",", ":")) + "\n")


def _span(event: TableEvent, number: int, begin_ns: int, end_ns: int) -> dict[str, Any]:
    row = event.row
    span: dict[str, Any] = {
        "traceId": row.get("trace_id") or f"{number + 1:032x}",
        "spanId": row.get("span_id") or f"{number + 1:016x}",
        "name": str(_first(row, ("name", "text", "message")) or ""),
        "kind": _KINDS.get(str(row.get("span_kind") or "internal").lower().removeprefix("span_kind_"), 1),
        "startTimeUnixNano": str(begin_ns),
        # Ends are soft: corrected times of two clocks can cross, and OTLP wants an end after its begin.
        "endTimeUnixNano": str(max(begin_ns, end_ns)),
        "attributes": _facts(event, (*INSTANT, *END_INSTANT, "raw_ns", "end_raw_ns")),
    }
    if row.get("parent_span_id"):
        span["parentSpanId"] = row["parent_span_id"]
    return span


def _log(event: TableEvent, ns: int) -> dict[str, Any]:
    row = event.row
    log: dict[str, Any] = {
        "timeUnixNano": str(ns),
        "body": {"stringValue": str(_first(row, _BODY) or "")},
        "attributes": _facts(event, (*INSTANT, "raw_ns")),
    }
    if level := _first(row, ("severity", "level")):
        log["severityText"] = str(level)
    for key, name in (("traceId", "trace_id"), ("spanId", "span_id")):
        if row.get(name):
            log[key] = row[name]
    return log


def _first(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _facts(event: TableEvent, times: Iterable[str]) -> list[dict[str, Any]]:
    """What rests: the bounds, where the event is from, and its columns that have no place of their own in OTLP."""
    own = {f"coeval.{name}": event.row.get(name) for name in (*times, "source", "line")}
    rest = {name: value for name, value in event.payload.items() if name not in _OWN}
    return _attributes({**own, **rest})


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(json_value(value))} for key, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": _value(item)} for key, item in value.items()]}}
    return {"stringValue": "" if value is None else str(value)}
