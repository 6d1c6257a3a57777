"""No call is lost and nobody waits for ever, whoever interrupts, refuses or misbehaves, and at whichever moment."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import select
import signal
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from coeval.engines import Batch
from coeval.engines.inline import InlineEngine
from coeval.engines.local import LocalEngine
from coeval.errors import CallStopped, EngineError, RemoteTraceback, WorkerDied
from coeval.executor import Executor
from coeval.executor._dispatch import MOVES_MAX
from coeval.recording import _capture
from coeval.testing._gate import wait_until

# What workers run is made inside functions: they cannot import a test's module, and local code travels by itself.


def large_maker() -> Callable[..., object]:
    """Makes something that can be watched."""

    class Large:
        pass

    return lambda *_: Large()


class _WhenPickled:
    """Does something while it is pickled, and travels as a zero."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def __reduce__(self) -> tuple[type[int], tuple[()]]:
        self._act()
        return int, ()


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def holder(pipe: Path) -> Callable[[], None]:
    """Says that it runs, then waits to be ended."""

    def hold() -> None:
        pipe.write_text("now")
        signal.pause()

    return hold


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


# In -------------------------------------------------------------------------------------------------------------------


def test_callbacks_that_ask_for_statistics_do_not_nest() -> None:
    depths: list[int] = []

    def ask(_: object) -> None:
        ex.statistics()
        depths.append(len(inspect.stack(0)))

    with Executor("local:1") as ex:
        for _ in range(600):
            ex.submit(int).add_done_callback(ask)
    assert len(depths) == 600
    assert max(depths) < min(depths) + 40


def test_a_submit_that_is_overtaken_by_shutdown_is_refused_and_counts_nothing() -> None:
    ex = Executor("local:1")
    with pytest.raises(RuntimeError, match="after shutdown"):
        ex.submit(id, _WhenPickled(ex.shutdown))
    assert ex.statistics().submitted == 0


def test_an_interrupt_while_arguments_are_pickled_leaves_no_call_behind() -> None:
    with Executor("local:1") as ex:
        with pytest.raises(KeyboardInterrupt):
            ex.submit(id, _WhenPickled(interrupt))
        assert ex.submit(abs, -1).result() == 1
        counts = ex.statistics()
    assert (counts.submitted, counts.waiting, counts.finished) == (1, 0, 1)


class _Interrupted(LocalEngine):
    """Ctrl-C arrives in its first `send`."""

    is_interrupted = False

    def send(self, batch: Batch) -> None:
        if not self.is_interrupted:
            self.is_interrupted = True
            raise KeyboardInterrupt
        super().send(batch)


def test_an_interrupt_while_a_batch_is_sent_leaves_an_executor_that_works_and_ends() -> None:
    ex = Executor(_Interrupted(1))
    with pytest.raises(KeyboardInterrupt):
        ex.submit(abs, -1)
    assert ex.submit(abs, -2).result(30) == 2
    ex.shutdown()
    assert ex.statistics()[:6] == (2, 0, 0, 1, 1, 0)


class _NotStarting(InlineEngine):
    def start(self, deliver: object) -> NoReturn:
        raise EngineError("no such cluster")


def test_an_engine_that_does_not_start_leaves_no_recorder_listening() -> None:
    before = list(_capture._recorders)
    with pytest.raises(EngineError, match="no such cluster"):
        Executor(_NotStarting())
    assert _capture._recorders == before


def test_tries_on_an_engine_that_delivers_while_it_sends_do_not_nest() -> None:
    with Executor("inline:", retries=500) as ex:
        assert isinstance(ex.submit(divmod, 1, 0).exception(0), ZeroDivisionError)
        assert ex.statistics().retried == 500


# Home -----------------------------------------------------------------------------------------------------------------


