"""`coeval export`: the timeline of a run as a file for other programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from coeval import Executor, mark, open_run, span


def work(number: int) -> int:
    with span("inner", number=number):
        mark("at", number=number)
    if number == 2:
        raise ValueError("two")
    return number


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "run"
    with Executor("local:2", run=folder) as ex:
        for future in [ex.options(name=f"item {n}").submit(work, n) for n in range(4)]:
            future.exception()
    return folder


def export(run: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coeval", "export", str(run), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_perfetto_has_a_slice_for_each_try_its_spans_inside_and_arrows_both_ways(run: Path, tmp_path: Path) -> None:
    assert export(run, tmp_path, "--to", "perfetto").returncode == 0
    trace = json.loads((tmp_path / "run.perfetto.json").read_text())
    events = trace["traceEvents"]
    begins = [e for e in events if e["ph"] == "B" and "call" in e.get("args", {})]
    assert sorted(e["args"]["call"] for e in begins) == [0, 1, 2, 3]
    assert [e["args"]["error"] for e in begins if e["args"]["call"] == 2] == ["ValueError: two"]
    assert len([e for e in events if e["ph"] == "s"]) == len([e for e in events if e["ph"] == "f"]) == 8
    # Slices of a track nest: every end closes the slice that began last.
    tracks: dict[int, list[str]] = {}
    for event in sorted((e for e in events if "ts" in e), key=lambda e: e["ts"]):
        open_slices = tracks.setdefault(event["pid"], [])
        if event["ph"] == "B":
            open_slices.append(event["name"])
        elif event["ph"] == "E":
            assert open_slices.pop() == event["name"]
    assert not any(tracks.values())


def test_perfetto_times_keep_every_nanosecond(run: Path, tmp_path: Path) -> None:
    assert export(run, tmp_path, "--to", "perfetto").returncode == 0
    text = (tmp_path / "run.perfetto.json").read_text()
    trace = json.loads(text, parse_float=str)
    base_ns = trace["otherData"]["base_ns"]
    for event in trace["traceEvents"]:
        if event["ph"] == "B" and "call" in event.get("args", {}):
            whole, _, part = event["ts"].partition(".")
            assert base_ns + int(whole) * 1000 + int(part) == event["args"]["started"]["estimate_ns"]


def test_parquet_has_a_row_for_each_event_with_bounds_and_raw_readings(run: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    done = export(run, tmp_path, "--to", "parquet", "-o", "events.parquet")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "events.parquet")
    timeline = open_run(run)
    assert table.num_rows == len(timeline.events)
    assert table["raw_ns"].to_pylist() == [event.begin_stamp.reading_ns for event in timeline.events]
    assert table["earliest_ns"].to_pylist() == [event.begin.earliest_ns for event in timeline.events]
    assert str(table.schema.field("time").type) == "timestamp[ns, tz=UTC]"
    assert table.schema.metadata[b"coeval.reference_label"].decode() == timeline.reference_label


def test_jsonl_has_a_line_for_each_event_in_timeline_order(run: Path, tmp_path: Path) -> None:
    assert export(run, tmp_path, "--to", "jsonl").returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    timeline = open_run(run)
    assert [line["raw_ns"] for line in lines] == [event.begin_stamp.reading_ns for event in timeline.events]


def test_a_file_that_is_there_is_kept_unless_forced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text("precious")
    refused = export(run, tmp_path, "--to", "jsonl")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert (tmp_path / "run.jsonl").read_text() == "precious"
    assert export(run, tmp_path, "--to", "jsonl", "--force").returncode == 0


def test_what_is_no_regular_file_is_never_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused = export(run, tmp_path, "--to", "jsonl", "--force", "-o", "folder")
    assert refused.returncode == 2
    assert (tmp_path / "folder").is_dir()


def test_a_dash_is_no_file(run: Path, tmp_path: Path) -> None:
    refused = export(run, tmp_path, "--to", "text", "-o", "-")
    assert refused.returncode == 2 and "export writes a file, and - is none" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_nothing_behind(run: Path, tmp_path: Path) -> None:
    failed = export(run, tmp_path, "--to", "jsonl", "-o", "no/such/folder/x.jsonl")
    assert failed.returncode == 2
    assert "there is no folder no/such/folder" in failed.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    refused = export(tmp_path, tmp_path, "--to", "jsonl")
    assert refused.returncode == 2
    assert "not a run folder" in refused.stderr
