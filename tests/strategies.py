"""
Hypothesis strategies shared by tests: pairs of clocks with a known truth, and messages between them.

The truth is kept exact. What the reference shows is a piecewise linear function of what the clock shows, in fractions;
readings are integers. A message to the reference arrives at an integer reading that is not before the exact one, a
message from it was sent at an integer reading that is not after it: the delay is the rest.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Literal

from hypothesis import strategies as st

from coeval.clocks import ClockId, Message

NEAR, FAR = ClockId("near"), ClockId("far")
"""The reference and the other clock of every pair."""

YEAR_NS = 31_556_952 * 10**9
Direction = Literal["both", "to reference", "from reference"]


@dataclass(frozen=True)
class Pair:
    """
    What the near clock shows, as a function of what the far clock shows.

    Attributes:
        start_ns: the far clock's reading where it begins.
        near_start_ns: the near clock's reading there.
        turns_ns: where the rate changes, far readings counted from `start_ns`, the first 0.
        slopes: the slope, less one, from each turn on.
    """

    start_ns: int
    near_start_ns: int
    turns_ns: tuple[int, ...]
    slopes: tuple[Fraction, ...]

    def near(self, far_ns: int) -> Fraction:
        """The truth."""
        since, shown = far_ns - self.start_ns, Fraction(self.near_start_ns)
        piece = max(bisect_right(self.turns_ns, since) - 1, 0)
        for number in range(piece):
            shown += (self.turns_ns[number + 1] - self.turns_ns[number]) * (1 + self.slopes[number])
        return shown + (since - self.turns_ns[piece]) * (1 + self.slopes[piece])


@dataclass(frozen=True)
class Traffic:
    """A pair and messages between its clocks; `readings` are far readings to ask about, within and around."""

    pair: Pair
    messages: tuple[Message, ...]
    readings: tuple[int, ...]


@st.composite
def pairs(draw: st.DrawFn, *, rate_ppm: float = 200.0, wander_ppm: float | None = None) -> Pair:
    """
    A pair whose rate stays within `rate_ppm`, and changes by no more than `wander_ppm` in all if that is given.

    Spans go from microseconds to months, offsets to years either way.
    """
    span = draw(st.sampled_from((10**5, 10**9, 600 * 10**9, YEAR_NS // 4)))
    turns = sorted({0, *draw(st.lists(st.integers(1, span), max_size=4))})
    limit = int(rate_ppm * 1000)
    low = -limit
    if wander_ppm is not None:
        change = int(wander_ppm * 1000)
        low = draw(st.integers(-limit, limit - change))
        limit = low + change
    slopes = [Fraction(draw(st.integers(low, limit)), 10**9) for _ in turns]
    start = draw(st.integers(-40 * YEAR_NS, 40 * YEAR_NS))
    near_start = start + draw(st.one_of(st.integers(-(10**6), 10**6), st.integers(-50 * YEAR_NS, 50 * YEAR_NS)))
    return Pair(start, near_start, tuple(turns), tuple(slopes))


@st.composite
def traffic(
    draw: st.DrawFn,
    *,
    rate_ppm: float = 200.0,
    wander_ppm: float | None = None,
    direction: Direction | None = None,
    exact: bool = False,
    count_max: int = 12,
) -> Traffic:
    """Messages between the clocks of a pair, with delays of any kind; stamps cut to a grain unless `exact`."""
    pair = draw(pairs(rate_ppm=rate_ppm, wander_ppm=wander_ppm))
    direction = direction or draw(st.sampled_from(("both", "both", "both", "to reference", "from reference")))
    span = max(pair.turns_ns[-1] * 2, 10**5)
    far_grain = near_grain = 0
    if not exact:
        far_grain, near_grain = (draw(st.sampled_from((0, 0, 1, 1000, 10**6))) for _ in range(2))
    delays = st.one_of(st.integers(0, 100), st.integers(0, 10**6), st.integers(0, 10**10))
    messages = []
    for number in range(draw(st.integers(1, count_max))):
        far_ns = pair.start_ns + draw(st.integers(0, span))
        delay_ns = draw(delays)
        proven_ns = 0 if exact else draw(st.sampled_from((0, 0, delay_ns // 2)))
        to_reference = direction == "to reference" or (direction == "both" and draw(st.booleans()))
        if to_reference:
            near_ns = ceil(pair.near(far_ns)) + delay_ns
            ends = (FAR, _cut(far_ns, far_grain), NEAR, _cut(near_ns, near_grain))
            messages.append(Message(*ends, str(number), far_grain, near_grain, proven_ns))
        else:
            near_ns = floor(pair.near(far_ns)) - delay_ns
            ends = (NEAR, _cut(near_ns, near_grain), FAR, _cut(far_ns, far_grain))
            messages.append(Message(*ends, str(number), near_grain, far_grain, proven_ns))
    inside = draw(st.lists(st.integers(-span, 2 * span), max_size=6))
    asked = {pair.start_ns + reading for reading in inside}
    asked |= {message.sent_ns if message.sender == FAR else message.received_ns for message in messages}
    return Traffic(pair, tuple(messages), tuple(sorted(asked)))


def _cut(reading_ns: int, grain_ns: int) -> int:
    return reading_ns // grain_ns * grain_ns if grain_ns else reading_ns
