"""
Alignment: from messages and anchors to one map that places every reading of every clock on one axis.

    messages of a pair  ->  half-bounds  ->  Fit  (_fit.py)     clock -> reference clock, per stretch
    anchors of a clock  ->  half-bounds  ->  Fit                clock -> UTC
    both                ->  Track (_track.py)                   clock -> what instants count on

Every clock is tied to one reference clock by the messages between the two. Without anchors instants count on the
reference clock. With anchors they count on UTC, and a clock gets there by two ways at once: by its own anchors, and by
the reference clock, whose bounds on UTC take in the anchors of all others through each message. That one step is what
keeps order: for a message from a to b the bounds of a are not above those of b on either side, so neither are the
midpoints, and corrected times of accepted messages never run backwards.

Not here yet: messages between two clocks neither of which is the reference narrow nothing (they do prove order).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from types import MappingProxyType

import numpy as np

from coeval.alignment._direct_order import DirectOrder
from coeval.alignment._finding import Finding, FindingKind
from coeval.alignment._fit import UNKNOWN_EARLIEST, UNKNOWN_LATEST, shifted
from coeval.alignment._instants import UNKNOWN_ESTIMATE, Instants, Offsets
from coeval.alignment._messages import Messages, described
from coeval.alignment._rate import BoolArray, Int64Array, ppm
from coeval.alignment._report import ClockFit, clock_fit
from coeval.alignment._stretch import Stretch, checked, stretches_of
from coeval.alignment._track import Bounds, Track
from coeval.alignment._utc import tie_to_utc
from coeval.clocks import UTC, Anchor, ClockId, Grade, Instant, Stamp
from coeval.errors import ClocksNotRelated

# Of a clock of which nothing is declared. Raw oscillators are specified to 20 to 50 ppm; a wall clock that is being
# slewed can be off by 500 ppm (ntpd) or 83 333 ppm (chrony) and must be declared.
RATE_BOUND_PPM_DEFAULT = 100.0

# Two clocks at this bound may still not stand still against each other.
RATE_BOUND_PPM_LIMIT = 200_000.0


@dataclass(frozen=True, eq=False, slots=True)
class Alignment:
    """
    Where every reading of every clock lies. Immutable; made by `align`.

    Attributes:
        reference: what instants count on: UTC, or the reference clock.
        reference_clock: the clock that all others were measured against.
        clocks: every clock of which there was any evidence, the reference clock first.
        findings: what the evidence has wrong with it, and what of it was not used.
    """

    reference: ClockId
    reference_clock: ClockId
    clocks: tuple[ClockId, ...]
    findings: tuple[Finding, ...]
    _epoch_ns: int = field(repr=False)
    _to_clock: Mapping[ClockId, Track] = field(repr=False)
    _to_utc: Mapping[ClockId, Track] | None = field(repr=False)
    _stretches: tuple[Stretch, ...] = field(repr=False)
    _order: DirectOrder = field(repr=False)

    @property
    def on_utc(self) -> bool:
        """Whether instants count on UTC."""
        return self._to_utc is not None

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

        Within one clock no column ever runs backwards. Of an accepted message, the send's estimate is not after the
        receive's (taken at the end of its resolution).

        Args:
            readings_ns: int64, shape (n,), any order.

        Raises:
            ClocksNotRelated: There was no evidence of this clock at all.
        """
        readings = np.asarray(readings_ns, dtype=np.int64)
        track = self._track(clock, self._to_clock if self._to_utc is None else self._to_utc)
        earliest, estimate, latest = track.bounds(readings, grade)
        if self._to_utc is None:
            earliest = shifted(earliest, self._epoch_ns, UNKNOWN_EARLIEST)
            latest = shifted(latest, self._epoch_ns, UNKNOWN_LATEST)
            estimate = shifted(estimate, self._epoch_ns, UNKNOWN_ESTIMATE)
        return Instants(self.reference, earliest, estimate, latest, grade)

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
        earliest, estimate, latest = self._track(clock, self._to_clock).bounds(readings, grade)
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
        else by their declared bounds on the reference clock or on UTC. Costs some microseconds, once a pair of clocks
        was asked for.

        Returns:
            True: certainly before. False: certainly not before. None: not known.

        Raises:
            ClocksNotRelated: There was no evidence at all of one of the clocks.
        """
        for stamp in (first, second):
            self._track(stamp.clock, self._to_clock)
        if first.clock == second.clock:
            return first < second
        forth, back = self._order.proves(first, second), self._order.proves(second, first)
        if forth or back:
            return not back  # both: without a nanosecond between them, a tie
        # On UTC two clocks share the error of the way there, so the reference clock's own axis tells more.
        for tracks in (self._to_clock, self._to_utc):
            if tracks is not None:
                order = _order_on(tracks, first, second)
                if order is not None:
                    return order
        return None

    def report(self) -> tuple[ClockFit, ...]:
        """
        How each clock lies against the reference clock, one row per stretch between known steps. On UTC, the first row
        says how the reference clock lies against UTC.
        """
        return tuple(clock_fit(stretch, self.findings) for stretch in self._stretches)

    def _track(self, clock: ClockId, tracks: Mapping[ClockId, Track]) -> Track:
        track = tracks.get(clock)
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
        messages: the evidence. Only hard messages to or from the reference clock narrow bounds; `findings` count the
            others.
        reference: the clock that all others are measured against, such as the driver's. It must not step.
        epoch_ns: without anchors, added to every instant so that the numbers look like dates: a definition, without
            error. With anchors it has no part.
        anchors: evidence of UTC, on the reference clock or on any clock that exchanged messages with it.
        segments: the readings at which a clock is known to have stepped, such as after a suspend; what was before says
            nothing about the offset after. A clock whose readings go back at a step must get a new id there instead.
        rate_bound_ppm: the declared rate bound of each clock (100 where a mapping leaves one out): while the clock
            counts one second, between 1 / (1 + bound) and 1 + bound seconds pass. Two clocks then keep the rate
            between them within the sum and the product of their bounds.

    Raises:
        ValueError: A rate bound that is negative or above 200 000 ppm, a segment of the reference clock, segments that
            do not increase, or readings of one clock that are more than 73 years apart.
    """
    bound = partial(_rate_bound, rate_bound_ppm)
    for clock, splits in segments.items():
        if clock == reference:
            raise ValueError(
                f"segments were given for the reference clock {reference}: choose a reference that did not step, or "
                "give the clock a new id from each step on"
            )
        if list(splits) != sorted(set(splits)):
            raise ValueError(f"the segments of clock {clock} are {list(splits)}: give increasing readings, each once")
    anchors = tuple(anchors)
    clocks = tuple(dict.fromkeys((reference, *messages.clocks, *(anchor.clock for anchor in anchors))))
    findings = _unused(messages, reference)
    trusted = messages.hard.copy()
    stretches: dict[ClockId, list[Stretch]] = {}
    for clock, rows in _rows_by_clock(messages, reference, clocks).items():
        splits = segments.get(clock, ())
        slope_limit = bound(clock) + bound(reference) + bound(clock) * bound(reference)
        parts, found = checked(
            messages, stretches_of(messages, clock, reference, rows, splits, slope_limit, bound(reference)), splits
        )
        anchored = np.searchsorted(splits, [anchor.reading_ns for anchor in anchors if anchor.clock == clock], "right")
        stretches[clock] = [replace(part, anchor_count=int((anchored == part.number).sum())) for part in parts]
        findings += found
        for part in parts:
            if not part.trusted:
                trusted[part.sent] = trusted[part.received] = False
    to_clock = {reference: Track((), (_Itself(),))}
    for clock, parts in stretches.items():
        to_clock[clock] = Track(segments.get(clock, ()), parts)
    tie, found = tie_to_utc(messages, reference, anchors, stretches, segments, to_clock, bound)
    findings += found
    rows_of_report = [part for clock in clocks if clock != reference for part in stretches[clock]]
    return Alignment(
        reference if tie is None else UTC,
        reference,
        clocks,
        tuple(findings),
        epoch_ns,
        to_clock,
        None if tie is None else tie.tracks,
        tuple(rows_of_report if tie is None else [tie.stretch, *rows_of_report]),
        DirectOrder(messages, trusted),
    )


