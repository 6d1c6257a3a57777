"""
A virtual clock: an exact function from true time to a reading, and back.

    true time  --suspends-->  time awake  --drift-->  steady reading  --steps, offset-->  reading

Drift is straight between knots, whole ns of time awake at which it has gained whole ns. So what the clock shows at any
whole ns is a fraction that is known exactly, its rate is known exactly, and nothing depends on how long the trace is or
how large the offset: no float ever holds an absolute time. Between steps a clock never runs backwards; it stands still
only while it is suspended.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from coeval.clocks import ClockId
from coeval.testing.virtual._exact import BoolArray, Int64Array, scaled
from coeval.testing.virtual._shapes import SECOND_NS, Shape

RATE_LIMIT = Fraction(1, 5)
"""Rates stay below this: room enough for a chrony slew (83 333 ppm), and for two of them against each other."""

# A round number, so that a rate in whole ppm is exactly that. Two of them are below `DIVISOR_MAX`.
_KNOT_DISTANCE_NS_MAX = 10**15


class TrueStep(NamedTuple):
    """
    A break in a clock's course.

    Attributes:
        clock: which.
        at_ns, until_ns: true times between which it happened; the same but for a suspend.
        size_ns: what the clock is ahead by more after it; a suspend loses its length, against clocks that went on.
        before_ns, after_ns: what the clock showed last before it, rounded up, and first after it.
    """

    clock: ClockId
    at_ns: int
    until_ns: int
    size_ns: int
    before_ns: int
    after_ns: int


@dataclass(frozen=True, eq=False, slots=True)
class VirtualClock:
    """
    A clock in virtual time; made by `VirtualClock.of`.

    Attributes:
        id: its name.
        seed: what its course was drawn from.
        shapes: what it was made of.
        steps: the truth about its steps and suspends, in order.
    """

    id: ClockId
    seed: int
    shapes: tuple[Shape, ...]
    steps: tuple[TrueStep, ...] = field(repr=False)
    _offset_ns: int = field(repr=False)
    _knots_ns: Int64Array = field(repr=False)
    _gained_ns: Int64Array = field(repr=False)
    _step_at_ns: Int64Array = field(repr=False)
    _stepped_ns: Int64Array = field(repr=False)  # after so many steps, from none on
    _asleep_at_ns: Int64Array = field(repr=False)
    _asleep_ns: Int64Array = field(repr=False)
    _slept_ns: Int64Array = field(repr=False)  # after so many suspends, from none on

    @classmethod
    def of(cls, name: ClockId, shapes: Sequence[Shape], *, span_ns: int, seed: int = 0) -> VirtualClock:
        """
        Draw a clock.

        Args:
            shapes: what is added up.
            span_ns: curves are followed from true time 0 to this; before and after the clock goes on at the rate that
                it has there.
            seed: clocks of other names differ under one seed, and the same name and shapes give the same clock.

        Raises:
            ValueError: A rate of a fifth or more; two suspends that overlap.
        """
        shapes = tuple(shapes)
        knots = _knots(shapes, span_ns)
        gained = np.zeros(len(knots))
        for number, shape in enumerate(shapes):
            random = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
            gained += shape.ahead_ns(knots, random)
        gained_ns = np.rint(gained).astype(np.int64)
        rates = np.diff(gained_ns) / np.diff(knots)
        if np.abs(rates).max() >= RATE_LIMIT:
            worst = int(np.abs(rates).argmax())
            raise ValueError(
                f"clock {name} has a rate of {rates[worst] * 1e6:.0f} ppm at true time {knots[worst]} ns, "
                f"made of {shapes}: a virtual clock's rate must stay below {float(RATE_LIMIT) * 1e6:.0f} ppm"
            )
        steps = sorted(step for shape in shapes for step in shape.steps())
        suspends = sorted(suspend for shape in shapes for suspend in shape.suspends())
        for (at, lasting), (next_at, _) in pairwise(suspends):
            if at + lasting > next_at:
                raise ValueError(
                    f"clock {name} is suspended at {next_at} ns while it sleeps from {at} to {at + lasting} ns"
                )

        def column(values: Sequence[int]) -> Int64Array:
            return np.array(values, dtype=np.int64)

        clock = cls(
            name,
            seed,
            shapes,
            (),
            sum(shape.offset_ns() for shape in shapes),
            knots,
            gained_ns,
            column([at for at, _ in steps]),
            np.cumsum(column([0, *(size for _, size in steps)])),
            column([at for at, _ in suspends]),
            column([lasting for _, lasting in suspends]),
            np.cumsum(column([0, *(lasting for _, lasting in suspends)])),
        )
        object.__setattr__(clock, "steps", clock._breaks())
        return clock

    def readings_ns(self, true_ns: npt.ArrayLike, *, rounded: Literal["down", "up"] = "down") -> Int64Array:
        """
        What the clock shows at whole ns of true time.

        Its exact reading there lies between the one rounded down and the one rounded up, which is at most 1 ns more.
        """
        true = np.asarray(true_ns, dtype=np.int64)
        stretch = np.searchsorted(self._step_at_ns, true, side="right")
        return self._steady_ns(self._awake_ns(true), rounded) + (self._offset_ns + self._stepped_ns[stretch])

    def true_ns(self, readings_ns: npt.ArrayLike, *, stretch: int | None = None) -> Int64Array:
        """
        The first whole ns of true time at which the clock shows a reading or a later one.

        Args:
            stretch: as if the clock had kept the course that it has after so many steps; suspends are no steps here.
                None: the course that it took, so that of a reading that comes twice the first time counts.
        """
        readings = np.asarray(readings_ns, dtype=np.int64)
        if stretch is not None:
            return self._first_ns(readings, stretch)
        last = len(self._step_at_ns)
        found = np.maximum(self._first_ns(readings, last), self._starts_ns(last))
        for number in range(last - 1, -1, -1):
            first = np.maximum(self._first_ns(readings, number), self._starts_ns(number))
            found = np.where(first < self._step_at_ns[number], first, found)
        return found

    @property
    def rate_range(self) -> tuple[Fraction, Fraction]:
        """The least and the greatest rate, exact, dimensionless: what it gains per true ns while it is awake."""
        gains, lengths = np.diff(self._gained_ns), np.diff(self._knots_ns)
        rates = gains / lengths
        # Floats do not tell the closest rates apart; fractions do, and few are that close.
        extreme = (rates <= rates.min() + 1e-15) | (rates >= rates.max() - 1e-15)
        exact = {Fraction(*pair) for pair in zip(gains[extreme].tolist(), lengths[extreme].tolist(), strict=True)}
        return min(exact), max(exact)

    @property
    def rate_bound_ppm(self) -> float:
        """
        The least rate bound that may be declared of it, as `align` means it: while the clock counts one second,
        between 1 / (1 + bound) and 1 + bound seconds pass. Slews count, steps and suspends do not.
        """
        least, greatest = self.rate_range
        bound = max(greatest, -least / (1 + least), Fraction(0)) * 1_000_000
        shown = float(bound)
        return shown if Fraction(shown) >= bound else math.nextafter(shown, math.inf)

    def _steady_ns(self, awake_ns: Int64Array, rounded: Literal["down", "up"]) -> Int64Array:
        """Without offset and steps."""
        piece = self._piece(self._knots_ns, awake_ns)
        since, length, gain = awake_ns - self._knots_ns[piece], self._length(piece), self._gain(piece)
        gained = scaled(since, gain, length) if rounded == "down" else -scaled(since, -gain, length)
        return awake_ns + self._gained_ns[piece] + gained

    def _awake_ns(self, true_ns: Int64Array) -> Int64Array:
        if not len(self._asleep_at_ns):
            return true_ns
        begun = np.searchsorted(self._asleep_at_ns, true_ns, side="right")
        last = np.maximum(begun - 1, 0)
        still = np.maximum(self._asleep_at_ns[last] + self._asleep_ns[last] - true_ns, 0)
        return true_ns - self._slept_ns[begun] + np.where(begun > 0, still, 0)

    def _first_ns(self, readings_ns: Int64Array, stretch: int) -> Int64Array:
        steady = readings_ns - (self._offset_ns + self._stepped_ns[stretch])
        piece = self._piece(self._knots_ns + self._gained_ns, steady)
        since = steady - (self._knots_ns[piece] + self._gained_ns[piece])
        length, gain = self._length(piece), self._gain(piece)
        # since * length / (length + gain), rounded up
        awake: Int64Array = self._knots_ns[piece] + since - scaled(since, gain, length + gain)
        asleep_at_awake = self._asleep_at_ns - self._slept_ns[:-1]
        awake += self._slept_ns[np.searchsorted(asleep_at_awake, awake, side="left")]
        return awake

    def _starts_ns(self, stretch: int) -> int:
        return int(self._step_at_ns[stretch - 1]) if stretch else np.iinfo(np.int64).min

    def _piece(self, starts: Int64Array, at: Int64Array) -> Int64Array:
        found = np.searchsorted(starts, at, side="right") - 1
        return np.clip(found, 0, len(starts) - 2)

    def _length(self, piece: Int64Array) -> Int64Array:
        return self._knots_ns[piece + 1] - self._knots_ns[piece]

    def _gain(self, piece: Int64Array) -> Int64Array:
        return self._gained_ns[piece + 1] - self._gained_ns[piece]

    def _breaks(self) -> tuple[TrueStep, ...]:
        found = []
        for number, at in enumerate(self._step_at_ns.tolist()):
            size = int(self._stepped_ns[number + 1] - self._stepped_ns[number])
            up, down = int(self.readings_ns([at], rounded="up")[0]), int(self.readings_ns([at])[0])
            found.append(TrueStep(self.id, at, at, size, up - size, down))
        for at, lasting in zip(self._asleep_at_ns.tolist(), self._asleep_ns.tolist(), strict=True):
            up, down = int(self.readings_ns([at], rounded="up")[0]), int(self.readings_ns([at + lasting])[0])
            found.append(TrueStep(self.id, at, at + lasting, -lasting, up, down))
        return tuple(sorted(found, key=lambda step: step.at_ns))


def _knots(shapes: Sequence[Shape], span_ns: int) -> Int64Array:
    """Where the clock may bend: every shape's own bends, and between them one grid for all curves."""
    every = min([_KNOT_DISTANCE_NS_MAX, *(shape.every_ns for shape in shapes if shape.every_ns is not None)])
    grid = np.arange(-1, max(-(-span_ns // every), 1) + 2, dtype=np.int64) * every
    bends = np.unique([bend for shape in shapes for bend in shape.bends_ns() if 0 <= bend <= span_ns]).astype(np.int64)
    if not len(bends):
        return grid
    # A knot is rounded to a whole ns. Close to another one that would be a rate of its own, so the grid gives way.
    return np.unique(np.concatenate((grid[~_close(grid, bends, min(every // 2, SECOND_NS))], bends)))


def _close(grid: Int64Array, bends: Int64Array, distance_ns: int) -> BoolArray:
    after = np.searchsorted(bends, grid)
    to_next = np.abs(bends[np.minimum(after, len(bends) - 1)] - grid)
    to_last = np.abs(grid - bends[np.maximum(after - 1, 0)])
    close: BoolArray = np.minimum(to_next, to_last) < distance_ns
    return close
