"""
Alignment: from messages and anchors to one map that places every reading of every clock on one axis.

    messages  ->  what is believed, and where clocks stepped (_sorting.py)   ->  strands, rows
                                                                              ->  a system on the reference clock's axis
    anchors   ----------------------------------------------------------------->  another one on UTC's
    system    ->  tightest bounds in both grades (_solution.py)  ->  a track for each clock (_track.py)

Every message between any two clocks is a constraint of one system, so a clock that never spoke to the reference is
bounded through those that did. Without anchors instants count on the reference clock. With anchors that reach it from
both sides they count on UTC; what is known between clocks alone, offsets and orders, is still told on the reference's
own axis, which shares no error with UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from coeval.alignment._axis import Axis, axis_of
from coeval.alignment._band import Band, Bounds
from coeval.alignment._clock_map import ClockMap, bounds_by
from coeval.alignment._clock_step import ClockStep, clock_step
from coeval.alignment._direct_order import DirectOrder
from coeval.alignment._duration import Duration, durations_between
from coeval.alignment._envelope import Potential, Slopes, is_known
from coeval.alignment._explanation import Explanation, explained
from coeval.alignment._finding import Finding, FindingKind
from coeval.alignment._instants import (
    UNKNOWN_EARLIEST,
    UNKNOWN_ESTIMATE,
    UNKNOWN_LATEST,
    Instants,
    Offsets,
)
from coeval.alignment._messages import Messages, described
from coeval.alignment._rate import BoolArray, Int64Array, grid_up, ppm
from coeval.alignment._rate_bound import RATE_BOUND_PPM_DEFAULT
from coeval.alignment._report import ClockFit, clock_fit
from coeval.alignment._sieve import worth_solving
from coeval.alignment._solution import Solution, solution_of, solve_declared
from coeval.alignment._sorting import (
    Sorted,
    everything_believed,
    hard_rows,
    sorting_findings,
    with_pairs_scanned,
    without_circle,
)
from coeval.alignment._strands import Sorting, first_strands
from coeval.alignment._system import Result
from coeval.alignment._track import Track
from coeval.clocks import UTC, Anchor, ClockId, Grade, Instant, Message, Stamp
from coeval.errors import ClocksNotRelated

# Two clocks at this bound may still not stand still against each other.
RATE_BOUND_PPM_LIMIT = 200_000.0


class _Placing(NamedTuple):
    """
    One axis, solved.

    Attributes:
        tracks: of each clock, by grade.
        likely: those whose estimates count, for both grades.
    """

    solution: Solution
    tracks: Mapping[Grade, Mapping[ClockId, Track]]
    likely: Mapping[ClockId, Track]

    @classmethod
    def of(cls, solution: Solution, sorting: Sorting, clocks: Sequence[ClockId]) -> _Placing:
        """Put the bands of each clock's strands together."""
        own: dict[int, list[int]] = {}
        for number, strand in enumerate(sorting.strands):
            own.setdefault(strand.clock, []).append(number)

        axis, starts = solution.axis, solution.axis.system.starts
        readings = [
            axis.system.x[starts[number] : starts[number + 1]] + axis.x_origins[number]
            if sorting.strands[number].clock in sorting.cuts
            else np.empty(0, dtype=np.int64)
            for number in range(len(sorting.strands))
        ]

        def tracks(bands: Sequence[Band]) -> dict[ClockId, Track]:
            return {
                clock: Track(
                    [bands[number] for number in own[code]],
                    sorting.cuts.get(code, ()),
                    [readings[number] for number in own[code]],
                )
                for code, clock in enumerate(clocks)
            }

        by_grade: dict[Grade, dict[ClockId, Track]] = {
            "declared": tracks(solution.declared.bands),
            "assumed": tracks(solution.assumed.bands),
        }
        return cls(solution, by_grade, tracks(solution.likely))

    def bounds(self, clock: ClockId, readings: Int64Array, grade: Grade) -> Bounds:
        """Place readings of a clock that is there."""
        return bounds_by(*self.tracks_of(clock, grade), readings)

    def tracks_of(self, clock: ClockId, grade: Grade) -> tuple[Track, Track | None, Track]:
        """What `bounds_by` takes."""
        is_other = grade == "assumed" and self.solution.assumed is not self.solution.declared
        widest = self.tracks["declared"][clock] if is_other else None
        return self.tracks[grade][clock], widest, self.likely[clock]


