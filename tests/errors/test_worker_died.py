"""What `WorkerDied` is, before and after somebody can tell; each case in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import coeval

SOURCE = Path(coeval.__path__[0]).parent

MADE = """
from coeval import WorkerDied
error = WorkerDied("it died", function="m:f")
assert isinstance(error, RuntimeError)
"""

BEFORE = f"""{MADE}
assert not {{"concurrent.futures", "multiprocessing"}} & set(sys.modules)
"""

IS_STANDARD = """
from concurrent.futures.process import BrokenProcessPool
from coeval.errors import CallFailed
assert isinstance(error, BrokenProcessPool) and isinstance(error, CallFailed)
try:
    raise error
except BrokenProcessPool as caught:
    assert caught.function == "m:f" and str(caught) == "it died"
import pickle
again = pickle.loads(pickle.dumps(error))
assert isinstance(again, BrokenProcessPool) and again.function == "m:f"
"""


def run(program: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{program}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_error_that_was_made_before_anybody_could_tell_is_a_broken_pool_as_soon_as_somebody_can() -> None:
    run(BEFORE + IS_STANDARD)


def test_it_is_a_broken_executor_where_only_that_is_imported() -> None:
    run(
        BEFORE
        + """
from concurrent.futures import BrokenExecutor
assert isinstance(error, BrokenExecutor) and "concurrent.futures.process" not in sys.modules
"""
        + IS_STANDARD
    )


@pytest.mark.parametrize("first", ["concurrent.futures", "concurrent.futures.process"])
def test_it_is_a_standard_one_from_the_start_where_those_are_imported_first(first: str) -> None:
    run(f"import {first}\n{MADE}{IS_STANDARD}")


def test_a_class_that_was_derived_from_it_before_is_a_broken_pool_as_well() -> None:
    run(
        BEFORE
        + "class Own(WorkerDied): pass\nerror = Own('it died', function='m:f')\n"
        + IS_STANDARD.replace("import pickle", "sys.exit()")
    )


def test_an_import_that_had_begun_before_is_noticed_when_one_is_made() -> None:
    run(
        BEFORE
        + """
finders = [finder for finder in sys.meta_path if type(finder).__module__.startswith("coeval")]
for finder in finders:
    sys.meta_path.remove(finder)
from concurrent.futures.process import BrokenProcessPool
assert not issubclass(WorkerDied, BrokenProcessPool)
assert isinstance(WorkerDied("it died"), BrokenProcessPool)
"""
        + IS_STANDARD
    )


def test_it_waits_for_the_same_import_as_an_executor_does() -> None:
    run(
        """
import os
from coeval import Executor
ex = Executor("inline:")
future = ex.submit(os.getpid)
"""
        + BEFORE
        + IS_STANDARD
        + """
import concurrent.futures
assert isinstance(ex, concurrent.futures.Executor) and isinstance(future, concurrent.futures.Future)
"""
    )


def test_a_call_whose_worker_died_fails_without_the_import_and_is_caught_as_a_broken_pool() -> None:
    run(
        """
import os
from coeval import Executor
if __name__ == "__main__":
    with Executor("local", 1) as ex:
        future = ex.submit(os._exit, 3)
        try:
            future.result()
        except RuntimeError as caught:
            error = caught
        else:
            raise AssertionError
        assert future.exception() is error
        assert not {"concurrent.futures", "multiprocessing"} & set(sys.modules)
        from concurrent.futures.process import BrokenProcessPool
        assert isinstance(error, BrokenProcessPool) and error.exit_code == 3
"""
    )
