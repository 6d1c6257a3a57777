"""A step, told to people: between which readings, how far, and how sure it is that it was this clock."""

from __future__ import annotations

from coeval.alignment import Messages, align
from coeval.clocks import Message
from tests.strategies import FAR, NEAR

SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS


def both_ways(far_ns: int, near_ns: int) -> list[Message]:
    return [Message(FAR, far_ns, NEAR, near_ns + 10), Message(NEAR, near_ns - 10, FAR, far_ns)]


def test_a_given_step_is_measured_by_what_is_on_both_sides_of_it() -> None:
    messages = [*both_ways(0, 0), *both_ways(2 * SECOND_NS, HOUR_NS)]
    (step,) = align(Messages.of(messages), reference=NEAR, segments={FAR: (SECOND_NS,)}, rate_bound_ppm=0.0).steps
    assert step.is_given
    assert step.is_certain
    assert (step.earliest_ns, step.latest_ns) == (SECOND_NS - 1, SECOND_NS)
    # What FAR showed, two seconds, less what passed, an hour; each within 20 ns.
    assert step.size_ns_least is not None
    assert step.size_ns_greatest is not None
    assert step.size_ns_least <= 2 * SECOND_NS - HOUR_NS <= step.size_ns_greatest
    assert step.size_ns_greatest - step.size_ns_least <= 2 * 20 + 4  # and four roundings
    assert "was set by" in step.text
    assert "no third clock" not in step.text


def test_the_size_of_a_step_with_evidence_on_one_side_is_unknown() -> None:
    (step,) = align(Messages.of(both_ways(0, 0)), reference=NEAR, segments={FAR: (SECOND_NS,)}).steps
    assert (step.size_ns_least, step.size_ns_greatest) == (None, None)
    assert "by an unknown amount" in step.text


def test_a_step_that_only_one_pair_shows_may_be_the_other_clocks() -> None:
    messages = [
        message
        for x in range(0, 40 * SECOND_NS, SECOND_NS)
        for message in both_ways(x + (HOUR_NS if x >= 20 * SECOND_NS else 0), x)
    ]
    (step,) = align(Messages.of(messages), reference=NEAR).steps
    assert (step.clock, step.is_given, step.is_certain, step.others) == (FAR, False, False, (NEAR,))
    assert (step.earliest_ns, step.latest_ns) == (19 * SECOND_NS, HOUR_NS + 20 * SECOND_NS)
    assert step.size_ns_least is not None
    assert step.size_ns_greatest is not None
    assert step.size_ns_least <= HOUR_NS <= step.size_ns_greatest
    assert "or near did, the other way" in step.text
