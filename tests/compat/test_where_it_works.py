"""
What must work wherever coeval does: every kind of function, every way to start a program, few workers and many, beside
threads that hold locks; in development mode, with every warning an error; with each interpreter there is.

Interpreters are this one, `python3.11` to `python3.13` on the path or of pyenv, and those that `COEVAL_PYTHONS` names,
separated as in PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PATIENCE_S = 120

# No `if __name__ == "__main__"` anywhere: that is a part of it.
# `concurrent.futures` is imported ahead, as that import itself waits for the lock of `logging`.
PROGRAM = """
import concurrent.futures.process, functools, logging, os, sys, threading
from coeval import Executor

held, enough = threading.Barrier(51), threading.Event()

def hold(lock):
    with lock:
        held.wait()
        enough.wait()

locks = [threading.Lock() for _ in range(48)] + [logging._lock, threading.RLock()]
holders = [threading.Thread(target=hold, args=(lock,)) for lock in locks]
for holder in holders:
    holder.start()
held.wait()

class Scale:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, number):
        return self.factor * number

def closure_over(factor):
    def scaled(number):
        return factor * number
    return scaled

def of_main(number):
    return Scale(6)(number)

def look():
    return os.getpid(), threading.active_count(), logging._lock.acquire(timeout=10) and logging._lock.release()

functions = [lambda number: 6 * number, closure_over(6), Scale(6), of_main, functools.partial(of_main)]
for workers in (1, 2, 64):
    with Executor(max_workers=workers) as executor:
        for function in functions:
            assert executor.submit(function, 7).result() == 42, function
            assert list(executor.map(function, range(100))) == [6 * n for n in range(100)], function
        looks = [future.result() for future in [executor.submit(look) for _ in range(4 * workers)]]
        assert {threads for _, threads, _ in looks} == {1}, looks
        assert os.getpid() not in {pid for pid, _, _ in looks}
enough.set()
for holder in holders:
    holder.join()
print("all well with", "%d.%d" % sys.version_info[:2], sys.flags.dev_mode, sys.warnoptions)
"""


def interpreters() -> list[str]:
    """One for each version, this one first."""
    named = [shutil.which(f"python3.{minor}") for minor in (11, 12, 13)]
    built = sorted(map(str, Path.home().glob(".pyenv/versions/3.1[123].*/bin/python3")))
    asked = os.environ.get("COEVAL_PYTHONS", "").split(os.pathsep)
    found: dict[str, str] = {}
    for python in [sys.executable, *filter(None, [*asked, *built, *named])]:
        done = subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode == 0:  # pyenv leaves names on the path that lead nowhere
            found.setdefault(done.stdout.strip(), python)
    return list(found.values())


def run(python: str, folder: Path, *arguments: str, program: str | None = None) -> str:
    # Only what coeval needs, so that another version of Python never sees this one's compiled packages.
    packages = folder / "packages"
    packages.mkdir()
    (packages / "coeval").symlink_to(SOURCE / "coeval")
    (packages / "cloudpickle").symlink_to(Path(cloudpickle.__file__).parent)
    done = subprocess.run(
        [python, "-X", "dev", "-W", "error", *arguments],
        input=program,
        stdin=subprocess.DEVNULL if program is None else None,
        env={**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.timeout(PATIENCE_S + 30)
@pytest.mark.parametrize("python", interpreters())
class TestEverywhere:
    def test_a_script_piped_to_python_runs_functions_of_every_kind_beside_fifty_locked_threads_without_a_warning(
        self, python: str, tmp_path: Path
    ) -> None:
        assert run(python, tmp_path, "-", program=PROGRAM).startswith("all well with 3.")

    def test_so_does_a_script_in_a_file_without_a_main_guard(self, python: str, tmp_path: Path) -> None:
        (tmp_path / "program.py").write_text(PROGRAM)
        assert run(python, tmp_path, "program.py").startswith("all well with 3.")

    def test_so_does_a_program_on_the_command_line(self, python: str, tmp_path: Path) -> None:
        assert run(python, tmp_path, "-c", PROGRAM).startswith("all well with 3.")
