from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import numpy as np
import pytest

from coeval.clocks import SYSTEM_CLOCK
from coeval.engines._dask._share_room import ShareRoom, memory_host
from coeval.engines._payload import dump, unpickle
from coeval.engines._segments import Heavy, SegmentGone, Segments, receive
from coeval.testing import leaks

NAME = b"name"
COUNT = 100_000


@pytest.fixture
def segments() -> Iterator[Segments]:
    made = Segments(SYSTEM_CLOCK, idle_bytes_max=0)
    yield made
    made.close()


@pytest.fixture
def heavy(segments: Segments) -> Heavy:
    made = dump(np.arange(COUNT), segments)
    assert isinstance(made, Heavy)
    return made


@pytest.fixture
def room() -> Iterator[ShareRoom]:
    with leaks():
        made = ShareRoom()
        yield made
        made.close()


def content(heavy: Heavy) -> bytes:
    return os.pread(heavy.descriptor, heavy.size, 0)


def size(heavy: Heavy) -> int:
    return os.fstat(heavy.descriptor).st_size


def value(heavy: Heavy) -> list[int]:
    array = unpickle(heavy, receive(heavy, last=False))
    return [array[5], array[-1]]


def filled(room: ShareRoom, heavy: Heavy) -> Heavy:
    whole = memoryview(content(heavy))
    filling = room.make(heavy)
    for begin in range(0, heavy.size, 70_000):
        filling.write(whole[begin : begin + 70_000], begin)
    return filling.finish(NAME)


def test_what_was_filled_is_what_was_sent_and_a_memory_of_its_own(room: ShareRoom, heavy: Heavy) -> None:
    made = filled(room, heavy)
    assert room.get(NAME) == made
    assert value(made) == [5, COUNT - 1]
    assert os.fstat(made.descriptor).st_ino != os.fstat(heavy.descriptor).st_ino


def test_what_was_adopted_is_the_same_memory(room: ShareRoom, heavy: Heavy) -> None:
    kept = room.adopt(NAME, heavy)
    assert value(kept) == [5, COUNT - 1]
    assert os.fstat(kept.descriptor).st_ino == os.fstat(heavy.descriptor).st_ino


def test_adopted_memory_outlives_its_owner(room: ShareRoom, segments: Segments, heavy: Heavy) -> None:
    kept = room.adopt(NAME, heavy)
    segments.close()
    assert value(kept) == [5, COUNT - 1]


def test_what_its_owner_freed_is_not_adopted(room: ShareRoom, segments: Segments, heavy: Heavy) -> None:
    segments.drop(heavy)
    with pytest.raises(SegmentGone):
        room.adopt(NAME, heavy)
    assert room.get(NAME) is None


def test_half_of_a_content_cannot_be_opened(room: ShareRoom, heavy: Heavy) -> None:
    filling = room.make(heavy)
    filling.write(memoryview(content(heavy))[:1000], 0)
    with pytest.raises(SegmentGone):
        receive(filling._heavy, last=False)
    filling.abandon()


def test_what_is_dropped_gives_its_memory_back_once_nobody_uses_it(room: ShareRoom, heavy: Heavy) -> None:
    made = filled(room, heavy)
    other = ShareRoom()
    used = other.adopt(NAME, made)
    room.drop(NAME)
    assert room.get(NAME) is None
    assert room.tidy()
    assert size(used) >= used.size
    other.drop(NAME)
    assert not room.tidy()
    assert not other.tidy()


def test_last_one_of_a_host_to_let_go_gives_back_the_callers_memory(
    room: ShareRoom, segments: Segments, heavy: Heavy
) -> None:
    room.adopt(NAME, heavy)
    segments.drop(heavy)
    assert size(heavy) >= heavy.size, "still used"
    room.drop(NAME)
    assert size(heavy) == 0
    segments.give_back()
    assert segments.lent_count == 0


def test_closing_takes_nothing_from_others_of_the_host(room: ShareRoom, heavy: Heavy) -> None:
    closing = ShareRoom()
    closing.adopt(NAME, heavy)
    kept = room.adopt(NAME, heavy)
    closing.close()
    assert value(kept) == value(heavy) == [5, COUNT - 1]


def test_where_no_descriptor_is_left_it_says_so(room: ShareRoom, heavy: Heavy) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(MemoryError, match="ulimit -n"):
            room.make(heavy)
        with pytest.raises(MemoryError, match="ulimit -n"):
            room.adopt(NAME, heavy)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_processes_of_one_host_say_the_same_and_simulated_hosts_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    here = memory_host()
    assert here == memory_host()
    monkeypatch.setenv("COEVAL_CLOCK_ID", "another")
    assert memory_host() != here
