"""Which call runs here, and where its events go."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from coeval.recording import Attempt, Event, attempt, mark, running_call, span
from coeval.recording._capture import Running, add_recorder, remove_recorder, run_in_process

T = TypeVar("T")


@pytest.fixture
def running() -> Iterator[Running]:
    """A worker's loop, before its first call."""
    running = Running(call=-1, attempt=1, item=-1, events=[])
    run_in_process(running)
    yield running
    run_in_process(None)


def in_thread(function: Callable[[], T]) -> T:
    answers: list[T] = []
    thread = threading.Thread(target=lambda: answers.append(function()))
    thread.start()
    thread.join()
    return answers[0]


def in_no_context(function: Callable[[], T]) -> T:
    return contextvars.Context().run(function)


def names(events: list[Event]) -> list[tuple[int, str]]:
    return [(event.item, event.name) for event in events]


def test_a_worker_tells_each_of_its_calls_by_two_assignments(running: Running) -> None:
    answers = []
    for item, call in enumerate([40, 41]):
        running.call, running.item = call, item
        mark("moment", call=call)
        with span("stretch"):
            answers.append(attempt())
    assert answers == [Attempt(40, 1), Attempt(41, 1)]
    assert names(running.events) == [(0, "moment"), (0, "stretch"), (1, "moment"), (1, "stretch")]
    assert running.events[2].fields == {"call": 41}


def test_between_two_calls_of_a_worker_none_runs_and_events_are_the_processs_own(running: Running) -> None:
    running.call, running.item = 40, 0
    assert attempt() == Attempt(40, 1)
    running.item = -1
    assert attempt() is None
    own: list[Event] = []
    add_recorder(own.append)
    mark("between")
    remove_recorder(own.append)
    mark("unheard")
    assert names(own) == [(-1, "between")]
    assert running.events == []


def test_what_threads_of_a_workers_call_do_is_that_calls(running: Running) -> None:
    running.call, running.item = 40, 3
    assert in_thread(attempt) == in_no_context(attempt) == Attempt(40, 1)
    in_thread(lambda: mark("in a thread"))
    assert names(running.events) == [(3, "in a thread")]


def test_a_call_inside_a_call_has_its_own_events_and_then_the_outer_ones_go_on(running: Running) -> None:
    running.call, running.item = 40, 0
    inner: list[Event] = []
    with running_call(Attempt(7, 2), 5, inner, whole_process=False):
        assert attempt() == Attempt(7, 2)
        assert in_thread(attempt) == Attempt(40, 1)  # a thread does not inherit what the context says
        mark("inner")
    assert attempt() == Attempt(40, 1)
    mark("outer")
    assert names(inner) == [(5, "inner")]
    assert names(running.events) == [(0, "outer")]


@pytest.mark.parametrize("whole_process", [False, True])
def test_a_block_answers_for_threads_only_where_the_whole_process_is_its_own(whole_process: bool) -> None:
    events: list[Event] = []
    with pytest.raises(ZeroDivisionError), running_call(Attempt(1, 1), 0, events, whole_process=whole_process):
        assert attempt() == Attempt(1, 1)
        assert in_thread(attempt) == (Attempt(1, 1) if whole_process else None)
        _ = 1 / 0
    assert attempt() is None
    assert in_thread(attempt) is None


def test_the_same_block_may_be_entered_in_two_threads_at_once() -> None:
    are_in = threading.Barrier(2)

    def run(call: int) -> list[Event]:
        events: list[Event] = []
        with running_call(Attempt(call, 1), call, events, whole_process=False):
            are_in.wait(10)
            mark(f"call {call}")
            are_in.wait(10)
        return events

    results: dict[int, list[Event]] = {}
    threads = [threading.Thread(target=lambda call=call: results.update({call: run(call)})) for call in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {call: names(events) for call, events in results.items()} == {1: [(1, "call 1")], 2: [(2, "call 2")]}
