"""What importing costs, counted in modules: times differ from machine to machine, modules do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import coeval

SOURCE = Path(coeval.__path__[0]).parent

# None of these is ever on a worker's path or in the way of `from coeval import Executor`.
HEAVY = {"numpy", "pyarrow", "duckdb", "rich", "click", "asyncio", "multiprocessing", "cloudpickle", "ctypes"}

# What a first call can do without: each takes a millisecond or more, most bring others along.
SLOW = {
    "dataclasses",
    "datetime",
    "hashlib",
    "inspect",
    "json",
    "pathlib",
    "platform",
    "shutil",
    "subprocess",
    "tempfile",
    "typing",
    "urllib",
    "uuid",
}

# What a recorder finds imported.
THREADS = "import threading, weakref, collections, importlib"

# A program's way to its first result.
FIRST_RESULT = """
import os
from coeval import Executor
executor = Executor("local:1")
executor.submit(os.getpid).result()
"""

# In the worker of a first call: what has been imported there.
WORKERS_MODULES = """
import sys
from coeval import Executor
with Executor("local:1") as executor:
    print(*executor.submit(eval, "[*__import__('sys').modules]").result())
"""

# What every worker runs before its first call, as far as it is about clocks and recording.
WORKERS_SHARE = """
from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.recording._capture import Attempt, Running, clock_event, run_in_process
from coeval.recording._worker_logs import WorkerLogs
WorkerLogs({}).keep_on()
clock_id(SYSTEM_CLOCK), clock_event(SYSTEM_CLOCK.snapshot())
run_in_process(Running(0, 1, 0, []))
"""

# What an executor without a run folder does to record its first call.
RECORDERS_SHARE = """
from coeval.clocks import SYSTEM_CLOCK
from coeval.errors import CallFailed, EngineError
from coeval.recording import Recorder, ambient_run
from coeval.recording._raw_rows import outcome_row, sent_row
assert ambient_run() is None
recorder = Recorder(engine="local", folder=None)
recorder.append(sent_row(recorder.executor, 0, 1, 0, (0,), SYSTEM_CLOCK.raw_ns()))
process = recorder.process_of(0, role="worker", host="h", pid=1, clock="c", python="3")
recorder.append(outcome_row(recorder.executor, 0, 0, 1, "ok", process, 1, 2, 3, 4))
recorder.snapshot_if_due()
recorder.close(finished=1, failed=0, cancelled=0)
"""


def modules_added_by(statement: str, *, before: str = "", bare: bool = False) -> set[str]:
    """
    Names of the modules that a statement brings along.

    Args:
        before: what the process has imported already.
        bare: the interpreter has run nothing of the environment's, as a fork server has not.
    """
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{before}\nbefore = set(sys.modules)\n"
        f"{statement}\nprint(*sorted(set(sys.modules) - before))"
    )
    flags = ["-I", "-S", "-E"] if bare else []
    done = subprocess.run([sys.executable, *flags, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def printed_by(program: str) -> set[str]:
    """The words that a program prints."""
    program = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_front_door_alone_imports_nothing_else() -> None:
    assert modules_added_by("import coeval") == {"coeval"}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from coeval import Executor", HEAVY),
        ("from coeval import mark, span, attempt", HEAVY | SLOW),
        ("import coeval.engines.local._worker", HEAVY | {"concurrent", "subprocess"}),
        ("from coeval.errors import CoevalError, WorkerDied", HEAVY | SLOW),
        ("from coeval.clocks import clock_id", HEAVY | SLOW),
        (RECORDERS_SHARE, HEAVY | SLOW),
    ],
)
def test_nothing_heavy_comes_along(statement: str, unwanted: set[str]) -> None:
    assert packages(modules_added_by(statement, before="import coeval")) & unwanted == set()


def test_a_worker_reads_clocks_and_records_with_next_to_nothing_imported() -> None:
    added = modules_added_by(WORKERS_SHARE, before="import os", bare=True)
    assert packages(added) - {"coeval"} <= {"__future__", "_collections", "_contextvars", "types"}
    assert {name for name in added if name.startswith("coeval.")} == {
        "coeval.clocks",
        "coeval.clocks._clock",
        "coeval.clocks._identity",
        "coeval.clocks._named_tuple",
        "coeval.recording",
        "coeval.recording._capture",
        "coeval.recording._event",
        "coeval.recording._worker_logs",
    }


def test_a_first_result_needs_no_futures_no_logging_and_nothing_slow() -> None:
    unwanted = HEAVY | SLOW | {"concurrent", "logging", "enum", "re", "signal", "pickle", "traceback", "tokenize"}
    added = modules_added_by(FIRST_RESULT)
    assert packages(added) & unwanted == set()
    assert {name for name in added if name.startswith("coeval.")} & {
        "coeval.clocks._ntp",
        "coeval.recording._anchor_watch",
        "coeval.executor._map",
        "coeval.executor._packed_map",
        "coeval.executor._failures",
        "coeval.executor._share",
        "coeval.engines._shares",
        "coeval.engines._protocol",
        "coeval.engines.local._server",
        "coeval.engines.local._worker",
    } == set()


def test_the_server_is_launched_before_the_pool_and_the_dispatch_are_imported() -> None:
    program = """