def _order_on(tracks: Mapping[ClockId, Track], first: Stamp, second: Stamp) -> bool | None:
    earliest, latest = tracks[first.clock].declared_at(first.reading_ns)
    other_earliest, other_latest = tracks[second.clock].declared_at(second.reading_ns)
    if latest != UNKNOWN_LATEST and other_earliest != UNKNOWN_EARLIEST and latest < other_earliest:
        return True
    if earliest != UNKNOWN_EARLIEST and other_latest != UNKNOWN_LATEST and earliest >= other_latest:
        return False
    return None


class _Itself:
    """The reference clock on its own axis."""

    def bounds(self, readings: Int64Array, grade: Grade) -> Bounds:
        return Bounds(readings.copy(), readings.copy(), readings.copy())

    def declared_at(self, reading: int) -> tuple[int, int]:
        return reading, reading


def _rate_bound(rate_bound_ppm: float | Mapping[ClockId, float], clock: ClockId) -> Fraction:
    if isinstance(rate_bound_ppm, Mapping):
        value = rate_bound_ppm.get(clock, RATE_BOUND_PPM_DEFAULT)
    else:
        value = rate_bound_ppm
    if not 0 <= value <= RATE_BOUND_PPM_LIMIT:
        raise ValueError(
            f"the rate bound of clock {clock} is {value} ppm: give one from 0 to {RATE_BOUND_PPM_LIMIT:g} (100 for a "
            "raw clock, 500 for a wall clock that ntpd slews, 83333 for one that chrony slews)"
        )
    return ppm(value)


