"""What becomes of our bases when somebody imports `concurrent.futures`; each case in an interpreter of its own."""

from __future__ import annotations

import concurrent.futures._base as base
import subprocess
import sys
from pathlib import Path

import pytest

import coeval
from coeval.executor import _standard

SOURCE = Path(coeval.__path__[0]).parent

BEFORE = """
import os, sys
from coeval import Executor
from coeval.executor._call import CallFuture
ex = Executor("inline:")
future = ex.submit(os.getpid)
assert future.result() == os.getpid()
assert "concurrent.futures" not in sys.modules
"""

DERIVED = """
import concurrent.futures
assert issubclass(Executor, concurrent.futures.Executor) and isinstance(ex, concurrent.futures.Executor)
assert issubclass(CallFuture, concurrent.futures.Future) and isinstance(future, concurrent.futures.Future)
assert Executor.__mro__[1:] == concurrent.futures.Executor.__mro__
assert CallFuture.__mro__[1:] == concurrent.futures.Future.__mro__
"""


def run(program: str) -> None:
    """Run a program in a fresh interpreter; it fails if the program does."""
    program = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{program}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_executors_and_futures_made_before_are_standard_ones_after_the_import() -> None:
    run(BEFORE + DERIVED)


def test_where_it_is_imported_first_nothing_stands_in() -> None:
    run(
        "import concurrent.futures\n"
        + BEFORE.replace('assert "concurrent.futures" not in sys.modules', "")
        + DERIVED
        + "from coeval.executor import _standard\n"
        + "assert _standard.StandardFuture is concurrent.futures.Future\n"
        + "assert not any(type(finder).__module__.startswith('coeval') for finder in sys.meta_path)\n"
    )


def test_an_import_between_our_two_classes_is_noticed() -> None:
    run(
        "from coeval import Executor\nimport concurrent.futures\n"
        + BEFORE.replace('assert "concurrent.futures" not in sys.modules', "")
        + DERIVED
    )


def test_an_import_that_began_before_there_was_a_finder_is_noticed_by_the_first_executor() -> None:
    run(
        """
from coeval import Executor
finder = sys.meta_path.pop(0)
import concurrent.futures
assert not issubclass(Executor, concurrent.futures.Executor)
ex = Executor("inline:")
assert isinstance(ex, concurrent.futures.Executor) and isinstance(ex.submit(int), concurrent.futures.Future)
"""
    )


def test_subclasses_defined_before_are_derived_as_well() -> None:
    run(
        """
from coeval import Executor
class Mixin: pass
class Own(Executor, Mixin):
    def __init__(self): super().__init__("inline:")
import concurrent.futures
assert Own.__mro__ == (Own, Executor, concurrent.futures.Executor, Mixin, object)
class Both(Own, concurrent.futures.Executor): pass
with Both() as ex:
    assert ex.submit(int).result() == 0
"""
    )


@pytest.mark.parametrize(
    "use",
    [
        "assert future.done() and not future.running() and not future.cancelled()",
        "assert future.exception() is None",
        "assert not future.cancel()",
        "told = []; future.add_done_callback(told.append); assert told == [future]",
        "assert 'finished' in repr(future)",
        "assert future.result(timeout=1) == os.getpid()",
        "import concurrent.futures; assert concurrent.futures.wait([future]).done == {future}",
        "import concurrent.futures; assert list(concurrent.futures.as_completed([future])) == [future]",
        "import asyncio\nasync def get(): return await asyncio.wrap_future(future)\nasyncio.run(get())",
        "import asyncio; assert asyncio.run(ex.run(int)) == 0",
        "assert list(ex.map(abs, [-1, 2])) == [1, 2]",
        "with ex: pass",
    ],
)
def test_a_future_made_before_does_all_that_a_standard_one_does(use: str) -> None:
    run(BEFORE + use + DERIVED)


def test_a_call_that_raised_before_the_import_raises_as_usual() -> None:
    run(
        BEFORE
        + """
failed = ex.submit(int, "no number")
try:
    failed.result()
except ValueError as error:
    assert "no number" in str(error)
else:
    raise AssertionError
assert isinstance(failed.exception(), ValueError)
"""
    )


def test_what_is_no_attribute_is_none_before_and_after() -> None:
    run(BEFORE + "assert not hasattr(future, 'no_such_thing')\n" + DERIVED + "assert not hasattr(future, 'no_such')")


def test_asking_for_a_special_method_imports_nothing() -> None:
    run(BEFORE + "assert not hasattr(future, '__deepcopy__'); assert 'concurrent.futures' not in sys.modules")


def test_what_is_told_or_cancelled_without_anybody_waiting_imports_nothing() -> None:
    """An import at the exit of an interrupted program would change its exit code."""
    run(
        BEFORE
        + """
from coeval.executor._standard import CANCELLED
assert future.done() and not future.cancelled()
unsent = CallFuture()
unsent._state = CANCELLED
assert unsent.cancelled() and not unsent.set_running_or_notify_cancel()
assert "concurrent.futures" not in sys.modules
"""
        + DERIVED
    )


def test_a_call_cancelled_under_somebody_who_waits_is_told() -> None:
    run(
        """
import os, threading
from coeval import Executor
from coeval.executor._call import CallFuture
ex, future = Executor("inline:"), CallFuture()
from concurrent.futures import wait
told = threading.Thread(target=wait, args=([future], 30))
told.start()
while not future.__dict__.get("_waiters"):
    os.sched_yield()
assert future.cancel() and not future.set_running_or_notify_cancel()
told.join(10)
assert not told.is_alive()
"""
        + DERIVED
    )


def test_no_thread_sees_the_standard_classes_before_ours_are_derived_from_them() -> None:
    run(
        BEFORE
        + """
import threading
sys.setswitchinterval(1e-6)
barrier, wrong = threading.Barrier(8), []
def look():
    barrier.wait()
    from concurrent.futures import Executor as Standard, Future
    if not (isinstance(ex, Standard) and isinstance(future, Future)):
        wrong.append(threading.current_thread().name)
threads = [threading.Thread(target=look) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not wrong, wrong
"""
        + DERIVED
    )


def test_the_module_keeps_its_own_loader_and_can_be_loaded_again() -> None:
    run(
        BEFORE
        + """
import importlib.util
spec = importlib.util.find_spec("concurrent.futures._base")
assert "class Future" in spec.loader.get_source(spec.name)
import concurrent.futures._base as base
assert type(base.__loader__).__module__.startswith("_frozen_importlib"), base.__loader__
assert base.__spec__.loader is base.__loader__
first = base.Future
importlib.reload(base)
assert isinstance(future, first) and ex.submit(int).result() == 0
"""
    )


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "FINISHED", "CANCELLED", "CANCELLED_AND_NOTIFIED"])
def test_states_are_the_standard_ones(state: str) -> None:
    assert getattr(_standard, state) == getattr(base, state)
