"""What a Pool's asynchronous methods give, without a pool."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future
from typing import Any

import pytest

from coeval.errors import CallStopped
from coeval.standard._results import AsyncResult, ResultIterator, failed


def running(count: int) -> list[Future[Any]]:
    futures: list[Future[Any]] = [Future() for _ in range(count)]
    for future in futures:
        future.set_running_or_notify_cancel()
    return futures


def test_a_result_is_there_when_its_last_call_is_done() -> None:
    futures, result = running(2), AsyncResult(sum)
    result.expect(futures)
    futures[1].set_result(2)
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0)
    futures[0].set_result(1)
    assert result.ready() and result.successful() and result.get(timeout=0) == 3


def test_the_first_failure_that_came_is_told_when_all_calls_are_done() -> None:
    futures, result = running(3), AsyncResult(sum)
    result.expect(futures)
    futures[2].set_exception(KeyError("first"))
    futures[0].set_exception(KeyError("second"))
    assert not result.ready()
    futures[1].set_result(1)
    assert not result.successful()
    with pytest.raises(KeyError, match="first"):
        result.get()


def test_a_result_of_no_calls_is_there_at_once() -> None:
    seen: list[int] = []
    result = AsyncResult(sum, seen.append)
    result.expect([])
    assert result.get(timeout=0) == 0 and seen == [0]


def test_callbacks_are_called_before_the_result_can_be_had() -> None:
    [future] = running(1)
    result = AsyncResult(sum, lambda value: seen.append((value, result.ready())))
    seen: list[tuple[int, bool]] = []
    result.expect([future])
    future.set_result(4)
    assert seen == [(4, False)] and result.ready()


def test_a_callback_that_raises_does_not_withhold_the_result(caplog: pytest.LogCaptureFixture) -> None:
    [future] = running(1)
    result = AsyncResult(sum, lambda value: 1 // 0)
    result.expect([future])
    future.set_result(4)
    assert result.get(timeout=0) == 4
    assert "ZeroDivisionError" in caplog.text


def test_an_error_callback_gets_the_exception() -> None:
    [future] = running(1)
    seen: list[BaseException] = []
    result = AsyncResult(sum, error_callback=seen.append)
    result.expect([future])
    future.set_exception(error := KeyError("k"))
    assert seen == [error]


def test_a_call_that_was_cancelled_failed() -> None:
    future: Future[int] = Future()
    result = AsyncResult(sum)
    result.expect([future])
    future.cancel()
    with pytest.raises(CallStopped, match="terminated before"):
        result.get()


def test_ordered_results_come_in_the_order_of_the_items() -> None:
    first, second = running(2)
    results = ResultIterator(ordered=True)
    results.expect(first)
    results.expect(second)
    results.end()
    second.set_result("b")
    for _ in range(2):
        with pytest.raises(multiprocessing.TimeoutError):
            results.next(timeout=0)
    first.set_result("a")
    assert list(results) == ["a", "b"]
    assert list(results) == []


def test_unordered_results_come_as_they_come() -> None:
    first, second = running(2)
    results = ResultIterator(ordered=False)
    results.expect(first)
    results.expect(second)
    second.set_result("b")
    assert next(results) == "b"
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0)
    results.end()
    first.set_result("a")
    assert list(results) == ["a"]
    assert list(results) == []


@pytest.mark.parametrize("ordered", [True, False])
def test_a_failure_comes_in_its_place_and_ends_nothing(ordered: bool) -> None:
    [good] = running(1)
    cancelled: Future[int] = Future()
    results = ResultIterator(ordered=ordered)
    for future in (failed(KeyError("k")), cancelled, good):
        results.expect(future)
    results.end()
    cancelled.cancel()
    good.set_result("b")
    with pytest.raises(KeyError):
        next(results)
    with pytest.raises(CallStopped):
        next(results)
    assert list(results) == ["b"]


@pytest.mark.parametrize("ordered", [True, False])
def test_no_items_are_no_results(ordered: bool) -> None:
    results = ResultIterator(ordered=ordered)
    results.end()
    assert list(results) == []
