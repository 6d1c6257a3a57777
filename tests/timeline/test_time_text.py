from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline._time_text import (
    format_bound_ns,
    format_duration_ns,
    format_instant,
    format_interval_ns,
    format_offset_ns,
    half_width_ns,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
ZONES: list[tzinfo] = [
    UTC,
    ZoneInfo("Europe/Berlin"),
    ZoneInfo("Asia/Kathmandu"),
    ZoneInfo("America/St_Johns"),
    timezone(timedelta(hours=-9, minutes=-30)),
]
UNIT_NS = {"ns": 1, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}


def parsed_duration(text: str) -> tuple[Fraction, Fraction]:
    """The value in ns, and the size of its last digit."""
    sign = -1 if text.startswith("-") else 1
    value, grain = Fraction(0), Fraction(0)
    for number, unit in re.findall(r"([\d.,]+) (\S+)", text.lstrip("-±")):
        digits = number.replace(",", "")
        value += Fraction(digits) * UNIT_NS[unit]
        grain = Fraction(UNIT_NS[unit], 10 ** len(digits.partition(".")[2]))
    return sign * value, grain


@given(INT64, st.sampled_from(ZONES), st.integers(0, 9))
def test_an_instant_reads_back_as_itself_cut_to_the_digits_shown_in_every_zone(
    ns: int, zone: tzinfo, digits: int
) -> None:
    text = format_instant(ns, zone, digits)
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d(?::\d\d)?)", text)
    assert match is not None
    whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    seconds = (whole - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    assert len(match[2] or "") == digits
    grain = 10 ** (9 - digits)
    assert seconds * 10**9 + int((match[2] or "0").ljust(9, "0")) == ns // grain * grain


def test_the_two_readings_of_a_repeated_hour_are_told_apart_by_their_offset() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = int(datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()) * 10**9
    assert format_instant(first, zone, 0) == "2026-10-25 02:30:00+02:00"
    assert format_instant(first + 3600 * 10**9, zone, 0) == "2026-10-25 02:30:00+01:00"


def test_an_instant_that_is_not_known_says_so() -> None:
    assert format_instant(None) == "unknown"


def test_more_than_nine_digits_are_refused() -> None:
    with pytest.raises(ValueError, match="digits is 10"):
        format_instant(0, UTC, 10)


@given(INT64)
def test_a_duration_reads_back_to_within_its_last_digit(ns: int) -> None:
    value, grain = parsed_duration(format_duration_ns(ns))
    # Below a minute rounded, above cut.
    assert abs(value - ns) <= (grain / 2 if abs(ns) < UNIT_NS["min"] else grain)


@given(st.integers(0, 10**18))
def test_a_duration_below_a_minute_has_three_digits_and_no_needless_zeros_before_its_unit(ns: int) -> None:
    text = format_duration_ns(ns)
    if 0 < ns < UNIT_NS["min"]:
        assert re.fullmatch(r"\d{1,3} ns|\d\.\d\d \S+|\d\d\.\d \S+|\d{3} \S+", text)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 s"),
        (417, "417 ns"),
        (-1_250_000, "-1.25 ms"),
        (999_600, "1.00 ms"),
        (12_345_678_901, "12.3 s"),
        (187 * 10**9, "3 min 07 s"),
        (7_380 * 10**9, "2 h 03 min"),
        (4 * 86_400 * 10**9 + 5 * 3600 * 10**9, "4 d 05 h"),
        (None, "unknown"),
    ],
)
def test_durations_as_people_say_them(ns: int | None, text: str) -> None:
    assert format_duration_ns(ns) == text


@given(st.integers(1, 2**63 - 1))
def test_a_bound_is_never_shown_narrower_than_it_is_nor_much_wider(ns: int) -> None:
    value, grain = parsed_duration(format_bound_ns(ns))
    assert ns <= value < ns + grain
    assert value <= ns * Fraction(11, 10) + 1


@pytest.mark.parametrize(("ns", "text"), [(0, "±0"), (12, "±12 ns"), (1_201, "±1.3 µs"), (None, "unknown")])
def test_bounds_as_people_say_them(ns: int | None, text: str) -> None:
    assert format_bound_ns(ns) == text


def test_a_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 ns"):
        format_bound_ns(-1)


@pytest.mark.parametrize(
    ("least", "greatest", "text"),
    [
        (5, 5, "5 ns"),
        (-1_000, 3_000, "-1.00 µs .. 3.00 µs, order unknown"),
        (-3_000, -1_000, "-3.00 µs .. -1.00 µs"),
        (0, 3_000, "0 s .. 3.00 µs"),
        (None, 7, "at most 7 ns"),
        (7, None, "at least 7 ns"),
        (None, None, "unknown"),
    ],
)
def test_intervals_say_what_is_known_and_clamp_nothing(least: int | None, greatest: int | None, text: str) -> None:
    assert format_interval_ns(least, greatest) == text


def test_the_half_width_is_the_wider_side_and_unknown_where_one_side_is() -> None:
    assert half_width_ns(0, 2, 10) == 8
    assert half_width_ns(None, 2, 10) is None
    assert half_width_ns(0, 2, None) is None


@given(INT64, st.integers(0, 10**15))
def test_an_offset_reads_back_to_within_half_its_bound(ns: int, bound_ns: int) -> None:
    number, unit, bound = format_offset_ns(ns, bound_ns).replace(",", "").split(" ", 2)
    assert abs(Fraction(number) * UNIT_NS[unit] - ns) <= Fraction(bound_ns, 2)
    assert bound == format_bound_ns(bound_ns).replace(",", "")


@pytest.mark.parametrize(
    ("ns", "bound_ns", "text"),
    [
        (2_000_012_345, 70_000, "+2.00001 s ±70 µs"),
        (-7_200_000_012_345, 76_000, "-7,200.00001 s ±76 µs"),
        (-1_234_567, 300_000, "-1.2 ms ±300 µs"),
        (0, 5, "0 ns ±5 ns"),
        (5, None, "+5 ns ±unknown"),
        (None, None, "unknown"),
    ],
)
def test_offsets_have_as_many_digits_as_their_bound_bears(ns: int | None, bound_ns: int | None, text: str) -> None:
    assert format_offset_ns(ns, bound_ns) == text
