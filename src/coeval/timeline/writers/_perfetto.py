"""
A timeline as a trace for Perfetto (and chrome://tracing): Chrome's JSON trace format.

What the tracks are depends on what is shown: the calls of a run (`_run_trace`) or the events of a table
(`_table_trace`). `otherData` says what times count on, and from when: the first event is at zero.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol, TextIO

from coeval.timeline.writers._run_trace import RunTrace
from coeval.timeline.writers._table_trace import TableTrace

if TYPE_CHECKING:
    from coeval.timeline._timeline import Timeline


class Written(NamedTuple):
    """
    What a trace holds.

    Attributes:
        slices: attempts, spans, marks and log records that were written.
        left_out: those of which no time is known.
    """

    slices: int
    left_out: int


class _Trace(Protocol):
    base_ns: int
    slices: int
    left_out: int

    def events(self) -> Iterator[str]: ...


def write_perfetto(timeline: Timeline, file: TextIO) -> Written:
    """
    Write a timeline as a trace.

    Args:
        file: an open text file; what is written is one JSON object.

    Returns:
        Counts: all that the timeline has is either written or left out because nothing is known of its time.
    """
    from coeval.timeline._run_timeline import RunTimeline

    trace: _Trace = RunTrace(timeline) if isinstance(timeline, RunTimeline) else TableTrace(timeline)
    other = {
        "reference": timeline.reference_label,
        "base_ns": trace.base_ns,
        "grade": timeline.grade,
        "written_by": "coeval",
    }
    file.write('{"displayTimeUnit":"ns","otherData":' + json.dumps(other) + ',"traceEvents":[\n')
    separator = ""
    for event in trace.events():
        file.write(separator)
        file.write(event)
        separator = ",\n"
    file.write("\n]}\n")
    return Written(trace.slices, trace.left_out)
