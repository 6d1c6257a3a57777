from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coeval.recording import Recording
from coeval.recording._rows import ClockRow, HostRow, ProcessRow
from coeval.timeline import ClockEntry, OffsetBounds, RunTimeline

START_NS = 7_000_000_000_000


def contains(offset: OffsetBounds, value: int) -> bool:
    assert offset.least_ns is not None
    assert offset.greatest_ns is not None
    return offset.least_ns <= value <= offset.greatest_ns


def table(run: Any) -> dict[str, ClockEntry]:
    return {entry.hosts[0]: entry for entry in RunTimeline.of(run.recording).clocks}


@pytest.mark.parametrize("ahead_ns", [0, 7_200_000_000_000, -90_000_000_000])
@pytest.mark.parametrize("on_utc", [False, True])
def test_the_wall_clocks_offset_is_within_both_grades(
    simulated: Callable[..., Any], far_host: Callable[..., Any], ahead_ns: int, on_utc: bool
) -> None:
    far = far_host("far", origin_ns=10**16, rate_ppm=30, wall_ahead_ns=ahead_ns)
    run = simulated([far], driver=far_host("home", wall_ahead_ns=0 if on_utc else 5_000_000_000), call_count=200)
    if on_utc:
        run.rows.insert(2, HostRow(0, START_NS, "UTC", 0, "yes", 1_000_000, ""))
    entry = table(run)["far"]
    truth = ahead_ns - (0 if on_utc else 5_000_000_000)
    assert contains(entry.wall_declared, truth)
    assert contains(entry.wall_assumed, truth)
    assert entry.against == ("UTC" if on_utc else "wall clock of home")
    assert entry.wall_declared.least_ns is not None
    assert entry.wall_declared.greatest_ns is not None
    assert entry.wall_declared.greatest_ns - entry.wall_declared.least_ns < 10_000_000


def test_the_reference_is_off_by_nothing_by_definition_and_comes_first(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    entries = RunTimeline.of(simulated([far_host("far")]).recording).clocks
    assert [entry.is_reference for entry in entries] == [True, False]
    assert entries[0].wall_declared == (0, 0, 0)
    assert (entries[0].zone, entries[0].utc_offset_s, entries[0].synchronised) == ("Europe/Berlin", 7200, "no")
    assert entries[0].remedy == "install chrony"


def test_rate_messages_and_bounds_of_a_clock_are_there(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    entry = table(simulated([far_host("far", rate_ppm=50)], call_count=300))["far"]
    (fit,) = entry.fits
    assert (fit.sent_count, fit.received_count) == (300, 300)
    assert fit.rate_ppm_least <= 50 <= fit.rate_ppm_greatest
    assert entry.width_ns_least is not None
    assert entry.width_ns_greatest is not None
    assert 0 < entry.width_ns_least < entry.width_ns_greatest < 1_000_000
    assert entry.unplaced_count == 0


def test_a_host_whose_wall_clock_was_never_read_has_an_unknown_offset_never_zero(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    run = simulated([far_host("far")])
    run.rows = [row for row in run.rows if not (isinstance(row, ClockRow) and row.process == 1)]
    entry = table(run)["far"]
    assert entry.wall_declared == (None, None, None)
    assert entry.wall_at is None


def test_a_wall_clock_that_was_set_is_dated_and_sized_and_moves_no_event(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    far = far_host("far", origin_ns=10**15)
    run = simulated([far])
    before = [event.begin for event in RunTimeline.of(run.recording).events if event.call >= 0]
    stepped = far_host("far", origin_ns=10**15, wall_ahead_ns=10_000_000_000)
    run.rows.append(stepped.snapshot(1, START_NS + 500_000_000)._replace(boottime_ns=run.rows[6].boottime_ns))
    run.rows[-1] = run.rows[-1]._replace(
        boottime_ns=run.rows[6].boottime_ns + run.rows[-1].raw_before_ns - run.rows[6].raw_before_ns
    )
    timeline = RunTimeline.of(run.recording)
    entry = timeline.clocks[1]
    (change,) = entry.changes
    assert change.kind == "step"
    assert change.size_ns_least <= 10_000_000_000 <= change.size_ns_greatest
    assert change.earliest.earliest_ns is not None
    assert change.latest.latest_ns is not None
    assert change.earliest.earliest_ns < change.latest.latest_ns
    assert [event.begin for event in timeline.events if event.call >= 0] == before
    assert contains(entry.wall_declared, 10_000_000_000)


def test_offsets_are_against_what_the_reference_hosts_wall_clock_shows_by_then(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    run = simulated([far_host("far", origin_ns=10**15, wall_ahead_ns=1_000_000_000)])
    # Half a second into the run somebody set the driver's wall clock three seconds forward.
    for after_ns in (500_000_000, 900_000_000):
        row = far_host("home", wall_ahead_ns=3_000_000_000).snapshot(0, START_NS + after_ns)
        run.rows.append(row._replace(boottime_ns=row.boottime_ns - 3_000_000_000))
    row = far_host("far", origin_ns=10**15, wall_ahead_ns=1_000_000_000).snapshot(1, START_NS + 900_000_000)
    run.rows.append(row)
    timeline = RunTimeline.of(run.recording)
    assert [change.kind for change in timeline.clocks[0].changes] == ["step"]
    offset = timeline.clocks[1].wall_declared
    assert contains(offset, -2_000_000_000)
    assert not contains(offset, 1_000_000_000)


def test_processes_that_share_a_clock_are_named_with_how_often_that_was_checked(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    entry = table(simulated([far_host("home"), far_host("home")], call_count=25))["home"]
    assert [claim.name for claim in entry.processes] == ["home:100", "home:101", "home:102"]
    assert entry.checked_count == 50
    assert entry.clashes == ()
    assert entry.width_ns_greatest == 0


def test_a_clash_stands_at_both_clocks(simulated: Callable[..., Any], far_host: Callable[..., Any]) -> None:
    clone = far_host("home", origin_ns=-(10**12), claims="boot-home/0/monotonic_raw")
    entries = RunTimeline.of(simulated([clone]).recording).clocks
    assert len(entries) == 2
    for entry in entries:
        assert len(entry.clashes) == 1
        assert "home:101" in entry.clashes[0]


def test_a_clock_without_evidence_has_no_bounds_and_counts_its_events(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    run = simulated([far_host("far")])
    run.rows += [ProcessRow(9, "worker", "lost", 7, "boot-lost", "3.11", 5), ClockRow(9, 50, 10**18, 0, 60)]
    entry = table(run)["lost"]
    assert (entry.width_ns_least, entry.width_ns_greatest, entry.unplaced_count) == (None, None, 2)
    assert entry.wall_declared == (None, None, None)


def test_a_recording_without_processes_has_no_clocks() -> None:
    assert RunTimeline.of(Recording([])).clocks == ()
