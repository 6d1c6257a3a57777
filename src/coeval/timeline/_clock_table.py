"""
The clock table: each clock that a run touched, how far off its host's wall clock is, how well that is known, and why.

Two clocks of a host are told apart: the raw clock, which stamps and which nothing sets, and the wall clock, which
people read and which is set and slewed. Rates and bounds are the raw clock's; the offset is the wall clock's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np

from coeval.alignment import SLEW_BOUND_PPM_DEFAULT, ClockFit, SourceVerdict, WallStep
from coeval.clocks import ClockId, Grade, Instant, Snapshot
from coeval.recording import Recording
from coeval.recording._rows import HostRow
from coeval.timeline._events import TimelineEvents
from coeval.timeline._evidence import Evidence
from coeval.timeline._placed import Placed, place


class OffsetBounds(NamedTuple):
    """How far ahead, ns; the truth is between least and greatest, None: unknown on that side."""

    least_ns: int | None
    estimate_ns: int | None
    greatest_ns: int | None


class ClockChange(NamedTuple):
    """
    A wall clock that was set, or a host that slept.

    Attributes:
        kind: "step": the wall clock was set. "suspend": the host slept.
        size_ns_least, size_ns_greatest: how far forward it was set (negative: back), or how long the host slept.
        earliest, latest: it happened between these.
    """

    kind: str
    size_ns_least: int
    size_ns_greatest: int
    earliest: Instant
    latest: Instant


class SharedClaim(NamedTuple):
    """A process that claims this clock, by the name that clashes use, its number, and what it is."""

    name: str
    process: int
    role: str


@dataclass(frozen=True, slots=True)
class ClockEntry:
    """
    One clock.

    Attributes:
        clock: its id.
        hosts: the names of the hosts that have it; more than one is suspicious, unless they are containers.
        is_reference: whether all others were measured against this one.
        against: what offsets are against: "UTC", or "wall clock of HOST".
        wall_at: when the wall clock was last read; None: it never was, and the offset is unknown.
        wall_declared, wall_assumed: then the host's wall clock was ahead of `against` by this much, in both grades.
        fits: how the raw clock lies against the reference, per stretch between suspends; empty for the reference unless
            it was tied to UTC.
        event_count: events stamped by this clock; `unplaced_count` of them could not be placed.
        width_ns_least, width_ns_greatest: the narrowest and the widest declared interval among the others.
        changes: steps and suspends, in order.
        zone, utc_offset_s: of the host, "" and None where it did not say.
        synchronised: "yes", "no", "unknown": whether anything keeps the wall clock right.
        max_error_ns: the kernel's own bound against UTC; None: it has none.
        remedy: one line for a person; "" if there is nothing to do.
        processes: who claims this clock.
        probe_count: times that it was asked without a call.
        checked_count: messages between these processes that checked the claim.
        clashes: claims that a message refuted, one sentence each.
        sources: who said what UTC was when this clock read something, and whether they are believed.
        findings: what else is wrong with the evidence on this clock, one sentence each.
    """

    clock: ClockId
    hosts: tuple[str, ...]
    is_reference: bool
    against: str
    wall_at: Instant | None
    wall_declared: OffsetBounds
    wall_assumed: OffsetBounds
    fits: tuple[ClockFit, ...]
    event_count: int
    unplaced_count: int
    width_ns_least: int | None
    width_ns_greatest: int | None
    changes: tuple[ClockChange, ...]
    zone: str
    utc_offset_s: int | None
    synchronised: str
    max_error_ns: int | None
    remedy: str
    processes: tuple[SharedClaim, ...]
    probe_count: int
    checked_count: int
    clashes: tuple[str, ...]
    sources: tuple[SourceVerdict, ...]
    findings: tuple[str, ...]


_UNKNOWN_OFFSET = OffsetBounds(None, None, None)


def clock_table(recording: Recording, evidence: Evidence, events: TimelineEvents) -> tuple[ClockEntry, ...]:
    """One row per clock, the reference first."""
    reference = evidence.alignment.reference_clock
    clocks = sorted(dict.fromkeys(evidence.clock_of), key=lambda clock: clock != reference)
    return tuple(_entry(clock, recording, evidence, events) for clock in clocks)


def _entry(clock: ClockId, recording: Recording, evidence: Evidence, events: TimelineEvents) -> ClockEntry:
    alignment, identities = evidence.alignment, evidence.identities
    members = [index for index, other in enumerate(evidence.clock_of) if other == clock]
    names = {evidence.names[index] for index in members}
    rows = np.flatnonzero(events.clock_codes == events.clocks.index(clock))
    # Where calls share a time, how wide it is says nothing of the clock.
    widths = events.begins.taken(rows[~events.is_shared[rows]]).widths_ns()
    host = _host_row(recording, {recording.processes[index].process for index in members})
    snapshots = evidence.snapshots.get(clock, ())
    return ClockEntry(
        clock,
        tuple(dict.fromkeys(recording.processes[index].host for index in members)),
        clock == alignment.reference_clock,
        wall_reference(recording, evidence),
        _placed_one(evidence, clock, snapshots[-1].raw_after_ns, "declared") if snapshots else None,
        _wall_offset(clock, evidence, "declared"),
        _wall_offset(clock, evidence, "assumed"),
        tuple(fit for fit in alignment.report() if fit.clock == clock),
        len(rows),
        int((~events.begins.taken(rows).known).sum()),
        int(widths.min()) if len(widths) else None,
        int(widths.max()) if len(widths) else None,
        tuple(_change(clock, step, evidence) for step in evidence.steps.get(clock, ())),
        host.zone if host else "",
        host.utc_offset_s if host else None,
        host.synchronised if host else "unknown",
        host.max_error_ns if host and host.max_error_ns >= 0 else None,
        host.remedy if host else "",
        tuple(
            SharedClaim(evidence.names[index], recording.processes[index].process, recording.processes[index].role)
            for index in members
        ),
        _probe_count(recording, {recording.processes[index].process for index in members}),
        identities.checked.get(clock, 0),
        tuple(clash.text for clash in identities.clashes if clash.clock == clock or clash.process in names),
        tuple(verdict for verdict in evidence.agreement.verdicts if verdict.clock == clock),
        tuple(finding.text for finding in alignment.findings if finding.clock == clock),
    )


def wall_reference(recording: Recording, evidence: Evidence) -> str:
    """What wall-clock offsets are against."""
    return "UTC" if evidence.alignment.on_utc else f"wall clock of {driver_host(recording, evidence)}"


def driver_host(recording: Recording, evidence: Evidence) -> str:
    """The host that a timeline without anchors is named after."""
    if evidence.driver >= 0:
        return recording.processes[evidence.driver].host
    return recording.processes[0].host if recording.processes else "unknown"


def _probe_count(recording: Recording, processes: set[int]) -> int:
    """Exchanges without a call that go there and back; a newcomer's introduction only comes back."""
    return sum(row.process in processes and row.sent_ns != 0 for row in recording.exchanges)


