from __future__ import annotations

import gc
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.clocks import SYSTEM_CLOCK, Snapshot
from coeval.engines import _segments
from coeval.engines._copying import LARGE_BYTES_MIN
from coeval.engines._payload import drop, dump, load, take
from coeval.engines._segments import Heavy, SegmentGone, Segments, can_reach, choose
from coeval.testing._leaks import leaks

MEGABYTE = 1 << 20

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="segments are anonymous files of Linux")


@pytest.fixture
def segments() -> Iterator[Segments]:
    with leaks():
        made = Segments(SYSTEM_CLOCK)
        yield made
        made.close()
        gc.collect()


def heavy_of(value: object, segments: Segments) -> Heavy:
    made = dump(value, segments)
    assert isinstance(made, Heavy)
    return made


def in_child(work: Callable[[], bool]) -> int:
    """Fork; exit code 0 where `work` gave True there."""
    pid = os.fork()
    if not pid:
        code = 3
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_another_process_reads_what_was_stored(segments: Segments) -> None:
    heavy = heavy_of(np.arange(MEGABYTE), segments)
    assert in_child(lambda: bool((load(heavy) == np.arange(MEGABYTE)).all())) == 0


def test_the_receiver_may_write_and_nobody_sees_it(segments: Segments) -> None:
    heavy = heavy_of(np.zeros(MEGABYTE), segments)
    one, other = load(heavy), load(heavy)
    one[:] = 1
    assert not other.any()
    assert not load(heavy).any()


def test_what_the_sender_changes_afterwards_is_not_seen(segments: Segments) -> None:
    array = np.zeros(MEGABYTE)
    heavy = heavy_of(array, segments)
    array[:] = 1
    assert not load(heavy).any()


def test_a_segment_is_used_again_once_it_is_dropped_and_unmapped(segments: Segments) -> None:
    first = heavy_of(np.zeros(MEGABYTE), segments)
    kept = load(first)
    drop(first, segments)
    second = heavy_of(np.ones(MEGABYTE), segments)
    assert second.descriptor != first.descriptor
    assert not kept.any()
    del kept
    third = heavy_of(np.full(MEGABYTE, 2), segments)
    assert third.descriptor == first.descriptor
    assert (load(third) == 2).all()
    assert (load(second) == 1).all()


