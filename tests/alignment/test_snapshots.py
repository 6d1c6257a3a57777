"""Steps and suspends are read off a host's own snapshots; noise and slewing are neither."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import anchors_from, wall_clock_steps
from coeval.clocks import SYSTEM_CLOCK, ClockId, Snapshot

SECOND = 10**9


@dataclass
class Host:
    """A host in virtual time whose raw clock is true while it is awake."""

    raw_ns: int = 10**12
    boottime_ns: int = 10**12 + 777
    realtime_ns: int = 1_800_000_000 * SECOND

    def run(self, duration_ns: int, slew_ppm: int = 0) -> None:
        self.raw_ns += duration_ns
        self.boottime_ns += duration_ns * (1_000_000 + slew_ppm) // 1_000_000
        self.realtime_ns += duration_ns * (1_000_000 + slew_ppm) // 1_000_000

    def sleep(self, duration_ns: int) -> None:
        self.boottime_ns += duration_ns
        self.realtime_ns += duration_ns

    def snapshot(self, first_ns: int = 40, second_ns: int = 30, third_ns: int = 50) -> Snapshot:
        before = self.raw_ns
        self.run(first_ns)
        realtime = self.realtime_ns
        self.run(second_ns)
        boottime = self.boottime_ns
        self.run(third_ns)
        return Snapshot(before, realtime, boottime, self.raw_ns)


gaps = st.integers(0, 10 * SECOND)
noise = st.tuples(*(st.integers(0, 10**7),) * 3)


@given(st.lists(st.tuples(gaps, st.integers(-499, 499), noise), max_size=8))
def test_noise_and_slewing_are_never_a_step(parts: list[tuple[int, int, tuple[int, int, int]]]) -> None:
    host, snapshots = Host(), []
    for gap, slew_ppm, widths in parts:
        host.run(gap, slew_ppm)
        snapshots.append(host.snapshot(*widths))
    assert wall_clock_steps(snapshots) == ()


@given(st.integers(-(10**11), 10**11), st.integers(-499, 499), st.integers(1, 10 * SECOND), gaps, noise)
def test_a_step_is_dated_and_measured_with_the_truth_inside(
    size: int, slew_ppm: int, before: int, after: int, widths: tuple[int, int, int]
) -> None:
    host = Host()
    snapshots = [host.snapshot(*widths)]
    host.run(before, slew_ppm)
    stepped_at = host.raw_ns
    host.realtime_ns += size
    host.run(after, slew_ppm)
    snapshots.append(host.snapshot(*widths))
    steps = wall_clock_steps(snapshots[::-1])
    provable = abs(size) > (before + after) * 0.0011 + 4 * sum(widths) + 10
    assert len(steps) == 1 if provable else len(steps) <= 1
    for step in steps:
        assert step.kind == "step"
        assert step.raw_earliest_ns <= stepped_at <= step.raw_latest_ns
        assert step.size_ns_least <= size <= step.size_ns_greatest


@given(st.integers(SECOND, 10**14), st.integers(-499, 499), gaps)
def test_a_suspend_is_measured_and_is_not_a_step_of_the_wall_clock(length: int, slew_ppm: int, gap: int) -> None:
    host = Host()
    snapshots = [host.snapshot()]
    host.run(gap, slew_ppm)
    host.sleep(length)
    snapshots.append(host.snapshot())
    found = wall_clock_steps(snapshots)
    # The boot clock may be slewed by a tenth, so a shorter sleep in a long time awake cannot be told from that.
    if length > 0.23 * gap + 1000:
        (suspend,) = found
        assert suspend.kind == "suspend"
        assert suspend.size_ns_least <= length <= suspend.size_ns_greatest


@pytest.mark.parametrize("slew_ppm", [900, 83_000])
def test_a_wall_clock_that_is_slewed_fast_is_no_suspend(slew_ppm: int) -> None:
    host = Host()
    snapshots = [host.snapshot()]
    host.run(5 * SECOND, slew_ppm)  # the boot clock is slewed along
    snapshots.append(host.snapshot())
    assert [step.kind for step in wall_clock_steps(snapshots, slew_bound_ppm=500)] == ["step"]
    assert wall_clock_steps(snapshots, slew_bound_ppm=91_500) == ()


def test_a_wall_clock_that_is_set_while_the_host_sleeps_is_both() -> None:
    host = Host()
    snapshots = [host.snapshot()]
    host.sleep(60 * SECOND)
    host.realtime_ns -= 3600 * SECOND
    snapshots.append(host.snapshot())
    suspend, step = wall_clock_steps(snapshots)
    assert (suspend.kind, step.kind) == ("suspend", "step")
    assert step.size_ns_least <= -3600 * SECOND <= step.size_ns_greatest


def test_without_a_boot_clock_steps_are_found_and_suspends_are_not_looked_for() -> None:
    host = Host()
    snapshots = [host.snapshot()._replace(boottime_ns=0)]
    host.realtime_ns += SECOND
    snapshots.append(host.snapshot()._replace(boottime_ns=0))
    assert [step.kind for step in wall_clock_steps(snapshots)] == ["step"]


def test_a_faster_slew_is_no_step_where_it_is_declared() -> None:
    host = Host()
    snapshots = [host.snapshot()]
    host.run(SECOND, 50_000)
    snapshots.append(host.snapshot())
    assert len(wall_clock_steps(snapshots)) == 1
    assert wall_clock_steps(snapshots, slew_bound_ppm=83_333) == ()


def test_the_real_clocks_of_this_host_show_no_step_between_two_snapshots() -> None:
    assert wall_clock_steps([SYSTEM_CLOCK.snapshot() for _ in range(20)]) == ()


@given(st.integers(0, 10**6), st.integers(-(10**6), 10**6), noise)
def test_an_anchor_contains_utc_at_its_reading(max_error: int, error: int, widths: tuple[int, int, int]) -> None:
    host = Host()
    utc_minus_raw = host.realtime_ns - host.raw_ns
    host.realtime_ns += max(-max_error, min(error, max_error))
    (anchor,) = anchors_from([host.snapshot(*widths)], ClockId("raw"), max_error, "kernel")
    assert (anchor.clock, anchor.source) == ("raw", "kernel")
    assert anchor.earliest_ns <= anchor.reading_ns + utc_minus_raw <= anchor.latest_ns
    assert anchor.latest_ns - anchor.earliest_ns <= 2 * max_error + sum(widths) * 1.001 + 4


def test_a_negative_error_or_slew_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        anchors_from([], ClockId("raw"), -1, "kernel")
    with pytest.raises(ValueError, match="slew"):
        wall_clock_steps([], slew_bound_ppm=-1)
