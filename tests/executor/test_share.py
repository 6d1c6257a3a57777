from __future__ import annotations

import gc
import os
import pickle
from collections.abc import Iterator

import numpy as np
import pytest

from coeval.clocks import SYSTEM_CLOCK
from coeval.engines import _shares
from coeval.engines._payload import dump, load
from coeval.engines._segments import SegmentGone, Segments
from coeval.engines._shares import settle
from coeval.executor._share import Shared

COUNT = 1 << 20


@pytest.fixture
def segments() -> Iterator[Segments]:
    made = Segments(SYSTEM_CLOCK)
    yield made
    gc.collect()
    settle()
    made.close()
    while _shares._kept:
        _shares._forget(next(iter(_shares._kept)))


def test_a_handle_arrives_as_the_object_at_the_top_and_within(segments: Segments) -> None:
    shared = Shared(np.arange(COUNT), segments)
    (top, within), named = load(dump(((shared, [1, {"deep": shared}]), {"key": shared}), segments))
    assert top[5] == within[1]["deep"][5] == named["key"][5] == 5


def test_the_handle_itself_is_small(segments: Segments) -> None:
    assert len(pickle.dumps(Shared(np.zeros(COUNT), segments))) < 400


def test_two_calls_see_one_copy_that_neither_can_change(segments: Segments) -> None:
    payload = dump(Shared(np.zeros(COUNT), segments))
    shared = Shared({"array": np.zeros(COUNT), "list": [1]}, segments)
    payload = dump(shared)
    one, other = load(payload), load(payload)
    assert np.shares_memory(one["array"], other["array"])
    with pytest.raises(ValueError, match="read-only"):
        one["array"][0] = 1
    one["list"].append(2)
    one["new"] = 3
    assert other["list"] == [1]
    assert load(payload).keys() == {"array", "list"}


def test_memory_is_free_when_the_handle_is_gone(segments: Segments) -> None:
    shared = Shared(np.zeros(COUNT), segments)
    load(dump(shared))
    settle()
    assert segments.lent_count == 1
    del shared
    assert segments.lent_count == 0


def test_a_call_that_uses_the_object_holds_it_to_its_end(segments: Segments) -> None:
    with Shared(np.ones(COUNT), segments) as shared:
        used = load(dump(shared))
    settle()
    Shared(np.zeros(COUNT), segments).free()
    assert used.all()
    assert segments.lent_count == 1
    del used
    settle()
    segments.give_back()
    assert segments.lent_count == 0


@pytest.mark.parametrize("seen_before", [False, True])
def test_a_call_that_comes_after_the_end_fails_clearly(segments: Segments, seen_before: bool) -> None:
    with Shared(np.ones(COUNT), segments) as shared:
        payload = dump(shared)
        if seen_before:
            load(payload)
            settle()
    with pytest.raises(SegmentGone, match="freed"):
        load(payload)
    with pytest.raises(ValueError, match="share it again"):
        dump(shared, segments)
    assert repr(shared) == "<Shared ndarray, freed>"


def test_a_kept_mapping_of_a_freed_segment_is_not_mistaken_for_the_next_object(segments: Segments) -> None:
    for number in range(5):
        with Shared(np.full(COUNT, number), segments) as shared:
            assert (load(dump(shared)) == number).all()
            settle()


def test_more_objects_than_are_kept_still_arrive(segments: Segments) -> None:
    shared = [Shared(np.full(20_000, number), segments) for number in range(_shares._KEPT_MAX + 5)]
    for _ in range(2):
        arrived = [load(dump(handle)) for handle in shared]
        assert all((array == number).all() for number, array in enumerate(arrived))
        del arrived
        settle()
    assert len(_shares._kept) == _shares._KEPT_MAX


@pytest.mark.parametrize("value", [b"small", np.zeros(COUNT)])
def test_where_workers_are_elsewhere_the_content_travels_along(value: object) -> None:
    shared = Shared(value, None)
    assert np.array_equal(load(dump(shared)), value)  # type: ignore[arg-type]
    shared.free()
    shared.free()


def test_what_cannot_be_pickled_is_said_when_it_is_shared(segments: Segments) -> None:
    with pytest.raises(TypeError, match="generator"):
        Shared((number for number in range(3)), segments)


def test_a_forked_process_uses_a_handle_and_does_not_free_it(segments: Segments) -> None:
    shared = Shared(np.ones(COUNT), segments)
    pid = os.fork()
    if not pid:
        right = bool(load(dump(shared)).all())
        shared.free()
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert load(dump(shared)).all()
