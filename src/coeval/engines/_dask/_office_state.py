"""
The mind of the post office: which parcels wait, which were handed out and where. No network is touched here.

A parcel is handed out once. Whoever asks for it again, after a worker was lost or because Dask thought so, gets
nothing.
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
    """

    function: int
    content: Any
    body: Any


@dataclass(slots=True)
class OfficeState:
    """
    Attributes:
        latest: the highest number of a parcel that arrived; they arrive in order.
        outposts: addresses of the workers that ever asked.
    """

    latest: int = -1
    outposts: set[str] = field(default_factory=set)
    _waiting: dict[int, Parcel] = field(default_factory=dict)
    _begun: dict[int, str] = field(default_factory=dict)
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
        parcel = self._waiting.pop(number, None)
        if parcel is not None:
            self._begun[number] = worker
        return parcel

    def begin_next(self, function: int, worker: str) -> tuple[int, Parcel] | None:
        """A worker that just ran a parcel asks for one more; None: the next one that waits is of another function."""
        number = next(iter(self._waiting), None)
        if number is None or self._waiting[number].function != function:
            return None
        parcel = self.begin(number, worker)
        assert parcel is not None
        return number, parcel

    def brought(self, number: int, worker: str, *, last: bool) -> bool:
        """A worker brings outcomes; False: nobody waits for them any more."""
        if number == NO_PARCEL:
            return worker in self.outposts
        if self._begun.get(number) != worker:
            return False
        if last:
            del self._begun[number]
        return True

    def worker_gone(self, worker: str) -> list[int]:
        """Dask lost a worker; the parcels that it had."""
        self.outposts.discard(worker)
        lost = [number for number, at in self._begun.items() if at == worker]
        for number in lost:
            del self._begun[number]
        return lost

    def where(self, number: int) -> str:
        """The worker that has a parcel; "" if nobody has it."""
        return self._begun.get(number, "")

    def withdraw(self, number: int) -> bool:
        """The caller does not want a parcel to be handed out; False if it does not wait any more."""
        return self._waiting.pop(number, None) is not None

    def give_up(self, number: int) -> bool:
        """Nothing will come of a parcel that was handed out; False if that was known."""
        return self._begun.pop(number, None) is not None

    def clear(self) -> None:
        """Hand out nothing any more."""
        self._waiting.clear()
        self._begun.clear()
        self._bodies.clear()
