"""Chapter 5: faults. Exactly that call fails, with the error that says so; all others and the executor go on."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import socket
import sys
import threading
import time
import types
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from coeval.errors import (
    CallExited,
    CallFailed,
    CallNotSendable,
    CallStopped,
    RemoteError,
    RemoteTraceback,
    ResultNotSendable,
    TimeLimitExceeded,
    WorkerDied,
)
from coeval.testing import _calls as calls
from coeval.testing._gap import may_end_the_process
from coeval.testing._subject import Subject

if TYPE_CHECKING:
    from coeval.executor import Executor


class Faults(Subject):
    """Faults: exactly that call fails, and says why."""

    # Raised, exited -----------------------------------------------------------------------------------------------

    def test_call_that_raises_fails_alone(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.raise_error, LookupError("shelf"))
        assert (type(error), error.args) == (LookupError, ("shelf",))

    @pytest.mark.parametrize("code", [3, 0, "gone home", None])
    def test_call_that_exits_fails_alone(self, ex: Executor, code: Any) -> None:
        error = self.failure_among_others(ex, calls.exit_with, code)
        assert isinstance(error, CallExited)
        assert error.code == code
        self.check_facts(ex, error, "coeval.testing._calls:exit_with", f"({code!r})")

    @may_end_the_process
    def test_call_that_raises_keyboard_interrupt_fails_alone(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.raise_error, KeyboardInterrupt())
        assert isinstance(error, CallExited)
        assert error.code is None
        self.check_facts(ex, error, "coeval.testing._calls:raise_error", "(KeyboardInterrupt)")

    def test_exception_that_is_no_exception_class_fails_alone(self, ex: Executor) -> None:
        """One that derives from `BaseException` only."""
        error = self.failure_among_others(ex, calls.raise_error, calls.Fatal("end of it"))
        assert (type(error), error.args) == (calls.Fatal, ("end of it",))

    def test_recursion_error_fails_alone(self, ex: Executor) -> None:
        assert type(self.failure_among_others(ex, calls.recurse, 0)) is RecursionError

    def test_item_that_exits_leaves_its_chunk_alone(self) -> None:
        with self.executor() as own, pytest.raises(CallExited):
            list(own.map(calls.exit_with_nothing_or, [0, 0, 3, 0, 0], chunksize=5))
        assert own.statistics()[3:5] == (4, 1), "finished, failed"

    # Died ---------------------------------------------------------------------------------------------------------

    @may_end_the_process
    def test_call_that_ends_its_process_fails_alone(self, ex: Executor, tmp_path: Path) -> None:
        trace = tmp_path / "pid"
        error = self.failure_among_others(ex, calls.end_process, 3, trace)
        assert isinstance(error, WorkerDied)
        assert isinstance(error, BrokenProcessPool), "handlers that people have go on working"
        assert (error.exit_code, error.signal) == (3, "")
        self.check_facts(ex, error, "coeval.testing._calls:end_process", "(3, ", trace)

    @may_end_the_process
    @pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM", "SIGABRT", "SIGINT"])
    def test_call_that_is_ended_by_a_signal_fails_alone(self, ex: Executor, tmp_path: Path, name: str) -> None:
        trace = tmp_path / "pid"
        error = self.failure_among_others(ex, calls.end_by_signal, int(signal.Signals[name]), trace)
        assert isinstance(error, WorkerDied)
        assert (error.signal, error.exit_code) == (name, None)
        assert name in str(error)
        self.check_facts(ex, error, "coeval.testing._calls:end_by_signal", "(", trace)

    @may_end_the_process
    def test_worker_killed_while_idle_fails_nothing(self, ex: Executor) -> None:
        for _ in range(3):
            os.kill(ex.submit(calls.pid).result(self.patience_s), signal.SIGKILL)
            assert list(ex.map(calls.square, range(10))) == [number * number for number in range(10)]

    @may_end_the_process
    def test_worker_killed_in_a_chunk_fails_one_item(self, tmp_path: Path) -> None:
        with self.executor() as own:
            results = own.map(calls.end_at, range(10), [4] * 10, [tmp_path] * 10, chunksize=10)
            assert [next(results) for _ in range(4)] == [0, 1, 4, 9]
            with pytest.raises(WorkerDied) as caught:
                next(results)
        assert caught.value.arguments.startswith("(4, 4, ")
        assert own.statistics()[3:5] == (9, 1), "finished, failed"
        ran = [int(path.name.partition("-")[0]) for path in tmp_path.iterdir()]
        assert set(ran) == set(range(10))
        assert ran.count(4) == 1, "the item that was fatal is not tried again"

    @may_end_the_process
    def test_all_workers_killed_at_once_fail_what_they_ran_and_nothing_else(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        running = self.occupy(ex, gate)
        waiting = [ex.submit(calls.square, number) for number in range(4 * self.workers)]
        for process in gate.arrived():
            os.kill(process, signal.SIGKILL)
        errors = [future.exception(self.patience_s) for future in running]
        gate.open()
        assert all(isinstance(error, WorkerDied) and error.signal == "SIGKILL" for error in errors)
        assert {error.pid for error in errors if isinstance(error, WorkerDied)} == set(gate.arrived())
        assert [future.result(self.patience_s) for future in waiting] == [n * n for n in range(4 * self.workers)]

    @may_end_the_process
    def test_many_calls_in_a_row_that_kill_their_workers_fail_alone(self, ex: Executor, tmp_path: Path) -> None:
        deadly = [ex.submit(calls.end_process, 3, tmp_path / str(number)) for number in range(4 * self.workers)]
        harmless = [ex.submit(calls.square, number) for number in range(4 * self.workers)]
        assert all(isinstance(future.exception(self.patience_s), WorkerDied) for future in deadly)
        assert [future.result(self.patience_s) for future in harmless] == [n * n for n in range(4 * self.workers)]

    @may_end_the_process
    def test_killed_call_leaves_no_process_of_its_own(self, ex: Executor, tmp_path: Path) -> None:
        trace = tmp_path / "pid"
        error = self.failure_among_others(ex, calls.start_process_and_end, trace)
        assert isinstance(error, WorkerDied)
        self.check_gone(int(trace.read_text()))

    @may_end_the_process
    def test_closed_executor_leaves_no_process_that_a_call_started(self, tmp_path: Path) -> None:
        trace = tmp_path / "pid"
        with self.executor() as own:
            child = own.submit(calls.leave_process_behind, trace).result(self.patience_s)
        self.check_gone(child)

    def test_call_can_use_an_executor_of_its_own(self, ex: Executor) -> None:
        assert ex.submit(calls.use_own_executor, [1, 2, 3]).result(self.patience_s) == [1, 4, 9]

    @may_end_the_process
    def test_killed_call_takes_the_workers_of_its_own_executor_along(self, ex: Executor, tmp_path: Path) -> None:
        trace = tmp_path / "pid"
        error = self.failure_among_others(ex, calls.use_own_executor_and_end, trace)
        assert isinstance(error, WorkerDied)
        self.check_gone(int(trace.read_text()))

    @may_end_the_process
    def test_forked_child_that_returns_from_its_call_harms_nobody(self, tmp_path: Path) -> None:
        numbers = list(range(6))
        with self.executor() as own:
            assert own.capabilities.separate_process, "each child would be another caller, and fork again"
            assert list(own.map(calls.fork_and_return, numbers, [tmp_path] * 6)) == numbers
            assert list(own.map(calls.fork_and_return, numbers, [tmp_path] * 6, chunksize=3)) == numbers
        traces = {f"{number}-{who}" for number in numbers for who in ("parent", "child")}
        assert {path.name for path in tmp_path.iterdir()} == traces

    @may_end_the_process
    def test_thread_that_a_call_left_behind_does_not_keep_the_executor_open(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        began_s = time.monotonic()
        with self.executor() as own:
            assert own.submit(calls.leave_thread_behind, gate).result(self.patience_s) == "returned"
            assert own.submit(calls.square, 2).result(self.patience_s) == 4
        assert time.monotonic() - began_s < self.patience_s / 2
        assert "left-behind" not in {thread.name for thread in threading.enumerate()}

    # What cannot travel -------------------------------------------------------------------------------------------

    def test_argument_that_cannot_be_pickled_fails_alone(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.echo, 1, {"key": [threading.Lock()]})
        assert isinstance(error, CallNotSendable)
        assert "args[1]['key'][0]" in str(error)
        assert "lock" in str(error)
        assert (error.function, error.arguments) == ("coeval.testing._calls:echo", "(1, dict[1])")
        assert (error.attempt, error.host, error.pid) == (1, "", 0)

    def test_argument_that_refuses_to_be_pickled_says_why(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.echo, extra=calls.BreaksWhenPickled())
        assert isinstance(error, CallNotSendable)
        assert "kwargs['extra']" in str(error)
        assert "not to be pickled" in str(error)

    def test_argument_that_cannot_be_rebuilt_fails_alone(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.echo, calls.BreaksWhenRebuilt())
        assert isinstance(error, CallNotSendable)
        assert "broken when rebuilt" in str(error)
        self.check_facts(ex, error, "coeval.testing._calls:echo", "(BreaksWhenRebuilt)")

    @may_end_the_process
    def test_argument_that_kills_its_worker_when_rebuilt_fails_alone(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.echo, calls.KillsWhenRebuilt())
        assert isinstance(error, WorkerDied)
        assert error.signal == "SIGKILL"
        self.check_facts(ex, error, "coeval.testing._calls:echo", "(KillsWhenRebuilt)")

    def test_function_that_cannot_be_pickled_fails_alone(self, ex: Executor) -> None:
        lock = threading.Lock()

        def hold_lock() -> bool:
            return lock.locked()

        error = self.failure_among_others(ex, hold_lock)
        assert isinstance(error, CallNotSendable)
        assert "closure 'lock'" in str(error)
        assert error.function.endswith("hold_lock")

    @may_end_the_process
    def test_function_that_kills_its_worker_when_rebuilt_fails_alone(self, ex: Executor) -> None:
        deadly = calls.KillsWhenRebuilt()

        def call_it() -> object:
            return deadly

        error = self.failure_among_others(ex, call_it)
        assert isinstance(error, WorkerDied)
        assert error.signal == "SIGKILL"

    def test_function_of_a_module_that_workers_lack_fails_alone(
        self, ex: Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = types.ModuleType("only_the_caller_has_this_module")
        exec("def greet(name):\n    return name", module.__dict__)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for _ in range(2):  # also the second time, when the worker has met it
            error = self.failure_among_others(ex, module.greet, "you")
            assert isinstance(error, CallNotSendable)
            assert "ModuleNotFoundError" in str(error)
            assert module.__name__ in str(error)
            self.check_facts(ex, error, f"{module.__name__}:greet", "('you')")

    @pytest.mark.parametrize("kind", [threading.Lock, calls.BreaksWhenPickled])
    def test_result_that_cannot_be_pickled_fails_alone(self, ex: Executor, kind: type) -> None:
        error = self.failure_among_others(ex, calls.make, kind)
        assert isinstance(error, ResultNotSendable)
        assert type(kind()).__qualname__ in str(error)
        self.check_facts(ex, error, "coeval.testing._calls:make", "(")

    def test_result_nested_too_deeply_to_be_pickled_fails_alone(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.make_deep, 100_000)
        assert isinstance(error, ResultNotSendable)
        assert "recursion" in str(error).lower()

    def test_result_that_cannot_be_rebuilt_fails_alone(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.make, calls.BreaksWhenRebuilt)
        assert isinstance(error, ResultNotSendable)
        assert "broken when rebuilt" in str(error)
        self.check_facts(ex, error, "coeval.testing._calls:make", "(type)")

    def test_exception_that_cannot_be_pickled_arrives_in_words(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.raise_with_lock)
        assert isinstance(error, RemoteError)
        assert error.type_name == "ValueError"
        assert "holds a lock" in error.original_message
        assert "in raise_with_lock" in error.remote_traceback
        self.check_facts(ex, error, "coeval.testing._calls:raise_with_lock", "()")

    def test_exception_that_cannot_be_rebuilt_arrives_in_words(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.raise_two_arguments)
        assert isinstance(error, RemoteError)
        assert error.type_name == "coeval.testing._calls.TwoArguments"
        assert error.original_message == "this and that"
        assert "in raise_two_arguments" in error.remote_traceback
        assert isinstance(error.__cause__, RemoteTraceback)
        assert "in raise_two_arguments" in str(error.__cause__)
        self.check_facts(ex, error, "coeval.testing._calls:raise_two_arguments", "()")

    def test_exception_without_words_fails_alone(self, ex: Executor) -> None:
        error = self.failure_among_others(ex, calls.raise_no_words)
        assert type(error) is calls.NoWords
        assert "in raise_no_words" in str(error.__cause__)

    @may_end_the_process
    @pytest.mark.parametrize("seed", range(3))
    def test_every_call_has_exactly_one_outcome_in_a_storm_of_faults(self, seed: int) -> None:
        random = Random(seed)
        deeds = random.choices(
            ["finish", "raise", "exit", "die", "spin", "lock", "stop"], weights=[60, 6, 6, 6, 3, 6, 6], k=120
        )
        told: list[str] = []
        with self.executor() as own:
            futures: list[Future[object]] = []
            for deed in deeds:
                future = own.options(time_limit=0.05 if deed == "spin" else None).submit(calls.act, deed)
                future.add_done_callback(lambda _, deed=deed: told.append(deed))  # type: ignore[misc]
                futures.append(future)
                if deed == "stop":
                    own.stop(random.choice(futures))
            concurrent.futures.wait(futures, 4 * self.patience_s)
        assert sorted(told) == sorted(deeds), "each future is resolved once"
        expected: dict[str, type] = {
            "raise": LookupError,
            "exit": CallExited,
            "die": WorkerDied,
            "spin": TimeLimitExceeded,
            "lock": ResultNotSendable,
        }
        for deed, future in zip(deeds, futures, strict=True):
            if future.cancelled() or isinstance(future.exception(), CallStopped):
                assert "stop" in deeds
            elif deed in expected:
                assert isinstance(future.exception(), expected[deed])
            else:
                assert future.result() == deed
        counts = own.statistics()
        assert counts.submitted == len(deeds) == counts.finished + counts.failed + counts.cancelled

    # Its surroundings ---------------------------------------------------------------------------------------------

    @may_end_the_process
    def test_call_that_closes_the_standard_streams_harms_nobody(self) -> None:
        with self.executor() as own:
            closed = [own.submit(calls.close_standard_streams) for _ in range(2 * self.workers)]
            assert [future.result(self.patience_s) for future in closed] == ["closed"] * (2 * self.workers)
            assert list(own.map(calls.square, range(10))) == [number * number for number in range(10)]
        for number in range(3):
            os.fstat(number)

    @may_end_the_process
    def test_call_that_breaks_the_standard_streams_harms_nobody(self) -> None:
        with self.executor() as own:
            broken = [own.submit(calls.break_standard_streams) for _ in range(2 * self.workers)]
            assert [future.result(self.patience_s) for future in broken] == ["broken"] * (2 * self.workers)
            assert list(own.map(calls.square, range(10))) == [number * number for number in range(10)]
        assert not isinstance(sys.stdout, calls.Unflushable)

    @may_end_the_process
    def test_call_that_closes_every_descriptor_fails_alone(self) -> None:
        with self.executor() as own:
            error = self.failure_among_others(own, calls.close_every_descriptor)
        assert isinstance(error, WorkerDied)

    def test_call_that_prints_much_harms_nobody(self, ex: Executor) -> None:
        future = ex.submit(calls.print_much, 20_000)
        assert list(ex.map(calls.square, range(10))) == [number * number for number in range(10)]
        assert future.result(self.patience_s) == 20_000

    @may_end_the_process
    def test_call_that_changes_directory_and_environment_does_not_reach_the_caller(self, tmp_path: Path) -> None:
        here = Path.cwd()
        with self.executor() as own:
            assert own.submit(calls.change_surroundings, tmp_path).result(self.patience_s) == str(tmp_path)
            assert list(own.map(calls.square, range(10))) == [number * number for number in range(10)]
            assert list(own.map(lambda number: number + 1, range(3))) == [1, 2, 3]
        assert Path.cwd() == here
        assert "COEVAL_CONTRACT_LEAK" not in os.environ

    # Checks -------------------------------------------------------------------------------------------------------

    def check_facts(
        self, ex: Executor, error: CallFailed, function: str, arguments: str, pid_file: Path | None = None
    ) -> None:
        """What every failed call knows: which it was, and where."""
        assert error.function == function
        assert error.arguments.startswith(arguments)
        assert error.attempt == 1
        assert function in str(error)
        if ex.capabilities.same_host:
            assert error.host == socket.gethostname()
        if pid_file is not None:
            assert error.pid == int(pid_file.read_text())
        else:
            assert error.pid > 0
        assert (error.pid != os.getpid()) == ex.capabilities.separate_process
