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


def test_a_dead_worker_tells_what_the_kernel_and_the_call_left_behind() -> None:
    error = made(
        Failure("died", signal="SIGKILL", is_out_of_memory=True, memory_bytes_peak=3_000_000, lines=("INFO m: a", "b"))
    )
    assert isinstance(error, WorkerDied)
    assert error.is_out_of_memory
    assert error.memory_bytes_peak == 3_000_000
    assert error.last_lines == ("INFO m: a", "b")
    assert str(error) == (
        "model:score('a.txt') lost its worker: pid 4711 on node7 was ended by SIGKILL: the kernel was short of memory, "
        "as its count of processes ended for that rose. Try fewer workers, or a memory= limit that fails the call "
        "instead. Its memory was at most 3,000,000 bytes. All other calls go on. The call's log ends with:\n"
        "  INFO m: a\n  b"
    )


def test_a_crash_is_shown_with_its_stack() -> None:
    error = made(Failure("died", signal="SIGSEGV", crash="Fatal Python error: x\n  File y"))
    assert isinstance(error, WorkerDied)
    assert error.crash == "Fatal Python error: x\n  File y"
    assert "Where it crashed:\nFatal Python error: x" in str(error)
    assert "-X faulthandler" not in str(error)
    assert "-X faulthandler" in str(made(Failure("died", signal="SIGSEGV")))
