from __future__ import annotations

import os

from coeval.engines.local._crowding import (
    CROWDED_NS,
    CROWDED_WAITS,
    LOOKS_AFTER_PARTING,
    LOOKS_BEFORE_SLEEP,
    PAUSE_NS_MAX,
    PAUSE_NS_MIN,
    Crowding,
)

CORES = sorted(os.sched_getaffinity(0))


def crowded(crowding: Crowding, waits: int = CROWDED_WAITS) -> Crowding:
    for _ in range(waits):
        wait(crowding, CROWDED_NS)
    return crowding


def wait(crowding: Crowding, others_ns: int, *, wrote_ns: int = 0) -> None:
    """For what was handed over before."""
    crowding.wrote_ns = wrote_ns
    crowding.looked(others_ns, is_there=True)


def test_two_are_parted_after_some_crowded_waits_in_a_row() -> None:
    crowding = crowded(Crowding(), CROWDED_WAITS - 1)
    assert not crowding.parts(0)
    wait(crowding, CROWDED_NS)
    assert crowding.parts(0)
    assert not crowding.parts(10 * PAUSE_NS_MAX), "what was noticed before counts no more"


def test_a_wait_with_the_core_to_itself_begins_the_count_anew() -> None:
    crowding = crowded(Crowding(), CROWDED_WAITS - 1)
    wait(crowding, CROWDED_NS - 1)
    assert not crowded(crowding, CROWDED_WAITS - 1).parts(0)


def test_a_worker_that_ran_while_its_batch_was_written_shares_the_core() -> None:
    crowding = Crowding()
    for _ in range(CROWDED_WAITS):
        wait(crowding, 0, wrote_ns=CROWDED_NS)
    assert crowding.parts(0)


def test_waiting_for_what_was_not_handed_over_does_not_count() -> None:
    """As while the first worker starts."""
    crowding = Crowding()
    for _ in range(10 * CROWDED_WAITS):
        crowding.looked(CROWDED_NS, is_there=True)
    assert not crowding.parts(0)


def test_where_they_were_apart_it_is_tried_ever_less_often() -> None:
    """Another thread of the caller computes: it, too, runs when others are let."""
    crowding, now_ns, pauses = Crowding(), 0, []
    assert crowded(crowding).parts(now_ns)
    for _ in range(5):
        crowding.was_apart()
        assert crowding.looks() == LOOKS_BEFORE_SLEEP
        pauses.append(pause_after(crowding, now_ns))
        now_ns += pauses[-1]
    assert pauses == [PAUSE_NS_MIN << doubled for doubled in range(1, 6)]


def test_whoever_has_parted_looks_for_longer_once() -> None:
    crowding = crowded(Crowding())
    assert crowding.looks() == LOOKS_BEFORE_SLEEP
    assert crowding.parts(0)
    assert crowding.looks() == LOOKS_AFTER_PARTING
    crowding.looked(0, is_there=True)
    assert crowding.looks() == LOOKS_BEFORE_SLEEP


def pause_after(crowding: Crowding, parted_ns: int) -> int:
    """How long after a parting the two may be parted again, if that is a doubling of the least."""
    pause_ns = PAUSE_NS_MIN
    while not crowded(crowding).parts(parted_ns + pause_ns):
        pause_ns *= 2
    return pause_ns


def test_where_parting_does_not_help_it_is_tried_ever_less_often() -> None:
    """The other core is busy as well."""
    crowding, now_ns, pauses = Crowding(), 0, []
    assert crowded(crowding).parts(now_ns)
    for _ in range(15):
        crowding.looked(CROWDED_NS, is_there=False)
        pauses.append(pause_after(crowding, now_ns))
        now_ns += pauses[-1]
    assert pauses[:9] == [PAUSE_NS_MIN << doubled for doubled in range(1, 10)]
    assert pauses[9:] == [PAUSE_NS_MIN << 10] * 6  # the first doubling that is not less than the greatest


def test_where_it_helped_it_is_tried_again_soon() -> None:
    crowding = Crowding()
    assert crowded(crowding).parts(0)
    crowding.looked(0, is_there=False)
    assert crowded(crowding).parts(PAUSE_NS_MAX)
    crowding.looked(0, is_there=True)
    crowded(crowding)
    assert not crowding.parts(PAUSE_NS_MAX + PAUSE_NS_MIN - 1)
    assert crowding.parts(PAUSE_NS_MAX + PAUSE_NS_MIN)
