from __future__ import annotations

import gzip
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coeval.errors import WrongTable
from coeval.testing import ReadEvents, read_events
from coeval.timeline.readers import SourceSettings, Tally
from coeval.timeline.readers import _text as text_module
from coeval.timeline.readers._lines import LineBlocks
from coeval.timeline.readers._registry import reader_named
from coeval.timeline.readers._set_aside import SetAside

NS = 10**9


def read(folder: Path, reader: str, content: bytes, size: int = 1 << 60, **settings: object) -> ReadEvents:
    path = folder / "app.log"
    path.write_bytes(content)
    return read_events(reader, path, SourceSettings(**settings), source="app.log", size=size)  # type: ignore[arg-type]


def texts(events: ReadEvents) -> list[str]:
    return [event["payload"]["text"] for event in events.without_lines()]


def test_lines_without_a_stamp_go_on_with_the_record_before_and_are_counted(tmp_path: Path) -> None:
    content = b"one\n2026-11-05T12:00:00Z two\nthree\n\n  four\n\n2026-11-05T12:00:01Z five\n"
    events = read(tmp_path, "iso", content)
    assert texts(events) == ["2026-11-05T12:00:00Z two\nthree\n\n  four", "2026-11-05T12:00:01Z five"]
    assert [(row.number, row.values["text"]) for row in events.aside] == [(1, "one")]
    reader = reader_named("iso")
    tally = Tally(SetAside())
    for part in reader.parts("app.log", str(tmp_path / "app.log"), SourceSettings(), 1 << 60):
        assert sum(len(batch) for batch in reader.batches(part, tally, ())) == 2
    assert (tally.lines, tally.read, tally.continued) == (7, 3, 2)


@pytest.mark.parametrize("size", [1, 7, 30, 100, 1 << 60])
def test_record_is_whole_in_whichever_part_it_begins(tmp_path: Path, size: int) -> None:
    record = "2026-11-05T12:00:00Z trace\n" + "  at somewhere\n" * 50
    events = read(tmp_path, "iso", record.encode() * 3, size)
    assert texts(events) == [record.strip()] * 3
    assert sorted(events.events) == [1, 52, 103]


def test_record_of_a_megabyte_of_lines_is_one_event(tmp_path: Path) -> None:
    lines = b"  at somewhere\n" * 600_000
    events = read(tmp_path, "iso", b"2026-11-05T12:00:00Z trace\n" + lines + b"2026-11-05T12:00:01Z next\n")
    assert [len(text) for text in texts(events)] == [len(lines) + 26, 25]


def test_record_beyond_all_measure_takes_in_no_more_and_the_rest_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "RECORD_BYTES_MAX", 1 << 22)
    lines = b"  at somewhere\n" * 1_000_000
    events = read(tmp_path, "iso", b"2026-11-05T12:00:00Z trace\n" + lines + b"2026-11-05T12:00:01Z next\n")
    assert len(events.events) == 2
    kept = texts(events)[0].count("\n")
    assert kept + len(events.aside) == 1_000_000
    assert {row.reason for row in events.aside} == {text_module.TOO_LONG}


def test_text_that_is_no_utf_8_is_an_event_and_shown_with_replacement_characters(tmp_path: Path) -> None:
    events = read(tmp_path, "iso", b"2026-11-05T12:00:00Z caf\xe9\n2026-11-05T12:00:01Z caf\xc3\xa9 \x00\n")
    assert texts(events) == ["2026-11-05T12:00:00Z caf\N{REPLACEMENT CHARACTER}", "2026-11-05T12:00:01Z café \x00"]


def test_fractions_of_different_length_are_batches_of_their_own(tmp_path: Path) -> None:
    content = b"".join(b"2026-11-05T12:00:0%d%sZ x\n" % (n, [b"", b".5", b".123456"][n % 3]) for n in range(9))
    events = read(tmp_path, "iso", content).without_lines()
    assert [event["resolution_ns"] for event in events] == [NS, NS // 10, 1000] * 3
    assert [event["raw_ns"] for event in events] == sorted(event["raw_ns"] for event in events)


def test_stamps_further_on_in_their_lines_are_found_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "_BLOCK_BYTES", 300)
    first = "2026-11-05T23:59:30.000Z WARN message\n" * 40
    lines = "".join(
        first + "x" * (number + 1) + f" INFO [2026-11-05T23:59:{10 + number}.000Z WARN message\n" for number in range(9)
    )
    assert len(texts(read(tmp_path, "iso", lines.encode()))) == 9 * 41


