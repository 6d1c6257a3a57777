"""
The mind of the post office: which parcels wait, which are reserved, which were begun and where. No network is touched
here.

    waiting ── begin, begin_next ──> begun ── brought (last), worker_gone, give_up ──> forgotten
       │  ^                            ^
       │  │ returned, not_followed,    │ began: the worker says so, one way; nobody asks
       │  │ unreachable                │
       └──┴── reserve ──> reserved ────┘

A parcel is begun once. Whoever asks for it again, after a worker was lost or because Dask thought so, gets nothing.

A reservation is the way to keep a worker busy: while one parcel runs there, the next one travels. It is the worker that
knows whether what is reserved there was begun, so the office asks for it back and never takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# What comes from an outpost and belongs to no parcel: a worker introduces itself.
NO_PARCEL = -1


class Parcel(NamedTuple):
    """
    What waits for a worker.

    Attributes:
        function: its function's number.
        content: the pickled batch, without its function's body, as Dask wraps bytes.
        body: its function's body, likewise.
        strict: it was reserved at a worker that was lost, and word of its beginning may have been lost too. So that a
            call that kills its worker takes one more of them at most, it is not reserved again, nor is another behind
            it.
    """

    function: int
    content: Any
    body: Any
    strict: bool = False


class _Begun(NamedTuple):
    worker: str
    strict: bool
    taskless: bool  # begun by a worker that had run another; its own Dask task has nothing to do with it


@dataclass(slots=True)
class _Reservation:
    worker: str
    behind: int
    parcel: Parcel
    is_recalled: bool = False


@dataclass(slots=True)
class OfficeState:
    """
    Attributes:
        latest: the highest number of a parcel that arrived; they arrive in order.
        outposts: addresses of the workers that ever asked.
    """

    latest: int = -1
    outposts: set[str] = field(default_factory=set)
    _waiting: dict[int, Parcel] = field(default_factory=dict)  # ascending
    _reserved: dict[int, _Reservation] = field(default_factory=dict)
    _begun: dict[int, _Begun] = field(default_factory=dict)
    _bodies: dict[int, Any] = field(default_factory=dict)

    def arrived(self, number: int, function: int, content: Any, body: Any, forget: Sequence[int]) -> None:
        """
        The caller sent a parcel.

        Args:
            function: its function's number; `body` is None if that function's came earlier.
            forget: functions that the caller will send anew if it needs them again.
        """
        if body is not None:
            self._bodies[function] = body
        self._waiting[number] = Parcel(function, content, self._bodies[function])
        for old in forget:
            self._bodies.pop(old, None)
        self.latest = number

    def begin(self, number: int, worker: str) -> Parcel | None:
        """A worker asks for a parcel; None: it is not to be had, do nothing."""
        self.outposts.add(worker)
        return self._begin(number, worker, taskless=False)

    def begin_next(self, function: int, worker: str) -> tuple[int, Parcel] | None:
        """A worker that just ran a parcel asks for one more; None: the next one that waits is of another function."""
        number = self._next(function)
        if number is None:
            return None
        parcel = self._begin(number, worker, taskless=True)
        assert parcel is not None
        return number, parcel

    def has_next(self, function: int) -> bool:
        """Whether `begin_next` would give a parcel."""
        return self._next(function) is not None

    def brought(self, number: int, worker: str, *, last: bool) -> bool:
        """A worker brings outcomes; False: nobody waits for them any more."""
        if number == NO_PARCEL:
            return worker in self.outposts
        begun = self._begun.get(number)
        if begun is None or begun.worker != worker:
            return False
        if last:
            del self._begun[number]
        return True

    # Reservations -----------------------------------------------------------------------------------------------------

    def reserve(self, behind: int, function: int, worker: str) -> tuple[int, Parcel] | None:
        """A worker would like to have one more parcel of a function at hand, to run it after the one that it runs."""
        running = self._begun.get(behind)
        if running is None or running.worker != worker or running.strict:
            return None
        if any(reservation.behind == behind for reservation in self._reserved.values()):
            return None
        number = self._next(function)
        if number is None or self._waiting[number].strict:
            return None
        parcel = self._waiting.pop(number)
        self._reserved[number] = _Reservation(worker, behind, parcel)
        return number, parcel

    def began(self, number: int, worker: str) -> bool:
        """A worker says that it begins what is reserved there; False: that is not known here (any more)."""
        if not self.is_reserved_at(number, worker):
            return False
        self._begun[number] = _Begun(worker, strict=False, taskless=True)
        del self._reserved[number]
        return True

    def returned(self, number: int, worker: str) -> None:
        """A worker will not begin what was reserved there."""
        if self.is_reserved_at(number, worker):
            self._wait_again(number)

    def not_followed(self, behind: int, worker: str) -> None:
        """A worker is done with a parcel and begins nothing that is reserved behind it, or about to be."""
        for number, reservation in list(self._reserved.items()):
            if (reservation.behind, reservation.worker) == (behind, worker):
                self._wait_again(number)

    def is_reserved(self, number: int) -> bool:
        """Whether a parcel is with a worker that may begin it at any time."""
        return number in self._reserved

    def is_reserved_at(self, number: int, worker: str) -> bool:
        """Whether this worker may begin a parcel at any time, or has and its word of it is still on the way."""
        reservation = self._reserved.get(number)
        return reservation is not None and reservation.worker == worker

    def reserved_of(self, function: int) -> int | None:
        """The oldest parcel of a function that is reserved and was not asked back; None: there is none."""
        numbers = (
            number
            for number, reservation in self._reserved.items()
            if reservation.parcel.function == function and not reservation.is_recalled
        )
        return min(numbers, default=None)

    def recall(self, number: int) -> str | None:
        """A parcel that is reserved is wanted elsewhere; the worker to ask, or None if it was asked already."""
        reservation = self._reserved.get(number)
        if reservation is None or reservation.is_recalled:
            return None
        reservation.is_recalled = True
        return reservation.worker

    def unreachable(self, worker: str) -> None:
        """Nothing more is heard of what is reserved at a worker: as far as anybody knows, it was not begun."""
        for number, reservation in list(self._reserved.items()):
            if reservation.worker == worker:
                reservation.parcel = reservation.parcel._replace(strict=True)
                self._wait_again(number)

    # The end of parcels -----------------------------------------------------------------------------------------------

    def worker_gone(self, worker: str) -> list[int]:
        """Dask lost a worker; the parcels that had begun there."""
        self.outposts.discard(worker)
        self.unreachable(worker)
        lost = [number for number, begun in self._begun.items() if begun.worker == worker]
        for number in lost:
            del self._begun[number]
        return lost

    def where(self, number: int) -> str:
        """The worker that began a parcel; "" if nobody did."""
        begun = self._begun.get(number)
        return begun.worker if begun is not None else ""

    def withdraw(self, number: int) -> bool:
        """The caller does not want a parcel to be handed out; False if it does not wait (any more)."""
        return self._waiting.pop(number, None) is not None

    def give_up(self, number: int) -> bool:
        """Dask will not run a parcel's task (again); False if nothing was to come of the task."""
        begun = self._begun.get(number)
        if begun is None or begun.taskless:
            return False
        del self._begun[number]
        self.not_followed(number, begun.worker)
        return True

    def clear(self) -> None:
        """Hand out nothing any more."""
        self._waiting.clear()
        self._reserved.clear()
        self._begun.clear()
        self._bodies.clear()

    def _next(self, function: int) -> int | None:
        number = next(iter(self._waiting), None)
        return number if number is not None and self._waiting[number].function == function else None

    def _begin(self, number: int, worker: str, *, taskless: bool) -> Parcel | None:
        parcel = self._waiting.pop(number, None)
        if parcel is not None:
            self._begun[number] = _Begun(worker, parcel.strict, taskless)
        return parcel

    def _wait_again(self, number: int) -> None:
        self._waiting[number] = self._reserved.pop(number).parcel
        self._waiting = dict(sorted(self._waiting.items()))  # older than what waits, mostly
