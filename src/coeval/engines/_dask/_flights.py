"""
The caller's mind: which parcels are out, what came of them, and what to make of a lost Dask worker. No network here.

A batch is one parcel, but for items that are under suspicion: a Dask worker died while a batch of several items was on
it, and nobody can tell which of them it was. They are sent again, each as a parcel of its own, so that the culprit
takes one more worker at most and no innocent item fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from coeval.engines._dask._share_names import names_kept
from coeval.engines._engine import Batch, Failure, Outcome, Packed, Stamps, Worker
from coeval.engines._payload import dump, load
from coeval.engines._protocol import Arguments

# An outpost sends what is done more often than this while a parcel runs. So where something came, and then nothing for
# so long, the first item that is not home has been running for most of it. (Before the first outcome came it may be the
# function that takes long to load.)
# Shorter: a dying worker's culprit may be taken for an innocent. Longer: more items run again alone.
QUIET_NS = 1_500_000_000


class Parcel(NamedTuple):
    """
    Items [first, first + len(batch.items)) of a batch of the executor's, as a batch under a number of their own.

    Attributes:
        number: unique in one engine; ascending.
        owner: the executor's batch.
        first: where in it these items begin.
        batch: what travels; its `id` is `number`.
    """

    number: int
    owner: int
    first: int
    batch: Batch


@dataclass(slots=True)
class _Flight:
    parcel: Parcel
    delivered: int = 0
    handed_over_ns: int = 0
    heard_ns: int = 0  # when its last outcome came
    worker: Worker | None = None  # the Dask worker that has it; None until it begun


@dataclass(slots=True)
class _Queue:
    count: int
    next_item: int = 0
    held: dict[int, Outcome] = field(default_factory=dict)


@dataclass(slots=True)
class Flights:
    """What is out. Not thread-safe: its owner locks."""

    _flights: dict[int, _Flight] = field(default_factory=dict)
    _suspects: set[int] = field(default_factory=set)
    _queues: dict[int, _Queue] = field(default_factory=dict)  # of the executor's batches of a map that go in parts
    _next_number: int = 0

    def sent(self, batch: Batch) -> list[Parcel]:
        """The executor sends a batch; the parcels that are to go."""
        if len(batch.items) == 1 or self._suspects.isdisjoint(batch.calls):
            parcels = [self._parcel(batch, 0, batch.items)]
        else:
            parcels = [self._parcel(batch, first, item) for first, item in enumerate(_each_alone(batch.items))]
            if isinstance(batch.items, Packed):
                self._queues[batch.id] = _Queue(len(batch.items))
        for parcel in parcels:
            self._flights[parcel.number] = _Flight(parcel)
        return parcels

    def handed_over(self, number: int, now_ns: int) -> bool:
        """A parcel is about to leave; False: it is not wanted any more."""
        flight = self._flights.get(number)
        if flight is not None:
            flight.handed_over_ns = now_ns
        return flight is not None

    def begun(self, number: int, worker: Worker) -> None:
        """A Dask worker took a parcel."""
        flight = self._flights.get(number)
        if flight is not None:
            flight.worker = worker

    def came(self, outcome: Outcome, seen_ns: int) -> list[Outcome]:
        """An outcome of a parcel came, with the stamps of the pool over there; empty: nobody waits for it."""
        flight = self._flights.get(outcome.batch)
        if flight is None:
            return []
        flight.delivered += outcome.item_count
        flight.heard_ns = seen_ns
        self._suspects.difference_update(_calls(flight.parcel, outcome.first, outcome.item_count))
        if flight.delivered == len(flight.parcel.batch.items):
            del self._flights[outcome.batch]
        handed_over_ns = flight.handed_over_ns if outcome.stamps.handed_over_ns else 0
        stamps = outcome.stamps._replace(handed_over_ns=handed_over_ns, seen_ns=seen_ns)
        first = flight.parcel.first + outcome.first
        return [outcome._replace(batch=flight.parcel.owner, first=first, stamps=stamps)]

    def in_order(self, outcome: Outcome) -> list[Outcome]:
        """What goes to the executor now that this would: a map's items come home in their order, also from parcels."""
        waiting = self._queues.get(outcome.batch)
        if waiting is None:
            return [outcome]
        waiting.held[outcome.first] = outcome
        ready: list[Outcome] = []
        while waiting.next_item in waiting.held:
            ready.append(waiting.held.pop(waiting.next_item))
            waiting.next_item += ready[-1].item_count
        if waiting.next_item == waiting.count:
            del self._queues[outcome.batch]
        return ready

    def lost(self, number: int, message: str, *, expected: bool, now_ns: int) -> list[Outcome]:
        """
        The Dask worker that had a parcel is gone, and nothing more will come of it.

        Args:
            message: what the scheduler knows about it.
            expected: it was asked to leave (the cluster was made smaller, say), so no call of ours is to blame.
        """
        flight = self._flights.pop(number, None)
        if flight is None:
            return []
        left = len(flight.parcel.batch.items) - flight.delivered
        if expected:
            return self._rest(flight, 0, Failure("moved"), now_ns)
        is_first_left = left == 1 or (flight.delivered > 0 and now_ns - flight.heard_ns >= QUIET_NS)
        if not is_first_left:
            self._suspects.update(_calls(flight.parcel, flight.delivered, left))
            return self._rest(flight, 0, Failure("moved"), now_ns)
        self._suspects.difference_update(_calls(flight.parcel, flight.delivered, 1))
        died = Outcome(
            flight.parcel.owner,
            flight.parcel.first + flight.delivered,
            1,
            (),
            Failure("died", message=message),
            Stamps(flight.handed_over_ns, 0, 0, now_ns),
            flight.worker,
        )
        return [died, *self._rest(flight, 1, Failure("moved"), now_ns)]

    def failed(self, number: int, failure: Failure, now_ns: int) -> list[Outcome]:
        """All that is left of a parcel fails like this (or, for kind "moved", is to be sent again)."""
        flight = self._flights.pop(number, None)
        return self._rest(flight, 0, failure, now_ns) if flight is not None else []

    def withdrawn(self, number: int, stopped_item: int, now_ns: int) -> list[Outcome]:
        """A parcel that nobody had begun was called back, because one item of its batch is to be stopped."""
        flight = self._flights.pop(number, None)
        if flight is None:
            return []
        position, count = stopped_item - flight.parcel.first, len(flight.parcel.batch.items)
        stopped = Failure("stopped", message="it had not started")
        return [
            *_unrun(flight.parcel, 0, position, Failure("moved"), now_ns),
            *_unrun(flight.parcel, position, 1, stopped, now_ns),
            *_unrun(flight.parcel, position + 1, count - position - 1, Failure("moved"), now_ns),
        ]

    def find(self, owner: int, item: int) -> Parcel | None:
        """The parcel that has an item of the executor's batch, if it is still out."""
        for flight in self._flights.values():
            parcel, position = flight.parcel, item - flight.parcel.first
            if parcel.owner == owner and flight.delivered <= position < len(parcel.batch.items):
                return parcel
        return None

    def numbers(self) -> list[int]:
        """Every parcel that is out."""
        return list(self._flights)

    def _parcel(self, batch: Batch, first: int, items: Sequence[Arguments] | Packed) -> Parcel:
        number, self._next_number = self._next_number, self._next_number + 1
        inner = batch._replace(id=number, items=items, calls=batch.calls[first : first + len(items)])
        return Parcel(number, batch.id, first, inner)

    def _rest(self, flight: _Flight, skip: int, failure: Failure, now_ns: int) -> list[Outcome]:
        first = flight.delivered + skip
        return _unrun(flight.parcel, first, len(flight.parcel.batch.items) - first, failure, now_ns)


def _each_alone(items: Sequence[Arguments] | Packed) -> Iterator[Sequence[Arguments] | Packed]:
    if not isinstance(items, Packed):
        return ([item] for item in items)
    return _each_of_map_alone(items)


def _each_of_map_alone(items: Packed) -> Iterator[Packed]:
    with names_kept():
        together = load(items.content)
    for item in range(items.count):
        content = dump(together[item : item + 1])
        assert isinstance(content, bytes), "without segments everything is in the pickle"
        yield Packed(content, 1, items.spread, 1)


def _unrun(parcel: Parcel, position: int, count: int, failure: Failure, now_ns: int) -> list[Outcome]:
    if count <= 0:
        return []
    return [Outcome(parcel.owner, parcel.first + position, count, (), failure, Stamps(0, 0, 0, now_ns), None)]


def _calls(parcel: Parcel, position: int, count: int) -> Sequence[int]:
    return parcel.batch.calls[position : position + count]
