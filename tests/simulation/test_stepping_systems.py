"""
Random systems whose clocks are set, several of them and close together, in traffic from dense to sparse.

Whatever verdict on each step alignment comes to, no declared interval may miss the truth, and no estimate may turn an
accepted message round. Between two steps of one clock there are some messages of each of its pairs: what no message
shows, no verdict can tell.

A few dozen by default. More: `COEVAL_VIRTUAL_SYSTEMS=5000 pytest tests/simulation`. A failure names its seed, and
`assert_honest(seed)` replays it.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from coeval.alignment import UNKNOWN_ESTIMATE, Alignment, align
from coeval.clocks import ClockId, Grade
from coeval.testing.virtual import Constant, Heavy, Light, Linear, Shape, Step, Trace, Traffic, VirtualNetwork

SYSTEMS = int(os.environ.get("COEVAL_VIRTUAL_SYSTEMS", "240")) // 4
PORTIONS = 6
SECOND_NS = 10**9
GRADES: tuple[Grade, ...] = ("declared", "assumed")

# Of two steps of one clock: so many messages of its sparsest pair are between them, each way and on average.
MESSAGES_BETWEEN = 8


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_clocks_that_are_set_close_together_never_make_a_declared_interval_false(portion: int) -> None:
    for seed in range(portion, SYSTEMS, PORTIONS):
        problems = assert_honest(seed)
        assert not problems, f"stepping({seed}).trace({seed}): {problems}"


def stepping(seed: int) -> VirtualNetwork:
    """Two to four clocks; one or two that are not the reference are set once or twice, by 5 ms to 3 s either way."""
    random = np.random.default_rng([seed, 5])
    clocks = [ClockId(f"c{number}") for number in range(int(random.integers(2, 5)))]
    span_s = float(random.choice([10, 60, 300], p=[0.6, 0.3, 0.1]))
    shapes: dict[ClockId, list[Shape]] = {
        clock: [Constant(int(random.integers(-(10**9), 10**9))), Linear(float(random.uniform(-50, 50)))]
        for clock in clocks
    }
    pairs = [(int(random.integers(number)), number) for number in range(1, len(clocks))]
    for near in range(len(clocks)):
        pairs += [
            (near, far) for far in range(near + 1, len(clocks)) if (near, far) not in pairs and random.random() < 0.5
        ]
    rates = [float(random.choice([5, 20])) for _ in pairs]

    def delay() -> Light | Heavy:
        minimum_ns = int(random.integers(50_000, 200_000))
        return Light(minimum_ns) if random.random() < 0.5 else Heavy(minimum_ns)

    stepped = (
        random.choice(len(clocks) - 1, size=int(random.integers(1, min(2, len(clocks) - 1) + 1)), replace=False) + 1
    )
    for number in stepped.tolist():
        slowest = min(rate for rate, pair in zip(rates, pairs, strict=True) if number in pair)
        first = float(random.uniform(0.2, 0.5)) * span_s
        instants = [first, first + MESSAGES_BETWEEN / slowest + float(random.exponential(0.1 * span_s))]
        for at in instants[: int(random.integers(1, 3))]:
            size_ns = int(10 ** random.uniform(6.7, 9.5)) * int(random.choice([-1, 1]))
            if at < 0.85 * span_s:
                shapes[clocks[number]].append(Step(int(at * SECOND_NS), size_ns))
    traffic = [
        Traffic(clocks[near], clocks[far], rate, delay(), delay(), pattern="random", answered=bool(random.integers(2)))
        for rate, (near, far) in zip(rates, pairs, strict=True)
    ]
    return VirtualNetwork(shapes, traffic, span_s)


def assert_honest(seed: int) -> list[str]:
    """Align one system, and say everything that is wrong with the result."""
    trace = stepping(seed).trace(seed)
    alignment = align(trace.messages, reference=ClockId("c0"))
    problems = [each for clock in alignment.clocks for each in _false_bounds(alignment, trace, clock)]
    return problems + [each for grade in GRADES for each in _reversed_messages(alignment, trace, grade)]


def _false_bounds(alignment: Alignment, trace: Trace, clock: ClockId) -> list[str]:
    """At every stamp that the clock gave, and at times between."""
    messages, shown = trace.messages, trace.clocks[alignment.reference_clock]
    code = messages.clocks.index(clock)
    sent, received = messages.sender == code, messages.receiver == code
    readings = np.concatenate((messages.sent_ns[sent], messages.received_ns[received]))
    times = np.concatenate((trace.sent_true_ns[sent], trace.received_true_ns[received]))
    question = trace.question(clock, alignment.reference_clock, trace.true_times_ns(100))
    placed, asked = alignment.instants(clock, readings), alignment.instants(clock, question.readings_ns)
    # A stamp of whole nanoseconds is of a time within two.
    least, greatest = shown.readings_ns(times - 2), shown.readings_ns(times + 2, rounded="up")
    outside = int(((placed.earliest_ns > greatest) | (placed.latest_ns < least)).sum())
    outside += int(((asked.earliest_ns > question.greatest_ns) | (asked.latest_ns < question.least_ns)).sum())
    return [f"{clock}: the truth is outside the declared bounds of {outside} readings"] if outside else []


def _reversed_messages(alignment: Alignment, trace: Trace, grade: Grade) -> list[str]:
    """Of accepted messages whose stamps a clock showed once: a reading that it showed twice has two times."""
    messages = trace.messages
    accepted = np.ones(len(messages), dtype=np.bool_)
    accepted[alignment.rejected] = False
    accepted[alignment.unsorted] = False
    count = 0
    for sender, receiver, _ in trace.network.flows:
        rows = accepted & (messages.sender == messages.clocks.index(sender))
        rows &= messages.receiver == messages.clocks.index(receiver)
        sent_ns, received_ns = messages.sent_ns[rows], messages.received_by_ns[rows]
        once = ~(_shown_twice(alignment, sender, sent_ns) | _shown_twice(alignment, receiver, received_ns))
        sent = alignment.instants(sender, sent_ns[once], grade).estimate_ns
        received = alignment.instants(receiver, received_ns[once], grade).estimate_ns
        known = (sent != UNKNOWN_ESTIMATE) & (received != UNKNOWN_ESTIMATE)
        count += int((known & (sent > received)).sum())
    return [f"{grade}: {count} messages turned round"] if count else []


def _shown_twice(alignment: Alignment, clock: ClockId, readings_ns: np.ndarray) -> np.ndarray:
    found = np.zeros(len(readings_ns), dtype=np.bool_)
    for step in alignment.steps:
        if step.clock == clock:
            low, high = sorted((step.earliest_ns, step.latest_ns))
            found |= (readings_ns >= low) & (readings_ns <= high)
    return found
