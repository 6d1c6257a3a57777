"""`coeval run`: a script as Python runs it, and recorded."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from coeval.recording import Recording

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


def finished(run: str | Path) -> int:
    """How many calls of a run gave a value."""
    return sum(row.item_count for row in Recording.open(run).outcomes if row.kind == "ok")


def test_a_script_runs_as_main_and_its_own_functions_are_calls(coeval: Run, folder: Path) -> None:
    (folder / "beside.py").write_text("TEN = 10\n")
    (folder / "script.py").write_text("""
import sys
import beside
from coeval import Executor

def add(x):
    return x + beside.TEN

class Pair:
    def __init__(self, x):
        self.x = x

if __name__ == "__main__":
    with Executor() as ex:
        print(list(ex.map(add, range(3))), ex.submit(lambda p: p.x, Pair(7)).result())
    print(sys.argv, __file__, sys.modules["__main__"].add is add)
""")
    done = coeval("run", "--run", "run", "script.py", "--steps", "3", "-o")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[10, 11, 12] 7\n['script.py', '--steps', '3', '-o'] script.py True\n"
    assert done.stderr == "recorded in run\n  coeval timeline run\n  coeval clocks run\n"
    assert finished("run") == 4


def test_a_run_without_a_folder_gets_one_named_by_time_and_script(coeval: Run, folder: Path) -> None:
    (folder / "my script.py").write_text("")
    for _ in range(2):
        done = coeval("run", "my script.py")
        assert done.returncode == 0, done.stderr
    found = sorted(path.name for path in (folder / "coeval-runs").iterdir())
    assert len(found) == 2
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-my script(-2)?", name) for name in found)
    assert "coeval timeline 'coeval-runs/" in done.stderr


@pytest.mark.parametrize(
    ("ending", "exit_code", "said"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('no luck')", 1, "no luck\n"),
        ("import sys; sys.exit()", 0, ""),
        ("raise SystemExit(0)", 0, ""),
    ],
)
def test_the_exit_code_is_the_scripts(coeval: Run, folder: Path, ending: str, exit_code: int, said: str) -> None:
    (folder / "script.py").write_text(ending)
    done = coeval("run", "--run", "run", "script.py")
    assert done.returncode == exit_code
    assert done.stderr.startswith(f"{said}recorded in run\n")


def test_an_uncaught_exception_shows_the_scripts_own_traceback(coeval: Run, folder: Path) -> None:
    (folder / "script.py").write_text("def broken():\n    return 1 / 0\nbroken()\n")
    done = coeval("run", "--run", "run", "script.py")
    assert done.returncode == 1
    assert done.stderr.startswith('Traceback (most recent call last):\n  File "script.py", line 3, in <module>\n')
    assert "ZeroDivisionError: division by zero\nrecorded in run\n" in done.stderr
    assert done.stderr.count('File "') == 2


def test_a_script_that_is_no_python_shows_where(coeval: Run, folder: Path) -> None:
    (folder / "script.py").write_text("x = 1\nif:\n")
    done = coeval("run", "--run", "run", "script.py")
    assert done.returncode == 1
    assert done.stderr.startswith('  File "script.py", line 2\n    if:\n') and "SyntaxError" in done.stderr


def test_the_exceptions_of_calls_show_where_they_come_from(coeval: Run, folder: Path) -> None:
    (folder / "script.py").write_text("""
from coeval import Executor
def fails(x):
    raise KeyError(x)
with Executor() as ex:
    ex.submit(fails, 1).result()
""")
    done = coeval("run", "--run", "run", "script.py")
    assert done.returncode == 1
    assert "KeyError: 1" in done.stderr and "in fails" in done.stderr
    assert "coeval/cli" not in done.stderr


ENGINE = """
import os
from coeval import Executor
with Executor() as ex:
    print(ex.submit(os.getpid).result() == os.getpid())
