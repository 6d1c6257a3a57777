"""What a function returned, as JSON, or why not."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
from collections import Counter, OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.cli._json_value import ValueNotJson, json_line, json_value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@dataclasses.dataclass
class Size:
    width: int
    path: Path


Point = namedtuple("Point", "x y")  # the untyped kind is to work too


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


@given(JSON)
def test_what_json_can_say_comes_back_equal(value: Any) -> None:
    line = json_line(json_value(value))
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert json.loads(line) == value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, "a"), [1, "a"]),
        (Point(1, (2, 3)), {"x": 1, "y": [2, 3]}),
        (Size(3, Path("a/b")), {"width": 3, "path": "a/b"}),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset("b"), ["b"]),
        (datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC), "2026-03-01T12:00:00+00:00"),
        (datetime.date(2026, 3, 1), "2026-03-01"),
        (datetime.time(1, 2), "01:02:00"),
        (decimal.Decimal("0.10000000000000000001"), "0.10000000000000000001"),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        ({1: "one", 2: "two"}, {"1": "one", "2": "two"}),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ({"deep": [Point(np.int8(1), None)]}, {"deep": [{"x": 1, "y": None}]}),
    ],
)
def test_plain_data_of_python_has_a_word(value: object, plain: object) -> None:
    assert json_value(value) == plain
    assert json.loads(json_line(json_value(value))) == plain


def test_a_set_whose_members_cannot_be_sorted_is_an_array_all_the_same() -> None:
    assert sorted(json_value({1, "a"}), key=str) == [1, "a"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "the value is nan"),
        ({"a": [1, float("inf")]}, "the value['a'][1] is inf"),
        (np.array([1.0, np.nan]), "the value[1] is nan"),
        (Size(1, object()), "the value.path is of type object"),  # type: ignore[arg-type]
        (Point(b"x", 1), "the value.x is of type bytes"),
        ([Colour.RED], "Colour; JSON has no word"),
        ({(1, 2): 3}, "the value has a key of type tuple ((1, 2))"),
        ({True: 3}, "the value has a key of type bool"),
        ({1: "a", "1": "b"}, "the value has two keys that are '1' in JSON"),
        (1j, "the value is of type complex"),
        (np.datetime64("2026-01-01T00:00:00.000000001"), "the value is of type numpy.datetime64"),
        (np.array([1j]), "the value[0] is of type complex"),
        (len, "the value is of type builtin_function_or_method"),
        (Size, "the value is of type type"),
    ],
)
def test_what_has_no_word_is_an_error_that_says_where_and_what(value: object, message: str) -> None:
    with pytest.raises(ValueNotJson) as caught:
        json_value(value)
    assert message in str(caught.value)


def test_a_value_that_holds_itself_is_an_error() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ValueNotJson, match="nested too deep, or holds itself"):
        json_value(value)


def test_numbers_that_are_also_names_are_numbers() -> None:
    with pytest.raises(ValueNotJson, match="Level"):
        json_value(Level.HIGH)


def test_text_stays_readable_and_a_broken_file_name_survives() -> None:
    assert json_line("größe") == '"größe"\n'.encode()
    assert json_line("caf\udce9") == b'"caf\\udce9"\n'
    assert json.loads(json_line("caf\udce9")) == "caf\udce9"
