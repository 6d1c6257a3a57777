"""
What somebody says of a clock's offset, and the same as evidence.

    web=+3.2s±0.1s        web is ahead of UTC by 3.1 to 3.3 s
    web=-250ms±5ms@db     web is behind db, by 245 to 255 ms

A claim holds at every reading of the data. Alignment takes evidence at single readings, and lets an interval grow
between them as fast as clocks may part: so readings are given at equal distances, close enough that this growth stays
below a hundredth of the claimed bound, or as close as `_READINGS_MOST` allows. What growth is left is told as
`slack_ns`, and is undone for the claimed clock itself where its stamps are placed (`Relation.instants`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

import numpy as np

from coeval.alignment import Messages
from coeval.alignment._rate import GRID_BITS, Int64Array, grid_up
from coeval.clocks import Anchor, ClockId
from coeval.timeline.sources._said import UNITS_NS, is_named, written_duration

# Anchors are looked at one by one: so many take 0.2 s.
_READINGS_MOST = 4096

# The share of a claimed bound by which an interval may be wider between two readings.
_SLACK_SHARE = Fraction(1, 100)

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_UNIT = r"(ns|us|µs|μs|ms|s|min|h)"
_CLAIM = re.compile(
    rf"(.+?)\s*=\s*([+-]?)\s*{_NUMBER}\s*{_UNIT}?\s*(?:±|\+/?-)\s*{_NUMBER}\s*{_UNIT}\s*(?:@\s*(.+?)\s*)?"
)


class OffsetClaim(NamedTuple):
    """
    Somebody's word on how far a clock is ahead, at every reading of the data.

    Attributes:
        clock: its name, also with wildcards.
        least_ns, greatest_ns: the clock minus the other, or minus UTC; positive: this clock is ahead.
        other: the other clock; "": UTC.
    """

    clock: str
    least_ns: int
    greatest_ns: int
    other: str = ""

    @property
    def text(self) -> str:
        """As `parse_claim` reads it."""
        middle, spread = (self.least_ns + self.greatest_ns) / 2, (self.greatest_ns - self.least_ns) / 2
        sign, size = "-" if middle < 0 else "+", written_duration(round(abs(middle)))
        return f"{self.clock}={sign}{size}±{written_duration(ceil(spread))}" + (f"@{self.other}" if self.other else "")


class ClockSpan(NamedTuple):
    """
    What there is of a clock.

    Attributes:
        events: how many.
        first_ns, last_ns: its least and its greatest reading, resolutions included.
    """

    events: int
    first_ns: int
    last_ns: int


class ClaimEvidence(NamedTuple):
    """
    A claim as evidence.

    Attributes:
        claim: what was said, its clocks by their full names.
        anchors, messages: the same at single readings; one of them is empty.
        slack_ns: between those readings an interval may be so much wider on each side than what was said.
    """

    claim: OffsetClaim
    anchors: tuple[Anchor, ...]
    messages: Messages
    slack_ns: int


def parse_claim(text: str) -> OffsetClaim:
    """
    Read `web=+3.2s±0.1s`, also with `+-` or `+/-`, and `@db` behind it.

    Raises:
        ValueError: it is none.
    """
    match = _CLAIM.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} does not say a clock's offset; expected CLOCK=+3.2s±0.1s (ahead of UTC, by so much and with "
            "this error; +- stands for ± too), or CLOCK=+3.2s±0.1s@OTHER (ahead of clock OTHER)"
        )
    clock, sign, number, unit, spread, spread_unit, other = match.groups()
    if not unit and Fraction(number):
        raise ValueError(f"{text!r}: {number} has no unit; write {number}s or {number}ms")
    ahead = Fraction(number) * UNITS_NS[unit or "ns"] * (-1 if sign == "-" else 1)
    error = Fraction(spread) * UNITS_NS[spread_unit]
    if other == clock:
        raise ValueError(f"{text!r}: a clock is not ahead of itself; name another behind the @, or none for UTC")
    return OffsetClaim(clock, floor(ahead - error), ceil(ahead + error), other or "")


def trusting(clocks: Iterable[ClockId], bound_ns: int) -> list[OffsetClaim]:
    """The claim that each of these clocks shows UTC within a bound."""
    return [OffsetClaim(clock, -bound_ns, bound_ns) for clock in clocks]


def claims_on(claims: Sequence[OffsetClaim], clocks: Iterable[ClockId]) -> list[OffsetClaim]:
    """
    Claims with the names of the clocks that they mean; one with wildcards is several.

    Raises:
        ValueError: a claim means no clock, or is relative to several.
    """
    known = list(clocks)
    found: list[OffsetClaim] = []
    for claim in claims:
        own = _meant(claim.clock, known)
        others = _meant(claim.other, known) if claim.other else [ClockId("")]
        for name, meant in ((claim.clock, own), (claim.other, others)):
            if not meant:
                raise ValueError(f"{claim.text} is about clock {name!r}, and there is none; there are {_listed(known)}")
        if len(others) > 1:
            raise ValueError(f"{claim.text} is relative to several clocks, {_listed(others)}: name one")
        found += [claim._replace(clock=clock, other=others[0]) for clock in own if clock != others[0]]
    return found


def is_about(claim: OffsetClaim, clocks: Iterable[ClockId]) -> bool:
    """Whether the clocks that a claim names are there."""
    known = list(clocks)
    return all(_meant(name, known) for name in (claim.clock, claim.other) if name)


def evidence_of_claim(claim: OffsetClaim, spans: Mapping[ClockId, ClockSpan], rate_bound: Fraction) -> ClaimEvidence:
    """
    Turn a claim into evidence over the data of its clock.

    Args:
        claim: its clocks by their full names.
        spans: of every clock of the data.
        rate_bound: how far apart the two clocks' rates may be, or the clock's and UTC's.
    """
    clock, other = ClockId(claim.clock), ClockId(claim.other)
    span = spans[clock]
    first_ns, last_ns = span.first_ns, span.last_ns
    if other:
        # The other's events must be covered too, by the readings that this clock showed then.
        first_ns = min(first_ns, spans[other].first_ns + claim.least_ns)
        last_ns = max(last_ns, spans[other].last_ns + claim.greatest_ns)
    bound_ns = (claim.greatest_ns - claim.least_ns) / 2
    readings, distance_ns = _readings(first_ns, last_ns, bound_ns, rate_bound)
    # Half way between two readings an interval has grown by half their distance.
    slack_ns = ceil(_growth(rate_bound) * distance_ns / 2) if distance_ns else 0
    if not other:
        source = f"said: {claim.text}"
        anchors = tuple(
            Anchor(clock, reading, reading - claim.greatest_ns, reading - claim.least_ns, source)
            for reading in readings.tolist()
        )
        return ClaimEvidence(claim, anchors, Messages.of(()), slack_ns)
    # When this clock showed r, the other one showed from r - greatest to r - least: the first of these is not after it,
    # and the second not before it.
    messages = Messages.concatenated(
        (
            Messages.between(other, clock, readings - claim.greatest_ns, readings),
            Messages.between(clock, other, readings, readings - claim.least_ns),
        )
    )
    return ClaimEvidence(claim, (), messages, slack_ns)


def _growth(rate_bound: Fraction) -> Fraction:
    """By how much an interval grows for each ns: rates are rounded up where they are computed with."""
    return Fraction(grid_up(rate_bound), 1 << GRID_BITS)


def _readings(first_ns: int, last_ns: int, bound_ns: float, rate_bound: Fraction) -> tuple[Int64Array, int]:
    """Readings at equal distances from the first to the last of the data, and their greatest distance."""
    span_ns = last_ns - first_ns
    if span_ns <= 0:
        return np.array([first_ns], dtype=np.int64), 0
    near_ns = max(1, floor(2 * _SLACK_SHARE * Fraction(bound_ns) / _growth(rate_bound))) if rate_bound else span_ns
    count = max(1, min(_READINGS_MOST - 1, -(-span_ns // near_ns)))
    readings = np.array([first_ns + span_ns * number // count for number in range(count + 1)], dtype=np.int64)
    return readings, -(-span_ns // count)


def _meant(name: str, known: Sequence[ClockId]) -> list[ClockId]:
    exact = [clock for clock in known if clock == name]
    return exact or [clock for clock in known if is_named(name, clock)]


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
