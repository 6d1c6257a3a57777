from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coeval.executor._batching import Pace

BATCH_NS = 100_000_000


def test_calls_of_which_nothing_is_known_travel_alone() -> None:
    assert Pace(1000, BATCH_NS).items(0, waiting=20_000, window=4) == 1


def test_short_calls_travel_together_as_long_as_there_is_a_backlog() -> None:
    pace = Pace(1000, BATCH_NS)
    pace.observe(0, items=1, duration_ns=2_000)
    assert pace.items(0, waiting=20_000, window=4) == 1000
    assert pace.items(0, waiting=80, window=4) == 10
    assert pace.items(0, waiting=1, window=4) == 1


def test_long_calls_travel_alone() -> None:
    pace = Pace(1000, BATCH_NS)
    pace.observe(0, items=1, duration_ns=BATCH_NS)
    assert pace.items(0, waiting=20_000, window=4) == 1


def test_calls_of_which_two_or_three_would_make_a_batch_travel_alone() -> None:
    pace = Pace(1000, BATCH_NS)
    pace.observe(0, items=1, duration_ns=BATCH_NS // 4)
    pace.observe(1, items=1, duration_ns=BATCH_NS // 4 + 1)
    assert pace.items(0, waiting=20_000, window=4) == 4
    assert pace.items(1, waiting=20_000, window=4) == 1


def test_an_engine_that_wants_single_calls_gets_them() -> None:
    pace = Pace(1, BATCH_NS)
    pace.observe(0, items=1, duration_ns=10)
    assert pace.items(0, waiting=20_000, window=4) == 1


def test_functions_have_a_pace_of_their_own() -> None:
    pace = Pace(100, BATCH_NS)
    pace.observe(0, items=1, duration_ns=10)
    assert pace.items(1, waiting=20_000, window=4) == 1


@given(
    st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 10**12))),
    st.integers(1, 10**6),
    st.integers(1, 1000),
    st.integers(1, 10_000),
)
def test_a_batch_is_never_empty_nor_larger_than_the_engine_takes(
    seen: list[tuple[int, int]], waiting: int, window: int, items_max: int
) -> None:
    pace = Pace(items_max, BATCH_NS)
    for items, duration_ns in seen:
        pace.observe(0, items, duration_ns)
    assert 1 <= pace.items(0, waiting, window) <= items_max
