"""One pair of clocks: false points told from steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.alignment._pair_scan import Points, is_consistent, scan_of

SLOPE = 200e-6
ROUND_TRIP_NS = 200_000


def pair(seed: int, count: int = 400, step_ns: float = 0.0, at: float = 0.5, slow_ns: float = 100_000) -> Points:
    """Both kinds in turn, a millisecond apart, whose offset steps at a part of the way."""
    random = np.random.default_rng(seed)
    x = (np.arange(count) * 1e6).astype(np.float64)
    is_upper = np.arange(count) % 2 == 0
    took = ROUND_TRIP_NS / 2 + random.exponential(slow_ns, count)
    offset = np.where(np.arange(count) >= at * count, step_ns, 0.0)
    return Points(x, np.where(is_upper, offset + took, offset - took), is_upper, SLOPE)


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6))
def test_without_a_contradiction_there_are_neither_false_points_nor_breaks(seed: int) -> None:
    points = pair(seed)
    assert is_consistent(points)
    scan = scan_of(points)
    assert not len(scan.false)
    assert not scan.breaks


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6), at=st.floats(0.1, 0.9), forward=st.booleans())
def test_a_step_above_the_round_trip_is_one_break_around_its_true_place(seed: int, at: float, forward: bool) -> None:
    points = pair(seed, step_ns=2_000_000 if forward else -2_000_000, at=at)
    scan = scan_of(points)
    assert not len(scan.false)
    (found,) = scan.breaks
    assert found.before < at * 400 <= found.after
    for part in (np.arange(found.before + 1), np.arange(found.after, 400)):
        assert is_consistent(points.among(part))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), size=st.floats(1e6, 1e10), data=st.data())
def test_single_false_points_are_found_and_no_good_ones_with_them(seed: int, size: float, data: st.DataObject) -> None:
    points = pair(seed)
    wrong = sorted(data.draw(st.sets(st.integers(3, 19), min_size=1, max_size=6)))
    rows = np.array(wrong) * 20
    excess = points.excess.copy()
    excess[rows] += np.where(points.is_upper[rows], -size, size)  # too fast
    scan = scan_of(Points(points.x, excess, points.is_upper, SLOPE))
    assert not scan.breaks
    assert scan.false.tolist() == rows.tolist()


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_points_that_contradict_alone_neither_is_called_false(order: int) -> None:
    points = Points(np.array([0.0, 10.0]), np.array([-1e6, 1e6]) * order, np.array([True, False])[::order], SLOPE)
    assert not is_consistent(points)
    scan = scan_of(points)
    assert not len(scan.false)
    assert not scan.breaks


def test_a_drift_within_the_slope_is_no_contradiction_and_beyond_it_is() -> None:
    x = (np.arange(100) * 1e9).astype(np.float64)
    is_upper = np.arange(100) % 2 == 0
    for rate, consistent in ((190e-6, True), (250e-6, False)):
        excess = x * rate + np.where(is_upper, 1000.0, -1000.0)
        assert is_consistent(Points(x, excess, is_upper, SLOPE)) is consistent


def test_nothing_is_consistent() -> None:
    none = np.empty(0, dtype=np.float64)
    points = Points(none, none, np.empty(0, dtype=np.bool_), SLOPE)
    assert is_consistent(points)
    assert not scan_of(points).breaks


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), size=st.floats(2e6, 1e10), forward=st.booleans(), length=st.integers(16, 60))
def test_a_short_stretch_between_two_steps_is_not_called_false(
    seed: int, size: float, forward: bool, length: int
) -> None:
    """Of what a short stretch contradicts only one kind does; the other is slow by the old offset and as good."""
    points = pair(seed)
    inside = np.arange(200, 200 + length)
    excess = points.excess.copy()
    excess[inside] += size if forward else -size
    scan = scan_of(Points(points.x, excess, points.is_upper, SLOPE))
    assert not len(scan.false)
    assert len(scan.breaks) == 2
    first, second = scan.breaks
    assert first.before < 200 <= first.after <= second.before < 200 + length <= second.after
