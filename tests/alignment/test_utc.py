"""Anchors put instants on UTC, from any clock that exchanged messages with the reference, and never break an order."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import Messages, align
from coeval.clocks import UTC, Anchor, ClockId, Grade, Instant, Message, Stamp
from tests.strategies import FAR, NEAR, Pair, Traffic, pairs, traffic

EXCHANGE = [Message(FAR, 0, NEAR, 1010), Message(NEAR, 990, FAR, 0)]
NOW = 1_800_000_000 * 10**9


def anchored(anchors: list[Anchor], messages: list[Message] | None = None) -> tuple[Instant, Instant]:
    alignment = align(Messages.of(EXCHANGE if messages is None else messages), reference=NEAR, anchors=anchors)
    return alignment.instant(Stamp(NEAR, 1000)), alignment.instant(Stamp(FAR, 0))


def test_an_anchor_of_the_reference_clock_places_every_clock_on_utc() -> None:
    near, far = anchored([Anchor(NEAR, 1000, NOW - 5, NOW + 5, "test")])
    assert near == Instant(UTC, NOW - 5, NOW, NOW + 5, "declared")
    assert (far.earliest_ns, far.latest_ns) == (NOW - 5 - 11, NOW + 5 + 11)


def test_an_anchor_of_another_clock_places_the_reference_clock_on_utc() -> None:
    near, far = anchored([Anchor(FAR, 0, NOW - 5, NOW + 5, "test")])
    assert far == Instant(UTC, NOW - 5, NOW, NOW + 5, "declared")
    assert near.reference == UTC
    assert near.earliest_ns == pytest.approx(NOW - 15, abs=2)
    assert near.latest_ns == pytest.approx(NOW + 15, abs=2)


def test_a_clocks_own_anchor_is_used_beside_that_of_the_reference_clock() -> None:
    _, far = anchored([Anchor(NEAR, 1000, NOW - 500, NOW + 500, "a"), Anchor(FAR, 0, NOW - 5, NOW + 5, "b")])
    assert far == Instant(UTC, NOW - 5, NOW, NOW + 5, "declared")


def test_epoch_has_no_part_where_there_are_anchors() -> None:
    anchors = [Anchor(NEAR, 1000, NOW, NOW, "test")]
    alignment = align(Messages.of(EXCHANGE), reference=NEAR, anchors=anchors, epoch_ns=77)
    assert alignment.instant(Stamp(NEAR, 1000)).estimate_ns == NOW


def test_contradicting_anchors_are_named_and_nothing_is_on_utc() -> None:
    wrong = Anchor(NEAR, 2000, NOW + 10**6, NOW + 10**6, "wrong")
    right = Anchor(NEAR, 1000, NOW, NOW, "right")
    alignment = align(Messages.of(EXCHANGE), reference=NEAR, anchors=[right, wrong])
    (finding,) = alignment.findings
    assert finding.kind == "anchor contradiction"
    assert set(finding.anchors) == {right, wrong}
    assert not alignment.on_utc
    assert alignment.instant(Stamp(FAR, 0)).reference == NEAR


@pytest.mark.parametrize("late", [NEAR, FAR])
def test_anchors_of_two_clocks_that_contradict_by_their_messages_are_named(late: ClockId) -> None:
    anchors = [Anchor(NEAR, 1000, NOW, NOW, "one"), Anchor(FAR, 0, NOW, NOW, "two")]
    anchors = [a._replace(earliest_ns=NOW + 500, latest_ns=NOW + 500) if a.clock == late else a for a in anchors]
    alignment = align(Messages.of(EXCHANGE), reference=NEAR, anchors=anchors)
    (finding,) = alignment.findings
    assert finding.kind == "anchor contradiction"
    assert set(finding.anchors) == set(anchors)
    assert not alignment.on_utc


def test_anchors_that_contradict_on_one_other_clock_are_named() -> None:
    anchors = [Anchor(FAR, 0, NOW, NOW, "one"), Anchor(FAR, 0, NOW + 9, NOW + 9, "two")]
    alignment = align(Messages.of(EXCHANGE), reference=NEAR, anchors=anchors)
    assert [finding.kind for finding in alignment.findings] == ["anchor contradiction"]
    assert not alignment.on_utc


def test_anchors_that_do_not_reach_the_reference_clock_leave_its_time_and_say_so() -> None:
    alignment = align(Messages.of(EXCHANGE[:1]), reference=NEAR, anchors=[Anchor(FAR, 0, NOW, NOW, "test")], epoch_ns=7)
    assert [finding.kind for finding in alignment.findings] == ["anchor unused"]
    assert alignment.instant(Stamp(NEAR, 0)) == Instant(NEAR, 7, 7, 7, "declared")


def test_on_utc_two_clocks_are_still_ordered_by_what_is_known_between_them() -> None:
    alignment = align(
        Messages.of(EXCHANGE), reference=NEAR, anchors=[Anchor(NEAR, 1000, NOW - 10**6, NOW + 10**6, "test")]
    )
    near, far = Stamp(NEAR, 1000), Stamp(FAR, 500)
    assert alignment.instant(near).before(alignment.instant(far)) is None
    assert alignment.before(near, far) is True
    assert alignment.before(far, near) is False


def test_clocks_without_messages_between_them_are_ordered_by_their_anchors() -> None:
    third = ClockId("third")
    anchors = [Anchor(NEAR, 0, NOW, NOW, "a"), Anchor(third, 0, NOW + 1000, NOW + 1000, "b")]
    alignment = align(Messages.of(EXCHANGE), reference=NEAR, anchors=anchors)
    assert alignment.before(Stamp(NEAR, 0), Stamp(third, 0)) is True
    assert alignment.before(Stamp(third, 0), Stamp(NEAR, 0)) is False


def test_assumed_bounds_of_one_clock_reach_the_other_through_each_message() -> None:
    second = 10**9
    anchors = [
        Anchor(FAR, at * second, NOW + at * second - 10, NOW + at * second + 10, "test") for at in range(0, 1001, 100)
    ]
    messages = [Message(NEAR, 550 * second, FAR, 550 * second), Message(FAR, 550 * second, NEAR, 550 * second)]
    alignment = align(Messages.of(messages), reference=NEAR, anchors=anchors)
    near, far = (alignment.instant(Stamp(clock, 550 * second), "assumed") for clock in (NEAR, FAR))
    assert near == far
    assert near.width_ns is not None
    assert near.width_ns < 250_000


def test_the_report_says_first_how_the_reference_clock_lies_against_utc() -> None:
    anchors = [Anchor(NEAR, 1000, NOW - 5, NOW + 5, "test"), Anchor(FAR, 0, NOW - 50, NOW + 50, "test")]
    first, second = align(Messages.of(EXCHANGE), reference=NEAR, anchors=anchors).report()
    assert (first.clock, first.reference, first.anchor_count) == (NEAR, UTC, 1)
    assert first.declared.estimate_ns == 1000 - NOW
    assert (second.clock, second.reference, second.anchor_count) == (FAR, NEAR, 1)


def _anchors(draw: st.DrawFn, pair: Pair, utc: Pair, clock: ClockId, far_readings: list[int]) -> list[Anchor]:
    """True anchors; `utc` is UTC as a function of the near clock's reading."""
    made = []
    for far in far_readings:
        low, high = draw(st.integers(0, 10**6)), draw(st.integers(0, 10**6))
        reading = far if clock == FAR else round(pair.near(far))
        truth = (
            [utc.near(floor(pair.near(far))), utc.near(ceil(pair.near(far)))] if clock == FAR else [utc.near(reading)]
        )
        made.append(Anchor(clock, reading, floor(truth[0]) - low, ceil(truth[-1]) + high, "test"))
    return made


