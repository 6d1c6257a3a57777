from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.clocks import SYSTEM_CLOCK
from coeval.engines import _shares
from coeval.engines._dask import _share_names
from coeval.engines._dask._share_names import NAME_BYTES, PREFIX_BYTES, find, names_in, names_kept, placed
from coeval.engines._payload import dump, load
from coeval.engines._segments import Heavy, SegmentGone, Segments
from coeval.engines._shares import settle

PREFIX = bytes(range(PREFIX_BYTES))


def name(number: int) -> bytes:
    return PREFIX + number.to_bytes(NAME_BYTES - PREFIX_BYTES, "little")


class Handle:
    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return find, (name(self.number),)


@pytest.fixture
def heavy() -> Iterator[Heavy]:
    segments = Segments(SYSTEM_CLOCK)
    made = dump(np.arange(100_000), segments)
    assert isinstance(made, Heavy)
    yield made
    gc.collect()
    settle()
    _shares.forget(made)
    segments.close()
    _share_names._places.clear()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5), st.binary(max_size=200), st.integers(0, 100_000))
def test_names_are_found_wherever_they_are(numbers: list[int], filling: bytes, size: int) -> None:
    value = [filling, {"deep": [[Handle(number), filling] for number in numbers]}, bytes(size), *map(Handle, numbers)]
    assert names_in(pickle.dumps(value, 5), PREFIX) == {name(number) for number in numbers}


def test_names_of_another_engine_are_not_taken_for_ours() -> None:
    assert names_in(pickle.dumps(Handle(3)), bytes(PREFIX_BYTES)) == set()


def test_handle_is_the_object_where_its_place_was_said(heavy: Heavy) -> None:
    payload = placed(pickle.dumps([Handle(1), "other"]), {name(1): heavy, name(2): OSError("not needed")})
    array, other = load(payload)
    assert (array[5], other) == (5, "other")
    assert not array.flags.writeable


def test_payload_without_handles_stays_as_it_is(heavy: Heavy) -> None:
    payload = pickle.dumps([1, 2])
    assert placed(payload, {name(1): heavy}) is payload


def test_reason_why_it_is_not_there_is_raised() -> None:
    payload = placed(pickle.dumps(Handle(1)), {name(1): MemoryError("no room")})
    with pytest.raises(MemoryError, match="no room"):
        load(payload)


def test_handle_whose_place_nobody_said_fails_clearly() -> None:
    with pytest.raises(SegmentGone, match="compress"):
        load(pickle.dumps(Handle(77)))


def test_places_that_are_remembered_are_bounded(heavy: Heavy) -> None:
    for number in range(_share_names.PLACES_MAX + 10):
        load(placed(pickle.dumps(Handle(number)), {name(number): heavy}))
    assert len(_share_names._places) == _share_names.PLACES_MAX
    settle()


def test_where_names_are_kept_handles_survive_being_unpacked_and_packed_again(heavy: Heavy) -> None:
    with names_kept():
        together = load(pickle.dumps([Handle(1), Handle(2)]))
    again = dump(together[:1])
    assert isinstance(again, bytes)
    assert names_in(again, PREFIX) == {name(1)}
    (array,) = load(placed(again, {name(1): heavy}))
    assert array[7] == 7
