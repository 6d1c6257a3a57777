"""`coeval query`: SQL over timelines."""

from __future__ import annotations

import csv
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from coeval import open_timeline
from coeval.clocks import ClockId
from coeval.timeline import Timeline
from coeval.timeline.writers import write_parquet
from tests.timeline.tables import T0, table, timeline


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_parquet(timeline(), tmp_path / "all.parquet")
    return tmp_path


def coeval(folder: Path, *arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coeval", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": str(columns), "LANG": "C.UTF-8", "PYTHONPATH": ":".join(sys.path)},
    )


def test_an_answer_is_a_table_as_wide_as_the_terminal(folder: Path) -> None:
    done = coeval(folder, "query", "select * from timeline", "all.parquet")
    assert done.returncode == 0 and "6 rows" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_time_is_whole_also_where_other_columns_are_cut(folder: Path) -> None:
    done = coeval(folder, "query", "select * from timeline", "all.parquet", "--tz", "Asia/Kolkata")
    first = done.stdout.splitlines()[4]
    assert "2026-11-07 02:50:00" in first and "+05:30" in first, done.stdout


@pytest.mark.parametrize("zone", ["-05:30", "UTC-5:30"])
def test_the_time_may_be_shown_at_an_offset(folder: Path, zone: str) -> None:
    done = coeval(folder, "query", "select * from timeline", "all.parquet", "--tz", zone)
    first = done.stdout.splitlines()[4]
    assert "2026-11-06 15:50:00" in first and "-05:30" in first, done.stdout + done.stderr


def test_a_table_is_drawn_with_what_the_output_has_signs_for(folder: Path) -> None:
    sql = "select 'wörker' as a"
    done = subprocess.run(
        [sys.executable, "-m", "coeval", "query", sql, "all.parquet"],
        cwd=folder,
        capture_output=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert b"+---" in done.stdout and b"| w\\xf6rker" in done.stdout


def test_answers_are_lines_of_json_or_csv(folder: Path) -> None:
    sql = "select line, estimate_ns, text from timeline where clock = 'db' and estimate_ns is not null order by line"
    lines = coeval(folder, "query", sql, "all.parquet", "--to", "jsonl").stdout.splitlines()
    assert json.loads(lines[1]) == {"line": 2, "estimate_ns": T0 + 8_000, "text": "vacuum\nof cart"}
    rows = list(csv.DictReader(coeval(folder, "query", sql, "all.parquet", "--to", "csv").stdout.splitlines(True)))
    assert [row["line"] for row in rows] == ["1", "2"]


def test_several_timelines_are_tables_of_their_files_names(folder: Path) -> None:
    write_parquet(timeline(), folder / "web-2.parquet")
    sql = "select count(*) n from 'all' a, web_2 b where certain(before(a, b))".replace("'all'", '"all"')
    done = coeval(folder, "query", sql, "all.parquet", "web-2.parquet", "--to", "jsonl")
    assert json.loads(done.stdout)["n"] > 0, done.stderr


def test_an_answer_is_written_whole_and_nothing_is_overwritten(folder: Path) -> None:
    sql = "select * from timeline where clock = 'web'"
    assert coeval(folder, "query", sql, "all.parquet", "-o", "web.csv").returncode == 0
    assert len((folder / "web.csv").read_text().splitlines()) == 4
    again = coeval(folder, "query", sql, "all.parquet", "-o", "web.csv")
    assert again.returncode == 2 and "overwrite it with --force" in again.stderr
    assert coeval(folder, "query", sql, "all.parquet", "-o", "web.csv", "--force").returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["all.parquet", "web.csv"]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select nothing from timeline", "nothing"),
        ("drop table timeline", "expected a SELECT"),
        ("select 1; select 2", "expected a SELECT"),
    ],
)
def test_what_cannot_be_answered_is_said_on_one_line(folder: Path, sql: str, said: str) -> None:
    done = coeval(folder, "query", sql, "all.parquet")
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("verb", [("query", "select 1"), ("timeline",), ("export", "--to", "csv")], ids=" ".join)
def test_a_timeline_that_is_not_there_is_said_with_what_is_near(folder: Path, verb: tuple[str, ...]) -> None:
    done = coeval(folder, *verb, "al.parquet")
    assert done.returncode == 2
    assert "al.parquet does not exist; expected a run folder, or a file that `coeval merge` wrote" in done.stderr
    assert done.stderr.endswith("; is all.parquet meant?\n")


