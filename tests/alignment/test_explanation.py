"""Why a time is what it is: the messages that are named, alone, give the same bound."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.alignment import Messages, align
from coeval.alignment._explanation import BoundWay
from coeval.clocks import Anchor, ClockId, Message, Stamp
from tests.alignment.exact import Case, cases
from tests.strategies import FAR, NEAR

# With fewer messages, units of the system may be finer.
ROUNDING_NS = 1
OTHER = ClockId("other")


def bound(way: BoundWay, case: Case, stamp: Stamp, side: str) -> int | None:
    """What the way's own messages say of the stamp."""
    reference = next(iter(case.rate_bound_ppm))
    alone = align(Messages.of(way.messages), reference=reference, rate_bound_ppm=case.rate_bound_ppm)
    placed = alone.instant(stamp)
    return placed.earliest_ns if side == "earliest" else placed.latest_ns


@settings(deadline=None, max_examples=150)
@given(cases())
def test_the_named_messages_alone_reproduce_each_bound(case: Case) -> None:
    reference = next(iter(case.rate_bound_ppm))
    alignment = align(Messages.of(case.messages), reference=reference, rate_bound_ppm=case.rate_bound_ppm)
    for stamp in case.stamps:
        explanation = alignment.explain(stamp)
        placed = explanation.instant
        assert placed == alignment.instant(stamp)
        for side, known, way in (
            ("earliest", placed.earliest_ns, explanation.earliest),
            ("latest", placed.latest_ns, explanation.latest),
        ):
            assert (way is None) == (known is None)
            if way is None or known is None:
                continue
            assert way.clocks[0] == stamp.clock
            assert way.clocks[-1] == reference
            assert set(way.messages) <= set(case.messages)
            assert way.anchor is None
            assert not way.is_assumed
            again = bound(way, case, stamp, side)
            assert again is not None
            assert abs(again - known) <= ROUNDING_NS


@settings(deadline=None, max_examples=80)
@given(cases(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_on_utc_the_named_messages_and_anchor_alone_reproduce_each_bound(case: Case, early: int, late: int) -> None:
    reference = next(iter(case.rate_bound_ppm))
    anchors = [
        Anchor(clock, case.offsets_ns[clock], -early, late, f"on {clock}")
        for clock in case.rate_bound_ppm
        if clock in {stamp.clock for stamp in case.stamps}
    ]
    alignment = align(
        Messages.of(case.messages), reference=reference, rate_bound_ppm=case.rate_bound_ppm, anchors=anchors
    )
    assert alignment.on_utc
    for stamp in case.stamps:
        explanation = alignment.explain(stamp)
        for way, known in (
            (explanation.earliest, explanation.instant.earliest_ns),
            (explanation.latest, explanation.instant.latest_ns),
        ):
            assert way is not None
            assert way.anchor in anchors
            alone = align(
                Messages.of(way.messages),
                reference=way.anchor.clock,
                rate_bound_ppm=case.rate_bound_ppm,
                anchors=[way.anchor],
            ).instant(stamp)
            assert known is not None
            assert (
                min(abs(end - known) for end in (alone.earliest_ns, alone.latest_ns) if end is not None) <= ROUNDING_NS
            )


def test_an_explanation_names_the_way_in_the_order_of_its_clocks() -> None:
    there = [Message(FAR, 0, OTHER, 10, "to other"), Message(OTHER, 20, NEAR, 30, "to near")]
    back = [Message(NEAR, 0, FAR, 5, "back")]
    alignment = align(Messages.of([*there, *back]), reference=NEAR)
    explanation = alignment.explain(Stamp(FAR, 0))
    assert explanation.latest is not None
    assert explanation.latest.clocks == (FAR, OTHER, NEAR)
    assert explanation.latest.messages == tuple(there)
    assert explanation.earliest is not None
    assert explanation.earliest.messages == tuple(back)
    text = str(explanation)
    assert "not later, because message 'to other'" in text
    assert "then message 'to near'" in text


def test_the_reference_explains_itself_and_what_nothing_bounds_says_so() -> None:
    alignment = align(Messages.of([Message(FAR, 0, NEAR, 10)]), reference=NEAR)
    assert "is the reference itself" in str(alignment.explain(Stamp(NEAR, 7)))
    text = str(alignment.explain(Stamp(FAR, 0)))
    assert "not earlier, because nothing bounds it on that side" in text


def test_a_bound_that_rests_on_an_assumption_says_so() -> None:
    messages = [
        message
        for x in range(0, 300 * 10**9, 10**9)
        for message in (Message(FAR, x, NEAR, x + 10**6), Message(NEAR, x - 10**6, FAR, x))
    ]
    alignment = align(Messages.of(messages), reference=NEAR)
    explanation = alignment.explain(Stamp(FAR, 150 * 10**9 + 500), "assumed")
    assert explanation.instant.grade == "assumed"
    for way in (explanation.earliest, explanation.latest):
        assert way is not None
        assert way.messages or way.is_assumed
