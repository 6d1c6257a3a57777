from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from coeval.clocks import SYSTEM_CLOCK, Snapshot
from coeval.engines import _huge_pages, _segments
from coeval.engines._huge_pages import HUGE_BYTES, aligned_mapping, collapse
from coeval.engines._payload import drop, dump, load
from coeval.engines._segments import Heavy, Segments
from coeval.testing._leaks import leaks

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="segments are anonymous files of Linux")

FOREVER_NS = 10**12
VALUE_BYTES = 12 * HUGE_BYTES + 4000


@pytest.fixture
def file() -> Iterator[int]:
    descriptor = os.memfd_create("test")
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def mapping(file: int, monkeypatch: pytest.MonkeyPatch) -> mmap.mmap:
    """Of eight huge pages that are not there yet."""
    if not kernel_has_them():
        pytest.skip("this kernel gives no huge pages to files in memory")
    monkeypatch.setattr(_huge_pages, "_is_refused", None)
    mapped = aligned_mapping(file, 8 * HUGE_BYTES - 1)
    assert mapped is not None
    return mapped


def kernel_has_them() -> bool:
    """By what it says of itself, not by what we are told when we ask."""
    version = tuple(map(int, os.uname().release.split(".")[:2]))
    settings = Path("/sys/kernel/mm/transparent_hugepage")
    if version < (6, 1) or not settings.is_dir():
        return False
    size = int((settings / "hpage_pmd_size").read_text())
    return size == HUGE_BYTES and "[deny]" not in (settings / "shmem_enabled").read_text()


class SlowClock:
    """Between two looks at it so much time goes by."""

    name = "slow"

    def __init__(self, step_ns: int) -> None:
        self.raw_ns: Callable[[], int] = itertools.count(0, step_ns).__next__

    def snapshot(self) -> Snapshot:
        now_ns = self.raw_ns()
        return Snapshot(now_ns, 0, 0, now_ns)


def address(mapping: mmap.mmap) -> int:
    return int(np.frombuffer(mapping, "u1").ctypes.data)


def huge_bytes_mapped(mapping: mmap.mmap) -> int:
    """What the kernel says of it."""
    begin = f"{address(mapping):x}-"
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    next(line for line in lines if line.startswith(begin))
    found = next(line for line in lines if line.startswith("ShmemPmdMapped:"))
    return int(found.split()[1]) * 1024


def test_pages_are_huge_where_the_kernel_gives_them(file: int, mapping: mmap.mmap) -> None:
    assert address(mapping) % HUGE_BYTES == 0
    assert collapse(file, mapping, 0, 5 * HUGE_BYTES, SYSTEM_CLOCK, FOREVER_NS) == 5 * HUGE_BYTES
    assert mapping[: 5 * HUGE_BYTES : HUGE_BYTES] == bytes(5)
    assert huge_bytes_mapped(mapping) == 5 * HUGE_BYTES


def test_small_pages_become_huge_ones(file: int, mapping: mmap.mmap) -> None:
    os.pwrite(file, bytes(3 * HUGE_BYTES), 0)
    assert collapse(file, mapping, HUGE_BYTES, 3 * HUGE_BYTES, SYSTEM_CLOCK, FOREVER_NS) == 3 * HUGE_BYTES
    assert mapping[HUGE_BYTES : 3 * HUGE_BYTES : HUGE_BYTES] == bytes(2)
    assert huge_bytes_mapped(mapping) == 2 * HUGE_BYTES


def test_who_waits_too_long_gives_up_with_what_is_there(file: int, mapping: mmap.mmap) -> None:
    clock = SlowClock(3 * _huge_pages.PIECE_NS)
    assert collapse(file, mapping, 0, 8 * HUGE_BYTES, clock, 5 * _huge_pages.PIECE_NS) == 3 * HUGE_BYTES


def test_a_kernel_that_refuses_is_not_asked_again(
    file: int, mapping: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_huge_pages, "_is_refused", False)
    monkeypatch.setattr(_huge_pages, "_MADV_COLLAPSE", 9999)  # unknown to every kernel, as this is to an old one
    assert collapse(file, mapping, 0, HUGE_BYTES, SYSTEM_CLOCK, FOREVER_NS) == 0
    assert aligned_mapping(file, HUGE_BYTES) is None
    check_values_travel()


@pytest.mark.parametrize("patience_ns", [-FOREVER_NS, 0, FOREVER_NS])
def test_values_arrive_whole_however_many_pages_are_huge(monkeypatch: pytest.MonkeyPatch, patience_ns: int) -> None:
    monkeypatch.setattr(_segments, "_HUGE_PATIENCE_NS", patience_ns)
    monkeypatch.setattr(_huge_pages, "PIECE_NS", 0)
    check_values_travel()


def check_values_travel() -> None:
    """Values that differ in length, and a segment that is used again for each."""
    with leaks():
        segments, descriptors = Segments(SYSTEM_CLOCK), set()
        for times in range(4):
            value = np.arange(times, times + VALUE_BYTES // 8 + times)
            heavy = dump(value, segments)
            assert isinstance(heavy, Heavy)
            assert (load(heavy) == value).all()
            descriptors.add(heavy.descriptor)
            drop(heavy, segments)
        assert len(descriptors) == 1
        segments.close()


def test_where_the_first_value_got_few_huge_pages_the_second_gets_more(
    mapping: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_huge_pages, "PIECE_NS", 0)
    segments, value = Segments(SYSTEM_CLOCK), bytes(VALUE_BYTES)
    sizes = []
    for patience_ns in (0, FOREVER_NS, FOREVER_NS):
        monkeypatch.setattr(_segments, "_HUGE_PATIENCE_NS", patience_ns)
        heavy = dump(np.frombuffer(value, "u1"), segments)
        assert isinstance(heavy, Heavy)
        [segment] = segments._lent.values()
        sizes.append(segment.huge_size)
        drop(heavy, segments)
    segments.close()
    assert sizes[0] == HUGE_BYTES
    assert sizes[1] == sizes[2] >= VALUE_BYTES
