"""Parcels out and home. Times are plain numbers, as the mind asks no clock."""

from __future__ import annotations

import pickle

from coeval.clocks import ClockId
from coeval.engines._dask._flights import QUIET_NS, Flights
from coeval.engines._engine import Batch, Failure, Function, Outcome, Packed, Stamps, Worker
from coeval.engines._payload import load

WORKER = Worker(7, "far", 123, ClockId("far/raw"), "3.11.7")
OVER_THERE = Stamps(11, 12, 13, 14)


def batch(identity: int, count: int, first_call: int = 0) -> Batch:
    calls = range(first_call, first_call + count)
    return Batch(identity, 1, Function(0, "f", b""), [b"%d" % call for call in calls], list(calls))


def done(parcel: int, first: int, count: int) -> Outcome:
    return Outcome(parcel, first, count, [b"v"] * count, None, OVER_THERE, WORKER)


def shape(outcomes: list[Outcome]) -> list[tuple[int, int, int, str]]:
    return [(o.batch, o.first, o.item_count, o.failure.kind if o.failure else "ok") for o in outcomes]


def test_batch_is_one_parcel_with_a_number_of_its_own() -> None:
    flights = Flights()
    (first,), (second,) = flights.sent(batch(40, 3)), flights.sent(batch(41, 1))
    assert (first.number, first.owner, first.batch.id) == (0, 40, 0)
    assert (second.number, second.owner, second.batch.id) == (1, 41, 1)


def test_outcome_has_the_executors_batch_and_the_callers_stamps() -> None:
    flights = Flights()
    flights.sent(batch(40, 3))
    assert flights.handed_over(0, 1000)
    (home,) = flights.came(done(0, 0, 2), 2000)
    assert (home.batch, home.first, home.item_count) == (40, 0, 2)
    assert home.stamps == Stamps(1000, 12, 13, 2000)


def test_item_that_never_ran_has_no_stamp_but_when_it_was_seen() -> None:
    flights = Flights()
    flights.sent(batch(40, 1))
    flights.handed_over(0, 1000)
    (home,) = flights.came(Outcome(0, 0, 1, (), Failure("moved"), Stamps(0, 0, 0, 14), None), 2000)
    assert home.stamps == Stamps(0, 0, 0, 2000)


def test_parcel_is_out_until_its_last_item_came() -> None:
    flights = Flights()
    flights.sent(batch(40, 2))
    flights.came(done(0, 0, 1), 1)
    assert flights.numbers() == [0]
    assert flights.find(40, 0) is None
    found = flights.find(40, 1)
    assert found is not None
    assert found.number == 0
    flights.came(done(0, 1, 1), 2)
    assert flights.numbers() == []
    assert flights.came(done(0, 1, 1), 3) == []


def test_single_call_on_a_lost_worker_died() -> None:
    flights = Flights()
    flights.sent(batch(40, 1))
    flights.handed_over(0, 1000)
    flights.begun(0, WORKER)
    (died,) = flights.lost(0, "the scheduler lost it", expected=False, now_ns=5000)
    assert died == Outcome(
        40, 0, 1, (), Failure("died", message="the scheduler lost it"), Stamps(1000, 0, 0, 5000), WORKER
    )
    assert flights.lost(0, "again", expected=False, now_ns=6000) == []


def test_calls_on_a_worker_that_was_asked_to_leave_move() -> None:
    flights = Flights()
    flights.sent(batch(40, 1))
    flights.sent(batch(41, 3))
    flights.came(done(1, 0, 1), 1)
    assert shape(flights.lost(0, "", expected=True, now_ns=9)) == [(40, 0, 1, "moved")]
    assert shape(flights.lost(1, "", expected=True, now_ns=9)) == [(41, 1, 2, "moved")]
    assert len(flights.sent(batch(42, 2, first_call=1))) == 1, "nobody is under suspicion"


