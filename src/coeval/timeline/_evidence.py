"""
From a recording to clocks that are related: what becomes a message, who shares a clock, what ties it all to UTC.

    outcomes  ->  messages between processes  ->  who really shares a clock (check_identities)
                                              ->  messages between clocks  ->  Alignment (align)
    snapshots ->  wall-clock steps, suspends; anchors where the kernel bounds its own error
    anchors   ->  what more than half of their sources agree on (agree)    ->  Alignment (align)

The reference is the clock of the first driver. Without anchors instants count on it, moved by a constant to what that
host's wall clock showed first: "time of host X".
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from coeval.alignment import (
    SLEW_BOUND_PPM_DEFAULT,
    Agreement,
    Alignment,
    IdentityReport,
    Messages,
    WallStep,
    agree,
    align,
    anchors_from,
    check_identities,
    wall_clock_steps,
)
from coeval.clocks import Anchor, ClockId, Snapshot
from coeval.clocks._host_time import CHRONY_SOURCE
from coeval.recording import Recording
from coeval.recording._rows import ExchangeRow, HostRow, ProcessRow
from coeval.timeline._attempts import (
    FINISHED,
    HANDED_OVER,
    NOBODY,
    SEEN,
    STARTED,
    Attempts,
    BoolArray,
    Int64Array,
    ProcessIndex,
    columns,
    drivers_by_executor,
)

NO_CLOCK = ClockId("no clock")
"""Stands for the reference of a recording in which no process introduced itself."""


@dataclass(frozen=True, eq=False, slots=True)
class Evidence:
    """
    What a recording says about its clocks.

    Attributes:
        alignment: places readings.
        agreement: which sources of UTC are believed.
        identities: who shares which clock, and who only claimed it.
        names: how each process of `recording.processes` is called in messages and clashes.
        clock_of: the clock of each process of `recording.processes`.
        driver: index of the first driver in `recording.processes`; NOBODY: none is known.
        snapshots: of each clock, in the order of its readings.
        steps: of each clock that has some, its wall clock's steps and its host's suspends.
        messages: between clocks, those that the alignment rests on.
        problems: one sentence for each thing that limits what can be said.
    """

    alignment: Alignment
    agreement: Agreement
    identities: IdentityReport
    names: tuple[str, ...]
    clock_of: tuple[ClockId, ...]
    driver: int
    snapshots: Mapping[ClockId, Sequence[Snapshot]]
    steps: Mapping[ClockId, Sequence[WallStep]]
    messages: Messages
    problems: tuple[str, ...]


def evidence_of(recording: Recording, attempts: Attempts) -> Evidence:
    """Relate the clocks of a recording."""
    processes = recording.processes
    names = process_names(processes)
    driver = next((index for index, row in enumerate(processes) if row.role == "driver"), NOBODY)
    messages = Messages.concatenated([_messages(attempts, names), _exchanged(recording, names)])
    identities = check_identities(
        messages,
        {name: ClockId(row.clock) for name, row in zip(names, processes, strict=True)},
        reference=names[driver] if driver >= 0 else None,
    )
    clock_of = tuple(identities.clock_of[name] for name in names)
    reference = clock_of[driver] if driver >= 0 else clock_of[0] if clock_of else NO_CLOCK
    snapshots = _snapshots(recording, clock_of)
    steps = {clock: found for clock, taken in snapshots.items() if (found := wall_clock_steps(taken))}
    between_clocks, segments, problems = _without_suspends(messages.renamed(identities.clock_of), reference, steps)
    problems += [clash.text for clash in identities.clashes]
    first = snapshots.get(reference, ())
    agreement = agree(
        _recorded_anchors(recording, clock_of) + _kernel_anchors(recording, clock_of, snapshots, steps),
        splits={clock: _suspend_edges(found) for clock, found in steps.items()},
    )
    problems += agreement.problems
    alignment = align(
        between_clocks,
        reference=reference,
        epoch_ns=_epoch_ns(first[0]) if first else 0,
        anchors=agreement.anchors,
        segments=segments,
    )
    if not first and len(attempts) and not alignment.on_utc:
        problems.append(
            f"the recording has no reading of the wall clock of {_host(recording, driver)}: times count from the "
            f"origin of its raw clock, not from 1970."
        )
    problems += [finding.text for finding in alignment.findings]
    return Evidence(
        alignment, agreement, identities, names, clock_of, driver, snapshots, steps, between_clocks, tuple(problems)
    )


def process_names(processes: Sequence[ProcessRow]) -> tuple[str, ...]:
    """`host:pid`, and the process's number with those that share it (inline calls, pids that came again)."""
    names = [f"{row.host}:{row.pid}" for row in processes]
    taken: set[str] = set()
    for index in range(len(names)):
        while names[index] in taken:
            names[index] += f"#{index}"
        taken.add(names[index])
    return tuple(names)


