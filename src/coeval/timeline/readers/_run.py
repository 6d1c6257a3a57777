"""
Runs of coeval: a run folder's events with their raw stamps, and its own evidence about its clocks.

Here a source is a folder, and its clocks have ids of their own, the same in every run of a host since it was started.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.errors import RecordingWarning
from coeval.recording import Recording
from coeval.timeline._attempts import attempts_of
from coeval.timeline._events import TimelineEvents
from coeval.timeline._evidence import Evidence, evidence_of
from coeval.timeline.readers._input import Head
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._record_columns import RecordColumns
from coeval.timeline.readers._set_aside import SetAsideRow

_DESCRIPTION = "run.json"
_NUMBERS = ("pid", "process", "worker", "executor", "call", "attempt", "batch", "item", "shared_by")

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("kind", "name", "label", "host")),
        *((name, pa.int64()) for name in _NUMBERS),
        ("fields", pa.string()),
    ]
)


def is_run(path: str) -> bool:
    """Whether a path is a run folder, which has no first bytes to be told by."""
    return (Path(path) / _DESCRIPTION).is_file()


class RunReader:
    """Everything that happened in a run, by the clocks of its processes."""

    name = "run"

    def match(self, head: Head) -> float:
        return 0.0  # a folder; see `is_run`

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        _opened(path)
        return [Part(source, path, self.name, settings)]

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        recording = _opened(part.path)
        attempts = attempts_of(recording)
        evidence = evidence_of(recording, attempts)
        tally.problems += recording.problems
        gathered = RecordColumns(SCHEMA, part, wanted, is_cut=False)
        for event in TimelineEvents(recording, attempts, evidence):
            line = tally.lines
            tally.lines += 1
            tally.read += 1
            if event.process < 0:
                reason = "happened in a process that is not recorded, so its clock is not known"
                values = {"kind": event.kind, "name": event.name, "raw_ns": str(event.begin_stamp.reading_ns)}
                tally.aside.add(SetAsideRow(part.source, "row", line + 1, reason, values))
                continue
            row = (
                event.kind,
                event.name,
                event.label,
                event.host,
                *(getattr(event, name) for name in _NUMBERS),
                json.dumps(dict(event.fields), ensure_ascii=False) if event.fields else None,
            )
            raw_ns, spread_ns = event.begin_stamp.reading_ns, 0
            if event.piece is not None:
                # Calls that were stamped together: when each began is known to lie between the two, and no better.
                raw_ns = event.piece[0].reading_ns
                spread_ns = event.piece[1].reading_ns - raw_ns + 1
            end_ns = None if event.end_stamp is None else event.end_stamp.reading_ns
            gathered.add(line, raw_ns, end_ns, str(event.begin_stamp.clock), row, spread_ns)
            yield from gathered.full()
        yield from gathered.rest()

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        found = _evidence(part.path)
        return found.messages, found.agreement.anchors


def _evidence(path: str) -> Evidence:
    recording = _opened(path)
    return evidence_of(recording, attempts_of(recording))


def _opened(path: str) -> Recording:
    with warnings.catch_warnings():
        # What is missing is said with the part's problems.
        warnings.simplefilter("ignore", RecordingWarning)
        return Recording.open(path)
