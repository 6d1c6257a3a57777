"""Large results as open files that are passed from a worker to the pool."""

from __future__ import annotations

import gc
import os
import pickle
import resource
import signal
from collections.abc import Iterator

import pytest

from coeval.clocks import SYSTEM_CLOCK
from coeval.engines._payload import drop, dump, take
from coeval.engines._segments import Heavy, Parcel
from coeval.engines.local._parcels import Parcels, ParcelSegments, parcel_channel
from coeval.testing import leaks

LARGE = 1_000_000

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="segments are anonymous files of Linux")


@pytest.fixture
def pair() -> Iterator[tuple[ParcelSegments, Parcels]]:
    with leaks():
        ours, theirs = parcel_channel()
        segments, parcels = ParcelSegments(SYSTEM_CLOCK, theirs.detach()), Parcels(ours)
        yield segments, parcels
        segments.close()
        parcels.close()
        gc.collect()


def value(number: int) -> bytes:
    return bytes([number]) * LARGE


def passed(number: int, segments: ParcelSegments) -> Heavy:
    made = dump(value(number), segments)
    assert isinstance(made, Heavy)
    return made


def test_a_parcel_is_there_although_its_owner_was_killed_before_anybody_looked() -> None:
    ours, theirs = parcel_channel()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        owner = ParcelSegments(SYSTEM_CLOCK, theirs.detach())
        os.write(writing, pickle.dumps(passed(7, owner)))
        signal.raise_signal(signal.SIGKILL)
    os.waitpid(child, 0)
    theirs.close()
    heavy = pickle.loads(os.read(reading, 1000))
    os.close(reading)
    os.close(writing)
    parcels = Parcels(ours)
    assert take(parcels.claim(heavy)) == value(7)
    parcels.close()


def test_parcels_are_claimed_by_number_and_what_was_given_up_before_is_closed(
    pair: tuple[ParcelSegments, Parcels],
) -> None:
    segments, parcels = pair
    heavies = [passed(number, segments) for number in range(6)]
    assert take(parcels.claim(heavies[1])) == value(1)
    for gone in (heavies[0], heavies[1]):
        with pytest.raises(MemoryError, match="descriptor"):
            take(parcels.claim(gone))
    assert take(parcels.claim(heavies[2])) == value(2)
    assert take(parcels.claim(heavies[5])) == value(5)
    segments.give_back()
    assert segments.lent_count == 0


def test_memory_is_free_again_once_a_parcel_is_read_dropped_or_forgotten(
    pair: tuple[ParcelSegments, Parcels],
) -> None:
    segments, parcels = pair
    first = passed(0, segments)
    claimed = parcels.claim(first)
    assert passed(1, segments).descriptor != first.descriptor
    seen = memoryview(take(claimed))
    drop(parcels.claim(passed(2, segments)))
    parcels.claim(passed(3, segments))  # and forgotten
    assert seen == value(0)
    del seen
    gc.collect()
    segments.give_back()
    assert segments.lent_count == 0
    assert passed(4, segments).descriptor in range(first.descriptor, first.descriptor + 10)


def test_a_value_that_is_mapped_keeps_its_memory(pair: tuple[ParcelSegments, Parcels]) -> None:
    segments, parcels = pair
    kept = take(parcels.claim(passed_array(segments)))
    for number in range(4):
        drop(parcels.claim(passed(number, segments)))
    assert bytes(kept) == bytearray(range(250)) * 4_000


def passed_array(segments: ParcelSegments) -> Heavy:
    import numpy as np

    made = dump(np.arange(LARGE, dtype="u8").__mod__(250).astype("u1"), segments)
    assert isinstance(made, Heavy)
    return made


def test_where_the_kernel_takes_no_more_a_result_travels_in_its_piece() -> None:
    ours, theirs = parcel_channel()
    ours.close()
    alone = ParcelSegments(SYSTEM_CLOCK, theirs.detach())
    assert type(dump(value(1), alone)) is bytes
    assert alone.lent_count == 0
    alone.close()


def test_a_parcel_that_had_no_descriptor_says_so(pair: tuple[ParcelSegments, Parcels]) -> None:
    segments, parcels = pair
    heavy = passed(1, segments)
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
    try:
        parcel = parcels.claim(heavy)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    assert isinstance(parcel, Parcel)
    with pytest.raises(MemoryError, match=r"1,000,\d+ bytes.*ulimit -n"):
        take(parcel)
    assert take(parcels.claim(passed(2, segments))) == value(2)
