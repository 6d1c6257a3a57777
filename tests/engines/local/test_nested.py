"""No pools inside pools, unless told."""

from __future__ import annotations

import os

import pytest

from coeval import Executor

PATIENCE_S = 60


def nested(url: str | None, max_workers: int | None) -> tuple[int, int]:
    """Process of this call, and of a call in an executor that it makes."""
    with Executor(url, max_workers) as ex:
        return os.getpid(), ex.submit(os.getpid).result(PATIENCE_S)


def nested_in_a_fork() -> bool:
    """A process that a call forks is no worker: does an executor there have workers?"""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            here, there = nested(None, None)
            os.write(write, b"pool" if here != there else b"inline")
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        found = file.read()
    os.waitpid(pid, 0)
    return found == b"pool"


@pytest.mark.parametrize("url", [None, "local", " local "])
def test_an_executor_in_a_call_runs_inline_where_nobody_says_how_many(url: str | None) -> None:
    with Executor("local:1") as ex:
        here, there = ex.submit(nested, url, None).result(PATIENCE_S)
    assert here == there != os.getpid()


@pytest.mark.parametrize(("url", "max_workers"), [("local:1", None), (None, 1), ("local", 1)])
def test_an_executor_in_a_call_has_the_workers_it_asks_for(url: str | None, max_workers: int | None) -> None:
    with Executor("local:1") as ex:
        here, there = ex.submit(nested, url, max_workers).result(PATIENCE_S)
    assert here != there


def test_the_environment_can_ask_for_pools_inside_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVAL_NESTED", "1")
    with Executor("local:1") as ex:
        here, there = ex.submit(nested, None, None).result(PATIENCE_S)
    assert here != there


def test_the_engine_of_the_environment_is_the_callers_and_not_a_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVAL_ENGINE", "local:1")
    with Executor() as ex:
        here, there = ex.submit(nested, None, None).result(PATIENCE_S)
    assert here == there != os.getpid()


def test_an_executor_beside_an_inline_one_has_workers() -> None:
    with Executor("inline:") as ex:
        here, there = ex.submit(nested, None, None).result(PATIENCE_S)
    assert here == os.getpid() != there


def test_a_process_that_a_call_forks_is_no_worker() -> None:
    with Executor("local:1") as ex:
        assert ex.submit(nested_in_a_fork).result(PATIENCE_S)
