"""SQL over timelines: what is certain, what is possible, what is not known."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from coeval import open_run, open_timeline
from coeval.errors import RecordingWarning
from coeval.timeline import Timeline
from coeval.timeline._said import said
from coeval.timeline.writers import write_parquet
from tests.timeline.tables import T0, WEB, event, table, timeline

PAIRS = "select a.text, b.text, {} from timeline a, timeline b where a.line <> b.line or a.clock <> b.clock"


def test_before_answers_as_the_timeline_does() -> None:
    found = timeline()
    events = {row["text"]: row for row in found}
    answers = found.sql(PAIRS.format("before(a, b)")).fetchall()
    assert len(answers) == 30
    assert {None, True, False} == {answer for *_, answer in answers}
    for first, second, answer in answers:
        assert answer == found.before(events[first], events[second]), (first, second)


def test_before_does_not_trust_the_readings_of_a_clock_that_was_set_back() -> None:
    rows = [event("web", 0, 3_000, "a", 1), event("web", 2_000, 3_000, "b", 2)]
    found = Timeline(table(rows, set_back=(WEB,)))
    answers = found.sql(PAIRS.format("before(a, b)")).fetchall()
    assert sorted(answers, key=lambda row: row[:2]) == [("a", "b", None), ("b", "a", None)]


def test_certain_and_possible_make_two_answers_of_three() -> None:
    asked = "select certain(x), possible(x) from (values (true), (null), (false)) v(x)"
    assert timeline().sql(asked).fetchall() == [(True, True), (False, True), (False, False)]


def test_overlaps_is_certain_only_where_no_admissible_time_parts_the_two() -> None:
    rows = [
        event("web", 0, 100, "long", 1, end_ns=10_000),
        event("db", 4_000, 1_000, "inside", 1, end_ns=5_000),
        event("db", 10_500, 1_000, "at its end", 2, end_ns=12_000),
        event("db", 20_000, 1_000, "after", 3, end_ns=21_000),
    ]
    found = Timeline(table(rows))
    asked = "select b.text, overlaps(a, b) from timeline a, timeline b where a.text = 'long' and b.text <> 'long'"
    assert found.sql(f"{asked} order by 1").fetchall() == [("after", False), ("at its end", None), ("inside", True)]


def test_a_local_time_is_that_of_the_zone_asked_for() -> None:
    asked = "select at_zone(estimate_ns, 'Europe/Berlin')::varchar from timeline where text = 'GET /pay'"
    assert timeline().sql(asked).fetchall() == [("2026-11-06 22:20:00.00002",)]


@pytest.mark.parametrize("zone", ["-05:30", "UTC-05:30", "UTC-5:30", "GMT-05:30"])
def test_a_local_time_may_be_asked_for_at_an_offset(zone: str) -> None:
    asked = f"select at_zone({T0}, '{zone}') - at_zone({T0}, 'UTC')"
    assert timeline().sql(asked).fetchall() == [(timedelta(hours=-5, minutes=-30),)]


def test_a_file_and_a_table_in_memory_are_asked_together(tmp_path: Path) -> None:
    write_parquet(timeline(), tmp_path / "all.parquet")
    other = open_timeline(tmp_path / "all.parquet")
    asked = "select count(*) from timeline a join other b on a.line = b.line and a.clock = b.clock"
    assert timeline().sql(asked, other=other).fetchall() == [(6,)]


def test_what_is_no_query_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a SELECT"):
        timeline().sql("create table x (a int)")


def test_a_stamp_that_was_cut_may_come_after_an_exact_one_that_is_greater() -> None:
    second = 10**9
    rows = [
        event("web", 0, second, "cut to a second", 1, resolution_ns=second),
        event("web", 478_000_000, second, "exact within it", 2),
        event("web", second, second, "exact after it", 3),
        event("web", second, second, "the same reading", 4),
    ]
    found = Timeline(table(rows))
    events = {row["text"]: row for row in found}
    expected = {
        ("cut to a second", "exact within it"): None,
        ("exact within it", "cut to a second"): None,
        ("cut to a second", "exact after it"): True,
        ("exact after it", "cut to a second"): False,
        ("exact within it", "exact after it"): True,
        ("exact after it", "the same reading"): False,
        ("the same reading", "exact after it"): False,
    }
    answers = {(a, b): answer for a, b, answer in found.sql(PAIRS.format("before(a, b)")).fetchall()}
    for (first, second_), answer in expected.items():
        assert found.before(events[first], events[second_]) is answer, (first, second_)
        assert answers[first, second_] is answer, (first, second_)


def test_tables_with_and_without_ends_and_cut_stamps_are_asked_together() -> None:
    bare = table().drop_columns(["end_earliest_ns", "end_estimate_ns", "end_latest_ns", "resolution_ns"])
    first, second = Timeline(bare), timeline()
    asked = PAIRS.replace("timeline b", "other b")
    for answer in ("before(a, b)", "before(b, a)"):
        found = [sorted(second.sql(asked.format(answer), other=each).fetchall(), key=str) for each in (first, second)]
        assert len(found[0]) == 30 and found[0] == found[1]
    asked = "select overlaps(a, b) from timeline a, other b where a.text = 'GET /cart' and b.text = 'cache miss'"
    assert second.sql(asked, other=first).fetchall() == [(True,)]


MIXED: list[dict[str, Any]] = [
    {"clock": "a", "text": "a line of a log"},
    {"clock": "b", "text": "", "message": "of JSON", "level": "ERROR"},
    {"clock": "b", "msg": "it's also so", "tags": ["x", "y"]},
    {"clock": "c", "name": "GET /cart", "ratio": 0.5, "tags": ["x", "y z"], "ok": True, "level": "info"},
    {"clock": "c", "rows": 17, "request": "r 1"},
    {"clock": "c"},
]


def mixed(*names: str) -> Timeline:
    """Events of several sources, with these columns of their own."""
    kinds = {"rows": pa.int64(), "ratio": pa.float64(), "ok": pa.bool_(), "tags": pa.list_(pa.string())}
    made = table([event(row["clock"], 0, 0, "", line) for line, row in enumerate(MIXED)]).drop(
        ["text", "trace_id", "span_id", "parent_span_id", "ratio"]
    )
    for name in names:
        values = [row.get(name) for row in MIXED]
        made = made.append_column(name, pa.array(values, kinds.get(name, pa.string())))
    return Timeline(made)


COLUMNS = ("text", "message", "msg", "name", "ratio", "tags", "ok", "level", "rows", "request")


def test_what_an_event_says_is_found_whatever_source_it_is_from() -> None:
    expected = [
        "a line of a log",
        "of JSON",
        "it's also so",
        'GET /cart ratio=0.5 tags=["x","y z"] ok=true level=info',
        "rows=17 request=r 1",
        "",
    ]
    found = mixed(*COLUMNS)
    assert [row for (row,) in found.sql("select said(timeline) from timeline order by line").fetchall()] == expected
    assert [said(row.payload) for row in found] == expected


def test_a_line_and_a_log_record_of_a_run_are_what_was_printed_and_logged() -> None:
    with pytest.warns(RecordingWarning, match="12 rows were not kept"):
        found = open_run(Path(__file__).parent.parent / "data" / "run-v1")
    answers = found.sql("select kind, said(timeline) from timeline").fetchall()
    assert ("log", "slow\nvery") in answers
    assert [answer for _, answer in answers] == [said(event.payload) for event in found.rows()]


def test_tables_without_some_columns_say_the_same() -> None:
    tables = {"a": mixed("text", "name"), "b": mixed(*COLUMNS[1:]), "c": mixed()}
    for name, one in tables.items():
        others = {other: made for other, made in tables.items() if other != name}
        answers = one.sql("select said(x) from timeline x order by line", **others).fetchall()
        assert [sorted(row.split()) for (row,) in answers] == [sorted(said(event.payload).split()) for event in one]


def test_names_of_columns_are_no_sql() -> None:
    strange = Timeline(table().append_column('it\'s "{0}"', pa.array(["x"] * 6)).drop(["text"]))
    plain = Timeline(table().drop(["text", "ratio"]))
    answer = strange.sql("select said(timeline) from timeline where line = 2 and clock = 'web'", other=plain)
    assert answer.fetchall() == [('it\'s "{0}"=x',)]
