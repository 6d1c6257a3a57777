"""More evidence only narrows; where it does not, that is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from coeval.alignment import Messages, align, revisions
from coeval.clocks import Anchor, Message
from tests.strategies import FAR, NEAR, Traffic, traffic


@given(traffic())
def test_declared_bounds_are_never_revised_while_the_rate_bound_holds(case: Traffic) -> None:
    half = Messages.of(case.messages[: max(1, len(case.messages) // 2)])
    earlier, later = (align(messages, reference=NEAR) for messages in (half, Messages.of(case.messages)))
    assert [found for found in revisions(earlier, later) if found.grade == "declared"] == []


def test_an_assumption_that_later_messages_refute_is_told_with_where_and_by_how_much() -> None:
    def exchanges(seconds: range, rate: float) -> list[Message]:
        found = []
        for second in seconds:
            far = second * 10**9
            near = far + round(rate * max(0, second - 300) * 1000)
            found += [Message(FAR, far, NEAR, near + 1000), Message(NEAR, near - 1000, FAR, far)]
        return found

    steady, turned = exchanges(range(300), 0.0), exchanges(range(300, 600), 40.0)
    # Beyond its evidence the earlier one assumes that the rate stays: ask it there.
    far_away = [Message(FAR, 590 * 10**9, NEAR, 600 * 10**9)]
    earlier = align(Messages.of([*steady, *far_away]), reference=NEAR)
    later = align(Messages.of([*steady, *far_away, *turned]), reference=NEAR)
    found = revisions(earlier, later)
    assert {(each.clock, each.grade) for each in found} == {(FAR, "assumed")}
    (revision,) = found
    assert revision.beyond_ns is not None
    assert revision.beyond_ns > 1000
    assert "revised" in revision.text


def test_alignments_on_different_references_are_not_compared() -> None:
    messages = Messages.of([Message(FAR, 0, NEAR, 10), Message(NEAR, 0, FAR, 10)])
    on_utc = align(messages, reference=NEAR, anchors=[Anchor(NEAR, 0, 5, 9, "test")])
    with pytest.raises(ValueError, match="reference"):
        revisions(align(messages, reference=NEAR), on_utc)


def test_where_the_interval_is_narrowest_and_widest_is_told() -> None:
    alignment = align(
        Messages.of([Message(FAR, 0, NEAR, 10), Message(NEAR, -10, FAR, 0), Message(FAR, 10**9, NEAR, 10**9 + 10)]),
        reference=NEAR,
    )
    readings = alignment.turning_points(FAR)
    widths = alignment.instants(FAR, readings)
    everywhere = alignment.instants(FAR, np.arange(0, 10**9, 10**7))
    assert (widths.latest_ns - widths.earliest_ns).min() <= (everywhere.latest_ns - everywhere.earliest_ns).min()
