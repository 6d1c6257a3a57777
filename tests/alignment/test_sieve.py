"""The sieve leaves out messages, and not one nanosecond of any bound with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coeval.alignment import Alignment, Messages, align
from coeval.alignment._rate import GRID_BITS, grid_up, ppm
from coeval.alignment._sieve import SIEVED_LEAST, worth_solving
from coeval.alignment._sorting import hard_rows
from coeval.clocks import ClockId
from coeval.testing.virtual import Heavy, Light, Trace, Traffic, VirtualNetwork, drawn_network

C0, C1 = ClockId("c0"), ClockId("c1")

# Of all rows the largest excess may be larger, and then units are coarser.
ROUNDING_NS = 1


def limits_of(trace: Trace) -> list[int]:
    """As `align` has them: of each clock against the reference."""
    own = ppm(trace.rate_bound_ppm[C0])
    bounds = [ppm(trace.rate_bound_ppm[clock]) for clock in trace.messages.clocks]
    return [
        0 if clock == C0 else grid_up(bound + own + bound * own)
        for clock, bound in zip(trace.messages.clocks, bounds, strict=True)
    ]


def in_full(messages: Messages, trace: Trace) -> Alignment:
    """Aligned without any sieve, as all that has segments is."""
    return align(messages, reference=C0, rate_bound_ppm=trace.rate_bound_ppm, segments={C1: ()})


def with_delays(messages: Messages, trace: Trace, seed: int) -> Messages:
    """Some proven delays, each at most what the message took."""
    random = np.random.default_rng([seed, 5])
    took = trace.received_true_ns - trace.sent_true_ns
    share = random.choice([0.0, 0.0, 0.5, 0.9], len(took))
    return replace(messages, delay_ns_min=(took * share).astype(np.int64))


@pytest.mark.parametrize("seed", range(12))
def test_the_sieved_rows_give_the_same_declared_bounds_as_all_rows(seed: int) -> None:
    """Random systems with stamps of ms and s, proven delays, gaps, bursts, over seconds to months."""
    trace = drawn_network(seed, messages=SIEVED_LEAST + 8000, clocks=2 + seed % 4).trace(seed)
    messages = with_delays(trace.messages, trace, seed) if seed % 2 else trace.messages
    messages = messages.among(tuple(dict.fromkeys((C0, *messages.clocks))))
    trace_limits = dict(zip(trace.messages.clocks, limits_of(trace), strict=True))
    rows = hard_rows(messages)
    assert len(rows) >= SIEVED_LEAST
    kept = worth_solving(messages, rows, [trace_limits[clock] for clock in messages.clocks])
    assert 0 < len(kept) <= len(rows)
    assert bool(np.all(np.diff(kept) > 0))
    sieved, whole = (in_full(each, trace) for each in (messages.taken(kept), messages))
    for clock in whole.clocks:
        readings = trace.question(clock, C0, trace.true_times_ns(400)).readings_ns
        one, other = (each.instants(clock, readings) for each in (sieved, whole))
        assert int(np.abs(one.earliest_ns - other.earliest_ns).max()) <= ROUNDING_NS
        assert int(np.abs(one.latest_ns - other.latest_ns).max()) <= ROUNDING_NS


def test_dense_traffic_leaves_next_to_nothing_and_few_messages_are_left_alone() -> None:
    traffic = [Traffic(C0, C1, 1000, Light(90_000), Heavy(90_000))]
    trace = VirtualNetwork({C0: [], C1: []}, traffic, 20).trace(1)
    rows = hard_rows(trace.messages)
    limits = [0, int(200e-6 * 2**GRID_BITS)]
    assert len(worth_solving(trace.messages, rows, limits)) < len(rows) / 10
    few = rows[: SIEVED_LEAST - 1]
    assert worth_solving(trace.messages, few, limits) is few


def test_equal_messages_do_not_make_each_other_needless() -> None:
    count = SIEVED_LEAST
    sent = np.zeros(count, dtype=np.int64)
    messages = Messages.between(C0, C1, sent, sent + 100)
    kept = worth_solving(messages, np.arange(count), [0, 100])
    assert len(kept) >= 1


def test_rows_in_any_order_are_sieved_alike() -> None:
    trace = drawn_network(5, messages=SIEVED_LEAST + 8000, clocks=2).trace(5)
    order = np.random.default_rng(5).permutation(len(trace.messages))
    kept = worth_solving(trace.messages, hard_rows(trace.messages), limits_of(trace))
    shuffled = trace.messages.taken(order)
    again = worth_solving(shuffled, hard_rows(shuffled), limits_of(trace))
    readings = trace.question(C1, C0, trace.true_times_ns(300)).readings_ns
    one, other = (
        align(each, reference=C0, rate_bound_ppm=trace.rate_bound_ppm).instants(C1, readings)
        for each in (trace.messages.taken(kept), shuffled.taken(again))
    )
    assert int(np.abs(one.earliest_ns - other.earliest_ns).max()) <= ROUNDING_NS
    assert int(np.abs(one.latest_ns - other.latest_ns).max()) <= ROUNDING_NS
