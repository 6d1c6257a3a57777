from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from coeval.errors import WrongTable
from coeval.timeline.readers import SourceSettings
from coeval.timeline.stamps import PATTERNS, Shapes, Stamps, StampSense
from coeval.timeline.stamps._stamps import BEYOND, NO_SUCH_DAY, NO_SUCH_TIME, NO_ZONE, SKIPPED

NS = 10**9
HOUR = 3600 * NS


def sense(*texts: str, splits: tuple[int, ...] = (), refuses: bool = True, **settings: object) -> Stamps:
    """Read texts, in one go or in several."""
    shapes = Shapes(tuple(PATTERNS))
    by = StampSense(SourceSettings(**settings), "app.log", refuses=refuses)  # type: ignore[arg-type]
    parts = []
    for begin, end in zip((0, *splits), (*splits, len(texts)), strict=True):
        some = texts[begin:end]
        parts.append(by.read(shapes.read_texts(pa.array(some)), lambda row, some=some: some[row]))  # type: ignore[misc]
    if len(parts) == 1:
        return parts[0]
    raw_ns, resolution_ns, fold_ns, is_assumed = (
        np.concatenate([getattr(part, name) for part in parts]) for name in Stamps._fields[:4]
    )
    return Stamps(raw_ns, resolution_ns, fold_ns, is_assumed, [])


def reasons(stamps: Stamps) -> dict[str, list[int]]:
    return {fault.reason: fault.rows.tolist() for fault in stamps.faults}


def test_written_zone_wins_over_the_one_that_was_said() -> None:
    stamps = sense("2026-11-05T12:34:56Z", "2026-11-05T12:34:56", "2026-11-05T12:34:56+09:00", zone="Europe/Berlin")
    assert np.diff(stamps.raw_ns).tolist() == [-HOUR, -8 * HOUR]
    assert not stamps.is_assumed.any()


def test_stamp_without_a_zone_is_refused_with_its_text_and_what_to_say() -> None:
    with pytest.raises(WrongTable, match=r"'2026-11-05 12:34:56,5'.*--source-tz.*`tz =`.*--assume-utc"):
        sense("2026-11-05T12:34:56Z", "2026-11-05 12:34:56,5")


def test_assumed_utc_marks_the_stamps_that_name_no_zone_and_no_others() -> None:
    stamps = sense("2026-11-05T12:34:56Z", "2026-11-05T12:34:56", assume_utc=True)
    assert stamps.is_assumed.tolist() == [False, True]
    assert len(set(stamps.raw_ns.tolist())) == 1


def test_single_stamp_without_a_zone_can_be_a_fault_of_its_row() -> None:
    assert reasons(sense("2026-11-05T12:34:56Z", "2026-11-05T12:34:56", refuses=False)) == {NO_ZONE: [1]}


