"""Clocks with known steps: evidence stays on its side of a step, and the clock's own order crosses it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import Messages, align
from coeval.clocks import Anchor, Grade, Instant, Message, Stamp
from tests.strategies import FAR, NEAR

STEP = 10**9
HOUR_NS = 3600 * 10**9


def stepped(messages: list[Message], anchors: tuple[Anchor, ...] = ()) -> dict[int, Instant]:
    alignment = align(Messages.of(messages), reference=NEAR, segments={FAR: (STEP,)}, anchors=anchors)
    return {reading: alignment.instant(Stamp(FAR, reading)) for reading in (0, STEP - 1, STEP, 2 * STEP)}


BEFORE = [Message(FAR, 0, NEAR, 10), Message(NEAR, -10, FAR, 0)]
AFTER = [
    Message(FAR, 2 * STEP, NEAR, HOUR_NS + 2 * STEP + 10),
    Message(NEAR, HOUR_NS + 2 * STEP - 10, FAR, 2 * STEP),
]


def test_a_known_step_is_no_contradiction_and_each_side_keeps_its_own_offset() -> None:
    placed = stepped([*BEFORE, *AFTER])
    assert placed[0].estimate_ns == 0
    assert placed[2 * STEP].estimate_ns == HOUR_NS + 2 * STEP
    contradicting = align(Messages.of([*BEFORE, *AFTER]), reference=NEAR)
    assert [finding.kind for finding in contradicting.findings] == ["contradiction"]


def test_the_side_of_a_step_without_messages_is_bounded_by_the_clocks_own_order_only() -> None:
    placed = stepped(BEFORE)
    assert placed[STEP].earliest_ns == placed[STEP - 1].earliest_ns
    assert placed[STEP].latest_ns is None
    before, after = placed[STEP - 1].estimate_ns, placed[STEP].estimate_ns
    assert before is not None
    assert after is not None
    assert before <= after


def test_what_a_clock_showed_before_a_step_was_not_later_than_what_it_shows_after() -> None:
    placed = stepped(AFTER)
    assert placed[0].earliest_ns is None
    assert placed[STEP - 1].latest_ns == placed[STEP].latest_ns
    assert placed[STEP - 1].estimate_ns == placed[STEP].estimate_ns
    # Before the step the clock went at its rate, so an earlier reading is earlier by what it shows.
    latest = placed[STEP].latest_ns
    assert latest is not None
    assert placed[0].latest_ns == pytest.approx(latest - STEP, abs=200_020)


def test_messages_that_put_the_time_after_a_step_before_it_are_a_contradiction() -> None:
    back = [Message(FAR, 2 * STEP, NEAR, -HOUR_NS), Message(NEAR, -HOUR_NS - 10, FAR, 2 * STEP)]
    alignment = align(Messages.of([*BEFORE, *back]), reference=NEAR, segments={FAR: (STEP,)})
    assert {finding.kind for finding in alignment.findings} == {"contradiction"}
    assert sum(finding.count for finding in alignment.findings) == len(alignment.rejected)
    believed = [row for row in range(4) if row not in alignment.rejected]
    assert believed != [0, 1, 2, 3]


def test_a_contradiction_in_one_stretch_leaves_the_others_trusted() -> None:
    false = [Message(FAR, 2 * STEP, NEAR, HOUR_NS), Message(NEAR, 2 * HOUR_NS, FAR, 2 * STEP)]
    alignment = align(Messages.of([*BEFORE, *false]), reference=NEAR, segments={FAR: (STEP,)})
    assert set(alignment.rejected.tolist()) <= {2, 3}
    assert len(alignment.rejected)
    assert alignment.report()[0].trusted
    assert alignment.instant(Stamp(FAR, 0)).estimate_ns == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 10), st.integers(0, 10**5), st.sampled_from((NEAR, FAR)), st.integers(0, 4)),
        max_size=10,
    ),
    st.sets(st.integers(1, 10), max_size=3),
    st.sampled_from(("declared", "assumed")),
    st.sampled_from(("none", "near", "far")),
)
def test_a_clock_that_slept_keeps_its_order_and_that_of_its_messages(
    drawn: list[tuple[int, int, str, int]], steps: set[int], grade: Grade, anchored: str
) -> None:
    splits = sorted(step * 10**6 for step in steps)

    def near_of(far: int) -> int:
        return far + sum(10**8 for split in splits if far >= split)

    messages = [
        Message(FAR, at * 10**6, NEAR, near_of(at * 10**6) + delay, str(number))
        if sender == FAR
        else Message(NEAR, near_of(at * 10**6) - delay, FAR, at * 10**6, str(number))
        for number, (at, delay, sender, _) in enumerate(drawn)
    ]
    utc = 10**18
    anchors = {
        "none": [],
        "near": [Anchor(NEAR, 0, utc - 50, utc + 50, "test")],
        "far": [
            Anchor(FAR, at * 10**6, utc + near_of(at * 10**6) - width, utc + near_of(at * 10**6) + 60, "test")
            for at, width, _, _ in drawn
        ],
    }[anchored]
    alignment = align(Messages.of(messages), reference=NEAR, segments={FAR: splits}, anchors=anchors)
    assert not [finding for finding in alignment.findings if finding.kind != "anchor unused"]
    if not messages:
        return
    readings = np.unique([at * 10**6 + step for at in range(-1, 12) for step in (-1, 0, 1)])
    found = alignment.instants(FAR, readings, grade)
    origin = utc if alignment.on_utc else 0
    for row, reading in enumerate(readings.tolist()):
        instant = found[row]
        truth = origin + near_of(reading)
        assert instant.earliest_ns is None or instant.earliest_ns <= truth
        assert instant.latest_ns is None or truth <= instant.latest_ns
    estimates = [instant for instant in (found[row].estimate_ns for row in range(len(found))) if instant is not None]
    assert estimates == sorted(estimates)
    for message in messages:
        sent = alignment.instant(Stamp(message.sender, message.sent_ns), grade).estimate_ns
        received = alignment.instant(Stamp(message.receiver, message.received_ns), grade).estimate_ns
        assert sent is not None
        assert received is not None
        assert sent <= received


@pytest.mark.parametrize("splits", [(5, 5), (7, 3)])
def test_segments_that_do_not_increase_are_refused(splits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="increasing"):
        align(Messages.of(BEFORE), reference=NEAR, segments={FAR: splits})


def test_segments_of_the_reference_clock_are_refused() -> None:
    with pytest.raises(ValueError, match="reference"):
        align(Messages.of(BEFORE), reference=NEAR, segments={NEAR: (5,)})
