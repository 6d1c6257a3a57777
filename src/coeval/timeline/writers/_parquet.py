"""
A timeline as a Parquet file: a row for each event, in timeline order.

| column | type | meaning |
|---|---|---|
| time | timestamp[ns, UTC] | the estimate, for tools that want one time |
| earliest_ns, estimate_ns, latest_ns | int64 | when, on the reference; null: unknown |
| end_earliest_ns, end_estimate_ns, end_latest_ns | int64 | the end, for spans |
| raw_ns, end_raw_ns, clock | int64, int64, string | the readings as recorded, and whose they are |
| kind, name, label, host | string | what and where |
| pid, process, worker, executor, call, attempt, batch, item, shared_by | int64 | who; see `TimelineEvent` |
| fields | string | JSON |

The schema's metadata says what times count on (`coeval.reference`), in which grade, and this layout's version.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from coeval.timeline._event import TimelineEvent

if TYPE_CHECKING:
    from coeval.timeline._timeline import Timeline

LAYOUT = 1

# Small groups let a reader skip what a filter on time excludes; each costs some kilobytes of statistics.
_ROWS_IN_GROUP = 100_000


def write_parquet(timeline: Timeline, path: str | os.PathLike[str]) -> int:
    """
    Write every event of a timeline.

    Returns:
        How many rows were written: all events.
    """
    # Not at once: whoever writes another format should not wait for it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.dictionary(pa.int32(), pa.string())
    numbers = ("pid", "process", "worker", "executor", "call", "attempt", "batch", "item", "shared_by")
    schema = pa.schema(
        [
            ("time", pa.timestamp("ns", tz="UTC")),
            *((name, pa.int64()) for name in ("earliest_ns", "estimate_ns", "latest_ns")),
            *((name, pa.int64()) for name in ("end_earliest_ns", "end_estimate_ns", "end_latest_ns")),
            *((name, pa.int64()) for name in ("raw_ns", "end_raw_ns")),
            *((name, texts) for name in ("clock", "kind", "name", "label", "host")),
            *((name, pa.int64()) for name in numbers),
            ("fields", pa.string()),
        ],
        metadata={
            "coeval.layout": str(LAYOUT),
            "coeval.reference": timeline.reference,
            "coeval.reference_label": timeline.reference_label,
            "coeval.grade": "declared",
        },
    )
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for group in _groups(timeline.events):
            writer.write_table(pa.Table.from_pylist([_row(event) for event in group], schema))
            count += len(group)
    return count


def _groups(events: Iterable[TimelineEvent]) -> Iterable[list[TimelineEvent]]:
    iterator = iter(events)
    while group := list(itertools.islice(iterator, _ROWS_IN_GROUP)):
        yield group


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
