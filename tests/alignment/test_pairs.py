"""What is found between two clocks, along the readings of either."""

from __future__ import annotations

import numpy as np
import pytest

from coeval.alignment import Messages
from coeval.alignment._ownership import Step as KnownStep
from coeval.alignment._pairs import bounded, scanned
from coeval.alignment._rate import GRID_BITS
from coeval.alignment._sorting import hard_rows
from coeval.alignment._strands import Cut
from coeval.alignment._unwrapping import scanned_without_steps
from coeval.clocks import ClockId
from coeval.testing.virtual import Light, Linear, Shape, Step, Traffic, VirtualNetwork

C0, C1, C2 = (ClockId(f"c{number}") for number in range(3))
SECOND_NS = 10**9
LIMITS = [int(100e-6 * (1 << GRID_BITS))] * 3


def messages(*steps: Step, gaps_s: tuple[tuple[float, float], ...] = ()) -> Messages:
    shapes: dict[ClockId, list[Shape]] = {C1: [Linear(20)], C2: [Linear(-20), *steps]}
    traffic = [Traffic(C1, C2, 10, Light(150_000), Light(150_000), answered=False, gaps_s=gaps_s)]
    return VirtualNetwork(shapes, traffic, 40).trace(3).messages.among((C0, C1, C2))


@pytest.mark.parametrize("second_ns", [1_300_000_000, -1_300_000_000])
def test_along_the_clock_that_was_not_set_two_steps_are_two_and_nothing_is_false(second_ns: int) -> None:
    """Along the other one's readings a fifth of a second is mixed, so that some of the stretch seems false."""
    given = messages(Step(20 * SECOND_NS, -200_000_000), Step(21 * SECOND_NS, second_ns))
    found = scanned(given, hard_rows(given), LIMITS)
    assert found is not None
    assert not len(found.false_rows)
    assert (found.near, found.far) == (1, 2)
    for number, size in enumerate((-200_000_000, second_ns)):
        least, greatest = found.sizes_of(2, number)
        assert least <= size <= greatest < least + 10_000_000


def test_a_step_with_messages_of_one_kind_on_one_side_is_open_to_that_side() -> None:
    """After the step the clock only sends, until it is set again: how slow those messages were nobody knows."""
    given = messages(Step(20 * SECOND_NS, 300_000_000), Step(23 * SECOND_NS, -400_000_000))
    shown = np.where(given.sender == 2, given.sent_ns, given.received_ns)
    only_sends = (given.receiver == 2) & (shown > 20_200_000_000) & (shown < 23_300_000_000)
    given = given.taken(np.flatnonzero(~only_sends))
    found = scanned(given, hard_rows(given), LIMITS)
    assert found is not None
    first, second = (found.sizes_of(2, number) for number in range(2))
    assert 299_000_000 < first[0] <= 300_000_000
    assert first[1] == np.inf
    assert second[0] == -np.inf
    assert -400_000_000 <= second[1] < -399_000_000


def test_sizes_to_reckon_with_are_finite_and_hold_what_is_known() -> None:
    assert bounded((5.0, 7.0)) == (5.0, 7.0)
    assert bounded((5.0, np.inf))[0] == 5.0
    assert bounded((-np.inf, 5.0))[1] == 5.0
    assert all(
        np.isfinite(size) for sizes in ((5.0, np.inf), (-np.inf, 5.0), (-np.inf, np.inf)) for size in bounded(sizes)
    )


def test_a_pair_of_which_no_strand_is_certain_is_not_called_clear() -> None:
    """All that it exchanged was within the readings that one of the two showed twice, so nothing is left to scan."""
    given = messages(Step(20 * SECOND_NS, -200_000_000))
    all_day = Cut(0, 40 * SECOND_NS, is_set_back=True, passed_ns=100 * SECOND_NS)
    by_other = KnownStep(2, all_day, (-201_000_000.0, -199_000_000.0), True, (0,))
    again = scanned_without_steps(given, hard_rows(given), [by_other], LIMITS)
    assert not again.is_clear
    assert again.scan is None
    assert not scanned_without_steps(given, hard_rows(given), [], LIMITS).is_clear
