from __future__ import annotations

import mmap
import os
import subprocess
import threading
from pathlib import Path

import pytest

from coeval.testing import Leak, leaks

SETTLE_S = 0.02


def test_process_that_lives_on_is_a_leak() -> None:
    with pytest.raises(Leak, match=r"processes: \d+ sleep 3600"), leaks(SETTLE_S):
        child = subprocess.Popen(["sleep", "3600"])
    child.kill()
    child.wait()


def test_process_that_nobody_waited_for_is_a_leak() -> None:
    with pytest.raises(Leak, match=r"processes: \d+ \(ended, not reaped\)"), leaks(SETTLE_S):
        child = subprocess.Popen(["true"])
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    child.wait()


def test_process_of_a_child_is_a_leak() -> None:
    with pytest.raises(Leak, match="sleep 3600"), leaks(SETTLE_S):
        child = subprocess.Popen(["sh", "-c", "sleep 3600 & echo; wait"], stdout=subprocess.PIPE, process_group=0)
        assert child.stdout is not None
        child.stdout.readline()
    os.killpg(child.pid, 9)
    child.communicate()


def test_thread_that_lives_on_is_a_leak() -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="lingering")
    with pytest.raises(Leak, match=r"threads: lingering \(\d+\)"), leaks(SETTLE_S):
        thread.start()
    go.set()
    thread.join()


def test_descriptor_that_stays_open_is_a_leak(tmp_path: Path) -> None:
    with pytest.raises(Leak, match=rf"descriptors: \d+ -> {tmp_path}/file"), leaks(SETTLE_S):
        descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
    os.close(descriptor)


def test_memory_that_stays_mapped_is_a_leak() -> None:
    descriptor = os.memfd_create("coeval-test")
    os.ftruncate(descriptor, mmap.PAGESIZE)
    with pytest.raises(Leak, match="segments: /memfd:coeval-test"), leaks(SETTLE_S):
        memory = mmap.mmap(descriptor, mmap.PAGESIZE)
    memory.close()
    os.close(descriptor)


def test_segment_that_keeps_its_name_is_a_leak() -> None:
    path = Path(f"/dev/shm/coeval-test-{os.getpid()}")
    with pytest.raises(Leak, match=f"segments: {path}"), leaks(SETTLE_S):
        path.touch()
    path.unlink()


def test_every_kind_of_leak_is_named_at_once() -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    with pytest.raises(Leak) as caught, leaks(SETTLE_S):
        thread.start()
        read, write = os.pipe()
    go.set()
    thread.join()
    os.close(read)
    os.close(write)
    assert "threads:" in str(caught.value)
    assert "descriptors:" in str(caught.value)


def test_what_is_on_its_way_out_has_time_to_go() -> None:
    with leaks():
        threading.Timer(0.05, int).start()


def test_replacing_something_is_no_leak() -> None:
    first, other = os.pipe()
    kept = os.dup(first)
    with leaks(SETTLE_S):
        kept_too = os.dup(other)
        os.close(kept)
    for descriptor in (first, other, kept_too):
        os.close(descriptor)


def test_error_of_the_block_is_the_one_that_is_raised() -> None:
    opened: list[int] = []
    with pytest.raises(LookupError), leaks(SETTLE_S):
        opened.extend(os.pipe())
        raise LookupError
    for descriptor in opened:
        os.close(descriptor)
