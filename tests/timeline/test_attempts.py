from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coeval.recording import Recording
from coeval.recording._rows import (
    ExecutorRow,
    FailureRow,
    ItemRow,
    OutcomeRow,
    ProcessRow,
    Row,
    SentRow,
)
from coeval.timeline._attempts import NOBODY, attempts_of

DRIVER = ProcessRow(0, "driver", "home", 1, "A", "3.11")
WORKER = ProcessRow(1, "worker", "far", 2, "B", "3.11", 0)
BEGIN: list[Row] = [DRIVER, WORKER, ExecutorRow(0, "x", 1)]


def test_each_item_of_each_piece_finds_its_call_attempt_process_and_stamps() -> None:
    rows = [
        *BEGIN,
        SentRow(0, 5, 2, 0, [70, 71, 72], 10),
        OutcomeRow(0, 5, 0, 2, "ok", 1, 10, 20, 30, 40),
        OutcomeRow(0, 5, 2, 1, "raised", 1, 10, 31, 35, 45),
        FailureRow(0, 5, 2, "raised", "ValueError", "no", "()", True),
    ]
    attempts = attempts_of(Recording(rows))
    assert attempts.call.tolist() == [70, 71, 72]
    assert attempts.attempt.tolist() == [2, 2, 2]
    assert attempts.process.tolist() == [1, 1, 1]
    assert attempts.driver.tolist() == [0, 0, 0]
    assert attempts.shared_by.tolist() == [2, 2, 1]
    assert attempts.failure.tolist() == [NOBODY, NOBODY, 0]
    assert attempts.stamps.tolist() == [[10, 20, 30, 40], [10, 20, 30, 40], [10, 31, 35, 45]]
    assert attempts.find([0, 0, 0], [5, 6, 5], [2, 2, 9]).tolist() == [2, NOBODY, NOBODY]


def test_an_item_that_ran_long_has_its_own_start_and_end() -> None:
    rows = [
        *BEGIN,
        SentRow(0, 0, 1, 0, [0, 1], 10),
        OutcomeRow(0, 0, 0, 2, "ok", 1, 10, 20, 90, 95),
        ItemRow(0, 0, 1, 30, 90),
    ]
    attempts = attempts_of(Recording(rows))
    assert attempts.stamps[:, 1:3].tolist() == [[20, 90], [30, 90]]
    assert attempts.shared_by.tolist() == [2, 1]


def test_what_was_handed_over_and_never_came_home_is_unfinished() -> None:
    rows = [
        *BEGIN,
        SentRow(0, 0, 1, 0, [0, 1, 2], 10),
        OutcomeRow(0, 0, 0, 1, "ok", 1, 10, 20, 30, 40),
        SentRow(0, 1, 1, 0, [3], 50),
    ]
    attempts = attempts_of(Recording(rows))
    outcomes = [attempts.outcomes[code] for code in attempts.outcome_codes]
    assert list(zip(attempts.call.tolist(), outcomes, strict=True)) == [
        (0, "ok"),
        (1, "unfinished"),
        (2, "unfinished"),
        (3, "unfinished"),
    ]
    assert attempts.stamps[1:].tolist() == [[10, 0, 0, 0], [10, 0, 0, 0], [50, 0, 0, 0]]


def test_an_outcome_without_its_hand_over_is_kept_as_one_row_without_a_call() -> None:
    attempts = attempts_of(Recording([*BEGIN, OutcomeRow(0, 0, 3, 4, "ok", 1, 10, 20, 30, 40)]))
    assert (attempts.call.tolist(), attempts.item.tolist(), attempts.shared_by.tolist()) == ([NOBODY], [3], [4])


@pytest.mark.parametrize("number", [2**62, -(2**62), -1, 2**63 - 1, -(2**63)])
def test_numbers_from_a_damaged_file_cost_no_memory_and_hit_no_other_row(number: int) -> None:
    good: list[Row] = [*BEGIN, SentRow(0, 0, 1, 0, [0], 10), OutcomeRow(0, 0, 0, 1, "ok", 1, 10, 20, 30, 40)]
    bad: list[Row] = [
        OutcomeRow(0, 0, 0, number, "ok", 1, 11, 21, 31, 41),
        OutcomeRow(0, number, number, 1, "ok", number, 11, 21, 31, 41),
        OutcomeRow(number, 0, number, number, "ok", number, 11, 21, 31, 41),
        ItemRow(0, 0, number, 1, 2),
        FailureRow(number, 0, 0, "raised", "E", "", "", True),
    ]
    attempts = attempts_of(Recording([*good, *bad]))
    assert attempts.call[0] == 0
    assert attempts.stamps[0].tolist() == [10, 20, 30, 40]
    assert attempts.failure[0] == NOBODY
    assert len(attempts) <= 5


def test_executors_of_two_drivers_belong_to_the_driver_that_stands_before_them() -> None:
    rows: list[Row] = [
        *BEGIN,
        SentRow(0, 0, 1, 0, [0], 10),
        ProcessRow(2, "driver", "home", 9, "A", "3.11"),
        ExecutorRow(1, "x", 1),
        SentRow(1, 0, 1, 0, [0], 10),
    ]
    attempts = attempts_of(Recording(rows))
    assert attempts.driver.tolist() == [0, 2]


def test_an_empty_recording_has_no_attempts() -> None:
    attempts = attempts_of(Recording([]))
    assert len(attempts) == 0
    assert attempts.stamps.shape == (0, 4)


def test_batches_of_a_simulated_run_are_all_found(simulated: Callable[..., Any], far_host: Callable[..., Any]) -> None:
    attempts = attempts_of(simulated([far_host("a"), far_host("b")], call_count=30, batch_items=3).recording)
    assert sorted(attempts.call.tolist()) == list(range(90))
    assert bool(np.all(attempts.shared_by == 3))
