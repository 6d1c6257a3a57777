"""Coeval's errors become those that the standard pools raise in the same place."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
from dataclasses import dataclass
from multiprocessing import pool
from pickle import PicklingError

import pytest

from coeval.errors import (
    CallExited,
    CallNotSendable,
    CallStopped,
    RemoteTraceback,
    ResultNotSendable,
    WorkerDied,
    WorkersDoNotStart,
)
from coeval.standard._errors import CallBroken, PoolBroken, as_executor_says, as_pool_says

TRACEBACK = "Traceback: line 1 # in the worker\n"


def from_worker(error: BaseException, original: BaseException | None = None) -> BaseException:
    """An error as the executor makes it of a failure that a worker told."""
    if original is not None:
        original.__cause__ = RemoteTraceback(TRACEBACK)
    error.__cause__ = original or RemoteTraceback(TRACEBACK)
    return error


def from_here(error: BaseException, original: BaseException) -> BaseException:
    error.__cause__ = original
    return error


@pytest.mark.parametrize("says", [as_executor_says, as_pool_says])
def test_an_argument_that_cannot_be_pickled_raises_what_pickling_it_raised(says: object) -> None:
    original = PicklingError("no")
    assert callable(says)
    assert says(from_here(CallNotSendable("f"), original)) is original


def test_a_result_that_cannot_be_pickled_raises_what_pickling_it_raised() -> None:
    original = TypeError("cannot pickle a lock")
    assert as_executor_says(from_worker(ResultNotSendable("f"), original)) is original
    assert type(original.__cause__) is _RemoteTraceback


def test_a_result_that_cannot_be_pickled_is_a_pools_encoding_error() -> None:
    said = as_pool_says(from_worker(ResultNotSendable("the result of f"), TypeError("cannot pickle a lock")))
    assert type(said) is pool.MaybeEncodingError  # type: ignore[attr-defined]
    assert vars(said) == {"exc": "TypeError('cannot pickle a lock')", "value": "the result of f"}


@pytest.mark.parametrize(
    "error",
    [
        from_worker(CallNotSendable("f", pid=7), ValueError("no")),
        from_worker(CallNotSendable("f", pid=7)),
        from_here(ResultNotSendable("f", pid=7), ValueError("no")),
        CallStopped("f", pid=7),
    ],
)
def test_what_cannot_be_rebuilt_or_was_ended_is_a_broken_pool_to_the_executor(error: BaseException) -> None:
    said = as_executor_says(error)
    assert isinstance(said, BrokenProcessPool) and isinstance(said, CallBroken)
    assert said.pid == 7 and said.__cause__ is error


def test_an_exit_is_itself_again_to_the_executor() -> None:
    said = as_executor_says(from_worker(CallExited("f"), KeyboardInterrupt()))
    assert type(said) is KeyboardInterrupt
    without_original = CallExited("f")
    without_original.code = 3
    said = as_executor_says(without_original)
    assert isinstance(said, SystemExit) and said.code == 3 and said.__cause__ is without_original


def test_workers_that_do_not_start_break_the_pool() -> None:
    said = as_executor_says(WorkersDoNotStart("3 workers in a row ended"))
    assert isinstance(said, BrokenProcessPool) and isinstance(said, PoolBroken)
    assert str(said) == "3 workers in a row ended"


def test_a_workers_death_stays_itself() -> None:
    died = WorkerDied("f lost its worker")
    assert as_executor_says(died) is died and as_pool_says(died) is died
    assert isinstance(died, BrokenProcessPool)


def test_a_calls_own_exception_is_caused_by_the_traceback_that_the_standard_pools_give() -> None:
    for says, kind in ((as_executor_says, _RemoteTraceback), (as_pool_says, pool.RemoteTraceback)):  # type: ignore[attr-defined]
        raised = from_worker(KeyError("k"))
        assert says(raised) is raised
        assert type(raised.__cause__) is kind
        assert raised.__cause__.tb == f'\n"""\n{TRACEBACK}"""'


def test_saying_it_twice_changes_nothing_more() -> None:
    raised = as_executor_says(from_worker(KeyError("k")))
    cause = raised.__cause__
    assert as_executor_says(raised).__cause__ is cause


def test_an_exception_that_refuses_assignments_keeps_its_traceback() -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        text: str

    raised = Frozen("no")
    BaseException.__setattr__(raised, "__cause__", RemoteTraceback(TRACEBACK))
    assert type(as_pool_says(raised).__cause__) is pool.RemoteTraceback  # type: ignore[attr-defined]