"""


def test_the_engine_is_chosen_from_outside(coeval: Run, folder: Path) -> None:
    (folder / "script.py").write_text(ENGINE)
    assert coeval("run", "--engine", "inline:", "--run", "a", "script.py").stdout == "True\n"
    assert coeval("run", "--engine", "local:1", "--run", "b", "script.py").stdout == "False\n"
    assert [row.engine for row in Recording.open("a").executors] == ["inline"]


def test_how_well_clocks_are_kept_known_is_said_from_outside(coeval: Run, folder: Path) -> None:
    (folder / "script.py").write_text("import os; print(os.environ['COEVAL_CLOCK_WIDTH'])")
    assert coeval("run", "--clock-width", "0.003", "--run", "a", "script.py").stdout == "0.003\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "nonsense:", "script.py"], "no engine for 'nonsense:'"),
        (["--clock-width", "0", "script.py"], "--clock-width is '0'; expected seconds above 0, such as 0.005, or none"),
        (["nowhere.py"], "nowhere.py"),
        (["--run", ".", "script.py"], "a run wants a new or an empty folder"),
        ([], "Missing argument 'SCRIPT.py'"),
    ],
)
def test_what_cannot_be_run_is_said_before_the_script_starts(
    coeval: Run, folder: Path, arguments: list[str], message: str
) -> None:
    (folder / "script.py").write_text("print('started')")
    done = coeval("run", *arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_what_the_script_left_open_is_finished_before_the_run_is_closed(coeval: Run, folder: Path) -> None:
    (folder / "script.py").write_text("""
import atexit, threading
from coeval import Executor
ex = Executor()
for number in range(20):
    ex.submit(abs, number)
atexit.register(lambda: print("exit function"))
threading.Thread(target=lambda: ex.submit(print, "last call", flush=True)).start()
print("main is done", flush=True)
""")
    done = coeval("run", "--run", "run", "script.py")
    assert done.returncode == 0, done.stderr
    assert "main is done\n" in done.stdout and "exit function\n" in done.stdout and "last call\n" in done.stdout
    assert finished("run") == 21
    assert [row.finished for row in Recording.open("run").ends] == [21]


def test_marks_outside_of_calls_are_recorded_too(coeval: Run, folder: Path) -> None:
    (folder / "script.py").write_text("from coeval import mark\nmark('here', x=1)\n")
    assert coeval("run", "--run", "run", "script.py").returncode == 0
    (event,) = [row for row in Recording.open("run").events if row.name == "here"]
    assert dict(event.fields) == {"x": 1}


def test_a_forked_child_that_exits_does_not_close_the_run(coeval: Run, folder: Path) -> None:
    (folder / "script.py").write_text("import os, sys\nif os.fork() == 0:\n    sys.exit(0)\nos.wait()\n")
    assert coeval("run", "--run", "run", "script.py").stderr.count("recorded in run") == 1


def test_ctrl_c_ends_it_as_python_does_and_leaves_nobody(coeval_started: Start, folder: Path) -> None:
    (folder / "script.py").write_text("""
import os, threading
from coeval import Executor

def wait():
    print("waiting", os.getpid(), flush=True)
    threading.Event().wait()

ex = Executor(max_workers=1)
ex.submit(abs, -1).result()
ex.submit(wait).result()
""")
    process = coeval_started("run", "--run", "run", "script.py")
    assert process.stdout is not None and process.stderr is not None
    worker = os.pidfd_open(int(process.stdout.readline().split()[1]))
    process.send_signal(signal.SIGINT)
    assert select.select([worker], [], [], 2)[0]
    os.close(worker)
    assert process.wait(5) == 130
    said = process.stderr.read()
    assert said.startswith('Traceback (most recent call last):\n  File "script.py", line 11, in <module>\n')
    assert "KeyboardInterrupt\n" in said and "coeval/cli" not in said
    assert finished("run") == 1
    assert len(Recording.open("run").ends) == 1
