"""The middle of two int64 numbers, and columns as single instants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST, Instants
from coeval.alignment._instants import middle
from coeval.clocks import UTC, Instant

known = st.integers(UNKNOWN_EARLIEST + 1, UNKNOWN_LATEST - 1)


@given(known, known)
def test_the_middle_is_the_floored_mean_without_overflow(first: int, second: int) -> None:
    one, other = np.array([first], dtype=np.int64), np.array([second], dtype=np.int64)
    assert middle(one, other, one).tolist() == [(first + second) // 2]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((1, 2, 3), (1, 2, 3)),
        ((UNKNOWN_EARLIEST, 3, 3), (None, 3, 3)),
        ((1, 1, UNKNOWN_LATEST), (1, 1, None)),
        ((UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST), (None, None, None)),
    ],
)
def test_sentinels_become_none_in_a_single_instant(
    row: tuple[int, int, int], expected: tuple[int | None, int | None, int | None]
) -> None:
    earliest, estimate, latest = (np.array([value], dtype=np.int64) for value in row)
    columns = Instants(UTC, earliest, estimate, latest, "declared")
    assert columns[0] == Instant(UTC, *expected, "declared")
    assert columns.known.tolist() == [None not in expected]