import sys
seen = []
sys.addaudithook(lambda event, _: seen.append([*sys.modules]) if event == "os.posix_spawn" else None)
from coeval import Executor
Executor("local:1").shutdown()
print(*seen[0])
"""
    assert {name for name in printed_by(program) if name.startswith("coeval.")} == {
        "coeval._late_bases",
        "coeval.executor",
        "coeval.executor._executor",
        "coeval.executor._standard",
        "coeval.engines",
        "coeval.engines._open",
        "coeval.engines._this_core",
        "coeval.engines.local",
        "coeval.engines.local._launch",
        "coeval.engines.local._channel",
    }


def test_a_worker_and_its_fork_server_import_no_wrappers_of_what_is_built_in() -> None:
    there = printed_by(WORKERS_MODULES)
    assert "coeval.engines.local._worker" in there
    # What every interpreter of this environment imports (see `site`) is there in any case.
    added = packages(there - printed_by("print(*sys.modules)"))
    wrappers = {"collections", "functools", "weakref", "pickle", "signal", "socket", "threading", "contextlib", "enum"}
    assert added & (HEAVY | SLOW | wrappers | {"re", "logging", "concurrent", "traceback"}) == set()
    assert {"coeval.engines.local._launch", "coeval.engines.local._cores", "coeval.executor"} & there == set()


def test_recording_in_memory_imports_nothing_that_writes_or_reads_a_run_folder() -> None:
    added = modules_added_by(RECORDERS_SHARE, before=THREADS)
    assert packages(added) <= {"coeval", "__future__", "_contextvars"}
    assert {name for name in added if name.startswith("coeval.recording.")} == {
        "coeval.recording._ambient",
        "coeval.recording._capture",
        "coeval.recording._driver",
        "coeval.recording._event",
        "coeval.recording._memory",
        "coeval.recording._raw_rows",
        "coeval.recording._recorder",
    }


@pytest.mark.parametrize(
    "statement", ["import coeval.cli._clocks", "import coeval.cli._timeline", "import coeval.cli._export"]
)
def test_what_shows_a_run_waits_for_no_arrow(statement: str) -> None:
    assert packages(modules_added_by(statement)) & {"pyarrow", "matplotlib"} == set()


@pytest.mark.parametrize(
    ("statement", "comes"),
    [
        ("from coeval.recording import RunFolder", "json"),
        ("from coeval.recording import Recording", "typing"),
        ("from coeval.recording import LogCapture", "logging"),
        ("from coeval.clocks import Instant", "dataclasses"),
    ],
)
def test_what_costs_comes_when_it_is_asked_for(statement: str, comes: str) -> None:
    assert comes in modules_added_by(statement)