@dataclass(frozen=True, eq=False, slots=True)
class Alignment:
    """
    Where every reading of every clock lies. Immutable; made by `align`.

    Attributes:
        reference: what instants count on: UTC, or the reference clock.
        reference_clock: the clock that all others were measured against.
        clocks: every clock of which there was any evidence, the reference clock first.
        components: the clocks that believed messages relate, the reference clock's component first. Nothing is known
            between clocks of two components.
        steps: where a clock was set, found by its messages or given in `segments`.
        rejected: which rows of the messages are not believed, because they contradict others: int64, ascending;
            `findings` say why.
        unsorted: which rows came so near a step that it cannot be told on which side of it they were: they narrow no
            bound, and estimates are not held to them.
        findings: what the evidence has wrong with it, and what of it was not used.
    """

    reference: ClockId
    reference_clock: ClockId
    clocks: tuple[ClockId, ...]
    components: tuple[tuple[ClockId, ...], ...]
    steps: tuple[ClockStep, ...]
    rejected: Int64Array
    unsorted: Int64Array
    findings: tuple[Finding, ...]
    _messages: Messages = field(repr=False)
    _anchors: tuple[Anchor, ...] = field(repr=False)
    _sorting: Sorting = field(repr=False)
    _epoch_ns: int = field(repr=False)
    _on_clock: _Placing = field(repr=False)
    _on_utc: _Placing | None = field(repr=False)
    _report: tuple[ClockFit, ...] = field(repr=False)
    _order: DirectOrder = field(repr=False)

    @property
    def on_utc(self) -> bool:
        """Whether instants count on UTC."""
        return self._on_utc is not None

    def instant(self, stamp: Stamp, grade: Grade = "declared") -> Instant:
        """
        Place one stamp. A side that nothing is known of is None.

        Raises:
            ClocksNotRelated: The stamp is of a clock of which there was no evidence at all.
        """
        return self.instants(stamp.clock, np.array([stamp.reading_ns], dtype=np.int64), grade)[0]

    def instants(self, clock: ClockId, readings_ns: Int64Array, grade: Grade = "declared") -> Instants:
        """
        Place many readings of one clock.

        Within one clock no column ever runs backwards, but where the clock itself was set back. Of an accepted message,
        the send's estimate is not after the receive's (taken at the end of its resolution).

        Args:
            readings_ns: int64, shape (n,), any order.

        Raises:
            ClocksNotRelated: There was no evidence of this clock at all.
        """
        return self.clock_map(clock, grade).instants(readings_ns)

    def clock_map(self, clock: ClockId, grade: Grade = "declared") -> ClockMap:
        """
        What `instants` does for one clock, as a small value that can be sent to other processes.

        Raises:
            ClocksNotRelated: There was no evidence of this clock at all.
        """
        placing = self._on_clock if self._on_utc is None else self._on_utc
        self._track(clock, placing, grade)
        epoch_ns = self._epoch_ns if self._on_utc is None else 0
        return ClockMap(clock, self.reference, grade, *placing.tracks_of(clock, grade), epoch_ns)

    def offset(self, clock: ClockId, readings_ns: Int64Array, grade: Grade = "declared") -> Offsets:
        """
        How far a clock is ahead of the reference clock, as it shows each of these readings.

        Offset is clock minus reference clock, reading minus reading, whatever instants count on; `epoch_ns` has no
        part in it. Positive: this clock is ahead.

        Args:
            readings_ns: int64, shape (n,), readings of `clock`.

        Raises:
            ClocksNotRelated: There was no evidence of this clock at all.
        """
        readings = np.asarray(readings_ns, dtype=np.int64)
        self._track(clock, self._on_clock, grade)
        earliest, estimate, latest = self._on_clock.bounds(clock, readings, grade)
        return Offsets(
            self.reference_clock,
            _difference(readings, latest, UNKNOWN_LATEST, UNKNOWN_EARLIEST),
            _difference(readings, estimate, UNKNOWN_ESTIMATE, UNKNOWN_ESTIMATE),
            _difference(readings, earliest, UNKNOWN_EARLIEST, UNKNOWN_LATEST),
            grade,
        )

    def before(self, first: Stamp, second: Stamp) -> bool | None:
        """
        Did the first happen before the second?

        Stamps of one clock are ordered by their readings; equal readings are a tie, and a tie is not before. Stamps of
        two clocks are ordered by a message that was sent at or after the one and had arrived at or before the other,
        else by their declared bounds on the reference clock or on UTC, else by `duration`, which knows the error that
        the two share. The first three cost microseconds, once a pair of clocks was asked for; the last one a solution
        of the whole system.

        Returns:
            True: certainly before. False: certainly not before. None: not known.

        Raises:
            ClocksNotRelated: There was no evidence at all of one of the clocks.
        """
        for stamp in (first, second):
            self._track(stamp.clock, self._on_clock, "declared")
        if first.clock == second.clock and not self._was_set_back(first.clock):
            return first < second
        forth, back = self._order.proves(first, second), self._order.proves(second, first)
        if forth or back:
            return not back  # both: without a nanosecond between them, a tie
        # On UTC two clocks share the error of the way there, so the reference clock's own axis tells more.
        for placing in (self._on_clock, self._on_utc):
            if placing is not None:
                order = _order_on(placing.tracks["declared"], first, second)
                if order is not None:
                    return order
        between = self.duration(first, second)
        if between.least_ns is not None and between.least_ns > 0:
            return True
        return False if between.greatest_ns is not None and between.greatest_ns <= 0 else None

    def duration(self, first: Stamp, second: Stamp, grade: Grade = "declared") -> Duration:
        """
        How long after the first the second happened, on the reference clock's axis; negative: before it.

        It uses what the two stamps share: two readings of one clock are as far apart as its rate allows, however little
        is known of when that was; and of two clocks, every way of messages between them counts. Costs a solution of
        the system that starts at the first stamp.

        Raises:
            ClocksNotRelated: There was no evidence at all of one of the clocks.
        """
        tracks = [self._track(stamp.clock, self._on_clock, grade) for stamp in (first, second)]
        found = self._on_clock.solution.grading(grade)
        strands = [
            [self._first_strand(stamp.clock) + number for number in track.strands_at(stamp.reading_ns)]
            for stamp, track in zip((first, second), tracks, strict=True)
        ]
        return durations_between(
            self._on_clock.solution.axis, found, (strands[0], first.reading_ns), (strands[1], second.reading_ns), grade
        )

    def explain(self, stamp: Stamp, grade: Grade = "declared") -> Explanation:
        """
        Which messages set the earliest and the latest time of a stamp, and by way of which clocks.

        Raises:
            ClocksNotRelated: There was no evidence of this clock at all.
        """
        placing = self._on_clock if self._on_utc is None else self._on_utc
        track = self._track(stamp.clock, placing, grade)
        numbers = track.strands_at(stamp.reading_ns)
        return explained(
            placing.solution,
            self._sorting,
            self._messages,
            self._anchors,
            self.instant(stamp, grade),
            stamp,
            [self._first_strand(stamp.clock) + number for number in numbers],
            grade,
        )

    def watermark(self, newest: Mapping[ClockId, int], grade: Grade = "declared") -> int | None:
        """
        A time that no event still to come can be before, if each clock has shown its reading in `newest`.

        Args:
            newest: of each clock that may still give events, a reading that all of them are at or after; a silent
                clock holds the mark back until it is left out.

        Returns:
            int64 ns on `reference`; None where some clock's earliest is not known.

        Raises:
            ValueError: `newest` is empty.
            ClocksNotRelated: There was no evidence of one of the clocks at all.
        """
        if not newest:
            raise ValueError("newest is empty: name a reading of each clock that may still give events")
        earliest = [self.instant(Stamp(clock, reading), grade).earliest_ns for clock, reading in newest.items()]
        known = [value for value in earliest if value is not None]
        return min(known) if len(known) == len(earliest) else None

    def turning_points(self, clock: ClockId, grade: Grade = "declared") -> Int64Array:
        """
        Readings of a clock among which its interval is narrowest and widest, within its evidence; int64, ascending.

        Raises:
            ClocksNotRelated: There was no evidence of this clock at all.
        """
        placing = self._on_clock if self._on_utc is None else self._on_utc
        bands = self._track(clock, placing, grade).bands
        return np.unique(np.concatenate([band.turning_points() for band in bands]))

    def report(self) -> tuple[ClockFit, ...]:
        """
        How each clock lies against the reference clock, one row per strand between steps. On UTC, the first row says
        how the reference clock lies against UTC.
        """
        return self._report

    @property
    def set_back(self) -> tuple[ClockId, ...]:
        """Clocks that were set back in between: their readings alone do not tell which came first."""
        return tuple(clock for clock in self._messages.clocks if self._was_set_back(clock))

    def _first_strand(self, clock: ClockId) -> int:
        code = self._messages.clocks.index(clock)
        return next(position for position, strand in enumerate(self._sorting.strands) if strand.clock == code)

    def _was_set_back(self, clock: ClockId) -> bool:
        code = self._messages.clocks.index(clock)
        return any(cut.is_set_back for cut in self._sorting.cuts.get(code, ()))

    def _track(self, clock: ClockId, placing: _Placing, grade: Grade) -> Track:
        track = placing.tracks[grade].get(clock)
        if track is None:
            raise ClocksNotRelated(
                f"cannot place readings of clock {clock} on {self.reference}: no message and no anchor names it. "
                f"Give messages between it and {self.reference_clock}, or leave its events out."
            )
        return track