def _rows_by_clock(messages: Messages, reference: ClockId, clocks: Sequence[ClockId]) -> dict[ClockId, Int64Array]:
    """Which hard messages tie each clock to the reference; an entry for every clock but the reference."""
    none = np.empty(0, dtype=np.int64)
    rows_of: dict[ClockId, Int64Array] = {clock: none for clock in clocks if clock != reference}
    if reference not in messages.clocks:
        return rows_of
    code = messages.clocks.index(reference)
    rows = np.flatnonzero(messages.hard & ((messages.sender == code) != (messages.receiver == code)))
    other = np.where(messages.sender[rows] == code, messages.receiver[rows], messages.sender[rows])
    order = np.argsort(other, kind="stable")
    rows, other = rows[order], other[order]
    starts = np.searchsorted(other, np.arange(len(messages.clocks) + 1))
    for number, clock in enumerate(messages.clocks):
        if clock != reference:
            rows_of[clock] = rows[starts[number] : starts[number + 1]]
    return rows_of


def _unused(messages: Messages, reference: ClockId) -> list[Finding]:
    """The messages that narrow no bound, counted by reason and clock."""
    code = messages.clocks.index(reference) if reference in messages.clocks else -1
    same = messages.sender == messages.receiver
    reversed_by_one_clock = same & messages.hard & (messages.sent_ns > messages.received_by_ns)
    elsewhere = messages.hard & ~same & (messages.sender != code) & (messages.receiver != code)
    other = np.where(messages.sender == code, messages.receiver, messages.sender)
    reasons: tuple[tuple[FindingKind, BoolArray, str], ...] = (
        (
            "soft messages",
            ~messages.hard,
            "are not hard (their order is only likely), so they narrow no bound and prove no order",
        ),
        (
            "unrelated messages",
            elsewhere,
            f"are with another clock than the reference {reference}: they prove an order, but narrow no bound yet",
        ),
        (
            "same-clock message",
            reversed_by_one_clock,
            "were received before they were sent, by one clock: two clocks share this id, or the clock went back",
        ),
    )
    findings = []
    for kind, chosen, reason in reasons:
        rows = np.flatnonzero(chosen)
        for number, count in zip(*np.unique(other[rows], return_counts=True), strict=True):
            first = rows[other[rows] == number][:2]
            examples = tuple(messages[int(row)] for row in first)
            clock = messages.clocks[number]
            text = f"{count} messages of clock {clock} {reason}; the first: {described(examples[0])}."
            findings.append(Finding(kind, clock, text, int(count), messages=examples))
    return findings


def _difference(readings: Int64Array, others: Int64Array, missing: int, unknown: int) -> Int64Array:
    """Readings minus others; `unknown` where the other is `missing` or the difference does not fit int64."""
    difference = readings - others
    overflow = ((readings ^ others) & (readings ^ difference)) < 0
    return np.where((others == missing) | overflow, unknown, difference)
