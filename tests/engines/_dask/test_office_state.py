from __future__ import annotations

from coeval.engines._dask._office_state import NO_PARCEL, OfficeState, Parcel


def office(*numbers: int) -> OfficeState:
    state = OfficeState()
    for number in numbers:
        state.arrived(number, 1, f"content {number}", "body" if number == numbers[0] else None, ())
    return state


def test_parcel_is_handed_out_once() -> None:
    state = office(0)
    assert state.begin(0, "a") == Parcel(1, "content 0", "body")
    assert state.begin(0, "b") is None
    assert state.where(0) == "a"


def test_worker_that_is_free_takes_the_next_parcel_if_it_is_of_the_same_function() -> None:
    state = office(0, 1)
    state.arrived(2, 7, "content 2", "other body", ())
    state.begin(0, "a")
    assert state.begin_next(1, "a") == (1, Parcel(1, "content 1", "body"))
    assert state.where(1) == "a"
    assert state.begin_next(1, "a") is None
    assert state.begin_next(7, "a") == (2, Parcel(7, "content 2", "other body"))
    assert state.begin_next(7, "a") is None


def test_parcel_of_a_lost_worker_is_told_of_and_not_handed_out_again() -> None:
    state = office(0, 1, 2)
    state.begin(0, "a")
    state.begin(1, "b")
    state.begin(2, "a")
    assert state.worker_gone("a") == [0, 2]
    assert state.begin(0, "b") is None
    assert state.worker_gone("a") == []


def test_outcomes_of_a_worker_that_was_given_up_are_not_wanted() -> None:
    state = office(0)
    state.begin(0, "a")
    assert state.brought(0, "a", last=False)
    state.worker_gone("a")
    assert not state.brought(0, "a", last=True)


def test_nothing_is_wanted_after_the_last_outcomes() -> None:
    state = office(0)
    state.begin(0, "a")
    assert state.brought(0, "a", last=True)
    assert not state.brought(0, "a", last=True)
    assert state.where(0) == ""


def test_introduction_is_wanted_of_a_worker_that_asked_before() -> None:
    state = office(0)
    assert not state.brought(NO_PARCEL, "a", last=False)
    state.begin(0, "a")
    assert state.brought(NO_PARCEL, "a", last=False)


def test_waiting_parcel_can_be_withdrawn_and_one_that_was_handed_out_cannot() -> None:
    state = office(0, 1)
    state.begin(1, "a")
    assert state.withdraw(0)
    assert not state.withdraw(1)
    assert state.begin(0, "a") is None


def test_giving_up_tells_whether_it_was_handed_out() -> None:
    state = office(0)
    assert not state.give_up(0)
    state.begin(0, "a")
    assert state.give_up(0)
    assert not state.give_up(0)


def test_body_of_a_function_stays_with_parcels_that_wait_when_it_is_forgotten() -> None:
    state = office(0)
    state.arrived(1, 2, "other", "other body", [1])
    assert state.begin(0, "a") == Parcel(1, "content 0", "body")
    assert state.begin(1, "a") == Parcel(2, "other", "other body")


def test_cleared_office_hands_out_nothing() -> None:
    state = office(0, 1)
    state.begin(1, "a")
    state.clear()
    assert state.begin(0, "a") is None
    assert not state.brought(1, "a", last=True)


def reserved_at(worker: str) -> OfficeState:
    """Parcel 0 runs at a worker, 1 is reserved behind it, 2 and 3 wait."""
    state = office(0, 1, 2, 3)
    state.begin(0, worker)
    assert state.reserve(0, 1, worker) == (1, Parcel(1, "content 1", "body"))
    return state


def test_reserved_parcel_is_with_one_worker_and_has_not_begun() -> None:
    state = reserved_at("a")
    assert state.is_reserved(1)
    assert state.where(1) == ""
    assert state.begin(1, "b") is None
    assert state.begin_next(1, "b") == (2, Parcel(1, "content 2", "body"))


def test_one_parcel_is_reserved_behind_each_that_runs() -> None:
    state = reserved_at("a")
    assert state.reserve(0, 1, "a") is None
    assert state.reserve(2, 1, "a") is None, "it does not run"
    state.begin(2, "b")
    assert state.reserve(2, 1, "a") is None, "it runs elsewhere"
    assert state.reserve(2, 7, "b") is None, "what waits is of another function"
    assert state.reserve(2, 1, "b") == (3, Parcel(1, "content 3", "body"))


def test_worker_begins_what_is_reserved_there_and_nobody_else_does() -> None:
    state = reserved_at("a")
    assert not state.began(1, "b")
    assert state.began(1, "a")
    assert state.where(1) == "a"
    assert not state.is_reserved(1)
    assert not state.began(1, "a")
    assert state.brought(1, "a", last=True)


def test_parcel_that_was_given_back_is_the_next_again() -> None:
    state = reserved_at("a")
    state.returned(1, "b")
    assert state.is_reserved(1), "it was not there"
    state.returned(1, "a")
    assert state.begin_next(1, "b") == (1, Parcel(1, "content 1", "body"))
    assert not state.began(1, "a")


def test_reserved_parcel_is_recalled_once_and_the_oldest_first() -> None:
    state = reserved_at("a")
    state.begin(2, "b")
    state.reserve(2, 1, "b")
    assert state.reserved_of(7) is None
    assert state.reserved_of(1) == 1
    assert state.recall(1) == "a"
    assert state.recall(1) is None
    assert state.reserved_of(1) == 3


def test_parcel_behind_one_that_is_not_followed_waits_again() -> None:
    state = reserved_at("a")
    state.not_followed(0, "b")
    state.not_followed(2, "a")
    assert state.is_reserved(1)
    state.not_followed(0, "a")
    assert state.begin(1, "b") is not None


def test_reserved_parcel_of_a_lost_worker_waits_again_and_is_then_begun_with_an_answer_only() -> None:
    state = reserved_at("a")
    assert state.worker_gone("a") == [0]
    assert state.has_next(1)
    state.arrived(4, 1, "content 4", None, ())
    state.begin(4, "b")
    assert state.reserve(4, 1, "b") is None, "word of its beginning may have been lost"
    assert state.begin_next(1, "b") == (1, Parcel(1, "content 1", "body", strict=True))
    assert state.reserve(1, 1, "b") is None, "nothing is reserved behind it"
    assert state.worker_gone("b") == [4, 1]


def test_parcel_begun_without_its_task_lives_on_when_that_task_is_given_up() -> None:
    state = reserved_at("a")
    state.began(1, "a")
    state.begin_next(1, "b")
    assert not state.give_up(1)
    assert not state.give_up(2)
    assert (state.where(1), state.where(2)) == ("a", "b")


def test_what_is_reserved_behind_a_parcel_that_was_given_up_waits_again() -> None:
    state = reserved_at("a")
    assert state.give_up(0)
    assert not state.is_reserved(1)
    assert state.withdraw(1)