def align(
    messages: Messages,
    *,
    reference: ClockId,
    epoch_ns: int = 0,
    anchors: Iterable[Anchor] = (),
    segments: Mapping[ClockId, Sequence[int]] = MappingProxyType({}),
    rate_bound_ppm: float | Mapping[ClockId, float] = RATE_BOUND_PPM_DEFAULT,
) -> Alignment:
    """
    Tie every clock to the reference clock and, if there are anchors, to UTC.

    Args:
        messages: the evidence. Only hard messages narrow bounds; `findings` count the others.
        reference: the clock that all others are measured against, such as the driver's.
        epoch_ns: without anchors, added to every instant so that the numbers look like dates: a definition, without
            error. With anchors it has no part.
        anchors: evidence of UTC, on any clocks.
        segments: the readings at which a clock is known to have stepped, such as after a suspend; what was before says
            nothing about the offset after. Steps that messages prove are found without. A clock whose readings go back
            at a given step must get a new id there instead.
        rate_bound_ppm: the declared rate bound of each clock (100 where a mapping leaves one out): while the clock
            counts one second, between 1 / (1 + bound) and 1 + bound seconds pass. Two clocks then keep the rate
            between them within the sum and the product of their bounds.

    Raises:
        ValueError: A rate bound that is negative or above 200 000 ppm, a segment of the reference clock, segments that
            do not increase, or readings of one clock that are more than 73 years apart.
    """
    bound = partial(_rate_bound, rate_bound_ppm)
    _check_segments(segments, reference)
    anchors = tuple(anchors)
    clocks = tuple(dict.fromkeys((reference, *messages.clocks, *(anchor.clock for anchor in anchors))))
    messages = messages.among(clocks)
    believed, axis, slopes, declared, costs = _believed(messages, clocks, segments, bound)
    sorting = believed.sorting
    free = np.array([number != believed.pinned for number in range(len(slopes))])
    on_clock = _Placing.of(solution_of(axis, slopes, costs, declared, free), sorting, messages.clocks)
    on_utc, utc_findings = _tie_to_utc(messages, believed, anchors, bound, on_clock.tracks["declared"])
    findings = (*_unused(messages), *sorting_findings(messages, believed), *utc_findings)
    return Alignment(
        reference if on_utc is None else UTC,
        reference,
        clocks,
        _components(sorting, messages),
        tuple(
            clock_step(step, messages, on_clock.tracks["declared"], believed) for step in believed.steps if step.is_told
        ),
        believed.rejected,
        believed.unsorted,
        findings,
        messages,
        anchors,
        sorting,
        epoch_ns,
        on_clock,
        on_utc,
        _reported(on_clock, on_utc, believed, messages, anchors, findings),
        DirectOrder(messages, _proves_order(messages, believed)),
    )


