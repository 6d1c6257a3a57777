"""Chapter 1: a standard executor. Futures, `wait`, asyncio, callbacks, cancelling, shutting down, leaving."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import select
import signal
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from coeval.errors import CallStopped, RemoteTraceback
from coeval.testing import _calls as calls
from coeval.testing._gap import may_end_the_process
from coeval.testing._subject import Subject

if TYPE_CHECKING:
    from coeval.executor import Executor


class Futures(Subject):
    """A standard executor."""

    def test_executor_is_a_standard_executor(self, ex: Executor) -> None:
        assert isinstance(ex, concurrent.futures.Executor)
        assert isinstance(ex.submit(calls.square, 2), concurrent.futures.Future)

    def test_submit_gives_the_result(self, ex: Executor) -> None:
        assert ex.submit(pow, 2, 10).result(self.patience_s) == 1024

    def test_positional_and_keyword_arguments_arrive(self, ex: Executor) -> None:
        # Names that an executor might have taken for itself.
        keywords = {"fn": 1, "self": 2, "timeout": 3, "name": "n"}
        future = ex.submit(calls.echo, 1, "two", [3], **keywords)
        assert future.result(self.patience_s) == ((1, "two", [3]), keywords)

    def test_none_is_an_argument_and_a_result_like_any_other(self, ex: Executor) -> None:
        assert ex.submit(calls.echo, None, (), key=None).result(self.patience_s) == ((None, ()), {"key": None})
        assert ex.submit(print, end="").result(self.patience_s) is None

    def test_exception_arrives_as_itself(self, ex: Executor) -> None:
        error = ex.submit(calls.raise_error, KeyError("door")).exception(self.patience_s)
        assert type(error) is KeyError
        assert error.args == ("door",)

    def test_exception_shows_where_it_was_raised(self, ex: Executor) -> None:
        error = ex.submit(calls.divide, 1, by=0).exception(self.patience_s)
        assert isinstance(error, ZeroDivisionError)
        assert isinstance(error.__cause__, RemoteTraceback)
        line = calls.divide.__code__.co_firstlineno + 1
        assert f'_calls.py", line {line}, in divide' in str(error.__cause__)
        assert "ZeroDivisionError" in str(error.__cause__)

    def test_done_future_says_so(self, ex: Executor) -> None:
        future = ex.submit(calls.square, 3)
        future.result(self.patience_s)
        assert (future.done(), future.running(), future.cancelled()) == (True, False, False)

    def test_running_future_says_so_and_cannot_be_cancelled(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        future = ex.submit(calls.pass_gate, gate, "passed")
        gate.wait_for_arrivals(1)
        state = (future.running(), future.done(), future.cancel())
        gate.open()
        assert state == (True, False, False)
        assert future.result(self.patience_s) == "passed"

    def test_result_waits_no_longer_than_its_timeout(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        future = ex.submit(calls.pass_gate, gate, "passed")
        with pytest.raises(TimeoutError):
            future.result(0.01)
        gate.open()
        assert future.result(self.patience_s) == "passed"

    def test_waiting_call_can_be_cancelled_and_never_runs(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        running = self.occupy(ex, gate)
        waiting = [ex.submit(calls.touch, tmp_path / f"ran-{number}") for number in range(8 * self.workers)]
        last = waiting[-1]
        cancelled = last.cancel()
        gate.open()
        assert cancelled
        assert last.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            last.result(self.patience_s)
        assert [future.result(self.patience_s) for future in running] == list(range(self.workers))
        for future in waiting[:-1]:
            future.result(self.patience_s)
        assert len(list(tmp_path.glob("ran-*"))) == len(waiting) - 1

    def test_done_call_cannot_be_cancelled(self, ex: Executor) -> None:
        future = ex.submit(calls.square, 4)
        future.result(self.patience_s)
        assert not future.cancel()
        assert future.result() == 16

    def test_wait_returns_when_the_first_is_done(self, ex: Executor, tmp_path: Path) -> None:
        shut, open_ = self.gate(tmp_path, "shut"), self.gate(tmp_path, "open")
        open_.open()
        late, early = ex.submit(calls.pass_gate, shut), ex.submit(calls.pass_gate, open_)
        done, not_done = concurrent.futures.wait(
            [late, early], self.patience_s, return_when=concurrent.futures.FIRST_COMPLETED
        )
        shut.open()
        assert (done, not_done) == ({early}, {late})
        late.result(self.patience_s)

    def test_as_completed_gives_every_future_once(self, ex: Executor) -> None:
        futures = [ex.submit(calls.square, number) for number in range(20)]
        completed = list(concurrent.futures.as_completed(futures, self.patience_s))
        assert len(completed) == 20
        assert {future.result() for future in completed} == {number * number for number in range(20)}

    def test_asyncio_awaits_calls(self, ex: Executor) -> None:
        async def both() -> list[Any]:
            loop = asyncio.get_running_loop()
            five = asyncio.wrap_future(ex.submit(calls.square, 5))
            six = loop.run_in_executor(ex, calls.square, 6)
            error = loop.run_in_executor(ex, calls.raise_error, KeyError("door"))
            return [await five, await six, *await asyncio.gather(error, return_exceptions=True)]

        five, six, error = asyncio.run(asyncio.wait_for(both(), self.patience_s))
        assert (five, six, type(error)) == (25, 36, KeyError)

    def test_callback_gets_the_future_once(self, ex: Executor) -> None:
        called: list[Future[int]] = []
        told = threading.Event()
        future = ex.submit(calls.square, 7)
        future.add_done_callback(called.append)
        future.add_done_callback(lambda _: told.set())
        assert told.wait(self.patience_s)
        assert called == [future]
        future.add_done_callback(called.append)
        assert called == [future, future], "a callback that is added to a done future is called at once"

    def test_callback_that_raises_harms_nothing(self, ex: Executor, tmp_path: Path) -> None:
        told = threading.Event()
        gate = self.gate(tmp_path)
        gate.open()
        future = ex.submit(calls.pass_gate, gate, 8)
        future.add_done_callback(lambda _: 1 / 0)
        future.add_done_callback(lambda _: told.set())
        assert told.wait(self.patience_s)
        assert future.result(self.patience_s) == 8
        assert ex.submit(calls.square, 8).result(self.patience_s) == 64

    def test_call_submitted_from_a_callback_runs(self, ex: Executor) -> None:
        answer: Future[Future[int]] = Future()
        ex.submit(calls.square, 2).add_done_callback(
            lambda done: answer.set_result(ex.submit(calls.square, done.result()))
        )
        assert answer.result(self.patience_s).result(self.patience_s) == 16

    def test_calls_from_several_threads_all_give_their_results(self, ex: Executor) -> None:
        results: dict[int, list[int]] = {}

        def submit_some(thread: int) -> None:
            futures = [ex.submit(calls.square, 100 * thread + number) for number in range(25)]
            results[thread] = [future.result(self.patience_s) for future in futures]

        threads = [threading.Thread(target=submit_some, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * self.patience_s)
        assert results == {t: [(100 * t + number) ** 2 for number in range(25)] for t in range(6)}

    def test_calls_run_at_the_same_time_on_all_workers(self, ex: Executor, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        futures = [ex.submit(calls.pass_gate, gate, number) for number in range(self.workers)]
        processes = gate.wait_for_arrivals(self.workers)
        gate.open()
        assert [future.result(self.patience_s) for future in futures] == list(range(self.workers))
        assert len(set(processes)) == self.workers

    def test_capabilities_say_whether_calls_have_a_process_of_their_own(self, ex: Executor) -> None:
        elsewhere = ex.submit(calls.pid).result(self.patience_s) != os.getpid()
        assert ex.capabilities.separate_process == elsewhere

    def test_statistics_count_every_call(self) -> None:
        with self.executor() as own:
            good = [own.submit(calls.square, number) for number in range(5)]
            bad = own.submit(calls.divide, 1, by=0)
            assert [future.result(self.patience_s) for future in good] == [0, 1, 4, 9, 16]
            assert bad.exception(self.patience_s)
        counts = own.statistics()
        assert (counts.submitted, counts.finished, counts.failed) == (6, 5, 1)
        assert (counts.waiting, counts.running, counts.cancelled, counts.workers) == (0, 0, 0, 0)

    # The end ------------------------------------------------------------------------------------------------------

    def test_leaving_the_with_block_waits_for_all_calls(self) -> None:
        with self.executor() as own:
            futures = [own.submit(calls.square, number) for number in range(20)]
        assert all(future.done() for future in futures)
        assert [future.result() for future in futures] == [number * number for number in range(20)]

    def test_unused_executor_can_be_closed(self) -> None:
        with self.executor():
            pass

    def test_shutdown_twice_is_fine(self) -> None:
        own = self.executor()
        future = own.submit(calls.square, 2)
        own.shutdown()
        own.shutdown()
        own.shutdown(wait=False, cancel_futures=True)
        assert future.result() == 4

    def test_submit_after_shutdown_is_refused(self) -> None:
        own = self.executor()
        own.shutdown()
        with pytest.raises(RuntimeError, match="shutdown"):
            own.submit(calls.square, 1)
        with pytest.raises(RuntimeError, match="shutdown"):
            own.map(calls.square, [1])

    def test_shutdown_cancels_what_waits_when_asked(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        own = self.executor()
        try:
            running = self.occupy(own, gate)
            waiting = [own.submit(calls.square, number) for number in range(8 * self.workers)]
            own.shutdown(wait=False, cancel_futures=True)
            gate.open()
            assert [future.result(self.patience_s) for future in running] == list(range(self.workers))
            assert all(future.cancelled() for future in waiting)
        finally:
            gate.open()
            own.shutdown()

    def test_shutdown_without_waiting_still_finishes_every_call(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        own = self.executor()
        try:
            futures = [own.submit(calls.pass_gate, gate, number) for number in range(3 * self.workers)]
            own.shutdown(wait=False)
            assert not any(future.done() for future in futures)
            gate.open()
            assert [future.result(self.patience_s) for future in futures] == list(range(3 * self.workers))
        finally:
            gate.open()
            own.shutdown()

    def test_forgotten_executor_finishes_its_calls(self) -> None:
        futures = [self.executor().submit(calls.square, number) for number in range(2)]
        assert [future.result(self.patience_s) for future in futures] == [0, 1]

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_interrupted_with_block_cancels_what_waits_and_ends_what_runs(
        self, tmp_path: Path, kind: type[BaseException]
    ) -> None:
        gate = self.gate(tmp_path)
        running: list[Future[Any]] = []
        waiting: list[Future[Any]] = []

        def interrupted() -> None:
            with self.executor() as own:
                running.extend(self.occupy(own, gate))
                waiting.extend(own.submit(calls.square, number) for number in range(8 * self.workers))
                raise kind

        with pytest.raises(kind):
            interrupted()
        assert all(isinstance(future.exception(self.patience_s), CallStopped) for future in running)
        assert all(future.cancelled() for future in waiting)

    def test_raising_in_the_with_block_still_finishes_every_call(self) -> None:
        futures: list[Future[int]] = []

        def failing() -> None:
            with self.executor() as own:
                futures.extend(own.submit(calls.square, number) for number in range(5))
                raise LookupError("in the block")

        with pytest.raises(LookupError, match="in the block"):
            failing()
        assert [future.result(0) for future in futures] == [0, 1, 4, 9, 16]

    def test_program_that_ends_without_shutdown_waits_for_its_calls(self, tmp_path: Path) -> None:
        body = """
            from coeval.testing._calls import touch
            executor = make_executor()
            for number in range(5):
                executor.submit(touch, __import__("pathlib").Path(f"ran-{number}"))
        """
        self.run_script(tmp_path, body)
        assert len(list(tmp_path.glob("ran-*"))) == 5

    @pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGKILL"])
    def test_program_that_is_ended_leaves_no_worker(self, tmp_path: Path, end: str) -> None:
        gate = self.gate(tmp_path, patience_s=self.program_patience_s)
        body = f"""
            import os, pathlib, sys
            from coeval.testing import Gate
            from coeval.testing._calls import pass_gate
            sys.stderr = open(os.devnull, "w")  # its traceback is not ours
            with make_executor() as executor:
                gate = Gate(pathlib.Path({str(gate.folder)!r}), {self.program_patience_s})
                futures = [executor.submit(pass_gate, gate) for _ in range({3 * self.workers})]
                print("submitted", flush=True)
                for future in futures:
                    future.result()
        """
        with self.start_script(tmp_path, body) as script:
            try:
                workers = gate.wait_for_arrivals(self.workers)
                assert script.pid not in workers, "the calls run in the program itself"
                watched = [os.pidfd_open(worker) for worker in workers]
                script.send_signal(signal.Signals[end])
                script.wait(self.program_patience_s)
                for pidfd in watched:
                    ended, _, _ = select.select([pidfd], [], [], self.patience_s)
                    os.close(pidfd)
                    assert ended, "a worker lives on"
            finally:
                script.kill()
                gate.open()

    def test_interrupted_program_that_never_closes_its_executor_ends(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path, patience_s=self.program_patience_s)
        body = f"""
            import os, pathlib, sys
            from coeval.testing import Gate
            from coeval.testing._calls import pass_gate
            sys.stderr = open(os.devnull, "w")
            gate = Gate(pathlib.Path({str(gate.folder)!r}), {self.program_patience_s})
            make_executor().submit(pass_gate, gate).result()
        """
        with self.start_script(tmp_path, body) as script:
            try:
                gate.wait_for_arrivals(1)
                script.send_signal(signal.SIGINT)
                script.wait(self.program_patience_s / 2)
                assert script.returncode
            finally:
                script.kill()
                gate.open()

    @may_end_the_process
    def test_interrupt_while_the_with_block_waits_ends_what_runs(self, tmp_path: Path) -> None:
        gate = self.gate(tmp_path)
        futures: list[Future[Any]] = []
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))

        def interrupted() -> None:
            with self.executor() as own:
                futures.extend(self.occupy(own, gate))
                assert os.getpid() not in gate.arrived(), "the calls run in the program itself"
                timer.start()

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        timer.join()
        assert all(isinstance(future.exception(self.patience_s), CallStopped) for future in futures)
