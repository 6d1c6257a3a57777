"""When a clock is asked, in virtual time: the clock is an argument, and nothing waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.clocks import ClockId
from coeval.clocks._live_offset import LiveOffset
from coeval.engines import LiveClocks, Stamps
from coeval.engines._live_clocks import (
    LEAD_NS,
    PROBE_EVERY_NS,
    PROBES_FIRST,
    Asked,
    clock_width_of,
    probe_due_ns,
)

MS_NS, SECOND_NS = 10**6, 10**9
OURS, FAR, OTHER = ClockId("ours"), ClockId("far"), ClockId("other")


def asked_for(clocks: LiveClocks, round_trips_ns: list[int], seconds: int) -> tuple[list[int], list[int]]:
    """
    Ask as `LiveClocks` say for a while of virtual time, during which no call comes home.

    Returns:
        When the clock was asked, and how wide its interval was just before each answer took effect, and at the end.
    """
    now_ns, asked_ns, widths_ns = SECOND_NS, [], []
    end_ns = now_ns + seconds * SECOND_NS
    while (due_ns := clocks.due_ns([FAR]).get(FAR, end_ns)) < end_ns:
        now_ns = max(now_ns, due_ns)
        asked_ns.append(now_ns)
        clocks.asked(FAR, now_ns)
        trip_ns = round_trips_ns[min(len(asked_ns), len(round_trips_ns)) - 1]
        sent_ns, now_ns = now_ns, now_ns + trip_ns
        widths_ns.append(width_ns(clocks, now_ns))
        clocks.answered(FAR, trip_ns)
        there_ns = sent_ns + trip_ns // 2 + 77 * SECOND_NS
        clocks.heard(FAR, Stamps(sent_ns, there_ns, there_ns, now_ns))
    return asked_ns, [*widths_ns, width_ns(clocks, end_ns)]


def width_ns(clocks: LiveClocks, now_ns: int) -> int:
    """-1: not known."""
    least_ns, greatest_ns = clocks.offset(FAR).bounds_ns(now_ns)
    return -1 if least_ns is None or greatest_ns is None else greatest_ns - least_ns


@given(st.integers(4 * MS_NS, 50 * MS_NS), st.lists(st.integers(10_000, 3 * MS_NS), min_size=1), st.integers(1, 20_000))
def test_the_width_is_kept_with_as_few_probes_as_the_rate_bound_asks_for(
    wanted_ns: int, round_trips_ns: list[int], seconds: int
) -> None:
    asked_ns, widths_ns = asked_for(LiveClocks(OURS, wanted_ns), round_trips_ns, seconds)
    assert max(widths_ns) <= wanted_ns
    # 400 us of width come in each second, from the round trip up to what is wanted less what comes in the lead.
    least_gain_ns = wanted_ns - 3 * MS_NS - 400_041 * LEAD_NS // SECOND_NS
    fewest_s = max(least_gain_ns / 400_041, PROBE_EVERY_NS / SECOND_NS)
    assert len(asked_ns) <= PROBES_FIRST + seconds / fewest_s


@given(st.integers(1, 50 * MS_NS), st.lists(st.integers(1, 10 * SECOND_NS), min_size=1), st.integers(1, 3_000))
def test_probes_are_few_however_narrow_the_width_and_slow_the_answers(
    wanted_ns: int, round_trips_ns: list[int], seconds: int
) -> None:
    asked_ns, _ = asked_for(LiveClocks(OURS, wanted_ns), round_trips_ns, seconds)
    assert len(asked_ns) <= PROBES_FIRST + seconds * SECOND_NS // PROBE_EVERY_NS + 1


def test_a_width_below_the_round_trip_gives_way_to_one_and_a_half_of_it() -> None:
    asked_ns, widths_ns = asked_for(LiveClocks(OURS, MS_NS), [20 * MS_NS], 3600)
    assert max(widths_ns) <= 30 * MS_NS
    assert len(asked_ns) <= PROBES_FIRST + 3600 * 0.4 / (10 - 0.8) + 1


def test_the_first_slow_answer_is_not_taken_for_what_a_round_trip_takes() -> None:
    asked_ns, widths_ns = asked_for(LiveClocks(OURS, 5 * MS_NS), [50 * MS_NS, MS_NS], 4)
    assert len(asked_ns) == 2
    assert asked_ns[1] - asked_ns[0] == 50 * MS_NS
    assert widths_ns[-1] <= 5 * MS_NS


def test_calls_that_come_home_quickly_make_probes_needless() -> None:
    clocks = LiveClocks(OURS, 10 * MS_NS)
    for now_ns in range(SECOND_NS, 1000 * SECOND_NS, SECOND_NS):
        clocks.heard(FAR, Stamps(now_ns, now_ns + 5, now_ns + 6, now_ns + MS_NS))
        assert clocks.due_ns([FAR])[FAR] > now_ns + SECOND_NS


def test_calls_that_wait_in_queues_do_not() -> None:
    clocks = LiveClocks(OURS, 10 * MS_NS)
    now_ns = 100 * SECOND_NS
    clocks.heard(FAR, Stamps(now_ns, now_ns + 30 * SECOND_NS, now_ns + 31 * SECOND_NS, now_ns + 32 * SECOND_NS))
    assert clocks.due_ns([FAR])[FAR] <= now_ns


def test_nobody_is_asked_where_that_is_not_wanted() -> None:
    assert LiveClocks(OURS, None).due_ns([FAR, OTHER]) == {}


def test_who_has_our_clock_is_never_asked() -> None:
    assert LiveClocks(OURS, MS_NS).due_ns([OURS, FAR]).keys() == {FAR}


def test_each_clock_is_decided_by_itself() -> None:
    clocks = LiveClocks(OURS, 10 * MS_NS)
    clocks.heard(FAR, Stamps(SECOND_NS, 5, 6, SECOND_NS + MS_NS))
    due_ns = clocks.due_ns([FAR, OTHER])
    assert due_ns[OTHER] == 0
    assert due_ns[FAR] > 10 * SECOND_NS


def test_a_question_without_answer_is_not_repeated_at_once_for_ever() -> None:
    asked = Asked(times=PROBES_FIRST, last_ns=7 * SECOND_NS)
    assert probe_due_ns(LiveOffset(), asked, MS_NS) == 7 * SECOND_NS + PROBE_EVERY_NS


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "ten", "1,5"])
def test_a_width_that_is_none_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"--clock-width is .*; expected seconds above 0, such as 0\.005, or none"):
        clock_width_of(text, "--clock-width")


def test_a_width_is_seconds_or_none() -> None:
    assert clock_width_of("0.005", "x") == 0.005
    assert clock_width_of(" None ", "x") is None
