"""A stamp: one reading with the clock that gave it. Stamps of two clocks neither compare nor subtract."""

from __future__ import annotations

from dataclasses import dataclass

from coeval.clocks._identity import ClockId
from coeval.errors import DifferentClocks


@dataclass(frozen=True, slots=True)
class Stamp:
    """
    One reading of one clock.

    Attributes:
        clock: whose reading it is.
        reading_ns: int64 ns from that clock's own origin.
    """

    clock: ClockId
    reading_ns: int

    def _same(self, other: Stamp, what: str) -> None:
        if self.clock != other.clock:
            raise DifferentClocks(
                f"cannot {what} a stamp of clock {self.clock} and one of clock {other.clock}: readings of two clocks "
                f"have nothing in common. Place both on a timeline first: alignment.instant(stamp)."
            )

    def __lt__(self, other: Stamp) -> bool:
        self._same(other, "compare")
        return self.reading_ns < other.reading_ns

    def __le__(self, other: Stamp) -> bool:
        self._same(other, "compare")
        return self.reading_ns <= other.reading_ns

    def __gt__(self, other: Stamp) -> bool:
        return other < self

    def __ge__(self, other: Stamp) -> bool:
        return other <= self

    def __sub__(self, other: Stamp) -> int:
        """Nanoseconds from `other` to this one, by their common clock; positive means this one is later."""
        self._same(other, "subtract")
        return self.reading_ns - other.reading_ns
