"""`coeval merge`, as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coeval.cli._merge import parse_size
from tests.timeline.merge.worlds import CLOCKS, write_logs, write_parquet

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

KNOWN = [option for claim in CLOCKS for option in ("--clock", claim)]


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_summary_tells_sources_clocks_and_bounds_in_eighty_columns(coeval: Run, folder: Path) -> None:
    write_logs(folder, 300, rubbish=True)
    done = coeval("merge", "s*.log", "s2.jsonl", *KNOWN, "-o", "all.parquet")
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("scan", "merge"))]
    assert lines[0].split() == ["source", "format", "events", "aside", "clock", "width"]
    assert lines[1].split() == ["s0.log", "iso", lines[1].split()[2], "1", "s0.log", "3.00", "ms"]
    assert lines[4].startswith("301 read = 300 merged to all.parquet + 1 set aside, in ")
    assert "they are in all.parquet.set-aside.jsonl" in done.stderr
    assert "times: UTC, 3 clocks, all related" in lines
    assert all(len(line) <= 80 for line in lines if not line.startswith(("evidence:", "finding:")))
    assert pq.read_metadata("all.parquet").num_rows == 300


def test_standard_input_and_output_are_files_like_others(coeval: Run, folder: Path) -> None:
    [path, *_] = write_logs(folder, 300)
    text = Path(path).read_text()
    done = coeval("merge", "-", "-o", "-", stdin=text)
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == text.splitlines()
    assert {row["source"] for row in rows} == {"stdin"}
    assert files_in(folder) == {"s0.log", "s1.log", "s2.jsonl"}


def test_a_pair_that_makes_nothing_is_told_whether_or_not_the_merge_can_be_done(coeval: Run, folder: Path) -> None:
    write_logs(folder, 30)
    pair = ["--pair", "trip", "--order", "s0,s1"]
    refused = coeval("merge", "s*.log", *pair, "-o", "all.parquet")
    assert refused.returncode == 2 and "  trip: s0 -> s1: no row has such a value\n" in refused.stderr
    done = coeval("merge", "s*.log", *pair, "--unplaced", "last", "-o", "all.parquet")
    assert done.returncode == 0
    assert "evidence: trip: s0 -> s1: no row has such a value\n" in done.stderr
    assert ", 1 clock placed, 1 clock related to none of them\n" in done.stderr
    misspelt = coeval("merge", "s*.log", "--pair", "id", "--order", "s0,sl", "--unplaced", "last", "-o", "x.parquet")
    assert "evidence: id: s0 -> sl: no event is by a clock 'sl'\n" in misspelt.stderr


@pytest.mark.parametrize("name", ["all.jsonl", "all.csv", "all.txt", "all.log"])
def test_the_name_tells_the_format(coeval: Run, folder: Path, name: str) -> None:
    write_logs(folder, 300)
    assert coeval("merge", "s*.log", *KNOWN[:4], "-o", name).returncode == 0
    lines = (folder / name).read_text().splitlines()
    count = sum(len((folder / log).read_text().splitlines()) for log in ("s0.log", "s1.log"))
    assert len(lines) == count + (name == "all.csv")
    events = [int(line.split("event ")[1].split('"')[0]) for line in lines if "event " in line]
    assert events == sorted(events)
    assert len(events) == count


def test_a_log_of_logs_holds_their_lines_as_they_were(coeval: Run, folder: Path) -> None:
    write_logs(folder, 300)
    assert coeval("merge", "s*.log", *KNOWN[:4], "-o", "all.log").returncode == 0
    before = [line for log in ("s0.log", "s1.log") for line in (folder / log).read_text().splitlines()]
    assert sorted((folder / "all.log").read_text().splitlines()) == sorted(before)


def test_what_nothing_relates_is_told_in_a_table_and_nothing_is_written(coeval: Run, folder: Path) -> None:
    write_logs(folder, 30)
    done = coeval("merge", "s*.log", "s2.jsonl", "-o", "all.parquet")
    assert done.returncode == 2
    assert "3 groups of clocks are related by nothing" in done.stderr
    assert files_in(folder) == {"s0.log", "s1.log", "s2.jsonl"}


def test_two_names_of_one_file_are_told_and_read_once(coeval: Run, folder: Path) -> None:
    write_logs(folder, 30)
    (folder / "same.log").symlink_to("s0.log")
    done = coeval("merge", "s0.log", "same.log", "-o", "all.parquet")
    assert done.returncode == 0
    assert "same.log is s0.log by another name; it is read once\n" in done.stderr
    told = json.loads(coeval("merge", "s0.log", "same.log", "-o", "all.parquet", "--force", "--json").stdout)
    assert len(told["sources"]) == 1 and told["notes"] == ["same.log is s0.log by another name; it is read once"]


def test_a_log_without_a_line_yet_is_told_and_merged_with_the_others(coeval: Run, folder: Path) -> None:
    write_logs(folder, 30)
    (folder / "s9.log").write_text("")
    (folder / "s8.log").write_text("\n")
    done = coeval("merge", "s0.log", "s8.log", "s9.log", "-", "-o", "all.log")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stderr.splitlines() if line.startswith(("s8", "s9", "stdin"))] == [
        [name, "empty", "0", "0"] for name in ("s8.log", "s9.log", "stdin")
    ]
    assert (folder / "all.log").read_text() == (folder / "s0.log").read_text()
    alone = coeval("merge", "s9.log", "s8.log", "-o", "none.parquet")
    assert alone.returncode == 2
    assert alone.stderr == "coeval merge: there is no event in s9.log, s8.log: nothing is written there.\n"


def test_where_no_record_can_be_read_the_first_one_says_why(coeval: Run, folder: Path) -> None:
    (folder / "s.log").write_text("2026-13-01T00:00:00Z first\n2026-14-01T00:00:00Z second\n")
    done = coeval("merge", "s.log", "--reader", "iso", "-o", "all.parquet")
    assert done.returncode == 2
    said = "there is no event in s.log: s.log line 1 ('2026-13-01T00:00:00Z first'): its stamp is no time that there is"
    assert said in done.stderr and "; of 2 records, 2 are so" in done.stderr


def test_a_pattern_that_is_said_needs_no_reader(coeval: Run, folder: Path) -> None:
    (folder / "s.log").write_text("1795762798.449 hello\n")
    done = coeval("merge", r"s.log:pattern=(?P<time>\S+) (?P<message>.*)", "-o", "-")
    assert done.returncode == 0 and json.loads(done.stdout)["message"] == "hello", done.stderr


def test_a_name_of_a_file_that_is_no_text_is_shown_with_escapes(coeval: Run, folder: Path) -> None:
    (folder / os.fsdecode(b"s\xff.jsonl")).write_text('{"ts": "2026-01-01T00:00:00Z"}\n')
    assert coeval("merge", ".", "-o", "all.jsonl").returncode == 0
    assert json.loads((folder / "all.jsonl").read_text())["source"] == r"s\xff.jsonl"


def test_one_event_has_no_neighbour_to_be_the_wrong_way_round(coeval: Run, folder: Path) -> None:
    done = coeval("merge", "-", "-o", "one.parquet", stdin="2026-01-01T00:00:00Z x\n")
    assert done.returncode == 0 and "raw order" not in done.stderr


def test_the_format_of_standard_input_can_be_said(coeval: Run, folder: Path) -> None:
    """Which looks like another one."""
    done = coeval("merge", "-", "--reader", "csv", "-o", "-", stdin="ts,a\n2026-01-01T00:00:00Z,x\n")
    assert done.returncode == 0 and json.loads(done.stdout)["a"] == "x"
    lines = '{"at": "2026-01-01T00:00:00Z"} 2026-01-02T00:00:00Z\n'
    said = r"stdin:pattern=.* (?P<time>\S+)"
    done = coeval("merge", "-", "--source", said, "--source", "*:reader=pattern", "-o", "-", stdin=lines)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["raw_ns"] == 1767312000 * 10**9


def test_the_summary_as_json_adds_up(coeval: Run, folder: Path) -> None:
    write_parquet(folder, 300)
    options = ["--source", "*:time=ts", "--engine", "local:2", "--json"]
    done = coeval("merge", "s*.parquet", *KNOWN, *options, "-o", "all.parquet")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["read"] == told["merged"] == 300
    assert told["reference"] == "utc"
    assert sum(source["events"] for source in told["sources"]) == 300
    assert told["neighbours_turned"] > 0


def test_a_url_of_this_machine_is_a_path(coeval: Run, folder: Path) -> None:
    write_logs(folder, 300)
    url = f"{folder.as_uri()}/all.jsonl"
    done = coeval("merge", "s0.log", "s1.log", "s2.jsonl", *KNOWN, "-o", url)
    assert done.returncode == 0, done.stderr
    assert f"300 merged to {folder}/all.jsonl" in " ".join(done.stderr.split())
    assert len((folder / "all.jsonl").read_text().splitlines()) == 300
    again = coeval("merge", "s0.log", *KNOWN, "-o", url)
    assert again.returncode == 2 and "all.jsonl is there already" in again.stderr
    assert coeval("merge", "s0.log", *KNOWN[:2], "-o", url, "--force").returncode == 0
    lines = [(folder / name).read_text().splitlines() for name in ("s0.log", "all.jsonl")]
    assert len(lines[0]) == len(lines[1])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-o", "all.xyz"], "all.xyz does not say what to write"),
        (["-o", "-", "--json"], "--json and -o - both want standard output"),
        (["-o", "x.parquet", "--memory", "much"], "--memory 'much' is no size"),
        (["-o", "x.parquet", "--order", "a,b"], "say how the lines of a --pair go"),
        (["-o", "x.parquet", "--trust-clocks", "5"], "--trust-clocks '5' is none"),
        (["-o", "s0.log"], "is there already"),
        (["-o", "x.jsonl", "--set-aside", "x.jsonl"], "name two files"),
        (["-o", "x.jsonl", "--set-aside", "s0.log"], "s0.log is there already"),
        (["-o", "x.jsonl", "--set-aside", "s0.log", "--force"], "which would be overwritten"),
        (["-o", "x.jsonl", "--set-aside", "-"], "--set-aside - is no file"),
        (["-o", "s3://bucket/all.parquet"], "s3://bucket/all.parquet cannot be opened"),
        (["-o", "memory://all.jsonl", "--live"], "--live writes as events come"),
        (["-o", "x.parquet", "--tz", "Europe/Berlin"], "expected --source-tz Europe/Berlin if it is the zone of"),
        (["-o", "x.parquet", "--source-tz", "Europe/Berln"], "Did you mean Europe/Berlin"),
        (["-o", "x.parquet", "--spill", "nowhere"], "--spill nowhere is no folder"),
        (["-o", "x.parquet", "--set-aside", "nowhere/aside.jsonl"], "there is no folder nowhere"),
        (["nowhere.log", "-o", "x.parquet"], "nowhere.log"),
    ],
)
def test_what_cannot_be_done_as_asked_is_said_in_one_sentence(
    coeval: Run, folder: Path, arguments: list[str], expected: str
) -> None:
    write_logs(folder, 30)
    done = coeval("merge", "s0.log", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.startswith("coeval merge: ")
    assert files_in(folder) == {"s0.log", "s1.log", "s2.jsonl"}


def test_parquet_is_not_written_to_a_terminal(folder: Path) -> None:
    write_logs(folder, 30)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "coeval", "merge", "s0.log", "-o", "-", "--to", "parquet"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2 and "parquet is no text for a terminal; name a file with -o" in done.stderr


def test_a_clock_with_one_bound_says_what_would_give_the_other(coeval: Run, folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"ts": "2026-01-01T00:00:00Z", "id": "x"}\n')
    (folder / "b.jsonl").write_text('{"ts": "2026-01-01T00:00:09Z", "id": "x"}\n')
    done = coeval("merge", "a.jsonl", "b.jsonl", "--pair", "id:order=a>b", "--reference", "a", "-o", "all.parquet")
    said = " ".join(done.stderr.split())
    assert "bounds: of clock b.jsonl only the earliest times are known: no message goes from it" in said


def test_what_helps_names_the_host_that_spans_name_too(coeval: Run, folder: Path) -> None:
    (folder / "web.log").write_text("2026-01-01T00:00:00Z hello\n")
    (folder / "hosts.jsonl").write_text('{"ts": "2026-01-01T00:00:00Z", "h": "web"}\n')
    sources = ["web.log", "hosts.jsonl:clock_field=h"]
    refused = coeval("merge", *sources, "-o", "all.parquet")
    assert refused.returncode == 2 and "      --source 'web.log:clock=web'\n" in refused.stderr
    assert coeval("merge", *sources, "--source", "web.log:clock=web", "-o", "all.parquet").returncode == 0


def test_signs_that_standard_error_has_not_are_spelt_as_options_take_them(coeval: Run, folder: Path) -> None:
    write_logs(folder, 30)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = coeval("merge", "s0.log", "s1.log", "-o", "all.parquet", env=environment)
    assert "--clock 's1.log=+3.2s+-0.1s@s0.log'" in done.stderr


def test_ctrl_c_leaves_nothing(coeval_started: Start, folder: Path) -> None:
    """While it reads standard input that does not end."""
    process = coeval_started("merge", "-", "-o", "all.parquet")
    assert process.stdin is not None
    line = "2026-01-01T00:00:00Z hello\n"
    process.stdin.write(line * 100_000)
    process.stdin.flush()
    assert any(name.startswith(".coeval-merge-") for name in files_in(folder))
    process.send_signal(signal.SIGINT)
    process.stdin.close()
    assert process.wait(30) == 130
    assert process.stderr is not None
    assert process.stderr.read() == "interrupted: nothing was written\n"
    assert files_in(folder) == set()


@pytest.mark.parametrize(("text", "size"), [("1000", 1000), ("512M", 512 << 20), ("1.5 GiB", 3 << 29), ("2g", 2 << 30)])
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_what_an_earlier_merge_wrote_into_the_folder_is_not_merged_again(coeval: Run, folder: Path) -> None:
    write_parquet(folder, 300)
    options = ["-o", "all.parquet", "--source", "*:time=ts", "--trust-clocks", "1s"]
    assert coeval("merge", ".", *options).returncode == 0
    done = coeval("merge", ".", *options, "--force")
    assert done.returncode == 2 and "all.parquet is to be written and is one of the sources" in done.stderr
