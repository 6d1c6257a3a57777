"""
The office's mind and the outposts' together, with a network between them that takes its time: what is said on one
channel stays in order, all else arrives as it likes. Each seed is one history; a failure names its seed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial

import pytest

from coeval.engines._dask._ahead import Ahead, Follower
from coeval.engines._dask._office_state import OfficeState
from coeval.engines._engine import Batch, Function

FUNCTION = 1
STEPS_MAX = 20_000


def batch(number: int) -> Batch:
    return Batch(number, 1, Function(FUNCTION, "f", b""), [b""], [number])


class Outpost:
    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.is_alive = True
        self.free = threads
        self.tasks: list[int] = []  # one for each thread that is not free
        self.running: dict[int, int] = {}  # which task's thread each parcel has
        self.ahead = Ahead()
        self.to_office: deque[Callable[[], None]] = deque()
        self.from_office: deque[Callable[[], None]] = deque()


class Ask:
    """A question to the office that has not been answered: a task wants its parcel, or after that any."""

    def __init__(self, outpost: Outpost, task: int, *, any_parcel: bool) -> None:
        self.outpost, self.task, self.any_parcel, self.recalled = outpost, task, any_parcel, -1


class World:
    def __init__(self, seed: int, *, deadly: set[int], endless: int = -1, loses_words: bool = False) -> None:
        self.random = random.Random(seed)
        self.deadly, self.endless, self.loses_words = deadly, endless, loses_words
        self.office = OfficeState()
        self.outposts: list[Outpost] = []
        self.loose: list[Callable[[], None]] = []  # messages that arrive in any order
        self.tasks: list[int] = []
        self.asks: list[Ask] = []
        self.started: list[int] = []
        self.done: set[int] = set()
        self.lost: set[int] = set()
        self.given_back = 0
        self.reserve_asks: list[int] = []
        self.on_their_way: set[int] = set()  # begun for the office, in an answer for the outpost

    def run(self, count: int, outposts: int, threads: int) -> None:
        for _ in range(outposts):
            self.outposts.append(Outpost(f"worker {len(self.outposts)}", threads))
        arriving = deque(range(count))

        def arrive() -> None:
            number = arriving.popleft()
            self.office.arrived(number, FUNCTION, number, "body", ())
            self.tasks.append(number)

        for _ in range(STEPS_MAX):
            actions = [*self.loose_actions(), *(arrive for _ in range(bool(arriving)))]
            for outpost in self.outposts:
                actions += self.actions_of(outpost)
            if not actions:
                return
            self.random.choice(actions)()
            self.answer_asks()
        raise AssertionError("it does not come to an end")

    def loose_actions(self) -> list[Callable[[], None]]:
        return [partial(self.arrive, message) for message in self.loose]

    def arrive(self, message: Callable[[], None]) -> None:
        self.loose.remove(message)
        message()

    def actions_of(self, outpost: Outpost) -> list[Callable[[], None]]:
        if not outpost.is_alive:
            return []
        actions: list[Callable[[], None]] = []
        if outpost.to_office:
            actions.append(lambda: outpost.to_office.popleft()())
        if outpost.from_office:
            actions.append(lambda: outpost.from_office.popleft()())
        if outpost.free and self.tasks:
            actions.append(lambda: self.take_task(outpost))
        for number in outpost.running:
            if number != self.endless:
                actions.append(partial(self.end, outpost, number))
            if outpost.ahead.wants(number) and self.reserve_asks.count(number) < 4:
                actions.append(partial(self.say_reserve, outpost, number))
        return actions

    # An outpost's side ------------------------------------------------------------------------------------------------

    def take_task(self, outpost: Outpost) -> None:
        task = self.tasks.pop(self.random.randrange(len(self.tasks)))
        outpost.free -= 1
        outpost.tasks.append(task)
        self.loose.append(lambda: self.asks.append(Ask(outpost, task, any_parcel=False)))

    def task_is_done(self, outpost: Outpost, task: int) -> None:
        outpost.tasks.remove(task)
        outpost.free += 1

    def start(self, outpost: Outpost, number: int, task: int) -> None:
        self.on_their_way.discard(number)
        self.started.append(number)
        if number in self.deadly:
            self.lose(outpost)
        else:
            outpost.running[number] = task
            outpost.ahead.runs(number)

    def end(self, outpost: Outpost, number: int) -> None:
        task = outpost.running.pop(number)
        self.done.add(number)
        turn_is_over = self.random.random() < 0.2
        follower = outpost.ahead.take(number)
        if follower is not None and not turn_is_over:
            outpost.to_office.append(lambda: self.hear_began(outpost, number, follower.number))
            self.start(outpost, follower.number, task)
            return

        def hear() -> None:
            if self.office.is_reserved_at(number, outpost.name):
                self.loose.append(hear)
                return
            self.office.brought(number, outpost.name, last=True)
            self.office.not_followed(number, outpost.name)
            if not turn_is_over:
                self.asks.append(Ask(outpost, task, any_parcel=True))

        self.loose.append(hear)
        if turn_is_over:
            self.task_is_done(outpost, task)

    def say_reserve(self, outpost: Outpost, number: int) -> None:
        def hear() -> None:
            reserved = self.office.reserve(number, FUNCTION, outpost.name)
            if reserved is not None:
                follower = Follower(reserved[0], batch(reserved[0]))
                outpost.from_office.append(lambda: self.hear_reserved(outpost, number, follower))

        self.reserve_asks.append(number)
        outpost.to_office.append(hear)

    def hear_reserved(self, outpost: Outpost, behind: int, follower: Follower) -> None:
        outpost.ahead.came(behind, follower)

    def hear_recall(self, outpost: Outpost, number: int) -> None:
        if outpost.ahead.give_back(number):
            self.given_back += 1
            outpost.to_office.append(lambda: self.office.returned(number, outpost.name))

    # The office's side ------------------------------------------------------------------------------------------------

    def hear_began(self, outpost: Outpost, behind: int, number: int) -> None:
        self.office.brought(behind, outpost.name, last=True)
        self.office.began(number, outpost.name)

    def answer_asks(self) -> None:
        for ask in list(self.asks):
            if ask.outpost.is_alive:
                self.answer(ask)
            else:
                self.asks.remove(ask)

    def answer(self, ask: Ask) -> None:
        taken: int | None = None
        if not ask.any_parcel:
            if self.office.is_reserved(ask.task):
                self.recall(ask.task)
                return
            taken = ask.task if self.office.begin(ask.task, ask.outpost.name) is not None else None
        else:
            next_one = self.office.begin_next(FUNCTION, ask.outpost.name)
            if next_one is not None:
                taken = next_one[0]
            elif self.office.is_reserved(ask.recalled):
                return
            else:
                reserved = self.office.reserved_of(FUNCTION)
                if reserved is not None:
                    ask.recalled = reserved
                    self.recall(reserved)
                    return
        self.asks.remove(ask)
        if taken is None:
            self.task_is_done(ask.outpost, ask.task)
        else:
            self.on_their_way.add(taken)
            self.loose.append(lambda: self.start(ask.outpost, taken, ask.task) if ask.outpost.is_alive else None)

    def recall(self, number: int) -> None:
        name = self.office.recall(number)
        for outpost in self.outposts:
            if outpost.name == name:
                outpost.from_office.append(partial(self.hear_recall, outpost, number))

    def lose(self, outpost: Outpost) -> None:
        """Its process ends; what it said is read first, but for what the network lost; another one takes its place."""
        outpost.is_alive = False
        heard = self.random.randint(0, len(outpost.to_office)) if self.loses_words else len(outpost.to_office)
        for _ in range(heard):
            outpost.to_office.popleft()()
        lost = self.office.worker_gone(outpost.name)
        assert set(lost) <= {*self.started, *self.on_their_way}, f"{lost} had not begun"
        self.lost.update(lost)
        self.tasks += outpost.tasks  # Dask lets them run elsewhere
        self.outposts.append(Outpost(f"worker {len(self.outposts)}", outpost.free + len(outpost.tasks)))


PARCELS = 12
everything = set(range(PARCELS))


@pytest.mark.parametrize("threads", [1, 2])
def test_every_parcel_runs_once_whoever_asks_for_it_back(threads: int) -> None:
    given_back = 0
    for seed in range(400):
        world = World(seed, deadly=set())
        world.run(PARCELS, outposts=3, threads=threads)
        assert sorted(world.started) == sorted(everything), f"seed {seed}"
        assert world.done == everything, f"seed {seed}"
        given_back += world.given_back
    assert given_back > 30, "else this shows nothing"


@pytest.mark.parametrize("threads", [1, 2])
def test_no_parcel_waits_for_one_that_does_not_end(threads: int) -> None:
    for seed in range(400):
        world = World(seed, deadly=set(), endless=seed % PARCELS)
        world.run(PARCELS, outposts=2, threads=threads)
        assert world.done == everything - {world.endless}, f"seed {seed}"
        assert sorted(world.started) == sorted(everything), f"seed {seed}"


@pytest.mark.parametrize("threads", [1, 2])
def test_call_that_kills_its_worker_starts_once_and_what_had_not_begun_runs(threads: int) -> None:
    for seed in range(400):
        deadly = {3, 4, 9}
        world = World(seed, deadly=deadly)
        world.run(PARCELS, outposts=2, threads=threads)
        assert len(world.started) == len(set(world.started)), f"seed {seed}"
        assert deadly <= world.lost, f"seed {seed}"
        assert world.done | world.lost == everything, f"seed {seed}"


def test_call_that_kills_its_worker_takes_one_more_at_most_where_the_network_loses_its_last_words() -> None:
    twice = 0
    for seed in range(400):
        deadly = {3, 4, 9}
        world = World(seed, deadly=deadly, loses_words=True)
        world.run(PARCELS, outposts=2, threads=1)
        assert all(world.started.count(number) <= 2 for number in deadly), f"seed {seed}"
        assert deadly <= world.lost, f"seed {seed}"
        assert world.done | world.lost == everything, f"seed {seed}"
        twice += any(world.started.count(number) == 2 for number in deadly)
    assert twice > 10, "else this shows nothing"
