from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coeval.recording import Recording
from coeval.recording._rows import (
    ExecutorRow,
    FailureRow,
    FunctionRow,
    HostRow,
    OutcomeRow,
    ProcessRow,
    Row,
    SentRow,
)
from coeval.timeline import RunTimeline, TimelineCall

STAGES = ("handed over", "started", "finished", "seen")
BEGIN: list[Row] = [
    ProcessRow(0, "driver", "home", 1, "A", "3.11"),
    ProcessRow(1, "worker", "home", 2, "A", "3.11", 0),
    ExecutorRow(0, "x", 1),
    FunctionRow(0, 0, "m:f", ""),
]


def calls_of(*rows: Row) -> list[TimelineCall]:
    return list(RunTimeline.of(Recording([*BEGIN, *rows])).calls)


def test_a_call_that_was_tried_again_has_both_tries_and_the_status_of_the_last() -> None:
    (call,) = calls_of(
        SentRow(0, 0, 1, 0, [0], 10, ["january"]),
        OutcomeRow(0, 0, 0, 1, "died", 1, 10, 20, 0, 40),
        FailureRow(0, 0, 0, "died", "", "worker gone", "(int)", False),
        SentRow(0, 1, 2, 0, [0], 50, ["january"]),
        OutcomeRow(0, 1, 0, 1, "ok", 1, 50, 60, 70, 80),
    )
    assert (call.status, call.function, call.label) == ("finished", "m:f", "january")
    assert [attempt.outcome for attempt in call.attempts] == ["died", "ok"]
    first = call.attempts[0]
    assert first.failure is not None
    assert (first.failure.message, first.failure.is_final) == ("worker gone", False)
    assert first.running is None
    assert first.stamps.finished is None
    assert call.running == (10, 10)
    assert call.queued == (10, 10)


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([], "unfinished"),
        ([OutcomeRow(0, 0, 0, 1, "moved", -1, 0, 0, 0, 40)], "unfinished"),
        ([OutcomeRow(0, 0, 0, 1, "raised", 1, 10, 20, 30, 40)], "failed"),
        (
            [
                OutcomeRow(0, 0, 0, 1, "raised", 1, 10, 20, 30, 40),
                FailureRow(0, 0, 0, "raised", "E", "to be tried again", "", False),
            ],
            "unfinished",
        ),
        (
            [
                OutcomeRow(0, 0, 0, 1, "ok", 1, 10, 20, 30, 40),
                FailureRow(0, 0, 0, "result", "E", "cannot be rebuilt", "", True),
            ],
            "failed",
        ),
    ],
)
def test_the_status_says_how_the_call_ended(rows: list[Row], status: str) -> None:
    (call,) = calls_of(SentRow(0, 0, 1, 0, [0], 10), *rows)
    assert call.status == status


def test_calls_stand_in_the_order_they_began_not_in_the_order_they_were_submitted() -> None:
    calls = calls_of(
        SentRow(0, 0, 1, 0, [0], 10),
        SentRow(0, 1, 1, 0, [1], 11),
        OutcomeRow(0, 0, 0, 1, "ok", 1, 10, 90, 95, 99),
        OutcomeRow(0, 1, 0, 1, "ok", 1, 11, 20, 30, 40),
    )
    assert [call.number for call in calls] == [1, 0]


@pytest.mark.parametrize("on_utc", [False, True])
def test_durations_between_two_clocks_hold_the_truth_and_are_exact_within_one(
    simulated: Callable[..., Any], far_host: Callable[..., Any], on_utc: bool
) -> None:
    run = simulated([far_host("far", origin_ns=-(10**14), rate_ppm=40)])
    if on_utc:
        run.rows.insert(2, HostRow(0, 7_000_000_000_000, "UTC", 0, "yes", 3_000_000, ""))
    for call in RunTimeline.of(run.recording).calls:
        sent, started, finished, _ = (run.true_ns[call.number, stage] for stage in STAGES)
        assert call.queued is not None
        assert call.running is not None
        assert call.queued.least_ns is not None
        assert call.queued.greatest_ns is not None
        assert call.queued.least_ns <= started - sent <= call.queued.greatest_ns
        assert not call.queued.is_exact
        assert call.queued.greatest_ns - call.queued.least_ns < 1_000_000, "an error of UTC is no error of a duration"
        assert call.running.is_exact
        assert call.running.greatest_ns is not None
        # By the worker's own clock, 40 ppm fast, and cut to whole ns.
        assert abs(call.running.greatest_ns - (finished - started) * 1.00004) <= 2


def test_a_duration_below_zero_is_not_clamped_and_is_a_problem_that_names_both_clocks() -> None:
    rows = [*BEGIN, SentRow(0, 0, 1, 0, [7], 10), OutcomeRow(0, 0, 0, 1, "ok", 1, 10, 30, 25, 40)]
    timeline = RunTimeline.of(Recording(rows))
    assert timeline.calls[0].running == (-5, -5)
    (problem,) = (text for text in timeline.problems if "below zero" in text)
    assert "call 7" in problem
    assert "30 of clock A" in problem
    assert "25 of clock A" in problem


def test_outcomes_without_their_hand_over_are_counted_not_listed() -> None:
    timeline = RunTimeline.of(Recording([*BEGIN, OutcomeRow(0, 0, 0, 4, "ok", 1, 10, 20, 30, 40)]))
    assert len(timeline.calls) == 0
    assert any(problem.startswith("4 outcomes") for problem in timeline.problems)


def test_calls_can_be_indexed_and_sliced_like_any_sequence(
    simulated: Callable[..., Any], far_host: Callable[..., Any]
) -> None:
    calls = RunTimeline.of(simulated([far_host("far")], call_count=5).recording).calls
    assert calls[-1] == calls[4] == list(calls)[4]
    assert calls[1:3] == (calls[1], calls[2])
    with pytest.raises(IndexError, match="call 5 of 5"):
        calls[5]