def _host_row(recording: Recording, processes: set[int]) -> HostRow | None:
    """The last word that a process of this clock had on its host."""
    return next((row for row in reversed(recording.hosts) if row.process in processes), None)


def _placed_one(evidence: Evidence, clock: ClockId, reading_ns: int, grade: Grade) -> Instant:
    return _placed(evidence, clock, [reading_ns], grade)[0]


def _placed(evidence: Evidence, clock: ClockId, readings_ns: Sequence[int], grade: Grade) -> Placed:
    readings = np.array(readings_ns, dtype=np.int64)
    return place(evidence.alignment, (clock,), np.zeros(len(readings), dtype=np.int64), readings, grade)


def _change(clock: ClockId, step: WallStep, evidence: Evidence) -> ClockChange:
    placed = _placed(evidence, clock, [step.raw_earliest_ns, step.raw_latest_ns], "declared")
    return ClockChange(step.kind, step.size_ns_least, step.size_ns_greatest, placed[0], placed[1])


# The wall clock's offset ----------------------------------------------------------------------------------------------


def _wall_offset(clock: ClockId, evidence: Evidence, grade: Grade) -> OffsetBounds:
    """At the clock's last snapshot."""
    snapshots = evidence.snapshots.get(clock, ())
    on_utc, reference = evidence.alignment.on_utc, evidence.alignment.reference_clock
    if clock == reference and not on_utc:
        return OffsetBounds(0, 0, 0)
    if not snapshots:
        return _UNKNOWN_OFFSET
    ahead, when = _ahead_of_timeline(clock, snapshots[-1], evidence, grade)
    if on_utc:
        return ahead
    return _minus(ahead, _reference_wall(evidence, when))


