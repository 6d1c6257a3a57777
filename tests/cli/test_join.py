"""`coeval join`: two timelines, matched by time."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def join(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coeval", "join", *options], cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def write(name: str, times: list[int], reference: str = "utc", **columns: list[object]) -> None:
        table = pa.table(
            {
                "time": pa.array(times, pa.timestamp("ns", "UTC")),
                "earliest_ns": [t - 10 for t in times],
                "estimate_ns": times,
                "latest_ns": [t + 10 for t in times],
                **columns,
            },
            metadata={"coeval.reference": reference, "coeval.reference_label": reference},
        )
        pq.write_table(table, tmp_path / name)

    write("orders.parquet", [100, 200, 300], id=["a", "b", "c"])
    write("payments.parquet", [50, 195, 290], id=["a", "b", "x"], sum=[1.5, 2.5, 3.5])
    write("elsewhere.parquet", [1], reference="web", id=["a"])
    pq.write_table(pa.table({"time": pa.array([45, 90], pa.timestamp("ns", "UTC"))}), tmp_path / "bare.parquet")
    return tmp_path


def test_it_writes_the_matches_and_says_how_sure_they_are(folder: Path) -> None:
    done = join(folder, "orders.parquet", "payments.parquet", "--on", "id", "-o", "out.parquet")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("3 rows: 1 certain, 1 possible, 1 none; 3 written in out.parquet (")
    rows = pq.read_table(folder / "out.parquet").to_pylist()
    assert [(row["id"], row["sum"], row["verdict"]) for row in rows] == [
        ("a", 1.5, "certain"),
        ("b", 2.5, "possible"),
        ("c", None, "none"),
    ]


def test_without_a_file_json_lines_go_to_standard_output(folder: Path) -> None:
    done = join(
        folder, "orders.parquet", "payments.parquet", "--within", "20ns", "--direction", "nearest", "--how", "inner"
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["id"], row["id_right"], row["estimate_ns"]) for row in rows] == [("b", "b", 200), ("c", "x", 300)]
    assert done.stderr == "3 rows: 0 certain, 2 possible, 1 none; 2 written\n"


def test_csv_and_json_lines_files_hold_the_same_rows(folder: Path) -> None:
    for name in ("out.csv", "out.jsonl"):
        assert join(folder, "orders.parquet", "payments.parquet", "--all", "-o", name).returncode == 0
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    rows = list(csv.DictReader((folder / "out.csv").read_text().splitlines()))
    assert [row["verdict"] for row in rows] == [line["verdict"] for line in lines]
    assert [int(row["estimate_ns_right"]) for row in rows] == [line["estimate_ns_right"] for line in lines]


def spans(folder: Path, name: str, begins: list[int], length: int) -> None:
    begin, end = pa.array(begins), pa.array([begin + length for begin in begins])
    columns = {"earliest_ns": begin, "latest_ns": begin, "end_earliest_ns": end, "end_latest_ns": end}
    reference = {"coeval.reference": "utc", "coeval.reference_label": "utc"}
    pq.write_table(pa.table({**columns, "n": range(len(begins))}, metadata=reference), folder / name)


def test_overlap_pairs_spans_that_touch(folder: Path) -> None:
    spans(folder, "calls.parquet", [0, 100, 200], 10)
    spans(folder, "jobs.parquet", [5, 105, 108, 300], 20)
    done = join(folder, "calls.parquet", "jobs.parquet", "--overlap", "-o", "pairs.parquet")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("3 rows: 2 certain, 0 possible, 1 none; 3 written in pairs.parquet (")
    rows = pq.read_table(folder / "pairs.parquet").to_pylist()
    assert [(row["n"], row["n_right"], row["verdict"]) for row in rows] == [
        (0, 0, "certain"),
        (1, 1, "certain"),
        (1, 2, "certain"),
    ]
    done = join(folder, "calls.parquet", "jobs.parquet", "--overlap", "--how", "left", "--memory", "1k")
    assert [json.loads(line)["verdict"] for line in done.stdout.splitlines()] == ["certain"] * 3 + ["none"]


def test_window_counts_what_is_around_each_row_and_all_lists_it(folder: Path) -> None:
    done = join(folder, "orders.parquet", "payments.parquet", "--window", "60ns,0s")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    # 50 is from 30 to 70 before 100; 195 from 15 before 200 to 10 after it, 290 from 10 before 300 to 30 before.
    assert [(row["certain_count"], row["possible_count"]) for row in rows] == [(0, 1), (0, 1), (0, 1)]
    assert done.stderr == "3 rows: 0 certain, 3 possible, 0 none; 3 written\n"
    done = join(folder, "orders.parquet", "payments.parquet", "--window", "80ns", "--all", "--on", "id", "-o", "-")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["id"], row["sum"], row["verdict"]) for row in rows] == [
        ("a", 1.5, "certain"),
        ("b", 2.5, "certain"),
        ("c", None, "none"),
    ]


def test_a_file_without_bounds_is_refused_with_what_to_do_and_bound_gives_them(folder: Path) -> None:
    done = join(folder, "orders.parquet", "bare.parquet")
    assert done.returncode == 2
    assert "'earliest_ns'" in done.stderr and "--bound 2ms" in done.stderr
    done = join(folder, "orders.parquet", "bare.parquet", "--bound", "5ns", "--how", "inner")
    assert done.returncode == 0, done.stderr
    # 90 +- 5 touches 100 +- 10 and may be after it; then it is no match, and 45 is.
    first = json.loads(done.stdout.splitlines()[0])
    assert (first["estimate_ns_right"], first["verdict"], first["matches_possible"]) == (90, "possible", 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["orders.parquet", "elsewhere.parquet"], "count on utc, the right one's on web"),
        (["orders.parquet", "nothing.parquet"], "nothing.parquet is no file"),
        (["orders.parquet", "payments.parquet", "--on", "key"], "no column 'key'"),
        (["orders.parquet", "payments.parquet", "--within", "5"], "has no unit|expected a number and a unit"),
        (["orders.parquet", "payments.parquet", "-o", "out.txt"], "expected a name that ends in .parquet"),
        (["orders.parquet", "payments.parquet", "-o", "orders.parquet"], "is there already"),
        (["orders.parquet", "payments.parquet", "--memory", "much"], "is no size"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_writes_nothing(folder: Path, options: list[str], reason: str) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = join(folder, *options)
    assert done.returncode == 2
    assert any(part in done.stderr for part in reason.split("|"))
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--overlap --window 5ms", "--overlap and --window were both given"),
        ("--window 5ms --within 5ms", "--window and --within were both given"),
        ("--overlap --direction nearest", "--overlap and --direction were both given"),
        ("--overlap --all", "leave out --all"),
        ("--window 5ms --how inner", "which --all lists"),
        ("--window soon", "--window 'soon' is none"),
        ("--window 1s,2s,3s", "--window '2s,3s' is none"),
    ],
)
def test_options_that_say_two_things_are_refused(folder: Path, options: str, reason: str) -> None:
    done = join(folder, "orders.parquet", "payments.parquet", *options.split())
    assert done.returncode == 2
    assert reason in done.stderr and done.stderr.count("\n") == 1


def test_help_fits_80_columns(folder: Path) -> None:
    done = join(folder, "--help")
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