def test_file_whose_stamps_have_no_zone_is_refused_before_it_is_read(tmp_path: Path) -> None:
    content = b"2026-11-05 12:00:00,123 - shop - INFO - x\n"
    path = tmp_path / "app.log"
    path.write_bytes(content)
    with pytest.raises(WrongTable, match=r"app.log has stamps without a zone, such as '2026-11-05 12:00:00,123'"):
        reader_named("python-logging").parts("app.log", str(path), SourceSettings(), 100)
    [event] = read(tmp_path, "python-logging", content, assume_utc=True).without_lines()
    assert event["is_assumed"]


def test_log_with_several_zones_is_read_by_each(tmp_path: Path) -> None:
    content = b"2026-11-05T12:00:00+01:00 a\n2026-11-05T12:00:01+00:00 b\n2026-11-05T07:00:02-05:00 c\n"
    events = read(tmp_path, "iso", content).without_lines()
    assert [event["raw_ns"] - events[0]["raw_ns"] for event in events] == [0, 3601 * NS, 3602 * NS]


YEARS = [datetime(2023, 12, 30, tzinfo=UTC) + timedelta(days=0.9 * number) for number in range(900)]
SYSLOG = b"".join(f"{time:%b} {time.day:2} {time:%H:%M:%S} web1 app[1]: message\n".encode() for time in YEARS)


@pytest.mark.parametrize("size", [500, 3000, 1 << 60])
@pytest.mark.parametrize("packed", [False, True])
def test_years_are_counted_back_from_when_the_file_was_written_and_that_is_said(
    tmp_path: Path, size: int, packed: bool
) -> None:
    path = tmp_path / "messages"
    path.write_bytes(gzip.compress(SYSLOG) if packed else SYSLOG)
    written = (YEARS[-1] + timedelta(hours=3)).timestamp()
    os.utime(path, (written, written))
    settings = SourceSettings(zone="UTC")
    events = read_events("syslog", path, settings, size=size).without_lines()
    assert [event["raw_ns"] for event in events] == [int(time.timestamp()) * NS for time in YEARS]
    parts = reader_named("syslog").parts("messages", str(path), settings, size)
    [note] = [note for part in parts for note in part.notes]
    assert f"written, {YEARS[-1] + timedelta(hours=3):%Y-%m-%d}" in note
    assert "is of 2023" in note
    tally = Tally(SetAside())
    list(reader_named("syslog").batches(parts[0], tally, ()))
    assert tally.notes == [note]


def test_years_of_a_large_log_are_found_from_samples(tmp_path: Path) -> None:
    # Six million bytes in 2.2 years, with a quiet time of eight months in which one New Year lies.
    times = [time for time in YEARS if not (300 < (time - YEARS[0]).days < 540) for _ in range(12)]
    lines = [f"{time:%b} {time.day:2} {time:%H:%M:%S} web1 app[1]: {'m' * 700}\n".encode() for time in times]
    path = tmp_path / "messages"
    path.write_bytes(b"".join(lines))
    settings = SourceSettings(zone="UTC", year=2023)
    events = read_events("syslog", path, settings, size=700_000, wanted=()).without_lines()
    assert [event["raw_ns"] for event in events] == [int(time.timestamp()) * NS for time in times]


def test_long_line_is_no_line_of_its_own_further_on(tmp_path: Path) -> None:
    # What looks like a stamp stands where a window of the search for years ends.
    odd = b"Dec 31 23:00:00 web1 app[1]: " + b"m" * (8192 - 29) + b"Jan  1 00:00:00 web1 app[1]: x\n"
    [event] = read(tmp_path, "syslog", odd, zone="UTC", year=2026).without_lines()
    path = tmp_path / "app.log"
    written = datetime(2027, 1, 1, 0, 30, tzinfo=UTC).timestamp()
    os.utime(path, (written, written))
    [same] = read_events("syslog", path, SourceSettings(zone="UTC"), source="app.log").without_lines()
    assert same == event


