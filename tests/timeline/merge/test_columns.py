"""Columns of one name, stored differently, become one."""

from __future__ import annotations

import pyarrow as pa
import pytest

from coeval.timeline.merge._columns import conformed, texts_repeat, united

TEXTS = pa.dictionary(pa.int32(), pa.string())


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.int64(), pa.string(), pa.string()),
        (pa.string(), pa.large_string(), pa.string()),
        (pa.string_view(), pa.string(), pa.string()),
        (TEXTS, pa.string(), pa.string()),
        (TEXTS, pa.dictionary(pa.int8(), pa.large_string()), TEXTS),
        (TEXTS, pa.int64(), pa.string()),
        (pa.null(), pa.int64(), pa.int64()),
        (pa.null(), pa.null(), pa.string()),
        (pa.bool_(), pa.int64(), pa.string()),
        (pa.timestamp("ms", "UTC"), pa.timestamp("ns", "UTC"), pa.timestamp("ns", "UTC")),
        (pa.timestamp("ms"), pa.timestamp("ns", "UTC"), pa.string()),
        (pa.list_(pa.int64()), pa.string(), pa.string()),
    ],
)
def test_numbers_widen_and_what_nothing_else_unites_is_text(
    one: pa.DataType, other: pa.DataType, expected: pa.DataType
) -> None:
    for pair in ((one, other), (other, one)):
        assert united([pa.schema([("it", kind)]) for kind in pair]).field("it").type == expected


@pytest.mark.parametrize(
    ("values", "kind", "to", "expected"),
    [
        ([1, None], pa.int32(), pa.int64(), [1, None]),
        ([1, None], pa.int32(), pa.string(), ["1", None]),
        (["a", None, "a"], pa.string(), TEXTS, ["a", None, "a"]),
        (["a", None, "a"], TEXTS, pa.string(), ["a", None, "a"]),
        ([None, None], pa.null(), TEXTS, [None, None]),
        ([[1, 2], None], pa.list_(pa.int64()), pa.string(), ["[1, 2]", None]),
        ([{"a": "é"}], pa.struct([("a", pa.string())]), pa.string(), ['{"a": "é"}']),
        ([b"\xff"], pa.binary(), pa.string(), ["\\xff"]),
    ],
)
def test_no_value_is_lost_where_a_column_changes_its_type(
    values: list[object], kind: pa.DataType, to: pa.DataType, expected: list[object]
) -> None:
    batch = pa.record_batch([pa.array(values, kind)], names=["it"])
    made = conformed(batch, pa.schema([("it", to), ("more", pa.int64())]))
    assert made.column("it").type == to
    assert made.column("it").to_pylist() == expected
    assert made.column("more").null_count == len(values)


def test_columns_come_in_the_order_of_their_first_appearance() -> None:
    schemas = [pa.schema([("b", pa.int64()), ("a", pa.int64())]), pa.schema([("c", pa.int64()), ("a", pa.int64())])]
    assert united(schemas).names == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], False),
        (["a"], False),
        (["a"] * 4, True),
        (["a", "b"] * 4, True),
        (["a", "b", "c"] * 3, False),
        ([*"abcd", *[None] * 12], True),
        ([None], True),
        ([*"abcd"] * 5_000 + [str(number) for number in range(50_000)], True),
    ],
)
def test_texts_repeat_where_each_of_the_first_comes_four_times_on_average(
    values: list[str | None], expected: bool
) -> None:
    column = pa.array(values, pa.string())
    assert texts_repeat(column) is expected
    assert texts_repeat(pa.chunked_array([column[:1], column[1:]])) is expected
