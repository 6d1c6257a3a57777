"""Running a batch where the worker is: items do not touch each other, and what is done goes home in pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from coeval.clocks import Clock, Snapshot
from coeval.engines._attempt import ITEM_STAMP_NS_MIN, PIECE_NS_MAX, Piece, load_function, run_batch
from coeval.engines._payload import dump, take
from coeval.recording import attempt, mark


class SteppingClock:
    """A clock that goes on by a fixed step at each reading."""

    name = "stepping"

    def __init__(self, step_ns: int = 1) -> None:
        ticks = itertools.count(1_000, step_ns)
        self.raw_ns: Callable[[], int] = lambda: next(ticks)

    def snapshot(self) -> Snapshot:
        return Snapshot(self.raw_ns(), 0, 0, self.raw_ns())


def run(function: Callable[..., Any], arguments: list[Any], clock: Clock | None = None) -> list[Piece]:
    items = [dump(((argument,), {})) for argument in arguments]
    return list(run_batch(function, items, range(len(items)), 1, clock=clock or SteppingClock()))


def test_values_of_a_quick_batch_come_home_in_one_piece() -> None:
    [piece] = run(abs, [-1, -2, 3])
    assert (piece.first, piece.item_count, piece.failure) == (0, 3, None)
    assert [take(value) for value in piece.values] == [1, 2, 3]
    assert piece.started_ns < piece.finished_ns


def test_a_failing_item_stands_alone_between_the_others() -> None:
    pieces = run(lambda x: 1 // x, [1, 0, 2])
    assert [(p.first, p.item_count, p.failure.kind if p.failure else None) for p in pieces] == [
        (0, 1, None),
        (1, 1, "raised"),
        (2, 1, None),
    ]
    failure = pieces[1].failure
    assert failure is not None
    assert failure.type_name == "ZeroDivisionError"
    assert "test_attempt.py" in failure.traceback
    assert "_attempt.py" not in failure.traceback.replace("test_attempt.py", "")


def test_pieces_of_a_long_batch_leave_before_it_ends() -> None:
    pieces = run(abs, [1, 2, 3, 4], SteppingClock(PIECE_NS_MAX))
    assert [(p.first, p.item_count) for p in pieces] == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_pieces_never_overlap_in_time() -> None:
    pieces = run(lambda x: 1 // x, [1, 1, 0, 1], SteppingClock(7))
    for before, after in itertools.pairwise(pieces):
        assert before.finished_ns <= after.started_ns


def test_items_have_stamps_of_their_own_only_where_they_ran_long() -> None:
    [quick] = run(abs, [1, 2], SteppingClock(1))
    assert list(quick.item_stamps) == []
    [slow] = run(abs, [1, 2], SteppingClock(ITEM_STAMP_NS_MIN))
    assert [stamp.item for stamp in slow.item_stamps] == [0, 1]


def test_arguments_that_cannot_be_rebuilt_fail_alone() -> None:
    items = [b"not a pickle", dump(((-3,), {}))]
    pieces = list(run_batch(abs, items, [0, 1], 1, clock=SteppingClock()))
    assert [(p.first, p.failure.kind if p.failure else None) for p in pieces] == [(0, "argument"), (1, None)]


def test_a_result_that_cannot_be_pickled_names_its_type() -> None:
    [piece] = run(lambda x: (n for n in range(x)), [0])
    assert piece.failure is not None
    assert piece.failure.kind == "result"
    assert "generator" in piece.failure.message


def test_a_function_that_cannot_be_loaded_fails_every_item_at_once() -> None:
    function = load_function(b"cno_such_module_at_all\nf\n.")
    pieces = list(run_batch(function, [b"", b""], [0, 1], 1, clock=SteppingClock()))
    assert [(p.first, p.item_count, p.failure.kind if p.failure else None) for p in pieces] == [(0, 2, "function")]


def test_an_exit_is_not_an_exit_of_the_worker() -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    [piece] = run(leave, [3])
    assert piece.failure is not None
    assert (piece.failure.kind, piece.failure.exit_code) == ("exited", 3)


def test_events_belong_to_the_item_in_which_they_happened() -> None:
    [piece] = run(lambda x: mark("seen", x=x), [10, 20])
    assert [(event.item, event.fields) for event in piece.events] == [(0, {"x": 10}), (1, {"x": 20})]


def test_a_call_can_ask_which_try_it_is() -> None:
    items = [dump(((), {}))] * 2
    [piece] = run_batch(lambda: tuple(attempt() or ()), items, [41, 42], 3, clock=SteppingClock())
    assert [take(value) for value in piece.values] == [(41, 3), (42, 3)]
    assert attempt() is None
