"""Logs merged into a log: lines are copied from where they stand, and come out as they were."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coeval.timeline.merge._merge import MergeReport, Step, _Merge, merge_sources
from coeval.timeline.merge._request import requested
from coeval.timeline.merge._stretches import Pass


def stamp(ms: int) -> str:
    return f"2026-01-01T00:{ms // 60_000:02}:{ms // 1000 % 60:02}.{ms % 1000:03}Z"


def merged(folder: Path, names: list[str], **more: Any) -> tuple[bytes, MergeReport]:
    asked = requested([str(folder / name) for name in names], trust_clocks="1s", set_aside=folder / "aside")
    report = merge_sources(asked.sources, folder / "all.log", asked.settings, asked.evidence, **more)
    return (folder / "all.log").read_bytes(), report


def write_two(folder: Path, rows: int = 4000) -> bytes:
    """Events in turns, one a ms, those of the first log with two lines; what they are merged into."""
    records = [
        f"{stamp(number)} INFO event {number} ä\n".encode() + (b"  and more\n" if number % 2 else b"")
        for number in range(rows)
    ]
    (folder / "odd.log").write_bytes(b"".join(records[1::2]))
    (folder / "even.log").write_bytes(b"".join(records[0::2]))
    return b"".join(records)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small log has many parts, and they many chunks."""
    monkeypatch.setattr("coeval.timeline.merge._merge.PART_BYTES", 20_000)
    monkeypatch.setattr("coeval.timeline.merge._piece.CHUNK_ROWS", 97)


def test_lines_are_not_put_down_but_read_from_their_log_again(tmp_path: Path, small_parts: None) -> None:
    whole = write_two(tmp_path)
    made, report = merged(tmp_path, ["odd.log", "even.log"])
    assert made == whole
    # Reading, line and place of each, and not its text.
    assert report.spilled_bytes < 1.5 * len(whole)
    parquet = requested([str(tmp_path / "odd.log"), str(tmp_path / "even.log")], trust_clocks="1s")
    other = merge_sources(parquet.sources, tmp_path / "all.parquet", parquet.settings, parquet.evidence)
    assert other.spilled_bytes > report.spilled_bytes


def test_other_processes_write_the_same(tmp_path: Path, small_parts: None) -> None:
    whole = write_two(tmp_path, 1000)
    with ProcessPoolExecutor(2) as executor:
        assert merged(tmp_path, ["odd.log", "even.log"], executor=executor)[0] == whole


@pytest.mark.parametrize(("rows_max", "stretches"), [(16, range(200, 300)), (500, range(24, 31))])
def test_larger_stretches_make_the_same_log_and_a_small_log_has_some_for_all_threads(
    tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch, rows_max: int, stretches: range
) -> None:
    for name, value in {
        "_merge._STRETCH_ROWS_MIN": 16,
        "_merge._STRETCH_ROWS_SPILLED": 16,
        "_merge._STRETCH_ROWS_LOG": rows_max,
        "_piece.SAMPLE_EVERY": 4,
        "_stretches.SAMPLE_EVERY": 4,
    }.items():
        monkeypatch.setattr(f"coeval.timeline.merge.{name}", value)
    made: list[int] = []
    passes = _Merge.passes

    def counted(merge: _Merge) -> list[Pass]:
        found = passes(merge)
        made.extend(len(each.ends) for each in found)
        return found

    monkeypatch.setattr(_Merge, "passes", counted)
    whole = write_two(tmp_path)
    assert merged(tmp_path, ["odd.log", "even.log"])[0] == whole
    [count] = made
    assert count in stretches


def test_compressed_logs_come_out_as_plain_ones_do(tmp_path: Path, small_parts: None) -> None:
    whole = write_two(tmp_path)
    (tmp_path / "odd.log.gz").write_bytes(gzip.compress((tmp_path / "odd.log").read_bytes()))
    assert merged(tmp_path, ["odd.log.gz", "even.log"])[0] == whole


@pytest.mark.parametrize("is_gz", [False, True])
def test_every_record_ends_with_one_line_end_whatever_it_had(tmp_path: Path, is_gz: bool) -> None:
    records = [f"{stamp(number)} event {number}".encode() for number in range(6)]
    ends = [b"\n", b"\r\n", b"\n\n\n", b"\n", b"\n", b""]
    data = b"".join(map(b"".join, zip(records, ends, strict=True)))
    (tmp_path / "a.log").write_bytes(gzip.compress(data) if is_gz else data)
    assert merged(tmp_path, ["a.log"])[0].splitlines() == records


