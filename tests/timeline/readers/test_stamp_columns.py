"""Columns of stamps: which they are, and that what a number was cut to or rounded by is in its interval."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.errors import WrongTable
from coeval.timeline.readers._reader import SourceSettings
from coeval.timeline.readers._stamp_columns import Readings, Sample, StampColumns, StampReader, stamp_columns

NOW_NS = 1_793_923_200_123_456_789
TIMES_NS = st.integers(10**18 + 10**12, 4 * 10**18)


def found(columns: dict[str, Any], **said: Any) -> StampColumns:
    return stamp_columns(Sample("web.csv", pa.RecordBatch.from_pydict(columns)), SourceSettings(**said))


def read(values: Any, unit: Any = "", kind: pa.DataType | None = None, **said: Any) -> Readings:
    """As a file that holds nothing else is read."""
    column = pa.array(values, kind)
    settings = SourceSettings(time="time", unit=unit, **said)
    stamps = stamp_columns(Sample("web.csv", pa.RecordBatch.from_pydict({"time": column})), settings)
    return StampReader("time", "web.csv", stamps.unit, stamps.grain, True, settings).read(column)


def intervals(made: Readings) -> list[tuple[int, int]]:
    resolution = np.broadcast_to(np.asarray(made.resolution_ns), made.raw_ns.shape)
    return list(zip(made.raw_ns.tolist(), (made.raw_ns + resolution).tolist(), strict=True))


def test_likeliest_name_is_taken_and_case_and_signs_do_not_matter() -> None:
    for name in ("time", "Timestamp", "@timestamp", "ts_ms", "event-time", "time_utc", "asctime", "startTimeUnixNano"):
        assert found({"x": [1], name: ["2026-11-05T12:34:56Z"]}).time == name


def test_name_that_holds_no_times_gives_way_to_one_that_does() -> None:
    assert found({"time": [0.12, 3.5], "timestamp": ["2026-11-05T12:34:56Z"] * 2}).time == "timestamp"


def test_only_column_of_a_time_type_needs_no_name() -> None:
    assert found({"x": [1], "y": pa.array([1], pa.timestamp("ms", "UTC"))}).time == "y"


def test_two_columns_of_times_without_a_name_are_refused() -> None:
    times = pa.array([1], pa.timestamp("ms", "UTC"))
    with pytest.raises(WrongTable, match=r"several columns of times \(y, z\).*time=NAME"):
        found({"y": times, "z": times})


def test_what_was_said_counts_and_a_wrong_name_is_answered_with_the_near_one() -> None:
    assert found({"time": [1], "sent_at": [1793923200]}, time="sent_at").time == "sent_at"
    with pytest.raises(WrongTable, match="Is sent_at meant"):
        found({"time": [1], "sent_at": [1793923200]}, time="send_at")


def test_end_is_found_beside_its_begin_only() -> None:
    assert found({"start_time": [1793923200], "end_time": [1793923201]}).end == "end_time"
    assert found({"time": [1793923200], "end_time": [1793923201]}).end == ""


@pytest.mark.parametrize(("unit", "factor"), [("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1)])
def test_unit_of_integers_is_told_by_the_years_they_fall_in(unit: str, factor: int) -> None:
    assert found({"when": [0, NOW_NS // factor, NOW_NS // factor + 1, None]}, time="when").unit == unit


def test_readings_that_count_from_a_start_of_their_own_are_refused_unless_the_unit_is_said() -> None:
    with pytest.raises(WrongTable, match=r"looks monotonic(?s:.*)Say which with unit"):
        found({"time": [123_456_789, 123_456_790]})
    assert found({"time": [123_456_789]}, unit="ns").unit == "ns"


def test_unit_that_the_numbers_contradict_is_refused() -> None:
    with pytest.raises(WrongTable, match="said to be in s, but is in ms"):
        found({"time": [NOW_NS // 10**6]}, unit="s")


@pytest.mark.parametrize("kind", [pa.time64("us"), pa.duration("s"), pa.float32(), pa.bool_()])
def test_types_that_hold_no_times_are_refused(kind: pa.DataType) -> None:
    with pytest.raises(WrongTable, match=f"column when of web.csv is {kind.id and str(kind).split('[')[0]}"):
        found({"when": pa.array([None], kind)}, time="when")


def test_zoneless_timestamps_need_a_zone() -> None:
    values = pa.array([1_793_923_200], pa.timestamp("s"))
    with pytest.raises(WrongTable, match="without a zone"):
        read(values)
    assert read(values, zone="+02:00").raw_ns.tolist() == [(1_793_923_200 - 7200) * 10**9]
    assumed = read(values, assume_utc=True)
    assert assumed.raw_ns.tolist() == [1_793_923_200 * 10**9]
    assert assumed.is_assumed


def test_local_time_that_ran_twice_may_mean_both() -> None:
    # 2026-10-25 02:30 in Berlin is 00:30 and 01:30 UTC.
    twice = read(pa.array(["2026-10-25T02:30:00"]).cast(pa.timestamp("s")), zone="Europe/Berlin")
    assert twice.fold_ns is not None
    assert twice.fold_ns.tolist() == [3600 * 10**9]


@given(st.lists(TIMES_NS, min_size=1, max_size=20), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_cut_integers_hold_the_truth(times: list[int], grain: int) -> None:
    made = read([time // grain for time in times], {1: "ns", 10**3: "us", 10**6: "ms", 10**9: "s"}[grain])
    for time, (least, greatest) in zip(times, intervals(made), strict=True):
        assert least <= time < greatest


@given(st.lists(TIMES_NS, min_size=1, max_size=20), st.sampled_from([("s", 10**9), ("ms", 10**6), ("us", 10**3)]))
def test_doubles_hold_the_truth_that_they_were_rounded_from(times: list[int], unit: tuple[str, int]) -> None:
    made = read([float(Fraction(time, unit[1])) for time in times], unit[0], pa.float64())
    for time, (least, greatest) in zip(times, intervals(made), strict=True):
        assert least <= time < greatest


@given(st.lists(TIMES_NS, min_size=1, max_size=20), st.sampled_from([("s", 10**9), ("ms", 10**6), ("us", 10**3)]))
def test_printed_doubles_hold_the_truth_that_they_were_rounded_from(times: list[int], unit: tuple[str, int]) -> None:
    made = read([repr(float(Fraction(time, unit[1]))) for time in times], unit[0])
    for time, (least, greatest) in zip(times, intervals(made), strict=True):
        assert least <= time < greatest


@given(st.lists(TIMES_NS, min_size=1, max_size=20), st.integers(0, 9))
def test_decimals_that_were_cut_hold_the_truth(times: list[int], digits: int) -> None:
    grain = 10 ** (9 - digits)
    texts = [f"{time // 10**9}.{time % 10**9 // grain:0{digits}d}" if digits else str(time // 10**9) for time in times]
    made = read(texts, "s")
    for time, (least, greatest) in zip(times, intervals(made), strict=True):
        assert least <= time < greatest


def test_nine_digits_as_text_are_exact() -> None:
    assert intervals(read(["1793923200.123456789"], "s")) == [(NOW_NS, NOW_NS + 1)]
    assert intervals(read([NOW_NS], "ns")) == [(NOW_NS, NOW_NS + 1)]


def test_odd_values_are_faults_and_harm_no_other() -> None:
    made = read(["1793923200", "x", None, "1e9", "99999999999999999999", *["1793923201"] * 5], "s")
    assert {fault.reason: fault.rows.tolist() for fault in made.faults} == {
        "is no number": [1, 3, 4],
        "is missing": [2],
    }
    assert made.raw_ns[0] == 1793923200 * 10**9


def test_resolution_that_was_said_counts() -> None:
    assert read([NOW_NS], "ns", resolution_ns=5000).resolution_ns == 5000
