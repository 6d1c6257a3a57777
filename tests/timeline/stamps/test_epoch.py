from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.errors import WrongTable
from coeval.timeline.stamps import UNITS, unit_of


@given(st.sampled_from(sorted(UNITS)), st.lists(st.integers(10**9, 4_102_444_799), min_size=1))
def test_unit_is_told_by_the_years_it_leads_to(unit: str, seconds: list[int]) -> None:
    per_s = 10**9 // dict(UNITS)[unit]  # type: ignore[index]
    counts = np.array(seconds, np.int64) * per_s
    assert unit_of(counts, "", "column ts of x.csv") == unit
    assert unit_of(counts, unit, "column ts of x.csv") == unit


def test_other_unit_than_was_said_is_refused_with_three_values_in_all_units() -> None:
    with pytest.raises(WrongTable) as caught:
        unit_of(
            np.array([1_793_882_096_123, 1_793_882_096_124, 1_793_882_096_125, 1_793_882_096_126]), "s", "column ts"
        )
    told = str(caught.value)
    assert "said to be in s, but is in ms" in told
    assert told.count("2026-11-05 in ms") == 3
    assert "in us" in told
    assert "in ns" in told


def test_units_that_do_not_agree_are_refused() -> None:
    with pytest.raises(WrongTable, match="is in different units"):
        unit_of(np.array([1_793_882_096, 1_793_882_096_123]), "", "column ts")


def test_small_counts_look_monotonic_and_want_an_anchor() -> None:
    with pytest.raises(WrongTable, match=r"looks monotonic.*\n.*1970.*\n(?s:.*)anchor"):
        unit_of(np.array([863_991]), "", "column ts")


def test_who_says_the_unit_of_a_monotonic_clock_is_believed() -> None:
    assert unit_of(np.array([863_991]), "s", "column ts") == "s"


def test_single_odd_count_is_shown() -> None:
    with pytest.raises(WrongTable, match=r"has counts that fit no unit(?s:.*)  17: "):
        unit_of(np.array([1_793_882_096, 17]), "", "column ts")