def _believed(
    messages: Messages,
    clocks: Sequence[ClockId],
    segments: Mapping[ClockId, Sequence[int]],
    bound: Callable[[ClockId], Fraction],
) -> tuple[Sorted, Axis, list[Slopes], Result, list[Potential]]:
    """Sort the evidence until what is believed holds no contradiction, and solve it."""
    reference = clocks[0]
    limits = _limits(clocks, bound)
    splits = [segments.get(clock, ()) for clock in clocks]
    rows = hard_rows(messages)
    is_sieved = not segments
    believed = everything_believed(
        messages, worth_solving(messages, rows, limits) if is_sieved else rows, splits, limits
    )
    while True:
        slopes = [
            Slopes(-believed.limits[each.clock], believed.limits[each.clock]) for each in believed.sorting.strands
        ]
        # While d true seconds pass, the reference counts at least d / (1 + bound).
        delay_rate = grid_up(bound(reference) / (1 + bound(reference)))
        axis = axis_of(reference, messages, believed.sorting, slopes, pinned=believed.pinned, delay_rate=delay_rate)
        declared, costs = solve_declared(axis, slopes)
        if declared.circle is None:
            return believed, axis, slopes, declared, costs
        if is_sieved and len(believed.sorting.rows) < len(rows):
            is_sieved = False
            believed = everything_believed(messages, rows, splits, limits)
        elif believed.is_scanned:
            in_circle = [row for row in axis.message_rows[list(declared.circle)].tolist() if row >= 0]
            believed = without_circle(messages, believed, in_circle)
        else:
            believed = with_pairs_scanned(messages, believed)


