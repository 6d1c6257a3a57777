"""
Random systems of virtual clocks, whose truth is known: what alignment says of them is never false.

A few hundred by default. More: `COEVAL_VIRTUAL_SYSTEMS=5000 pytest tests/simulation`. A failure names its seed, and
`assert_honest(seed, ...)` replays it.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from coeval.alignment import (
    CURVATURE_PRIOR,
    UNKNOWN_EARLIEST,
    UNKNOWN_ESTIMATE,
    UNKNOWN_LATEST,
    WANDER_PPM_PRIOR,
    Alignment,
    align,
)
from coeval.clocks import ClockId, Grade
from coeval.testing.virtual import RandomWalk, TemperatureSine, Trace, drawn_network

SYSTEMS = int(os.environ.get("COEVAL_VIRTUAL_SYSTEMS", "240"))
PORTIONS = 12
REFERENCE = ClockId("c0")
GRADES: tuple[Grade, ...] = ("declared", "assumed")

KINDS: tuple[dict[str, Any], ...] = (
    {"messages": 100},
    {"messages": 20, "connected": False},
    {"messages": 60, "slews": True},
    {"messages": 8, "connected": False},
)


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_the_truth_is_inside_and_estimates_keep_every_order(portion: int) -> None:
    for seed in range(portion, SYSTEMS, PORTIONS):
        kind = KINDS[seed // PORTIONS % len(KINDS)]
        problems = assert_honest(seed, **kind)
        assert not problems, f"drawn_network({seed}, **{kind}).trace({seed}): {problems}"


def assert_honest(seed: int, **kind: Any) -> list[str]:
    """Align one system, and say everything that is wrong with the result."""
    trace = drawn_network(seed, **kind).trace(seed)
    alignment = align(trace.messages, reference=REFERENCE, rate_bound_ppm=trace.rate_bound_ppm)
    problems = [f"{len(alignment.rejected)} true messages rejected"] if len(alignment.rejected) else []
    problems += [f"{len(alignment.steps)} steps invented"] if alignment.steps else []
    for clock in alignment.clocks:
        problems += _false_bounds(alignment, trace, clock)
    for grade in GRADES:
        problems += _reversed_messages(alignment, trace, grade)
    return problems


def _false_bounds(alignment: Alignment, trace: Trace, clock: ClockId) -> list[str]:
    problems = []
    question = trace.question(clock, REFERENCE, trace.true_times_ns(40))
    declared, assumed = (alignment.instants(clock, question.readings_ns, grade) for grade in GRADES)
    outside = (declared.earliest_ns > question.greatest_ns) | (declared.latest_ns < question.least_ns)
    if bool(outside.any()):
        problems.append(f"{clock}: the truth is outside the declared bounds of {outside.sum()} readings")
    wider = (assumed.earliest_ns < declared.earliest_ns) | (assumed.latest_ns > declared.latest_ns)
    if bool(wider.any()):
        problems.append(f"{clock}: assumed bounds are outside the declared ones of {wider.sum()} readings")
    outside = (assumed.earliest_ns > question.greatest_ns) | (assumed.latest_ns < question.least_ns)
    if bool(outside.any()) and _is_steady(alignment, trace):
        problems.append(f"{clock}: the truth is outside the assumed bounds of {outside.sum()} readings")
    order = np.argsort(question.readings_ns, kind="stable")
    for placed in (declared, assumed):
        for column, unknown in (
            (placed.earliest_ns, UNKNOWN_EARLIEST),
            (placed.estimate_ns, UNKNOWN_ESTIMATE),
            (placed.latest_ns, UNKNOWN_LATEST),
        ):
            known = column[order][column[order] != unknown]
            if bool(np.any(np.diff(known) < 0)):
                problems.append(f"{clock}: a {placed.grade} column runs backwards")
        known = placed.estimate_ns != UNKNOWN_ESTIMATE
        inside = (placed.earliest_ns <= placed.estimate_ns) & (placed.estimate_ns <= placed.latest_ns)
        if not bool(np.all(inside[known])):
            problems.append(f"{clock}: a {placed.grade} estimate is outside its bounds")
    return problems


def _is_steady(alignment: Alignment, trace: Trace) -> bool:
    """Whether all clocks keep what is assumed of any clock, however little their own evidence shows."""
    for shapes in trace.network.clocks.values():
        wander_ppm, curvature = 0.0, 0.0
        for shape in shapes:
            if isinstance(shape, RandomWalk):
                wander_ppm, curvature = wander_ppm + 2 * shape.limit_ppm, curvature + shape.curvature_per_s
            elif isinstance(shape, TemperatureSine):
                wander_ppm, curvature = wander_ppm + 2 * shape.amplitude_ppm, curvature + shape.curvature_per_s
            elif type(shape).__name__ == "Slew":
                return False
        # Of one clock against another: each may have half. Rates are rounded to a ns per knot.
        if wander_ppm > 0.4 * WANDER_PPM_PRIOR or curvature > 0.25 * CURVATURE_PRIOR:
            return False
    return trace.network.span_s >= 60


def _reversed_messages(alignment: Alignment, trace: Trace, grade: Grade) -> list[str]:
    """Of every accepted message, the send is not shown after the receive."""
    problems = []
    messages = trace.messages
    accepted = np.setdiff1d(np.arange(len(messages)), np.union1d(alignment.rejected, alignment.unsorted))
    sent, received = (np.full(len(messages), UNKNOWN_ESTIMATE) for _ in range(2))
    for code, clock in enumerate(messages.clocks):
        sends, receives = messages.sender == code, messages.receiver == code
        sent[sends] = alignment.instants(clock, messages.sent_ns[sends], grade).estimate_ns
        received[receives] = alignment.instants(clock, messages.received_by_ns[receives], grade).estimate_ns
    known = accepted[(sent[accepted] != UNKNOWN_ESTIMATE) & (received[accepted] != UNKNOWN_ESTIMATE)]
    turned = known[sent[known] > received[known]]
    if len(turned):
        problems.append(f"{grade}: {len(turned)} messages are reversed, such as row {turned[0]}")
    return problems
