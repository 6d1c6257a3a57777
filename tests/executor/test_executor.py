"""The executor's own promises, on top of what every engine's contract already asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from coeval.engines import Engine, Limits, open_engine
from coeval.errors import CallStopped, EngineError, RunExists, UnknownEngine, UnsupportedByEngine
from coeval.executor import Executor, Retry
from coeval.recording import Recording


def script(text: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, as a user would."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=check,
    )


def test_the_engine_comes_from_the_environment_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVAL_ENGINE", "inline:")
    with Executor() as from_environment, Executor("local:1") as named:
        assert not from_environment.capabilities.separate_process
        assert named.capabilities.separate_process


@pytest.mark.parametrize("url", ["nonsense", "local:none", "local:0", "inline:2", "dusk://host"])
def test_an_unknown_engine_is_refused_with_its_url_and_what_there_is(url: str) -> None:
    with pytest.raises(UnknownEngine, match=url) as caught:
        open_engine(url)
    assert isinstance(caught.value, ValueError)


def test_a_number_in_place_of_an_engine_is_explained() -> None:
    with pytest.raises(TypeError, match=r"max_workers=4"):
        Executor(4)  # type: ignore[arg-type]


def test_a_workers_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="max_workers is 0"):
        Executor(max_workers=0)


def test_built_in_engines_keep_the_protocol() -> None:
    assert isinstance(open_engine("local:1"), Engine)
    assert isinstance(open_engine("inline:"), Engine)


def test_options_are_inherited_and_narrowed_view_by_view() -> None:
    with Executor("local:1", retries=2) as ex:
        slow = ex.options(time_limit=5, name="slow")
        slower = slow.options(time_limit=9)
        assert slow._options.retry == Retry(2)
        assert (slower._options.name, slower._options.limits) == ("slow", Limits(9.0))
        assert ex._options.limits == Limits(None)
        assert slower.submit(abs, -1).result() == 1


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_time_limit_that_is_none_is_refused(limit: float) -> None:
    with Executor("local:1") as ex, pytest.raises(ValueError, match="expected seconds above 0"):
        ex.options(time_limit=limit)


def test_a_time_limit_is_refused_where_the_engine_cannot_keep_it() -> None:
    with pytest.raises(UnsupportedByEngine, match="cannot end a running call"):
        Executor("inline:", time_limit=1)


def test_statistics_add_up_to_what_was_submitted() -> None:
    with Executor("local:1") as ex:
        gate = ex.submit(sum, [1])
        gate.result()
        futures = [ex.submit(divmod, 1, n) for n in (1, 0, 2)]
        futures[1].exception()
        futures[2].result()
        counts = ex.statistics()
    assert counts.submitted == 4 == sum(counts[1:6])
    assert (counts.finished, counts.failed) == (3, 1)


def test_leaving_by_keyboard_interrupt_cancels_what_waits_and_ends_what_runs(tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    ex = Executor("local:1")

    def hold() -> None:
        started.write_text("now")
        signal.pause()

    with pytest.raises(KeyboardInterrupt), ex:
        running, waiting = ex.submit(hold), ex.submit(abs, 1)
        started.read_text()
        raise KeyboardInterrupt
    assert isinstance(running.exception(), CallStopped)
    assert waiting.cancelled()
    assert ex.statistics().workers == 0


def test_leaving_by_an_ordinary_exception_waits_as_the_standard_executors_do() -> None:
    ex = Executor("local:1")
    with pytest.raises(ZeroDivisionError), ex:
        future = ex.submit(abs, -2)
        raise ZeroDivisionError
    assert future.result() == 2


def test_a_program_that_ends_without_shutdown_waits_for_its_calls() -> None:
    done = script(
        """
        from coeval.executor import Executor
        ex = Executor("local:1")
        ex.submit(abs, -3).add_done_callback(lambda f: print("result", f.result()))
        """
    )
    assert done.stdout == "result 3\n"
    assert done.stderr == ""


def test_a_program_that_was_interrupted_does_not_wait() -> None:
    done = script(
        """
        import signal
        from coeval.executor import Executor
        ex = Executor("local:1")
        ex.submit(signal.pause)
        raise KeyboardInterrupt
        """,
        check=False,
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def test_an_executor_that_nobody_holds_finishes_what_it_has() -> None:
    future = Executor("local:1").submit(abs, -4)
    assert future.result(30) == 4


def test_a_forked_child_can_end_and_leaves_its_parents_pool_alone() -> None:
    done = script(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of every fork with threads
        from coeval.executor import Executor
        ex = Executor("local:1")
        assert ex.submit(abs, -1).result() == 1
        pid = os.fork()
        if pid == 0:
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        print(ex.submit(abs, -5).result())
        """
    )
    assert done.stdout == "5\n"


def test_ctrl_c_in_an_inline_call_is_the_callers_own() -> None:
    with pytest.raises(KeyboardInterrupt), Executor("inline:") as ex:
        ex.submit(signal.raise_signal, signal.SIGINT)


def test_nested_calls_on_the_inline_engine_do_not_wait_for_themselves() -> None:
    with Executor("inline:") as ex:

        def outer() -> int:
            return ex.submit(abs, -6).result()

        # The executor cannot be pickled, so the call looks it up here.
        _here["outer"] = outer
        assert ex.submit(_call_here, "outer").result() == 6


_here: dict[str, object] = {}


def _call_here(name: str) -> object:
    function = _here[name]
    assert callable(function)
    return function()


def test_a_run_folder_holds_what_happened(tmp_path: Path) -> None:
    with Executor("local:1", run=tmp_path / "run") as ex:
        ex.options(name="minus one").submit(abs, -1).result()
        ex.submit(divmod, 1, 0).exception()
    recording = Recording.open(tmp_path / "run")
    assert recording.problems == ()
    assert [row.kind for row in recording.outcomes] == ["ok", "raised"]
    assert [list(row.labels) for row in recording.sent] == [["minus one"], []]
    assert [(row.finished, row.failed) for row in recording.ends] == [(1, 1)]
    assert [(row.type_name, row.arguments, row.final) for row in recording.failures] == [
        ("ZeroDivisionError", "(int, int)", True)
    ]


def test_a_run_folder_that_has_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(RunExists):
        Executor("local:1", run=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_shutting_down_from_a_callback_does_not_wait_for_itself() -> None:
    ex = Executor("local:1")
    ended = threading.Event()

    def end(_: object) -> None:
        ex.shutdown(wait=True)
        ended.set()

    ex.submit(abs, -1).add_done_callback(end)
    assert ended.wait(30)
    ex.shutdown()


def test_stopping_a_foreign_future_is_refused() -> None:
    from concurrent.futures import Future

    with Executor("local:1") as ex, pytest.raises(ValueError, match="not a future of this executor"):
        ex.stop(Future())


def test_calls_after_the_engine_is_gone_fail_and_do_not_hang() -> None:
    ex = Executor("local:1")
    ex.submit(abs, 1).result()
    ex._dispatch.engine.close()
    assert isinstance(ex.submit(abs, 1).exception(30), EngineError)
    ex.shutdown()
