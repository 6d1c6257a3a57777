from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coeval.recording import Recording
from coeval.recording._rows import (
    ClockRow,
    EventRow,
    ExecutorRow,
    FailureRow,
    FunctionRow,
    OutcomeRow,
    ProcessRow,
    Row,
    SentRow,
)
from coeval.timeline import RunTimeline

BEGIN: list[Row] = [
    ProcessRow(0, "driver", "home", 1, "A", "3.11"),
    ProcessRow(1, "worker", "home", 2, "A", "3.11", 0),
    ExecutorRow(0, "x", 1),
    FunctionRow(0, 0, "m:f", ""),
]


def timeline_of(*rows: Row) -> RunTimeline:
    return RunTimeline.of(Recording([*BEGIN, *rows]))


def test_a_failure_stands_after_the_end_of_its_call_with_all_that_is_known_of_it() -> None:
    timeline = timeline_of(
        SentRow(0, 0, 1, 0, [5], 10, ["january"]),
        OutcomeRow(0, 0, 0, 1, "raised", 1, 10, 20, 30, 40),
        FailureRow(0, 0, 0, "raised", "ValueError", "no", "(int)", True),
    )
    kinds = [event.kind for event in timeline.events]
    assert kinds == [
        *("handed over", "worker first seen", "started", "finished", "failure", "worker last seen", "seen"),
    ]
    failure = next(event for event in timeline.events if event.kind == "failure")
    assert failure.fields == {
        "kind": "raised",
        "type": "ValueError",
        "message": "no",
        "arguments": "(int)",
        "final": True,
    }
    assert (failure.name, failure.label, failure.call, failure.begin_stamp.reading_ns) == ("m:f", "january", 5, 30)


def test_a_failure_of_a_worker_that_died_is_dated_by_when_the_driver_saw_it() -> None:
    timeline = timeline_of(
        SentRow(0, 0, 1, 0, [0], 10),
        OutcomeRow(0, 0, 0, 1, "died", 1, 10, 20, 0, 40),
        FailureRow(0, 0, 0, "died", "", "gone", "", True),
    )
    last = timeline.events[-1]
    assert (last.kind, last.begin_stamp.reading_ns, last.pid) == ("failure", 40, 1)
    assert timeline.events.counts() == {
        "handed over": 1,
        "started": 1,
        "seen": 1,
        "failure": 1,
        "worker first seen": 1,
        "worker last seen": 1,
    }


def test_what_happened_outside_of_any_call_belongs_to_none() -> None:
    (event,) = timeline_of(EventRow(0, -1, -1, -1, "mark", 15, None, "begin", {"a": 1})).events
    assert (event.kind, event.name, dict(event.fields)) == ("mark", "begin", {"a": 1})
    assert (event.call, event.attempt, event.batch, event.item, event.executor) == (-1, 0, -1, -1, -1)
    assert (event.worker, event.pid) == (-1, 1)


def test_a_worker_is_seen_from_its_first_to_its_last_recorded_reading() -> None:
    timeline = timeline_of(
        ClockRow(1, 3, 10**18, 0, 5),
        SentRow(0, 0, 1, 0, [0], 10),
        OutcomeRow(0, 0, 0, 1, "ok", 1, 10, 20, 30, 40),
        EventRow(1, -1, -1, -1, "log", 99, None, "late", {"message": "bye"}),
    )
    seen = {event.kind: event.begin_stamp.reading_ns for event in timeline.events if event.kind.startswith("worker")}
    assert seen == {"worker first seen": 3, "worker last seen": 99}


def test_an_event_of_a_process_that_is_not_in_the_recording_is_kept_without_a_time() -> None:
    timeline = timeline_of(EventRow(44, -1, -1, -1, "mark", 15, None, "lost", {}))
    (event,) = timeline.events
    assert (event.host, event.begin.estimate_ns, event.begin_stamp.reading_ns) == ("", None, 15)


def test_events_can_be_indexed_and_sliced_like_any_sequence(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    events = RunTimeline.of(simulated([far_host("far")], call_count=3).recording).events
    assert events[-1] == events[len(events) - 1] == list(events)[-1]
    assert events[1:3] == (events[1], events[2])
    with pytest.raises(IndexError, match=f"event {len(events)} of {len(events)}"):
        events[len(events)]
