"""An outpost's way to a shared object, with an office whose answers the test decides; contents come in `services/`."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from coeval.clocks import SYSTEM_CLOCK
from coeval.engines._dask._share_fetch import MAPS_MAX, ShareFetch
from coeval.engines._dask._share_names import Place
from coeval.engines._dask._share_room import memory_host
from coeval.engines._payload import dump
from coeval.engines._segments import Heavy, SegmentGone, Segments
from coeval.testing import leaks

NAME = b"name"


class Office:
    """Answers each question as it is told to, and keeps the questions."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(self, what: str, **message: Any) -> Any:
        self.asked.append((what, message))
        return True if what != "share" else self.answers.pop(0)


def place_of(office: Office) -> Place:
    async def run() -> Place:
        fetch = ShareFetch("office", SimpleNamespace(handlers={}, address="tcp://me"), office.ask)
        try:
            places = await fetch.places([NAME])
            assert places is not None
            again = await fetch.places([NAME])
            assert again is not None
            return again[NAME]
        finally:
            await fetch.close()

    return asyncio.run(run())


@pytest.fixture
def heavy() -> Iterator[Heavy]:
    segments = Segments(SYSTEM_CLOCK, idle_bytes_max=0)
    made = dump(np.arange(100_000), segments)
    assert isinstance(made, Heavy)
    yield made
    segments.close()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with leaks():
        yield


def test_what_is_there_is_not_asked_for_again(heavy: Heavy) -> None:
    office = Office(["map", "", pickle.dumps(heavy)])
    place = place_of(office)
    assert isinstance(place, Heavy)
    assert place.number == heavy.number
    assert [what for what, _ in office.asked] == ["share", "share-held"]


def test_outpost_that_cannot_map_what_its_host_has_becomes_a_host_of_its_own(heavy: Heavy) -> None:
    nowhere = pickle.dumps(heavy._replace(number=1))
    office = Office(*(["map", f"w{number}", nowhere] for number in range(MAPS_MAX)), ["map", "", pickle.dumps(heavy)])
    assert isinstance(place_of(office), Heavy)
    hosts = [message["host"] for what, message in office.asked if what == "share"]
    assert hosts == [memory_host()] * MAPS_MAX + [f"{memory_host()} tcp://me"]
    assert office.asked[MAPS_MAX][1]["unmapped"] == [f"w{number}" for number in range(MAPS_MAX)]
    assert office.asked[-1][1]["host"] == hosts[-1], "nobody else there shall try to map it"


@pytest.mark.parametrize("answer", [["gone", "", b""], None], ids=["gone", "the office is closed"])
def test_what_is_gone_is_said_and_asked_for_anew_by_the_next_parcel(answer: Any) -> None:
    office = Office(answer, answer)
    place = place_of(office)
    assert isinstance(place, SegmentGone)
    assert "freed" in str(place)
    assert not office.answers