@st.composite
def anchored_traffic(draw: st.DrawFn) -> tuple[Traffic, Pair, list[Anchor]]:
    case = draw(traffic(rate_ppm=99.0))
    utc = draw(pairs(rate_ppm=0.9))
    near = min(message.sent_ns if message.sender == NEAR else message.received_ns for message in case.messages)
    utc = Pair(near, draw(st.integers(0, 2 * 10**18)), utc.turns_ns, utc.slopes)
    clocks = draw(st.lists(st.sampled_from((NEAR, FAR)), min_size=1, max_size=2, unique=True))
    anchors = [
        anchor
        for clock in clocks
        for anchor in _anchors(draw, case.pair, utc, clock, draw(st.lists(st.sampled_from(case.readings), min_size=1)))
    ]
    return case, utc, anchors


@given(anchored_traffic(), st.sampled_from(("declared", "assumed")))
def test_estimates_on_utc_satisfy_every_message_each_clocks_order_and_the_bounds(
    drawn: tuple[Traffic, Pair, list[Anchor]], grade: Grade
) -> None:
    case, utc, anchors = drawn
    alignment = align(Messages.of(case.messages), reference=NEAR, anchors=anchors)
    assert {finding.kind for finding in alignment.findings} <= {"anchor unused"}
    readings = np.unique([reading + step for reading in case.readings for step in (-1, 0, 1)])
    found = alignment.instants(FAR, readings, grade)
    assert bool(np.all(np.diff(found.estimate_ns) >= 0))
    assert bool(np.all(found.earliest_ns <= found.estimate_ns))
    assert bool(np.all(found.estimate_ns <= found.latest_ns))
    for message in case.messages:
        arrived = message.received_ns + message.receiver_resolution_ns
        sent = alignment.instant(Stamp(message.sender, message.sent_ns), grade).estimate_ns
        received = alignment.instant(Stamp(message.receiver, arrived), grade).estimate_ns
        assert sent is not None
        assert received is not None
        assert sent <= received
    if not alignment.on_utc or grade == "assumed":
        return
    for row, reading in enumerate(readings.tolist()):
        instant = found[row]
        assert instant.earliest_ns is None or instant.earliest_ns <= utc.near(ceil(case.pair.near(reading)))
        assert instant.latest_ns is None or utc.near(floor(case.pair.near(reading))) <= instant.latest_ns
        one = alignment.instant(Stamp(FAR, reading), grade)
        assert one == instant
