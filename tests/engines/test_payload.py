from __future__ import annotations

import functools
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.clocks import SYSTEM_CLOCK
from coeval.engines._payload import (
    HEAVY_BYTES_MIN,
    drop,
    dump,
    dump_call,
    dump_result,
    is_importable,
    load,
    load_call,
    take,
)
from coeval.engines._segments import Heavy, Segments
from coeval.engines.local._frames import FrameReader, frame


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


LARGE = HEAVY_BYTES_MIN // 8 * 3

NUMBER_LIKE = st.none() | st.booleans() | st.integers() | st.floats()
SMALL_AND_PLAIN = NUMBER_LIKE | st.text(st.characters(exclude_categories=()), max_size=30)


@pytest.fixture(scope="module")
def segments() -> Iterator[Segments]:
    made = Segments(SYSTEM_CLOCK)
    yield made
    made.close()


def there_and_back(value: object, segments: Segments, *, beside: bool) -> Any:
    payload = dump(value, segments)
    assert isinstance(payload, Heavy) is beside
    back = load(payload)
    drop(payload, segments)
    return back


@given(PLAIN)
def test_plain_values_come_back_equal_where_there_are_segments(segments: Segments, value: object) -> None:
    assert there_and_back(value, segments, beside=False) == value


def exactly(value: object) -> object:
    """By which two values are told apart that `==` calls equal, and a NaN is what it is."""
    return type(value), repr(value)


@given(st.lists(SMALL_AND_PLAIN, max_size=64).map(tuple))
def test_small_plain_arguments_travel_as_they_are(segments: Segments, args: tuple[Any, ...]) -> None:
    assert dump_call(args, {}, segments) is args
    travelled = FrameReader().take(frame([args]))[0]
    assert [exactly(value) for value in load_call(travelled)[0]] == [exactly(value) for value in args]


@given(SMALL_AND_PLAIN)
def test_small_plain_results_travel_as_they_are(segments: Segments, value: object) -> None:
    assert dump_result(value, segments) is value
    assert exactly(take(FrameReader().take(frame([value]))[0])) == exactly(value)


