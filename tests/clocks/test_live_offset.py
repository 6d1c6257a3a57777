from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coeval.alignment import RATE_BOUND_PPM_DEFAULT, Messages, align
from coeval.clocks import ClockId, Message
from coeval.clocks._live_offset import RATE_BOUND_PPM, LiveOffset

SECOND_NS = 10**9
OURS, FAR = ClockId("ours"), ClockId("far")

Stamps = tuple[int, int, int, int]


class Run(NamedTuple):
    """Exchanges of two clocks whose rates are within their bounds, in the order in which they ended, and the truth."""

    ours_ppb: int
    far_ppb: int
    offset_ns: int
    exchanges: list[Stamps]
    now_ns: int

    def shown(self, true_ns: int) -> tuple[Fraction, Fraction]:
        """What the two clocks show."""
        ours, far = (true_ns * (1 + Fraction(ppb, SECOND_NS)) for ppb in (self.ours_ppb, self.far_ppb))
        return ours, far + self.offset_ns


@st.composite
def runs(draw: st.DrawFn, least_ppb: int = -100_000) -> Run:
    rate = st.sampled_from([least_ppb, 100_000]) | st.integers(least_ppb, 100_000)
    run = Run(draw(rate), draw(rate), draw(st.integers(-(10**18), 10**18)), [], 0)
    wait = st.integers(1, 100 * SECOND_NS) | st.integers(1, 10**6)
    true_ns, ended = 1, []
    for _ in range(draw(st.integers(1, 6))):
        moments = []
        for _ in range(4):
            true_ns += draw(wait)
            moments.append(true_ns)
        (sent, _), (_, arrived), (_, replied), (seen, _) = (run.shown(moment) for moment in moments)
        # Our sends are read before the moment and our receipts after it; theirs the other way round.
        ended.append((floor(sent), ceil(arrived), floor(replied), ceil(seen)))
    last_ns = true_ns + draw(st.integers(1, 1000 * SECOND_NS))
    return run._replace(exchanges=ended, now_ns=last_ns)


def known(exchanges: list[Stamps]) -> LiveOffset:
    offset = LiveOffset()
    for exchange in exchanges:
        offset = offset.after(*exchange)
    return offset


@given(runs())
def test_the_true_offset_is_between_the_bounds(run: Run) -> None:
    ours, far = run.shown(run.now_ns)
    least_ns, greatest_ns = known(run.exchanges).bounds_ns(ceil(ours))
    assert least_ns is not None
    assert greatest_ns is not None
    assert least_ns - 1 <= far - ours <= greatest_ns + 1  # the reading was cut to whole ns


# By the bound that alignment is told a clock counts no less than 1 / (1 + 100 ppm) seconds in one.
@given(runs(least_ppb=-99_990))
def test_alignment_is_at_least_as_narrow(run: Run) -> None:
    messages = []
    for sent, arrived, replied, seen in run.exchanges:
        messages += [Message(OURS, sent, FAR, arrived), Message(FAR, replied, OURS, seen)]
    now_ns = max(seen for *_, seen in run.exchanges)
    least_ns, greatest_ns = known(run.exchanges).bounds_ns(now_ns)
    assert least_ns is not None
    assert greatest_ns is not None
    # Alignment is asked by readings of the far clock, of which the middle one is close enough.
    reading_ns = np.array([now_ns + (least_ns + greatest_ns) // 2])
    found = align(Messages.of(messages), reference=OURS).offset(FAR, reading_ns, "declared")
    # It takes the slowest rate between the two to be 1 - s, with s the sum and the product of their bounds, where
    # 1 / (1 + s) would do, so it grows by 3e-8 more; and rounds s up, to a whole number of 2**-30.
    coarser_ns = (now_ns - run.exchanges[0][0]) * 31 // 10**9
    grown_ns = (greatest_ns - least_ns) // 1000 + 2 + coarser_ns
    assert least_ns - grown_ns <= found.least_ns[0]
    assert found.greatest_ns[0] <= greatest_ns + grown_ns


def test_both_grow_by_the_same_rate() -> None:
    assert RATE_BOUND_PPM == RATE_BOUND_PPM_DEFAULT


@given(runs(), st.randoms(use_true_random=False))
def test_the_order_in_which_messages_come_changes_nothing(run: Run, random: object) -> None:
    shuffled = sorted(run.exchanges, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert known(shuffled) == known(run.exchanges)


@given(runs(), st.integers(1, 10**10))
def test_width_is_reached_when_it_says(run: Run, width_ns: int) -> None:
    offset = known(run.exchanges)
    at_ns = offset.reaches_ns(width_ns)
    assert at_ns is not None
    for moment_ns, is_within in ((at_ns - 10_000, True), (at_ns + 10_000, False)):
        least_ns, greatest_ns = offset.bounds_ns(moment_ns)
        assert least_ns is not None
        assert greatest_ns is not None
        assert (greatest_ns - least_ns <= width_ns) == is_within


def test_one_message_bounds_one_side() -> None:
    assert LiveOffset().after(1000, 5000, 0, 0).bounds_ns(1000) == (None, 4000)
    assert LiveOffset().after(0, 0, 5000, 1500).bounds_ns(1500) == (3500, None)
    assert LiveOffset().after(0, 0, 5000, 1500).reaches_ns(10**9) is None
    assert LiveOffset().after(0, 0, 0, 0) == LiveOffset()


def test_what_contradicts_replaces_what_was_known() -> None:
    """The far host slept for ten seconds: its raw clock stood still."""
    before = LiveOffset().after(1 * SECOND_NS, 101 * SECOND_NS, 101 * SECOND_NS, 1 * SECOND_NS + 1000)
    after = before.after(20 * SECOND_NS, 110 * SECOND_NS, 110 * SECOND_NS, 20 * SECOND_NS + 1000)
    least_ns, greatest_ns = after.bounds_ns(20 * SECOND_NS + 1000)
    assert least_ns is not None
    assert greatest_ns is not None
    assert least_ns <= 90 * SECOND_NS <= greatest_ns
    assert greatest_ns - least_ns < 2000


def test_an_exchange_that_contradicts_itself_leaves_nothing_known() -> None:
    assert LiveOffset().after(1000, 5000, 9_000_000, 2000) == LiveOffset()
    known_before = LiveOffset().after(1000, 5000, 5000, 2000)
    assert known_before.after(1000, 5000, 9_000_000, 2000) == LiveOffset()
