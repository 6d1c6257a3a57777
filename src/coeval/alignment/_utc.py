"""
From the reference clock to UTC: anchors as half-bounds, and each clock's two ways there joined.

An anchor says that when its clock showed x, UTC was at most this and at least that: two half-bounds of a `Fit` whose y
is UTC. Anchors of another clock reach the reference clock through the messages between the two: what was sent by the
reference clock happened no later than its arrival, and so no later than the arrival can have been by the other's own
anchors; the mirror for what it received.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from coeval.alignment._finding import Finding
from coeval.alignment._fit import UNKNOWN_EARLIEST, UNKNOWN_LATEST, Fit, HalfBounds, fit
from coeval.alignment._instants import UNKNOWN_ESTIMATE, middle
from coeval.alignment._messages import Messages
from coeval.alignment._rate import Int64Array
from coeval.alignment._stretch import Stretch
from coeval.alignment._track import Bounds, Track
from coeval.clocks import UTC, Anchor, ClockId, Grade


@dataclass(frozen=True, eq=False, slots=True)
class UtcTie:
    """
    How all clocks lie against UTC.

    Attributes:
        tracks: every clock's way there.
        stretch: how the reference clock lies against UTC.
    """

    tracks: Mapping[ClockId, Track]
    stretch: Stretch


@dataclass(frozen=True, eq=False, slots=True)
class _ReferenceFit:
    """The reference clock against UTC, one fit per grade: the assumed one may rest on assumed bounds of others."""

    declared: Fit
    assumed: Fit

    def bounds(self, readings: Int64Array, grade: Grade) -> Bounds:
        earliest, latest = self.declared.bounds(readings, grade)
        if grade == "assumed" and self.assumed is not self.declared:
            earliest_assumed, latest_assumed = self.assumed.bounds(readings, grade)
            np.maximum(earliest, earliest_assumed, out=earliest)
            np.minimum(latest, latest_assumed, out=latest)
        return Bounds.of(earliest, latest)

    def declared_at(self, reading: int) -> tuple[int, int]:
        return self.declared.declared.at_one(reading)


@dataclass(frozen=True, eq=False, slots=True)
class _OwnFit:
    """One stretch of a clock against UTC by its own anchors."""

    anchors: Sequence[Anchor]
    fit: Fit


@dataclass(frozen=True, eq=False, slots=True)
class _TwoWays:
    """One stretch of a clock against UTC: by way of the reference clock, and by its own anchors if it has any."""

    track: Track
    reference: _ReferenceFit
    own: _OwnFit | None

    def bounds(self, readings: Int64Array, grade: Grade) -> Bounds:
        on_reference = self.track.bounds(readings, grade)
        earliest = self.reference.bounds(on_reference.earliest, grade).earliest
        earliest[on_reference.earliest == UNKNOWN_EARLIEST] = UNKNOWN_EARLIEST
        latest = self.reference.bounds(on_reference.latest, grade).latest
        latest[on_reference.latest == UNKNOWN_LATEST] = UNKNOWN_LATEST
        if self.own is not None:
            own_earliest, own_latest = self.own.fit.bounds(readings, grade)
            np.maximum(earliest, own_earliest, out=earliest)
            np.minimum(latest, own_latest, out=latest)
        # With one side known, the middle of UTC as the reference clock has it: its half width is not this clock's.
        one_sided = self.reference.bounds(on_reference.estimate, grade).estimate
        one_sided[on_reference.estimate == UNKNOWN_ESTIMATE] = UNKNOWN_ESTIMATE
        return Bounds(earliest, middle(earliest, latest, one_sided), latest)

    def declared_at(self, reading: int) -> tuple[int, int]:
        earliest, latest = self.track.declared_at(reading)
        if earliest != UNKNOWN_EARLIEST:
            earliest = self.reference.declared_at(earliest)[0]
        if latest != UNKNOWN_LATEST:
            latest = self.reference.declared_at(latest)[1]
        if self.own is not None:
            own_earliest, own_latest = self.own.fit.declared.at_one(reading)
            earliest, latest = max(earliest, own_earliest), min(latest, own_latest)
        return earliest, latest


def tie_to_utc(
    messages: Messages,
    reference: ClockId,
    anchors: Sequence[Anchor],
    stretches: Mapping[ClockId, Sequence[Stretch]],
    splits: Mapping[ClockId, Sequence[int]],
    tracks: Mapping[ClockId, Track],
    bound: Callable[[ClockId], Fraction],
) -> tuple[UtcTie | None, list[Finding]]:
    """
    Tie every clock to UTC, or say why not.

    Args:
        stretches: of each clock but the reference, against the reference.
        tracks: of every clock, to the reference.
        bound: the declared rate bound of each clock; UTC itself has none.

    Returns:
        None if there are no anchors, if they contradict each other, or if none says anything about the reference clock
        on both sides; and the findings that say so.
    """
    if not anchors:
        return None, []
    own: dict[ClockId, dict[int, _OwnFit]] = {}
    for clock in dict.fromkeys(anchor.clock for anchor in anchors):
        if clock != reference:
            own[clock] = _own_fits(clock, [a for a in anchors if a.clock == clock], splits.get(clock, ()), bound(clock))
    for fits in own.values():
        for found in fits.values():
            if found.fit.contradiction is not None:
                upper, lower = found.fit.contradiction
                return None, [_contradiction(found.anchors[upper], found.anchors[lower])]

    direct = [anchor for anchor in anchors if anchor.clock == reference]
    via = {grade: _Via(messages, stretches, own, grade) for grade in ("declared", "assumed")}
    declared = fit(_half_bounds(direct) + via["declared"].half_bounds, bound(reference))
    if declared.contradiction is not None:
        upper, lower = declared.contradiction
        return None, [
            _contradiction(
                direct[upper] if upper < len(direct) else via["declared"].upper_anchor(upper - len(direct)),
                direct[lower] if lower < len(direct) else via["declared"].lower_anchor(lower - len(direct)),
            )
        ]
    if declared.declared.upper is None or declared.declared.lower is None:
        return None, [_unused(reference, anchors)]
    assumed = declared
    if own:
        assumed = fit(_half_bounds(direct) + via["assumed"].half_bounds, bound(reference))
        if assumed.contradiction is not None:
            assumed = declared
    tie = _ReferenceFit(declared, assumed)
    empty = np.empty(0, dtype=np.int64)
    stretch = Stretch(reference, UTC, 0, empty, empty, declared, bound(reference), len(direct))
    to_utc = {reference: Track((), (tie,))}
    for clock, track in tracks.items():
        if clock != reference:
            numbers = range(len(splits.get(clock, ())) + 1)
            pieces = [_TwoWays(track, tie, own.get(clock, {}).get(number)) for number in numbers]
            to_utc[clock] = Track(splits.get(clock, ()), pieces)
    return UtcTie(to_utc, stretch), []


def _own_fits(
    clock: ClockId, anchors: Sequence[Anchor], splits: Sequence[int], slope_limit: Fraction
) -> dict[int, _OwnFit]:
    by_number: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        by_number.setdefault(int(np.searchsorted(splits, anchor.reading_ns, side="right")), []).append(anchor)
    return {number: _OwnFit(part, fit(_half_bounds(part), slope_limit)) for number, part in by_number.items()}


class _Via:
    """The half-bounds of the reference clock against UTC that other clocks' anchors give through messages."""

    def __init__(
        self,
        messages: Messages,
        stretches: Mapping[ClockId, Sequence[Stretch]],
        own: Mapping[ClockId, Mapping[int, _OwnFit]],
        grade: Grade,
    ) -> None:
        self._upper: list[tuple[_OwnFit, Int64Array]] = []
        self._lower: list[tuple[_OwnFit, Int64Array]] = []
        arrived_by_ns = messages.received_by_ns
        upper_x, upper_y, lower_x, lower_y = [], [], [], []
        for clock, fits in own.items():
            for stretch in stretches.get(clock, ()):
                found = fits.get(stretch.number)
                if found is None or not stretch.trusted:
                    continue
                arrived, departed = arrived_by_ns[stretch.received], messages.sent_ns[stretch.sent]
                latest, earliest = found.fit.bounds(arrived, grade)[1], found.fit.bounds(departed, grade)[0]
                known = latest != UNKNOWN_LATEST
                upper_x.append(messages.sent_ns[stretch.received][known])
                upper_y.append((latest - messages.delay_ns_min[stretch.received])[known])
                self._upper.append((found, arrived[known]))
                known = earliest != UNKNOWN_EARLIEST
                lower_x.append(arrived_by_ns[stretch.sent][known])
                lower_y.append((earliest + messages.delay_ns_min[stretch.sent])[known])
                self._lower.append((found, departed[known]))
        self.half_bounds = HalfBounds.none()
        if self._upper:
            self.half_bounds = HalfBounds(*map(np.concatenate, (upper_x, upper_y, lower_x, lower_y)))

    def upper_anchor(self, index: int) -> Anchor:
        """The anchor behind one half-bound from above."""
        for found, readings in self._upper:
            if index < len(readings):
                side = found.fit.declared.upper
                assert side is not None
                return found.anchors[side.set_by(int(readings[index]) - found.fit.declared.x_origin)]
            index -= len(readings)
        raise AssertionError("a half-bound without an anchor; please report this")

    def lower_anchor(self, index: int) -> Anchor:
        """The anchor behind one half-bound from below."""
        for found, readings in self._lower:
            if index < len(readings):
                side = found.fit.declared.lower
                assert side is not None
                return found.anchors[side.set_by(found.fit.declared.x_origin - int(readings[index]))]
            index -= len(readings)
        raise AssertionError("a half-bound without an anchor; please report this")


