"""
OTLP in JSON: what OpenTelemetry's file exporters write, an object with spans or log records in each line.

| event | from | begin, end |
|---|---|---|
| span | resourceSpans | startTimeUnixNano, endTimeUnixNano |
| span event | the events of a span | timeUnixNano |
| log | resourceLogs | timeUnixNano, else observedTimeUnixNano |

The clock is the host's, as far as the resource names it. Ids stay hexadecimal. Metrics are no events.

Source: the OTLP specification's JSON encoding, and the OTLP file exporter's.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.timeline.readers._blocks import Block, blocks, byte_parts, shown, text_lines
from coeval.timeline.readers._input import Head, head_of, open_input
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._record_columns import RecordColumns
from coeval.timeline.readers._set_aside import SetAsideRow

_KEYS = (b'"resourceSpans"', b'"resourceLogs"', b'"resourceMetrics"')
_CLOCKS = ("host.id", "host.name", "service.instance.id", "service.name")
_LINES_LOOKED_AT = 50
_SPAN_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_READING_NS_MAX = 2**62

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("name", pa.string()),
        ("trace_id", pa.string()),
        ("span_id", pa.string()),
        ("parent_span_id", pa.string()),
        ("span_kind", pa.string()),
        ("status", pa.string()),
        ("status_message", pa.string()),
        ("attributes", pa.string()),
        ("links", pa.string()),
        ("body", pa.string()),
        ("severity", pa.string()),
        ("service", pa.string()),
        ("scope", pa.string()),
        ("resource", pa.string()),
    ]
)


class OtlpReader:
    """Spans, their events, and log records."""

    name = "otlp"

    def match(self, head: Head) -> float:
        text = head.data.removeprefix(b"\xef\xbb\xbf").lstrip()
        return 0.95 if text.startswith(b"{") and any(text[1:200].lstrip().startswith(key) for key in _KEYS) else 0.0

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        if _is_one_document(head_of(path)):
            return [Part(source, path, self.name, settings)]
        return byte_parts(source, path, self.name, settings, size)

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        telemetry = _Telemetry(part, tally, wanted)
        if part.start == 0 and part.stop is None and _is_one_document(head_of(part.path)):
            yield from telemetry.of_document()
        else:
            for block in blocks(part, tally):
                yield from telemetry.of_block(block)
        yield from telemetry.columns.rest()

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        return Messages.of(()), ()


class _Telemetry:
    """Events out of lines."""

    def __init__(self, part: Part, tally: Tally, wanted: Collection[str] | None) -> None:
        self._part = part
        self._tally = tally
        self.columns = RecordColumns(SCHEMA, part, wanted)

    def of_document(self) -> Iterator[EventBatch]:
        """A file that is one object over many lines."""
        with closing(open_input(self._part.path)) as file:
            data = file.read()
        self._tally.lines += data.count(b"\n") + (not data.endswith(b"\n"))
        yield from self._of_line(0, data)

    def of_block(self, block: Block) -> Iterator[EventBatch]:
        lines, numbers, not_text = text_lines(block)
        for number, line in not_text:
            self._set_aside(number, "is not UTF-8", line)
        for number, line in zip(numbers.tolist(), lines, strict=True):
            yield from self._of_line(number, line.as_py().encode())

    def _of_line(self, number: int, line: bytes) -> Iterator[EventBatch]:
        try:
            made = json.loads(line)
        except (ValueError, RecursionError):
            self._set_aside(number, "is no JSON", line)
            return
        if not isinstance(made, dict) or not any(key.strip(b'"').decode() in made for key in _KEYS):
            self._set_aside(number, "is no OTLP: it has neither resourceSpans nor resourceLogs", line)
            return
        if "resourceMetrics" in made:
            self._set_aside(number, "holds metrics, which are no events", line)
        for resource in _dicts(made.get("resourceSpans")):
            said = _Said(resource.get("resource"))
            for scope in _dicts(resource.get("scopeSpans") or resource.get("instrumentationLibrarySpans")):
                for span in _dicts(scope.get("spans")):
                    self._span(number, span, said, _scope_name(scope))
                    yield from self.columns.full()
        for resource in _dicts(made.get("resourceLogs")):
            said = _Said(resource.get("resource"))
            for scope in _dicts(resource.get("scopeLogs") or resource.get("instrumentationLibraryLogs")):
                for record in _dicts(scope.get("logRecords")):
                    self._log(number, record, said, _scope_name(scope))
                    yield from self.columns.full()

    def _span(self, number: int, span: Mapping[str, Any], said: _Said, scope: str | None) -> None:
        begin, end = _nanos(span.get("startTimeUnixNano")), _nanos(span.get("endTimeUnixNano"))
        ids = (_id(span.get("traceId")), _id(span.get("spanId")))
        if begin is None:
            self._set_aside(number, "is a span whose startTimeUnixNano is no time", json.dumps(span).encode())
        else:
            status = span.get("status")
            status = status if isinstance(status, dict) else {}
            self._tally.read += 1
            row = (
                "span",
                _text(span.get("name")),
                *ids,
                _id(span.get("parentSpanId")),
                _named(span.get("kind"), _SPAN_KINDS, "SPAN_KIND_"),
                _named(status.get("code", 0), _STATUSES, "STATUS_CODE_"),
                _text(status.get("message")),
                _attributes(span.get("attributes")),
                json.dumps(span["links"]) if span.get("links") else None,
                None,
                None,
                said.service,
                scope,
                said.resource,
            )
            self.columns.add(number, begin, end, said.clock, row)
        for event in _dicts(span.get("events")):
            at = _nanos(event.get("timeUnixNano"))
            if at is None:
                self._set_aside(number, "is a span event whose timeUnixNano is no time", json.dumps(event).encode())
                continue
            self._tally.read += 1
            attributes = _attributes(event.get("attributes"))
            name = _text(event.get("name"))
            known = ("span event", name, *ids, None, None, None, None, attributes, None, None, None)
            self.columns.add(number, at, None, said.clock, (*known, said.service, scope, said.resource))

    def _log(self, number: int, record: Mapping[str, Any], said: _Said, scope: str | None) -> None:
        at = _nanos(record.get("timeUnixNano"))
        if at is None:
            at = _nanos(record.get("observedTimeUnixNano"))
        if at is None:
            reason = "is a log record with neither timeUnixNano nor observedTimeUnixNano"
            self._set_aside(number, reason, json.dumps(record).encode())
            return
        self._tally.read += 1
        body = _value(record.get("body"))
        severity = _text(record.get("severityText")) or _text(record.get("severityNumber"))
        row = (
            "log",
            _text(record.get("eventName")),
            _id(record.get("traceId")),
            _id(record.get("spanId")),
            None,
            None,
            None,
            None,
            _attributes(record.get("attributes")),
            None,
            body if body is None or isinstance(body, str) else json.dumps(body),
            severity,
            said.service,
            scope,
            said.resource,
        )
        self.columns.add(number, at, None, said.clock, row)

    def _set_aside(self, number: int, reason: str, text: bytes) -> None:
        self._tally.read += 1
        self._tally.aside.add(SetAsideRow(self._part.source, "line", number + 1, reason, shown(text)))


class _Said:
    """What a resource says of itself."""

    def __init__(self, resource: object) -> None:
        listed = resource.get("attributes") if isinstance(resource, dict) else None
        values = {str(entry.get("key")): _value(entry.get("value")) for entry in _dicts(listed)}
        self.resource = json.dumps(values) if values else None
        self.service = _text(values.get("service.name"))
        self.clock = next((_text(values[name]) for name in _CLOCKS if values.get(name) not in (None, "")), None)


def _is_one_document(head: Head) -> bool:
    """Whether an object goes over many lines. Where single lines are objects it does not, whatever stands in others."""
    lines = head.data.removeprefix(b"\xef\xbb\xbf").split(b"\n", _LINES_LOOKED_AT)
    if len(lines) < 2:
        return False
    return not any(map(_is_telemetry, lines))


def _is_telemetry(line: bytes) -> bool:
    if not any(key in line for key in _KEYS):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _dicts(values: object) -> Iterator[dict[str, Any]]:
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else iter(())


def _nanos(value: object) -> int | None:
    """A time; 0 stands for none."""
    try:
        made = int(value) if isinstance(value, (int, str)) else 0
    except ValueError:
        return None
    return made if 0 < made <= _READING_NS_MAX else None


def _id(value: object) -> str | None:
    return value.lower() if isinstance(value, str) and value else None


def _text(value: object) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value)


def _named(value: object, names: Sequence[str], prefix: str) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return names[value] if 0 <= value < len(names) else str(value)
    return value.removeprefix(prefix).lower() if isinstance(value, str) else None


def _scope_name(scope: Mapping[str, Any]) -> str | None:
    named = scope.get("scope") or scope.get("instrumentationLibrary")
    return _text(named.get("name")) if isinstance(named, dict) else None


def _attributes(values: object) -> str | None:
    made = {str(entry.get("key")): _value(entry.get("value")) for entry in _dicts(values)}
    return json.dumps(made) if made else None


def _value(value: object) -> Any:
    """An AnyValue as plain JSON; whole numbers come as text, since JavaScript has none of 64 bits."""
    if not isinstance(value, dict):
        return value
    for kind, found in value.items():
        if kind == "intValue":
            try:
                return int(found)
            except (TypeError, ValueError, OverflowError):
                return found
        if kind == "arrayValue":
            return [_value(entry) for entry in _dicts(found.get("values"))] if isinstance(found, dict) else found
        if kind == "kvlistValue":
            listed = found.get("values") if isinstance(found, dict) else None
            return {str(entry.get("key")): _value(entry.get("value")) for entry in _dicts(listed)}
        return found
    return None
