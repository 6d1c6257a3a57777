"""What coeval's Pool adds to, or must keep of, multiprocessing's; the rest is test_cpython_suite.py's."""

from __future__ import annotations

import inspect
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import pool as standard
from pathlib import Path

import cloudpickle
import pytest

from coeval import CallStopped, WorkerDied
from coeval.standard import Pool
from coeval.testing import Gate, leaks

# Workers cannot import a test's module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

CONTEXT = multiprocessing.get_context("forkserver")


PATIENCE_S = 30.0


def square(number: int) -> int:
    return number * number


def kill_own_worker(_: object = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def make_lock() -> object:
    return threading.Lock()


@pytest.fixture
def pool() -> Iterator[Pool]:
    with leaks():
        made = Pool(2, context=CONTEXT)
        yield made
        made.terminate()
        made.join()


def test_the_signatures_are_the_standard_ones() -> None:
    def names(function: object) -> list[str]:
        assert callable(function)
        return list(inspect.signature(function).parameters)

    assert names(Pool) == names(standard.Pool)
    methods = ["apply", "apply_async", "map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered"]
    for method in [*methods, "close", "terminate", "join"]:
        assert names(getattr(Pool, method)) == names(getattr(standard.Pool, method)), method


def test_a_workers_death_fails_its_call_instead_of_hanging_everybody(pool: Pool) -> None:
    with pytest.raises(WorkerDied):
        pool.apply(kill_own_worker)
    with pytest.raises(WorkerDied):
        pool.map(kill_own_worker, [1])
    assert pool.map(square, range(10)) == [square(number) for number in range(10)]


def test_a_result_that_cannot_be_pickled_is_an_encoding_error(pool: Pool) -> None:
    with pytest.raises(standard.MaybeEncodingError, match=r"lock"):  # type: ignore[attr-defined]
        pool.apply(make_lock)


def test_an_endless_iterable_is_read_as_results_come(pool: Pool) -> None:
    results = pool.imap(square, itertools.count())
    assert [next(results) for _ in range(500)] == [square(number) for number in range(500)]


def test_what_is_imapped_is_run_also_if_nobody_takes_the_results(tmp_path: Path) -> None:
    with leaks():
        pool = Pool(2, context=CONTEXT)
        pool.imap_unordered(touch, (str(tmp_path / str(number)) for number in range(200)))
        pool.close()
        pool.join()
    assert len(list(tmp_path.iterdir())) == 200


def touch(path: str) -> None:
    Path(path).touch()


def test_lambdas_can_be_called(pool: Pool) -> None:
    assert pool.map(lambda number: number + 1, range(5)) == [1, 2, 3, 4, 5]
    assert pool.starmap(lambda a, b: a + b, [(1, 2), (3, 4)]) == [3, 7]


def test_terminating_fails_what_runs_and_what_waits(tmp_path: Path) -> None:
    gate = Gate(tmp_path, PATIENCE_S)
    with leaks():
        pool = Pool(1, context=CONTEXT)
        runs, waits = pool.apply_async(gate.wait), pool.apply_async(square, (3,))
        gate.wait_for_arrivals(1)
        pool.terminate()
        pool.join()
        for result in (runs, waits):
            with pytest.raises(CallStopped):
                result.get()


def test_terminating_ends_an_imap_of_an_endless_iterable() -> None:
    with leaks():
        with Pool(1, context=CONTEXT) as pool:
            results = pool.imap(square, itertools.count())
            assert next(results) == 0
        pool.join()


def test_a_pool_that_is_closed_takes_nothing_more(pool: Pool) -> None:
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    pool.close()
    for start in ("apply_async", "map_async", "starmap_async", "imap", "imap_unordered"):
        with pytest.raises(ValueError, match="Pool not running"):
            getattr(pool, start)(square, [1])
    with pytest.raises(ValueError, match="Pool not running"), pool:
        pass


def test_errors_name_the_mapped_function(pool: Pool) -> None:
    with pytest.raises(WorkerDied, match=r"test_pool:kill_own_worker"):
        pool.map(kill_own_worker, [1, 2])
