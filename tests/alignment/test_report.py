"""The row of a clock says what its evidence says: counts, the offset both ways of grading it, the rate, the widths."""

from __future__ import annotations

import pytest
from hypothesis import given

from coeval.alignment import ClockFit, Messages, align
from coeval.clocks import ClockId, Message
from tests.strategies import FAR, NEAR, Traffic, traffic


def fit_of(messages: list[Message]) -> ClockFit:
    (fit,) = align(Messages.of(messages), reference=NEAR).report()
    return fit


def test_messages_are_counted_each_way_and_the_offset_is_given_in_the_middle_of_the_evidence() -> None:
    fit = fit_of([Message(FAR, 0, NEAR, 100), Message(FAR, 1000, NEAR, 1100), Message(NEAR, 50, FAR, 100)])
    assert (fit.clock, fit.reference, fit.sent_count, fit.received_count) == (FAR, NEAR, 2, 1)
    assert fit.reading_ns == 500
    assert fit.declared.least_ns == pytest.approx(-100, abs=3)
    assert fit.declared.greatest_ns == pytest.approx(50, abs=3)


def test_the_widest_bound_is_that_in_the_longest_silence() -> None:
    exchange = [Message(FAR, 0, NEAR, 100), Message(NEAR, -100, FAR, 0)]
    later = [
        message._replace(sent_ns=message.sent_ns + 10**10, received_ns=message.received_ns + 10**10)
        for message in exchange
    ]
    fit = fit_of([*exchange, *later])
    assert fit.declared.width_ns_least == 200
    assert fit.declared.width_ns_greatest == pytest.approx(200 + 2 * 5e9 * 200.01e-6, abs=10)


def test_a_clock_that_nothing_relates_to_the_reference_has_a_row_without_offset() -> None:
    third = ClockId("third")
    fits = align(Messages.of([Message(FAR, 0, third, 1)]), reference=NEAR).report()
    assert [fit.clock for fit in fits] == [FAR, third]
    for fit in fits:
        assert fit.sent_count + fit.received_count == 1
        assert fit.declared.least_ns is fit.declared.estimate_ns is fit.declared.greatest_ns is None
        assert fit.rate_ppm is fit.wander_ppm is None


def test_one_way_messages_leave_one_side_of_the_offset_open() -> None:
    fit = fit_of([Message(FAR, 0, NEAR, 100)])
    assert (fit.declared.least_ns, fit.declared.greatest_ns, fit.declared.width_ns_least) == (-100, None, None)
    assert fit.rate_ppm is None


@given(traffic(rate_ppm=200.0))
def test_the_true_mean_rate_is_inside_its_bounds_and_the_offset_inside_its_own(case: Traffic) -> None:
    fit = fit_of(list(case.messages))
    assert fit.reading_ns is not None
    offset = fit.reading_ns - case.pair.near(fit.reading_ns)
    assert fit.declared.least_ns is None or fit.declared.least_ns <= offset
    assert fit.declared.greatest_ns is None or offset <= fit.declared.greatest_ns
    far = [
        message.sent_ns if message.sender == FAR else message.received_ns + message.receiver_resolution_ns
        for message in case.messages
    ]
    if max(far) > min(far):
        mean = (max(far) - min(far)) / (case.pair.near(max(far)) - case.pair.near(min(far))) - 1
        assert fit.rate_ppm_least - 1e-6 <= float(mean) * 1e6 <= fit.rate_ppm_greatest + 1e-6
    if fit.rate_ppm is not None:
        assert fit.rate_ppm_least <= fit.rate_ppm <= fit.rate_ppm_greatest
