"""A time on the timeline: an interval that contains the truth, a best estimate, and what the interval rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coeval.clocks._identity import ClockId
from coeval.errors import DifferentClocks

Grade = Literal["declared", "assumed"]
"""
What an interval rests on. *declared*: true whenever the declared rate bounds of the clocks are; what is called certain
uses it. *assumed*: narrower, and resting on the wander that was read off the data.
"""


@dataclass(frozen=True, slots=True)
class Instant:
    """
    When something happened, as an interval on a named reference.

    There is no `<`: it would have to guess. Ask `before()`.

    Attributes:
        reference: what the numbers count on: UTC, or the clock the timeline is named after.
        earliest_ns: the truth is not before; None: nothing is known on this side.
        estimate_ns: the best single value; None where neither side is known.
        latest_ns: the truth is not after; None: nothing is known on this side.
        grade: what the interval rests on.
    """

    reference: ClockId
    earliest_ns: int | None
    estimate_ns: int | None
    latest_ns: int | None
    grade: Grade

    def __post_init__(self) -> None:
        if self.earliest_ns is not None and self.latest_ns is not None and self.earliest_ns > self.latest_ns:
            raise ValueError(
                f"an instant from {self.earliest_ns} to {self.latest_ns} is empty: earliest must not exceed latest"
            )

    @property
    def width_ns(self) -> int | None:
        """From earliest to latest; None where a side is unknown."""
        if self.earliest_ns is None or self.latest_ns is None:
            return None
        return self.latest_ns - self.earliest_ns

    def before(self, other: Instant) -> bool | None:
        """
        Did this happen before the other, whatever the truth inside the two intervals is?

        Returns:
            True: certainly before. False: certainly not before. None: both are possible.

        Raises:
            DifferentClocks: the two have different references.
        """
        if self.reference != other.reference:
            raise DifferentClocks(
                f"cannot order an instant on {self.reference} and one on {other.reference}: align both to one reference"
            )
        if self.latest_ns is not None and other.earliest_ns is not None and self.latest_ns < other.earliest_ns:
            return True
        if self.earliest_ns is not None and other.latest_ns is not None and self.earliest_ns >= other.latest_ns:
            return False
        return None
