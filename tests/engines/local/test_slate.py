from __future__ import annotations

import ctypes
import logging
import os
import signal
from pathlib import Path

import pytest

from coeval import Executor, TimeLimitExceeded, WorkerDied
from coeval.engines.local._slate import LAST_LINES_MAX, LINES_BYTES_MAX, LastWords, calls_own
from coeval.testing import _calls as calls

PATIENCE_S = 30
STACKS = """\
Thread 0x2 (most recent call first):
  File "/python/threading.py", line 1 in wait

Current thread 0x1 (most recent call first):
  File "/home/me/model.py", line 9 in score
  File "/site/coeval/engines/_attempt.py", line 2 in _run_item
  File "/site/coeval/engines/local/_worker.py", line 3 in run

Thread 0x3 (most recent call first):
  File "/home/me/model.py", line 5 in helper
"""


def crash(number: int) -> None:
    logging.getLogger("model").warning("about to read %d\nfrom nowhere", number)
    ctypes.string_at(0)


def log_and_die(lines: int, how: int) -> None:
    for number in range(lines):
        logging.getLogger("model").warning("line %d %s", number, "x" * 100)
    os.kill(os.getpid(), how)


def log_and_spin() -> None:
    log("begun")
    while True:
        pass


def log(text: str) -> None:
    logging.getLogger("model").warning(text)


def test_frames_below_the_call_are_left_out_of_every_thread() -> None:
    kept = calls_own(STACKS)
    assert "in score" in kept
    assert "in helper" in kept
    assert "in wait" in kept
    assert "coeval" not in kept
    assert kept.count("most recent call first") == 3


def test_last_words_are_those_of_the_call_that_logged_last() -> None:
    words = LastWords(
        "\x01call 3\n\x02old\n\x01call 7\n\x02one\n\x02two\nstray\nFatal Python error: Abort\n\nThread", True
    )
    assert (words.call, words.lines) == (7, ("one", "two"))
    assert words.crash == "Fatal Python error: Abort\n\nThread"
    assert LastWords("Fatal Python error: of a forked child").crash == "", "the worker itself did not crash"
    assert (LastWords("").call, LastWords("").lines, LastWords("").crash) == (-1, (), "")


def test_crash_in_c_code_tells_its_python_stack_and_what_the_call_logged() -> None:
    with Executor("local:1") as ex:
        error = ex.submit(crash, 7).exception(PATIENCE_S)
    assert isinstance(error, WorkerDied)
    assert error.signal == "SIGSEGV"
    assert error.last_lines == ("WARNING model: about to read 7", "from nowhere")
    assert " in crash" in error.crash
    assert "coeval/engines" not in error.crash
    assert "about to read 7" in str(error)
    assert " in crash" in str(error)


def test_killed_worker_leaves_the_last_lines_of_its_call_only(tmp_path: Path) -> None:
    with Executor("local:1") as ex:
        ex.submit(log, "of another call").result(PATIENCE_S)
        error = ex.submit(log_and_die, 3, signal.SIGKILL).exception(PATIENCE_S)
        assert isinstance(error, WorkerDied)
        assert [line[:21] for line in error.last_lines] == [f"WARNING model: line {number}" for number in range(3)]
        ex.submit(log, "of another call").result(PATIENCE_S)
        silent = ex.submit(calls.end_process, 3, tmp_path / "pid").exception(PATIENCE_S)
    assert isinstance(silent, WorkerDied)
    assert silent.last_lines == ()


def test_call_that_logs_much_keeps_the_end_of_it() -> None:
    lines = 3 * LINES_BYTES_MAX // 100
    with Executor("local:1") as ex:
        error = ex.submit(log_and_die, lines, signal.SIGKILL).exception(PATIENCE_S)
    assert isinstance(error, WorkerDied)
    assert 0 < len(error.last_lines) <= LAST_LINES_MAX
    assert error.last_lines[-1].startswith(f"WARNING model: line {lines - 1} ")


def test_all_that_killed_workers_logged_reaches_the_caller_or_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    many = 3 * LINES_BYTES_MAX // 100
    with Executor("local:2") as ex:
        few = ex.submit(log_and_die, 1000, signal.SIGKILL).exception(PATIENCE_S)
        assert isinstance(few, WorkerDied)
        whole = [record.getMessage() for record in caplog.records if record.process == few.pid]
        assert whole == [f"line {number} {'x' * 100}" for number in range(1000)]
        caplog.clear()
        ex.submit(log_and_die, many, signal.SIGKILL).exception(PATIENCE_S)
        *newest, told = [record.getMessage() for record in caplog.records]
    assert newest == [f"line {number} {'x' * 100}" for number in range(many - len(newest), many)]
    assert told == f"{many - len(newest)} earlier records of this call were lost with its worker"


def test_what_a_call_over_its_time_limit_logged_reaches_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    with Executor("local:1", time_limit=0.3) as ex:
        error = ex.submit(log_and_spin).exception(PATIENCE_S)
    assert isinstance(error, TimeLimitExceeded)
    assert [record.getMessage() for record in caplog.records] == ["begun"]


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2"])
def test_stacks_are_asked_for_with_a_signal_that_calls_may_not_miss(name: str) -> None:
    """A batch system's warning, for which calls have handlers, stays theirs."""
    with Executor("local:1") as ex:
        assert ex.submit(calls_handler, name).result(PATIENCE_S) == "SIG_DFL"


def calls_handler(name: str) -> str:
    return str(signal.getsignal(signal.Signals[name]).name)  # type: ignore[union-attr]
