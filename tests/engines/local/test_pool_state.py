"""The local pool's decisions, fact by fact, without one process; `test_pool_life.py` has whole lives of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from coeval.clocks import ClockId
from coeval.engines import NO_LIMITS, Batch, Failure, Function, ItemStamps, Limits, Outcome, Packed, Worker
from coeval.engines._attempt import Piece
from coeval.engines.local._board import LOADING, NO_LIMIT, BoardReading, key_of
from coeval.engines.local._pool_state import (
    BRISK_ITEM_NS_MAX,
    BRISK_NS_MAX,
    CALL_BACK_AFTER_NS,
    KEPT_AFTER_NS,
    LEAVE_NS_MAX,
    SEEN_AFTER_NS,
    START_FAILURES_MAX,
    STUCK_AFTER_NS,
    CallBack,
    EndWorker,
    Exit,
    HandOver,
    LetGo,
    PoolState,
    StartWorker,
)
from coeval.recording import Event

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
    return [action for action in actions if isinstance(action, Outcome)]


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


def test_as_many_workers_as_there_shall_be_at_least_start_before_there_is_work() -> None:
    state = PoolState(3, workers_min=2)
    assert state.opened() == [StartWorker(0), StartWorker(1)]
    state.worker_ready(0, worker(0))
    state.worker_ready(1, worker(1))
    assert state.is_quiet()
    assert state.batch_sent(batch(0)) == [HandOver(0, batch(0), 0)]
    assert state.batch_sent(batch(1)) == [HandOver(1, batch(1), 1)]
    assert state.batch_sent(batch(2)) == [StartWorker(2)]
    assert state.worker_gone(2, KILLED, BoardReading(-1, 0, 0), 1_000) == [StartWorker(3)]  # for the batch that waits


def test_one_that_ends_with_nothing_to_do_is_replaced_by_the_next_batch_and_not_again_and_again() -> None:
    state = PoolState(3, workers_min=2)
    state.opened()
    state.worker_ready(0, worker(0))
    state.worker_ready(1, worker(1))
    assert state.worker_ended(0) == []
    assert state.worker_gone(0, KILLED, BoardReading(-1, 0, 0), 1_000) == []
    assert state.batch_sent(batch(0)) == [HandOver(1, batch(0), 0), StartWorker(2)]
    state.handed_over(1, 1_000)
    state.piece_arrived(1, 0, piece(0, 1), 2_000)
    assert state.worker_ended(1) == [StartWorker(3)]  # it has done something
    assert state.worker_gone(1, KILLED, BoardReading(0, 0, 0), 3_000) == []


def test_workers_that_end_together_before_they_are_ready_have_failed_to_start_once() -> None:
    state = PoolState(8, workers_min=8)
    assert len(state.opened()) == 8
    for number in range(8):  # as when their server was killed
        assert state.worker_gone(number, Exit("", 1), BoardReading(-1, 0, 0), 1_000) == []
    assert state.is_quiet()
    assert state.batch_sent(batch(0)) == [StartWorker(number) for number in range(8, 16)]
    state.worker_ready(8, worker(8))
    for number in range(9, 16):
        assert state.worker_gone(number, Exit("", 1), BoardReading(-1, 0, 0), 1_000) == []
    assert state.batch_sent(batch(1)) == [StartWorker(number) for number in range(16, 23)]


def test_an_idle_worker_is_used_before_another_is_started() -> None:
    state = one_busy()
    state.workers_max = 2
    state.piece_arrived(0, 0, piece(0, 1), 2_000)
    [action] = state.batch_sent(batch(8))
    assert action == HandOver(0, batch(8), 1)


def test_a_batch_waits_for_a_ready_worker_and_goes_first_come_first_served() -> None:
    state = PoolState(1)
    state.batch_sent(batch(0))
    state.batch_sent(batch(1))
    assert state.worker_ready(0, worker(0)) == [HandOver(0, batch(0), 0)]
    state.handed_over(0, 5)
    assert state.piece_arrived(0, 0, piece(0, 1), 9)[1:] == [HandOver(0, batch(1), 1)]


def test_stamps_of_an_outcome_are_in_the_order_in_which_they_were_taken() -> None:
    state = one_busy()
    [outcome] = outcomes(state.piece_arrived(0, 0, piece(0, 1), 2_000))
    assert outcome.stamps == (1_000, 10, 20, 2_000)


def test_a_dead_worker_fails_only_the_item_it_was_running() -> None:
    state = one_busy(items=5)
    state.piece_arrived(0, 0, piece(0, 1), 2_000)
    actions = state.worker_gone(0, KILLED, BoardReading(0, 3, 1_500), 3_000)
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
    actions = state.worker_gone(0, KILLED, BoardReading(-1, 2, 500), 3_000)
    assert [(o.first, o.item_count, o.failure and o.failure.kind) for o in outcomes(actions)] == [(0, 3, "moved")]


def test_dying_while_the_function_is_loaded_is_the_first_items_failure() -> None:
    state = one_busy(items=2)
    actions = state.worker_gone(0, KILLED, BoardReading(0, LOADING, 0), 3_000)
    assert [(o.first, o.failure and o.failure.kind) for o in outcomes(actions)] == [(0, "died"), (1, "moved")]


def test_an_idle_workers_death_fails_nothing_and_starts_nothing() -> None:
    state = one_busy()
    state.piece_arrived(0, 0, piece(0, 1), 2_000)
    assert state.worker_gone(0, KILLED, BoardReading(0, 0, 1), 3_000) == []


def test_a_lost_worker_is_replaced_while_there_is_work() -> None:
    state = one_busy()
    state.batch_sent(batch(8))
    actions = state.worker_gone(0, KILLED, BoardReading(0, 0, 1), 3_000)
    assert StartWorker(1) in actions


def test_a_worker_that_ended_is_replaced_before_all_is_known_of_its_end_where_more_work_is_to_be_expected() -> None:
    full = one_busy()
    assert full.worker_ended(0) == [StartWorker(1)], "it was all that the pool may have"
    gone = full.worker_gone(0, KILLED, BoardReading(0, 0, 1), 3_000)
    assert kinds(gone) == [(7, 0, 1, "died")]
    assert StartWorker(2) not in full.batch_sent(batch(8))
    assert full.worker_ready(1, worker(1)) == [HandOver(1, batch(8), 1)]


def test_a_worker_that_ended_with_all_that_there_was_to_do_is_not_replaced() -> None:
    state = PoolState(8)
    state.batch_sent(batch(7))
    state.worker_ready(0, worker(0))
    assert state.worker_ended(0) == []
    assert not state.is_quiet(), "its call is to come home yet"
    assert kinds(state.worker_gone(0, KILLED, BoardReading(0, 0, 1), 3_000)) == [(7, 0, 1, "died")]
    assert state.is_quiet()


@pytest.mark.parametrize("is_other_idle", [False, True])
def test_what_a_dead_worker_leaves_behind_gets_a_new_worker_unless_another_one_idles(is_other_idle: bool) -> None:
    state = PoolState(8)
    for number in (7, 8):
        state.batch_sent(batch(number, items=5))
        state.worker_ready(number - 7, worker(number - 7))
        state.handed_over(number - 7, 1_000)
    if is_other_idle:
        state.piece_arrived(1, 1, piece(0, 5), 2_000)
    assert state.worker_ended(0) == ([] if is_other_idle else [StartWorker(2)])


def test_each_of_several_workers_that_ended_at_once_is_replaced_once() -> None:
    state = PoolState(3)
    for number in range(3):
        state.batch_sent(batch(number))
        state.worker_ready(number, worker(number))
        state.handed_over(number, 1_000)
    started = [state.worker_ended(number) for number in (0, 1)]
    assert started == [[StartWorker(3)], [StartWorker(4)]]
    for number in (0, 1):
        gone = state.worker_gone(number, KILLED, BoardReading(number, 0, 1), 3_000)
        assert not any(isinstance(action, StartWorker) for action in gone)
    assert [state.batch_sent(batch(number)) for number in (3, 4)] == [[], []]


def test_a_worker_that_ended_idle_or_before_it_was_ready_is_not_replaced_at_once() -> None:
    state = PoolState(1)
    state.batch_sent(batch(7))
    assert state.worker_ended(0) == [], "how it ended may say that none would get ready"
    assert StartWorker(1) in state.worker_gone(0, NEVER_READY, NEVER_TOOK, 100)
    state.worker_ready(1, worker(1))
    state.piece_arrived(1, 0, piece(0, 1), 2_000)
    assert state.worker_ended(1) == []


def test_a_worker_that_has_ended_gets_nothing_and_is_not_ended_for_a_limit() -> None:
    state = one_busy(limits=Limits(time_s=1.0))
    state.worker_ended(0)
    assert state.batch_sent(batch(8)) == []
    assert state.next_look_ns() is None
    assert state.looks_due(10**12) == []


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
    assert state.piece_arrived(0, 0, piece(0, 1), 200)[1:] == [HandOver(0, batch(8), 1), HandOver(0, batch(9), 2)]


def test_a_lost_workers_place_is_worth_one_more_start() -> None:
    state = one_ready_and_others_that_never_start()
    actions = state.worker_gone(0, KILLED, BoardReading(0, 0, 1), 200)
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
    again = [a for n in (1, 5, 2, 6) for a in state.worker_gone(n, NEVER_READY, NEVER_TOOK, 100)]
    assert again == [StartWorker(5), StartWorker(6), StartWorker(7)]
    assert state.worker_ready(0, worker(0)) == [HandOver(0, batch(0), 0)]
    # Nor does one that was started between them.
    assert state.worker_ready(7, worker(7)) == [HandOver(7, batch(1), 1)]


def test_a_limit_counts_from_the_items_start_not_from_its_hand_over() -> None:
    state = one_busy(limits=Limits(time_s=1.0))
    due_ns = state.next_look_ns()
    assert due_ns == 1_000_001_000
    assert state.time_passed(due_ns, {0: BoardReading(0, 0, 600_001_000)}) == []
    later_ns = state.next_look_ns()
    assert later_ns == 1_600_001_000
    assert state.time_passed(later_ns, {0: BoardReading(0, 0, 600_001_000)}) == [EndWorker(0)]
    [outcome] = outcomes(state.worker_gone(0, KILLED, BoardReading(0, 0, 600_001_000), later_ns + 5))
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.ran_s) == ("time_limit", 1.0)


def test_loading_a_function_does_not_count_towards_the_limit() -> None:
    state = one_busy(limits=Limits(time_s=1.0))
    due_ns = state.next_look_ns()
    assert due_ns is not None
    assert state.time_passed(due_ns, {0: BoardReading(0, LOADING, 0)}) == []
    assert state.next_look_ns() is not None


def test_an_item_that_began_after_its_predecessor_was_condemned_is_moved_not_failed() -> None:
    state = one_busy(items=2, limits=Limits(time_s=1.0))
    due_ns = 1_000_001_000
    assert state.time_passed(due_ns, {0: BoardReading(0, 0, 1_000)}) == [EndWorker(0)]
    # It finished in the very moment between the look and the kill, and sent it home.
    state.piece_arrived(0, 0, piece(0, 1), due_ns + 1)
    actions = state.worker_gone(0, KILLED, BoardReading(0, 1, due_ns + 1), due_ns + 2)
    assert [(o.first, o.failure and o.failure.kind) for o in outcomes(actions)] == [(1, "moved")]


def test_stopping_what_runs_ends_its_worker_and_moves_the_rest() -> None:
    state = one_busy(items=3)
    board = BoardReading(0, 1, 1_500)
    assert state.stop_asked(7, 1, {0: board}, 2_000) == [EndWorker(0)]
    actions = state.worker_gone(0, KILLED, board, 2_500)
    kinds = [(o.first, o.failure and o.failure.kind) for o in outcomes(actions)]
    assert kinds == [(0, "moved"), (1, "stopped"), (2, "moved")]


@pytest.mark.parametrize("board", [BoardReading(0, 0, 1_500), BoardReading(0, 2, 1_500), BoardReading(-1, 0, 900)])
def test_stopping_what_has_not_begun_or_is_not_home_yet_stops_just_that(board: BoardReading) -> None:
    state = one_busy(items=3)
    assert state.stop_asked(7, 1, {0: board}, 2_000) == [EndWorker(0)]
    actions = state.worker_gone(0, KILLED, board, 2_500)
    kinds = [(o.first, o.failure and o.failure.kind) for o in outcomes(actions)]
    assert kinds == [(0, "moved"), (1, "stopped"), (2, "moved")]


def test_a_stopped_item_does_not_run_over_its_limit_as_well() -> None:
    state = one_busy(limits=Limits(1.0))
    board = BoardReading(0, 0, 1_500)
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
    assert one_busy().stop_asked(99, 0, {0: BoardReading(0, 0, 1)}, 2_000) == []


def test_a_broken_pool_fails_everything_outstanding_and_only_that() -> None:
    state = one_busy(items=3)
    state.piece_arrived(0, 0, piece(0, 2), 2_000)
    state.batch_sent(batch(8))
    failed = outcomes(state.failed("bug", 3_000))
    assert [(o.batch, o.first, o.item_count) for o in failed] == [(7, 2, 1), (8, 0, 1)]


# Batches of which one waits behind another --------------------------------------------------------------------------


def brisk(workers_max: int = 1, recycle_after: int | None = None) -> PoolState:
    """A pool whose one worker has proved quick with batch 7, turn 0, and now idles."""
    state = PoolState(workers_max, recycle_after)
    state.batch_sent(batch(7))
    state.worker_ready(0, worker(0))
    state.handed_over(0, 1_000)
    state.piece_arrived(0, 0, piece(0, 1), 2_000)
    return state


def send(state: PoolState, sent: Batch, now_ns: int = 3_000) -> list[Action]:
    actions = state.batch_sent(sent)
    for action in actions:
        if isinstance(action, HandOver):
            state.handed_over(action.number, now_ns)
    return actions


def kinds(actions: Sequence[Action]) -> list[tuple[int, int, int, str | None]]:
    return [(o.batch, o.first, o.item_count, o.failure and o.failure.kind) for o in outcomes(actions)]


def with_two(first_items: int = 1, second_items: int = 1) -> PoolState:
    """Its worker has batch 8, turn 1, and behind that batch 9, turn 2."""
    state = brisk()
    assert send(state, batch(8, first_items)) == [HandOver(0, batch(8, first_items), 1)]
    assert send(state, batch(9, second_items)) == [HandOver(0, batch(9, second_items), 2)]
    return state


def test_a_second_batch_waits_only_at_a_worker_whose_first_is_of_a_function_that_proved_quick() -> None:
    state = with_two()
    assert send(state, batch(10)) == []
    state.piece_arrived(0, 1, piece(0, 1), 3_000 + BRISK_ITEM_NS_MAX + 1)  # not any more
    assert send(state, batch(11)) == []


@pytest.mark.parametrize("took_ns", [BRISK_ITEM_NS_MAX + 1, BRISK_NS_MAX, BRISK_NS_MAX + 1])
def test_several_short_calls_may_last_longer_together_than_one_and_another_batch_still_waits_behind(
    took_ns: int,
) -> None:
    state = brisk()
    send(state, batch(8, 4))
    state.piece_arrived(0, 1, piece(0, 4), 3_000 + took_ns)
    send(state, batch(9))
    assert bool(send(state, batch(10))) == (took_ns <= BRISK_NS_MAX)


def test_the_window_has_room_for_the_second_batches_and_shrinks_with_the_workers_that_take_them() -> None:
    state = brisk()
    assert state.window() == 1
    send(state, batch(8))
    assert state.window() == 2
    state.worker_gone(0, KILLED, BoardReading(1, 0, 1), 4_000)
    assert (state.window(), state.busy_workers) == (1, 0)


def test_a_batch_that_cannot_be_handed_over_fails_and_the_one_that_runs_and_those_that_wait_do_not() -> None:
    state = with_two(second_items=3)
    assert send(state, batch(10)) == []
    actions = state.not_handed_over(0, 2, "no room", 4_000)
    assert kinds(actions) == [(9, 0, 3, "engine")]
    assert actions[1:] == [HandOver(0, batch(10), 3)]
    assert kinds(state.piece_arrived(0, 1, piece(0, 1), 5_000)) == [(8, 0, 1, None)]
    assert kinds(state.piece_arrived(0, 3, piece(0, 1), 6_000)) == [(10, 0, 1, None)]
    assert state.is_quiet()


def test_a_worker_that_is_recycled_gets_no_second_batch_and_leaves() -> None:
    state = brisk(recycle_after=2)
    assert state.window() == 1
    send(state, batch(8))
    assert send(state, batch(9)) == []
    assert state.piece_arrived(0, 1, piece(0, 1), 4_000)[1:] == [LetGo(0)]
    assert not state.is_quiet()
    assert StartWorker(1) in state.worker_gone(0, Exit("", 0), BoardReading(1, 0, 1), 5_000)


def test_a_worker_that_does_not_leave_by_itself_is_ended() -> None:
    state = brisk(recycle_after=1)
    assert state.next_look_ns() == 2_000 + LEAVE_NS_MAX
    assert state.time_passed(2_000 + LEAVE_NS_MAX, {0: BoardReading(0, 0, 1)}) == [EndWorker(0)]
    assert state.next_look_ns() is None


def test_what_waits_behind_a_long_item_is_called_back_when_a_worker_idles_and_taken_when_that_was_seen() -> None:
    state = with_two(first_items=3)
    called_ns = 3_000 + CALL_BACK_AFTER_NS
    assert state.time_passed(called_ns, {0: BoardReading(1, 0, 3_100)}) == []  # nobody could do it
    state.workers_max = 2
    assert state.next_look_ns() == called_ns
    running = BoardReading(1, 0, 3_100)
    assert state.time_passed(called_ns, {0: running}) == [CallBack(0, key_of(1, 1))]
    assert state.next_look_ns() == called_ns + SEEN_AFTER_NS
    begun_meanwhile = BoardReading(1, 1, called_ns + 1)
    taken = state.time_passed(called_ns + SEEN_AFTER_NS, {0: begun_meanwhile})
    assert kinds(taken) == [(8, 2, 1, "moved"), (9, 0, 1, "moved")]
    # The worker says the same later, and nothing comes home twice.
    assert kinds(state.piece_arrived(0, 1, piece(0, 2), 9_000_000)) == [(8, 0, 2, None)]
    assert state.piece_arrived(0, 1, piece(2, 1, Failure("moved")), 9_000_000) == []
    assert state.piece_arrived(0, 2, piece(0, 1, Failure("moved")), 9_000_000) == [CallBack(0, NO_LIMIT)]
    assert state.is_quiet()


def test_a_worker_that_died_after_it_showed_what_was_called_back_did_not_die_of_that() -> None:
    state = with_two(first_items=2)
    state.workers_max = 2
    called_ns = 3_000 + CALL_BACK_AFTER_NS
    state.time_passed(called_ns, {0: BoardReading(1, 0, 1)})
    state.time_passed(called_ns + SEEN_AFTER_NS, {0: BoardReading(1, 0, 1)})
    gone = state.worker_gone(0, KILLED, BoardReading(1, 1, 2), called_ns + SEEN_AFTER_NS + 1)
    assert kinds(gone) == [(8, 0, 1, "moved")]


def test_a_function_that_cannot_be_loaded_fails_only_what_was_not_called_back() -> None:
    state = with_two(first_items=3)
    assert state.called_back(8, {0: BoardReading(1, LOADING, 0)}, 4_000) == [CallBack(0, key_of(1, 1))]
    taken = state.time_passed(4_000 + SEEN_AFTER_NS, {0: BoardReading(1, LOADING, 0)})
    assert kinds(taken) == [(8, 1, 2, "moved"), (9, 0, 1, "moved")]
    failed = state.piece_arrived(0, 1, piece(0, 3, Failure("function")), 2_000_000)
    assert kinds(failed) == [(8, 0, 1, "function")]


def test_nobody_runs_again_what_is_called_back_where_several_items_run_at_a_time() -> None:
    state = brisk()
    packed = Batch(8, 1, FUNCTION, Packed(b"", 40, False, 16), range(40))
    send(state, packed)
    assert state.called_back(8, {0: BoardReading(1, LOADING, 0)}, 4_000) == [CallBack(0, key_of(1, 1))]
    taken = state.time_passed(4_000 + SEEN_AFTER_NS, {0: BoardReading(1, LOADING, 0)})
    assert kinds(taken) == [(8, 16, 24, "moved")]


@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        (16, [(8, 0, 40, "moved")]),
        (1, [(8, 0, 3, "moved"), (8, 3, 1, "died"), (8, 4, 36, "moved")]),
    ],
)
def test_a_death_names_its_item_where_items_run_one_by_one_and_else_moves_all(
    stride: int, expected: list[tuple[int, int, int, str]]
) -> None:
    state = brisk()
    send(state, Batch(8, 1, FUNCTION, Packed(b"", 40, False, stride), range(40)))
    assert kinds(state.worker_gone(0, KILLED, BoardReading(1, 3, 1), 5_000)) == expected


def test_a_batch_that_its_worker_has_not_even_begun_goes_to_another_one_in_the_end() -> None:
    state = brisk(workers_max=2)
    send(state, batch(8))
    stuck_ns = 3_000 + STUCK_AFTER_NS
    assert state.next_look_ns() == stuck_ns
    before = BoardReading(0, 0, 1)
    assert state.time_passed(stuck_ns, {0: before}) == [CallBack(0, key_of(1, 0))]
    assert kinds(state.time_passed(stuck_ns + SEEN_AFTER_NS, {0: before})) == [(8, 0, 1, "moved")]
    assert send(state, batch(9)) == [StartWorker(1)]


def test_a_call_that_runs_for_long_is_looked_at_once() -> None:
    state = brisk(workers_max=2)
    send(state, batch(8))
    assert state.time_passed(3_000 + STUCK_AFTER_NS, {0: BoardReading(1, 0, 1)}) == []
    assert state.next_look_ns() is None


def test_several_items_of_a_batch_that_waits_can_be_stopped() -> None:
    state = with_two(second_items=4)
    board = {0: BoardReading(1, 0, 1)}
    assert state.stop_asked(9, 1, board, 4_000) == [CallBack(0, key_of(2, 0))]
    assert state.stop_asked(9, 3, board, 4_500) == [CallBack(0, key_of(2, 0))]
    assert kinds(state.time_passed(4_500 + SEEN_AFTER_NS, board)) == [
        (9, 0, 1, "moved"),
        (9, 1, 1, "stopped"),
        (9, 2, 1, "moved"),
        (9, 3, 1, "stopped"),
    ]


def test_an_item_that_began_before_the_worker_saw_the_stop_is_ended() -> None:
    state = with_two()
    state.stop_asked(9, 0, {0: BoardReading(1, 0, 1)}, 4_000)
    state.piece_arrived(0, 1, piece(0, 1), 4_100)
    board = BoardReading(2, 0, 4_050)
    assert state.time_passed(4_000 + SEEN_AFTER_NS, {0: board}) == [EndWorker(0)]
    assert kinds(state.worker_gone(0, KILLED, board, 2_000_000)) == [(9, 0, 1, "stopped")]


def test_a_later_stop_does_not_let_the_worker_begin_what_was_called_back() -> None:
    state = with_two(first_items=3)
    board = {0: BoardReading(1, 0, 1)}
    assert state.called_back(8, board, 4_000) == [CallBack(0, key_of(1, 1))]
    assert state.stop_asked(9, 0, board, 4_100) == [CallBack(0, key_of(1, 1))]


def test_a_worker_ended_for_an_item_that_was_finished_by_then_leaves_the_next_batch_blameless() -> None:
    state = with_two()
    assert state.stop_asked(8, 0, {0: BoardReading(1, 0, 1)}, 4_000) == [EndWorker(0)]
    state.piece_arrived(0, 1, piece(0, 1), 4_001)
    assert kinds(state.worker_gone(0, KILLED, BoardReading(2, 0, 4_002), 4_100)) == [(9, 0, 1, "moved")]


def test_a_worker_that_had_ended_before_gets_nothing_more_and_what_it_was_handed_is_not_to_blame() -> None:
    state = brisk()
    send(state, batch(8))
    state.refused(0, 3_000)
    assert send(state, batch(9)) == []
    [moved] = outcomes(state.worker_gone(0, KILLED, BoardReading(0, 0, 1), 4_000))
    assert (moved.batch, moved.failure) == (8, Failure("moved", signal="SIGKILL"))  # no message: nobody counts it


def test_batches_are_told_apart_by_their_turn_whatever_ids_they_have() -> None:
    state = brisk(workers_max=2)
    send(state, batch(5, items=2))  # ids as two threads may send them
    state.workers_max = 1
    assert send(state, batch(3)) == [HandOver(0, batch(3), 2)]
    assert kinds(state.worker_gone(0, KILLED, BoardReading(1, 1, 1), 4_000)) == [
        (5, 0, 1, "moved"),
        (5, 1, 1, "died"),
        (3, 0, 1, "moved"),
    ]


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


def test_nothing_waits_behind_a_batch_whose_results_are_kept() -> None:
    state = brisk()
    send(state, batch(8)._replace(may_wait_behind=False))
    assert state.window() == 1
    assert send(state, batch(9)) == []


def test_two_batches_that_are_given_at_once_are_handed_over_in_their_order_and_the_first_ones_limit_begins() -> None:
    state = brisk()
    state.batch_sent(batch(8, limits=Limits(time_s=1.0)))
    state.batch_sent(batch(9))
    state.handed_over(0, 3_000)
    assert state.next_look_ns() == 1_000_003_000
    state.handed_over(0, 4_000)
    assert state.next_look_ns() == 1_000_003_000


def test_a_worker_that_grew_too_large_does_what_it_has_gets_nothing_more_and_leaves() -> None:
    state = with_two()
    assert state.worker_large(0) == []
    assert [o.batch for o in outcomes(state.piece_arrived(0, 1, piece(0, 1), 4_000))] == [8]
    assert send(state, batch(10)) == []
    assert state.piece_arrived(0, 2, piece(0, 1), 5_000)[1:] == [LetGo(0)]
    assert StartWorker(1) in state.worker_gone(0, Exit("", 0), BoardReading(2, 0, 1), 6_000)


def test_a_dead_workers_failure_tells_the_most_memory_it_had() -> None:
    state = brisk()
    send(state, batch(8))
    gone = state.worker_gone(0, KILLED._replace(memory_bytes_peak=4096), BoardReading(1, 0, 1), 4_000)
    [failed] = outcomes(gone)
    assert failed.failure is not None
    assert failed.failure.memory_bytes_peak == 4096


def test_what_is_kept_behind_a_long_item_is_looked_for_ever_less_often_and_comes_home_once() -> None:
    state = one_busy(items=4)
    due_ns = 1_000 + KEPT_AFTER_NS
    assert state.next_look_ns() == due_ns
    board = BoardReading(0, 2, 500_000)
    [early] = outcomes(state.kept_found(0, 0, piece(0, 2)._replace(started_ns=5, finished_ns=500_000), due_ns))
    assert early[:6] == (7, 0, 2, [b"v"] * 2, None, (1_000, 5, 500_000, due_ns))
    assert state.time_passed(due_ns, {0: board}) == []
    later_ns = state.next_look_ns()
    assert later_ns == due_ns + KEPT_AFTER_NS
    assert state.kept_found(0, 0, piece(0, 2), later_ns) == []
    much_later_ns = later_ns + 10**10
    state.time_passed(much_later_ns, {0: board})
    assert state.next_look_ns() == much_later_ns + much_later_ns - board.started_ns
    [late] = outcomes(state.piece_arrived(0, 0, piece(0, 4)._replace(finished_ns=10**11), 10**11))
    assert late[:6] == (7, 2, 2, [b"v"] * 2, None, (1_000, 10, 10**11, 10**11))
    assert state.is_quiet()
    assert state.next_look_ns() is None


def test_a_shelf_that_was_sent_already_or_is_of_what_follows_something_under_way_gives_nothing() -> None:
    state = one_busy(items=4)
    assert state.kept_found(0, 0, piece(2, 1), 2_000) == []
    state.piece_arrived(0, 0, piece(0, 2), 3_000)
    assert state.kept_found(0, 0, piece(0, 2), 4_000) == []
    assert state.kept_found(0, 5, piece(2, 1), 4_000) == []
    assert kinds(state.kept_found(0, 0, piece(2, 1), 4_000)) == [(7, 2, 1, None)]


def test_events_and_stamps_of_what_was_kept_come_with_it_and_not_again_with_a_later_piece() -> None:
    state = one_busy(items=3)
    first, second = (Event("mark", item, None, "m", {}, item) for item in (0, 1))
    stamps = [ItemStamps(item, 0, 1) for item in (0, 1)]
    kept = piece(0, 1)._replace(events=[first], item_stamps=stamps[:1])
    [early] = outcomes(state.kept_found(0, 0, kept, 2_000))
    assert (early.events, early.item_stamps) == ([first], stamps[:1])
    assert state.piece_arrived(0, 0, piece(0, 1), 3_000) == []  # as before an item that fails
    failed = piece(1, 1, Failure("raised"))._replace(events=[first, second], item_stamps=stamps)
    [late] = outcomes(state.piece_arrived(0, 0, failed, 3_000))
    assert (late.first, late.events, late.item_stamps) == (1, [second], stamps[1:])


def test_what_a_dead_worker_kept_does_not_run_again() -> None:
    state = one_busy(items=4)
    found = state.kept_found(0, 0, piece(0, 2), 2_000)
    gone = state.worker_gone(0, KILLED, BoardReading(0, 2, 1_500), 3_000)
    assert kinds([*found, *gone]) == [(7, 0, 2, None), (7, 2, 1, "died"), (7, 3, 1, "moved")]


def test_what_somebody_wants_stopped_is_stopped_though_it_was_kept() -> None:
    state = one_busy(items=3)
    board = BoardReading(0, 1, 1_500)
    assert state.stop_asked(7, 0, {0: board}, 2_000) == [EndWorker(0)]
    assert state.next_look_ns() is None
    assert state.kept_found(0, 0, piece(0, 1), 3_000) == []
    assert kinds(state.worker_gone(0, KILLED, board, 3_000)) == [(7, 0, 1, "stopped"), (7, 1, 2, "moved")]
