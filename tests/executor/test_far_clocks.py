"""Far wall clocks: what is concluded from snapshots and messages, and who is warned of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import SLEW_BOUND_PPM_DEFAULT
from coeval.clocks import ClockId, Snapshot
from coeval.engines import LiveClocks, Outcome, Stamps, Worker
from coeval.errors import ClockWarning
from coeval.executor._far_clocks import SLEW_BOUND_PPM, FarClocks, wall_offset
from coeval.recording._capture import clock_event

MS_NS, SECOND_NS = 10**6, 10**9
OURS, FAR = ClockId("ours"), ClockId("far")
NODE = Worker(0, "node7", 1, FAR, "3.11")
EPOCH_NS = 1_700_000_000 * SECOND_NS
FAR_UP_NS = 5_000_000 * SECOND_NS


class Host:
    """A host in virtual time: its raw clock, and how far its wall clock is ahead of what it should show."""

    def __init__(self, raw_ahead_ns: int) -> None:
        self.name = "virtual"
        self.raw_ahead_ns = raw_ahead_ns
        self.wall_wrong_ns = 0
        self.now_ns = SECOND_NS
        self.raw_ns: Callable[[], int] = lambda: self.now_ns + self.raw_ahead_ns

    def snapshot(self) -> Snapshot:
        return Snapshot(self.raw_ns(), EPOCH_NS + self.now_ns + self.wall_wrong_ns, 0, self.raw_ns() + 400)


class Pair:
    """Our host and a far one, with a network between that takes as long as it is told."""

    def __init__(self, warning_ns: int | None = SECOND_NS) -> None:
        self.ours, self.far = Host(0), Host(FAR_UP_NS)
        self.clocks = FarClocks(self.ours, LiveClocks(OURS, None), warning_ns)

    def exchange(self, there_ns: int = MS_NS, back_ns: int = MS_NS) -> None:
        """A message there, a snapshot, a message back."""
        self.pass_time(10 * MS_NS)
        sent_ns = self.ours.raw_ns()
        self.pass_time(there_ns)
        arrived_ns, snapshot = self.far.raw_ns(), self.far.snapshot()
        self.pass_time(MS_NS)
        replied_ns = self.far.raw_ns()
        self.pass_time(back_ns)
        stamps = Stamps(sent_ns, arrived_ns, replied_ns, self.ours.raw_ns())
        self.clocks.note(Outcome(-1, 0, 0, (), None, stamps, NODE, (clock_event(snapshot),)))

    def pass_time(self, ns: int) -> None:
        self.ours.now_ns += ns
        self.far.now_ns += ns


def warned(pair: Pair, times: int = 1, **way: int) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(times):
            pair.exchange(**way)
    assert all(issubclass(each.category, ClockWarning) for each in caught)
    return [str(each.message) for each in caught]


def test_a_wall_clock_five_seconds_off_is_warned_of_once_with_both_bounds() -> None:
    pair = Pair()
    pair.far.wall_wrong_ns = 5 * SECOND_NS
    (text,) = warned(pair, 100)
    assert "the wall clock of node7 is 4.99" in text
    assert " to 5.00" in text
    assert "s ahead of this host's, more than the 1 s that are tolerated" in text


def test_a_wall_clock_that_is_behind_is_said_to_be_so() -> None:
    pair = Pair()
    pair.far.wall_wrong_ns = -5 * SECOND_NS
    (text,) = warned(pair)
    assert "s behind this host's" in text


def test_it_is_warned_again_when_it_became_twice_as_bad() -> None:
    pair = Pair()
    said = []
    for wrong_s in (5, 7, 9, 11, 12, 30):
        pair.far.wall_wrong_ns = wrong_s * SECOND_NS
        said.append(len(warned(pair, 3)))
    assert said == [1, 0, 0, 1, 0, 1]


def test_what_is_tolerated_is_the_users_to_say() -> None:
    for warning_ns, count in ((4_900 * MS_NS, 1), (5_000 * MS_NS, 0), (None, 0)):
        pair = Pair(warning_ns)
        pair.far.wall_wrong_ns = 5 * SECOND_NS
        assert len(warned(pair, 5)) == count


@pytest.mark.parametrize("way", ["there_ns", "back_ns"])
def test_a_queue_that_stalls_for_half_a_minute_warns_of_nothing(way: str) -> None:
    assert warned(Pair(), 5, **{way: 30 * SECOND_NS}) == []


def test_a_clock_that_is_wrong_by_less_than_a_stall_is_not_told_from_a_right_one() -> None:
    pair = Pair()
    pair.far.wall_wrong_ns = 5 * SECOND_NS
    assert warned(pair, there_ns=30 * SECOND_NS) == []
    assert len(warned(pair)) == 1, "once an exchange is quick"


def test_a_far_clock_that_is_set_in_mid_run_is_warned_of_then() -> None:
    pair = Pair()
    assert warned(pair, 10) == []
    pair.far.wall_wrong_ns = -3 * SECOND_NS
    assert len(warned(pair, 10)) == 1


def test_our_own_clock_being_set_right_together_with_the_far_one_warns_of_nothing() -> None:
    """The snapshot that is on its way shows the old time; our clock, when it is here, the new one."""
    pair = Pair()
    pair.ours.wall_wrong_ns = pair.far.wall_wrong_ns = 60 * SECOND_NS
    assert warned(pair, 3) == []
    pair.pass_time(10 * MS_NS)
    sent_ns, snapshot = pair.ours.raw_ns(), pair.far.snapshot()
    stamps = Stamps(sent_ns, snapshot.raw_after_ns, snapshot.raw_after_ns, sent_ns + MS_NS)
    pair.pass_time(MS_NS)
    pair.ours.wall_wrong_ns = pair.far.wall_wrong_ns = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair.clocks.note(Outcome(-1, 0, 0, (), None, stamps, NODE, (clock_event(snapshot),)))
    assert warned(pair, 3) == []


def test_who_has_our_clock_is_not_looked_at() -> None:
    pair = Pair()
    snapshot = pair.ours.snapshot()._replace(realtime_ns=0)
    same = NODE._replace(clock=OURS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair.clocks.note(Outcome(-1, 0, 0, (), None, Stamps(1, 2, 3, 4), same, (clock_event(snapshot),)))


def test_where_warnings_are_errors_it_is_logged_and_the_outcome_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    pair = Pair()
    pair.far.wall_wrong_ns = 5 * SECOND_NS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair.exchange()
    (record,) = caplog.records
    assert "the wall clock of node7 is" in record.getMessage()


def test_wall_clocks_are_slewed_as_alignment_says() -> None:
    assert SLEW_BOUND_PPM == SLEW_BOUND_PPM_DEFAULT


@given(
    far_wrong_ns=st.integers(-(10**12), 10**12),
    ours_wrong_ns=st.integers(-(10**12), 10**12),
    set_by_ns=st.integers(-(10**12), 10**12) | st.just(0),
    set_at=st.integers(0, 3),
    waits_ns=st.lists(st.integers(1_000, 100 * SECOND_NS), min_size=4, max_size=4),
    slack_ns=st.tuples(st.integers(0, SECOND_NS), st.integers(0, SECOND_NS)),
    slews_ppm=st.tuples(st.integers(-500, 500), st.integers(-500, 500)),
)
def test_the_true_offset_when_the_far_clock_was_read_is_inside(
    far_wrong_ns: int,
    ours_wrong_ns: int,
    set_by_ns: int,
    set_at: int,
    waits_ns: list[int],
    slack_ns: tuple[int, int],
    slews_ppm: tuple[int, int],
) -> None:
    """Our wall clock is slewed all the time, and set once: before, between, or after the snapshots."""
    moments_ns = [sum(waits_ns[: count + 1]) for count in range(4)]
    set_ns = moments_ns[set_at]

    def ours_wrong(now_ns: int) -> int:
        return ours_wrong_ns + now_ns * slews_ppm[0] // 10**6 + (set_by_ns if now_ns >= set_ns else 0)

    def snapshot(now_ns: int) -> Snapshot:
        return Snapshot(now_ns, EPOCH_NS + now_ns + ours_wrong(now_ns), 0, now_ns + 1)

    earlier, read_ns, now = snapshot(0), moments_ns[1], snapshot(moments_ns[2] + 2)
    far = Snapshot(read_ns + FAR_UP_NS, EPOCH_NS + read_ns + far_wrong_ns, 0, read_ns + FAR_UP_NS + 1)
    bounds_ns = (FAR_UP_NS - slack_ns[0], FAR_UP_NS + slack_ns[1])
    found = wall_offset(far, bounds_ns, (earlier,), now)
    if found is None:
        assert read_ns - 1 <= slack_ns[1] + (now.raw_after_ns + slack_ns[1]) * SLEW_BOUND_PPM // 10**6 + 2
        return
    assert found.least_ns - 2 <= far_wrong_ns - ours_wrong(read_ns) <= found.greatest_ns + 2
