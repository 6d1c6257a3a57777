"""A map that died goes on where it stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coeval.errors import CannotResume, ResultNotSendable, RunExists
from coeval.executor import Executor

PROGRAM = """
import os, sys
from pathlib import Path
from coeval.executor import Executor

ran, folder = Path(sys.argv[1]), sys.argv[2]

def square(n):
    with open(ran, "a") as file:  # one short write: whole lines
        file.write(f"{n}\\n")
    return n * n

with Executor("local:2") as ex:
    for n, value in enumerate(ex.map(square, range(60), run=folder, resume=True)):
        print(value, flush=True)
        if n == int(sys.argv[3]):
            sys.stdin.readline()  # the test kills us here
"""


def start(tmp_path: Path, stop_at: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "ran"), str(tmp_path / "run"), str(stop_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_map_goes_on_and_runs_nothing_twice_that_was_finished(tmp_path: Path) -> None:
    first = start(tmp_path, stop_at=20)
    assert first.stdout is not None
    seen = [first.stdout.readline() for _ in range(21)]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert seen == [f"{n * n}\n" for n in range(21)]

    second = start(tmp_path, stop_at=-1)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert output.split() == [str(n * n) for n in range(60)]
    ran = [int(line) for line in (tmp_path / "ran").read_text().split()]
    assert set(ran) == set(range(60))
    twice = len(ran) - 60
    assert twice <= 2  # what the two workers had when the program was killed


def test_finished_items_come_from_the_folder(tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    def note(n: int) -> int:
        with open(marks, "a") as file:
            file.write("x")
        return n + 1

    with Executor("local:1") as ex:
        assert list(ex.map(note, range(5), run=tmp_path / "run")) == [1, 2, 3, 4, 5]
        assert list(ex.map(note, range(8), run=tmp_path / "run", resume=True)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert marks.read_text() == "x" * 8


def test_a_failed_item_is_tried_again_by_the_resumed_run(tmp_path: Path) -> None:
    switch = tmp_path / "switch"

    def fragile(n: int) -> int:
        if n == 2 and not switch.exists():
            raise ValueError("not yet")
        return n

    with Executor("local:1") as ex:
        with pytest.raises(ValueError, match="not yet"):
            list(ex.map(fragile, range(4), run=tmp_path / "run"))
        switch.touch()
        assert list(ex.map(fragile, range(4), run=tmp_path / "run", resume=True)) == [0, 1, 2, 3]


def test_a_folder_with_results_wants_to_be_resumed(tmp_path: Path) -> None:
    with Executor("inline:") as ex:
        list(ex.map(abs, [-1], run=tmp_path / "run"))
        with pytest.raises(RunExists):
            ex.map(abs, [-1], run=tmp_path / "run")


def test_another_function_is_refused(tmp_path: Path) -> None:
    with Executor("inline:") as ex:
        list(ex.map(abs, [-1], run=tmp_path / "run"))
        with pytest.raises(CannotResume, match="results of builtins:abs, and this run calls builtins:len"):
            ex.map(len, ["a"], run=tmp_path / "run", resume=True)


def test_changed_source_is_refused_unless_the_change_is_trusted(tmp_path: Path) -> None:
    def import_anew(source: str) -> object:
        (tmp_path / "resumed_module.py").write_text(source)
        namespace: dict[str, object] = {"__name__": "resumed_module"}
        exec(compile(source, str(tmp_path / "resumed_module.py"), "exec"), namespace)
        return namespace["f"]

    with Executor("inline:") as ex:
        before = import_anew("def f(x):\n    return x + 1\n")
        assert callable(before)
        assert list(ex.map(before, [1], run=tmp_path / "run")) == [2]
        import linecache

        linecache.checkcache()
        after = import_anew("def f(x):\n    return x + 200\n")
        assert callable(after)
        with pytest.raises(CannotResume, match="the source of resumed_module:f is not what it was"):
            ex.map(after, [1, 2], run=tmp_path / "run", resume=True)
        trusted = ex.map(after, [1, 2], run=tmp_path / "run", resume=True, trust_changes=True)
        assert list(trusted) == [2, 202]


def test_a_changed_input_is_refused(tmp_path: Path) -> None:
    with Executor("inline:") as ex:
        list(ex.map(abs, [-1, -2], run=tmp_path / "run"))
        with pytest.raises(CannotResume, match="input 1 is not what it was"):
            list(ex.map(abs, [-1, -3], run=tmp_path / "run", resume=True))


class Fragile:
    """Its pickle can be rebuilt as long as nothing has changed."""

    has_changed = False

    def __reduce__(self) -> tuple[object, ...]:
        return rebuild_fragile, ()


def rebuild_fragile() -> Fragile:
    if Fragile.has_changed:
        raise TypeError("not as it was")
    return Fragile()


def make_fragile(_: int) -> Fragile:
    return Fragile()


def test_a_result_that_cannot_be_rebuilt_any_more_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Executor("inline:") as ex:
        list(ex.map(make_fragile, [0], run=tmp_path / "run"))
        monkeypatch.setattr(Fragile, "has_changed", True)
        # It is asked for again, and what comes now is this run's own failure, not a crash of the resuming.
        results = ex.map(make_fragile, [0], run=tmp_path / "run", resume=True)
        with pytest.raises(ResultNotSendable, match="not as it was"):
            next(results)


def test_resuming_without_a_folder_is_refused() -> None:
    with Executor("inline:") as ex, pytest.raises(ValueError, match="run=PATH"):
        ex.map(abs, [1], resume=True)


def test_a_ledger_that_was_cut_gives_what_is_whole(tmp_path: Path) -> None:
    with Executor("inline:") as ex:
        list(ex.map(abs, range(10), run=tmp_path / "run"))
        [ledger] = (tmp_path / "run").glob("*.ledger")
        os.truncate(ledger, ledger.stat().st_size - 7)
        assert list(ex.map(abs, range(10), run=tmp_path / "run", resume=True)) == list(range(10))
