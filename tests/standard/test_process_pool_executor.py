"""What coeval's ProcessPoolExecutor adds to, or must keep of, the standard one; the rest is test_cpython_suite.py's."""

from __future__ import annotations

import asyncio
import gc
import inspect
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from coeval import Executor, WorkerDied
from coeval.engines.local._pool_state import START_FAILURES_MAX
from coeval.standard import ProcessPoolExecutor
from coeval.testing import Gate, leaks

# Workers cannot import a test's module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

PATIENCE_S = 30.0

METHODS = ("fork", "forkserver", "spawn")


def set_mark(queue: Any, text: str) -> None:
    vars(sys)["mark"] = text  # a place that all calls of a worker see
    queue.put(os.getpid())


def read_mark(_: object = None) -> object:
    return vars(sys).get("mark")


def fail(_: object = None) -> None:
    raise ValueError("the initializer fails")


def kill_own_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def own_name() -> tuple[str, bytes]:
    return multiprocessing.get_start_method(), bytes(multiprocessing.current_process().authkey)


def touch(path: str) -> None:
    Path(path).touch()


@pytest.fixture
def executor() -> Iterator[ProcessPoolExecutor]:
    with leaks(), ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as made:
        yield made


def test_the_signature_is_the_standard_one() -> None:
    ours, standard = (
        [
            (parameter.name, parameter.kind, parameter.default)
            for parameter in inspect.signature(kind).parameters.values()
        ]
        for kind in (ProcessPoolExecutor, futures.ProcessPoolExecutor)
    )
    assert ours == standard


@pytest.mark.parametrize("method", METHODS)
def test_an_initializer_may_be_given_a_queue(method: str) -> None:
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    with leaks(), ProcessPoolExecutor(1, context, set_mark, (queue, "initialized")) as executor:
        assert executor.submit(read_mark).result() == "initialized"
        assert list(executor.map(read_mark, range(3))) == ["initialized"] * 3
        assert queue.get() == executor.submit(os.getpid).result()
    queue.close()


LARGER_THAN_A_PIPE = 1 << 20


def say_much_and_fail(queue: Any) -> None:
    queue.put(bytes(LARGER_THAN_A_PIPE))  # a thread of the queue writes it, as far as somebody reads
    raise ValueError("no")


@pytest.mark.parametrize("method", METHODS)
def test_what_a_worker_put_on_a_queue_is_written_before_it_ends(method: str) -> None:
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    with ProcessPoolExecutor(1, context, say_much_and_fail, (queue,)) as executor:
        failed = executor.submit(read_mark)
        for _ in range(START_FAILURES_MAX):
            assert len(queue.get(timeout=PATIENCE_S)) == LARGER_THAN_A_PIPE
        assert isinstance(failed.exception(PATIENCE_S), BrokenProcessPool)
    queue.close()


def test_a_forked_worker_that_ends_leaves_the_callers_own_children_alone() -> None:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=signal.pause, daemon=True)
    child.start()
    with ProcessPoolExecutor(1, context) as executor:
        executor.submit(read_mark).result()
    assert child.is_alive()
    child.kill()
    child.join()


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_knows_the_start_method_and_the_authentication_key(method: str) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as executor:
        key = bytes(multiprocessing.current_process().authkey)
        assert executor.submit(own_name).result() == (method, key)


def test_an_initializer_that_raises_breaks_the_pool(capfd: pytest.CaptureFixture[str]) -> None:
    with leaks(), ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), fail) as executor:
        with pytest.raises(BrokenProcessPool):
            executor.submit(read_mark).result()
        with pytest.raises(BrokenProcessPool):
            executor.submit(read_mark)
        with pytest.raises(BrokenProcessPool):
            executor.map(read_mark, range(3))
    assert "ValueError: the initializer fails" in capfd.readouterr().err


