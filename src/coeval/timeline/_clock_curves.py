"""
Offsets of clocks over time, as numbers to draw: what is known at each moment, in both grades, and what it rests on.

All values are floats, ns, counted from an integer of their own (`base_ns`, `start_ns`), so that a float holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST, ClockStep, Messages
from coeval.clocks import UTC, ClockId, Grade, Snapshot
from coeval.timeline._clock_table import ClockEntry
from coeval.timeline._evidence import Evidence
from coeval.timeline._placed import place
from coeval.timeline._run_timeline import RunTimeline

if TYPE_CHECKING:
    from coeval.timeline._related_clocks import RelatedClocks

Floats: TypeAlias = npt.NDArray[np.float64]
Int64Array: TypeAlias = npt.NDArray[np.int64]

GRADES: tuple[Grade, Grade] = ("declared", "assumed")

# More moments than a picture has columns show nothing more.
_MOMENTS = 600
_DOTS_MAX = 1500


class Band(NamedTuple):
    """Bounds at each moment; NaN where unknown."""

    least: Floats
    estimate: Floats
    greatest: Floats

    @property
    def half_width(self) -> Floats:
        """How far the truth may be from the middle."""
        half: Floats = (self.greatest - self.least) / 2
        return half


class Dots(NamedTuple):
    """What single messages say: the offset is not below (`is_least`), or not above."""

    at: Floats
    offset: Floats
    is_least: bool


class StepMark(NamedTuple):
    """A clock was set between two moments, by about so much; None: unknown."""

    earliest: float
    latest: float
    size_ns: int | None


@dataclass(frozen=True, eq=False, slots=True)
class ClockCurve:
    """
    One clock.

    Attributes:
        name: the clock's, or its host's.
        against: what offsets are against.
        base_ns: what offsets are counted from.
        at: moments, from the curves' start.
        declared, assumed: the offset then.
        dots: the messages it follows from; thinned where there are many, the tightest kept.
        steps: where it was set.
    """

    name: str
    against: str
    base_ns: int
    at: Floats
    declared: Band
    assumed: Band
    dots: tuple[Dots, ...]
    steps: tuple[StepMark, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Curves:
    """
    Clocks over one time.

    Attributes:
        reference: what times count on, for people.
        start_ns: the moment that all count from, on the reference.
        is_date: whether that is ns since 1970.
    """

    reference: str
    start_ns: int
    is_date: bool
    clocks: tuple[ClockCurve, ...]


class _Raw(NamedTuple):
    """A curve before it is counted from a base: int64 columns with sentinels."""

    name: str
    against: str
    at: Int64Array
    declared: tuple[Int64Array, Int64Array, Int64Array]
    assumed: tuple[Int64Array, Int64Array, Int64Array]
    dots: tuple[tuple[Int64Array, Int64Array, bool], ...]
    steps: tuple[tuple[int, int, int | None], ...]


_OFFSET_SENTINELS = (UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST)


def curves_of_messages(clocks: RelatedClocks) -> Curves:
    """Each clock against the reference clock; on UTC, that one against UTC first."""
    alignment, messages = clocks.alignment, clocks.messages
    reference = alignment.reference_clock
    raws: list[_Raw] = []
    if alignment.on_utc:
        readings = _moments(
            _stamps_of(messages, reference, [a.reading_ns for a in clocks.anchors if a.clock == reference])
        )
        columns = []
        for grade in GRADES:
            placed = alignment.instants(reference, readings, grade)
            columns.append(
                (
                    _minus(readings, placed.latest_ns, UNKNOWN_LATEST, UNKNOWN_EARLIEST),
                    _minus(readings, placed.estimate_ns, UNKNOWN_ESTIMATE, UNKNOWN_ESTIMATE),
                    _minus(readings, placed.earliest_ns, UNKNOWN_EARLIEST, UNKNOWN_LATEST),
                )
            )
        raws.append(_Raw(reference, "UTC", readings, columns[0], columns[1], (), ()))
    for clock in alignment.clocks:
        if clock == reference:
            continue
        readings = _moments(_stamps_of(messages, clock, [a.reading_ns for a in clocks.anchors if a.clock == clock]))
        if not len(readings):
            continue
        found = [alignment.offset(clock, readings, grade) for grade in GRADES]
        declared, assumed = ((o.least_ns, o.estimate_ns, o.greatest_ns) for o in found)
        dots = _dots(messages, clock, reference)
        # Each moment is told by the reference, so that one time holds for all pictures; where that is not known, it is
        # told roughly, as the messages would have it.
        middle = np.where(declared[1] == UNKNOWN_ESTIMATE, _middle_of(dots), declared[1])
        steps = tuple(
            (
                *_on_reference((step.earliest_ns, step.latest_ns), readings, middle),
                _middle_size(step),
            )
            for step in clocks.verdict.steps
            if step.clock == clock
        )
        raws.append(_Raw(clock, reference, readings - middle, declared, assumed, dots, steps))
    return _curves(raws, str(UTC).upper() if alignment.on_utc else f"clock {reference}", _dates(raws))


def _middle_size(step: ClockStep) -> int | None:
    """How far a clock was set, about; None: unknown."""
    if step.size_ns_least is None or step.size_ns_greatest is None:
        return None
    return (step.size_ns_least + step.size_ns_greatest) // 2


def curves_of_run(timeline: RunTimeline) -> Curves:
    """The wall clock of each host against the timeline, as it was read, with the bound that its raw clock has then."""
    evidence = timeline._evidence
    raws: list[_Raw] = []
    for entry in timeline.clocks:
        snapshots = _thinned(evidence.snapshots.get(ClockId(entry.clock), ()))
        if snapshots:
            raws.append(_wall_curve(entry, snapshots, evidence, timeline.reference_label))
    return _curves(raws, timeline.reference_label, is_date=True)


def _wall_curve(entry: ClockEntry, snapshots: Sequence[Snapshot], evidence: Evidence, against: str) -> _Raw:
    clock = ClockId(entry.clock)
    before = np.array([snapshot.raw_before_ns for snapshot in snapshots], dtype=np.int64)
    after = np.array([snapshot.raw_after_ns for snapshot in snapshots], dtype=np.int64)
    wall = np.array([snapshot.realtime_ns for snapshot in snapshots], dtype=np.int64)
    codes = np.zeros(len(before), dtype=np.int64)
    columns = []
    at = wall
    for grade in GRADES:
        first = place(evidence.alignment, (clock,), codes, before, grade)
        last = place(evidence.alignment, (clock,), codes, after, grade)
        known = (first.estimate != UNKNOWN_ESTIMATE) & (last.estimate != UNKNOWN_ESTIMATE)
        middle = np.where(known, first.estimate + (last.estimate - first.estimate) // 2, UNKNOWN_ESTIMATE)
        columns.append(
            (
                _minus(wall, last.latest, UNKNOWN_LATEST, UNKNOWN_EARLIEST),
                _minus(wall, middle, UNKNOWN_ESTIMATE, UNKNOWN_ESTIMATE),
                _minus(wall, first.earliest, UNKNOWN_EARLIEST, UNKNOWN_LATEST),
            )
        )
        at = np.where(known, middle, wall) if grade == "declared" else at
    steps = tuple(
        (change.earliest.estimate_ns, change.latest.estimate_ns, (change.size_ns_least + change.size_ns_greatest) // 2)
        for change in entry.changes
        if change.kind == "step" and change.earliest.estimate_ns is not None and change.latest.estimate_ns is not None
    )
    name = f"wall clock of {'/'.join(entry.hosts)}"
    return _Raw(name, against, at, columns[0], columns[1], (), steps)


def _curves(raws: Sequence[_Raw], reference: str, is_date: bool) -> Curves:
    starts = [int(raw.at.min()) for raw in raws if len(raw.at)]
    start = min(starts, default=0)
    return Curves(reference, start, is_date, tuple(_counted(raw, start) for raw in raws))


def _counted(raw: _Raw, start_ns: int) -> ClockCurve:
    known = raw.declared[1][raw.declared[1] != UNKNOWN_ESTIMATE]
    middle = int(np.median(known)) if len(known) else _middle_of(raw.dots)
    seen = known if len(known) else np.concatenate([known, *(y for _, y, _ in raw.dots)])
    spread = max((int(seen.max()) - int(seen.min())) if len(seen) else 0, _typical_width(raw), 1)
    base = _round_base(middle, spread)
    breaks = [float((earliest + latest) // 2 - start_ns) for earliest, latest, _ in raw.steps]
    at = (raw.at - start_ns).astype(np.float64)
    order = np.argsort(at, kind="stable")

    def band(columns: tuple[Int64Array, Int64Array, Int64Array]) -> Band:
        values = [
            np.where(column == sentinel, np.nan, (column - base).astype(np.float64))[order]
            for column, sentinel in zip(columns, _OFFSET_SENTINELS, strict=True)
        ]
        return Band(*(_broken(at[order], value, breaks)[1] for value in values))

    return ClockCurve(
        raw.name,
        raw.against,
        base,
        _broken(at[order], at[order], breaks)[0],
        band(raw.declared),
        band(raw.assumed),
        tuple(
            Dots((x - start_ns).astype(np.float64), (y - base).astype(np.float64), is_least)
            for x, y, is_least in raw.dots
        ),
        tuple(StepMark(float(a - start_ns), float(b - start_ns), size) for a, b, size in raw.steps),
    )


def _middle_of(dots: Sequence[tuple[Int64Array, Int64Array, bool]]) -> int:
    offsets = np.concatenate([np.empty(0, dtype=np.int64), *(y for _, y, _ in dots)])
    return int(np.median(offsets)) if len(offsets) else 0


def _broken(at: Floats, values: Floats, breaks: Sequence[float]) -> tuple[Floats, Floats]:
    """With a gap at each step, so that no line is drawn through it."""
    if not breaks:
        return at, values
    places = np.searchsorted(at, breaks)
    return np.insert(at, places, breaks), np.insert(values, places, np.nan)


def _typical_width(raw: _Raw) -> int:
    least, _, greatest = raw.declared
    known = (least != UNKNOWN_EARLIEST) & (greatest != UNKNOWN_LATEST)
    return int(np.median(greatest[known] - least[known])) if bool(known.any()) else 0


def _round_base(middle_ns: int, spread_ns: int) -> int:
    """A round number near the middle where that is far from zero against what there is to see; else 0."""
    if abs(middle_ns) <= 10 * spread_ns:
        return 0
    grain = 1
    while grain * 10 <= spread_ns:
        grain *= 10
    return (middle_ns + grain // 2) // grain * grain


def _stamps_of(messages: Messages, clock: ClockId, more: Sequence[int]) -> Int64Array:
    if clock not in messages.clocks:
        return np.array(more, dtype=np.int64)
    code = messages.clocks.index(clock)
    return np.concatenate(
        (
            messages.sent_ns[messages.sender == code],
            messages.received_ns[messages.receiver == code],
            np.array(more, dtype=np.int64),
        )
    )


def _moments(stamps: Int64Array) -> Int64Array:
    """Readings to draw: even ones over the evidence, and some of the evidence, where bounds are tight."""
    if not len(stamps):
        return stamps
    first, last = int(stamps.min()), int(stamps.max())
    even = first + np.linspace(0, last - first, _MOMENTS).astype(np.int64)
    some = stamps[:: max(len(stamps) // _MOMENTS, 1)]
    return np.unique(np.concatenate((even, some, [last])))


def _dots(messages: Messages, clock: ClockId, reference: ClockId) -> tuple[tuple[Int64Array, Int64Array, bool], ...]:
    """Half-bounds of the messages with the reference, at the reference's time, ready to be thinned."""
    if clock not in messages.clocks or reference not in messages.clocks:
        return ()
    code, other = messages.clocks.index(clock), messages.clocks.index(reference)
    to_reference = np.flatnonzero((messages.sender == code) & (messages.receiver == other))
    from_reference = np.flatnonzero((messages.sender == other) & (messages.receiver == code))
    least = messages.sent_ns[to_reference] - messages.received_ns[to_reference]
    greatest = messages.received_ns[from_reference] - messages.sent_ns[from_reference]
    return (
        (*_thinned_dots(messages.received_ns[to_reference], least, sign=-1), True),
        (*_thinned_dots(messages.sent_ns[from_reference], greatest, sign=1), False),
    )


