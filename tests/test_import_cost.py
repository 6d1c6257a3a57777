"""What importing costs, counted in modules: times differ from machine to machine, modules do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import coeval

SOURCE = Path(coeval.__path__[0]).parent

# None of these is ever on a worker's path or in the way of `from coeval import Executor`.
HEAVY = {"numpy", "pyarrow", "duckdb", "rich", "typer", "asyncio", "multiprocessing", "cloudpickle", "ctypes"}

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

# What an executor has in any case: futures come with `logging`, and that with much else.
FUTURES = "import threading, pickle, select, collections, concurrent.futures._base"

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


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_front_door_alone_imports_two_modules() -> None:
    assert modules_added_by("import coeval") == {"coeval", "coeval._version"}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("from coeval import Executor", HEAVY),
        ("from coeval import mark, span, attempt", HEAVY | SLOW),
        ("import coeval.engines.local._worker", HEAVY | {"concurrent", "subprocess"}),
        ("from coeval.errors import CoevalError", HEAVY | SLOW),
        ("from coeval.clocks import clock_id", HEAVY | SLOW),
        (RECORDERS_SHARE, HEAVY | SLOW),
    ],
)
def test_nothing_heavy_comes_along(statement: str, unwanted: set[str]) -> None:
    assert packages(modules_added_by(statement, before="import coeval")) & unwanted == set()


def test_a_worker_reads_clocks_and_records_with_next_to_nothing_imported() -> None:
    added = modules_added_by(WORKERS_SHARE, before="import os", bare=True)
    assert packages(added) - {"coeval"} <= {"__future__", "_collections", "_contextvars", "contextvars", "types"}
    assert {name for name in added if name.startswith("coeval.")} == {
        "coeval._version",
        "coeval.clocks",
        "coeval.clocks._clock",
        "coeval.clocks._identity",
        "coeval.clocks._named_tuple",
        "coeval.recording",
        "coeval.recording._capture",
        "coeval.recording._event",
        "coeval.recording._worker_logs",
    }


def test_recording_in_memory_imports_nothing_that_writes_or_reads_a_run_folder() -> None:
    added = modules_added_by(RECORDERS_SHARE, before=FUTURES)
    assert packages(added) <= {"coeval", "__future__", "_contextvars", "contextvars", "importlib"}
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
    ("statement", "comes"),
    [
        ("from coeval.recording import RunFolder", "json"),
        ("from coeval.recording import Recording", "typing"),
        ("from coeval.recording import LogCapture", "logging"),
        ("from coeval.clocks import Instant", "dataclasses"),
        ("from coeval.errors import WorkerDied", "multiprocessing"),
    ],
)
def test_what_costs_comes_when_it_is_asked_for(statement: str, comes: str) -> None:
    assert comes in modules_added_by(statement)