def test_a_workers_death_fails_its_call_and_the_pool_goes_on(executor: ProcessPoolExecutor) -> None:
    with pytest.raises(BrokenProcessPool) as died:
        executor.submit(kill_own_worker).result()
    assert isinstance(died.value, WorkerDied) and died.value.signal == "SIGKILL"
    assert executor.submit(abs, -3).result() == 3


def test_all_of_a_map_is_run_also_if_nobody_takes_its_results(tmp_path: Path) -> None:
    with leaks(), ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as executor:
        executor.map(touch, [str(tmp_path / str(number)) for number in range(200)])
        gc.collect()
    assert len(list(tmp_path.iterdir())) == 200


def noting(read: list[int]) -> Iterator[int]:
    for number in range(500):
        read.append(number)
        yield number


def test_a_map_reads_all_its_items_at_once_unless_told(executor: ProcessPoolExecutor) -> None:
    read: list[int] = []
    results = executor.map(abs, noting(read))
    assert len(read) == 500
    assert list(results) == list(range(500))
    read.clear()
    results = executor.map(abs, noting(read), buffersize=10)
    assert len(read) <= 10
    assert list(results) == list(range(500))


def test_a_map_raises_what_the_standard_one_raises(executor: ProcessPoolExecutor) -> None:
    results = executor.map(type, [1, threading.Lock()])
    assert next(results) is int
    with pytest.raises(TypeError, match="cannot pickle"):
        next(results)


def test_an_event_loop_sees_the_same_exceptions(executor: ProcessPoolExecutor) -> None:
    async def run() -> None:
        await asyncio.get_running_loop().run_in_executor(executor, id, threading.Lock())

    with pytest.raises(TypeError, match="cannot pickle"):
        asyncio.run(run())


def test_a_future_gives_the_same_exception_each_time(executor: ProcessPoolExecutor) -> None:
    future = executor.submit(divmod, 1, 0)
    error = future.exception()
    assert isinstance(error, ZeroDivisionError) and future.exception() is error
    with pytest.raises(ZeroDivisionError) as raised:
        future.result()
    assert raised.value is error


def test_lambdas_can_be_called(executor: ProcessPoolExecutor) -> None:
    assert executor.submit(lambda: 3).result() == 3


def test_what_a_coeval_executor_has_is_there(executor: ProcessPoolExecutor) -> None:
    assert isinstance(executor, Executor)
    assert executor.options(name="three").submit(abs, -3).result() == 3
    assert executor.statistics().finished == 1


def test_workers_can_be_ended_whatever_they_do(tmp_path: Path) -> None:
    gate = Gate(tmp_path, PATIENCE_S)
    with leaks():
        executor = ProcessPoolExecutor(1, multiprocessing.get_context("forkserver"))
        runs, waits = executor.submit(gate.wait), executor.submit(abs, -1)
        gate.wait_for_arrivals(1)
        executor.terminate_workers()
        with pytest.raises(BrokenProcessPool):
            runs.result()
        assert waits.cancelled()


def test_wrong_arguments_are_refused_as_there() -> None:
    fork = multiprocessing.get_context("fork")
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        ProcessPoolExecutor(0)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        ProcessPoolExecutor(1, initializer=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_tasks_per_child must be an integer"):
        ProcessPoolExecutor(1, max_tasks_per_child="3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_tasks_per_child must be >= 1"):
        ProcessPoolExecutor(1, max_tasks_per_child=0)
    with pytest.raises(ValueError, match="incompatible with the 'fork'"):
        ProcessPoolExecutor(1, fork, max_tasks_per_child=1)


def test_a_worker_is_replaced_after_its_last_call() -> None:
    with leaks(), ProcessPoolExecutor(1, multiprocessing.get_context("forkserver"), max_tasks_per_child=2) as executor:
        pids = [executor.submit(os.getpid).result() for _ in range(6)]
    assert len(set(pids)) == 3
    assert pids[0::2] == pids[1::2]
