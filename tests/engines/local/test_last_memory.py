"""How much memory a dead worker had."""

from __future__ import annotations

import os
import signal

import pytest

from coeval.engines.local import LocalEngine
from coeval.errors import WorkerDied
from coeval.executor import Executor

MB = 1_000_000


def hold_and_die(size: int) -> None:
    held = bytearray(size)
    os.kill(os.getpid(), signal.SIGKILL)
    del held


def end_of(ex: Executor, size: int) -> WorkerDied:
    error = ex.submit(hold_and_die, size).exception()
    assert isinstance(error, WorkerDied)
    return error


@pytest.mark.parametrize("method", ["server", "fork", "spawn"])
def test_the_error_of_a_dead_worker_tells_the_most_memory_it_had(method: str) -> None:
    with Executor(LocalEngine(1, start_method=method)) as ex:  # type: ignore[arg-type]
        error = end_of(ex, 400 * MB)
        assert error.memory_bytes_peak is not None
        assert 400 * MB < error.memory_bytes_peak < 700 * MB
        assert f"{error.memory_bytes_peak:,} bytes" in str(error)
        # A new one has a new memory.
        least = end_of(ex, MB).memory_bytes_peak
        assert least is None if method == "spawn" else least is not None and least < 300 * MB


def test_workers_whose_server_was_killed_end_with_their_memory_unknown() -> None:
    engine = LocalEngine(1)
    with Executor(engine) as ex:
        ex.submit(abs, -1).result()
        starter = engine._starter
        os.kill(starter._server.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        error = end_of(ex, MB)
        assert error.memory_bytes_peak is None
        assert ex.submit(abs, -2).result() == 2
