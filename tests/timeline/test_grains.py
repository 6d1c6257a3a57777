"""The grain of stamps: found where it is, and not found where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.timeline._grains import TICK_STAMPS_MIN, detected_grain_ns, stamps_by_clock

START_NS = 1_790_000_000_123_456_789


@pytest.mark.parametrize("grain", [10**9, 10**6, 10**3, 100, 15_625_000, 7])
@pytest.mark.parametrize("count", [40, 5000])
def test_cut_stamps_show_their_grain(grain: int, count: int) -> None:
    exact = START_NS + np.random.default_rng(1).integers(0, 10**13, count)
    assert detected_grain_ns(exact // grain * grain) == grain
    assert detected_grain_ns(exact // grain * grain + 3) == grain


def test_a_few_stamps_show_a_decimal_grain_only() -> None:
    irregular = np.array([1, 78, 1003, 2999])
    assert detected_grain_ns(irregular * 10**9) == 10**9
    assert detected_grain_ns(irregular * 10**9 + 5 * 10**6) == 10**6
    assert detected_grain_ns(irregular * 7) == 0
    assert detected_grain_ns(irregular[:2] * 10**9) == 0


def test_a_timetable_is_no_grain() -> None:
    regular = np.arange(10_000) * 100_000_007
    assert detected_grain_ns(START_NS + regular) == 0
    assert detected_grain_ns(np.arange(10_000) * 10**8) == 10**6
    regular[-1] += 1
    assert detected_grain_ns(regular) == 0


@given(st.integers(0, 2**32))
def test_exact_stamps_have_none(seed: int) -> None:
    stamps = np.random.default_rng(seed).integers(-(2**62), 2**62, 2 * TICK_STAMPS_MIN)
    assert detected_grain_ns(stamps) == 0


def test_one_stamp_that_does_not_fit_is_enough_to_see_a_finer_grain() -> None:
    stamps = np.arange(3_000_000) ** 2 * 10**6
    assert detected_grain_ns(stamps) == 10**6
    stamps[-1] += 1000
    assert detected_grain_ns(stamps) == 1000
    stamps[-1] += 1
    assert detected_grain_ns(stamps) == 0


def test_each_clock_has_the_stamps_it_sent_and_received_by() -> None:
    sent = (np.array([0, 2, 0], dtype=np.int32), np.array([1, 2, 3]))
    received = (np.array([2, 0, 3], dtype=np.int32), np.array([4, 5, 6]))
    found = {code: sorted(stamps.tolist()) for code, stamps in stamps_by_clock(4, [sent, received])}
    assert found == {0: [1, 3, 5], 2: [2, 4], 3: [6]}
