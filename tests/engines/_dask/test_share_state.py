"""The office's mind for shared objects, alone and with outposts that ask, fetch, fail and die in any order."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from coeval.engines._dask._share_state import CALLER, SENDS_MAX, ShareState, Where

NAME = b"name"


@pytest.fixture
def state() -> ShareState:
    made = ShareState()
    made.shared(NAME, "caller's host", b"caller")
    return made


def test_what_nobody_shared_is_gone(state: ShareState) -> None:
    assert state.asked(b"another", "w1", "h1") == Where("gone")


def test_first_one_of_a_host_fetches_from_the_caller(state: ShareState) -> None:
    assert state.asked(NAME, "w1", "h1") == Where("fetch", CALLER, b"caller")


def test_on_the_callers_host_its_memory_is_mapped(state: ShareState) -> None:
    assert state.asked(NAME, "w1", "caller's host") == Where("map", CALLER, b"caller")
    assert state.fetch_counts() == [0]


def test_others_of_a_host_wait_for_the_one_that_fetches_and_map_what_it_has(state: ShareState) -> None:
    state.asked(NAME, "w1", "h1")
    assert state.asked(NAME, "w2", "h1") is None
    assert state.held(NAME, "w1", "h1", b"w1's")
    assert state.asked(NAME, "w2", "h1") == Where("map", "w1", b"w1's")
    assert state.fetch_counts() == [1]


def test_who_cannot_map_fetches(state: ShareState) -> None:
    state.asked(NAME, "w1", "h1")
    state.held(NAME, "w1", "h1", b"w1's")
    assert state.asked(NAME, "w2", "h1", unmapped=["w1"]) == Where("fetch", "w1", b"w1's")
    assert state.asked(NAME, "w3", "caller's host", unmapped=[CALLER]) == Where("fetch", CALLER, b"caller")


def test_hosts_that_have_it_send_before_the_caller_does(state: ShareState) -> None:
    state.asked(NAME, "w1", "h1")
    state.held(NAME, "w1", "h1", b"w1's")
    sources = [state.asked(NAME, f"w{number}", f"h{number}") for number in range(2, 6)]
    assert [where and where.address for where in sources] == ["w1", CALLER, "w1", CALLER]
    assert SENDS_MAX == 2
    assert state.asked(NAME, "w6", "h6") is None
    state.held(NAME, "w2", "h2", b"w2's")
    assert state.asked(NAME, "w6", "h6") == Where("fetch", "w2", b"w2's")


def test_who_cannot_be_reached_is_avoided_but_for_the_caller(state: ShareState) -> None:
    state.asked(NAME, "w1", "h1")
    state.held(NAME, "w1", "h1", b"w1's")
    assert state.asked(NAME, "w2", "h2", avoid=["w1"]) == Where("fetch", CALLER, b"caller")
    assert state.asked(NAME, "w2", "h2", avoid=["w1", CALLER]) == Where("fetch", CALLER, b"caller")


def test_lost_worker_has_it_no_more_and_keeps_nobody_waiting(state: ShareState) -> None:
    state.asked(NAME, "w1", "h1")
    state.worker_gone("w1")
    assert state.asked(NAME, "w2", "h1") == Where("fetch", CALLER, b"caller")
    state.held(NAME, "w2", "h1", b"w2's")
    state.worker_gone("w2")
    assert state.asked(NAME, "w3", "h1") == Where("fetch", CALLER, b"caller")


def test_worker_that_came_back_under_its_address_does_not_have_it(state: ShareState) -> None:
    state.asked(NAME, "w1", "h1")
    state.held(NAME, "w1", "h1", b"w1's")
    assert state.asked(NAME, "w1", "h1") == Where("fetch", CALLER, b"caller")


def test_who_gave_up_keeps_nobody_waiting(state: ShareState) -> None:
    state.asked(NAME, "w1", "h1")
    assert state.gave_up(NAME, "w1")
    assert not state.gave_up(NAME, "w1")
    assert state.asked(NAME, "w2", "h1") == Where("fetch", CALLER, b"caller")


def test_end_is_told_to_those_that_have_it_or_get_it(state: ShareState) -> None:
    state.asked(NAME, "w1", "h1")
    state.held(NAME, "w1", "h1", b"w1's")
    state.asked(NAME, "w2", "h2")
    assert state.dropped(NAME) == ["w1", "w2"]
    assert state.dropped(NAME) == []
    assert not state.held(NAME, "w2", "h2", b"w2's")
    assert state.asked(NAME, "w3", "h3") == Where("gone")


@dataclass
class World:
    """Outposts on a few hosts that all want one object, and a network that does things in any order."""

    seed: int
    workers: dict[str, str]  # their hosts
    deaths: int = 0
    broken: float = 0.0
    state: ShareState = field(default_factory=ShareState)
    fetches: dict[str, int] = field(default_factory=dict)  # whole ones, by host

    def run(self) -> None:
        chance = random.Random(self.seed)
        self.state.shared(NAME, "caller's host", b"")
        wanting, having = set(self.workers), set[str]()
        fetching: dict[str, Where] = {}
        avoid: dict[str, list[str]] = {}
        for _ in range(10_000):
            moves = [("ask", worker) for worker in sorted(wanting)]
            moves += [("arrive", worker) for worker in sorted(fetching)]
            if not moves:
                assert having == set(self.workers)
                return
            what, worker = chance.choice(moves)
            host = self.workers[worker]
            if what == "ask":
                where = self.state.asked(NAME, worker, host, (), avoid.get(worker, ()))
                if where is None:
                    continue
                assert where.way != "gone"
                assert where.address in {CALLER, *having}, "told to get it from one that does not have it"
                wanting.discard(worker)
                fetching[worker] = where
                sending = [at.address for at in fetching.values() if at.way == "fetch"]
                assert all(sending.count(address) <= SENDS_MAX for address in sending)
                continue
            where = fetching.pop(worker)
            if where.address not in {CALLER, *having} or chance.random() < self.broken:
                avoid.setdefault(worker, []).append(where.address)
                self.state.gave_up(NAME, worker)
                wanting.add(worker)
                continue
            if where.way == "fetch":
                self.fetches[host] = self.fetches.get(host, 0) + 1
            assert self.state.held(NAME, worker, host, b"")
            having.add(worker)
            if self.deaths and having and chance.random() < 0.3:
                self.deaths -= 1
                dead = chance.choice(sorted(having))
                having.discard(dead)
                self.state.worker_gone(dead)
                wanting.add(dead)  # it came back
        raise AssertionError(f"seed {self.seed}: {sorted(wanting)} wait for ever")


def test_each_host_fetches_it_once() -> None:
    for seed in range(300):
        workers = {f"w{number}": f"h{number % 5}" for number in range(15)}
        world = World(seed, workers | {"near": "caller's host"})
        world.run()
        assert world.fetches == {f"h{number}": 1 for number in range(5)}, f"seed {seed}"


def test_everybody_gets_it_in_the_end_though_workers_die_and_connections_break() -> None:
    for seed in range(300):
        world = World(seed, {f"w{number}": f"h{number % 5}" for number in range(12)}, deaths=6, broken=0.3)
        world.run()