def test_year_that_was_said_is_that_of_the_first_line(tmp_path: Path) -> None:
    events = read(tmp_path, "syslog", SYSLOG, 2000, zone="UTC", year=2019).without_lines()
    years = [datetime.fromtimestamp(event["raw_ns"] // NS, UTC).year for event in events]
    assert (years[0], years[-1]) == (2019, 2022)
    assert years == sorted(years)


def test_host_names_the_clock_unless_one_was_said(tmp_path: Path) -> None:
    content = b"Nov  5 12:00:00 web1 a[1]: x\nNov  5 12:00:01 web2 b: y\nNov  5 12:00:02 last: z\n"
    options: dict[str, Any] = {"zone": "UTC", "year": 2026}
    events = read(tmp_path, "syslog", content, **options).without_lines()
    assert [event["clock"] for event in events] == ["web1", "web2", "app.log"]
    events = read(tmp_path, "syslog", content, clock="rack", **options).without_lines()
    assert [event["clock"] for event in events] == [None] * 3
    events = read(tmp_path, "syslog", content, clock_field="program", **options).without_lines()
    assert [event["clock"] for event in events] == ["a", "b", "app.log"]
    with pytest.raises(WrongTable, match=r"no field named 'hots'.*priority, host, program"):
        read(tmp_path, "syslog", content, clock_field="hots", **options)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("", "needs a regular expression"),
        ("shop", "is neither the name of a pattern"),
        (r"(?P<when>\S+)", "with a group named time"),
        (r"(?P<time>\S+)(?=x)", "cannot be read"),
        (r"(?P<time>\S+", "cannot be read"),
    ],
)
def test_pattern_that_cannot_be_used_is_refused_with_what_is_wrong(tmp_path: Path, pattern: str, told: str) -> None:
    with pytest.raises(WrongTable, match=told):
        read(tmp_path, "pattern", b"x\n", pattern=pattern)


def test_pattern_may_name_its_stamp_otherwise_and_has_fields(tmp_path: Path) -> None:
    content = b"17 | 2026-11-05T12:00:00Z | paid\n18 | 2026-11-05T12:00:01Z | sent\n and more\n"
    pattern = r"^(?<order>\d+) \| (?<when>\S+) \| (?<what>.*)$"
    events = read(tmp_path, "pattern", content, pattern=pattern, time="when").without_lines()
    assert [(event["payload"]["order"], event["payload"]["what"]) for event in events] == [
        ("17", "paid"),
        ("18", "sent"),
    ]
    assert events[1]["payload"]["text"].endswith("sent\n and more")


@pytest.mark.parametrize("block_bytes", [100, 1000, 1 << 22])
@pytest.mark.parametrize("stamp", ["2026-10-25 %02d:%02d:00 x\n", "Oct 25 %02d:%02d:00 web1 app[1]: x\n"])
def test_day_that_ran_an_hour_twice_is_settled_by_the_order_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, stamp: str
) -> None:
    monkeypatch.setattr(LineBlocks.__init__, "__defaults__", (block_bytes,))
    begin = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    content = b""
    for minute in range(180):
        local_minute = minute + 120 if minute < 60 else minute + 60
        content += (stamp % divmod(local_minute, 60)).encode()
    reader = "iso" if stamp.startswith("2") else "syslog"
    events = read(tmp_path, reader, content, zone="Europe/Berlin", year=2026).without_lines()
    assert [event["raw_ns"] for event in events] == [int(begin.timestamp() + 60 * minute) * NS for minute in range(180)]
    assert {event["fold_ns"] for event in events} == {0}


LINES = [
    "2026-11-05T12:00:00.123Z INFO a",
    "2026-11-05T12:00:00.123Z",
    "[2026-11-05 12:00:00,123] b",
    "INFO 2026-11-05T12:00:00.123456+01:00 c",
    "WARN  [main] 2026-11-05 12:00:00 +0100 d",
    "20261105T120000Z e",
    "2026/11/05 12:00:00 f",
    "12 2026-11-05T12:00:00Z g",
    "  goes on 2026-11-05T12:00:00Z",
    "a b c d 2026-11-05T12:00:00Z is too far",
    "2026-11-05 12:00:00 - h",
    "2026-11-05 12:00:00 UT i",
    "2026-02-30 12:00:00 j",
    "",
]


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """Lines in runs, so that shapes are learned, and some of them changed in a letter."""
    lines: list[bytes] = []
    for line, count in draw(st.lists(st.tuples(st.sampled_from(LINES), st.integers(1, 12)), max_size=8)):
        lines += [line.encode()] * count
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(b"0159-:T.Z+ [\tx\xe9")))):
        if lines and lines[place % len(lines)]:
            changed = bytearray(lines[place % len(lines)])
            changed[place // 101 % len(changed)] = byte
            lines[place % len(lines)] = bytes(changed)
    return b"\n".join(lines)


@settings(max_examples=20, deadline=None)
@given(logs(), st.integers(40, 400))
@example(b"0026-11-05T12:00:00.123Z a\n2026-11-05T12:00:00.123Z a\n2026-11-55T12:00:00.123Z a\n", 40)
def test_what_was_learned_before_makes_no_difference(log: bytes, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = read(Path(folder), "iso", log, zone="Europe/Berlin")
        # A few lines in a part: little is known of any other.
        assert read(Path(folder), "iso", log, size, zone="Europe/Berlin") == whole
