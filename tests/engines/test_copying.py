from __future__ import annotations

import _thread
import os
import sys
import threading

import numpy as np
import pytest

from coeval.engines import _copying
from coeval.engines._copying import LARGE_BYTES_MIN, PIECE_BYTES, copy

FRAME = 128


@pytest.fixture(params=["two threads", "one thread"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "one thread":

        def refuse(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(_thread, "start_new_thread", refuse)
    return str(request.param)


@pytest.mark.parametrize("size", [0, 1, 5000, LARGE_BYTES_MIN, LARGE_BYTES_MIN + PIECE_BYTES + 63])
@pytest.mark.parametrize(("to", "origin"), [(0, 0), (1, 0), (0, 1), (40, 7)])
def test_all_bytes_arrive_and_none_beside_them_is_touched(way: str, size: int, to: int, origin: int) -> None:
    numbers = np.random.default_rng(size).integers(0, 256, FRAME + size, dtype=np.uint8)
    target = np.full(size + 2 * FRAME, 77, np.uint8)
    copy(target.data[FRAME + to : FRAME + to + size], numbers.data[origin : origin + size])
    assert (target[FRAME + to : FRAME + to + size] == numbers[origin : origin + size]).all()
    assert (target[: FRAME + to] == 77).all()
    assert (target[FRAME + to + size :] == 77).all()


def test_a_source_that_may_only_be_read_is_copied(way: str) -> None:
    source = os.urandom(1 << 16) * (LARGE_BYTES_MIN >> 16)
    target = bytearray(len(source))
    copy(memoryview(target), memoryview(source))
    assert target == source


def test_each_piece_is_taken_once() -> None:
    size = 9 * PIECE_BYTES + 64
    taken: list[tuple[int, int]] = []
    _copying._by_two_threads(lambda begin, end: taken.append((begin, end)), size)
    begins = range(0, size, PIECE_BYTES)
    assert sorted(taken) == [(begin, min(begin + PIECE_BYTES, size)) for begin in begins]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core is for both")
def test_the_second_thread_leaves_the_core_of_the_first_and_the_first_may_use_all_that_it_could() -> None:
    mine, usable = threading.get_ident(), os.sched_getaffinity(0)
    both_are_here = threading.Barrier(2)
    seen: dict[bool, set[int]] = {}

    def move(begin: int, end: int) -> None:
        if (is_mine := threading.get_ident() == mine) not in seen:
            seen[is_mine] = os.sched_getaffinity(0)
            both_are_here.wait(10)

    _copying._by_two_threads(move, 9 * PIECE_BYTES)
    assert seen[True] == os.sched_getaffinity(0) == usable
    assert len(usable - seen[False]) == 1


@pytest.mark.parametrize("who", ["this thread", "the other thread"])
def test_what_goes_wrong_in_either_thread_is_raised(who: str) -> None:
    mine, has_failed = threading.get_ident(), threading.Event()

    def move(begin: int, end: int) -> None:
        if (threading.get_ident() == mine) == (who == "this thread"):
            has_failed.set()
            raise MemoryError("no page")
        assert has_failed.wait(10)

    with pytest.raises(MemoryError, match="no page"):
        _copying._by_two_threads(move, 9 * PIECE_BYTES)


def test_little_is_copied_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "numpy")
    target = bytearray(3 * PIECE_BYTES + 1)
    source = os.urandom(len(target))
    copy(memoryview(target), memoryview(source))
    assert target == source
