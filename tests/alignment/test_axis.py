"""Origins and units of an axis: room for every way through many clocks, and nothing lost at the ends of int64."""

from __future__ import annotations

import pytest

from coeval.alignment import Messages, align
from coeval.clocks import ClockId, Message, Stamp
from tests.simulation.test_virtual_systems import assert_honest
from tests.strategies import FAR, NEAR

INT64_LEAST = -(2**63)


@pytest.mark.parametrize("delay_ns", [10**6, 10**10, 10**14])
def test_a_bound_that_comes_by_way_of_many_slow_messages_is_found(delay_ns: int) -> None:
    """From above the only way goes through all clocks, though each is one message from the reference."""
    names = [ClockId(f"c{number:02}") for number in range(1, 60)]
    messages = [Message(NEAR, 0, name, delay_ns) for name in names]
    for number, (name, following) in enumerate(zip(names, [*names[1:], NEAR], strict=True)):
        messages.append(Message(name, 2 * delay_ns * number, following, 2 * delay_ns * (number + 1)))
    alignment = align(Messages.of(messages), reference=NEAR, rate_bound_ppm=0.0)
    placed = alignment.instant(Stamp(names[0], 0))
    assert placed.latest_ns is not None
    assert 0 <= placed.latest_ns - 2 * delay_ns * len(names) <= 2
    assert placed.earliest_ns in (-delay_ns, -delay_ns - 1)


def test_a_time_at_the_very_end_of_int64_is_unknown_and_not_a_nanosecond_off() -> None:
    messages = [Message(FAR, 0, NEAR, INT64_LEAST), Message(NEAR, INT64_LEAST, FAR, 0)]
    placed = align(Messages.of(messages), reference=NEAR).instant(Stamp(FAR, 0))
    assert placed.earliest_ns is None
    messages = [Message(FAR, 0, NEAR, INT64_LEAST + 5), Message(NEAR, INT64_LEAST + 1, FAR, 0)]
    placed = align(Messages.of(messages), reference=NEAR).instant(Stamp(FAR, 0))
    assert (placed.earliest_ns, placed.latest_ns) == (INT64_LEAST + 1, INT64_LEAST + 5)


@pytest.mark.parametrize(
    ("seed", "kind"),
    [
        (1494, {"messages": 20, "connected": False}),  # coarse units between equal readings
        (1068, {"messages": 20, "connected": False}),  # one-sided clocks beside others
        (1077, {"messages": 20, "connected": False}),  # the same, rounded to ns
        (2092, {"messages": 20, "connected": False}),  # a curvature that says next to nothing
        (1014, {"slews": True}),  # two grades, each rounded outward
    ],
)
def test_what_once_was_false_of_a_random_system_is_not_any_more(seed: int, kind: dict[str, bool]) -> None:
    assert assert_honest(seed, **kind) == []