def test_a_log_handler_that_raises_fails_no_call(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("cannot write")

    logger, handler = logging.getLogger("coeval.tests.broken_handler"), Broken()
    logger.addHandler(handler)
    try:
        with Executor("local:1") as ex:
            assert ex.submit(logging.Logger.warning, logger, "hello").result(30) is None
            assert ex.submit(abs, -1).result(30) == 1
    finally:
        logger.removeHandler(handler)
    assert "cannot write" in capsys.readouterr().err


def test_an_argument_whose_repr_fails_is_named_by_its_type() -> None:
    with Executor("local:1") as ex:
        error = ex.submit(divmod, 10**5000, 0).exception(30)
    assert isinstance(error, ZeroDivisionError)


def test_a_frozen_exception_comes_home_as_itself() -> None:
    """A frozen dataclass refuses every assignment, also that of its cause and its traceback."""

    def fail() -> NoReturn:
        @dataclass(frozen=True)
        class Frozen(Exception):
            def __reduce__(self) -> tuple[Any, ...]:
                return type(self), ()

        raise Frozen

    with Executor("local:1") as ex:
        error = ex.submit(fail).exception(30)
        assert type(error).__name__ == "Frozen"
        assert error is not None
        assert isinstance(error.__cause__, RemoteTraceback)
        assert ex.submit(abs, -1).result(30) == 1


def test_whatever_a_callback_does_the_other_calls_of_its_batch_come_home(pipe: Path) -> None:
    """What it may not do ends the engine, but leaves nobody waiting."""
    ex = Executor("local:1")
    ex.submit(abs, -3).result(30)  # abs is known to be short now, so calls of it travel together
    holding = ex.submit(pipe.read_text)
    first, second = ex.submit(abs, -1), ex.submit(abs, -2)
    first.add_done_callback(lambda _: interrupt())
    pipe.write_text("go on")
    holding.result(30)
    assert first.result(30) == 1
    assert isinstance(second.exception(30), EngineError)
    ex.shutdown()


def test_a_result_goes_when_its_last_holder_lets_go_of_it() -> None:
    """Not when the garbage collector comes: large results would pile up."""
    gc.disable()
    try:
        with Executor("local:1") as ex:
            future = ex.submit(large_maker())
            seen = weakref.ref(future.result(30))
            ex.submit(abs, 1).result(30)  # the pool's thread is done with the one before
            del future
            assert seen() is None
    finally:
        gc.enable()


def test_arguments_of_a_cancelled_call_go_although_its_future_stays(pipe: Path) -> None:
    with Executor("local:1") as ex:
        running = ex.submit(holder(pipe))
        pipe.read_text()
        argument = large_maker()()
        seen = weakref.ref(argument)
        cancelled = ex.submit(id, argument)
        assert cancelled.cancel()
        del argument
        assert ex.stop(running)
        ex.submit(abs, 1).result(30)
        gc.collect()
        assert seen() is None
        assert cancelled.cancelled()


def test_a_call_that_no_worker_can_take_up_fails_after_a_few_tries() -> None:
    done = script(
        """
        import resource
        from coeval.engines.local import LocalEngine
        from coeval.errors import WorkerDied
        from coeval.executor import Executor

        def use_little():
            resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))

        # Else such an argument would go beside its batch, in shared memory.
        with Executor(LocalEngine(1, initializer=use_little, results_leave_host=True)) as ex:
            error = ex.submit(len, bytes(1 << 28)).exception(60)
            print(type(error).__name__, error.exit_code, ex.submit(abs, -1).result(60))
            print(ex._dispatch.engine._state._next_number)
        """
    )
    assert done.stdout.split() == [WorkerDied.__name__, "1", "1", str(MOVES_MAX + 1)]


# The end --------------------------------------------------------------------------------------------------------------


def script(text: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, as a user would."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=100, check=check
    )


def test_when_shutdown_returns_no_worker_is_left() -> None:
    def slow_to_leave() -> int:
        import atexit

        atexit.register(signal.pause)
        return os.getpid()

    with Executor("local:1") as ex:
        pid = ex.submit(slow_to_leave)  # comes home while the executor closes
    with pytest.raises(ProcessLookupError):
        os.kill(pid.result(), 0)


def test_an_interrupt_while_workers_leave_is_not_waited_out() -> None:
    done = script(
        """
        import signal, threading
        from coeval.executor import Executor

        class Interrupted(threading.Thread):
            def join(self, timeout=None):
                raise KeyboardInterrupt

        ex = Executor("local:1")
        ex.submit(abs, -1).result()
        ex._dispatch.engine._helper.thread.__class__ = Interrupted
        try:
            with ex:
                pass
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert done.stdout == "interrupted\n"


def test_a_callback_of_an_aborted_call_may_shut_the_executor_down(pipe: Path) -> None:
    ex = Executor("local:1")
    with pytest.raises(KeyboardInterrupt), ex:
        running = ex.submit(holder(pipe))
        running.add_done_callback(lambda _: ex.shutdown())
        pipe.read_text()
        raise KeyboardInterrupt
    assert isinstance(running.exception(), CallStopped)


class _InterruptedAgain(LocalEngine):
    """Ctrl-C arrives while it closes."""

    def close(self) -> None:
        super().close()
        raise KeyboardInterrupt


def test_a_second_interrupt_leaves_no_future_without_an_outcome(pipe: Path) -> None:
    ex = Executor(_InterruptedAgain(1))
    with pytest.raises(KeyboardInterrupt), ex:
        running, waiting = ex.submit(holder(pipe)), ex.submit(abs, -1)
        pipe.read_text()
        raise KeyboardInterrupt
    assert isinstance(running.exception(0), CallStopped)
    assert waiting.cancelled()


class _Unread(LocalEngine):
    """A worker sends a result when nobody reads any more, as it does in the moment of Ctrl-C."""

    def __init__(self, finish: Callable[[], object]) -> None:
        super().__init__(1)
        self._finish = finish

    def close(self) -> None:
        if not self.is_closing:
            while not (self._reading.acquire(blocking=False) or self._relieve_helper()):
                pass
            [worker] = self._workers.values()
            self._finish()
            assert select.select([worker.results], [], [], 30)[0]
        super().close()


def test_a_call_that_was_finished_when_an_interrupt_came_has_its_value_and_no_other_one_begins(
    pipe: Path, tmp_path: Path
) -> None:
    engine = _Unread(lambda: pipe.write_text("finished"))
    ex = Executor(engine)
    with pytest.raises(KeyboardInterrupt), ex:
        finished, waiting = ex.submit(pipe.read_text), ex.submit((tmp_path / "begun").touch)
        wait_until(lambda: len(engine.running()) == 1, 30)
        raise KeyboardInterrupt
    assert finished.result(0) == "finished"
    assert waiting.cancelled() or isinstance(waiting.exception(0), CallStopped)
    assert not (tmp_path / "begun").exists()
    counts = ex.statistics()
    assert (counts.finished, counts.running, counts.waiting) == (1, 0, 0)


def test_an_executor_may_be_collected_in_the_middle_of_its_own_work() -> None:
    """The garbage collector comes in any thread and at any line, also where a lock of the executor's is held."""
    circle: dict[str, Any] = {"ex": Executor("local:1")}
    circle["itself"] = circle
    dispatch, future = circle["ex"]._dispatch, circle["ex"].submit(abs, -1)
    with dispatch.lock:
        del circle
        gc.collect()
    assert future.result(30) == 1
    assert dispatch._ended_event.wait(30)


def test_views_of_views_hold_the_executor_only() -> None:
    with Executor("inline:") as ex:
        view = ex
        for number in range(5):
            view = view.options(name=str(number))
        assert view._parent is ex


def test_a_forked_child_can_leave_the_with_block_while_calls_run() -> None:
    done = script(
        """
        import os, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of every fork with threads
        from coeval.executor import Executor
        read, write = os.pipe()
        with Executor("local:1") as ex:
            running = ex.submit(time.sleep, 0.2)
            pid = os.fork()
        if pid == 0:
            try:
                ex.submit(abs, 1)
            except RuntimeError as error:
                os.write(write, str(error).encode())
            os._exit(0)
        os.close(write)
        print(os.read(read, 1000).decode(), os.waitpid(pid, 0)[1], running.result())
        """
    )
    assert done.stdout == "cannot schedule new futures after shutdown 0 None\n"
