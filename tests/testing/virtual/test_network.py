"""Traces of virtual networks: replayed by their seed, causal where nothing was made wrong, and true to their recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.alignment import align
from coeval.clocks import ClockId
from coeval.testing.virtual import (
    Bursty,
    Constant,
    Delays,
    Fixed,
    Heavy,
    Light,
    Linear,
    Pattern,
    Polled,
    RandomWalk,
    Step,
    Trace,
    Traffic,
    VirtualNetwork,
    drawn_network,
)

SECOND_NS = 10**9
NEAR, FAR = ClockId("near"), ClockId("far")
KINDS: tuple[Delays, ...] = (
    Fixed(90_000),
    Light(90_000),
    Heavy(90_000),
    Bursty(90_000),
    Polled(Light(90_000), every_ns=5_000_000),
)
seeds = st.integers(0, 2**32)


def network(**changes: object) -> VirtualNetwork:
    traffic = Traffic(NEAR, FAR, 50, forth=Light(90_000), back=Heavy(110_000))
    recipe = VirtualNetwork({NEAR: [Constant(5)], FAR: [Constant(10**15), Linear(30), RandomWalk(1e-9)]}, [traffic], 20)
    return replace(recipe, **changes)  # type: ignore[arg-type]


def columns(trace: Trace) -> list[list[int]]:
    messages = trace.messages
    found: list[np.ndarray[Any, Any]]
    found = [messages.sender, messages.receiver, messages.sent_ns, messages.received_ns, messages.sender_resolution_ns]
    found += [trace.sent_true_ns, trace.received_true_ns, trace.wrong, trace.flow]
    return [column.tolist() for column in found]


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_a_seed_replays_a_trace_to_the_ns(seed: int) -> None:
    recipe = drawn_network(seed, step_share=0.5, slews=True, wrong_share=0.05, connected=False)
    assert columns(recipe.trace(seed)) == columns(drawn_network(
        seed, step_share=0.5, slews=True, wrong_share=0.05, connected=False
    ).trace(seed))  # fmt: skip


def test_other_seeds_give_other_traces() -> None:
    assert columns(network().trace(1)) != columns(network().trace(2))


def test_a_trace_says_how_to_replay_it() -> None:
    trace = network().trace(4711)
    again = eval(repr(trace.network), vars(__import__("coeval.testing.virtual", fromlist=["x"])))
    assert "seed=4711" in repr(trace)
    assert columns(again.trace(4711)) == columns(trace)


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_every_message_that_is_not_wrong_arrives_after_its_sending_by_no_less_than_the_minimum(seed: int) -> None:
    trace = drawn_network(seed, step_share=0.3, slews=True, wrong_share=0.1, connected=False).trace(seed)
    least = np.array([delays.minimum_ns for _, _, delays in trace.network.flows])[trace.flow]
    right = ~trace.wrong
    assert (trace.received_true_ns - trace.sent_true_ns >= least)[right].all(), repr(trace)
    assert (np.diff(trace.received_true_ns) >= 0).all()


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_stamps_are_what_the_clocks_show_cut_to_their_resolution(seed: int) -> None:
    trace = drawn_network(seed, step_share=0.5, wrong_share=0.1).trace(seed)
    messages = trace.messages
    for code, name in enumerate(messages.clocks):
        clock = trace.clocks[name]
        sent, received = messages.sender == code, messages.receiver == code
        grain = trace.network.resolution_ns.get(name, 0)
        assert set(messages.sender_resolution_ns[sent].tolist()) <= {grain}
        room = max(grain, 1)
        late = clock.readings_ns(trace.sent_true_ns[sent]) - messages.sent_ns[sent]
        assert ((late >= 0) & (late < room)).all()
        shown = clock.readings_ns(trace.received_true_ns[received], rounded="down" if grain else "up")
        early = shown - messages.received_ns[received]
        assert ((early >= 0) & (early < room)).all()


@pytest.mark.parametrize("delays", KINDS, ids=lambda delays: type(delays).__name__)
def test_no_delay_is_below_its_minimum_and_some_are_near_it(delays: Delays) -> None:
    sent = np.sort(np.random.default_rng(1).integers(0, 600 * SECOND_NS, 60_000))
    waits = delays.delays_ns(sent, np.random.default_rng(2)) - delays.minimum_ns
    assert delays.minimum_ns == 90_000
    assert 0 <= waits.min() < 10_000


def test_a_polling_receiver_gets_everything_at_one_of_its_looks() -> None:
    sent = np.sort(np.random.default_rng(1).integers(0, 10 * SECOND_NS, 1000))
    looked = sent + Polled(Fixed(1000), every_ns=5_000_000).delays_ns(sent, np.random.default_rng(2))
    assert len(np.unique(looked % 5_000_000)) == 1
    assert (looked - sent).max() <= 5_001_000


def test_bursts_of_a_network_hit_neighbours_together() -> None:
    sent = np.arange(0, 600 * SECOND_NS, SECOND_NS // 50)
    waits = Bursty(0).delays_ns(sent, np.random.default_rng(2)).astype(np.float64)
    busy = (waits > 500_000).astype(np.float64)
    assert np.corrcoef(busy[:-1], busy[1:])[0, 1] > 0.5


@pytest.mark.parametrize("pattern", ["regular", "random", "bursts"])
def test_traffic_has_its_rate_and_its_gap(pattern: Pattern) -> None:
    traffic = Traffic(NEAR, FAR, 50, Fixed(1000), Fixed(1000), pattern=pattern, gaps_s=((100, 200),))
    trace = network(traffic=[traffic], span_s=600).trace(3)
    forth = trace.sent_true_ns[trace.flow == 0]
    assert len(forth) == pytest.approx(50 * 500, rel=0.05)
    assert not ((forth > 100 * SECOND_NS) & (forth < 200 * SECOND_NS)).any()


def test_an_answer_is_sent_after_what_it_answers_and_one_way_traffic_has_none() -> None:
    both = network().trace(3)
    forth, back = both.flow == 0, both.flow == 1
    assert forth.sum() == back.sum()
    assert (np.sort(both.received_true_ns[forth]) <= np.sort(both.sent_true_ns[back])).all()
    one_way = network(traffic=[Traffic(NEAR, FAR, 50, Fixed(9), None)]).trace(3)
    assert set(one_way.messages.sender.tolist()) == {one_way.messages.clocks.index(NEAR)}


def test_wrong_pairs_are_as_many_as_asked_for_and_show_anothers_send_stamp() -> None:
    trace = network(wrong_share=0.05, span_s=600).trace(5)
    assert trace.wrong.mean() == pytest.approx(0.05, abs=0.01)
    for code in (0, 1):
        of_flow = trace.messages.sender == code
        right = set(trace.messages.sent_ns[of_flow & ~trace.wrong].tolist())
        taken = trace.messages.sent_ns[of_flow & trace.wrong].tolist()
        assert np.mean([stamp in right for stamp in taken]) > 0.8  # the rest are those of other wrong pairs
    delays = trace.received_true_ns - trace.sent_true_ns
    assert (delays[trace.wrong] < 0).any()
    assert network().trace(5).wrong.sum() == 0


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_a_question_encloses_the_truth_by_a_few_ns(seed: int) -> None:
    trace = drawn_network(seed, clocks=2).trace(seed)
    asked = trace.question(ClockId("c1"), ClockId("c0"), trace.true_times_ns(50))
    reference, clock = trace.clocks[ClockId("c0")], trace.clocks[ClockId("c1")]
    instants = clock.true_ns(asked.readings_ns)
    assert (asked.least_ns <= reference.readings_ns(instants - 1, rounded="up")).all()
    assert (reference.readings_ns(instants) <= asked.greatest_ns).all()
    assert (asked.greatest_ns - asked.least_ns <= 4).all()
    assert (np.abs(asked.middle_ns - reference.readings_ns(instants)) <= 3).all()


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_alignment_holds_the_truth_of_a_drawn_pair_under_the_rates_that_its_clocks_tell(seed: int) -> None:
    c0, c1 = ClockId("c0"), ClockId("c1")
    trace = drawn_network(seed, clocks=2, slews=True).trace(seed)
    aligned = align(trace.messages, reference=c0, rate_bound_ppm=trace.rate_bound_ppm)
    asked = trace.question(c1, c0, trace.true_times_ns(100))
    placed = aligned.instants(c1, asked.readings_ns)
    assert (placed.earliest_ns <= asked.least_ns).all(), repr(trace)
    assert (asked.greatest_ns <= placed.latest_ns).all(), repr(trace)


def test_the_truth_about_steps_is_kept() -> None:
    trace = network(clocks={NEAR: [Constant(0)], FAR: [Step(7 * SECOND_NS, 10**6)]}).trace(1)
    (step,) = trace.steps
    assert (step.clock, step.at_ns, step.size_ns) == (FAR, 7 * SECOND_NS, 10**6)
    assert trace.rate_bound_ppm == {NEAR: 0, FAR: 0}


def test_traffic_of_an_unknown_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="traffic names clock 'far', which is not in clocks"):
        network(clocks={NEAR: [Constant(0)]})
