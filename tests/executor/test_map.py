"""`bounded_map` with futures of our own: what is read, submitted and cancelled when."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.clocks import SYSTEM_CLOCK
from coeval.executor._map import bounded_map, check_map_arguments, items_ahead, zipped


class Recorder:
    """Takes chunks; resolves at once, or never."""

    def __init__(self, *, resolve: bool = True) -> None:
        self.chunks: list[int] = []
        self.futures: list[Future[Any]] = []
        self.resolve = resolve

    @staticmethod
    def give_up(futures: Iterable[Future[Any]]) -> None:
        for future in futures:
            future.cancel()

    def submit(self, chunk: list[tuple[Any, ...]]) -> list[Future[Any]]:
        self.chunks.append(len(chunk))
        made = []
        for (item,) in chunk:
            future: Future[Any] = Future()
            if self.resolve:
                future.set_result(item)
            made.append(future)
        self.futures += made
        return made


@given(st.integers(0, 50), st.integers(1, 7), st.integers(1, 20))
def test_results_come_in_order_and_never_more_ahead_than_allowed(count: int, chunksize: int, ahead: int) -> None:
    recorder = Recorder()
    results = bounded_map(
        recorder.submit,
        zipped((range(count),)),
        chunksize=chunksize,
        ahead=ahead,
        timeout_s=None,
        clock=SYSTEM_CLOCK,
        give_up=Recorder.give_up,
    )
    for index in range(count):
        assert len(recorder.futures) <= index + ahead
        assert next(results) == index
    assert list(results) == []
    assert sum(recorder.chunks) == count
    assert all(size <= chunksize for size in recorder.chunks)


def test_an_endless_iterable_is_read_a_bounded_number_ahead() -> None:
    recorder = Recorder()
    read: list[int] = []

    def note(number: int) -> int:
        read.append(number)
        return number

    endless = map(note, itertools.count())
    results = bounded_map(
        recorder.submit,
        zipped((endless,)),
        chunksize=1,
        ahead=8,
        timeout_s=None,
        clock=SYSTEM_CLOCK,
        give_up=Recorder.give_up,
    )
    assert list(itertools.islice(results, 100)) == list(range(100))
    assert len(read) <= 108


def test_closing_the_iterator_cancels_what_has_not_started() -> None:
    recorder = Recorder(resolve=False)
    results = bounded_map(
        recorder.submit,
        zipped((range(5),)),
        chunksize=1,
        ahead=3,
        timeout_s=0.001,
        clock=SYSTEM_CLOCK,
        give_up=Recorder.give_up,
    )
    with pytest.raises(TimeoutError):
        next(results)
    assert all(future.cancelled() for future in recorder.futures)
    assert len(recorder.futures) == 3


def test_where_calls_run_as_they_are_submitted_none_is_submitted_ahead() -> None:
    assert items_ahead(sys.maxsize, 1) == 1
    assert items_ahead(2, 10) == 320
    assert items_ahead(64, 1) == 256


@pytest.mark.parametrize(
    ("chunksize", "buffersize", "error"),
    [(0, None, ValueError), (-1, None, ValueError), (1, 0, ValueError), (1, "3", TypeError)],
)
def test_sizes_that_make_no_sense_are_refused(chunksize: object, buffersize: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected a whole number from 1"):
        check_map_arguments(chunksize, buffersize)
