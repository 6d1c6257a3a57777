"""
Clocks and networks in virtual time, with the truth about both: what alignment, or anything that reads stamps, can be
tested on. One seed replays everything.

    network = VirtualNetwork(
        clocks={ClockId("near"): [Constant(0)], ClockId("far"): [Constant(10**15), Linear(30), RandomWalk(1e-9)]},
        traffic=[Traffic(ClockId("near"), ClockId("far"), 50, forth=Light(90_000), back=Heavy(110_000))],
        span_s=600,
    )
    trace = network.trace(seed=7)
    align(trace.messages, reference=ClockId("near"), rate_bound_ppm=trace.rate_bound_ppm)
"""

from coeval.testing.virtual._clock import TrueStep, VirtualClock
from coeval.testing.virtual._delays import Bursty, Delays, Fixed, Heavy, Light, Polled
from coeval.testing.virtual._drawn import drawn_network
from coeval.testing.virtual._network import Pattern, Question, Trace, Traffic, VirtualNetwork
from coeval.testing.virtual._shapes import (
    Constant,
    LeapSmear,
    Linear,
    RandomWalk,
    Shape,
    Slew,
    Step,
    Suspend,
    TemperatureSine,
)

__all__ = [
    "VirtualNetwork",
    "Traffic",
    "Pattern",
    "Trace",
    "Question",
    "VirtualClock",
    "TrueStep",
    "drawn_network",
    "Shape",
    "Constant",
    "Linear",
    "RandomWalk",
    "TemperatureSine",
    "Slew",
    "LeapSmear",
    "Step",
    "Suspend",
    "Delays",
    "Fixed",
    "Light",
    "Heavy",
    "Bursty",
    "Polled",
]
