"""What the assumed grade rests on: where clocks keep it, its bounds hold; where evidence refutes it, it is widened."""

from __future__ import annotations

import numpy as np
import pytest

from coeval.alignment import CURVATURE_PRIOR, WANDER_PPM_PRIOR, Alignment, align
from coeval.clocks import ClockId
from coeval.testing.virtual import (
    Heavy,
    Light,
    Linear,
    RandomWalk,
    Shape,
    TemperatureSine,
    Trace,
    Traffic,
    VirtualNetwork,
)

C0, C1 = ClockId("c0"), ClockId("c1")


def run(shape: Shape, seed: int, rate_per_s: float = 10, span_s: float = 600) -> tuple[Alignment, Trace]:
    traffic = [Traffic(C0, C1, rate_per_s, Light(90_000), Heavy(110_000))]
    trace = VirtualNetwork({C0: [], C1: [Linear(30), shape]}, traffic, span_s).trace(seed)
    return align(trace.messages, reference=C0, rate_bound_ppm=100.0), trace


def assert_assumed_holds(alignment: Alignment, trace: Trace) -> None:
    question = trace.question(C1, C0, trace.true_times_ns(1000))
    placed = alignment.instants(C1, question.readings_ns, "assumed")
    assert bool(np.all(placed.earliest_ns <= question.greatest_ns))
    assert bool(np.all(placed.latest_ns >= question.least_ns))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [Linear(0), RandomWalk(5e-9, limit_ppm=0.3), TemperatureSine(0.5, 1200)])
def test_the_truth_is_inside_where_a_clock_keeps_what_is_reported(shape: Shape, seed: int) -> None:
    alignment, trace = run(shape, seed)
    (fit,) = alignment.report()
    assert fit.wander_ppm == WANDER_PPM_PRIOR
    assert fit.curvature_ppm_s == pytest.approx(CURVATURE_PRIOR * 1e6)
    assert_assumed_holds(alignment, trace)


@pytest.mark.parametrize("seed", range(5))
def test_a_rate_that_wanders_more_than_is_usual_widens_the_assumption_until_it_holds(seed: int) -> None:
    alignment, trace = run(TemperatureSine(10, 300), seed, rate_per_s=50)
    (fit,) = alignment.report()
    assert fit.wander_ppm is not None
    assert fit.wander_ppm_consistent is not None
    assert fit.wander_ppm > WANDER_PPM_PRIOR
    # The rate changes by 20 ppm in all: the smallest change that explains the data is not more.
    assert 1 < fit.wander_ppm_consistent <= 20.5
    assert fit.wander_ppm >= 2 * fit.wander_ppm_consistent
    assert_assumed_holds(alignment, trace)


@pytest.mark.parametrize("seed", range(5))
def test_a_rate_that_changes_faster_than_is_usual_widens_the_curvature(seed: int) -> None:
    shape = TemperatureSine(30, 60)
    alignment, trace = run(shape, seed, rate_per_s=100, span_s=300)
    (fit,) = alignment.report()
    assert fit.curvature_ppm_s is not None
    assert fit.curvature_ppm_s_consistent is not None
    assert fit.curvature_ppm_s > CURVATURE_PRIOR * 1e6
    # Up to the step of the search, no more than the truth.
    assert fit.curvature_ppm_s_consistent <= 1.5 * shape.curvature_per_s * 1e6
    assert_assumed_holds(alignment, trace)


@pytest.mark.parametrize("seed", range(5))
def test_a_steady_clock_shows_its_rate_and_needs_no_wander(seed: int) -> None:
    alignment, _ = run(Linear(0), seed)
    (fit,) = alignment.report()
    assert fit.wander_ppm_consistent == 0
    assert fit.rate_ppm == pytest.approx(30, abs=0.5)
    assert fit.rate_ppm_least <= 30 <= fit.rate_ppm_greatest