def test_a_timeline_is_no_table_of_messages_and_is_called_what_it_is(folder: Path) -> None:
    done = coeval(folder, "clocks", "all.parquet")
    assert done.returncode == 2 and "all.parquet is a timeline, whose clocks are related already" in done.stderr


@pytest.mark.parametrize(
    "verb",
    [
        ("query", "select 1 as one", "all.parquet", "-o", "same.parquet"),
        ("export", "all.parquet", "--to", "parquet", "-o", "same.parquet"),
        ("export", "all.parquet", "--to", "parquet"),
        ("join", "other.parquet", "all.parquet", "-o", "same.parquet"),
    ],
    ids=" ".join,
)
def test_no_timeline_is_written_over_while_it_is_read_by_whichever_name(folder: Path, verb: tuple[str, ...]) -> None:
    (folder / "same.parquet").symlink_to("all.parquet")
    write_parquet(timeline(), folder / "other.parquet")
    before = (folder / "all.parquet").read_bytes()
    done = coeval(folder, *verb, "--force")
    assert done.returncode == 2 and "is to be written and is read for it; write to another file" in done.stderr
    assert (folder / "all.parquet").read_bytes() == before


def test_timelines_of_two_references_are_refused(folder: Path) -> None:
    write_parquet(Timeline(table(reference=ClockId("web"))), folder / "web.parquet")
    done = coeval(folder, "query", "select 1", "all.parquet", "web.parquet")
    assert done.returncode == 2 and "time of clock web" in done.stderr


def test_a_timeline_is_shown_and_exported_by_the_verbs_for_runs(folder: Path) -> None:
    shown = coeval(folder, "timeline", "all.parquet", "--tz", "Europe/Berlin", "--limit", "2").stdout.splitlines()
    assert shown[0] == "6 events on UTC" and "GET /cart" in shown[2] and "4 more events" in shown[4]
    for to, name in (("text", "all.txt"), ("otlp", "all.otlp.jsonl"), ("csv", "all.csv"), ("jsonl", "all.jsonl")):
        done = coeval(folder, "export", "all.parquet", "--to", to)
        assert done.returncode == 0 and (folder / name).stat().st_size, done.stderr
    done = coeval(folder, "export", "all.parquet", "--to", "perfetto")
    assert "5 slices, 1 left out because nothing is known of their time" in done.stderr
    done = coeval(folder, "export", "all.parquet", "--to", "parquet", "-o", "copy.parquet")
    assert len(open_timeline(folder / "copy.parquet")) == 6


def asked(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(sql).fetchall()


def test_a_timeline_becomes_a_table_of_a_database_beside_those_that_are_there(folder: Path) -> None:
    done = coeval(folder, "export", "all.parquet", "--to", "sqlite")
    assert done.returncode == 0 and "6 events in table timeline in all.sqlite (" in done.stderr
    rows = asked(folder / "all.sqlite", "select clock, raw_ns, earliest_ns, estimate_ns from timeline order by rowid")
    columns = open_timeline(folder / "all.parquet").arrow().select(["clock", "raw_ns", "earliest_ns", "estimate_ns"])
    assert rows == [tuple(row.values()) for row in columns.to_pylist()]
    again = coeval(folder, "export", "all.parquet", "--to", "sqlite")
    assert again.returncode == 2 and "has a table timeline already" in again.stderr
    assert "--table" in again.stderr and len(again.stderr.splitlines()) == 1
    done = coeval(folder, "export", "all.parquet", "--to", "sqlite", "--table", "merged", "-o", "all.sqlite")
    assert done.returncode == 0, done.stderr
    assert coeval(folder, "export", "all.parquet", "--to", "sqlite", "--force").returncode == 0
    assert asked(folder / "all.sqlite", "select name from sqlite_schema order by 1") == [("merged",), ("timeline",)]
    assert asked(folder / "all.sqlite", "select count(*) from timeline") == [(6,)]


def test_what_is_no_database_stays_as_it_is(folder: Path) -> None:
    (folder / "notes.db").write_text("no database")
    done = coeval(folder, "export", "all.parquet", "--to", "sqlite", "-o", "notes.db", "--force")
    assert done.returncode == 2 and "notes.db cannot be written: file is not a database" in done.stderr
    assert (folder / "notes.db").read_text() == "no database"
    done = coeval(folder, "export", "all.parquet", "--to", "csv", "--table", "x")
    assert done.returncode == 2 and "--table is for --to sqlite" in done.stderr
