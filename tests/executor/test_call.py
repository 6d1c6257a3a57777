"""A call as a future: the standard one in all that can be seen, whoever comes first."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.engines import Function
from coeval.executor._call import CallFuture, CallOptions, MapChunk


def running() -> CallFuture:
    call = CallFuture()
    assert call.start()
    return call


def test_it_begins_as_a_pending_one_and_may_be_cancelled_once() -> None:
    call = CallFuture()
    assert (call.running(), call.done(), call.cancelled()) == (False, False, False)
    assert call.cancel()
    assert call.cancel()
    assert call.cancelled()
    assert not call.start()
    with pytest.raises(CancelledError):
        call.result(0)


def test_a_running_one_cannot_be_cancelled() -> None:
    call = running()
    assert not call.cancel()
    call.finish(3)
    assert call.result() == 3
    assert call.exception() is None


def test_a_failure_is_raised_as_it_is() -> None:
    call, error = running(), ValueError("no")
    call.fail(error)
    assert call.exception() is error
    with pytest.raises(ValueError, match="no"):
        call.result()


@pytest.mark.parametrize("end", [lambda call: call.finish(5), lambda call: call.fail(ValueError("no"))])
def test_nobody_who_holds_the_condition_sees_it_become_done(end: Callable[[CallFuture], None]) -> None:
    # As `as_completed` does: what is done then it does not wait for, and must not be told of.
    call, told = running(), threading.Event()
    call.add_done_callback(lambda _: told.set())
    with call._condition:
        ending = threading.Thread(target=end, args=(call,))
        ending.start()
        assert not told.wait(0.05)
        assert not call.done()
    ending.join(30)
    assert call.done()
    assert told.is_set()


def test_whoever_waits_first_is_told_later() -> None:
    call, seen = running(), threading.Event()
    results: list[object] = []

    def wait() -> None:
        call.add_done_callback(lambda _: seen.set())
        results.append(call.result(30))

    waiting = threading.Thread(target=wait)
    waiting.start()
    call.finish(5)
    waiting.join(30)
    assert results == [5]
    assert seen.wait(30)


def test_a_resolution_and_a_first_waiter_at_the_same_moment_never_miss_each_other() -> None:
    for _ in range(500):
        call, both = running(), threading.Barrier(2)
        told: list[Future[object]] = []

        def add(call: CallFuture = call, both: threading.Barrier = both, told: list[Future[object]] = told) -> None:
            both.wait()
            call.add_done_callback(told.append)

        adding = threading.Thread(target=add)
        adding.start()
        both.wait()
        call.finish(1)
        adding.join(30)
        assert told == [call]


def test_the_standard_functions_take_it() -> None:
    calls = [running() for _ in range(3)]
    calls[0].finish(0)
    calls[1].fail(ValueError())
    done, not_done = concurrent.futures.wait(calls, timeout=0)
    assert (done, not_done) == (set(calls[:2]), {calls[2]})
    calls[2].finish(2)
    assert set(concurrent.futures.as_completed(calls, timeout=0)) == set(calls)


@given(st.integers(1, 30), st.lists(st.integers(1, 29), max_size=4))
def test_parts_of_a_chunk_are_its_items_in_order_and_each_is_resolved_by_itself(count: int, cuts: list[int]) -> None:
    class Home:
        segments = None

    function = Function(0, "m:f", b"")
    chunk = MapChunk(function, range(count), b"", CallOptions(), Home(), spread=False, stride=4)  # type: ignore[arg-type]
    chunk.number = 100
    assert chunk.start()
    for position in cuts:
        if 0 < position < chunk.count:
            chunk.cut(position)
    parts: list[MapChunk] = []
    part: MapChunk | None = chunk
    while part is not None:
        parts.append(part)
        part = part.rest
    assert [item for part in parts for item in part.items] == list(range(count))
    assert [part.number - 100 for part in parts] == [part.items[0] for part in parts]
    for part in parts:
        part.values += list(part.items)
        part.finish_if_all_is_home()
    assert [value for part in parts for value in part.result(0)] == list(range(count))