class Level(int):
    pass


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {"to": 2}),
        ((Level(1),), {}),
        (([],), {}),
        ((b"x",), {}),
        (((1, 2),), {}),
        (("x" * 2000,), {}),
        ((1 << 5000,), {}),
        ((-1 << 5000,), {}),
        ((0,) * 65, {}),
        ((1, 2j), {}),
    ],
    ids=["named", "subclass", "list", "bytes", "tuple", "long", "large", "low", "many", "complex"],
)
def test_other_arguments_are_pickled(segments: Segments, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    payload = dump_call(args, kwargs, segments)
    assert type(payload) is bytes
    assert load_call(payload) == (args, kwargs)
    assert type(load_call(payload)[0][0]) is type(args[0])


@pytest.mark.parametrize("value", [b"x", (1, 2), Level(1), [1], "x" * 2000, 1 << 5000, -1 << 5000])
def test_other_results_are_pickled(segments: Segments, value: object) -> None:
    payload = dump_result(value, segments)
    assert type(payload) is bytes
    assert exactly(take(payload)) == exactly(value)


def test_without_segments_everything_is_pickled() -> None:
    assert type(dump_call((1,), {}, None)) is bytes
    assert type(dump_result(1, None)) is bytes


@pytest.mark.parametrize(
    "value",
    [
        b"x" * LARGE * 8,
        bytearray(b"x" * LARGE * 8),
        "ä" * LARGE * 8,
        "\ud800" * LARGE * 8,
        (("a", b"x" * LARGE * 8, "b"), {"c": 1}),
        ((), {"long": b"x" * LARGE * 8}),
        [b"__main__" * LARGE, b"y" * LARGE * 8],
        list(range(LARGE)),
        {"half": b"x" * (HEAVY_BYTES_MIN // 2), "other": b"y" * (HEAVY_BYTES_MIN // 2)},
    ],
    ids=["bytes", "bytearray", "str", "surrogates", "argument", "named", "inner", "many", "together"],
)
def test_what_is_long_comes_back_equal_from_a_segment(segments: Segments, value: object) -> None:
    back = there_and_back(value, segments, beside=True)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(LARGE),
        np.asfortranarray(np.arange(LARGE * 2).reshape(2, LARGE)),
        np.arange(LARGE * 4)[::2],
        np.arange(LARGE * 2).reshape(2, LARGE)[:, 1:],
        np.arange(LARGE)[::-1],
        np.zeros(LARGE, dtype=[("a", "f8"), ("b", "U3")]),
        np.broadcast_to(np.float64(3), (LARGE,)),
    ],
    ids=["plain", "fortran", "strided", "sliced", "reversed", "records", "broadcast"],
)
def test_arrays_of_any_layout_come_back_equal(segments: Segments, array: Any) -> None:
    back = there_and_back(array, segments, beside=True)
    assert np.array_equal(back, array)
    assert back.dtype == array.dtype
    if array.flags.writeable:
        back[0] = back[-1]


def test_a_read_only_array_stays_read_only(segments: Segments) -> None:
    array = np.arange(LARGE)
    array.flags.writeable = False
    assert not there_and_back(array, segments, beside=True).flags.writeable


def test_small_and_empty_buffers_go_with_the_pickle(segments: Segments) -> None:
    back = there_and_back([np.arange(5), np.zeros((0, 3)), np.arange(LARGE)], segments, beside=True)
    assert list(back[0]) == [0, 1, 2, 3, 4]
    assert back[1].shape == (0, 3)
    assert np.array_equal(back[2], np.arange(LARGE))
    assert there_and_back(np.zeros((0, 3)), segments, beside=False).shape == (0, 3)


def test_buffers_are_placed_as_vector_instructions_want_them(segments: Segments) -> None:
    for array in there_and_back([np.ones(LARGE + number) for number in range(5)], segments, beside=True):
        assert array.ctypes.data % 64 == 0


def test_the_same_array_twice_is_one_array_there(segments: Segments) -> None:
    array = np.arange(LARGE)
    one, other = there_and_back([array, array], segments, beside=True)
    one[0] = 7
    assert other[0] == 7


def test_arrow_tables_come_back_equal(segments: Segments) -> None:
    table = pa.table({"number": np.arange(LARGE), "text": [str(number) for number in range(LARGE)]})
    assert there_and_back(table, segments, beside=True).equals(table)


def test_a_buffer_with_gaps_is_refused_as_pickle_does(segments: Segments) -> None:
    with pytest.raises(pickle.PicklingError, match="contiguous"):
        dump(pickle.PickleBuffer(memoryview(bytes(LARGE * 8))[::2]), segments)


def test_a_lambda_that_holds_an_array_travels_by_value_and_its_array_beside(segments: Segments) -> None:
    array = np.arange(LARGE)
    assert there_and_back(lambda: array, segments, beside=True)()[-1] == LARGE - 1


def test_what_cannot_be_pickled_takes_no_segment(segments: Segments) -> None:
    before = segments.lent_count
    with pytest.raises(TypeError, match="generator"):
        dump([np.arange(LARGE), (number for number in range(3))], segments)
    assert segments.lent_count == before


def test_a_value_that_cannot_be_rebuilt_frees_its_segment(segments: Segments) -> None:
    payload = dump([np.arange(LARGE), Broken()], segments)
    with pytest.raises(ValueError, match="broken"):
        take(payload)
    segments.give_back()
    assert segments.lent_count == 0


class Broken:
    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ()


def _refuse() -> None:
    raise ValueError("broken")


def test_an_array_of_a_class_in_main_is_rebuilt_elsewhere() -> None:
    program = (
        "import sys, os, pickle, numpy; from coeval.clocks import SYSTEM_CLOCK\n"
        "from coeval.engines._payload import dump; from coeval.engines._segments import Segments\n"
        "class Own(numpy.ndarray): pass\n"
        "made = dump([numpy.arange(100_000).view(Own), b'x' * 100_000], Segments(SYSTEM_CLOCK))\n"
        "os.write(1, pickle.dumps(made)); os.close(1); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        array, text = take(pickle.loads(process.stdout.read()))
    assert type(array).__name__ == "Own"
    assert array[-1] == 99_999
    assert text == b"x" * 100_000


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
        body = dump(double)
        assert isinstance(body, bytes)
        assert b"double" in body
        assert len(body) > 200
    finally:
        cloudpickle.unregister_pickle_by_value(module)
