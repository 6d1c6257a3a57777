"""What calls print."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

PATIENCE_S = 60
LINES = 2000

SCRIPT = f"""
import os, signal, sys
from coeval import Executor

def tell(letter):
    for _ in range({LINES}):
        print(letter * 100, letter * 100)
        print(letter * 50, file=sys.stderr)

def print_and_die():
    print("last words")
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with Executor("local:3") as ex:
        calls = [ex.submit(tell, letter) for letter in "abc"]
        dying = ex.submit(print_and_die)
        for call in calls:
            call.result()
        assert dying.exception() is not None
        ex.submit(print, "before").result()
        print("after", flush=True)
"""


def run(folder: Path, *, to_files: bool) -> tuple[list[str], list[str]]:
    """The lines that the script printed on its standard output and on its standard error."""
    script = folder / "printing.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script)]
    if to_files:
        with open(folder / "out", "w+") as out_file, open(folder / "error", "w+") as error_file:
            code = subprocess.run(command, stdout=out_file, stderr=error_file, timeout=PATIENCE_S).returncode
        out, error = (folder / "out").read_text(), (folder / "error").read_text()
    else:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        code, out, error = done.returncode, done.stdout, done.stderr
    assert code == 0, error[-2000:]
    return out.splitlines(), error.splitlines()


def check(out: list[str], error: list[str]) -> None:
    assert Counter(out) == {
        **{f"{letter * 100} {letter * 100}": LINES for letter in "abc"},
        "last words": 1,
        "before": 1,
        "after": 1,
    }
    assert Counter(error) == {letter * 50: LINES for letter in "abc"}
    assert out[-2:] == ["before", "after"], "what a call printed comes before what the caller prints on its result"


def test_lines_of_several_workers_arrive_whole_through_a_pipe(tmp_path: Path) -> None:
    check(*run(tmp_path, to_files=False))


def test_lines_of_several_workers_arrive_whole_in_a_file(tmp_path: Path) -> None:
    check(*run(tmp_path, to_files=True))


LABELLED = """
import os, signal, sys
from coeval import Executor
from coeval.errors import WorkerDied

def tell(number):
    print("out", number)
    print("error", number, file=sys.stderr)
    return os.getpid()

def print_and_die():
    print("last words")
    os.kill(os.getpid(), signal.SIGKILL)

with Executor("local:2", output="labelled") as ex:
    pids = list(ex.map(tell, range(100)))
    error = ex.submit(print_and_die).exception()
    assert isinstance(error, WorkerDied)
    print("pids", pids)
    print("last", error.last_lines, error.pid)
    lines = [e for e in ex.timeline.events if e.kind == "output"]
    print("recorded", sorted((e.call, e.name, e.fields["text"], e.pid) for e in lines))
"""


# With one worker that is replaced, and another thread that prints at the worst moment.
PRINTED_BEFORE = """
import os, signal
from coeval import Executor
from coeval.engines.local import LocalEngine, _starters

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def flush_and_print():
    flush()
    if os.getpid() == caller:
        print("in between")

if __name__ == "__main__":
    caller = os.getpid()
    flush = _starters.flush_standard_streams
    _starters.flush_standard_streams = flush_and_print
    print("before")
    with Executor(LocalEngine(1, start_method={method!r})) as ex:
        print(type(ex.submit(die).exception()).__name__)
        print(ex.submit(abs, -1).result())
"""


@pytest.mark.parametrize("method", ["server", "fork", "spawn"])
def test_what_the_caller_printed_and_has_not_written_yet_is_written_once(method: str, tmp_path: Path) -> None:
    script = tmp_path / "printing.py"
    script.write_text(PRINTED_BEFORE.format(method=method))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=PATIENCE_S, env=environment
    )
    assert done.returncode == 0, done.stderr
    between = ["in between"] * 2 if method == "fork" else []
    assert sorted(done.stdout.splitlines()) == sorted(["before", "WorkerDied", "1", *between])


def test_labelled_lines_name_function_call_host_and_pid_and_stand_on_the_timeline(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-"], input=LABELLED, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, told_pids, told_last, told_recorded = done.stdout.splitlines()
    pids = ast.literal_eval(told_pids.removeprefix("pids "))
    *_, dead = told_last.split()
    host = os.uname().nodename
    assert sorted(lines) == sorted(
        [f"(tell call={n} host={host} pid={pid}) out {n}" for n, pid in enumerate(pids)]
        + [f"(print_and_die call=100 host={host} pid={dead}) last words"]
    )
    assert sorted(done.stderr.splitlines()) == sorted(
        f"(tell call={n} host={host} pid={pid}) error {n}" for n, pid in enumerate(pids)
    )
    assert told_last == f"last ('stdout: last words',) {dead}"
    recorded = [
        (n, stream, f"{word} {n}", pid)
        for n, pid in enumerate(pids)
        for stream, word in (("stdout", "out"), ("stderr", "error"))
    ]
    recorded.append((100, "stdout", "last words", int(dead)))
    assert ast.literal_eval(told_recorded.removeprefix("recorded ")) == sorted(recorded)
