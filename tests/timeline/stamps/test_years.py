from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline.stamps._years import first_year, in_years, year_steps

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def yearless(time: datetime) -> int:
    return (time.replace(year=1972) - EPOCH) // timedelta(seconds=1)


def second(time: datetime) -> int:
    return (time - EPOCH) // timedelta(seconds=1)


GAPS = st.lists(st.integers(-5 * 86_400, 300 * 86_400), max_size=40)


@given(st.datetimes(datetime(1999, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)), GAPS)  # noqa: DTZ001
def test_years_go_on_over_new_year_also_where_lines_are_late(begin: datetime, gaps_s: list[int]) -> None:
    times, latest = [begin], begin
    for gap in gaps_s:
        latest = max(latest, latest + timedelta(seconds=gap))
        times.append(latest if gap > 0 else latest + timedelta(seconds=gap) / 2)
    times = [time.replace(microsecond=0) for time in times]
    seconds = np.array([yearless(time) for time in times])
    years = times[0].year + year_steps(seconds)
    assert years.tolist() == [time.year for time in times]
    told, exists = in_years(seconds, years)
    assert exists.all()
    assert told.tolist() == [second(time) for time in times]


def test_29_february_is_no_day_of_other_years() -> None:
    leap_day = yearless(datetime(1972, 2, 29, 12, tzinfo=UTC))
    assert in_years(np.array([leap_day]), np.array([2026]))[1].tolist() == [False]
    seconds, exists = in_years(np.array([leap_day]), np.array([2028]))
    assert exists.tolist() == [True]
    assert seconds.tolist() == [second(datetime(2028, 2, 29, 12, tzinfo=UTC))]


def test_odd_stamps_move_no_other_to_another_year() -> None:
    day = yearless(datetime(2000, 11, 5, tzinfo=UTC))
    odd = [yearless(datetime(2000, month, 7, tzinfo=UTC)) for month in (1, 12, 8)]
    for count in (1, 2, 3):
        for place in (1, 2, 5):
            seconds = [day] * place + odd[:count] + [day + 60] * 4
            steps = year_steps(np.array(seconds))
            assert steps[:place].tolist() == [0] * place
            assert steps[place + count :].tolist() == [0] * 4


@pytest.mark.parametrize("days_back", [10, 30])
def test_a_log_that_goes_back_by_weeks_stays_in_its_year(days_back: int) -> None:
    """A wrong digit in the first line, or rotated logs put together with the newest first."""
    day = yearless(datetime(2000, 11, 5, tzinfo=UTC))
    for first in ([day], [day] * 9):
        assert not year_steps(np.array(first + [day - days_back * 86_400] * 9)).any()


def test_last_line_is_not_after_the_file_was_written() -> None:
    last = yearless(datetime(2000, 12, 31, 23, tzinfo=UTC))
    assert first_year(last, 0, second(datetime(2026, 1, 2, tzinfo=UTC))) == 2025
    assert first_year(last, 3, second(datetime(2026, 1, 2, tzinfo=UTC))) == 2022
    # A zone may be ahead of the file's clock by up to a day.
    assert first_year(last, 0, second(datetime(2025, 12, 31, 12, tzinfo=UTC))) == 2025
    leap_day = yearless(datetime(1972, 2, 29, tzinfo=UTC))
    assert first_year(leap_day, 0, second(datetime(2027, 6, 1, tzinfo=UTC))) == 2024