def test_a_record_that_is_set_aside_is_no_part_of_the_one_before(tmp_path: Path) -> None:
    lines = [f"{stamp(number)} event {number}\n" for number in range(50)]
    lines[20] = "2026-02-30T00:00:00.000Z no such day\n"
    (tmp_path / "a.log").write_text("".join(lines))
    made, report = merged(tmp_path, ["a.log"])
    assert made.decode() == "".join(lines[:20] + lines[21:])
    assert report.set_aside == 1
    assert json.loads((tmp_path / "aside").read_text())["text"] == lines[20].rstrip()


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(f"{stamp(1)} ".encode() + b"\xff\n" + f"{stamp(2)} good\n".encode())
    assert merged(tmp_path, ["a.log"])[0].decode() == f"{stamp(1)} \ufffd\n{stamp(2)} good\n"


def test_lines_of_a_clock_that_nothing_relates_are_set_aside_as_they_were(tmp_path: Path) -> None:
    write_two(tmp_path, 100)
    names = [str(tmp_path / name) for name in ("odd.log", "even.log")]
    asked = requested(names, unplaced="aside", clock=["even.log=0s±1ms"], set_aside=tmp_path / "aside")
    merge_sources(asked.sources, tmp_path / "all.log", asked.settings, asked.evidence)
    assert (tmp_path / "all.log").read_bytes() == (tmp_path / "even.log").read_bytes()
    asides = [json.loads(line)["text"] for line in (tmp_path / "aside").read_text().splitlines()]
    assert [json.loads(text)["text"] for text in asides] == [
        f"{stamp(number)} INFO event {number} ä\n  and more" for number in range(1, 100, 2)
    ]


def test_a_log_that_becomes_shorter_meanwhile_is_an_error(tmp_path: Path) -> None:
    write_two(tmp_path)

    def cut(step: Step, done: int, total: int) -> None:
        if step == "scan" and done == total:
            with open(tmp_path / "odd.log", "r+b") as file:
                file.truncate(1000)

    with pytest.raises(OSError, match=r"odd\.log became shorter while it was merged: byte .* is gone"):
        merged(tmp_path, ["odd.log", "even.log"], on_progress=cut)
    assert not (tmp_path / "all.log").exists()


def as_in_the_table(folder: Path, names: list[str]) -> bytes:
    """The texts of the merged table, a line each: what the merged log must be."""
    asked = requested([str(folder / name) for name in names], trust_clocks="1s")
    merge_sources(asked.sources, folder / "all.parquet", asked.settings, asked.evidence)
    texts = pq.read_table(folder / "all.parquet", columns=["text"]).column("text").to_pylist()
    return "".join(f"{text}\n" for text in texts).encode()


def test_lines_of_one_time_stand_as_in_the_table(tmp_path: Path, small_parts: None) -> None:
    for name in ("a", "b"):
        lines = [f"{stamp(number // 3)} INFO {name} {number}\n" for number in range(900)]
        (tmp_path / f"{name}.log").write_text("".join(lines))
    assert merged(tmp_path, ["b.log", "a.log"])[0] == as_in_the_table(tmp_path, ["b.log", "a.log"])


def test_stamps_of_several_lengths_in_turns_stand_as_in_the_table(tmp_path: Path, small_parts: None) -> None:
    lines = [f"{stamp(number)[: 23 - number % 3]}Z INFO {number}\n" for number in range(600)]
    (tmp_path / "a.log").write_text("".join(lines))
    assert merged(tmp_path, ["a.log"])[0] == as_in_the_table(tmp_path, ["a.log"])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_that_name_their_host_are_of_its_clock(tmp_path: Path, end: str) -> None:
    # Some have nothing behind the host, but then so few that the format is told.
    lines = [f"<165>1 {stamp(number)} web{number % 3}{' app - - - ä' * (number % 7 > 0)}{end}" for number in range(600)]
    (tmp_path / "a.log").write_bytes("".join(lines).encode())
    made, report = merged(tmp_path, ["a.log"])
    assert made == as_in_the_table(tmp_path, ["a.log"])
    assert sorted(report.sources[0].clocks) == ["web0", "web1", "web2"]