def _limits(clocks: Sequence[ClockId], bound: Callable[[ClockId], Fraction]) -> list[int]:
    """The declared rate bound of each clock against the first, on the grid."""
    reference = bound(clocks[0])
    return [0, *(grid_up(bound(clock) + reference + bound(clock) * reference) for clock in clocks[1:])]


def _check_segments(segments: Mapping[ClockId, Sequence[int]], reference: ClockId) -> None:
    for clock, splits in segments.items():
        if clock == reference:
            raise ValueError(
                f"segments were given for the reference clock {reference}: choose a reference that did not step, or "
                "give the clock a new id from each step on"
            )
        if list(splits) != sorted(set(splits)):
            raise ValueError(f"the segments of clock {clock} are {list(splits)}: give increasing readings, each once")


def _tie_to_utc(
    messages: Messages,
    believed: Sorted,
    anchors: Sequence[Anchor],
    bound: Callable[[ClockId], Fraction],
    tracks: Mapping[ClockId, Track],
) -> tuple[_Placing | None, list[Finding]]:
    """
    Place every clock on UTC by its anchors and by messages.

    Returns:
        None if there are no anchors, if they contradict each other, or if none says anything about the reference clock
        on both sides; and the findings that say so.
    """
    # Near a step, or where a clock that was set back showed readings twice, it cannot be told which strand an anchor is
    # of.
    anchors = [each for each in anchors if len(tracks[each.clock].strands_at(each.reading_ns)) == 1]
    if not anchors:
        return None, []
    clocks, sorting = messages.clocks, believed.sorting
    declared_against_reference = _limits(clocks, bound)
    raised = [max(0, own - usual) for own, usual in zip(believed.limits, declared_against_reference, strict=True)]
    limits = [grid_up(bound(clocks[strand.clock])) + raised[strand.clock] for strand in sorting.strands]
    slopes = [Slopes(-limit, limit) for limit in limits]
    strands = [_strand_of(anchor, clocks, sorting) for anchor in anchors]
    axis = axis_of(UTC, messages, sorting, slopes, pinned=None, delay_rate=0, anchors=anchors, anchor_strands=strands)
    declared, costs = solve_declared(axis, slopes)
    if declared.circle is not None:
        named = [anchors[row] for row in dict.fromkeys(axis.anchor_rows[list(declared.ends)].tolist()) if row >= 0]
        rows = [row for row in axis.message_rows[list(declared.circle)].tolist() if row >= 0]
        return None, [_anchor_contradiction(named, [messages[row] for row in rows])]
    own = slice(int(axis.system.starts[0]), int(axis.system.starts[1]))
    reached = is_known(declared.upper[own]) & is_known(-declared.lower[own])
    if not bool(reached.any()):
        return None, [_anchors_unused(clocks[0], anchors)]
    free = np.ones(len(slopes), dtype=np.bool_)
    return _Placing.of(solution_of(axis, slopes, costs, declared, free), sorting, messages.clocks), []


