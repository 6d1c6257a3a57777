"""
Whole lives of a pool in virtual time: the real decisions, and workers that do what real ones do, only on paper.

A simulated worker takes batches in order, shows each item on its board before it looks at the limit, sends pieces as
`run_batch` does, and is slow, stopped or killed between any two of these steps. The executor above sends again what was
moved. All follows from one seed, which Hypothesis prints when a life breaks a rule.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from coeval.clocks import ClockId
from coeval.engines import NO_LIMITS, Batch, Failure, Function, Limits, Outcome, Packed, Worker
from coeval.engines._attempt import Piece
from coeval.engines.local._board import BLANK, LOADING, NO_LIMIT, BoardReading, key_of
from coeval.engines.local._pool_state import (
    CALL_BACK_AFTER_NS,
    KEPT_AFTER_NS,
    LOADING_LOOK_NS,
    SEEN_AFTER_NS,
    CallBack,
    EndWorker,
    Exit,
    HandOver,
    LetGo,
    PoolState,
    StartWorker,
)

if TYPE_CHECKING:
    from coeval.engines.local._pool_state import Action

US, MS, S = 1_000, 1_000_000, 1_000_000_000

# The pool looks at the clock so much late.
LATE_NS_MAX = 1 * MS
IDLE_NS_MAX = CALL_BACK_AFTER_NS + SEEN_AFTER_NS + 2 * LATE_NS_MAX + MS
PIECE_NS = 50 * MS
# What was finished before an item is home when that has run for so long: the pool's looks at the shelf are as far apart
# as an item before this one may have lasted within the same piece.
HELD_NS_MAX = PIECE_NS + LOADING_LOOK_NS + 2 * KEPT_AFTER_NS


class SimulatedWorker:
    """The steps of `_worker.py` and `_attempt.py`; at each `yield` it may be killed, and so long it takes to go on."""

    def __init__(self, life: Life, number: int) -> None:
        self.life, self.number, self.draw = life, number, life.draw
        self.commands: deque[tuple[int, Batch]] = deque()
        self.board, self.limit, self.limits = BLANK, NO_LIMIT, 0
        self.shelf: tuple[int, int, int] | None = None  # turn, batch, and first item on it
        self.is_let_go = self.is_dead = self.is_told_dead = self.is_waiting = self.is_ready = False
        self.running: set[tuple[int, int]] = set()  # batch and item
        self.functions: set[int] = set()  # that it has
        self.progress_ns = 0
        self.steps = self.work()

    def work(self) -> Iterator[int]:
        yield self.draw.randrange(1, 5 * MS)
        if self.draw.random() < self.life.start_failures:
            self.life.die(self)
            return
        self.life.send(self, None)
        while not self.is_let_go or self.commands:
            if not self.commands:
                self.is_waiting = True
                yield -1
                continue
            yield self.pause()
            yield from self.run(*self.commands.popleft())
        if self.draw.random() < 0.8:
            self.life.die(self)
        yield -1  # a thread that a call left keeps it from leaving

    def run(self, turn: int, batch: Batch) -> Iterator[int]:
        loads = batch.function.number not in self.functions or isinstance(batch.items, Packed)
        self.functions.add(batch.function.number)
        if loads:
            self.board = BoardReading(turn, LOADING, 0)
        yield self.pause()
        count = len(batch.items)
        stride = batch.items.stride if isinstance(batch.items, Packed) else 1
        if self.draw.random() < 0.03 and loads:  # its function or its items cannot be
            self.send(turn, 0, count, "function")
            return
        first = number = 0
        piece_ns = self.life.now_ns
        self.shelf = (turn, batch.id, 0) if stride == 1 else None
        while number < count:
            self.board = BoardReading(turn, number, self.life.now_ns)
            yield self.pause()
            if key_of(turn, number) >= self.limit:
                if number > first:
                    self.send(turn, first, number - first, None)
                self.send(turn, number, count - number, "moved")
                return
            fails = False
            for item in range(number, min(number + stride, count)):
                self.life.begin(self, batch, item)
                yield self.life.duration_ns()
                self.running.clear()
                number = item + 1
                fails = self.draw.random() < 0.02
                if fails:
                    break
            if fails:
                if number - 1 > first:
                    self.send(turn, first, number - 1 - first, None)
                self.send(turn, number - 1, 1, "raised")
            elif number == count or self.life.now_ns - piece_ns > PIECE_NS:
                self.send(turn, first, number - first, None)
            else:
                continue
            yield self.pause()
            first, piece_ns = number, self.life.now_ns
            if self.shelf is not None:
                self.shelf = turn, batch.id, first
            yield self.pause()

    def send(self, turn: int, first: int, count: int, kind: str | None) -> None:
        now_ns = self.life.now_ns
        failure = None if kind is None else Failure(kind)  # type: ignore[arg-type]
        self.life.send(self, (turn, Piece(first, count, (), failure, now_ns, now_ns, (), ())))

    def kept(self) -> Piece | None:
        """What is on its shelf."""
        if self.shelf is None or self.board.item == LOADING:
            return None
        turn, _, first = self.shelf
        if turn != self.board.batch or self.board.item <= first:
            return None
        return Piece(first, self.board.item - first, (), None, 0, self.board.started_ns, (), ())

    def pause(self) -> int:
        """Usually it goes on; sometimes another process has its core, or somebody has stopped it."""
        luck = self.draw.random()
        return self.draw.randrange(10 * US) if luck < 0.97 else self.draw.randrange(20 * MS) if luck < 0.995 else 3 * S


class Life:
    """A pool, its workers and the executor above it."""

    def __init__(self, seed: int) -> None:
        draw = self.draw = random.Random(seed)
        self.now_ns = S
        self.events: list[tuple[int, int, Callable[[], None]]] = []
        self.sequence = itertools.count()
        self.start_failures = draw.choice([0.0, 0.0, 0.05])
        self.deaths_left = draw.choice([0, 0, 3, 10])
        self.stops_left = draw.choice([0, 3, 20])
        self.is_long_at_times = draw.random() < 0.7
        workers_max, recycle_after = draw.randrange(1, 5), draw.choice([None, None, None, 2])
        self.workers_min = seed // 3 % (workers_max + 1) if seed % 3 == 2 else 0
        self.state = PoolState(workers_max, recycle_after, self.workers_min)
        self.workers: dict[int, SimulatedWorker] = {}
        self.pipes: dict[int, deque[tuple[int, Piece] | None]] = {}
        self.to_do: deque[tuple[int, ...]] = deque()  # calls that wait in the executor, each a batch of its own
        self.batches: dict[int, tuple[Batch, tuple[int, ...], SimulatedWorker | None]] = {}
        self.home: dict[int, set[int]] = {}
        self.begun_by: dict[int, SimulatedWorker] = {}  # call -> who began it last
        self.done: set[int] = set()
        self.stopped: set[tuple[int, int]] = set()
        self.idle_since_ns: dict[int, int] = {}
        self.next_batch = self.calls = 0
        for _ in range(draw.randrange(1, 40)):
            count = draw.choice([1, 1, 1, 2, 5, 40])
            self.to_do.append(tuple(range(self.calls, self.calls + count)))
            self.calls += count

    # What happens when ------------------------------------------------------------------------------------------------

    def at(self, delay_ns: int, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now_ns + delay_ns, next(self.sequence), what))

    def live(self) -> None:
        self.act(self.state.opened())
        assert len(self.workers) == self.workers_min
        self.feed()
        for _ in range(self.deaths_left):
            self.at(self.draw.randrange(200 * MS), self.kill_somebody)
        for _ in range(self.stops_left):
            self.at(self.draw.randrange(200 * MS), self.stop_something)
            self.at(self.draw.randrange(200 * MS), self.give_something_up)
        for _ in range(100_000):
            if not self.events:
                break
            self.now_ns, _, what = heapq.heappop(self.events)
            what()
            self.check_that_nobody_idles()
            self.check_that_nothing_is_held_back()
        assert not self.events, "it never ends"
        assert self.done == set(range(self.calls)), "calls are lost"
        assert self.state.is_quiet()
        assert all(worker.limit == NO_LIMIT for worker in self.workers.values() if not worker.is_dead)
        assert not self.state.busy_workers
        assert self.state.window() == self.state.workers_max

    def feed(self) -> None:
        while self.to_do and sum(len(self.home[b]) < len(self.batches[b][1]) for b in self.home) < self.state.window():
            several = [self.make_batch(self.to_do.popleft()) for _ in range(min(len(self.to_do), 2))]
            for batch in reversed(several):  # as two threads may
                self.act(self.state.batch_sent(batch))
        look_ns = self.state.next_look_ns()
        if look_ns is not None:
            self.at(max(0, look_ns - self.now_ns) + self.draw.randrange(LATE_NS_MAX), self.look)

    def make_batch(self, calls: tuple[int, ...]) -> Batch:
        number, self.next_batch = self.next_batch, self.next_batch + 1
        is_new = not any(call in self.begun_by for call in calls)
        stride = self.draw.choice([1, 4]) if is_new and len(calls) > 1 else 1
        limits = Limits(0.02) if stride == 1 and self.draw.random() < 0.1 else NO_LIMITS
        items = Packed(b"", len(calls), False, stride) if stride > 1 else [b""] * len(calls)
        batch = Batch(number, 1, Function(self.draw.randrange(2), "m:f", b""), items, calls, limits)
        self.batches[number] = batch, calls, None
        self.home[number] = set()
        return batch

    def look(self) -> None:
        due = self.state.looks_due(self.now_ns)
        if due:
            for number in due:
                self.take_kept(self.workers[number])
            self.act(self.state.time_passed(self.now_ns, {number: self.workers[number].board for number in due}))
            self.feed()

    def duration_ns(self) -> int:
        long = self.is_long_at_times and self.draw.random() < 0.05
        return self.draw.randrange(100 * MS) if long else self.draw.randrange(200 * US)

    # The pool's shell -------------------------------------------------------------------------------------------------

    def act(self, actions: Sequence[Action]) -> None:
        culprits = 0
        for action in actions:
            match action:
                case StartWorker(number):
                    worker = self.workers[number] = SimulatedWorker(self, number)
                    assert sum(not w.is_told_dead for w in self.workers.values()) <= self.state.workers_max
                    self.pipes[number] = deque()
                    self.step(worker)
                case HandOver(number, batch, turn):
                    self.hand_over(self.workers[number], batch, turn)
                case EndWorker(number):
                    worker = self.workers[number]
                    self.at(self.draw.randrange(MS), lambda worker=worker: self.die(worker))  # type: ignore[misc]
                case LetGo(number):
                    self.workers[number].is_let_go = True
                    self.wake(self.workers[number])
                case CallBack(number, key):
                    self.show_limit(self.workers[number], key)
                case Outcome() as outcome:
                    culprits += outcome.failure is not None and outcome.failure.kind in ("died", "time_limit")
                    self.deliver(outcome)
        assert culprits <= 1

    def hand_over(self, worker: SimulatedWorker, batch: Batch, turn: int) -> None:
        self.batches[batch.id] = batch, self.batches[batch.id][1], worker
        self.state.handed_over(worker.number, self.now_ns)
        if worker.is_dead:
            self.state.refused(worker.number, self.now_ns)
            return
        if not worker.commands and worker.is_waiting:
            worker.progress_ns = self.now_ns
        worker.commands.append((turn, batch))
        self.wake(worker)

    def show_limit(self, worker: SimulatedWorker, key: int) -> None:
        """A store takes a moment to be seen, unless a message follows it."""
        worker.limits += 1
        if key == NO_LIMIT:
            worker.limit = key
            return
        shown = worker.limits

        def show() -> None:
            if worker.limits == shown:
                worker.limit = key

        self.at(self.draw.randrange(SEEN_AFTER_NS), show)

    def deliver(self, outcome: Outcome) -> None:
        batch, calls, _ = self.batches[outcome.batch]
        items = range(outcome.first, outcome.first + outcome.item_count)
        assert not self.home[batch.id].intersection(items), "an item came home twice"
        self.home[batch.id].update(items)
        moved = tuple(calls[item] for item in items)
        assert not self.done.intersection(moved)
        if outcome.failure is None or outcome.failure.kind != "moved":
            self.done.update(moved)
            return
        assert not any((batch.id, item) in self.stopped for item in items), "what was stopped runs again"
        self.to_do.appendleft(moved)

    def take_kept(self, worker: SimulatedWorker) -> None:
        kept = worker.kept()
        if kept is not None:
            self.act(self.state.kept_found(worker.number, worker.board.batch, kept, self.now_ns))

    def send(self, worker: SimulatedWorker, message: tuple[int, Piece] | None) -> None:
        self.pipes[worker.number].append(message)
        self.at(self.draw.randrange(300 * US), lambda: self.read(worker))

    def read(self, worker: SimulatedWorker) -> None:
        pipe = self.pipes[worker.number]
        if not pipe:
            return
        message = pipe.popleft()
        if message is None:
            worker.is_ready = True
            known = Worker(worker.number, "host", worker.number, ClockId("c"), "3.11")
            self.act(self.state.worker_ready(worker.number, known))
        else:
            worker.progress_ns = self.now_ns
            self.act(self.state.piece_arrived(worker.number, *message, self.now_ns))
        self.feed()

    # Workers ----------------------------------------------------------------------------------------------------------

    def step(self, worker: SimulatedWorker) -> None:
        if worker.is_dead:
            return
        delay_ns = next(worker.steps, -1)
        if delay_ns >= 0:
            self.at(delay_ns, lambda: self.step(worker))

    def wake(self, worker: SimulatedWorker) -> None:
        if worker.is_waiting:
            worker.is_waiting = False
            self.at(self.draw.randrange(100 * US), lambda: self.step(worker))

    def begin(self, worker: SimulatedWorker, batch: Batch, item: int) -> None:
        call = self.batches[batch.id][1][item]
        before = self.begun_by.get(call)
        assert before is None or before.is_dead, f"call {call} runs twice"
        assert call not in self.done, f"call {call} runs though it has an outcome"
        self.begun_by[call] = worker
        worker.running.add((batch.id, item))

    def die(self, worker: SimulatedWorker) -> None:
        if not worker.is_dead:
            worker.is_dead = True
            self.at(self.draw.randrange(3 * MS), lambda: self.hear_end(worker))

    def hear_end(self, worker: SimulatedWorker) -> None:
        while self.pipes[worker.number]:
            self.read(worker)
        worker.is_told_dead = True
        self.act(self.state.worker_ended(worker.number))
        self.feed()
        self.at(self.draw.randrange(2 * MS), lambda: self.bury(worker))

    def bury(self, worker: SimulatedWorker) -> None:
        how = Exit("SIGKILL", None)
        self.take_kept(worker)
        self.act(self.state.worker_gone(worker.number, how, worker.board, self.now_ns))
        self.feed()

    def kill_somebody(self) -> None:
        alive = [worker for worker in self.workers.values() if not worker.is_dead and worker.is_ready]
        if alive:
            self.die(self.draw.choice(alive))

    # Whoever is above -------------------------------------------------------------------------------------------------

    def outstanding(self) -> list[tuple[int, int]]:
        return [(b, i) for b, home in self.home.items() for i in range(len(self.batches[b][1])) if i not in home]

    def boards(self) -> dict[int, BoardReading]:
        return {number: worker.board for number, worker in self.workers.items()}

    def stop_something(self) -> None:
        outstanding = self.outstanding()
        if outstanding:
            batch, item = self.draw.choice(outstanding)
            actions = self.state.stop_asked(batch, item, self.boards(), self.now_ns)
            if actions:
                self.stopped.add((batch, item))
            self.act(actions)
            self.feed()

    def give_something_up(self) -> None:
        outstanding = self.outstanding()
        if outstanding:
            self.act(self.state.called_back(self.draw.choice(outstanding)[0], self.boards(), self.now_ns))
            self.feed()

    def check_that_nobody_idles(self) -> None:
        """No ready worker idles for long while calls wait behind one that another worker runs."""
        somebody_idles = any(
            self.state.is_idle(n) and not w.is_dead and not w.is_let_go for n, w in self.workers.items()
        )
        for number, worker in self.workers.items():
            if worker.is_dead or not somebody_idles or not self.waits_behind(worker):
                self.idle_since_ns.pop(number, None)
                continue
            since_ns = max(self.idle_since_ns.setdefault(number, self.now_ns), worker.progress_ns)
            assert self.now_ns - since_ns <= IDLE_NS_MAX, f"calls wait behind worker {number}, and another one idles"

    def check_that_nothing_is_held_back(self) -> None:
        """No finished call waits for long for the one that runs after it."""
        for worker in self.workers.values():
            kept = worker.kept()
            if worker.is_dead or kept is None or self.now_ns - worker.board.started_ns <= HELD_NS_MAX:
                continue
            assert worker.shelf is not None
            batch = worker.shelf[1]
            if not any(stopped == batch for stopped, _ in self.stopped):  # then its worker ends
                assert self.home[batch].issuperset(range(kept.first, kept.first + kept.item_count))

    def waits_behind(self, worker: SimulatedWorker) -> bool:
        running = worker.running
        if not running:
            return False
        [(batch, item)] = running
        stride = getattr(self.batches[batch][0].items, "stride", 1)
        return any(
            by is worker and i not in self.home[b] and (b != batch or i >= item + stride)
            for b, (_, calls, by) in self.batches.items()
            for i in range(len(calls))
            if len(self.home[b]) < len(calls)
            and (b, i) not in self.stopped
            and self.begun_by.get(calls[i]) is not worker
        )


@settings(max_examples=300)
@given(st.integers(0, 2**64))
@example(562413)  # a worker was stopped between two items, and what it finished afterwards was held back
def test_in_every_life_each_call_comes_home_once_runs_once_and_none_waits_behind_a_long_one(seed: int) -> None:
    Life(seed).live()
