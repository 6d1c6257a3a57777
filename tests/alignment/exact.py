"""
The declared grade once more, the slow way: every two readings, every way between them, in fractions.

`most(a, b)` is the longest that b can be after a on the reference clock, by shortest paths over all readings that
messages and questions name (Floyd and Warshall). Only the rates' grid is shared with the code under test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import strategies as st

from coeval.alignment._rate import GRID_BITS, grid_up, ppm
from coeval.clocks import ClockId, Message, Stamp

GRID = 1 << GRID_BITS


class Exact:
    """
    Args:
        rate_bound_ppm: of every clock; the reference is the first.
        stamps: readings to ask about.
    """

    def __init__(
        self, messages: Sequence[Message], rate_bound_ppm: Mapping[ClockId, float], stamps: Sequence[Stamp]
    ) -> None:
        self.reference = next(iter(rate_bound_ppm))
        bounds = {clock: ppm(bound) for clock, bound in rate_bound_ppm.items()}
        own = bounds[self.reference]
        self._zero = Stamp(self.reference, 0)
        nodes = {(stamp.clock, stamp.reading_ns) for stamp in (*stamps, self._zero)}
        nodes |= {(message.sender, message.sent_ns) for message in messages}
        nodes |= {(message.receiver, message.received_ns + message.receiver_resolution_ns) for message in messages}
        self._place = {node: place for place, node in enumerate(sorted(nodes))}
        count = len(self._place)
        far = self._far = [[Fraction(0) if row == column else None for column in range(count)] for row in range(count)]

        def put(start: tuple[ClockId, int], end: tuple[ClockId, int], most: Fraction) -> None:
            row, column = self._place[start], self._place[end]
            known = far[row][column]
            far[row][column] = most if known is None else min(known, most)

        for clock, reading in nodes:
            limit = Fraction(grid_up(bounds[clock] + own + bounds[clock] * own), GRID)
            limit = Fraction(0) if clock == self.reference else limit
            for other, later in nodes:
                if other == clock and later > reading:
                    put((clock, reading), (clock, later), (later - reading) * (1 + limit))
                    put((clock, later), (clock, reading), (reading - later) * (1 - limit))
        slowest = 1 - Fraction(grid_up(own / (1 + own)), GRID)
        for message in messages:
            received = message.receiver, message.received_ns + message.receiver_resolution_ns
            put(received, (message.sender, message.sent_ns), -message.delay_ns_min * slowest)
        for by in range(count):
            for start in range(count):
                there = far[start][by]
                if there is None:
                    continue
                for end in range(count):
                    on = far[by][end]
                    if on is not None:
                        known = far[start][end]
                        far[start][end] = there + on if known is None else min(known, there + on)
        self.contradicts = any((far[place][place] or 0) < 0 for place in range(count))

    def most(self, start: Stamp, end: Stamp) -> Fraction | None:
        """The longest that the end can be after the start; None: unknown."""
        return self._far[self._place[start.clock, start.reading_ns]][self._place[end.clock, end.reading_ns]]

    def latest(self, stamp: Stamp) -> Fraction | None:
        """On the reference clock."""
        return self.most(self._zero, stamp)

    def earliest(self, stamp: Stamp) -> Fraction | None:
        """On the reference clock."""
        found = self.most(stamp, self._zero)
        return None if found is None else -found


@dataclass(frozen=True)
class Case:
    """
    Steady clocks, messages between them, and readings to ask about.

    Attributes:
        rate_bound_ppm: of every clock, the reference first.
        offsets_ns, paces: the truth: what each clock shows at true time 0, and how long it takes to count one.
    """

    messages: tuple[Message, ...]
    rate_bound_ppm: dict[ClockId, float]
    stamps: tuple[Stamp, ...]
    offsets_ns: dict[ClockId, int]
    paces: dict[ClockId, Fraction]

    @property
    def pairs(self) -> list[tuple[Stamp, Stamp]]:
        """Each stamp and the next one: some of one clock, some of two."""
        return list(zip(self.stamps, (*self.stamps[1:], self.stamps[0]), strict=True))

    def true_ns(self, stamp: Stamp) -> Fraction:
        """When a clock shows a reading."""
        return (stamp.reading_ns - self.offsets_ns[stamp.clock]) * self.paces[stamp.clock]


@st.composite
def cases(draw: st.DrawFn, *, count_max: int = 8) -> Case:
    """Up to four clocks at the ends of their bounds or within, spans from 100 ns to months, any grain and delay."""
    names = [ClockId(f"c{number}") for number in range(draw(st.integers(2, 4)))]
    span = draw(st.sampled_from((100, 10**6, 10**10, 10**13, 10**16)))
    reach = draw(st.sampled_from((0, 100, 10**9, 10**18)))
    bounds = {name: draw(st.sampled_from((0.0, 1.0, 50.0, 100.0, 1000.0, 100_000.0))) for name in names}
    offsets = {name: draw(st.integers(-reach, reach)) for name in names}
    paces = {}
    for name in names:
        part = ppm(bounds[name]) * Fraction(draw(st.integers(-100, 100)), 100)
        paces[name] = 1 + part if part >= 0 else 1 / (1 - part)
    grains = st.sampled_from((0, 0, 1, 1000))
    messages = []
    for _ in range(draw(st.integers(0, count_max))):
        sender, receiver = draw(st.permutations(names))[:2]
        sent = draw(st.integers(0, span))
        delay = draw(st.one_of(st.just(0), st.integers(0, 100), st.integers(0, span)))
        received = (sent * paces[sender] + delay) / paces[receiver]
        sent_grain, received_grain = draw(grains), draw(grains)
        messages.append(
            Message(
                sender,
                _cut(sent + offsets[sender], sent_grain),
                receiver,
                _cut(-(-received.numerator // received.denominator) + offsets[receiver], received_grain),
                "",
                sent_grain,
                received_grain,
                draw(st.sampled_from((0, 0, delay // 2, delay))),
            )
        )
    related = {names[0], *(message.sender for message in messages), *(message.receiver for message in messages)}
    stamps = tuple(
        Stamp(name, offsets[name] + draw(st.integers(-span, 2 * span)))
        for name in names
        if name in related
        for _ in range(2)
    )
    return Case(tuple(messages), bounds, stamps, offsets, paces)


def _cut(reading_ns: int, grain_ns: int) -> int:
    return reading_ns // grain_ns * grain_ns if grain_ns else reading_ns
