"""Workers that are replaced between two calls: after so many, or when they hold too much memory."""

from __future__ import annotations

import logging
import mmap
import os

import pytest

from coeval.engines import open_engine
from coeval.engines.local._worker import own_bytes
from coeval.errors import UnsupportedByEngine
from coeval.executor import Executor

MB = 1_000_000

kept: list[bytearray] = []


def keep(size: int) -> int:
    kept.append(bytearray(size))
    return os.getpid()


def use_and_free(size: int) -> int:
    assert len(bytearray(size)) == size
    return os.getpid()


def bound(above: int) -> str:
    """So much above what a worker of this program has before it does anything; all that was imported here is in it."""
    with Executor("local:1") as ex:
        ex.submit(use_and_free, 1).result()
        return f"{ex.submit(own_bytes).result() + above} B"


def test_a_worker_that_holds_more_than_the_bound_after_a_call_is_replaced_and_that_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "coeval.engines.local")
    size = bound(80 * MB)
    with Executor("local:1", recycle_after=size) as ex:
        first, second, third, fourth = [ex.submit(keep, 50 * MB).result() for _ in range(4)]
        assert first == second != third == fourth
        assert ex.statistics().finished == 4
    told = [record.getMessage() for record in caplog.records if record.name == "coeval.engines.local"]
    assert len(told) == 2  # one for each that was replaced
    assert all(f"recycle_after is {size.removesuffix(' B')}" in message for message in told)


def test_what_a_call_used_and_gave_back_recycles_nobody() -> None:
    with Executor("local:1", recycle_after=bound(80 * MB)) as ex:
        assert len({ex.submit(use_and_free, 300 * MB).result() for _ in range(3)}) == 1


def test_no_call_of_a_map_is_lost_while_workers_are_replaced() -> None:
    with Executor("local:2", recycle_after=bound(40 * MB)) as ex:
        pids = list(ex.map(keep, [MB] * 300))
    assert len(pids) == 300
    assert len(set(pids)) > 2


def test_a_worker_that_ran_so_many_calls_is_replaced() -> None:
    with Executor("local:1", recycle_after=2) as ex:
        pids = [ex.submit(os.getpid).result() for _ in range(6)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


def test_memory_that_is_shared_by_name_is_not_a_workers_own() -> None:
    before = own_bytes()
    with mmap.mmap(-1, 40 * MB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as mine:
        mine[:] = b"x" * (40 * MB)
        assert own_bytes() - before > 30 * MB
    with open("/dev/zero", "r+b") as zero:
        shared = mmap.mmap(zero.fileno(), 40 * MB, mmap.MAP_SHARED)
        shared[:] = b"x" * (40 * MB)
        assert own_bytes() - before < 30 * MB
        shared.close()


@pytest.mark.parametrize("value", [0, -1, "0 MB", "many"])
def test_a_senseless_bound_is_refused(value: int | str) -> None:
    with pytest.raises(ValueError, match="recycle_after"):
        Executor("local:1", recycle_after=value)


def test_a_bound_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="recycle_after is True"):
        Executor("local:1", recycle_after=True)
    with pytest.raises(ValueError, match="LocalEngine"):
        Executor(open_engine("local:1"), recycle_after=3)


@pytest.mark.parametrize("engine", ["inline:", "dask:1"])
def test_an_engine_that_replaces_no_workers_refuses(engine: str) -> None:
    with pytest.raises(UnsupportedByEngine, match="recycle_after"):
        Executor(engine, recycle_after=3)


def test_an_engine_that_labels_no_lines_refuses_and_so_does_a_word_that_means_nothing() -> None:
    with pytest.raises(UnsupportedByEngine, match="output"):
        Executor("inline:", output="labelled")
    with pytest.raises(ValueError, match="output is 'loud'"):
        Executor("local:1", output="loud")  # type: ignore[arg-type]
