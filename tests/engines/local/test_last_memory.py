"""How much memory a dead worker had."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coeval.engines.local import LocalEngine
from coeval.errors import WorkerDied
from coeval.executor import Executor

MB = 1_000_000

# Programs of their own: the memory of one that has had much is a spawned worker's as well, so that its peak is unknown.
PROGRAM = """
import os, signal
from coeval.engines.local import LocalEngine
from coeval.executor import Executor

def hold_and_die(size):
    held = bytearray(size)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    bytearray(50_000_000)  # more than the worker of the second call will ever have
    with Executor(LocalEngine(1, start_method={method!r})) as ex:
        for size in (400_000_000, 1_000_000):
            error = ex.submit(hold_and_die, size).exception()
            peak = error.memory_bytes_peak
            print(peak, peak is None or f"{{peak:,}} bytes" in str(error))
"""


@pytest.mark.parametrize("method", ["server", "fork", "spawn"])
def test_the_error_of_a_dead_worker_tells_the_most_memory_it_had(method: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(method=method))
    # By way of a shell that forks: what a program is started from by vfork counts as its own peak, and the process that
    # runs the tests may have had more than is allowed here.
    command = ["sh", "-c", '"$0" "$1"; exit $?', sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (large, large_is_told), (small, small_is_told) = map(str.split, done.stdout.splitlines())
    assert 400 * MB < int(large) < 500 * MB
    # A new worker has a new memory. What a spawned one had is below what its caller had.
    assert small == "None" if method == "spawn" else int(small) < 100 * MB
    assert large_is_told == small_is_told == "True"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_whose_server_was_killed_end_with_their_memory_unknown() -> None:
    engine = LocalEngine(1)
    with Executor(engine) as ex:
        ex.submit(abs, -1).result()
        starter = engine._starter
        os.kill(starter._server.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        error = ex.submit(die).exception()
        assert isinstance(error, WorkerDied)
        assert error.memory_bytes_peak is None
        assert ex.submit(abs, -2).result() == 2
