"""
The events of a run as a table: the layout of `_layout`, and behind it the columns of a `TimelineEvent`.

| column | type | meaning |
|---|---|---|
| kind, name, label, host | string | what and where |
| pid, process, worker, executor, call, attempt, batch, item, shared_by | int64 | who; see `TimelineEvent` |
| fields | string | JSON |
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from coeval.timeline._event import TimelineEvent
from coeval.timeline._layout import END_INSTANT, INSTANT, TableClaims

SOURCE = "run"

# Made of Python objects, so a table is made in pieces.
_ROWS_IN_PIECE = 100_000


def event_schema(claims: TableClaims) -> pa.Schema:
    """The columns, and what their times rest on."""
    texts = pa.dictionary(pa.int32(), pa.string())
    numbers = ("pid", "process", "worker", "executor", "call", "attempt", "batch", "item", "shared_by")
    return pa.schema(
        [
            ("time", pa.timestamp("ns", tz="UTC")),
            *((name, pa.int64()) for name in (*INSTANT, *END_INSTANT, "raw_ns", "end_raw_ns")),
            ("clock", texts),
            ("source", texts),
            ("line", pa.int64()),
            *((name, texts) for name in ("kind", "name", "label", "host")),
            *((name, pa.int64()) for name in numbers),
            ("fields", pa.string()),
        ],
        metadata=claims.metadata(),
    )


def event_table(events: Iterable[TimelineEvent], schema: pa.Schema) -> pa.Table:
    """The events as rows, in their order."""
    pieces = [pa.Table.from_pylist([_encodable(_row(event)) for event in piece], schema) for piece in _pieces(events)]
    # Each piece has a dictionary of its own.
    return pa.concat_tables(pieces or [schema.empty_table()]).unify_dictionaries()


def _pieces(events: Iterable[TimelineEvent]) -> Iterator[list[TimelineEvent]]:
    iterator = iter(events)
    while piece := list(itertools.islice(iterator, _ROWS_IN_PIECE)):
        yield piece


def _encodable(row: dict[str, Any]) -> dict[str, Any]:
    """Names of files that are no Unicode come as surrogates, which have no UTF-8: they are written as escapes."""
    return {
        name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


def _row(event: TimelineEvent) -> dict[str, Any]:
    begin, end = event.begin, event.end
    return {
        "time": begin.estimate_ns,
        "earliest_ns": begin.earliest_ns,
        "estimate_ns": begin.estimate_ns,
        "latest_ns": begin.latest_ns,
        "end_earliest_ns": end.earliest_ns if end else None,
        "end_estimate_ns": end.estimate_ns if end else None,
        "end_latest_ns": end.latest_ns if end else None,
        "raw_ns": event.begin_stamp.reading_ns,
        "end_raw_ns": event.end_stamp.reading_ns if event.end_stamp else None,
        "clock": event.begin_stamp.clock,
        "source": SOURCE,
        "line": None,
        "kind": event.kind,
        "name": event.name,
        "label": event.label,
        "host": event.host,
        "pid": event.pid,
        "process": event.process,
        "worker": event.worker,
        "executor": event.executor,
        "call": event.call,
        "attempt": event.attempt,
        "batch": event.batch,
        "item": event.item,
        "shared_by": event.shared_by,
        "fields": json.dumps(dict(event.fields), ensure_ascii=False),
    }
