"""What the writers make of a timeline that no run left: text, JSON lines, CSV, OTLP, a Perfetto trace."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from coeval.timeline import Timeline
from coeval.timeline.writers import Written, write_csv, write_jsonl, write_otlp, write_perfetto, write_text
from tests.timeline.tables import ROWS, T0, event, table, timeline


def test_text_has_a_time_its_bound_and_its_source_for_each_event_and_all_lines_of_it() -> None:
    file = io.StringIO()
    assert write_text(timeline(), file, ZoneInfo("Europe/Berlin")) == 6
    assert file.getvalue().splitlines() == [
        "2026-11-06 22:20:00.000000+01:00 ±0       web.log       GET /cart (9.00 µs)",
        "2026-11-06 22:20:00.000002+01:00 ±3.0 µs  db.log        SELECT cart (3.00 µs)",
        "2026-11-06 22:20:00.000004+01:00 ±0       web.log       cache miss",
        "2026-11-06 22:20:00.000008+01:00 ±3.0 µs  db.log        vacuum",
        "    of cart",
        "2026-11-06 22:20:00.000020+01:00 ±0       web.log       GET /pay",
        "unknown ±unknown db.log        never related",
    ]


def test_json_lines_hold_every_column_with_exact_integers_and_null_for_what_is_unknown() -> None:
    file = io.StringIO()
    assert write_jsonl(timeline(), file) == 6
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    for line, row in zip(lines, ROWS, strict=True):
        expected = {key: value for key, value in row.items() if key != "time"}
        assert line == {**expected, "ratio": None if expected["ratio"] != 0.5 else 0.5}


def test_csv_is_read_back_as_it_was(tmp_path: Path) -> None:
    with open(tmp_path / "all.csv", "wb") as file:
        assert write_csv(timeline(), file) == 6
    with open(tmp_path / "all.csv", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["text"] for row in rows] == [row["text"] for row in ROWS]
    assert [row["estimate_ns"] for row in rows] == [str(row["estimate_ns"] or "") for row in ROWS]
    assert [row["clock"] for row in rows] == [row["clock"] for row in ROWS]


def records(text: str, what: str, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """The resource and each record of one kind, of all lines."""
    return [
        (resource["resource"]["attributes"][0]["value"]["stringValue"], record)
        for line in text.splitlines()
        for resource in json.loads(line).get(f"resource{what}", [])
        for scope in resource[f"scope{what}"]
        for record in scope[kind]
    ]


def test_otlp_has_a_span_for_what_ended_and_a_log_record_for_the_rest() -> None:
    file = io.StringIO()
    assert write_otlp(timeline(), file) == (2, 3, 1)
    spans = records(file.getvalue(), "Spans", "spans")
    assert [(host, span["spanId"], span.get("parentSpanId")) for host, span in spans] == [
        ("web", "01", None),
        ("db", "02", "01"),
    ]
    span = spans[1][1]
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == (str(T0 + 2_000), str(T0 + 5_000))
    facts = {pair["key"]: pair["value"] for pair in span["attributes"]}
    assert facts["coeval.earliest_ns"] == {"intValue": str(T0 - 1_000)}
    assert facts["coeval.raw_ns"] == {"intValue": str(T0 + 9_000)}
    logs = records(file.getvalue(), "Logs", "logRecords")
    assert sorted(log["body"]["stringValue"] for _, log in logs) == ["GET /pay", "cache miss", "vacuum\nof cart"]


def trace(timeline: Timeline) -> tuple[list[dict[str, Any]], Written]:
    file = io.StringIO()
    written = write_perfetto(timeline, file)
    return json.loads(file.getvalue())["traceEvents"], written


def test_a_trace_has_a_process_for_each_clock_and_an_arrow_from_a_span_to_its_child() -> None:
    events, written = trace(timeline())
    assert written == (5, 1)
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert sorted(names.values()) == ["db", "web"]
    slices = {e["name"]: e for e in events if e["ph"] == "X"}
    assert {name: (names[e["pid"]], e["ts"], e["dur"]) for name, e in slices.items()} == {
        "GET /cart": ("web", 0, 9),
        "SELECT cart": ("db", 2, 3),
    }
    start, end = [e for e in events if e["ph"] in "sf"]
    assert (start["ph"], start["pid"], start["ts"]) == ("s", slices["GET /cart"]["pid"], 0)
    assert (end["ph"], end["pid"], end["ts"]) == ("f", slices["SELECT cart"]["pid"], 2)
    assert sum(e["ph"] == "i" for e in events) == 3


def test_slices_of_one_thread_lie_inside_each_other_or_apart() -> None:
    spans = [(0, 10), (2, 8), (5, 12), (11, 13), (12, 20), (12, 15)]
    rows = [event("web", begin, 0, f"{begin}-{end}", 1, end_ns=end) for begin, end in spans]
    events, _ = trace(Timeline(table(rows)))
    threads: dict[int, list[tuple[float, float]]] = {}
    for slice_ in (e for e in events if e["ph"] == "X"):
        threads.setdefault(slice_["tid"], []).append((slice_["ts"], slice_["ts"] + slice_["dur"]))
    assert sum(map(len, threads.values())) == len(spans) and len(threads) == 2
    for thread in threads.values():
        for begin, end in thread:
            for other_begin, other_end in thread:
                assert end <= other_begin or other_end <= begin or (begin - other_begin) * (end - other_end) <= 0


def test_instants_that_share_a_cut_stamp_are_laid_a_nanosecond_apart_in_their_order_within_its_resolution() -> None:
    cut = [event("web", 0, 0, f"cut {n}", n, resolution_ns=3) for n in range(5)]
    exact = [event("web", 100, 0, f"exact {n}", n) for n in range(2)]
    other = [event("db", 0, 0, "other", 1, resolution_ns=3)]
    events, _ = trace(Timeline(table([*cut, *other, *exact])))
    at = {e["name"]: round(e["ts"] * 1000) for e in events if e["ph"] == "i"}
    assert at == {f"cut {n}": min(n, 2) for n in range(5)} | {"other": 0, "exact 0": 100, "exact 1": 100}


def test_no_thread_has_the_number_of_a_process_for_then_it_is_shown_as_its_main_one() -> None:
    events, _ = trace(timeline())
    threads = {e["tid"] for e in events if e["name"] == "thread_name"}
    assert len(threads) == 2 and not threads & {e["pid"] for e in events}
