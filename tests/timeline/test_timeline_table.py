"""A timeline that is a table: in memory, on disk, chosen from by time, and asked which came first."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coeval import Timeline, open_run, open_timeline
from coeval.clocks import UTC, ClockId
from coeval.errors import DifferentClocks, RecordingWarning, WrongTable
from coeval.timeline.join import overlap_join, window_join
from coeval.timeline.writers import write_parquet
from tests.timeline.tables import ROWS, T0, WEB, event, table, timeline

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(params=["in memory", "on disk"])
def found(request: pytest.FixtureRequest, tmp_path: Path) -> Timeline:
    if request.param == "in memory":
        return timeline()
    write_parquet(timeline(), tmp_path / "all.parquet")
    return open_timeline(tmp_path / "all.parquet")


def texts(found: Timeline) -> list[str]:
    return [row["text"] for row in found.rows()]


def test_every_event_comes_in_order_with_instants_stamps_and_its_own_columns(found: Timeline) -> None:
    assert len(found) == 6 and (found.reference, found.reference_label, found.grade) == (UTC, "UTC", "declared")
    web, db, *_, unknown = found
    assert (web.begin.width_ns, db.begin.earliest_ns, db.begin.latest_ns) == (0, T0 - 1_000, T0 + 5_000)
    assert (db.end.estimate_ns, db.stamp.clock, db.stamp.reading_ns) == (T0 + 5_000, "db", T0 + 9_000)
    assert web.payload["text"] == web["text"] == "GET /cart" and "raw_ns" not in web.payload
    assert unknown.begin.estimate_ns is None and unknown.end is None


def test_a_written_timeline_is_read_back_the_same(tmp_path: Path) -> None:
    write_parquet(timeline(), tmp_path / "all.parquet")
    assert open_timeline(tmp_path / "all.parquet").arrow().drop_columns("ratio").equals(table().drop_columns("ratio"))


def test_data_frames_keep_integers_exact_beside_unknown_ones(found: Timeline) -> None:
    assert found.pl()["estimate_ns"].to_list() == [row["estimate_ns"] for row in ROWS]
    frame = found.df()
    assert str(frame["estimate_ns"].dtype) == "Int64" and int(frame["estimate_ns"][1]) == T0 + 2_000


def test_between_gives_what_can_have_been_within_and_certain_what_was(found: Timeline) -> None:
    since, until = T0 + 1_000, T0 + 6_000
    assert texts(found.between(since, until)) == ["SELECT cart", "cache miss", "vacuum\nof cart", "never related"]
    assert texts(found.between(since, until, certain=True)) == ["cache miss"]
    assert texts(found.between(since).between(until=until, certain=True)) == ["cache miss"]
    assert len(found.between(since, until)) == 4
    assert found.between(since, until).sql("select count(*) from timeline").fetchall() == [(4,)]


def test_between_takes_times_in_any_zone(found: Timeline) -> None:
    local = "2026-11-06T22:20:00.000004"
    for zone in ("Europe/Berlin", "+01:00"):
        assert texts(found.between(local, tz=zone, certain=True)) == ["cache miss", "vacuum\nof cart", "GET /pay"]
    assert texts(found.between("2026-11-06 21:20:00.000004Z", certain=True)) == [
        "cache miss",
        "vacuum\nof cart",
        "GET /pay",
    ]
    aware = datetime(2026, 11, 6, 22, 20, 0, 20, tzinfo=ZoneInfo("Europe/Berlin"))
    assert texts(found.between(aware, certain=True)) == ["GET /pay"]
    assert texts(found.between("2026-11-06T21:20:00.000004001Z", certain=True)) == ["vacuum\nof cart", "GET /pay"]


def test_a_local_time_that_was_there_twice_widens_the_choice() -> None:
    fold = 1792888200 * 10**9  # 2026-10-25 00:30 UTC and an hour later are both 02:30 in Berlin
    twice = Timeline(table([event("web", fold - T0 + at, 0, str(at), 1) for at in (0, 3_600 * 10**9)]))
    assert texts(twice.between("2026-10-25 02:30", "2026-10-25 02:30", tz="Europe/Berlin")) == ["0"]
    assert texts(twice.between("2026-10-25 02:30", "2026-10-25 02:31", tz="Europe/Berlin")) == [
        "0",
        str(3_600 * 10**9),
    ]


@pytest.mark.parametrize(
    ("since", "zone", "said"),
    [
        ("2026-11-06 21:20", None, "without a zone"),
        ("yesterday", None, "expected ISO 8601"),
        ("2026-03-29 02:30", "Europe/Berlin", "never was in Europe/Berlin"),
        ("2026-11-06 21:20", "Europe/Berln", "'Europe/Berln' is not known"),
        ("2026-11-06 21:20", "+16:00", "'\\+16:00' is no offset"),
    ],
)
def test_a_time_that_means_nothing_is_refused(since: str, zone: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        timeline().between(since, tz=zone)


def test_before_goes_by_one_clocks_readings_and_else_by_instants_that_do_not_overlap(found: Timeline) -> None:
    cart, select, miss, vacuum, pay, unknown = found
    assert found.before(cart, miss) is True and found.before(miss, cart) is False
    assert found.before(select, vacuum) is True  # overlapping instants of one clock
    assert found.before(select, miss) is None and found.before(select, pay) is True
    assert found.before(pay, select) is False and found.before(unknown, cart) is None


def test_readings_of_a_clock_that_was_set_back_tell_no_order() -> None:
    rows = [event("web", 0, 3_000, "a", 1), event("web", 2_000, 3_000, "b", 2)]
    honest, set_back = Timeline(table(rows)), Timeline(table(rows, set_back=(WEB,)))
    assert honest.before(*honest) is True and set_back.before(*set_back) is None


def test_a_run_is_a_timeline_too() -> None:
    with pytest.warns(RecordingWarning, match="12 rows were not kept"):
        run = open_run(DATA / "run-v1")
    rows = run.arrow().to_pylist()
    assert [row["kind"] for row in rows] == [event.kind for event in run.events]
    assert [row["raw_ns"] for row in rows] == [event.begin_stamp.reading_ns for event in run.events]
    counted = run.sql("select kind, count(*) from timeline group by kind").fetchall()
    assert sum(count for _, count in counted) == len(run)
    assert run.schema.metadata[b"coeval.reference"].decode() == run.reference


def test_a_table_that_does_not_say_what_times_count_on_is_none(tmp_path: Path) -> None:
    with pytest.raises(WrongTable, match=r"does not say what its times count on.*coeval merge"):
        Timeline(pa.table({"earliest_ns": [1]}), "x.parquet")
    pq.write_table(table(), tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WrongTable, match="is damaged"):
        open_timeline(tmp_path / "cut.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(WrongTable, match="no Parquet file"):
        open_timeline(tmp_path / "text.parquet")


def test_a_later_layout_is_refused() -> None:
    later = table().replace_schema_metadata({**table().schema.metadata, b"coeval.layout": b"99"})
    with pytest.raises(WrongTable, match="layout 99"):
        Timeline(later)


def test_timelines_of_two_references_are_not_asked_together() -> None:
    other = timeline(reference=ClockId("web"))
    with pytest.raises(DifferentClocks, match="time of clock web"):
        timeline().sql("select 1", other=other)


def test_a_notebook_shows_the_first_events_with_everything_escaped() -> None:
    shown = Timeline(table([event("web", 0, 0, "<script>", 1)]))._repr_html_()
    assert "&lt;script&gt;" in shown and "<script>" not in shown and "1 events" in shown


def test_metadata_names_clocks_that_were_set_back() -> None:
    assert json.loads(table(set_back=(WEB,)).schema.metadata[b"coeval.set_back"]) == ["web"]


def test_a_join_says_which_matches_are_certain() -> None:
    itself = timeline().join(timeline(), on="clock", within="1us", direction="nearest")
    assert itself["verdict"].to_pylist() == ["certain"] * 6 and itself["text"].equals(itself["text_right"])
    late = timeline().between(T0 + 20_000, certain=True)
    near = timeline().join(late, within="15us", direction="forward", how="inner")
    answers = dict(zip(near["text"].to_pylist(), near["verdict"].to_pylist(), strict=True))
    assert answers == {
        "SELECT cart": "possible",
        "vacuum\nof cart": "certain",
        "GET /pay": "certain",
        "never related": "possible",
    }
    with pytest.raises(ValueError, match="within 'soon' is none; expected a number and a unit"):
        timeline().join(timeline(), within="soon")


def test_spans_that_overlap_and_windows_are_joined_by_the_same_method() -> None:
    found = timeline()
    pairs = found.join(found, overlap=True)
    assert pairs.num_rows > len(found)

    def rows(joined: pa.Table) -> str:
        # As text, in which what is not a number equals itself.
        return str(joined.drop([name for name in joined.column_names if name.startswith("time")]).to_pylist())

    assert rows(pairs) == rows(overlap_join(found.arrow(), found.arrow()))
    counted = rows(window_join(found.arrow(), found.arrow(), on="clock", before_ns=8_000))
    assert rows(found.join(found, on="clock", window=("8us", 0))) == counted
    assert rows(found.join(found, on="clock", window="8us,0")) == counted
    listed = found.join(found, window=8_000, all_matches=True, how="inner")
    assert listed.num_rows == sum(found.join(found, window="8us")["possible_count"].to_pylist())
    with pytest.raises(ValueError, match="overlap and within were both given"):
        found.join(found, overlap=True, within="5ms")


def test_rows_lose_no_digit_of_a_time_and_need_no_pandas() -> None:
    made = table().append_column("at", pa.array([T0 + 1] * 6, pa.timestamp("ns", tz="UTC")))
    made = made.append_column("took", pa.array([1_500] * 6, pa.duration("ns")))
    first, *_ = Timeline(made)
    assert (first["at"], first["took"]) == ("2026-11-06T21:20:00.000000001Z", 1_500)
    assert first["time"] == datetime(2026, 11, 6, 21, 20, tzinfo=ZoneInfo("UTC"))
    late, *_ = Timeline(table([event("web", 1_999, 0, "between two microseconds", 1)]))
    assert late["time"].microsecond == 1 and late["estimate_ns"] == T0 + 1_999
