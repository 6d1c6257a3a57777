"""
How wrong a host's clocks are, and what they showed when: exact arithmetic, no clock is read here.

A skewed clock shows `true + offset + floor((true - since) * rate / 1e9)`, piece by piece: each change of its skew
starts a new piece, and a piece holds for every true reading from its `since` on. The library that a host's programs
read their clocks through (skewclock.c) computes the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SECOND_NS = 1_000_000_000

# A wait until a wall time is told from a wait until an uptime by being a date after 2001, so a host's wall clock must
# show one; and it must stay within int64 ns, which end in 2262.
WALL_OFFSET_NS_MAX = 20 * 365 * 86_400 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Skew:
    """
    How far a host's clocks are from the true ones, and how fast they move away from them.

    The true clocks are those of the process that makes the host. Positive is ahead, and faster: a host with
    `Skew(wall_offset_ns=3_500_000_000, wall_rate_ppb=100_000)` is 3.5 s ahead now and gains 100 us each second.

    Attributes:
        wall_offset_ns: its wall clock (`time.time()`) minus the true one, when the skew is set; within 20 years.
        wall_rate_ppb: what its wall clock gains on the true one, in ns per true second (1000 ppb are 1 ppm).
        raw_offset_ns: the same for CLOCK_MONOTONIC_RAW, which coeval takes its stamps from.
        raw_rate_ppb: likewise. The wall clock's rate is its own and does not follow from this one.

    Raises:
        ValueError: a rate at which a clock would stand still, run backwards or twice as fast, or a wall clock further
            away than 20 years.
    """

    wall_offset_ns: int = 0
    wall_rate_ppb: int = 0
    raw_offset_ns: int = 0
    raw_rate_ppb: int = 0

    def __post_init__(self) -> None:
        for name, rate_ppb in (("wall_rate_ppb", self.wall_rate_ppb), ("raw_rate_ppb", self.raw_rate_ppb)):
            if not -SECOND_NS < rate_ppb < SECOND_NS:
                raise ValueError(
                    f"{name} is {rate_ppb}; expected ns per second, between -1e9 and 1e9 (100 ppm: 100_000)"
                )
        if abs(self.wall_offset_ns) > WALL_OFFSET_NS_MAX:
            raise ValueError(
                f"wall_offset_ns is {self.wall_offset_ns}, more than 20 years; "
                f"programs tell a date from an uptime only within that"
            )


class Piece(NamedTuple):
    """
    What a skewed clock does from one moment on.

    Attributes:
        since_ns: true reading from which the piece holds.
        offset_ns: shown minus true at `since_ns`.
        rate_ppb: shown minus true grows by so many ns in each true second.
    """

    since_ns: int
    offset_ns: int
    rate_ppb: int

    def shown(self, true_ns: int) -> int:
        """What the clock shows when the true clock reads `true_ns`."""
        return true_ns + self.offset_ns + (true_ns - self.since_ns) * self.rate_ppb // SECOND_NS

    def true(self, shown_ns: int) -> int:
        """The least true reading at which the clock shows `shown_ns` or more."""
        # shown >= s  <=>  (true - since) * (1e9 + rate) >= 1e9 * (s - offset - since), as all of them are integers
        ahead = SECOND_NS * (shown_ns - self.offset_ns - self.since_ns)
        return self.since_ns - (-ahead // (SECOND_NS + self.rate_ppb))


@dataclass(frozen=True, slots=True)
class SkewedClock:
    """
    What one clock of a host showed, exactly, for any true reading, and the other way round.

    Attributes:
        pieces: by their `since_ns`; the first holds before its own `since_ns` too. Never empty.
    """

    pieces: tuple[Piece, ...]

    def shown(self, true_ns: int) -> int:
        """What this clock showed when the true clock read `true_ns`; all int64 ns."""
        holding = [piece for piece in self.pieces[1:] if piece.since_ns <= true_ns]
        return (holding[-1] if holding else self.pieces[0]).shown(true_ns)

    def true(self, shown_ns: int) -> int:
        """
        What the true clock read when this one showed `shown_ns`; all int64 ns.

        Exact to 1 ns: a clock that runs slow shows some readings for 2 ns (the first is taken), and one that runs fast
        leaves some out (the next is taken).

        Raises:
            ValueError: the clock was stepped, and showed this twice or never. `trues` gives all moments.
        """
        moments = self.trues(shown_ns)
        if len(moments) != 1:
            often = "never" if not moments else f"{len(moments)} times, at true readings {', '.join(map(str, moments))}"
            raise ValueError(f"this clock was stepped and showed {shown_ns} {often}; expected once. Ask trues()")
        return moments[0]

    def trues(self, shown_ns: int) -> tuple[int, ...]:
        """Every true reading at which this clock came to show `shown_ns`: one each for the pieces that did."""
        ends = [piece.since_ns for piece in self.pieces[1:]]
        found = []
        for index, piece in enumerate(self.pieces):
            moment = piece.true(shown_ns)
            if (index == 0 or moment >= piece.since_ns) and (index == len(ends) or moment < ends[index]):
                found.append(moment)
        return tuple(found)

    def offset_ns(self, shown_ns: int) -> int:
        """How far this clock was ahead of the true one when it showed `shown_ns`; errors as for `true`."""
        return shown_ns - self.true(shown_ns)

    def with_piece(self, piece: Piece) -> SkewedClock:
        """This clock, set anew."""
        return SkewedClock((*self.pieces, piece))


class Truth(NamedTuple):
    """
    What a host's clocks showed, and when that was by the true ones: those of the process that made the host.

    Attributes:
        wall: `time.time_ns()` there against `time.time_ns()` here.
        raw: CLOCK_MONOTONIC_RAW there against CLOCK_MONOTONIC_RAW here.
    """

    wall: SkewedClock
    raw: SkewedClock
