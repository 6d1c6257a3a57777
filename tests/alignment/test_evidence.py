"""Evidence that arrives bit by bit: a summary that does not depend on how it came, is bounded, and never lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.alignment import Evidence, Messages, align
from coeval.clocks import ClockId, Message
from coeval.testing.virtual import Heavy, Light, Linear, Trace, Traffic, VirtualNetwork, drawn_network

C0, C1, C2 = (ClockId(f"c{number}") for number in range(3))


def columns(messages: Messages) -> list[Message]:
    """The messages as values in a fixed order, whatever codes their clocks have."""
    return sorted(messages[row] for row in range(len(messages)))


def gathered(parts: list[Messages], **limits: int) -> Evidence:
    evidence = Evidence(**limits)
    for part in parts:
        evidence.add(part)
    return evidence


def busy_trace(seed: int = 1, rate_per_s: float = 300, span_s: float = 20) -> Trace:
    traffic = [
        Traffic(C0, C1, rate_per_s, Light(90_000), Light(110_000)),
        Traffic(C1, C2, rate_per_s, Heavy(90_000), Heavy(110_000)),
        Traffic(C0, C2, rate_per_s / 10, Heavy(90_000), Heavy(110_000)),
    ]
    return VirtualNetwork({C0: [], C1: [Linear(30)], C2: [Linear(-40)]}, traffic, span_s).trace(seed)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), batches=st.integers(1, 7), data=st.data())
def test_order_of_arrival_and_batches_change_nothing(seed: int, batches: int, data: st.DataObject) -> None:
    messages = drawn_network(seed, messages=150).trace(seed).messages
    order = np.random.default_rng(data.draw(st.integers(0, 10**6))).permutation(len(messages))
    limits = data.draw(st.sampled_from(({"rows_per_direction": 8}, {"rows_per_direction": 50}, {"rows": 40}, {})))
    whole = gathered([messages], **limits)
    parts = gathered([messages.taken(part) for part in np.array_split(order, batches)], **limits)
    assert columns(parts.messages()) == columns(whole.messages())
    assert parts.statistics() == whole.statistics()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), cut=st.floats(0, 1), data=st.data())
def test_two_halves_merged_equal_the_whole_bit_for_bit(seed: int, cut: float, data: st.DataObject) -> None:
    messages = drawn_network(seed, messages=150).trace(seed).messages
    limits = data.draw(st.sampled_from(({"rows_per_direction": 8}, {"rows_per_direction": 50}, {"rows": 40}, {})))
    order = np.random.default_rng(seed).permutation(len(messages))
    at = int(cut * len(messages))
    one, other = (gathered([messages.taken(part)], **limits) for part in (order[:at], order[at:]))
    if data.draw(st.booleans()):  # summarised before, or while it is merged
        one.messages(), other.messages()
    before = columns(other.messages())
    one.merge(other)
    assert columns(one.messages()) == columns(gathered([messages], **limits).messages())
    assert columns(other.messages()) == before
    assert one.statistics().seen == len(messages)


def test_batches_that_are_summarised_on_the_way_give_the_same_as_all_at_once() -> None:
    """So many that the summary is made several times."""
    messages = busy_trace(rate_per_s=3000, span_s=40).messages
    assert len(messages) > 400_000
    whole = gathered([messages], rows_per_direction=500)
    parts = gathered(
        [messages.taken(part) for part in np.array_split(np.arange(len(messages)), 40)], rows_per_direction=500
    )
    assert columns(parts.messages()) == columns(whole.messages())


@pytest.mark.parametrize("limit", [10, 100, 1000])
def test_rows_are_bounded_of_each_direction_and_in_all(limit: int) -> None:
    messages = busy_trace().messages
    each = gathered([messages], rows_per_direction=limit).messages()
    _, counts = np.unique(each.sender.astype(np.int64) * 3 + each.receiver, return_counts=True)
    assert len(counts) == 6
    assert int(counts.max()) <= limit
    assert len(gathered([messages], rows=6 * limit).messages()) <= 6 * limit


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), limit=st.sampled_from((4, 20, 100)))
def test_bounds_from_a_summary_are_sound_and_within_the_stated_slack_of_all_messages(seed: int, limit: int) -> None:
    trace = busy_trace(seed, rate_per_s=60)
    evidence = gathered([trace.messages], rows_per_direction=limit)
    slack_ns = evidence.statistics().slack_ns
    summary, whole = (align(each, reference=C0) for each in (evidence.messages(), trace.messages))
    for clock in (C1, C2):
        question = trace.question(clock, C0, trace.true_times_ns(200))
        less, more = (each.instants(clock, question.readings_ns) for each in (summary, whole))
        assert bool(np.all(less.earliest_ns <= question.greatest_ns))
        assert bool(np.all(less.latest_ns >= question.least_ns))
        assert bool(np.all(less.earliest_ns <= more.earliest_ns))
        assert bool(np.all(less.latest_ns >= more.latest_ns))
        # Of each message on the way from the reference, of which there are two at most.
        assert bool(np.all(more.earliest_ns - less.earliest_ns <= 2 * slack_ns))
        assert bool(np.all(less.latest_ns - more.latest_ns <= 2 * slack_ns))


def test_where_nothing_was_left_out_there_is_no_slack() -> None:
    messages = drawn_network(3, messages=50).trace(3).messages
    evidence = Evidence()
    assert (evidence.statistics().kept, evidence.statistics().slack_ns) == (0, 0)
    few = messages.taken(np.arange(0, len(messages), 10))
    evidence.add(few)
    statistics = evidence.statistics()
    assert (statistics.seen, statistics.kept, statistics.slack_ns) == (len(few), len(few), 0)


def test_soft_messages_and_those_of_one_clock_with_itself_are_kept_as_they_are() -> None:
    messages = busy_trace().messages
    soft = np.arange(len(messages)) % 50 == 0
    own = [Message(C1, 5, C1, 3, "own"), Message(C1, 7, C1, 9, "own too")]
    evidence = gathered([replace(messages, hard=~soft), Messages.of(own)], rows_per_direction=20)
    kept = evidence.messages()
    assert int((~kept.hard).sum()) == int(soft.sum())
    assert [message for message in columns(kept) if message in own] == own


def test_messages_keep_their_resolutions_delays_and_names() -> None:
    messages = [Message(C0, 0, C1, 10, "a", 1, 2, 3), Message(C1, 5, C0, 12, "b", 4, 5, 6)]
    evidence = gathered([Messages.of(messages[:1]), Messages.of(messages[1:])])
    assert columns(evidence.messages()) == sorted(messages)


def test_a_faster_message_is_one_that_took_less_beyond_its_proven_delay() -> None:
    """Within one stretch, the two that bound most are kept, not those with the least difference of stamps."""
    plain = [Message(C0, 0, C1, 1000, "plain"), Message(C0, 1, C1, 1002, "plain too")]
    proven = [
        Message(C0, 2, C1, 5002, "proven", delay_ns_min=4900),
        Message(C0, 3, C1, 5004, "again", delay_ns_min=4900),
    ]
    evidence = gathered([Messages.of([*plain, *proven])], rows_per_direction=2)
    assert {message.id for message in columns(evidence.messages())} == {"proven", "again"}


@pytest.mark.parametrize("limits", [{"rows": 0}, {"rows_per_direction": 0}, {"rows": -5}])
def test_a_limit_must_be_positive(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="give positive numbers"):
        Evidence(**limits)