def test_a_long_value_arrives_whole_in_a_segment_that_is_used_again(segments: Segments) -> None:
    numbers = np.arange(2 * LARGE_BYTES_MIN // 8 + 5)
    descriptors = set()
    for times in range(1, 4):
        heavy = heavy_of(times * numbers, segments)
        descriptors.add(heavy.descriptor)
        assert (load(heavy) == times * numbers).all()
        drop(heavy, segments)
    assert len(descriptors) == 1


def test_a_part_of_the_value_holds_the_segment(segments: Segments) -> None:
    heavy = heavy_of({"a": np.zeros(MEGABYTE), "b": np.ones(MEGABYTE)}, segments)
    part = take(heavy)["b"][5:9]
    for number in range(4):
        drop(heavy_of(np.full(2 * MEGABYTE, number), segments), segments)
    assert list(part) == [1, 1, 1, 1]


def test_a_segment_is_not_used_again_before_it_is_dropped(segments: Segments) -> None:
    first = heavy_of(np.zeros(MEGABYTE), segments)
    load(first)
    assert heavy_of(np.ones(MEGABYTE), segments).descriptor != first.descriptor
    assert not load(first).any()


def test_a_taken_result_needs_no_drop(segments: Segments) -> None:
    first = heavy_of(np.zeros(MEGABYTE), segments)
    take(first)
    assert heavy_of(np.ones(MEGABYTE), segments).descriptor == first.descriptor


def test_a_receiver_that_is_killed_holds_nothing(segments: Segments) -> None:
    heavy = heavy_of(np.zeros(MEGABYTE), segments)
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        kept = load(heavy)
        os.write(writing, b"%d" % kept.size)
        signal.pause()
    os.read(reading, 20)
    drop(heavy, segments)
    assert segments.lent_count == 1
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    segments.give_back()
    assert segments.lent_count == 0
    os.close(reading)
    os.close(writing)


def test_a_dropped_value_cannot_be_rebuilt(segments: Segments) -> None:
    heavy = heavy_of(np.zeros(MEGABYTE), segments)
    drop(heavy, segments)
    with pytest.raises(SegmentGone, match=str(os.getpid())):
        load(heavy)


def test_the_value_of_a_process_that_ended_is_gone() -> None:
    program = (
        "import sys, pickle; from coeval.clocks import SYSTEM_CLOCK; from coeval.engines._payload import dump\n"
        "from coeval.engines._segments import Segments\n"
        "sys.stdout.buffer.write(pickle.dumps(dump(bytes(10**6), Segments(SYSTEM_CLOCK))))"
    )
    data = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    with pytest.raises(SegmentGone, match="has ended"):
        load(pickle.loads(data))


def test_another_file_behind_the_same_number_is_not_taken_for_the_segment(tmp_path: Path) -> None:
    made = Segments(SYSTEM_CLOCK)
    heavy = heavy_of(bytes(MEGABYTE), made)
    made.close()
    for content in (b"", b"x" * 4096):
        (tmp_path / "other").write_bytes(content)
        with open(tmp_path / "other", "rb+") as other:
            with pytest.raises(SegmentGone):
                load(heavy._replace(descriptor=other.fileno()))
            assert (tmp_path / "other").read_bytes() == content
    reading, writing = os.pipe()
    for descriptor in (reading, writing):
        with pytest.raises(SegmentGone):
            load(heavy._replace(descriptor=descriptor))
        os.close(descriptor)


def test_what_was_taken_stays_readable_after_its_owner_closed() -> None:
    with leaks():
        made = Segments(SYSTEM_CLOCK)
        array = take(heavy_of(np.ones(MEGABYTE), made))
        made.close()
        assert array.sum() == MEGABYTE
        assert dump(np.ones(MEGABYTE), made).__class__ is bytes
        del array
        gc.collect()


def test_a_forked_child_neither_writes_nor_frees_its_parents_segments(segments: Segments) -> None:
    heavy = heavy_of(np.zeros(MEGABYTE), segments)

    def work() -> bool:
        segments.drop(heavy)
        segments.give_back()
        segments.close()
        return type(dump(np.ones(MEGABYTE), segments)) is bytes

    assert in_child(work) == 0
    assert not load(heavy).any()


def test_memory_goes_back_though_a_forked_child_has_the_descriptors(segments: Segments) -> None:
    heavy = heavy_of(bytes(MEGABYTE), segments)
    inherited = os.dup(heavy.descriptor)
    segments.drop(heavy)
    segments.close()
    assert os.fstat(inherited).st_size == 0
    os.close(inherited)


def test_no_more_than_so_much_unused_memory_is_kept() -> None:
    made = Segments(SYSTEM_CLOCK, idle_bytes_max=5 * MEGABYTE)
    with leaks():
        several = [heavy_of(bytes(2 * MEGABYTE), made) for _ in range(6)]
        for heavy in several:
            made.drop(heavy)
        assert 0 < made.idle_bytes <= 5 * MEGABYTE
        made.close()


class SetClock:
    """A clock that shows what it was set to."""

    name = "set"

    def __init__(self) -> None:
        self.now_ns = 0
        self.raw_ns: Callable[[], int] = lambda: self.now_ns

    def snapshot(self) -> Snapshot:
        return Snapshot(self.now_ns, 0, 0, self.now_ns)


def test_memory_unused_for_long_is_given_back() -> None:
    clock = SetClock()
    made = Segments(clock)
    made.drop(heavy_of(bytes(MEGABYTE), made))
    clock.now_ns = _segments.IDLE_NS_MAX
    made.give_back()
    assert made.idle_bytes >= MEGABYTE
    clock.now_ns += 1
    made.give_back()
    assert made.idle_bytes == 0
    made.close()


def test_memory_unused_for_long_is_taken_for_the_next_value_and_the_rest_given_back() -> None:
    clock = SetClock()
    made = Segments(clock)
    first, second = heavy_of(bytes(MEGABYTE), made), heavy_of(bytes(MEGABYTE), made)
    files = {os.fstat(heavy.descriptor).st_ino for heavy in (first, second)}
    made.drop(first)
    made.drop(second)
    clock.now_ns = _segments.IDLE_NS_MAX + 1
    assert os.fstat(heavy_of(bytes(MEGABYTE), made).descriptor).st_ino in files
    assert made.idle_bytes == 0
    made.close()


def test_a_receiver_of_very_many_values_copies_them(segments: Segments) -> None:
    other = Segments(SYSTEM_CLOCK)
    count = _segments.SEGMENTS_MAX * 3 // 4
    arrays = [take(heavy_of(np.full(20_000, number), segments)) for number in range(count)]
    arrays += [take(heavy_of(np.full(20_000, count + number), other)) for number in range(count)]
    assert len(_segments._mappings) == _segments.SEGMENTS_MAX
    arrays[-1][0] += 1  # a copy is as private as a mapping
    arrays[-1][0] -= 1
    assert all((array == number).all() for number, array in enumerate(arrays))
    other.close()


def test_beyond_so_many_segments_values_travel_in_band(segments: Segments) -> None:
    waiting = [dump(np.full(20_000, number), segments) for number in range(_segments.SEGMENTS_MAX + 20)]
    assert [type(payload) for payload in waiting].count(bytes) == 20
    assert all((load(payload) == number).all() for number, payload in enumerate(waiting))
    for payload in waiting:
        drop(payload, segments)
    assert isinstance(dump(np.zeros(20_000), segments), Heavy)


def test_results_let_go_of_are_freed_although_their_owner_looks_elsewhere(
    segments: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_segments, "RELEASED_BYTES_MAX", 3 * MEGABYTE)
    _segments._released.clear()
    several = [heavy_of(bytearray(MEGABYTE), segments) for _ in range(6)]
    mapped = [_segments.receive(heavy, last=True) for heavy in several]
    before = [os.fstat(heavy.descriptor).st_size for heavy in several]
    mapped.clear()
    after = [os.fstat(heavy.descriptor).st_size for heavy in several]
    assert all(before)
    assert after.count(0) == 4
    segments.give_back()
    again = [heavy_of(np.full(MEGABYTE // 8, number), segments) for number in range(6)]
    assert all((load(heavy) == number).all() for number, heavy in enumerate(again))


def test_no_room_is_a_clear_error_and_leaves_nothing() -> None:
    def work() -> bool:
        made = Segments(SYSTEM_CLOCK)
        # As a full container or a limit does: the kernel says no while the pages are written.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE, MEGABYTE))
        descriptors = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
        try:
            dump(np.ones(MEGABYTE), made)
        except MemoryError as error:
            left = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
            return "8,388," in str(error) and "Send less" in str(error) and left == descriptors
        return False

    assert in_child(work) == 0


def test_a_receiver_without_room_says_so(segments: Segments) -> None:
    heavy = heavy_of(np.ones(16 * MEGABYTE), segments)

    def work() -> bool:
        resource.setrlimit(resource.RLIMIT_AS, (64 * MEGABYTE, 64 * MEGABYTE))
        try:
            load(heavy)
        except MemoryError as error:
            return "134,217," in str(error)
        return False

    assert in_child(work) == 0
    assert load(heavy).all()


def test_without_descriptors_values_travel_in_band(segments: Segments) -> None:
    def work() -> bool:
        made = Segments(SYSTEM_CLOCK)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 100))
        return type(dump(np.ones(MEGABYTE), made)) is bytes

    assert in_child(work) == 0


def test_a_process_can_reach_itself_and_its_parent_but_none_that_is_not() -> None:
    parent = os.getpid()
    assert can_reach(parent)
    assert in_child(lambda: can_reach(parent)) == 0
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    assert not can_reach(pid)


@given(st.lists(st.integers(0, 1 << 40)), st.integers(1, 1 << 40))
def test_the_chosen_segment_is_the_smallest_that_fits_or_one_that_grows(sizes: list[int], size: int) -> None:
    index = choose(sizes, size)
    fitting = [have for have in sizes if size <= have <= 4 * size]
    if index is None:
        assert not fitting
        assert all(have > size for have in sizes)
    elif fitting:
        assert size <= sizes[index] <= min(fitting)
    else:
        assert sizes[index] < size or sizes[index] <= 1 << 22