def _thinned_dots(at: Int64Array, offsets: Int64Array, sign: int) -> tuple[Int64Array, Int64Array]:
    """Every so many, and the tightest of each stretch of time; `sign`: 1 where less is tighter."""
    if len(at) <= _DOTS_MAX:
        return at, offsets
    first, last = int(at.min()), int(at.max())
    stretch = (at - first) // max((last - first) // (_DOTS_MAX // 3) + 1, 1)
    order = np.lexsort((sign * offsets, stretch))
    heads = order[np.concatenate(([True], np.diff(stretch[order]) > 0))]
    rows = np.unique(np.concatenate((heads, np.arange(0, len(at), max(2 * len(at) // _DOTS_MAX, 1)))))
    return at[rows], offsets[rows]


def _on_reference(readings: tuple[int, int], at: Int64Array, offsets: Int64Array) -> tuple[int, int]:
    """Readings of a clock as times of the reference, by the nearest offset outside of what lies between the two."""
    before = int(np.searchsorted(at, readings[0], "right")) - 1
    after = int(np.searchsorted(at, readings[1], "left"))
    first, last = max(before, 0), min(after, len(at) - 1)
    return readings[0] - int(offsets[first]), readings[1] - int(offsets[last])


def _thinned(snapshots: Sequence[Snapshot]) -> Sequence[Snapshot]:
    step = max(len(snapshots) // _MOMENTS, 1)
    return [*snapshots[::step], *([snapshots[-1]] if snapshots and (len(snapshots) - 1) % step else [])]


def _minus(a: Int64Array, b: Int64Array, missing: int, unknown: int) -> Int64Array:
    difference: Int64Array = np.where(b == missing, unknown, a - b)
    return difference


def _dates(raws: Sequence[_Raw]) -> bool:
    """Do times look like ns since 1970? Readings of a clock that began at boot do not."""
    starts = [int(raw.at.min()) for raw in raws if len(raw.at)]
    years_ns = 31_556_952 * 10**9
    return bool(starts) and 25 * years_ns < min(starts) < 130 * years_ns
