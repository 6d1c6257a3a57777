from __future__ import annotations

import pytest

from coeval.clocks import ClockId
from coeval.engines import Failure, Limits, Worker
from coeval.errors import MemoryLimitExceeded, WorkerDied
from coeval.executor._failures import exception_of

WORKER = Worker(3, "node7", 4711, ClockId("boot/raw"), "3.11.7")


def made(failure: Failure, limits: Limits = Limits(), attempt: int = 1) -> BaseException:  # noqa: B008  # never changed
    return exception_of(
        failure, function="model:score", arguments="('a.txt')", attempt=attempt, worker=WORKER, limits=limits
    )


def test_a_memory_limit_is_named_with_the_call_and_the_next_step() -> None:
    failure = Failure("memory_limit", type_name="MemoryError")
    error = made(failure, Limits(memory_bytes=2_000_000_000), attempt=2)
    assert isinstance(error, MemoryLimitExceeded)
    assert error.limit_bytes == 2_000_000_000
    assert str(error) == (
        "model:score('a.txt') went over its memory limit of 2,000,000,000 bytes, at try 2 (pid 4711 on node7): "
        "MemoryError. Give it more with memory=, or less to do."
    )


@pytest.mark.parametrize("signal", ["SIGABRT", "SIGSEGV"])
def test_a_crash_under_a_memory_limit_names_the_limit(signal: str) -> None:
    error = made(Failure("died", signal=signal), Limits(memory_bytes=1000))
    assert isinstance(error, WorkerDied)
    assert "memory limit of 1,000 bytes" in str(error)
    assert "memory limit" not in str(made(Failure("died", signal=signal)))
