from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coeval.engines._this_core import Elsewhere, core_of, move_off_this_core, this_core

CORES = sorted(os.sched_getaffinity(0))


@contextmanager
def sleeper() -> Iterator[int]:
    """A process that waits for its input."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        process.communicate(b"\n")


@contextmanager
def here_on(core: int) -> Iterator[None]:
    """This thread, which else might change its core at any moment."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def sleeper_on(core: int) -> Iterator[int]:
    """A process that has run there last, and sleeps."""
    with here_on(core), sleeper() as pid:
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S" or core_of(pid) != core:
            os.sched_yield()
        os.sched_setaffinity(pid, CORES)
        yield pid


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_process_that_was_on_this_core_is_kept_off_it_and_then_may_go_where_it_could() -> None:
    with sleeper_on(CORES[0]) as pid, here_on(CORES[0]):
        elsewhere = Elsewhere(pid)
        assert elsewhere.begin()
        assert os.sched_getaffinity(pid) == set(CORES[1:])
        elsewhere.end()
        assert os.sched_getaffinity(pid) == set(CORES)


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_process_that_was_on_another_core_is_left_alone() -> None:
    with sleeper_on(CORES[1]) as pid, here_on(CORES[0]):
        elsewhere = Elsewhere(pid)
        assert not elsewhere.begin()
        assert os.sched_getaffinity(pid) == set(CORES)
        elsewhere.end()
        assert os.sched_getaffinity(pid) == set(CORES)


def test_a_process_that_may_run_on_one_core_only_stays_there() -> None:
    with sleeper_on(CORES[0]) as pid, here_on(CORES[0]):
        os.sched_setaffinity(pid, CORES[:1])
        elsewhere = Elsewhere(pid)
        assert not elsewhere.begin()
        elsewhere.end()
        assert os.sched_getaffinity(pid) == {CORES[0]}


def test_a_process_that_has_ended_is_no_problem() -> None:
    with sleeper() as pid:
        pass
    elsewhere = Elsewhere(pid)
    assert not elsewhere.begin()
    elsewhere.end()


@pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")
def test_a_busy_process_that_shares_this_core_goes_on_on_another_one() -> None:
    with here_on(CORES[0]), subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            os.sched_setaffinity(process.pid, CORES)
            move_off_this_core(process.pid)
            assert core_of(process.pid) != CORES[0]
            assert os.sched_getaffinity(process.pid) == set(CORES)
        finally:
            process.kill()


def test_a_thread_is_told_the_core_that_it_may_run_on() -> None:
    for core in CORES:
        with here_on(core):
            assert this_core() == core
