"""JSON lines and separated values: types, exactness, and parts that are read alone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from coeval.errors import WrongTable
from coeval.timeline.readers._reader import SourceSettings
from tests.timeline.readers.reading import Read

STAMP = "2026-11-05T12:34:56Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_flat_values_have_types_and_nested_ones_are_json_text(path: Path) -> None:
    path.write_text(json.dumps({"time": STAMP, "n": 1, "x": 0.5, "ok": True, "deep": {"a": [1, None]}}))
    read = Read("jsonl", path)
    assert dict(zip(read.columns.names, read.columns.types, strict=True)) == {
        "n": pa.int64(),
        "x": pa.float64(),
        "ok": pa.bool_(),
        "deep": pa.string(),
    }
    assert read.column("deep") == ['{"a":[1,null]}']


def test_objects_without_anything_in_them_are_set_aside(path: Path) -> None:
    path.write_text('{}\n{"a": 1"b": 2}\n')
    read = Read("jsonl", path, SourceSettings(time="ts"))
    assert sorted(row.number for row in read.aside) == [1, 2]


def test_key_that_comes_late_is_not_lost(path: Path) -> None:
    lines = [{"time": STAMP, "n": n, **({"late": "x"} if n == 49_999 else {})} for n in range(50_000)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = Read("jsonl", path)
    assert read.batches[-1].payload.column("late")[-1].as_py() == "x"


@pytest.mark.parametrize("number", [2**53 + 1, 2**64 - 1, 2**64 + 1, 12345678901234567890123, -(2**63)])
def test_whole_numbers_of_any_size_keep_every_digit(path: Path, number: int) -> None:
    path.write_text(f'{{"time": "{STAMP}", "n": {number}}}\n{{"time": "{STAMP}", "n": 1}}\n')
    assert [int(value) for value in Read("jsonl", path).column("n")] == [number, 1]


def test_types_that_change_make_text_of_their_column_and_lose_no_row(path: Path) -> None:
    values = [1, "two", 3.5, None, [4], {"five": 5}, True]
    path.write_text("".join(json.dumps({"time": STAMP, "n": value}) + "\n" for value in values))
    assert Read("jsonl", path).column("n") == ["1", "two", "3.5", None, "[4]", '{"five":5}', "true"]


def test_texts_that_look_like_times_stay_as_they_are_written(path: Path) -> None:
    path.write_text(json.dumps({"time": STAMP, "day": "2026-11-05 12:00:00"}) + "\n")
    assert Read("jsonl", path).column("day") == ["2026-11-05 12:00:00"]


def test_names_that_differ_in_case_are_two_columns(path: Path) -> None:
    path.write_text(f'{{"time": "{STAMP}", "a": {{}}, "A": 1, "x/y~z\'": [2]}}\n')
    read = Read("jsonl", path)
    assert (read.column("a"), read.column("A"), read.column("x/y~z'")) == (["{}"], [1], ["[2]"])


def test_fraction_of_nine_digits_in_json_is_exact(path: Path) -> None:
    path.write_text('{"ts": 1793923200.123456789}\n{"ts": 1793923200.5}\n')
    assert 1_793_923_200_123_456_789 in Read("jsonl", path).raw_ns


def test_stamps_without_a_zone_are_refused_until_it_is_said(path: Path) -> None:
    path.write_text('{"asctime": "2026-11-05 12:34:56,123"}\n')
    with pytest.raises(WrongTable, match="without a zone"):
        Read("jsonl", path)
    assert Read("jsonl", path, SourceSettings(zone="+01:00")).raw_ns == [1_793_878_496_123_000_000]
    [batch] = Read("jsonl", path, SourceSettings(assume_utc=True)).batches
    assert batch.is_assumed


def test_single_stamp_without_a_zone_is_set_aside(path: Path) -> None:
    path.write_text("".join(f'{{"time": "2026-11-05T12:34:5{n}{"" if n == 3 else "Z"}"}}\n' for n in range(5)))
    read = Read("jsonl", path)
    assert len(read.raw_ns) == 4
    assert [(row.number, row.reason) for row in read.aside] == [(4, "time has no zone, and others have")]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_found(path: Path, separator: str) -> None:
    path.write_text(separator.join(["time", "a", "b"]) + "\n" + separator.join([STAMP, "x", "1"]) + "\n")
    read = Read("csv", path)
    assert (read.column("a"), read.column("b")) == (["x"], [1])


def test_quoted_line_ends_keep_a_file_in_one_part(path: Path) -> None:
    rows = "".join(f'{STAMP},"line one\nline {n}",{n}\n' for n in range(100))
    path.write_text("time,text,n\n" + rows)
    read = Read("csv", path, size=100)
    assert read.parts == 1
    assert read.column("n") == list(range(100))
    assert [int(line) for batch in read.batches for line in batch.lines] == [1 + 2 * n for n in range(100)]


def test_quotes_without_line_ends_in_them_let_a_file_be_cut(path: Path) -> None:
    path.write_text("time,text,n\n" + "".join(f'{STAMP},"a ""b"", {n}",{n}\n' for n in range(100)))
    read = Read("csv", path, size=100)
    assert read.parts > 10
    assert read.column("text") == [f'a "b", {n}' for n in range(100)]


def test_quote_that_does_not_end_costs_its_row_only(path: Path) -> None:
    path.write_text("time,text,n\n" + "".join(f"{STAMP},{chr(34) if n == 50 else ''}x,{n}\n" for n in range(100)))
    read = Read("csv", path)
    assert [int(n) for n in read.column("n")] == [n for n in range(100) if n != 50]
    assert [row.number for row in read.aside] == [52]


def test_value_that_does_not_fit_makes_text_of_its_column_and_loses_nothing(path: Path) -> None:
    path.write_text("time,n\n" + "".join(f"{STAMP},{n}\n" for n in range(30_000)) + f"{STAMP},many\n")
    assert str(Read("csv", path).column("n")[-1]) == "many"


def test_column_named_twice_is_refused(path: Path) -> None:
    path.write_text(f"time,a,a\n{STAMP},1,2\n")
    with pytest.raises(WrongTable, match="several columns named 'a'"):
        Read("csv", path)


def test_journald_is_stamped_by_its_hosts_clock(path: Path) -> None:
    path.write_text('{"__REALTIME_TIMESTAMP": "1793923200123456", "_HOSTNAME": "web1", "MESSAGE": [104, 105]}\n')
    read = Read("journald", path)
    assert (read.raw_ns, read.resolutions, read.clocks) == ([1_793_923_200_123_456_000], {1000}, ["web1"])
    assert read.column("MESSAGE") == ["[104,105]"]