def _ahead_of_timeline(
    clock: ClockId, snapshot: Snapshot, evidence: Evidence, grade: Grade
) -> tuple[OffsetBounds, Placed]:
    """The wall clock was read somewhere in the sandwich: wall minus the timeline's time."""
    placed = _placed(evidence, clock, [snapshot.raw_before_ns, snapshot.raw_after_ns], grade)
    before, after = placed[0], placed[1]
    estimates = before.estimate_ns, after.estimate_ns
    middle = None if estimates[0] is None or estimates[1] is None else (estimates[0] + estimates[1]) // 2
    wall_ns = snapshot.realtime_ns
    return (
        OffsetBounds(
            None if after.latest_ns is None else wall_ns - after.latest_ns,
            None if middle is None else wall_ns - middle,
            None if before.earliest_ns is None else wall_ns - before.earliest_ns,
        ),
        placed,
    )


def _reference_wall(evidence: Evidence, when: Placed) -> OffsetBounds:
    """
    How far the reference host's wall clock was ahead of the timeline at a time that is known as an interval.

    Between its snapshots it may have been slewed, within the slew bound; where it was set, it is anything between.
    """
    clock = evidence.alignment.reference_clock
    snapshots = evidence.snapshots.get(clock, ())
    earliest, estimate, latest = when[0].earliest_ns, when[0].estimate_ns, when[1].latest_ns
    if not snapshots or earliest is None or estimate is None or latest is None:
        return _UNKNOWN_OFFSET
    offsets = [_ahead_of_timeline(clock, snapshot, evidence, "declared")[0] for snapshot in snapshots]
    times = [
        snapshot.realtime_ns - (offset.estimate_ns or 0) for snapshot, offset in zip(snapshots, offsets, strict=True)
    ]
    place_ns = bisect_left(times, estimate)
    around = range(max(place_ns - 1, 0), min(place_ns + 1, len(times)))
    nearest = min(around, key=lambda index: abs(times[index] - estimate))
    least, greatest = offsets[nearest].least_ns, offsets[nearest].greatest_ns
    assert least is not None, "the reference places all of its own readings"
    assert greatest is not None
    far_ns = max(abs(times[nearest] - earliest), abs(times[nearest] - latest))
    slewed_ns = ceil(SLEW_BOUND_PPM_DEFAULT / 1e6 * far_ns)
    bounds = OffsetBounds(least - slewed_ns, offsets[nearest].estimate_ns, greatest + slewed_ns)
    if any(
        change.kind == "step" and _may_be_at(clock, change, evidence, earliest, latest) for change in _steps(evidence)
    ):
        known = [offsets[index] for index in around]
        return OffsetBounds(
            min(bounds.least_ns or 0, *(offset.least_ns or 0 for offset in known)),
            bounds.estimate_ns,
            max(bounds.greatest_ns or 0, *(offset.greatest_ns or 0 for offset in known)),
        )
    return bounds


def _steps(evidence: Evidence) -> Sequence[WallStep]:
    return evidence.steps.get(evidence.alignment.reference_clock, ())


def _may_be_at(clock: ClockId, step: WallStep, evidence: Evidence, earliest_ns: int, latest_ns: int) -> bool:
    change = _change(clock, step, evidence)
    assert change.earliest.earliest_ns is not None
    assert change.latest.latest_ns is not None
    return change.earliest.earliest_ns <= latest_ns and earliest_ns <= change.latest.latest_ns


def _minus(a: OffsetBounds, b: OffsetBounds) -> OffsetBounds:
    def difference(x: int | None, y: int | None) -> int | None:
        return None if x is None or y is None else x - y

    return OffsetBounds(
        difference(a.least_ns, b.greatest_ns),
        difference(a.estimate_ns, b.estimate_ns),
        difference(a.greatest_ns, b.least_ns),
    )
