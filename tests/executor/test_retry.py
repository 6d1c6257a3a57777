from __future__ import annotations

import pytest

from coeval.engines import Failure
from coeval.executor import Retry


def test_a_call_that_raised_is_tried_as_often_as_asked() -> None:
    retry = Retry(2)
    assert [retry.tries_again(Failure("raised"), attempt) for attempt in (1, 2, 3)] == [True, True, False]


def test_a_call_that_killed_its_worker_is_not_let_loose_on_another_unless_asked() -> None:
    assert not Retry(5).tries_again(Failure("died"), 1)
    assert Retry(1, on_death=True).tries_again(Failure("died"), 1)


def test_an_interrupt_is_an_end_not_a_failure_to_be_tried_again() -> None:
    assert Retry(5).tries_again(Failure("exited", type_name="SystemExit"), 1)
    assert not Retry(5).tries_again(Failure("exited", type_name="KeyboardInterrupt"), 1)


@pytest.mark.parametrize("kind", ["argument", "function", "result", "stopped", "engine"])
def test_what_another_try_cannot_change_is_not_tried_again(kind: str) -> None:
    assert not Retry(5, on_death=True).tries_again(Failure(kind), 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("times", [-1, 1.5, "2", True])
def test_a_count_that_is_none_is_refused_with_its_value(times: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number from 0"):
        Retry(times)  # type: ignore[arg-type]