def _strand_of(anchor: Anchor, clocks: Sequence[ClockId], sorting: Sorting) -> int:
    code = clocks.index(anchor.clock)
    splits = [cut.after for cut in sorting.cuts.get(code, ())]
    first = int(first_strands(sorting.strands, len(clocks))[code])
    return first + int(np.searchsorted(splits, anchor.reading_ns, side="right"))


def _anchor_contradiction(anchors: Sequence[Anchor], messages: Sequence[Message]) -> Finding:
    named = " and ".join(
        f"{each.source}: {each.clock} {each.reading_ns} is UTC {each.earliest_ns} .. {each.latest_ns}"
        for each in anchors
    )
    return Finding(
        "anchor contradiction",
        anchors[0].clock if anchors else UTC,
        f"Nothing is placed on UTC, because anchors and messages cannot all be true within the declared rate bounds: "
        f"{named or 'no anchor alone is to blame'}. Leave out the source that is wrong, or widen its error.",
        len(anchors),
        messages=tuple(messages[:2]),
        anchors=tuple(anchors),
    )


def _anchors_unused(reference: ClockId, anchors: Sequence[Anchor]) -> Finding:
    clocks = ", ".join(dict.fromkeys(anchor.clock for anchor in anchors))
    return Finding(
        "anchor unused",
        anchors[0].clock,
        f"Nothing is placed on UTC: the {len(anchors)} anchors are on {clocks}, and no messages in both directions tie "
        f"that to the reference clock {reference}. Give such messages, or anchors on {reference}.",
        len(anchors),
        anchors=tuple(anchors[:2]),
    )


def _reported(
    on_clock: _Placing,
    on_utc: _Placing | None,
    believed: Sorted,
    messages: Messages,
    anchors: Sequence[Anchor],
    findings: Sequence[Finding],
) -> tuple[ClockFit, ...]:
    sorting = believed.sorting
    strands = [_strand_of(anchor, messages.clocks, sorting) for anchor in anchors]
    counts = np.bincount(np.array(strands, dtype=np.int64), minlength=len(sorting.strands)).tolist()
    sent, received = _counted(messages, believed)
    report = []
    if on_utc is not None:
        report.append(clock_fit(on_utc.solution, 0, sorting, messages, (sent[0], received[0]), counts[0], findings))
    for number, strand in enumerate(sorting.strands):
        if strand.clock != 0 or strand.number > 0:
            ends = sent[number], received[number]
            report.append(clock_fit(on_clock.solution, number, sorting, messages, ends, counts[number], findings))
    return tuple(report)


def _counted(messages: Messages, believed: Sorted) -> tuple[list[int], list[int]]:
    """How many believed messages each strand sent, and received; also those that the sieve found to be needless."""
    sorting, count = believed.sorting, len(believed.sorting.strands)
    if count > len(messages.clocks):  # where clocks stepped, nothing was sieved
        sent, received = sorting.sent_strand, sorting.received_strand
        return np.bincount(sent, minlength=count).tolist(), np.bincount(received, minlength=count).tolist()
    trusted = _trusted(messages, believed)
    senders, receivers = messages.sender[trusted], messages.receiver[trusted]
    return np.bincount(senders, minlength=count).tolist(), np.bincount(receivers, minlength=count).tolist()


def _trusted(messages: Messages, believed: Sorted) -> BoolArray:
    trusted: BoolArray = messages.hard & (messages.sender != messages.receiver)
    trusted[believed.rejected] = False
    return trusted


