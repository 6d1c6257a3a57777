from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.errors import WrongTable
from coeval.timeline.stamps._zones import Zone

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local time, as it is shown
NAMES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "Pacific/Apia",
]


@given(st.sampled_from(NAMES), st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)), min_size=1))  # noqa: DTZ001
def test_local_times_are_what_the_standard_library_says(name: str, times: list[datetime]) -> None:
    rules = ZoneInfo(name)
    # Near to changes, too: every time is also taken on the last days of March and October.
    times += [time.replace(month=month, day=25 + time.day % 7) for time in times for month in (3, 10)]
    local_s = np.array([(time - EPOCH) // timedelta(seconds=1) for time in times], np.int64)
    read = Zone(name).read(local_s)
    for number, time in enumerate(time.replace(microsecond=0, tzinfo=rules) for time in times):
        first, second = (time.replace(fold=fold).timestamp() for fold in (0, 1))
        is_skipped = time.astimezone(UTC).astimezone(rules).replace(tzinfo=None) != time.replace(tzinfo=None)
        assert read.is_skipped[number] == is_skipped
        if not is_skipped:
            assert read.utc_s[number] == first
            assert read.fold_s[number] == second - first


@pytest.mark.parametrize(
    ("name", "offset_s"),
    [("UTC", 0), ("Z", 0), ("+02:00", 7200), ("-0530", -19_800), ("+1", 3600), ("UTC+3", 10_800)],
)
def test_fixed_offsets_are_local_time_minus_utc(name: str, offset_s: int) -> None:
    assert Zone(name).read(np.array([100_000])).utc_s.tolist() == [100_000 - offset_s]


def test_times_far_from_each_other_are_of_one_zone() -> None:
    local = [(datetime(year, 7, 1) - EPOCH) // timedelta(seconds=1) for year in (1800, 1950, 2026, 2200)]  # noqa: DTZ001
    read = Zone("Europe/Berlin").read(np.array(local))
    rules = ZoneInfo("Europe/Berlin")
    assert read.utc_s.tolist() == [datetime(year, 7, 1, tzinfo=rules).timestamp() for year in (1800, 1950, 2026, 2200)]


@pytest.mark.parametrize("name", ["Europe/Berln", "Mars", "../etc/passwd", "+16:00", "CET+25"])
def test_zone_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(WrongTable, match=r"is no (time zone|offset)"):
        Zone(name)


def test_misspelt_zone_is_answered_with_those_like_it() -> None:
    with pytest.raises(WrongTable, match="Did you mean Europe/Berlin"):
        Zone("Europe/Berln")
