"""The decisions of a live merge, over simulated streams whose clocks are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coeval.alignment import UNKNOWN_EARLIEST
from coeval.timeline.merge._live_order import FUTURE, LATE, UNRELATED, Aside, Emitted, LiveEvent, LiveOrder, Places
from coeval.timeline.readers._values import Int64Array

S = 10**9


class World(NamedTuple):
    """Clocks ahead of the truth by a constant, which is known to within a half-width."""

    ahead_ns: dict[str, int]
    half_ns: dict[str, int]

    def places(self, clock: str, raw: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array] | None:
        if clock not in self.half_ns:
            return None
        true, half = raw - self.ahead_ns[clock], self.half_ns[clock]
        # The estimate is anywhere in the interval: here a third of the way.
        return true - half, true - half + 2 * half // 3, true + half


def event(source: str, raw_ns: int, line: int = 1, means_ns: int = 0, clock: str = "") -> LiveEvent:
    return LiveEvent(source, clock or source, line, raw_ns, means_ns, {})


EXACT = World({"a": 0, "b": 0, "c": 0}, {"a": 0, "b": 0, "c": 0})


def lines(emitted: Sequence[Emitted]) -> list[tuple[str, int]]:
    return [(each.event.source, each.event.raw_ns) for each in emitted]


def test_nothing_comes_before_every_source_has_shown_a_reading() -> None:
    order = LiveOrder(["a", "b"])
    order.take([event("a", 1), event("a", 2)])
    assert order.due(EXACT.places) == ([], [])
    assert order.holding(EXACT.places) == [("b", None)]
    order.take([event("b", 2)])
    order.take([event("b", 3)])
    assert lines(order.due(EXACT.places)[0]) == [("a", 1)]


def test_the_furthest_back_source_holds_the_mark_and_released_it_is_named_with_what_follows() -> None:
    order = LiveOrder(["a", "b"])
    order.take([event("a", 1), event("a", 5), event("a", 9), event("b", 1)])
    order.due(EXACT.places)
    assert order.holding(EXACT.places) == [("b", "b")]
    order.silent("b", "b")
    emitted, _ = order.due(EXACT.places)
    assert [(each.event.raw_ns, each.without) for each in emitted] == [(1, ("b",)), (1, ("b",)), (5, ("b",))]
    order.take([event("b", 7), event("b", 3)])
    emitted, asides = order.due(EXACT.places)
    assert (lines(emitted), asides) == ([], [Aside(event("b", 3), LATE)])  # 3 was certainly before 5, which is out


def test_an_event_that_may_have_been_after_what_is_out_is_not_late() -> None:
    world = World({"a": 0, "b": 0}, {"a": 0, "b": 10})
    order = LiveOrder(["a", "b"])
    order.take([event("a", 100), event("a", 120), event("a", 121), event("b", 100)])
    order.silent("b", "b")
    order.due(world.places)
    order.take([event("b", 115)])
    order.ended("a")
    order.ended("b")
    emitted, asides = order.due(world.places)
    assert ("b", 115) in lines(emitted) and not asides


def test_a_stamp_far_ahead_that_the_next_line_does_not_confirm_is_set_aside_and_moves_no_mark() -> None:
    order = LiveOrder(["a", "b"], future_ns=100)
    order.take([event("a", 1), event("b", 1), event("b", 5_000), event("b", 2), event("a", 3), event("b", 4)])
    emitted, asides = order.due(EXACT.places)
    assert asides == [Aside(event("b", 5_000), FUTURE)]
    assert lines(emitted) == [("a", 1), ("b", 1), ("b", 2)]


def test_a_stamp_far_ahead_of_its_source_counts_where_another_source_is_as_far() -> None:
    order = LiveOrder(["a", "b"], future_ns=100)
    order.take([event("a", 1), event("b", 1), event("a", 5_000), event("a", 5_001), event("b", 5_000)])
    order.due(EXACT.places)
    emitted, asides = order.finish(EXACT.places)
    assert lines(emitted) == [("a", 5_000), ("b", 5_000), ("a", 5_001)] and not asides


def test_a_last_line_far_ahead_of_all_others_is_set_aside_but_a_lone_source_is_believed() -> None:
    order = LiveOrder(["a", "b"], future_ns=100)
    order.take([event("a", 1), event("a", 2), event("b", 1), event("b", 5_000)])
    emitted, asides = order.finish(EXACT.places)
    assert lines(emitted) == [("a", 1), ("b", 1), ("a", 2)] and asides == [Aside(event("b", 5_000), FUTURE)]
    alone = LiveOrder(["a"], future_ns=100)
    alone.take([event("a", 1), event("a", 5_000)])
    assert lines(alone.finish(EXACT.places)[0]) == [("a", 1), ("a", 5_000)]


def test_a_clock_that_nothing_relates_waits_and_is_set_aside_at_the_end() -> None:
    order = LiveOrder(["a", "x"])
    order.take([event("a", 1), event("a", 2), event("x", 1), event("x", 2)])
    assert order.due(EXACT.places) == ([], []) and order.waiting == 4
    emitted, asides = order.finish(EXACT.places)
    assert lines(emitted) == [("a", 1), ("a", 2)]
    assert [aside.reason for aside in asides] == [UNRELATED, UNRELATED] and order.waiting == 0


def test_a_side_that_is_unknown_holds_what_others_give() -> None:
    def places(clock: str, raw: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        return (np.full_like(raw, UNKNOWN_EARLIEST) if clock == "b" else raw), raw, raw

    order = LiveOrder(["a", "b"])
    order.take([event("a", 1), event("a", 2), event("b", 9), event("b", 10)])
    assert order.due(places) == ([], [])
    emitted, _ = order.finish(places)
    assert [each.earliest_ns for each in emitted] == [1, 2, None, None]


class Arrival(NamedTuple):
    source: str
    true_ns: int


@st.composite
def streams(draw: st.DrawFn) -> tuple[World, list[Arrival], int, list[bool]]:
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    half = {name: draw(st.integers(0, 50)) for name in names}
    error = {name: draw(st.integers(-half[name], half[name])) for name in names}
    ahead = {name: draw(st.integers(-1000, 1000)) for name in names}
    happened = {name: sorted(draw(st.lists(st.integers(0, 400), max_size=12))) for name in names}
    arrivals = []
    while any(happened.values()):
        name = draw(st.sampled_from([name for name, left in happened.items() if left]))
        arrivals.append(Arrival(name, happened[name].pop(0) + error[name] + ahead[name]))
    # What a source shows: the truth, plus what is known, plus an error within the half-width.
    world = World(ahead, half)
    return world, arrivals, draw(st.sampled_from([0, 1, 40])), draw(st.lists(st.booleans(), min_size=1, max_size=40))


def contradictions(emitted: Sequence[Emitted]) -> int:
    """Pairs that came in the order that bounds, or the readings of one clock, exclude."""
    return sum(
        (late.latest_ns is not None and early.earliest_ns is not None and late.latest_ns < early.earliest_ns)
        or (
            early.event.clock == late.event.clock
            and late.event.raw_ns + max(late.event.means_ns, 1) <= early.event.raw_ns
        )
        for number, early in enumerate(emitted)
        for late in emitted[number + 1 :]
    )


@settings(max_examples=300)
@given(streams())
def test_what_is_emitted_contradicts_no_known_order_and_all_is_accounted_for(
    stream: tuple[World, list[Arrival], int, list[bool]],
) -> None:
    world, arrivals, cut_ns, asked = stream
    order = LiveOrder(list(world.half_ns))
    emitted: list[Emitted] = []
    for number, arrival in enumerate(arrivals):
        raw_ns = arrival.true_ns // max(cut_ns, 1) * max(cut_ns, 1)
        order.take([event(arrival.source, raw_ns, number, cut_ns)])
        if asked[number % len(asked)]:
            more, asides = order.due(world.places)
            assert not asides  # sources wrote in order, and no one was left out
            emitted += more
            assert len(emitted) + order.waiting == number + 1
    more, asides = order.finish(world.places)
    assert not asides and order.waiting == 0
    emitted += more
    assert sorted(each.event.line for each in emitted) == list(range(len(arrivals)))
    assert contradictions(emitted) == 0
    # Nothing that comes later can have been before it: not even by a message that nobody knew of.
    true_ns = {number: arrival.true_ns - world.ahead_ns[arrival.source] for number, arrival in enumerate(arrivals)}
    assert all(each.latest_ns is not None for each in emitted) and len(true_ns) == len(emitted)
    assert [each.order for each in emitted] == sorted(each.order for each in emitted)


@settings(max_examples=300)
@given(streams(), st.data())
def test_whoever_is_left_out_and_however_bounds_narrow_no_known_order_is_contradicted(
    stream: tuple[World, list[Arrival], int, list[bool]], data: st.DataObject
) -> None:
    world, arrivals, cut_ns, asked = stream
    order = LiveOrder(list(world.half_ns), future_ns=data.draw(st.sampled_from([50, 10_000])))
    wide = World(world.ahead_ns, {name: half + 200 for name, half in world.half_ns.items()})
    emitted: list[Emitted] = []
    count = 0
    shuffled = data.draw(st.permutations(arrivals))  # sources do not even write in order
    for number, arrival in enumerate(shuffled):
        places: Places = wide.places if number < len(shuffled) // 2 else world.places
        order.take([event(arrival.source, arrival.true_ns, number, cut_ns)])
        if asked[number % len(asked)]:
            for lane in order.lanes[:1]:
                order.silent(*lane)
            more, asides = order.due(places)
            emitted, count = emitted + more, count + len(asides)
            assert len(emitted) + count + order.waiting == number + 1
    more, asides = order.finish(world.places)
    emitted, count = emitted + more, count + len(asides)
    assert len(emitted) + count == len(arrivals)
    assert contradictions(emitted) == 0