def _messages(attempts: Attempts, names: Sequence[str]) -> Messages:
    """Handed over, then started; finished, then seen: two messages of each attempt that got so far."""
    there = _message_rows(attempts, HANDED_OVER, STARTED)
    back = _message_rows(attempts, FINISHED, SEEN)
    count = len(there) + len(back)
    zero = np.broadcast_to(np.int64(0), (count,))
    return Messages(
        tuple(map(ClockId, names)),
        np.concatenate((attempts.driver[there], attempts.process[back])).astype(np.int32),
        np.concatenate((attempts.process[there], attempts.driver[back])).astype(np.int32),
        np.concatenate((attempts.stamps[there, HANDED_OVER], attempts.stamps[back, FINISHED])),
        np.concatenate((attempts.stamps[there, STARTED], attempts.stamps[back, SEEN])),
        zero,
        zero,
        zero,
        np.ones(count, dtype=np.bool_),
    )


def _exchanged(recording: Recording, names: Sequence[str]) -> Messages:
    """The messages that carried no call."""
    executor, process, sent, arrived, replied, seen = columns(
        recording.exchanges, ExchangeRow, "executor process sent_ns arrived_ns replied_ns seen_ns"
    )
    worker = ProcessIndex(recording).find(process)
    drivers = drivers_by_executor(recording)
    driver = np.array([drivers.get(number, NOBODY) for number in executor.tolist()], dtype=np.int64)
    known = (worker >= 0) & (driver >= 0)
    there = np.flatnonzero(known & (sent != 0) & (arrived != 0))
    back = np.flatnonzero(known & (replied != 0) & (seen != 0))
    zero = np.zeros(len(there) + len(back), dtype=np.int64)
    return Messages(
        tuple(map(ClockId, names)),
        np.concatenate((driver[there], worker[back])).astype(np.int32),
        np.concatenate((worker[there], driver[back])).astype(np.int32),
        np.concatenate((sent[there], replied[back])),
        np.concatenate((arrived[there], seen[back])),
        zero,
        zero,
        zero,
        np.ones(len(zero), dtype=np.bool_),
    )


def _message_rows(attempts: Attempts, sent: int, received: int) -> Int64Array:
    both = (attempts.stamps[:, sent] != 0) & (attempts.stamps[:, received] != 0)
    rows = np.flatnonzero(both & (attempts.process >= 0) & (attempts.driver >= 0))
    # Calls of one piece have the same message; one of them is enough.
    columns = (attempts.process[rows], attempts.stamps[rows, sent], attempts.stamps[rows, received])
    repeated = np.zeros(len(rows), dtype=np.bool_)
    repeated[1:] = np.logical_and.reduce([values[1:] == values[:-1] for values in columns])
    return rows[~repeated]


# Snapshots ------------------------------------------------------------------------------------------------------------


def _snapshots(recording: Recording, clock_of: Sequence[ClockId]) -> dict[ClockId, list[Snapshot]]:
    index_of = {row.process: index for index, row in enumerate(recording.processes)}
    result: dict[ClockId, list[Snapshot]] = {}
    for row in recording.clocks:
        index = index_of.get(row.process)
        if index is not None and row.raw_before_ns <= row.raw_after_ns:
            result.setdefault(clock_of[index], []).append(Snapshot(*row[1:]))
    return {clock: sorted(taken) for clock, taken in result.items()}


def _epoch_ns(snapshot: Snapshot) -> int:
    return snapshot.realtime_ns - (snapshot.raw_before_ns + snapshot.raw_after_ns) // 2


def _recorded_anchors(recording: Recording, clock_of: Sequence[ClockId]) -> list[Anchor]:
    """What time servers and chrony said when they were asked."""
    index_of = {row.process: index for index, row in enumerate(recording.processes)}
    return [
        Anchor(clock_of[index_of[row.process]], row.reading_ns, row.earliest_ns, row.latest_ns, row.source)
        for row in recording.anchors
        if row.process in index_of
    ]


