from __future__ import annotations

from coeval.engines._dask._ahead import Ahead, Follower
from coeval.engines._engine import Batch, Function


def follower(number: int) -> Follower:
    return Follower(number, Batch(number, 1, Function(0, "f", b""), [b"arguments"], [number]))


def test_parcel_that_runs_takes_one_follower() -> None:
    ahead = Ahead()
    assert not ahead.wants(0)
    ahead.runs(0)
    assert ahead.wants(0)
    assert ahead.came(0, follower(1))
    assert not ahead.wants(0)
    assert not ahead.came(0, follower(2))
    assert ahead.take(0) == follower(1)
    assert ahead.take(0) is None


def test_follower_that_comes_after_its_parcel_is_over_is_not_taken() -> None:
    ahead = Ahead()
    ahead.runs(0)
    assert ahead.take(0) is None
    assert not ahead.came(0, follower(1))


def test_follower_is_begun_or_given_back_and_never_both() -> None:
    ahead = Ahead()
    ahead.runs(0)
    ahead.came(0, follower(1))
    assert not ahead.give_back(7)
    assert ahead.give_back(1)
    assert not ahead.give_back(1)
    assert ahead.take(0) is None
    ahead.runs(2)
    ahead.came(2, follower(3))
    ahead.take(2)
    assert not ahead.give_back(3)


def test_parcel_that_gave_its_follower_back_takes_no_second() -> None:
    ahead = Ahead()
    ahead.runs(0)
    ahead.came(0, follower(1))
    ahead.give_back(1)
    assert not ahead.wants(0)
    assert not ahead.came(0, follower(2))


def test_nothing_follows_once_the_office_cannot_be_told() -> None:
    ahead = Ahead()
    ahead.runs(0)
    ahead.came(0, follower(1))
    ahead.clear()
    assert ahead.take(0) is None
