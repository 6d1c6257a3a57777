"""Chapter 6: tries, time limits, and stopping."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from coeval.errors import (
    CallExited,
    CallNotSendable,
    CallStopped,
    MemoryLimitExceeded,
    ResultNotSendable,
    TimeLimitExceeded,
    WorkerDied,
)
from coeval.testing import _calls as calls
from coeval.testing._gap import may_end_the_process
from coeval.testing._gate import wait_until
from coeval.testing._subject import Subject

if TYPE_CHECKING:
    from coeval.executor import Executor, Retry

# A limit that calls overrun on purpose, and one that a quick call never does, however busy the machine.
SHORT_S = 0.1
AMPLE_S = 60.0

# A memory limit that calls exceed on purpose, and that the worker's own doings do not.
SMALL_BYTES = 64_000_000


def on_death(times: int) -> Retry:
    from coeval.executor import Retry

    return Retry(times, on_death=True)


class Limits(Subject):
    """Tries, time limits, and stopping."""

    # Tries --------------------------------------------------------------------------------------------------------

    def test_call_that_fails_twice_works_with_two_retries(self, ex: Executor, tmp_path: Path) -> None:
        attempt = ex.options(retries=2).submit(calls.fail_until, 3, tmp_path).result(self.patience_s)
        assert attempt is not None
        assert attempt.attempt == 3
        assert len(list(tmp_path.iterdir())) == 3

    def test_call_without_retries_is_tried_once(self, ex: Executor, tmp_path: Path) -> None:
        error = ex.submit(calls.fail_until, 2, tmp_path).exception(self.patience_s)
        assert type(error) is ConnectionError
        assert len(list(tmp_path.iterdir())) == 1

    def test_error_of_the_last_try_is_the_one_that_arrives(self, ex: Executor, tmp_path: Path) -> None:
        error = ex.options(retries=2).submit(calls.exit_at_each_try, tmp_path).exception(self.patience_s)
        assert isinstance(error, CallExited)
        assert error.attempt == 3
        assert len(list(tmp_path.iterdir())) == 3

    def test_retries_of_the_executor_hold_for_every_call(self, tmp_path: Path) -> None:
        folders = [tmp_path / str(number) for number in range(4)]
        for folder in folders:
            folder.mkdir()
        with self.executor(retries=1) as own:
            attempts = list(own.map(calls.fail_until, [1, 2, 1, 2], folders, chunksize=2))
            error = own.options(retries=0).submit(calls.fail_until, 9, tmp_path).exception(self.patience_s)
        assert [attempt.attempt for attempt in attempts if attempt] == [1, 2, 1, 2]
        assert isinstance(error, ConnectionError)
        assert own.statistics().retried == 2

    def test_call_can_ask_which_call_and_which_try_it_is(self) -> None:
        assert calls.where_am_i() is None, "outside of any call"
        with self.executor() as own:
            attempts = list(own.map(lambda _: calls.where_am_i(), range(6), chunksize=4))
        assert attempts == [(call, 1) for call in range(6)]

    def test_what_cannot_travel_is_not_tried_again(self, ex: Executor, tmp_path: Path) -> None:
        stubborn = ex.options(retries=3)
        error = stubborn.submit(calls.give_unsendable, tmp_path).exception(self.patience_s)
        assert isinstance(error, ResultNotSendable)
        assert len(list(tmp_path.iterdir())) == 1
        error = stubborn.submit(calls.echo, calls.BreaksWhenRebuilt()).exception(self.patience_s)
        assert isinstance(error, CallNotSendable)
        assert error.attempt == 1

    @may_end_the_process
    def test_call_that_killed_its_worker_is_not_tried_again(self, ex: Executor, tmp_path: Path) -> None:
        error = ex.options(retries=3).submit(calls.die_until, 2, tmp_path).exception(self.patience_s)
        assert isinstance(error, WorkerDied)
        assert len(list(tmp_path.iterdir())) == 1

    @may_end_the_process
    def test_call_that_killed_its_worker_is_tried_again_when_asked(self, ex: Executor, tmp_path: Path) -> None:
        future = ex.options(retries=on_death(2)).submit(calls.die_until, 3, tmp_path)
        assert future.result(self.patience_s) == 3

    # Time limits --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("limit_s", [0, -1, float("nan")])
    def test_senseless_time_limit_is_refused(self, ex: Executor, limit_s: float) -> None:
        with pytest.raises(ValueError, match="time_limit"):
            ex.options(time_limit=limit_s)

    def test_time_limit_is_kept_or_refused_at_once(self, ex: Executor) -> None:
        from coeval.errors import UnsupportedByEngine

        if ex.capabilities.time_limit:
            future = ex.options(time_limit=AMPLE_S).submit(calls.square, 2)
            assert future.result(self.patience_s) == 4
        else:
            with pytest.raises(UnsupportedByEngine, match="time_limit"):
                ex.options(time_limit=AMPLE_S)
            with pytest.raises(UnsupportedByEngine, match="time_limit"):
                self.executor(time_limit=AMPLE_S)

    @pytest.mark.parametrize(
        "work",
        [calls.spin, calls.spin_in_c, calls.halt, calls.leave_process_group_and_spin],
        ids=["in Python", "in C", "halted", "out of its process group"],
    )
    def test_call_over_its_time_limit_is_ended_alone(self, ex: Executor, work: Any) -> None:
        error = self.failure_among_others(ex.options(time_limit=SHORT_S), work)
        assert isinstance(error, TimeLimitExceeded)
        assert isinstance(error, TimeoutError)
        assert error.limit_s == SHORT_S
        assert SHORT_S <= error.ran_s < self.patience_s
        assert error.function == f"coeval.testing._calls:{work.__name__}"
        assert (error.attempt, error.pid > 0) == (1, True)

    def test_time_limit_counts_from_the_start_of_the_call(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        running = self.occupy(ex, gate)
        late = ex.options(time_limit=1).submit(calls.square, 3)
        with pytest.raises(TimeoutError):
            late.result(1.1)  # it waits longer than it may run
        gate.open()
        assert late.result(self.patience_s) == 9
        assert [future.result(self.patience_s) for future in running] == list(range(self.workers))

    def test_time_limit_holds_for_each_item_of_a_chunk(self, tmp_path: Path) -> None:
        with self.executor(time_limit=SHORT_S) as own:
            results = own.map(calls.spin_at, range(6), [2] * 6, chunksize=6)
            assert [next(results), next(results)] == [0, 1]
            with pytest.raises(TimeLimitExceeded) as caught:
                next(results)
        assert caught.value.arguments == "(2, 2)"
        assert own.statistics()[3:5] == (5, 1), "finished, failed"

    def test_call_over_its_time_limit_is_tried_again(self, ex: Executor, tmp_path: Path) -> None:
        limited = ex.options(time_limit=SHORT_S, retries=1)
        assert limited.submit(calls.spin_until, 2, tmp_path).result(self.patience_s) == 2

    def test_call_over_its_time_limit_leaves_no_process_of_its_own(self, ex: Executor, tmp_path: Path) -> None:
        trace = tmp_path / "pid"
        error = ex.options(time_limit=1).submit(calls.start_process_and_spin, trace).exception(self.patience_s)
        assert isinstance(error, TimeLimitExceeded)
        self.check_gone(int(trace.read_text()))

    # Memory limits ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("memory", [0, -1, "", "much", "2 XB", "-1 GB"])
    def test_senseless_memory_limit_is_refused(self, ex: Executor, memory: int | str) -> None:
        with pytest.raises(ValueError, match="memory"):
            ex.options(memory=memory)

    def test_memory_limit_is_kept_or_refused_at_once(self, ex: Executor) -> None:
        from coeval.errors import UnsupportedByEngine

        if ex.capabilities.memory_limit:
            future = ex.options(memory="1 GiB").submit(calls.square, 2)
            assert future.result(self.patience_s) == 4
        else:
            with pytest.raises(UnsupportedByEngine, match="memory"):
                ex.options(memory="1 GiB")
            with pytest.raises(UnsupportedByEngine, match="memory"):
                self.executor(memory=1 << 30)

    @pytest.mark.parametrize(
        ("work", "size"),
        [(calls.fill_list, 0), (calls.fill_array, 2 * SMALL_BYTES), (calls.give_bytes, 2 * SMALL_BYTES)],
        ids=["a list", "an array", "a result"],
    )
    def test_call_over_its_memory_limit_fails_alone(self, ex: Executor, work: Any, size: int) -> None:
        error = self.failure_among_others(ex.options(memory=SMALL_BYTES), work, size)
        assert isinstance(error, MemoryLimitExceeded)
        assert isinstance(error, MemoryError), "handlers that people have go on working"
        assert isinstance(error.__cause__, MemoryError), "what the call itself raised"
        assert error.limit_bytes == SMALL_BYTES
        assert error.function == f"coeval.testing._calls:{work.__name__}"
        assert (error.attempt, error.pid > 0) == (1, True)

    def test_memory_limit_leaves_room_for_what_is_below_it(self, ex: Executor) -> None:
        limited = ex.options(memory=4 * SMALL_BYTES)
        assert limited.submit(calls.fill_bytes, SMALL_BYTES).result(self.patience_s) == SMALL_BYTES

    def test_memory_limit_ends_with_its_call(self) -> None:
        with self.executor(max_workers=1) as own:
            error = own.options(memory=SMALL_BYTES).submit(calls.fill_list).exception(self.patience_s)
            assert isinstance(error, MemoryLimitExceeded)
            after = own.submit(calls.fill_bytes, 2 * SMALL_BYTES)
            assert after.result(self.patience_s) == 2 * SMALL_BYTES

    def test_memory_limit_counts_from_the_start_of_the_call(self) -> None:
        with self.executor(max_workers=1) as own:
            process = own.submit(calls.keep_bytes, 2 * SMALL_BYTES).result(self.patience_s)
            limited = own.options(memory=SMALL_BYTES)
            assert limited.submit(calls.fill_bytes, SMALL_BYTES // 2).result(self.patience_s) == SMALL_BYTES // 2
            assert limited.submit(calls.pid).result(self.patience_s) == process

    def test_memory_limit_holds_for_each_item_of_a_chunk(self) -> None:
        with self.executor(max_workers=1, memory=SMALL_BYTES) as own:
            quarter = SMALL_BYTES // 4
            assert list(own.map(calls.fill_bytes, [quarter] * 8, chunksize=8)) == [quarter] * 8
            results = own.map(calls.fill_bytes, [quarter, quarter, 2 * SMALL_BYTES, quarter], chunksize=4)
            assert [next(results), next(results)] == [quarter, quarter]
            with pytest.raises(MemoryLimitExceeded):
                next(results)

    def test_call_over_its_memory_limit_is_tried_again_when_asked(self, ex: Executor, tmp_path: Path) -> None:
        once, again = tmp_path / "once", tmp_path / "again"
        once.mkdir()
        again.mkdir()
        limited = ex.options(memory=SMALL_BYTES)
        error = limited.submit(calls.fill_list_until, 2, once).exception(self.patience_s)
        assert isinstance(error, MemoryLimitExceeded)
        assert len(list(once.iterdir())) == 1
        assert limited.options(retries=1).submit(calls.fill_list_until, 2, again).result(self.patience_s) == 2

    # Stopping -----------------------------------------------------------------------------------------------------

    def test_stop_ends_a_running_call_alone(self, ex: Executor, tmp_path: Path) -> None:
        gate, shut = self.gate(tmp_path), self.gate(tmp_path, "shut")
        others = [ex.submit(calls.pass_gate, gate, number) for number in range(self.workers - 1)]
        endless = ex.submit(calls.pass_gate, shut)
        (process,) = shut.wait_for_arrivals(1)
        assert ex.stop(endless)
        error = endless.exception(self.patience_s)
        gate.open()
        assert isinstance(error, CallStopped)
        assert (error.function, error.attempt, error.pid) == ("coeval.testing._calls:pass_gate", 1, process)
        assert [future.result(self.patience_s) for future in others] == list(range(self.workers - 1))
        assert not ex.stop(endless), "it is stopped already"

    def test_stop_ends_a_call_inside_c_code(self, ex: Executor) -> None:
        # Bounded for engines that cannot stop it; still longer than anybody is patient.
        endless = ex.submit(calls.spin_in_c, int(100e6 * self.patience_s))
        assert wait_until(lambda: endless.running() or endless.done(), self.patience_s)
        assert ex.stop(endless)
        assert isinstance(endless.exception(self.patience_s), CallStopped)

    def test_stopped_call_is_not_tried_again(self, ex: Executor, tmp_path: Path) -> None:
        shut = self.gate(tmp_path, "shut")
        endless = ex.options(retries=on_death(5)).submit(calls.pass_gate, shut)
        shut.wait_for_arrivals(1)
        assert ex.stop(endless)
        assert isinstance(endless.exception(self.patience_s), CallStopped)
        assert len(shut.arrived()) == 1

    def test_stop_cancels_a_waiting_call(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        running = self.occupy(ex, gate)
        waiting = [ex.submit(calls.square, number) for number in range(8 * self.workers)]
        stopped = ex.stop(waiting[-1])
        gate.open()
        assert stopped
        assert waiting[-1].cancelled()
        assert [future.result(self.patience_s) for future in running] == list(range(self.workers))
        assert [future.result(self.patience_s) for future in waiting[:-1]] == [
            number * number for number in range(8 * self.workers - 1)
        ]

    def test_stop_of_a_done_call_does_nothing(self, ex: Executor) -> None:
        future = ex.submit(calls.square, 2)
        assert future.result(self.patience_s) == 4
        assert not ex.stop(future)
        assert future.result() == 4
        unsendable = ex.submit(calls.echo, threading.Lock())
        assert not ex.stop(unsendable)
        assert isinstance(unsendable.exception(self.patience_s), CallNotSendable)

    def test_stop_of_a_strangers_future_is_refused(self, ex: Executor) -> None:
        stranger: Future[int] = Future()
        with pytest.raises(ValueError, match="not a future of this executor"):
            ex.stop(stranger)
        with self.executor() as own:
            theirs = own.submit(calls.square, 2)
            with pytest.raises(ValueError, match="not a future of this executor"):
                ex.stop(theirs)

    def test_stop_from_a_callback_works(self, ex: Executor, tmp_path: Path) -> None:
        shut, gate = self.gate(tmp_path, "shut"), self.gate(tmp_path)
        answers: list[bool] = []
        told = threading.Event()

        def stop_it(_: Future[Any]) -> None:
            answers.append(ex.stop(endless))
            told.set()

        endless = ex.submit(calls.pass_gate, shut)
        shut.wait_for_arrivals(1)
        ex.submit(calls.pass_gate, gate).add_done_callback(stop_it)
        gate.open()
        assert told.wait(self.patience_s)
        assert answers == [True]
        assert isinstance(endless.exception(self.patience_s), CallStopped)
