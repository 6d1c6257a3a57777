"""The local pool's decisions, fact by fact, without one process."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coeval.clocks import ClockId
from coeval.engines import NO_LIMITS, Batch, Failure, Function, Limits, Outcome, Worker
from coeval.engines._attempt import Piece
from coeval.engines.local._board import LOADING, BoardReading
from coeval.engines.local._pool_state import (
    START_FAILURES_MAX,
    DeliverOutcome,
    EndWorker,
    Exit,
    HandOver,
    PoolState,
    StartWorker,
)

if TYPE_CHECKING:
    from coeval.engines.local._pool_state import Action

KILLED = Exit("SIGKILL", None)
FUNCTION = Function(0, "m:f", b"")


def batch(number: int, items: int = 1, limits: Limits = NO_LIMITS) -> Batch:
    return Batch(number, 1, FUNCTION, [b""] * items, list(range(items)), limits)


def worker(number: int) -> Worker:
    return Worker(number, "host", 1000 + number, ClockId("c"), "3.11")


def piece(first: int, count: int, failure: Failure | None = None) -> Piece:
    return Piece(first, count, () if failure else [b"v"] * count, failure, 10, 20, (), ())


def outcomes(actions: Sequence[Action]) -> list[Outcome]:
    return [action.outcome for action in actions if isinstance(action, DeliverOutcome)]


def one_busy(items: int = 1, limits: Limits = NO_LIMITS) -> PoolState:
    """A pool of one worker that was just handed a batch with id 7."""
    state = PoolState(1)
    assert state.batch_sent(batch(7, items, limits)) == [StartWorker(0)]
    [action] = state.worker_ready(0, worker(0))
    assert isinstance(action, HandOver)
    state.handed_over(0, 1_000)
    return state


def test_workers_start_on_demand_and_never_beyond_the_limit() -> None:
    state = PoolState(2)
    assert state.batch_sent(batch(0)) == [StartWorker(0)]
    assert state.batch_sent(batch(1)) == [StartWorker(1)]
    assert state.batch_sent(batch(2)) == []


def test_an_idle_worker_is_used_before_another_is_started() -> None:
    state = one_busy()
    state.workers_max = 2
    state.piece_arrived(0, 7, piece(0, 1), 2_000)
    [action] = state.batch_sent(batch(8))
    assert action == HandOver(0, batch(8), TURN)


def test_a_batch_waits_for_a_ready_worker_and_goes_first_come_first_served() -> None:
    state = PoolState(1)
    state.batch_sent(batch(0))
    state.batch_sent(batch(1))
    assert state.worker_ready(0, worker(0)) == [HandOver(0, batch(0), TURN)]
    state.handed_over(0, 5)
    assert state.piece_arrived(0, 0, piece(0, 1), 9)[1:] == [HandOver(0, batch(1), TURN)]


def test_stamps_of_an_outcome_are_in_the_order_in_which_they_were_taken() -> None:
    state = one_busy()
    [outcome] = outcomes(state.piece_arrived(0, 7, piece(0, 1), 2_000))
    assert outcome.stamps == (1_000, 10, 20, 2_000)


def test_a_dead_worker_fails_only_the_item_it_was_running() -> None:
    state = one_busy(items=5)
    state.piece_arrived(0, 7, piece(0, 1), 2_000)
    actions = state.worker_gone(0, KILLED, BoardReading(7, 3, 1_500), 3_000)
    assert [(o.first, o.item_count, o.failure.kind if o.failure else None) for o in outcomes(actions)] == [
        (1, 2, "moved"),  # finished or not, what had not come home runs again
        (3, 1, "died"),
        (4, 1, "moved"),
    ]
    [died] = [o for o in outcomes(actions) if o.failure and o.failure.kind == "died"]
    assert died.failure is not None
    assert died.failure.signal == "SIGKILL"
    assert died.worker == worker(0)


def test_a_batch_that_the_dead_worker_never_took_is_moved_whole() -> None:
    state = one_busy(items=3)
    actions = state.worker_gone(0, KILLED, BoardReading(6, 2, 500), 3_000)
    assert [(o.first, o.item_count, o.failure and o.failure.kind) for o in outcomes(actions)] == [(0, 3, "moved")]


def test_dying_while_the_function_is_loaded_is_the_first_items_failure() -> None:
    state = one_busy(items=2)
    actions = state.worker_gone(0, KILLED, BoardReading(7, LOADING, 0), 3_000)
    assert [(o.first, o.failure and o.failure.kind) for o in outcomes(actions)] == [(0, "died"), (1, "moved")]


def test_an_idle_workers_death_fails_nothing_and_starts_nothing() -> None:
    state = one_busy()
    state.piece_arrived(0, 7, piece(0, 1), 2_000)
    assert state.worker_gone(0, KILLED, BoardReading(7, 0, 1), 3_000) == []


def test_a_lost_worker_is_replaced_while_there_is_work() -> None:
    state = one_busy()
    state.batch_sent(batch(8))
    actions = state.worker_gone(0, KILLED, BoardReading(7, 0, 1), 3_000)
    assert StartWorker(1) in actions


def test_when_no_worker_ever_gets_ready_everything_that_waits_fails_with_a_reason() -> None:
    state = PoolState(1)
    actions = state.batch_sent(batch(0, items=2))
    for attempt in range(START_FAILURES_MAX):
        assert actions == [StartWorker(attempt)]
        actions = state.worker_gone(attempt, Exit("", 1), BoardReading(-1, LOADING, 0), 100)
    [outcome] = outcomes(actions)
    assert outcome.failure is not None
    assert outcome.failure.kind == "engine"
    assert "exit code 1" in outcome.failure.message
    assert (outcome.first, outcome.item_count) == (0, 2)


NEVER_READY = Exit("", 1)
NEVER_TOOK = BoardReading(-1, LOADING, 0)


def test_workers_that_fail_to_start_side_by_side_are_given_up_too() -> None:
    state = PoolState(2)
    starting = [*state.batch_sent(batch(0)), *state.batch_sent(batch(1))]
    home: list[Outcome] = []
    started = 0
    while starting:
        action = starting.pop(0)
        assert isinstance(action, StartWorker)
        started += 1
        assert started < 10
        actions = state.worker_gone(action.number, NEVER_READY, NEVER_TOOK, 100)
        starting += [action for action in actions if isinstance(action, StartWorker)]
        home += outcomes(actions)
    assert [(o.batch, o.failure and o.failure.kind) for o in home] == [(0, "engine"), (1, "engine")]


def one_ready_and_others_that_never_start() -> PoolState:
    """A pool of three places, one busy worker with batch 7, three failed starts, and batches 8 and 9 that wait."""
    state = one_busy()
    state.workers_max = 3
    actions = [*state.batch_sent(batch(8)), *state.batch_sent(batch(9))]
    while actions:
        action = actions.pop()
        assert isinstance(action, StartWorker)
        actions += state.worker_gone(action.number, NEVER_READY, NEVER_TOOK, 100)
    return state


def test_where_no_more_workers_start_those_that_are_there_do_the_work() -> None:
    state = one_ready_and_others_that_never_start()
    assert state.piece_arrived(0, 7, piece(0, 1), 200)[1:] == [HandOver(0, batch(8), TURN)]
    state.handed_over(0, 201)
    assert state.piece_arrived(0, 8, piece(0, 1), 300)[1:] == [HandOver(0, batch(9), TURN)]


def test_a_lost_workers_place_is_worth_one_more_start() -> None:
    state = one_ready_and_others_that_never_start()
    actions = state.worker_gone(0, KILLED, BoardReading(7, 0, 1), 200)
    started = [action.number for action in actions if isinstance(action, StartWorker)]
    assert started
    home: list[Outcome] = []
    for number in started:
        home += outcomes(state.worker_gone(number, NEVER_READY, NEVER_TOOK, 300))
    assert [(o.batch, o.failure and o.failure.kind) for o in home] == [(8, "engine"), (9, "engine")]


def test_a_worker_that_was_started_before_the_failures_does_not_make_up_for_them() -> None:
    state = PoolState(9)
    starting = [action for n in range(5) for action in state.batch_sent(batch(n))]
    assert len(starting) == 5
    again = [a for n in (1, 2, 3) for a in state.worker_gone(n, NEVER_READY, NEVER_TOOK, 100)]
    assert again == [StartWorker(5), StartWorker(6)]
    assert state.worker_ready(0, worker(0)) == [HandOver(0, batch(0), TURN)]
    # Nor does one that was started between them.
    assert state.worker_ready(5, worker(5)) == [HandOver(5, batch(1), TURN)]


def test_a_limit_counts_from_the_items_start_not_from_its_hand_over() -> None:
    state = one_busy(limits=Limits(time_s=1.0))
    due_ns = state.next_look_ns()
    assert due_ns == 1_000_001_000
    assert state.time_passed(due_ns, {0: BoardReading(7, 0, 600_001_000)}) == []
    later_ns = state.next_look_ns()
    assert later_ns == 1_600_001_000
    assert state.time_passed(later_ns, {0: BoardReading(7, 0, 600_001_000)}) == [EndWorker(0)]
    [outcome] = outcomes(state.worker_gone(0, KILLED, BoardReading(7, 0, 600_001_000), later_ns + 5))
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.ran_s) == ("time_limit", 1.0)


def test_loading_a_function_does_not_count_towards_the_limit() -> None:
    state = one_busy(limits=Limits(time_s=1.0))
    due_ns = state.next_look_ns()
    assert due_ns is not None
    assert state.time_passed(due_ns, {0: BoardReading(7, LOADING, 0)}) == []
    assert state.next_look_ns() is not None


def test_an_item_that_began_after_its_predecessor_was_condemned_is_moved_not_failed() -> None:
    state = one_busy(items=2, limits=Limits(time_s=1.0))
    due_ns = state.next_look_ns()
    assert due_ns is not None
    assert state.time_passed(due_ns, {0: BoardReading(7, 0, 1_000)}) == [EndWorker(0)]
    # It finished in the very moment between the look and the kill, and sent it home.
    state.piece_arrived(0, 7, piece(0, 1), due_ns + 1)
    actions = state.worker_gone(0, KILLED, BoardReading(7, 1, due_ns + 1), due_ns + 2)
    assert [(o.first, o.failure and o.failure.kind) for o in outcomes(actions)] == [(1, "moved")]


def test_stopping_what_runs_ends_its_worker_and_moves_the_rest() -> None:
    state = one_busy(items=3)
    board = BoardReading(7, 1, 1_500)
    assert state.stop_asked(7, 1, {0: board}, 2_000) == [EndWorker(0)]
    actions = state.worker_gone(0, KILLED, board, 2_500)
    kinds = [(o.first, o.failure and o.failure.kind) for o in outcomes(actions)]
    assert kinds == [(0, "moved"), (1, "stopped"), (2, "moved")]


@pytest.mark.parametrize("board", [BoardReading(7, 0, 1_500), BoardReading(7, 2, 1_500), BoardReading(6, 0, 900)])
def test_stopping_what_has_not_begun_or_is_not_home_yet_stops_just_that(board: BoardReading) -> None:
    state = one_busy(items=3)
    assert state.stop_asked(7, 1, {0: board}, 2_000) == [EndWorker(0)]
    actions = state.worker_gone(0, KILLED, board, 2_500)
    kinds = [(o.first, o.failure and o.failure.kind) for o in outcomes(actions)]
    assert kinds == [(0, "moved"), (1, "stopped"), (2, "moved")]


def test_a_stopped_item_does_not_run_over_its_limit_as_well() -> None:
    state = one_busy(limits=Limits(1.0))
    board = BoardReading(7, 0, 1_500)
    assert state.stop_asked(7, 0, {0: board}, 2_000) == [EndWorker(0)]
    assert state.next_look_ns() is None


def test_stopping_what_waits_touches_no_worker() -> None:
    state = one_busy()
    state.batch_sent(batch(8, items=3))
    actions = state.stop_asked(8, 1, {}, 2_000)
    assert [(o.first, o.failure and o.failure.kind) for o in outcomes(actions)] == [
        (0, "moved"),
        (1, "stopped"),
        (2, "moved"),
    ]


def test_stopping_what_is_not_here_does_nothing() -> None:
    assert one_busy().stop_asked(99, 0, {0: BoardReading(7, 0, 1)}, 2_000) == []


def test_a_broken_pool_fails_everything_outstanding_and_only_that() -> None:
    state = one_busy(items=3)
    state.piece_arrived(0, 7, piece(0, 2), 2_000)
    state.batch_sent(batch(8))
    failed = outcomes(state.failed("bug", 3_000))
    assert [(o.batch, o.first, o.item_count) for o in failed] == [(7, 2, 1), (8, 0, 1)]


@dataclasses.dataclass
class _Sent:
    batch: Batch
    seen: list[int]


@given(st.data())
def test_every_item_that_was_sent_comes_home_exactly_once_whatever_dies_when(data: st.DataObject) -> None:
    """A random life of a pool: sends, pieces, deaths at any moment, until nothing is outstanding."""
    state = PoolState(data.draw(st.integers(1, 3)))
    sent: dict[int, _Sent] = {}
    starting: list[int] = []
    busy: dict[int, list[int]] = {}  # worker -> [batch, delivered]
    now = 0

    def take(actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case StartWorker(number):
                    starting.append(number)
                case HandOver(number, given_batch):
                    busy[number] = [given_batch.id, 0]
                    state.handed_over(number, now)
                case DeliverOutcome(outcome):
                    if outcome.batch in sent:
                        home = range(outcome.first, outcome.first + outcome.item_count)
                        sent[outcome.batch].seen.extend(home)
                case EndWorker():
                    raise AssertionError("nobody asked for it")

    batches = data.draw(st.lists(st.integers(1, 4), max_size=6))
    steps = 0
    while batches or busy or starting:
        now += 1
        steps += 1
        options = ["send"] * bool(batches) + ["ready"] * bool(starting) + ["piece"] * bool(busy)
        # Deaths stop after a while, so that every life ends.
        if steps < 40:
            options += ["die"] * bool(busy)
        match data.draw(st.sampled_from(options)):
            case "send":
                new = batch(len(sent), batches.pop())
                sent[new.id] = _Sent(new, [])
                take(state.batch_sent(new))
            case "ready":
                number = starting.pop(0)
                take(state.worker_ready(number, worker(number)))
            case "piece":
                number = data.draw(st.sampled_from(sorted(busy)))
                current, delivered = busy[number]
                left = len(sent[current].batch.items) - delivered
                count = data.draw(st.integers(1, left))
                if count == left:
                    del busy[number]
                else:
                    busy[number][1] += count
                take(state.piece_arrived(number, current, piece(delivered, count), now))
            case "die":
                number = data.draw(st.sampled_from(sorted(busy)))
                current, delivered = busy.pop(number)
                items = len(sent[current].batch.items)
                taken = data.draw(st.booleans())
                board = BoardReading(current if taken else -1, data.draw(st.integers(delivered, items - 1)), now)
                take(state.worker_gone(number, KILLED, board, now))
    for one in sent.values():
        assert one.seen == list(range(len(one.batch.items)))


@pytest.mark.parametrize(
    ("how", "text"),
    [
        (KILLED, "was ended by SIGKILL"),
        (Exit("", 3), "ended by itself with exit code 3"),
        (Exit("", None), "ended"),
        (Exit("", None, "OSError: no memory"), "could not be started: OSError: no memory"),
    ],
)
def test_how_a_worker_ended_reads_as_a_sentence(how: Exit, text: str) -> None:
    assert str(how) == text