def _half_bounds(anchors: Sequence[Anchor]) -> HalfBounds:
    readings = np.array([anchor.reading_ns for anchor in anchors], dtype=np.int64)
    latest = np.array([anchor.latest_ns for anchor in anchors], dtype=np.int64)
    earliest = np.array([anchor.earliest_ns for anchor in anchors], dtype=np.int64)
    return HalfBounds(readings, latest, readings, earliest)


def _contradiction(upper: Anchor, lower: Anchor) -> Finding:
    return Finding(
        "anchor contradiction",
        upper.clock,
        "Nothing is placed on UTC, because two anchors cannot both be true within the declared rate bounds: "
        f"{_described(upper)} and {_described(lower)}. Leave out the source that is wrong, or widen its error.",
        2,
        anchors=(upper, lower),
    )


def _unused(reference: ClockId, anchors: Sequence[Anchor]) -> Finding:
    clocks = ", ".join(dict.fromkeys(anchor.clock for anchor in anchors))
    return Finding(
        "anchor unused",
        anchors[0].clock,
        f"Nothing is placed on UTC: the {len(anchors)} anchors are on {clocks}, and no messages in both directions tie "
        f"that to the reference clock {reference}. Give such messages, or anchors on {reference}.",
        len(anchors),
        anchors=tuple(anchors[:2]),
    )


def _described(anchor: Anchor) -> str:
    return f"{anchor.source}: {anchor.clock} {anchor.reading_ns} is UTC {anchor.earliest_ns} .. {anchor.latest_ns}"
