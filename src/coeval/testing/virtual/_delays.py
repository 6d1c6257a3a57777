"""
How long messages are on their way, by named kinds of path. Each knows the least that it can be.

    Fixed, Light, Heavy, Bursty        what happens in the network
    Polled                             a receiver that only looks now and then, over any of these

A path has two directions, which need not be alike: a lopsided link has two delays with other minima.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from coeval.testing.virtual._exact import Int64Array
from coeval.testing.virtual._shapes import SECOND_NS


@runtime_checkable
class Delays(Protocol):
    """One direction of a path."""

    @property
    def minimum_ns(self) -> int:
        """No message is faster, in true ns; at least 1."""

    def delays_ns(self, sent_ns: Int64Array, random: np.random.Generator) -> Int64Array:
        """A delay for each message, by the true times at which they are sent, which increase."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same."""

    minimum_ns: int

    def delays_ns(self, sent_ns: Int64Array, random: np.random.Generator) -> Int64Array:
        return np.full(len(sent_ns), self.minimum_ns, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Light:
    """
    A quiet network: exponential queueing of `mean_ns`, and a share of messages that wait far longer, as when a process
    is not scheduled or a frame is sent again.
    """

    minimum_ns: int
    mean_ns: int = 40_000
    spike_share: float = 0.05
    spike_mean_ns: int = 2_000_000

    def delays_ns(self, sent_ns: Int64Array, random: np.random.Generator) -> Int64Array:
        waits = random.exponential(self.mean_ns, len(sent_ns))
        spiked = random.uniform(size=len(sent_ns)) < self.spike_share
        waits[spiked] += random.exponential(self.spike_mean_ns, int(spiked.sum()))
        return self.minimum_ns + waits.astype(np.int64)


@dataclass(frozen=True, slots=True)
class Heavy:
    """A busy network: gamma queueing, of which next to nothing is close to the minimum."""

    minimum_ns: int
    shape: float = 2.0
    scale_ns: int = 300_000

    def delays_ns(self, sent_ns: Int64Array, random: np.random.Generator) -> Int64Array:
        return self.minimum_ns + random.gamma(self.shape, self.scale_ns, len(sent_ns)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Bursty:
    """Quiet and busy times take turns, each of a random length; all messages of a busy time queue."""

    minimum_ns: int
    quiet_mean_ns: int = 40_000
    busy_mean_ns: int = 3_000_000
    quiet_s: float = 5.0
    busy_s: float = 5.0

    def delays_ns(self, sent_ns: Int64Array, random: np.random.Generator) -> Int64Array:
        if not len(sent_ns):
            return np.zeros(0, dtype=np.int64)
        span_s = float(sent_ns.max() - sent_ns.min()) / SECOND_NS
        turns = 2 * int(span_s / (self.quiet_s + self.busy_s) * 2 + 20)
        lengths = random.exponential(1.0, turns) * np.tile([self.quiet_s, self.busy_s], turns // 2)
        turn = np.searchsorted(np.cumsum(lengths), (sent_ns - sent_ns.min()) / SECOND_NS)
        mean = np.where(turn % 2 == 0, self.quiet_mean_ns, self.busy_mean_ns)
        return self.minimum_ns + (random.exponential(1.0, len(sent_ns)) * mean).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Polled:
    """
    Over `path`, to a receiver that looks every `every_ns` of true time: what has arrived waits until then.

    The minimum is that of the path: it is reached where a message arrives just before a look.
    """

    path: Delays
    every_ns: int

    @property
    def minimum_ns(self) -> int:
        return self.path.minimum_ns

    def delays_ns(self, sent_ns: Int64Array, random: np.random.Generator) -> Int64Array:
        first = random.integers(self.every_ns)
        arrived = sent_ns + self.path.delays_ns(sent_ns, random)
        looked: Int64Array = first - (first - arrived) // self.every_ns * self.every_ns
        return looked - sent_ns
