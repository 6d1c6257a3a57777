"""`coeval clocks MESSAGES`: tables from anyone, the report, and placed stamps."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

from coeval.cli._clocks_of_messages import parse_resolutions
from coeval.cli._clocks_report import report_lines
from coeval.timeline._related_clocks import relate_clocks

Coeval = Callable[..., "subprocess.CompletedProcess[str]"]

T0 = 1_790_000_000_000_000_007
AHEAD_NS = 2_500_000_000


def exchanges(count: int, far: str = "node-b", ahead_ns: int = AHEAD_NS, seed: int = 1) -> list[list[object]]:
    """Rows of messages: asked by node-a, answered by another, whose clock is ahead and 80 ppm fast."""
    random = Random(seed)
    rows: list[list[object]] = []
    for number in range(count):
        sent = T0 + number * 300_000_000 + random.randrange(10**6)
        offset = ahead_ns + (sent - T0) * 80 // 10**6
        arrived = sent + 150_000 + random.randrange(300_000)
        back = arrived + 200_000 + random.randrange(300_000)
        rows.append([f"ask {number}", "node-a", far, sent, arrived + offset])
        rows.append([f"answer {number}", far, "node-a", arrived + offset + 50_000, back + 50_000])
    return rows


def write(path: Path, rows: list[list[object]], header: str = "id,sender,receiver,sent_ns,received_ns") -> Path:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


@pytest.fixture
def messages(folder: Path) -> Path:
    return write(folder / "calls.csv", exchanges(100))


def test_it_shows_the_reference_each_clock_and_what_was_decided_in_80_columns(coeval: Coeval, messages: Path) -> None:
    done = coeval("clocks", messages)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    assert "reference node-a (most messages, 200; --reference chooses another)" in text
    assert "what node-a shows: nothing ties it to UTC" in text
    assert "rows 200 read, 200 used, 0 set aside" in text
    assert "clock offset bound widest assumed rate ppm from/to it" in text
    assert "node-b +2.50" in text
    assert "100/100" in text
    assert "steps none seen" in text
    assert "rejected no message" in text
    assert "no rate changes by more than 2 ppm" in text


@pytest.mark.parametrize("columns", [80, 60])
def test_no_line_is_longer_than_the_screen(folder: Path, columns: int) -> None:
    rows = exchanges(20) + exchanges(20, "a clock with quite a long name/of-its-own/monotonic_raw", -(10**16), 2)
    clocks = relate_clocks(write(folder / "long.csv", [*rows, ["x", "lonely", "other", 1, 2]]))
    lines = list(report_lines(clocks, columns))
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert "3 groups" not in text
    assert "2 groups of clocks that no message links" in text
    assert "lonely, other" in text


def test_json_holds_the_truth_and_every_decision(coeval: Coeval, messages: Path) -> None:
    done = coeval("clocks", messages, "--json", "--reference", "node-a")
    report = json.loads(done.stdout)
    (far,) = report["clocks"]
    assert (far["clock"], far["against"], report["reference_given"]) == ("node-b", "node-a", True)
    least, estimate, greatest = far["offset_declared_ns"]
    truth = AHEAD_NS + (far["reading_ns"] - AHEAD_NS - T0) * 80 // 10**6
    assert least <= truth <= greatest
    assert least <= estimate <= greatest
    assert far["rate_ppm_least"] <= 80 <= far["rate_ppm_greatest"]
    assert report["components"] == [["node-a", "node-b"]]
    assert (report["steps"], report["rejected"], report["findings"], report["problems"]) == ([], [], [], [])
    assert report["rows"] == {"read": 200, "messages": 200, "anchors": 0, "set_aside": {}}


STAMPS = f"what,clock,reading_ns\nfirst,node-b,{T0 + AHEAD_NS + 10**9}\nsecond,node-a,{T0}\nthird,node-c,5\n"


@pytest.fixture
def stamps(folder: Path) -> Path:
    path = folder / "stamps.csv"
    path.write_text(STAMPS)
    return path


def test_stamps_come_back_in_their_order_with_bounds_empty_where_unknown(
    coeval: Coeval, messages: Path, stamps: Path
) -> None:
    done = coeval("clocks", messages, "--at", stamps)
    assert done.returncode == 0
    assert "2 of 3 stamps placed on what node-a shows (reference clock node-a: most messages)" in done.stderr
    assert "not placed: 1 of clock node-c, which is in no message" in done.stderr
    assert done.stdout.splitlines()[0] == "what,clock,reading_ns,earliest_ns,estimate_ns,latest_ns"
    first, second, third = csv.DictReader(done.stdout.splitlines())
    assert int(first["earliest_ns"]) <= T0 + 10**9 - 80_000 <= int(first["latest_ns"])
    assert (second["earliest_ns"], second["latest_ns"]) == (str(T0), str(T0))
    assert (third["what"], third["earliest_ns"], third["estimate_ns"], third["latest_ns"]) == ("third", "", "", "")


def test_every_kind_of_output_has_the_same_numbers(coeval: Coeval, messages: Path, stamps: Path, folder: Path) -> None:
    on_screen = list(csv.DictReader(coeval("clocks", messages, "--at", stamps).stdout.splitlines()))
    expected = [
        {key: int(value) if key.endswith("_ns") and value else value or None for key, value in row.items()}
        for row in on_screen
    ]
    for name in ("out.csv", "out.csv.gz", "out.parquet", "out.jsonl"):
        assert coeval("clocks", messages, "--at", stamps, "-o", name).returncode == 0
    assert pq.read_table(folder / "out.parquet").to_pylist() == expected
    assert pq.read_schema(folder / "out.parquet").metadata[b"coeval.reference"] == b"node-a"
    assert [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()] == expected
    assert list(csv.DictReader((folder / "out.csv").read_text().splitlines())) == on_screen
    assert gzip.decompress((folder / "out.csv.gz").read_bytes()) == (folder / "out.csv").read_bytes()
    by_json = coeval("clocks", messages, "--at", stamps, "--json").stdout.splitlines()
    assert [json.loads(line) for line in by_json] == expected


def test_columns_that_are_carried_through_come_out_as_they_went_in(
    coeval: Coeval, messages: Path, folder: Path
) -> None:
    rows = [
        ["node-b", str(T0), 'a "b", c'],
        ["node-b", str(T0), ""],
        ["node-b", str(T0), "é\n"],
        ["node-b", str(T0), "01"],
    ]
    write(folder / "in.csv", [list[object](row) for row in rows], "clock,reading_ns,note")
    done = coeval("clocks", messages, "--at", "in.csv")
    assert [row[:3] for row in csv.reader(done.stdout.splitlines(keepends=True))][1:] == rows


def test_bad_rows_are_set_aside_counted_shown_and_kept(coeval: Coeval, messages: Path, folder: Path) -> None:
    with open(messages, "a") as file:
        file.write("x,node-a,,1,2\ny,node-a,node-b,soon,2\nz,node-a\n")
    done = coeval("clocks", messages, "--set-aside", "aside.jsonl")
    assert done.returncode == 1
    text = " ".join(done.stdout.split())
    assert "203 read, 200 used, 3 set aside" in text
    assert "set aside 1 row: sent_ns is no whole number" in text
    kept = [json.loads(line) for line in (folder / "aside.jsonl").read_text().splitlines()]
    assert sorted((row["file"], row["line"], row["reason"]) for row in kept) == [
        ("calls.csv", 202, "receiver is missing"),
        ("calls.csv", 203, "sent_ns is no whole number"),
        ("calls.csv", 204, "has 2 fields, and the header has 5"),
    ]
    assert kept[-1]["values"]["sent_ns"] == "soon" or kept[0]["values"] == {"text": "z,node-a"}


def test_anchors_put_it_on_utc(coeval: Coeval, messages: Path, folder: Path) -> None:
    write(
        folder / "anchors.csv",
        [["node-a", T0 + 10**9, T0, T0 + 10**6, "ntp"]],
        "clock,reading_ns,earliest_ns,latest_ns,source",
    )
    done = coeval("clocks", messages, "--anchors", "anchors.csv")
    text = " ".join(done.stdout.split())
    assert "times UTC, by 1 anchor" in text
    # In the middle of the evidence, some seconds from the anchor, at 100 ppm.
    assert "node-a against UTC +999 ms ±1.6 ms" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.csv"], "none.csv cannot be read: No such file or directory"),
        (["calls.csv", "--reference", "c"], "clock 'c' is in no message; the clocks are node-a, node-b"),
        (["calls.csv", "--at", "calls.csv"], "calls.csv has no column clock; it has id, sender"),
        (["calls.csv", "--at", "stamps.csv", "-o", "out.txt"], "expected a name that ends in .csv, .csv.gz, .parquet"),
        (["calls.csv", "--at", "stamps.csv", "-o", "stamps.csv"], "stamps.csv is there already"),
        (["calls.csv", "--resolution", "node-a"], "--resolution 'node-a' is none; expected CLOCK=1ms"),
        (["calls.csv", "--rate-bound", "-1"], "the rate bound of clock"),
        (["calls.csv", "--watch"], "--watch is for a run folder, and calls.csv is none"),
        (["folder", "calls.csv"], "folder is a folder; expected one run folder alone, or files of messages"),
        (["folder", "--at", "stamps.csv"], "--at is for files of messages, and folder is a folder"),
        (["calls.csv", "--plot", "clocks.txt"], "expected a name that ends in .png, .svg, .pdf"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(
    coeval: Coeval, messages: Path, stamps: Path, folder: Path, arguments: list[str], said: str
) -> None:
    (folder / "folder").mkdir()
    before = sorted(folder.iterdir())
    done = coeval("clocks", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_the_report_goes_to_a_file_as_text_or_json(coeval: Coeval, messages: Path, folder: Path) -> None:
    assert coeval("clocks", messages, "-o", "report.txt").stdout == ""
    assert "node-b" in (folder / "report.txt").read_text()
    assert coeval("clocks", messages, "-o", "report.json").stdout == ""
    assert json.loads((folder / "report.json").read_text())["reference"] == "node-a"


def test_a_grain_is_said_and_can_be_overruled(coeval: Coeval, folder: Path) -> None:
    rows = [[*row[:4], int(str(row[4])) // 10**6 * 10**6] if row[2] == "node-b" else row for row in exchanges(50)]
    rows = [[*row[:3], int(str(row[3])) // 10**6 * 10**6, row[4]] if row[1] == "node-b" else row for row in rows]
    write(folder / "cut.csv", rows)
    text = " ".join(coeval("clocks", "cut.csv").stdout.split())
    assert (
        "resolution node-b is cut to 1 ms, as all of its stamps are; --resolution node-b=0 says they are exact" in text
    )
    exact = coeval("clocks", "cut.csv", "--resolution", "node-b=0").stdout
    assert "node-b is exact, as asked" in exact


def test_resolutions_are_durations_by_clock() -> None:
    assert parse_resolutions(["a=1ms", "b=0", "c=d=1.5 us", "e=15.625ms", "f=1min"]) == {
        "a": 10**6, "b": 0, "c=d": 1500, "e": 15_625_000, "f": 60 * 10**9
    }  # fmt: skip


@pytest.mark.parametrize("name", ["clocks.png", "clocks.svg"])
def test_a_picture_is_drawn_beside_the_report(coeval: Coeval, messages: Path, folder: Path, name: str) -> None:
    done = coeval("clocks", messages, "--plot", name)
    assert (done.returncode, done.stderr) == (0, f"1 clock drawn in {name}\n")
    assert "node-b" in done.stdout
    start = (folder / name).read_bytes()[:200]
    assert start.startswith(b"\x89PNG") or b"<svg" in start or b"<?xml" in start
    again = coeval("clocks", messages, "--plot", name)
    assert (again.returncode, again.stdout) == (2, "")
    assert f"{name} is there already" in again.stderr
    assert coeval("clocks", messages, "--plot", name, "--force").returncode == 0
