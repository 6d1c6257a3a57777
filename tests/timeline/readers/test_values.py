"""Values of columns: what is a number, what is not and why, whatever the others are."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.errors import WrongTable
from coeval.timeline.readers._values import check_integer_type, flags, integers, names, texts

INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
NO_NUMBER = st.sampled_from(["x", "1.5", "1e9", "0x10", "1 2", "--1", "²", "\u0661", "nan", "-", "+"])
BEYOND = st.integers(min_value=2**63) | st.integers(max_value=-(2**63) - 1)
SPACES = st.sampled_from(["", " ", "\t", "  "])


def checked(column: pa.Array) -> tuple[list[int], dict[int, str]]:
    values, faults = integers(column)
    return values.tolist(), {row: fault.reason for fault in faults for row in fault.rows.tolist()}


@given(
    st.lists(st.tuples(INT64, SPACES, st.sampled_from(["{}", "{:+}", "{:022}"]), SPACES), max_size=20), st.booleans()
)
def test_whole_numbers_in_any_writing_are_read_exactly(cells: list[tuple[int, str, str, str]], binary: bool) -> None:
    column = pa.array([f"{left}{form.format(value)}{right}" for value, left, form, right in cells], pa.string())
    values, faults = checked(column.cast(pa.binary()) if binary else column)
    assert (values, faults) == ([value for value, *_ in cells], {})


@given(
    st.lists(
        st.one_of(
            INT64.map(lambda value: (str(value), None)),
            NO_NUMBER.map(lambda text: (text, "is no whole number")),
            BEYOND.map(lambda value: (str(value), "is beyond int64")),
            st.sampled_from([(None, "is missing"), ("  ", "is missing")]),
        ),
        max_size=30,
    )
)
def test_a_bad_value_has_its_reason_and_costs_no_other(cells: list[tuple[str | None, str | None]]) -> None:
    values, faults = checked(pa.array([text for text, _ in cells], pa.string()))
    assert faults == {row: reason for row, (_, reason) in enumerate(cells) if reason}
    assert [value for row, value in enumerate(values) if row not in faults] == [
        int(text) for text, reason in cells if reason is None and text is not None
    ]


def test_bytes_that_are_no_text_are_no_number() -> None:
    values, faults = checked(pa.array([b"1", b"\xff2", b"3"], pa.binary()))
    assert ([values[0], values[2]], faults) == ([1, 3], {1: "is no whole number"})


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None, 3], pa.int16()), ([1, 0, 3], {1: "is missing"})),
        (pa.array([1, 2**63], pa.uint64()), ([1, 0], {1: "is beyond int64"})),
        (pa.array(["7", "8"]).dictionary_encode(), ([7, 8], {})),
        (pa.array([None, None], pa.null()), ([0, 0], {0: "is missing", 1: "is missing"})),
        (pa.array([2, -3], pa.timestamp("ms", "UTC")), ([2_000_000, -3_000_000], {})),
        (pa.array([2**62], pa.timestamp("s", "UTC")), ([0], {0: "is beyond int64"})),
    ],
)
def test_every_type_that_holds_whole_nanoseconds_is_read(column: pa.Array, expected: object) -> None:
    check_integer_type("sent_ns", column.type, "calls")
    assert checked(column) == expected


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (pa.float64(), "a float of seconds since 1970 is only good to 240 ns"),
        (pa.decimal128(20, 3), "whole nanoseconds"),
        (pa.timestamp("ns"), "without a time zone"),
        (pa.bool_(), "expected are int64 nanoseconds"),
    ],
)
def test_a_type_that_cannot_be_nanoseconds_is_refused_with_what_to_do(kind: pa.DataType, advice: str) -> None:
    with pytest.raises(WrongTable, match="column sent_ns of calls") as caught:
        check_integer_type("sent_ns", kind, "calls")
    assert advice in str(caught.value)


def test_names_lose_the_space_around_them_and_equal_ones_share_a_code() -> None:
    codes, found = names(pa.array([b"a", b" a ", None, b"b", b"", b"\xff"]))
    assert (codes.tolist(), found) == ([0, 0, -1, 1, -1, 2], ["a", "b", None])


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_flags_are_read_from_words_and_are_true_where_nothing_is_said(kind: Any) -> None:
    values, faults = flags(pa.array(["true", "0", None, "NO", "maybe"]).cast(kind))
    assert values[:4].tolist() == [True, False, True, False]
    assert [(fault.reason, fault.rows.tolist()) for fault in faults] == [("is neither true nor false", [4])]
    assert flags(pa.array([True, None, False]))[0].tolist() == [True, True, False]


def test_text_that_is_no_utf8_is_shown_and_loses_no_other() -> None:
    assert texts(pa.array([b"a", b"\xff", None])).to_pylist() == ["a", "\\xff", None]
