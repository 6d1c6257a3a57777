"""
A stretch: one clock between two known steps, and what messages say about it against the reference clock.

Sound because a clock's reading never goes back: a stamp cut to a grain of q means that the event came at or after the
reading `stamp` and no later than the reading `stamp + q`. So of a message

    clock -> reference    when the clock showed `sent`, the reference showed at most `received + q - delay`
    reference -> clock    when the clock showed `received + q`, the reference showed at least `sent + delay`

and the sender's resolution does not matter. The proven delay is in true nanoseconds; the reference counts at least
delay / (1 + its rate bound) meanwhile.

Source: clocks.md section 4.1, which widens by rate * q instead of moving the reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from coeval.alignment._finding import Finding
from coeval.alignment._fit import Fit, HalfBounds, fit
from coeval.alignment._messages import Messages, described
from coeval.alignment._rate import Int64Array, Rate
from coeval.alignment._track import Bounds
from coeval.clocks import ClockId, Grade


@dataclass(frozen=True, eq=False, slots=True)
class Stretch:
    """
    One clock between two known steps, against a reference.

    Attributes:
        clock, reference: y of `fit` is the reference's reading, x the clock's.
        number: which stretch of that clock, from 0.
        sent, received: which messages from and to this clock say so, as indices; half-bounds in that order.
        fit: what they say.
        slope_limit: the declared bound of the rate between the two.
        anchor_count: how many anchors say so.
        trusted: False where the evidence contradicts itself; then nothing is known here.
    """

    clock: ClockId
    reference: ClockId
    number: int
    sent: Int64Array
    received: Int64Array
    fit: Fit
    slope_limit: Fraction
    anchor_count: int = 0
    trusted: bool = True

    def bounds(self, readings: Int64Array, grade: Grade) -> Bounds:
        """Place readings on the reference; a `Piece` of a `Track`."""
        return Bounds.of(*(self.fit if self.trusted else _NOTHING).bounds(readings, grade))

    def declared_at(self, reading: int) -> tuple[int, int]:
        """Earliest and latest of one reading; the other half of a `Piece`."""
        return (self.fit if self.trusted else _NOTHING).declared.at_one(reading)


_NOTHING = fit(HalfBounds.none(), Fraction(0))


def stretches_of(
    messages: Messages,
    clock: ClockId,
    reference: ClockId,
    rows: Int64Array,
    splits: Sequence[int],
    slope_limit: Fraction,
    reference_slope_limit: Fraction,
) -> list[Stretch]:
    """
    Fit each stretch of one clock.

    Args:
        rows: the hard messages between the clock and the reference, as indices.
        splits: the readings at which a new stretch starts, increasing.
        slope_limit, reference_slope_limit: the declared bounds of the rate between the two, and of the reference's.
    """
    leaving = messages.sender[rows] == messages.clocks.index(clock) if len(rows) else np.empty(0, dtype=np.bool_)
    sent, received = rows[leaving], rows[~leaving]
    delay_ns = messages.delay_ns_min
    if len(rows) and int(delay_ns.max()) > 0:
        delay_ns = delay_ns - Rate.up(reference_slope_limit / (1 + reference_slope_limit)).ceil_times(delay_ns)
    arrived_by_ns = messages.received_by_ns
    found = HalfBounds(
        messages.sent_ns[sent],
        arrived_by_ns[sent] - delay_ns[sent],
        arrived_by_ns[received],
        messages.sent_ns[received] + delay_ns[received],
    )
    if not splits:
        return [Stretch(clock, reference, 0, sent, received, fit(found, slope_limit), slope_limit)]
    upper_number = np.searchsorted(splits, found.upper_x, side="right")
    lower_number = np.searchsorted(splits, found.lower_x, side="right")
    stretches = []
    for number in range(len(splits) + 1):
        upper, lower = upper_number == number, lower_number == number
        part = HalfBounds(found.upper_x[upper], found.upper_y[upper], found.lower_x[lower], found.lower_y[lower])
        fitted = fit(part, slope_limit)
        stretches.append(Stretch(clock, reference, number, sent[upper], received[lower], fitted, slope_limit))
    return stretches


def checked(
    messages: Messages, stretches: Sequence[Stretch], splits: Sequence[int]
) -> tuple[list[Stretch], list[Finding]]:
    """
    Distrust stretches whose messages contradict each other, within one or across a step.

    Across a step, all that must hold is that what the clock showed before was not later than what it showed after.
    Which of the two stretches has the wrong messages cannot be told, so both are distrusted.
    """
    result, findings = list(stretches), []
    for number, stretch in enumerate(result):
        if stretch.fit.contradiction is not None:
            upper, lower = stretch.fit.contradiction
            findings.append(_contradiction(messages, stretch, int(stretch.sent[upper]), int(stretch.received[lower])))
            result[number] = replace(stretch, trusted=False)
    for later in range(1, len(result)):
        for earlier in range(later):
            first, second = result[earlier], result[later]
            end, start = splits[earlier] - 1, splits[later - 1]
            floor, ceiling = first.fit.declared.lower, second.fit.declared.upper
            if not (first.trusted and second.trusted) or floor is None or ceiling is None:
                continue
            ended = first.bounds(np.array([end], dtype=np.int64), "declared").earliest[0]
            started = second.bounds(np.array([start], dtype=np.int64), "declared").latest[0]
            if ended > started:
                lower = int(first.received[floor.set_by(first.fit.declared.x_origin - end)])
                upper = int(second.sent[ceiling.set_by(start - second.fit.declared.x_origin)])
                findings.append(_contradiction(messages, second, upper, lower))
                result[earlier], result[later] = replace(first, trusted=False), replace(second, trusted=False)
    return result, findings


def _contradiction(messages: Messages, stretch: Stretch, upper: int, lower: int) -> Finding:
    where = f" (stretch {stretch.number})" if stretch.number else ""
    return Finding(
        "contradiction",
        stretch.clock,
        f"Clock {stretch.clock}{where} is not placed, because two of its messages cannot both be true while its rate "
        f"against {stretch.reference} stays within {float(stretch.slope_limit) * 1e6:g} ppm: "
        f"{described(messages[upper])} and {described(messages[lower])}. Either it stepped between the two (give the "
        "reading in segments=), or its rate bound is too small, or one of the two is false.",
        2,
        messages=(messages[upper], messages[lower]),
    )
