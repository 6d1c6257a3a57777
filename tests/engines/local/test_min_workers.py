"""Workers that are there before the first call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import coeval
from coeval.engines.inline import InlineEngine
from coeval.engines.local._cores import usable_cores
from coeval.executor import Executor
from coeval.testing import leaks
from coeval.testing._gate import wait_until

PATIENCE_S = 20.0


def pid_once_there_are(workers: int) -> int:
    """This worker's, when so many of its pool are there."""
    server = os.getppid()
    children = Path(f"/proc/{server}/task/{server}/children")
    assert wait_until(lambda: len(children.read_text().split()) == workers, PATIENCE_S), children.read_text()
    return os.getpid()


def test_more_workers_than_one_are_there_for_the_first_call() -> None:
    with Executor("local:3", min_workers=2) as ex:
        assert ex.submit(pid_once_there_are, 2).result() > 0


def test_one_that_ends_while_it_idles_is_replaced_by_the_next_call() -> None:
    with Executor("local:2", min_workers=2) as ex:
        pid = ex.submit(pid_once_there_are, 2).result()
        os.kill(pid, signal.SIGKILL)
        assert ex.submit(pid_once_there_are, 2).result() != pid


def test_a_pool_that_is_closed_before_its_workers_are_ready_leaves_nothing() -> None:
    with leaks():
        Executor("local:2", min_workers=2).shutdown()


def test_they_get_ready_before_anybody_calls_or_waits() -> None:
    with Executor("local:2", min_workers=2) as ex:
        assert wait_until(lambda: ex.statistics().workers == 2, PATIENCE_S)


@pytest.mark.parametrize(("wrong", "engine"), [(-1, "local:2"), (3, "local:2"), (-1, "local"), (-1, "inline:")])
def test_fewer_than_none_and_more_than_there_may_be_are_refused_before_anything_starts(wrong: int, engine: str) -> None:
    with leaks(), pytest.raises(ValueError, match=f"min_workers is {wrong}; expected 0 (to 2|or more)"):
        Executor(engine, min_workers=wrong)


def test_there_may_be_as_many_as_shall_be_on_a_machine_with_fewer_cores() -> None:
    many = usable_cores() + 1
    with Executor(min_workers=many) as ex:
        assert ex.submit(pid_once_there_are, many).result() > 0


KILLER = """
import os, signal

if os.environ["PROGRAM"] != str(os.getpid()):
    os.kill(os.getpid(), signal.SIGKILL)
"""
PROGRAM = """
import os

os.environ["PROGRAM"] = str(os.getpid())
import killer
from coeval import Executor

with Executor("local:3", min_workers=3) as ex:
    print(sum(ex.map(abs, [1, -2])))
"""


def test_a_module_of_the_program_that_kills_whoever_imports_it_ahead_is_imported_ahead_once(tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    source = Path(coeval.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(source)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "3\n", done.stderr
    assert done.stderr.count("the next start launches another one") == 1


def test_whoever_allows_fewer_by_the_environment_gets_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVAL_ENGINE", "local:1")
    with Executor(min_workers=2) as ex:
        assert ex.submit(pid_once_there_are, 1).result() > 0


def total(numbers: list[int]) -> int:
    """As a library function may be, which does not know where it runs."""
    with Executor(min_workers=1) as ex:
        return sum(ex.map(abs, numbers))


def test_where_there_are_no_workers_to_start_it_means_nothing_also_in_a_worker() -> None:
    with Executor("inline:", min_workers=2) as ex:
        assert ex.submit(total, [1, -2]).result() == 3
    with Executor("local:1", min_workers=1) as ex:
        assert ex.submit(total, [1, -2]).result() == 3


def test_an_engine_that_was_made_already_has_said_so_itself() -> None:
    with pytest.raises(ValueError, match="min_workers=1"):
        Executor(InlineEngine(), min_workers=1)
