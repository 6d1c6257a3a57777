from __future__ import annotations

import functools
import math
import subprocess
import sys

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.engines._payload import dump, is_importable, load


def double(x: int) -> int:
    return 2 * x


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_values_come_back_equal(value: object) -> None:
    assert load(dump(value)) == value


def test_a_text_that_looks_like_a_main_reference_still_comes_back() -> None:
    assert load(dump("__main__")) == "__main__"


@pytest.mark.parametrize(
    ("function", "importable"),
    [
        (math.sqrt, True),
        (functools.reduce, True),
        (int.bit_length, False),  # a method descriptor has no module of its own
        (lambda x: x, False),
        (functools.partial(math.pow, 2), False),
        ("text".upper, False),
    ],
)
def test_only_what_another_process_finds_by_name_is_importable(function: object, importable: bool) -> None:
    assert is_importable(function) is importable


def test_a_lambda_travels_by_value() -> None:
    factor = 3
    assert load(dump(lambda x: x * factor))(5) == 15


def test_what_is_defined_in_main_is_rebuilt_where_main_is_another() -> None:
    program = (
        "import sys; from coeval.engines._payload import dump\n"
        "def triple(x): return 3 * x\n"
        "sys.stdout.buffer.write(dump((triple, [triple])))"
    )
    data = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    function, [same] = load(data)
    assert function(4) == same(4) == 12


def test_modules_that_the_user_registered_travel_by_value() -> None:
    module = sys.modules[double.__module__]
    cloudpickle.register_pickle_by_value(module)
    try:
        assert not is_importable(double)
        assert b"double" in dump(double)
        assert len(dump(double)) > 200
    finally:
        cloudpickle.unregister_pickle_by_value(module)
