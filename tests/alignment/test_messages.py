"""Columns keep every message as it was given, however they were put together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import Messages
from coeval.clocks import ClockId, Message

A, B, C = ClockId("a"), ClockId("b"), ClockId("c")

readings = st.integers(-(2**62), 2**62)
durations = st.integers(0, 10**9)
messages = st.lists(
    st.builds(
        Message,
        st.sampled_from((A, B, C)),
        readings,
        st.sampled_from((A, B, C)),
        readings,
        st.sampled_from(("", "x", "y")),
        durations,
        durations,
        durations,
        st.booleans(),
    ),
    max_size=8,
)


@given(messages)
def test_columns_give_back_what_was_put_in(rows: list[Message]) -> None:
    columns = Messages.of(rows)
    assert [columns[index] for index in range(len(columns))] == rows


@given(st.lists(messages, max_size=4))
def test_parts_are_concatenated_in_order(parts: list[list[Message]]) -> None:
    columns = Messages.concatenated(Messages.of(part) for part in parts)
    assert [columns[index] for index in range(len(columns))] == [row for part in parts for row in part]


def test_one_direction_is_built_from_arrays_with_values_given_once() -> None:
    columns = Messages.between(A, B, [1, 2], [5, 6], delay_ns_min=3, hard=[True, False], ids=["p", "q"])
    assert [columns[0], columns[1]] == [
        Message(A, 1, B, 5, "p", delay_ns_min=3),
        Message(A, 2, B, 6, "q", 0, 0, 3, False),
    ]


def test_processes_are_renamed_to_the_clocks_they_share() -> None:
    columns = Messages.of([Message(A, 1, B, 2), Message(C, 3, A, 4)]).renamed({"a": ClockId("k"), "b": ClockId("k")})
    assert columns.clocks == ("k", "c")
    assert [columns[0][:4], columns[1][:4]] == [("k", 1, "k", 2), ("c", 3, "k", 4)]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths"):
        Messages.between(A, B, [1, 2], [5])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("sender_resolution_ns", Message(A, 1, B, 2, sender_resolution_ns=-4)),
        ("receiver_resolution_ns", Message(A, 1, B, 2, receiver_resolution_ns=-4)),
        ("delay_ns_min", Message(A, 1, B, 2, delay_ns_min=-4)),
    ],
)
def test_a_negative_resolution_or_delay_is_refused(column: str, message: Message) -> None:
    with pytest.raises(ValueError, match=f"{column} is -4 at index 1"):
        Messages.of([Message(A, 1, B, 2), message])


def test_a_code_without_a_clock_is_refused() -> None:
    good = Messages.between(A, B, [1], [5])
    with pytest.raises(ValueError, match="2 clocks"):
        Messages(
            good.clocks,
            np.array([2], dtype=np.int32),
            good.receiver,
            good.sent_ns,
            good.received_ns,
            good.sender_resolution_ns,
            good.receiver_resolution_ns,
            good.delay_ns_min,
            good.hard,
        )


def test_a_reading_whose_grain_goes_beyond_int64_is_refused() -> None:
    with pytest.raises(ValueError, match="int64"):
        Messages.between(A, B, [0], [2**63 - 5], receiver_resolution_ns=10)