def test_digits_of_the_fraction_give_the_resolution_unless_it_is_said() -> None:
    texts = [f"2026-11-05T12:34:56{fraction}Z" for fraction in ("", ".1", ".123", ".123456789")]
    assert sense(*texts).resolution_ns.tolist() == [NS, NS // 10, 10**6, 1]
    assert sense(*texts, resolution_ns=500).resolution_ns.tolist() == [500] * 4


def test_leap_second_is_a_second_wide() -> None:
    stamps = sense("2016-12-31T23:59:60.123Z", "2017-01-01T00:00:00.000Z")
    assert stamps.raw_ns[0] == stamps.raw_ns[1]
    assert stamps.resolution_ns.tolist() == [NS, 10**6]


def test_what_is_no_time_is_a_fault_with_its_reason() -> None:
    stamps = sense(
        "2026-02-30 00:00:00", "2026-03-29 02:30:00", "9999-01-01 00:00:00", "2026-01-01 00:00:00", zone="Europe/Berlin"
    )
    assert reasons(stamps) == {NO_SUCH_TIME: [0], SKIPPED: [1], BEYOND: [2]}


def test_stamp_with_two_things_wrong_is_one_fault() -> None:
    assert reasons(sense("2626-11-05T12:34:56", "2026-02-30T12:34:56", refuses=False)) == {
        BEYOND: [0],
        NO_SUCH_TIME: [1],
    }


def test_years_go_on_from_the_first() -> None:
    stamps = sense("Dec 31 23:59:59", "Jan  1 00:00:00", "Feb 29 00:00:00", zone="UTC", year=2026, splits=())
    assert np.diff(stamps.raw_ns)[0] == NS
    assert reasons(stamps) == {NO_SUCH_DAY: [2]}
    with pytest.raises(WrongTable, match="without a year, such as 'Dec 31 23:59:59'"):
        sense("Dec 31 23:59:59", zone="UTC")


def test_odd_stamp_at_the_end_of_a_block_moves_none_of_the_next() -> None:
    texts = ["Nov  5 12:00:00"] * 3 + ["Jan  5 12:00:00"] + ["Nov  5 12:00:01"] * 9
    for split in range(1, 13):
        raw_ns = sense(*texts, zone="UTC", year=2026, splits=(split,)).raw_ns
        assert (np.delete(raw_ns, 3) - raw_ns[0]).tolist() == [0] * 3 + [NS] * 9


TWICE = ["01:59:00", "02:10:00", "02:50:00", "02:05:00", "02:55:00", "03:01:00"]


def berlin(*times: str, **options: object) -> Stamps:
    day = [f"2026-10-25 {time}" for time in times]
    return sense(*day, zone="Europe/Berlin", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [[0, 11, 40, 15, 30, 5, 20, 6]])
def test_log_that_goes_back_by_an_hour_settles_which_time_is_meant(steps: list[int]) -> None:
    # Minutes after 00:00 UTC; local time is 02:00 then, and again an hour later.
    minutes = np.cumsum([0, *steps])
    local = [f"{2 + minute // 60 - (1 if minute >= 60 else 0):02}:{minute % 60:02}:00" for minute in minutes.tolist()]
    stamps = berlin(*local)
    begin = int(stamps.raw_ns[0])
    assert (stamps.raw_ns - begin).tolist() == [minute * 60 * NS for minute in minutes.tolist()]
    assert not stamps.fold_ns.any()


def test_what_is_read_later_is_the_second_time_also_in_another_block() -> None:
    for split in range(1, 8):
        stamps = berlin(*[f"02:{minute:02}:00" for minute in (0, 20, 40, 59, 0, 20, 40, 59)], splits=(split,))
        settled = stamps.fold_ns == 0
        first = np.array([0, 20, 40, 59, 60, 80, 100, 119]) * 60 * NS
        begin = 1792886400 * NS
        # The interval holds the truth, and is one time where it is settled.
        assert ((stamps.raw_ns - begin == first) | (~settled & (stamps.raw_ns - begin + stamps.fold_ns == first))).all()
        assert settled[max(4, split if split <= 4 else 0) :].all()


@pytest.mark.parametrize(
    "times",
    [
        ["02:10:00", "02:30:00"],  # no step back: either
        ["02:50:00", "02:10:00", "02:50:00", "02:05:00"],  # back twice
        ["02:50:00", "02:10:00", "02:55:00"],  # may be a late one of the first time
    ],
)
def test_log_whose_order_does_not_tell_keeps_both_readings(times: list[str]) -> None:
    stamps = berlin("01:59:59", *times, "03:00:01")
    assert stamps.fold_ns.tolist() == [0, *[HOUR] * len(times), 0]


def test_smeared_stamps_are_put_back_to_utc() -> None:
    [noon, evening] = sense("2016-12-31T12:00:00Z", "2016-12-31T18:00:00Z", smear="24h-noon").raw_ns.tolist()
    assert evening - noon == 6 * HOUR + 250_000_000