def _kernel_anchors(
    recording: Recording,
    clock_of: Sequence[ClockId],
    snapshots: Mapping[ClockId, Sequence[Snapshot]],
    steps: Mapping[ClockId, Sequence[WallStep]],
) -> list[Anchor]:
    """
    One anchor for each time that a kernel was asked for its bound.

    Where chrony was asked as well it is left out: the kernel's bound is chrony's, and would give it a second voice.

    The bound holds when it was asked for, not all run long. So it is used for the nearest snapshot, with what the wall
    clock may have been slewed in between added, and not across a step.
    """
    index_of = {row.process: index for index, row in enumerate(recording.processes)}
    told = {row.process for row in recording.anchors if row.source.startswith(CHRONY_SOURCE)}
    by_chrony = {clock_of[index_of[process]] for process in told if process in index_of}
    anchors: list[Anchor] = []
    for row in recording.hosts:
        index = index_of.get(row.process)
        if index is None or row.synchronised != "yes" or row.max_error_ns < 0 or clock_of[index] in by_chrony:
            continue
        clock = clock_of[index]
        nearest = _nearest(snapshots.get(clock, ()), row)
        if nearest is None or any(_is_between(step, nearest, row.reading_ns) for step in steps.get(clock, ())):
            continue
        slewed_ns = ceil(SLEW_BOUND_PPM_DEFAULT / 1e6 * _distance_ns(nearest, row.reading_ns))
        anchors += anchors_from(
            [nearest], clock, row.max_error_ns + slewed_ns, f"kernel of {recording.processes[index].host}"
        )
    return anchors


def _nearest(snapshots: Sequence[Snapshot], row: HostRow) -> Snapshot | None:
    place = bisect_left(snapshots, row.reading_ns, key=lambda snapshot: snapshot.raw_before_ns)
    around = snapshots[max(place - 1, 0) : place + 1]
    return min(around, key=lambda snapshot: _distance_ns(snapshot, row.reading_ns), default=None)


def _distance_ns(snapshot: Snapshot, reading_ns: int) -> int:
    return max(abs(snapshot.raw_before_ns - reading_ns), abs(snapshot.raw_after_ns - reading_ns))


def _is_between(step: WallStep, snapshot: Snapshot, reading_ns: int) -> bool:
    """May this step lie between the two? On the seam it may: better no anchor than a false one."""
    least, greatest = min(snapshot.raw_before_ns, reading_ns), max(snapshot.raw_after_ns, reading_ns)
    return step.raw_earliest_ns < greatest and least < step.raw_latest_ns


# Suspends: the raw clock stood still, so its offset against every other clock is another one afterwards ---------------


def _without_suspends(
    messages: Messages, reference: ClockId, steps: Mapping[ClockId, Sequence[WallStep]]
) -> tuple[Messages, dict[ClockId, list[int]], list[str]]:
    """
    Split each clock where its host slept, and set aside the messages of which side of it they are on cannot be told.

    Where the reference itself slept, nothing can be said about other hosts: all their messages are set aside.
    """
    hard = messages.hard.copy()
    segments: dict[ClockId, list[int]] = {}
    problems: list[str] = []
    for clock, found in steps.items():
        slept = [step for step in found if step.kind == "suspend"]
        if not slept or clock not in messages.clocks:
            continue
        code = messages.clocks.index(clock)
        if clock == reference:
            elsewhere = (messages.sender != code) | (messages.receiver != code)
            if bool(elsewhere.any()):
                hard &= ~elsewhere
                problems.append(
                    f"the host of the reference clock {clock} was suspended during the run. Its raw clock stood still "
                    f"then, so {int(elsewhere.sum())} messages with other hosts' clocks were set aside and their "
                    f"times are unknown. Keep the driver's host awake."
                )
            continue
        segments[clock] = _suspend_edges(slept)
        for step in slept:
            hard &= ~_touches(messages, code, step)
    return replace(messages, hard=hard), segments, problems


def _suspend_edges(steps: Sequence[WallStep]) -> list[int]:
    slept = [step for step in steps if step.kind == "suspend"]
    return sorted({edge for step in slept for edge in (step.raw_earliest_ns, step.raw_latest_ns + 1)})


def _touches(messages: Messages, code: int, step: WallStep) -> BoolArray:
    def within(readings: Int64Array) -> BoolArray:
        inside: BoolArray = (readings >= step.raw_earliest_ns) & (readings <= step.raw_latest_ns)
        return inside

    sent: BoolArray = (messages.sender == code) & within(messages.sent_ns)
    sent |= (messages.receiver == code) & within(messages.received_ns)
    return sent


def _host(recording: Recording, index: int) -> str:
    return recording.processes[index].host if index >= 0 else "the driver"
