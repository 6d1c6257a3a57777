from __future__ import annotations

import functools
import math
import sqlite3
import sys
import threading
from collections.abc import Callable

import pytest

from coeval.executor._functions import Functions, find_unsendable, function_name


def test_an_importable_function_keeps_one_number() -> None:
    functions = Functions()
    first, is_new = functions.find(math.sqrt)
    again, is_new_again = functions.find(math.sqrt)
    assert (first, is_new, is_new_again) == (again, True, False)
    assert first.name == "math:sqrt"


def test_the_same_code_by_value_keeps_its_number_and_changed_code_gets_another() -> None:
    functions = Functions()
    factor = 2

    def scale(x: int) -> int:
        return factor * x

    first, _ = functions.find(scale)
    assert functions.find(scale) == (first, False)
    factor = 3
    changed, is_new = functions.find(scale)
    assert is_new
    assert changed.number != first.number


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (math.sqrt, "math:sqrt"),
        (functools.partial(functools.partial(math.pow, 2), 3), "math:pow"),
        (functools.lru_cache(math.floor), "math:floor"),
    ],
)
def test_names_are_those_that_people_know(function: object, name: str) -> None:
    assert function_name(function) == name


class Holder:
    def __init__(self) -> None:
        self.fine = 1
        self.connection = sqlite3.connect(":memory:")


def test_the_innermost_part_that_cannot_be_sent_is_named() -> None:
    holder = Holder()
    try:
        path = find_unsendable(print, ("fine", {"key": [holder]}), {})
        assert path == "args[1]['key'][0].connection (sqlite3.Connection)"
        assert find_unsendable(print, (), {"h": holder}).startswith("kwargs['h'].connection")
    finally:
        holder.connection.close()


def test_a_closure_over_what_cannot_be_sent_is_named() -> None:
    lock = threading.Lock()

    def guarded() -> bool:
        return lock.locked()

    assert find_unsendable(guarded, (), {}) == "function closure 'lock' (_thread.lock)"


def test_functions_that_carry_much_do_not_fill_the_memory() -> None:
    functions = Functions()
    for number in range(20):
        functions.find(functools.partial(len, bytes([number]) * (1 << 23)))
    assert sum(len(body) for body in functions._bodies) <= 1 << 26


def test_what_refuses_to_be_looked_at_is_still_said_to_be_unsendable() -> None:
    def outer() -> Callable[[], object]:
        def inner() -> object:
            return later

        if sys.maxsize < 0:
            later = 1
        return inner

    lock = threading.Lock()
    function = outer()
    function.__dict__["lock"] = lock
    assert find_unsendable(function, (), {}) == "a part"
