"""A clock's map places as the alignment does that it is of, also where it was pickled and sent away."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import Messages, align
from coeval.clocks import Anchor, ClockId, Grade

NEAR, FAR = ClockId("near"), ClockId("far")
SECOND = 10**9


@pytest.mark.parametrize("grade", ["declared", "assumed"])
@pytest.mark.parametrize("is_anchored", [False, True])
@given(
    offset=st.integers(-(10**12), 10**12),
    delays=st.lists(st.integers(1, 10**6), min_size=2, max_size=60),
    start=st.integers(-(10**11), 10**11),
)
def test_a_map_that_was_sent_away_places_readings_as_the_alignment_does(
    grade: Grade, is_anchored: bool, offset: int, delays: list[int], start: int
) -> None:
    sent = np.arange(len(delays), dtype=np.int64) * SECOND
    took = np.array(delays, dtype=np.int64)
    messages = Messages.concatenated(
        [
            Messages.between(NEAR, FAR, sent, sent + took + offset),
            Messages.between(FAR, NEAR, sent + offset, sent + took),
        ]
    )
    anchors = [Anchor(NEAR, 0, -5, 5, "test"), Anchor(NEAR, SECOND, SECOND - 5, SECOND + 5, "test")]
    alignment = align(messages, reference=NEAR, anchors=anchors if is_anchored else (), epoch_ns=77)
    for clock in (NEAR, FAR):
        sent_away = pickle.loads(pickle.dumps(alignment.clock_map(clock, grade)))
        readings = start + np.arange(70, dtype=np.int64) * (SECOND // 3)
        whole, one_by_one = (
            sent_away.instants(readings),
            [alignment.instants(clock, readings[i : i + 1], grade) for i in range(70)],
        )
        for column in ("earliest_ns", "estimate_ns", "latest_ns"):
            assert getattr(whole, column).tolist() == [int(getattr(each, column)[0]) for each in one_by_one]
        assert sent_away.latest_ns(readings).tolist() == whole.latest_ns.tolist()
        assert sent_away.reference == alignment.reference
        assert sent_away.is_monotone


def test_the_map_of_a_clock_that_was_set_back_says_so() -> None:
    sent = np.arange(40, dtype=np.int64) * SECOND
    shown = np.where(sent < 20 * SECOND, sent, sent - 5 * SECOND)
    messages = Messages.concatenated(
        [Messages.between(NEAR, FAR, sent, shown + 1000), Messages.between(FAR, NEAR, shown + 1000, sent + 2000)]
    )
    alignment = align(messages, reference=NEAR)
    assert alignment.steps
    clock_map = alignment.clock_map(FAR)
    assert not clock_map.is_monotone
    assert clock_map.latest_ns(shown).tolist() == clock_map.instants(shown).latest_ns.tolist()
