"""What the packets between two hosts of a network undergo: values only, nothing is sent here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

SECOND_NS = 1_000_000_000

# A minute is more than any path on Earth takes, and less than what makes every protocol give up.
DELAY_S_MAX = 60.0

BothWays: TypeAlias = float | tuple[float, float]


class Way(NamedTuple):
    """
    One direction of a link.

    Attributes:
        delay_ns: every packet takes at least this long.
        jitter_ns: the mean of what each takes on top, drawn anew from an exponential distribution.
        loss: the chance that a packet is lost, each by itself.
    """

    delay_ns: int
    jitter_ns: int
    loss: float


@dataclass(frozen=True, slots=True)
class Link:
    """
    What the packets between two hosts undergo, each direction by itself.

    Each value is one number for both directions, or a pair: there and back. `Link(delay_s=(0.020, 0.005))` is a round
    trip of 25 ms that no measurement from its two ends can tell from an even one. Packets keep their order, as in a
    queue: one that takes long holds up those behind it.

    Attributes:
        delay_s: every packet takes at least so long, at most a minute.
        jitter_s: the mean of what each packet takes on top, exponentially distributed.
        loss: the chance that a packet is lost, each by itself; 1.0 cuts the link. TCP notices and sends it again.

    Raises:
        ValueError: a delay or jitter that is negative or above a minute, or a loss outside 0 to 1.
    """

    delay_s: BothWays = 0.0
    jitter_s: BothWays = 0.0
    loss: BothWays = 0.0

    def __post_init__(self) -> None:
        for name, value, most in (
            ("delay_s", self.delay_s, DELAY_S_MAX),
            ("jitter_s", self.jitter_s, DELAY_S_MAX),
            ("loss", self.loss, 1.0),
        ):
            if isinstance(value, tuple) and len(value) != 2:
                raise ValueError(f"{name} is {value}; expected one number, or two: there and back")
            for number in _pair(value):
                if not 0 <= number <= most:  # NaN neither
                    raise ValueError(f"{name} is {value}; expected 0 to {most:g}, or a pair of such: there and back")

    def ways(self) -> tuple[Way, Way]:
        """There and back."""
        there, back = zip(_pair(self.delay_s), _pair(self.jitter_s), _pair(self.loss), strict=True)
        return _way(*there), _way(*back)


class Traffic(NamedTuple):
    """
    What went one way over a link so far.

    Attributes:
        sent: packets that the one host sent to the other.
        lost: how many of them the link lost.
    """

    sent: int
    lost: int


def _pair(value: BothWays) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)


def _way(delay_s: float, jitter_s: float, loss: float) -> Way:
    # Up, so that no packet is ever faster than was asked for.
    return Way(math.ceil(delay_s * SECOND_NS), math.ceil(jitter_s * SECOND_NS), loss)
