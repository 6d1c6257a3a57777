"""
The mind of an outpost: what is at hand to follow the parcels that run. No network is touched here.

Whether a parcel that is reserved is begun here or given back is decided here and nowhere else, in the outpost's event
loop, one after the other. So it is never both.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from coeval.engines._engine import Batch


class Follower(NamedTuple):
    """
    A parcel that is to run next.

    Attributes:
        number: its number.
        batch: what is in it, without the function's body.
        shares: names of the shared objects that it may need.
    """

    number: int
    batch: Batch
    shares: Sequence[bytes] = ()

    @classmethod
    def read(cls, number: int, content: bytes) -> Follower:
        """Of what the caller pickled."""
        batch, shares = pickle.loads(content)
        return cls(number, batch, shares)

    def content(self) -> bytes:
        """As the caller pickles it."""
        return pickle.dumps((self.batch, tuple(self.shares)), 5)


@dataclass(slots=True)
class Ahead:
    """For each parcel that runs and takes a follower: that follower, or None while there is none."""

    _followers: dict[int, Follower | None] = field(default_factory=dict)

    def runs(self, number: int) -> None:
        """A parcel runs, and one that follows would be welcome."""
        self._followers[number] = None

    def wants(self, number: int) -> bool:
        """Whether to ask for one that follows; once it was given back there is no second."""
        return number in self._followers and self._followers[number] is None

    def came(self, behind: int, follower: Follower) -> bool:
        """
        The office reserved a parcel behind one that ran here when it did. False: that one is over, of which the office
        learns apart from this.
        """
        if not self.wants(behind):
            return False
        self._followers[behind] = follower
        return True

    def take(self, number: int) -> Follower | None:
        """A parcel is over; what follows it. From now on nothing is reserved behind it."""
        return self._followers.pop(number, None)

    def give_back(self, number: int) -> bool:
        """Another worker wants a parcel that is reserved here; False: it was begun, or given back, before."""
        for behind, follower in self._followers.items():
            if follower is not None and follower.number == number:
                del self._followers[behind]
                return True
        return False

    def clear(self) -> None:
        """The office cannot be told of anything: nothing is begun unasked any more."""
        self._followers.clear()
