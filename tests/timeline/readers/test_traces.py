"""Traces, telemetry, vector clocks and runs: what becomes one event, by which clock, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coeval.errors import RecordingWarning, WrongTable
from coeval.timeline import open_run
from coeval.timeline.readers._reader import NO_READING, SourceSettings
from coeval.timeline.readers._registry import reader_named
from coeval.timeline.readers._run import is_run
from tests.timeline.readers.reading import Read

RUN = Path(__file__).parent.parent.parent / "data" / "run-v1"
BASE_NS = 1_793_923_200_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.json"


def trace(path: Path, *records: dict[str, Any], **more: Any) -> Read:
    path.write_text(json.dumps({"traceEvents": [{"pid": 1, "tid": 2, **record} for record in records], **more}))
    return Read("chrome", path)


def ends(read: Read) -> list[int]:
    return [end for batch in read.batches if batch.end_raw_ns is not None for end in batch.end_raw_ns.tolist()]


def test_begins_and_ends_are_matched_within_their_thread(path: Path) -> None:
    read = trace(
        path,
        {"ph": "B", "ts": 1, "name": "outer", "args": {"a": 1}},
        {"ph": "B", "ts": 1, "name": "elsewhere", "tid": 3},
        {"ph": "B", "ts": 2, "name": "inner"},
        {"ph": "E", "ts": 3.5},
        {"ph": "E", "ts": 9, "args": {"b": 2}},
        {"ph": "E", "ts": 7, "tid": 3},
    )
    assert list(zip(read.column("name"), read.raw_ns, ends(read), strict=True)) == [
        ("inner", 2000, 3500),
        ("outer", 1000, 9000),
        ("elsewhere", 1000, 7000),
    ]
    assert read.column("args")[1] == '{"a": 1, "b": 2}'


def test_span_that_does_not_end_is_an_event_without_an_end_and_counted(path: Path) -> None:
    read = trace(path, {"ph": "B", "ts": 1, "name": "open"}, {"ph": "E", "ts": 2, "tid": 9})
    assert read.column("name") == ["open"]
    assert read.problems == ["source: 1 spans begin and do not end."]
    assert [row.reason for row in read.aside] == ["ends a span that did not begin"]


def test_duration_beyond_all_times_costs_its_record_only(path: Path) -> None:
    spans = [{"ph": "X", "ts": 1, "dur": dur, "name": "a"} for dur in (2, 10**17, -(10**17), 3)]
    read = trace(path, *spans)
    assert read.raw_ns == [1000, 1000]
    assert [(row.number, row.reason) for row in read.aside] == [(2, "its dur is no time"), (3, "its dur is no time")]


def test_whole_number_that_is_none_stays_as_it_is_written(path: Path) -> None:
    entry = '{"timeUnixNano": "%d", "body": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": 1e999}}]}}}'
    path.write_text('{"resourceLogs": [{"scopeLogs": [{"logRecords": [' + entry % BASE_NS + "]}]}]}\n")
    read = Read("otlp", path)
    assert read.raw_ns == [BASE_NS]
    assert read.column("body") == ['{"a": Infinity}']


def test_instants_flows_counters_and_names_are_told_apart(path: Path) -> None:
    read = trace(
        path,
        {"ph": "i", "ts": 1, "name": "mark"},
        {"ph": "s", "ts": 2, "name": "send", "id": 7},
        {"ph": "f", "ts": 3, "name": "send", "id": 7},
        {"ph": "C", "ts": 4, "name": "memory", "args": {"bytes": 5}},
        {"ph": "M", "name": "process_name", "args": {"name": "worker"}},
    )
    assert read.column("kind") == ["instant", "flow start", "flow end", "counter"]
    assert read.column("id") == [None, "7", "7", None]
    assert set(read.column("process")) == {"worker"}


@pytest.mark.parametrize(
    "more", [{"baseTimeNanoseconds": BASE_NS}, {"viztracer_metadata": {"baseTimeNanoseconds": BASE_NS}}]
)
def test_base_time_may_stand_behind_the_events(path: Path, more: dict[str, Any]) -> None:
    assert trace(path, {"ph": "X", "ts": 12.5, "dur": 1, "name": "f"}, **more).raw_ns == [BASE_NS + 12_500]


def test_several_base_times_are_refused(path: Path) -> None:
    with pytest.raises(WrongTable, match="several base times"):
        trace(path, {"ph": "i", "ts": 1}, baseTimeNanoseconds=1, base_time=2)


def test_microseconds_since_1970_as_doubles_hold_what_they_were_rounded_from(path: Path) -> None:
    truth_ns = BASE_NS + 123_456_789
    read = trace(path, {"ph": "i", "ts": truth_ns / 1000, "name": "mark"})
    [batch] = read.batches
    assert batch.raw_ns[0] <= truth_ns < batch.raw_ns[0] + batch.resolution_ns


def test_halves_of_characters_are_written_out(path: Path) -> None:
    read = trace(path, {"ph": "i", "ts": 1, "name": "leaf \ud800", "cat": "c"})
    assert read.column("name") == ["leaf \\ud800"] and read.column("category") == ["c"]
    span = {"name": "leaf \ud800", "startTimeUnixNano": str(BASE_NS + 1)}
    resource = {"attributes": [{"key": "host.name", "value": {"stringValue": "h\udfff"}}]}
    path.write_text(json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}) + "\n")
    read = Read("otlp", path)
    assert read.column("name") == ["leaf \\ud800"] and read.clocks == ["h\\udfff"]


def test_array_without_its_end_is_whole(path: Path) -> None:
    path.write_text('[{"ph": "i", "ts": 1, "name": "a"},\n{"ph": "i", "ts": 2, "name": "b"},\n')
    read = Read("chrome", path)
    assert read.raw_ns == [1000, 2000]
    assert not read.problems


def test_record_that_is_no_json_costs_itself_only_also_where_all_are_on_one_line(path: Path) -> None:
    path.write_text('{"traceEvents": [{"ph": "i", "ts": 1}, {"ph": "i", "ts": 2 "x"}, {"ph": "i", "ts": 3}]}')
    read = Read("chrome", path)
    assert read.raw_ns == [1000, 3000]
    assert [(row.number, row.reason) for row in read.aside] == [(2, "is no JSON")]


def test_many_spans_in_one_line_are_events_of_that_line(path: Path) -> None:
    spans = [
        {"name": f"s{n}", "startTimeUnixNano": str(BASE_NS + n), "endTimeUnixNano": str(BASE_NS + n + 5)}
        for n in range(3)
    ]
    spans[0]["events"] = [{"name": "retry", "timeUnixNano": str(BASE_NS + 1)}]  # type: ignore[assignment]
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}) + "\n")
    read = Read("otlp", path)
    assert sorted(read.column("name")) == ["retry", "s0", "s1", "s2"]
    assert {int(line) for batch in read.batches for line in batch.lines} == {0}
    assert ends(read).count(NO_READING) == 1


def test_document_of_many_lines_is_read_as_one(path: Path) -> None:
    span = {"name": "s", "startTimeUnixNano": str(BASE_NS + 1)}
    path.write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}, indent=2))
    assert Read("otlp", path, size=10).raw_ns == [BASE_NS + 1]


@pytest.mark.parametrize(
    ("attributes", "clock"),
    [
        ({"host.id": "i", "host.name": "n", "service.name": "s"}, "i"),
        ({"host.name": "n", "service.instance.id": "x", "service.name": "s"}, "n"),
        ({"service.instance.id": "x", "service.name": "s"}, "x"),
        ({"service.name": "s"}, "s"),
        ({}, None),
    ],
)
def test_clock_of_telemetry_is_the_hosts_as_far_as_it_is_named(
    path: Path, attributes: dict[str, str], clock: str | None
) -> None:
    listed = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    record = {"timeUnixNano": str(BASE_NS + 1)}
    resource = {"resource": {"attributes": listed}, "scopeLogs": [{"logRecords": [record]}]}
    path.write_text(json.dumps({"resourceLogs": [resource]}))
    assert Read("otlp", path).clocks == [clock]
    assert Read("otlp", path, SourceSettings(clock="mine")).clocks == [None]


def test_vector_clocks_without_stamps_count_the_hosts_own_events(path: Path) -> None:
    path.write_text('web {"web": 1}\nstart\ndb {"db": 10, "web": 1}\nreceive\n')
    read = Read("shiviz", path)
    assert read.raw_ns == [1, 10]
    assert read.clocks == ["web/logical", "db/logical"]
    assert read.resolutions == {0}
    assert read.column("event") == ["start", "receive"]
    assert json.loads(read.column("vector_clock")[1]) == {"db": 10, "web": 1}


def test_text_may_stand_before_its_vector_clock(path: Path) -> None:
    path.write_text('start\nweb {"web": 1}\nreceive\ndb {"db": 1, "web": 1}\n')
    assert Read("shiviz", path).column("event") == ["start", "receive"]


def test_executions_have_clocks_of_their_own(path: Path) -> None:
    path.write_text('=== one ===\nweb {"web": 1} a\n=== two ===\nweb {"web": 1} b\n')
    assert Read("shiviz", path).clocks == ["one: web/logical", "two: web/logical"]


def test_run_gives_each_event_of_its_timeline_with_its_raw_stamp() -> None:
    with pytest.warns(RecordingWarning, match="12 rows"):
        timeline = open_run(RUN)
    read = Read("run", RUN)
    own = sorted((event.piece[0] if event.piece else event.begin_stamp).reading_ns for event in timeline.events)
    assert sorted(read.raw_ns) == own
    assert {str(event.begin_stamp.clock) for event in timeline.events} == set(read.clocks)
    assert is_run(str(RUN))


def test_stamp_that_calls_share_is_as_wide_as_what_they_shared() -> None:
    for batch in Read("run", RUN).batches:
        shared = [count > 1 for count in batch.payload.column("shared_by").to_pylist()]
        kinds = batch.payload.column("kind").to_pylist()
        for is_shared, kind in zip(shared, kinds, strict=True):
            assert (batch.resolution_ns > 0) == (is_shared and kind in ("started", "finished"))


def test_run_brings_its_own_evidence() -> None:
    reader = reader_named("run")
    [part] = reader.parts("run", str(RUN), SourceSettings(), 1)
    messages, anchors = reader.evidence(part)
    assert len(messages) > 0
    assert {str(clock) for clock in messages.clocks} <= set(Read("run", RUN).clocks)
    assert all(anchor.earliest_ns <= anchor.latest_ns for anchor in anchors)
