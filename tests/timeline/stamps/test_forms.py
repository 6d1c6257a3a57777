from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline.stamps._forms import PATTERNS, Reading, read_stamp
from coeval.timeline.stamps._written import GOOD, IMPOSSIBLE, NO_OFFSET, NO_STAMP

FORMS = tuple(PATTERNS)
BEGIN = (datetime(2026, 11, 5, 12, 34, 56, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "nanos", "digits", "offset_s"),
    [
        ("2026-11-05T12:34:56", 0, 0, NO_OFFSET),
        ("2026-11-05 12:34:56Z", 0, 0, 0),
        ("2026-11-05T12:34:56.1+01:00", 100_000_000, 1, 3600),
        ("2026-11-05T12:34:56,123-0530", 123_000_000, 3, -19_800),
        ("2026-11-05 12:34:56.123456789+02", 123_456_789, 9, 7200),
        ("2026-11-05 12:34:56.1234567899 UTC", 123_456_789, 9, 0),
        ("20261105T123456.5Z", 500_000_000, 1, 0),
        ("2026/11/05 12:34:56.123456", 123_456_000, 6, NO_OFFSET),
        ("05/Nov/2026:12:34:56 +0100", 0, 0, 3600),
        ("Nov  5 2026 12:34:56", 0, 0, NO_OFFSET),
        ("Nov 05 2026 12:34:56.25", 250_000_000, 2, NO_OFFSET),
        ("05 Nov 2026 12:34:56,123", 123_000_000, 3, NO_OFFSET),
        ("Thu Nov  5 12:34:56.123456 2026", 123_456_000, 6, NO_OFFSET),
        ("1793882096", 0, 0, 0),
        ("1793882096.25", 250_000_000, 2, 0),
        ("1793882096123", 123_000_000, 3, 0),
        ("1793882096123456", 123_456_000, 6, 0),
        ("1793882096123456789", 123_456_789, 9, 0),
    ],
)
def test_every_form_is_read_exactly_with_its_digits_and_zone(text: str, nanos: int, digits: int, offset_s: int) -> None:
    assert read_stamp(text, FORMS) == Reading(GOOD, BEGIN, nanos, digits, offset_s)


def test_stamp_without_a_year_says_so_and_keeps_its_day() -> None:
    read = read_stamp("Feb 29 00:00:01", FORMS)
    assert (read.state, read.is_yearless) == (GOOD, True)
    assert datetime.fromtimestamp(read.seconds, UTC) == datetime(1972, 2, 29, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-05T24:00:00Z",
        "2026-11-05T12:60:00Z",
        "2026-11-05T12:34:61Z",
        "2026-11-05T12:34:60Z",
        "2026-11-05T12:34:56+16:00",
        "0000-01-01T00:00:00Z",
        "Feb 30 00:00:00",
        "0000000017",
        "9999999999999999999",
    ],
)
def test_what_looks_like_a_stamp_but_is_no_time_is_told_apart(text: str) -> None:
    assert read_stamp(text, FORMS).state == IMPOSSIBLE


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-05", "12:34:56", "2026-11-05T12:34", "2026-11-05T12:34:56 CET", "x", "99", "2026-11-05T12:34:56\n"],
)
def test_what_is_no_stamp_is_none(text: str) -> None:
    assert read_stamp(text, FORMS).state == NO_STAMP


@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.7Z", "2017-01-01T05:29:60+05:30"])
def test_leap_second_has_the_number_of_the_next_second(text: str) -> None:
    read = read_stamp(text, FORMS)
    utc_s = read.seconds - read.offset_s
    assert (read.state, read.is_leap, read.nanos) == (GOOD, True, 0)
    assert utc_s == datetime(2017, 1, 1, tzinfo=UTC).timestamp()


ENDINGS = st.sampled_from(
    ["", " ", "x", ".", ".5", ",5", " -0500 x", " - x", " +10 points", " UTC", " Utah", "Z", "+1", ":", "_"]
)
TEXTS = st.sampled_from(
    ["2026-11-05T12:34:56", "2026-11-05 12:34:56.123", "2026-11-05T12:34:56+01:00", "2026/11/05 12:34:56", "1793882096"]
)


@given(TEXTS, ENDINGS, st.text(st.sampled_from("0123456789:.+-Z "), max_size=3))
def test_arrow_finds_the_same_stamp_in_a_text_as_python_does(text: str, ending: str, more: str) -> None:
    line = text + ending + more
    for form in FORMS:
        pattern = rf"^(?P<time>{PATTERNS[form]})"
        found = re.match(pattern, line, re.ASCII)
        by_arrow = pc.struct_field(pc.extract_regex(pa.array([line.encode()]), pattern), "time")[0].as_py()
        assert (found and found["time"].encode()) == by_arrow
