"""
What a virtual clock does, in named shapes. A clock is a sum of them: an offset, a rate, a wandering rate, steps.

    Constant, Linear                                  ahead by so much, fast by so much
    RandomWalk, TemperatureSine                       an oscillator whose rate changes slowly
    Slew, LeapSmear                                   what chrony, ntpd and time servers do to a wall clock
    Step, Suspend                                     what breaks a clock's course

True time counts in ns from 0, where a trace begins. Positive: the clock is ahead of the true one, or fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from coeval.testing.virtual._exact import FloatArray, Int64Array

SECOND_NS = 1_000_000_000


class Shape:
    """
    One part of a clock's course. A shape of your own overrides what differs from "nothing".

    Attributes:
        every_ns: how far apart the points are that a curve is followed by; None: it is straight between its bends. A
            clock is straight between these points, so a curve's own rate is kept within a billionth per `every_ns` of
            a second.
    """

    every_ns: int | None = None

    def offset_ns(self) -> int:
        """What the clock is ahead by at true time 0, exact however large."""
        return 0

    def bends_ns(self) -> tuple[int, ...]:
        """True times at which the rate changes at once."""
        return ()

    def ahead_ns(self, true_ns: Int64Array, random: np.random.Generator) -> FloatArray:
        """What the clock has gained since true time 0, at increasing true times; steps are not in it."""
        return np.zeros(len(true_ns))

    def steps(self) -> Iterator[tuple[int, int]]:
        """True time and size of each step: from that ns on the clock is ahead by `size_ns` more."""
        return iter(())

    def suspends(self) -> Iterator[tuple[int, int]]:
        """True time at which the clock stops, and for how many ns."""
        return iter(())


@dataclass(frozen=True, slots=True)
class Constant(Shape):
    """Ahead by `ns`, years if you like."""

    ns: int

    def offset_ns(self) -> int:
        return self.ns


@dataclass(frozen=True, slots=True)
class Linear(Shape):
    """Fast by `rate_ppm`: gains so many us per true second."""

    rate_ppm: float

    def ahead_ns(self, true_ns: Int64Array, random: np.random.Generator) -> FloatArray:
        return np.asarray(true_ns * (self.rate_ppm * 1e-6), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class RandomWalk(Shape):
    """
    A rate that wanders: every `every_ns` it changes by an amount drawn evenly from ±`curvature_per_s` * the time.

    Attributes:
        curvature_per_s: the greatest change of the rate, 1/s; 1e-8 is 0.01 ppm in a second.
        limit_ppm: where the walk turns round.
    """

    curvature_per_s: float
    limit_ppm: float = 1.0
    every_ns: int = SECOND_NS

    def ahead_ns(self, true_ns: Int64Array, random: np.random.Generator) -> FloatArray:
        start, end = min(int(true_ns[0]), 0), int(true_ns[-1])
        count = (end - start) // self.every_ns + 2
        every_s, limit = self.every_ns / SECOND_NS, self.limit_ppm * 1e-6
        walked = np.cumsum(random.uniform(-1, 1, count) * self.curvature_per_s * every_s)
        rate = np.abs((walked - limit) % (4 * limit) - 2 * limit) - limit  # folded: what passes the limit comes back
        gained = np.concatenate(([0.0], np.cumsum(rate[:-1]) * self.every_ns))
        return np.interp((true_ns - start).astype(np.float64), np.arange(count) * float(self.every_ns), gained)


@dataclass(frozen=True, slots=True)
class TemperatureSine(Shape):
    """
    A rate that follows a day, or an air conditioner: `amplitude_ppm` * sin(2 pi (t / period + phase)).

    Attributes:
        phase: in periods; None: drawn.
        every_ns: None: a 256th of the period.
    """

    amplitude_ppm: float
    period_s: float
    phase: float | None = None
    every_ns: int | None = None

    def __post_init__(self) -> None:
        if self.every_ns is None:
            object.__setattr__(self, "every_ns", max(int(self.period_s * SECOND_NS) // 256, 1))

    @property
    def curvature_per_s(self) -> float:
        """The greatest change of the rate, 1/s."""
        return self.amplitude_ppm * 1e-6 * 2 * np.pi / self.period_s

    def ahead_ns(self, true_ns: Int64Array, random: np.random.Generator) -> FloatArray:
        phase = random.uniform() if self.phase is None else self.phase
        angle_start = 2 * np.pi * phase
        angle = angle_start + 2 * np.pi * (true_ns / (self.period_s * SECOND_NS))
        swing_ns = self.amplitude_ppm * 1e-6 * self.period_s * SECOND_NS / (2 * np.pi)
        return np.asarray(swing_ns * (np.cos(angle_start) - np.cos(angle)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Slew(Shape):
    """
    From `at_ns` on an offset of `size_ns` is worked in at `rate_ppm`: 500 as ntpd does, up to 83 333 as chrony does.
    """

    at_ns: int
    size_ns: int
    rate_ppm: float = 500.0

    @property
    def lasting_ns(self) -> int:
        """How long it takes."""
        return max(round(abs(self.size_ns) / (self.rate_ppm * 1e-6)), 1)

    def bends_ns(self) -> tuple[int, ...]:
        return (self.at_ns, self.at_ns + self.lasting_ns)

    def ahead_ns(self, true_ns: Int64Array, random: np.random.Generator) -> FloatArray:
        return _worked_in(true_ns, self.at_ns, self.lasting_ns, self.size_ns)


@dataclass(frozen=True, slots=True)
class LeapSmear(Shape):
    """
    A leap second spread evenly over `lasting_s` from `at_ns` on: a clock that smears an inserted second loses one.
    """

    at_ns: int
    size_ns: int = -SECOND_NS
    lasting_s: float = 86_400.0

    def bends_ns(self) -> tuple[int, ...]:
        return (self.at_ns, self.at_ns + int(self.lasting_s * SECOND_NS))

    def ahead_ns(self, true_ns: Int64Array, random: np.random.Generator) -> FloatArray:
        return _worked_in(true_ns, self.at_ns, int(self.lasting_s * SECOND_NS), self.size_ns)


@dataclass(frozen=True, slots=True)
class Step(Shape):
    """Set forward by `size_ns` at `at_ns`; negative: back, so that readings come twice."""

    at_ns: int
    size_ns: int

    def steps(self) -> Iterator[tuple[int, int]]:
        yield self.at_ns, self.size_ns


@dataclass(frozen=True, slots=True)
class Suspend(Shape):
    """Stands still from `at_ns` for `lasting_ns`, as CLOCK_MONOTONIC_RAW does while a machine sleeps."""

    at_ns: int
    lasting_ns: int

    def suspends(self) -> Iterator[tuple[int, int]]:
        yield self.at_ns, self.lasting_ns


def _worked_in(true_ns: Int64Array, at_ns: int, lasting_ns: int, size_ns: int) -> FloatArray:
    share = np.clip((true_ns - at_ns) / lasting_ns, 0.0, 1.0)
    share -= np.clip(-at_ns / lasting_ns, 0.0, 1.0)  # gained since 0
    return np.asarray(share * size_ns, dtype=np.float64)
