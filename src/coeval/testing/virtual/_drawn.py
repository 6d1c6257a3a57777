"""Random networks, for property tests over thousands of them: clocks, graph, traffic and stamps, all from one seed."""

from __future__ import annotations

import numpy as np

from coeval.clocks import ClockId
from coeval.testing.virtual._delays import Bursty, Delays, Fixed, Heavy, Light, Polled
from coeval.testing.virtual._network import Pattern, Traffic, VirtualNetwork
from coeval.testing.virtual._shapes import SECOND_NS, Constant, Linear, RandomWalk, Shape, Slew, Step, TemperatureSine

YEAR_NS = 31_556_952 * SECOND_NS

SPANS_S = (0.01, 1.0, 60.0, 600.0, 86_400.0, 8_000_000.0)
"""From an instant to three months."""

_PATTERNS: tuple[Pattern, ...] = ("regular", "random", "random", "bursts")


def drawn_network(
    seed: int,
    *,
    clocks: int | None = None,
    messages: int = 200,
    rate_ppm_max: float = 100.0,
    step_share: float = 0.0,
    step_ns: tuple[int, int] = (1_000, 10 * SECOND_NS),
    slews: bool = False,
    wrong_share: float = 0.0,
    coarse: bool = True,
    connected: bool = True,
) -> VirtualNetwork:
    """
    Draw the recipe of a network; its clocks are named c0, c1, ..

    Args:
        seed: the same seed and arguments give the same recipe. Draw the trace with it too, or with others.
        clocks: how many; None: two to six.
        messages: about how many in all.
        rate_ppm_max: the constant rates lie within this. Wandering adds up to 3 ppm, a slew its own rate.
        step_share: the share of clocks, other than c0, that step once, either way, in the middle half of the span.
        step_ns: the least and the greatest size of a step. One below the least round trip cannot be proven.
        slews: whether clocks other than c0 may be slewed.
        coarse: whether clocks may cut their stamps to ms, s or ticks.
        connected: whether traffic reaches every clock from every other, either way; otherwise parts may stand alone,
            and some ways are one-way.
    """
    random = np.random.default_rng([seed, 11])
    names = [ClockId(f"c{number}") for number in range(clocks or int(random.integers(2, 7)))]
    span_s = float(random.choice(SPANS_S))
    span_ns = round(span_s * SECOND_NS)
    shapes = {name: _shapes(random, span_ns, rate_ppm_max, number > 0 and slews) for number, name in enumerate(names)}
    for name in names[1:]:
        if random.uniform() < step_share:
            size = int(10 ** random.uniform(*np.log10(step_ns))) * int(random.choice([-1, 1]))
            shapes[name].append(Step(int(random.uniform(0.25, 0.75) * span_ns), size))
    pairs = [(int(random.integers(number)), number) for number in range(1, len(names))]
    if not connected:
        pairs = [pair for pair in pairs if random.uniform() < 0.8] or pairs[:1]
    pairs += [
        (near, far)
        for near in range(len(names))
        for far in range(near + 1, len(names))
        if (near, far) not in pairs and random.uniform() < 0.25
    ]
    each = max(messages / 2 / len(pairs) / span_s, 1e-9)
    traffic = [_traffic(random, names[near], names[far], each, span_ns, connected) for near, far in pairs]
    grains = (0, 0, 0, 1_000, 1_000_000, 15_625_000, SECOND_NS) if coarse else (0,)
    resolution = {name: int(random.choice(grains)) for name in names}
    return VirtualNetwork(
        shapes, traffic, span_s, {name: grain for name, grain in resolution.items() if grain}, True, wrong_share
    )


def _shapes(random: np.random.Generator, span_ns: int, rate_ppm_max: float, slewed: bool) -> list[Shape]:
    reach = (0, 10**9, 40 * YEAR_NS)[random.integers(3)]
    offset = int(random.integers(-reach, reach + 1))
    shapes: list[Shape] = [Constant(offset), Linear(float(random.uniform(-rate_ppm_max, rate_ppm_max)))]
    # Points far enough apart that rounding them to ns is no rate: 1 ns in 10 ms are 0.1 ppm.
    every_ns = max(span_ns // 200, 10_000_000)
    kind = random.integers(4)
    if kind & 1:
        every_s = every_ns / SECOND_NS
        shapes.append(RandomWalk(1e-7 / max(every_s, 1.0), limit_ppm=float(random.uniform(0.01, 1)), every_ns=every_ns))
    if kind & 2:
        period_s = max(span_ns / SECOND_NS * float(random.uniform(0.3, 3)), 1.0)
        shapes.append(TemperatureSine(float(random.uniform(0.01, 1)), period_s, every_ns=every_ns))
    if slewed and random.uniform() < 0.5:
        rate = float(random.choice([500.0, 83_333.0]))
        # Long enough that its ends, rounded to ns, give the rate that it has.
        lasting_ns = max(int(random.uniform(0.05, 0.5) * span_ns), 1_000_000)
        size = int(rate * 1e-6 * lasting_ns) * int(random.choice([-1, 1]))
        shapes.append(Slew(int(random.uniform(0, 0.9) * span_ns), size, rate))
    return shapes


def _traffic(
    random: np.random.Generator, near: ClockId, far: ClockId, rate_per_s: float, span_ns: int, connected: bool
) -> Traffic:
    forth, back = _delays(random, span_ns), _delays(random, span_ns)
    ways = int(random.integers(4)) if not connected else 3
    start, length = random.uniform(0, 0.8), random.uniform(0, 0.3)
    span_s = span_ns / SECOND_NS
    gap = ((float(start * span_s), float((start + length) * span_s)),) if random.uniform() < 0.3 else ()
    return Traffic(
        near,
        far,
        rate_per_s,
        forth if ways != 1 else None,
        back if ways != 2 else None,
        pattern=_PATTERNS[random.integers(len(_PATTERNS))],
        answered=bool(random.uniform() < 0.5),
        gaps_s=gap,
    )


def _delays(random: np.random.Generator, span_ns: int) -> Delays:
    minimum = int(10 ** random.uniform(0, 8))
    path: Delays = Fixed(minimum)
    kind = random.integers(5)
    if kind == 1:
        path = Light(minimum, mean_ns=int(10 ** random.uniform(1, 7)))
    elif kind == 2:
        path = Heavy(minimum, scale_ns=int(10 ** random.uniform(2, 7)))
    elif kind == 3:
        turn_s = span_ns / SECOND_NS / 50
        path = Bursty(minimum, quiet_s=turn_s, busy_s=turn_s)
    elif kind == 4:
        path = Polled(Fixed(minimum), every_ns=int(10 ** random.uniform(5, 8)))
    return path