def test_items_of_which_any_may_have_killed_the_worker_move_and_then_go_alone() -> None:
    flights = Flights()
    flights.sent(batch(40, 4))
    flights.came(done(0, 0, 1), 100)
    assert shape(flights.lost(0, "", expected=False, now_ns=101)) == [(40, 1, 3, "moved")]
    parcels = flights.sent(batch(41, 3, first_call=1))
    assert [(p.number, p.owner, p.first, list(p.batch.calls)) for p in parcels] == [
        (1, 41, 0, [1]),
        (2, 41, 1, [2]),
        (3, 41, 2, [3]),
    ]
    assert shape(flights.came(done(1, 0, 1), 200)) == [(41, 0, 1, "ok")]
    assert shape(flights.lost(2, "", expected=False, now_ns=201)) == [(41, 1, 1, "died")]
    assert shape(flights.came(done(3, 0, 1), 202)) == [(41, 2, 1, "ok")]
    assert len(flights.sent(batch(42, 3, first_call=1))) == 1, "all three are cleared"


def test_item_that_ran_long_when_its_worker_was_lost_is_known_to_be_the_one() -> None:
    flights = Flights()
    flights.sent(batch(40, 4))
    flights.came(done(0, 0, 1), 100)
    lost = flights.lost(0, "", expected=False, now_ns=100 + QUIET_NS)
    assert shape(lost) == [(40, 1, 1, "died"), (40, 2, 2, "moved")]


def test_silence_before_the_first_outcome_says_nothing_as_the_function_may_take_long_to_load() -> None:
    flights = Flights()
    flights.sent(batch(40, 2))
    flights.begun(0, WORKER)
    assert shape(flights.lost(0, "", expected=False, now_ns=100 * QUIET_NS)) == [(40, 0, 2, "moved")]


def test_parcel_that_was_called_back_stops_one_item_and_moves_the_others() -> None:
    flights = Flights()
    flights.sent(batch(40, 4))
    assert shape(flights.withdrawn(0, 2, 9)) == [(40, 0, 2, "moved"), (40, 2, 1, "stopped"), (40, 3, 1, "moved")]
    assert not flights.handed_over(0, 10), "it does not leave any more"


def test_what_is_left_of_a_parcel_fails_together() -> None:
    flights = Flights()
    flights.sent(batch(40, 4))
    flights.came(done(0, 0, 1), 1)
    assert shape(flights.failed(0, Failure("engine", message="gone"), 2)) == [(40, 1, 3, "engine")]


def test_items_of_a_map_that_are_under_suspicion_go_alone_too() -> None:
    flights = Flights()
    many = Batch(40, 1, Function(0, "f", b""), Packed(pickle.dumps(["a", "b", "c"]), 3, False, 3), range(3))
    (whole,) = flights.sent(many)
    assert whole.batch.items is many.items
    flights.lost(whole.number, "", expected=False, now_ns=9)
    alone = flights.sent(many._replace(id=41))
    assert [(parcel.first, list(parcel.batch.calls)) for parcel in alone] == [(0, [0]), (1, [1]), (2, [2])]
    items = [parcel.batch.items for parcel in alone]
    assert [(load(item.content), item.count, item.stride) for item in items if isinstance(item, Packed)] == [
        (["a"], 1, 1),
        (["b"], 1, 1),
        (["c"], 1, 1),
    ]


def test_items_of_a_map_come_home_in_order_though_they_went_alone() -> None:
    flights = Flights()
    many = Batch(40, 1, Function(0, "f", b""), Packed(pickle.dumps(["a", "b", "c"]), 3, False, 3), range(3))
    flights.sent(many)
    flights.lost(0, "", expected=False, now_ns=9)
    first, second, third = (parcel.number for parcel in flights.sent(many._replace(id=41)))

    def home(outcomes: list[Outcome]) -> list[tuple[int, int, int, str]]:
        return shape([ready for outcome in outcomes for ready in flights.in_order(outcome)])

    assert home(flights.came(done(third, 0, 1), 10)) == []
    assert home(flights.lost(second, "", expected=False, now_ns=11)) == []
    assert home(flights.came(done(first, 0, 1), 12)) == [(41, 0, 1, "ok"), (41, 1, 1, "died"), (41, 2, 1, "ok")]


def test_calls_that_are_no_map_come_home_as_they_are_done() -> None:
    flights = Flights()
    flights.sent(batch(40, 2))
    flights.lost(0, "", expected=False, now_ns=9)
    _, second = flights.sent(batch(41, 2))
    (done_first,) = flights.came(done(second.number, 0, 1), 10)
    assert flights.in_order(done_first) == [done_first]