def _components(sorting: Sorting, messages: Messages) -> tuple[tuple[ClockId, ...], ...]:
    """Clocks that believed messages relate, by joining sets."""
    root = list(range(len(messages.clocks)))

    def find(code: int) -> int:
        while root[code] != code:
            root[code] = root[root[code]]
            code = root[code]
        return code

    rows = sorting.rows
    pairs = np.unique(messages.sender[rows].astype(np.int64) * len(root) + messages.receiver[rows])
    for one, other in (divmod(pair, len(root)) for pair in pairs.tolist()):
        first, second = sorted((find(one), find(other)))
        root[second] = first
    members: dict[int, list[ClockId]] = {}
    for code, clock in enumerate(messages.clocks):
        members.setdefault(find(code), []).append(clock)
    return tuple(tuple(clocks) for clocks in members.values())


def _proves_order(messages: Messages, believed: Sorted) -> BoolArray:
    """Believed messages, but not of clocks that were set back: their readings do not order."""
    trusted = _trusted(messages, believed)
    for code, cuts in believed.sorting.cuts.items():
        if any(cut.is_set_back for cut in cuts):
            trusted &= (messages.sender != code) & (messages.receiver != code)
    return trusted


def _order_on(tracks: Mapping[ClockId, Track], first: Stamp, second: Stamp) -> bool | None:
    earliest, latest = tracks[first.clock].at_one(first.reading_ns)
    other_earliest, other_latest = tracks[second.clock].at_one(second.reading_ns)
    if latest != UNKNOWN_LATEST and other_earliest != UNKNOWN_EARLIEST and latest < other_earliest:
        return True
    if earliest != UNKNOWN_EARLIEST and other_latest != UNKNOWN_LATEST and earliest >= other_latest:
        return False
    return None


def _rate_bound(rate_bound_ppm: float | Mapping[ClockId, float], clock: ClockId) -> Fraction:
    if isinstance(rate_bound_ppm, Mapping):
        value = rate_bound_ppm.get(clock, RATE_BOUND_PPM_DEFAULT)
    else:
        value = rate_bound_ppm
    if not 0 <= value <= RATE_BOUND_PPM_LIMIT:
        raise ValueError(
            f"the rate bound of clock {clock} is {value} ppm: give one from 0 to {RATE_BOUND_PPM_LIMIT:g} (100 for a "
            "raw clock, 1100 for a wall clock that ntpd slews, 91500 for one that chrony slews)"
        )
    return ppm(value)


def _unused(messages: Messages) -> list[Finding]:
    """The messages that narrow no bound, counted by reason and clock."""
    same = messages.sender == messages.receiver
    reasons: tuple[tuple[FindingKind, BoolArray, str], ...] = (
        (
            "soft messages",
            ~messages.hard,
            "are not hard (their order is only likely), so they narrow no bound and prove no order",
        ),
        (
            "same-clock message",
            _reversed(messages, same),
            "were received before they were sent, by one clock: two clocks share this id, or the clock went back",
        ),
    )
    findings = []
    other = np.maximum(messages.sender, messages.receiver)
    for kind, chosen, reason in reasons:
        rows = np.flatnonzero(chosen)
        for number, count in zip(*np.unique(other[rows], return_counts=True), strict=True):
            first = rows[other[rows] == number][:2]
            examples = tuple(messages[int(row)] for row in first)
            clock = messages.clocks[number]
            text = f"{count} messages of clock {clock} {reason}; the first: {described(examples[0])}."
            findings.append(Finding(kind, clock, text, int(count), messages=examples))
    return findings


def _reversed(messages: Messages, same: BoolArray) -> BoolArray:
    """Hard messages among these that were received before they were sent."""
    found = same & messages.hard
    if bool(found.any()):
        found &= messages.sent_ns > messages.received_by_ns
    return found


def _difference(readings: Int64Array, others: Int64Array, missing: int, unknown: int) -> Int64Array:
    """Readings minus others; `unknown` where the other is `missing` or the difference does not fit int64."""
    difference = readings - others
    overflow = ((readings ^ others) & (readings ^ difference)) < 0
    return np.where((others == missing) | overflow, unknown, difference)
