"""
The post office's mind for shared objects: who has which, on which host, and who gets it from whom. No content is here,
and no network is touched.

    nobody has it there ── asked ──> gets it ── held ──> has it ── dropped, worker_gone ──> forgotten
                              │         │
                              │         └── asks again (and says whom it cannot reach), gave_up, worker_gone
                              └── another one of its host gets it, or all who have it are busy: asks again later
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

# Who has everything that is shared, and is no worker.
CALLER = ""

# To so many hosts at once does one send the same object.
# More: each of them gets it later, and can pass it on later. Fewer: one that stands still keeps others waiting.
SENDS_MAX = 2


class Where(NamedTuple):
    """
    How an outpost gets an object.

    Attributes:
        way: "map" the memory of one that is on the same host, "fetch" the content, or it is "gone": not shared any
            more.
        address: of the one that has it; `CALLER`, or a worker's.
        heavy: the pickled `Heavy` of that one.
    """

    way: Literal["map", "fetch", "gone"]
    address: str = CALLER
    heavy: bytes = b""


class _Holder(NamedTuple):
    host: str
    heavy: bytes


class _Fetch(NamedTuple):
    host: str
    source: str


@dataclass(slots=True)
class _Shared:
    holders: dict[str, _Holder]
    fetches: dict[str, _Fetch] = field(default_factory=dict)  # by worker
    fetch_count: int = 0

    def sends(self, address: str) -> int:
        return sum(fetch.source == address for fetch in self.fetches.values())


@dataclass(slots=True)
class ShareState:
    """What the caller of one office shares."""

    _shared: dict[bytes, _Shared] = field(default_factory=dict)

    def shared(self, name: bytes, host: str, heavy: bytes) -> None:
        """The caller has put an object into a segment of its host."""
        self._shared[name] = _Shared({CALLER: _Holder(host, heavy)})

    def asked(
        self, name: bytes, worker: str, host: str, unmapped: Collection[str] = (), avoid: Collection[str] = ()
    ) -> Where | None:
        """
        A worker needs an object that it does not have.

        Args:
            unmapped: whose memory could not be mapped there, though it is said to be of the same host.
            avoid: from whom it could not be fetched.

        Returns:
            None: as soon as something changes, ask again.
        """
        shared = self._shared.get(name)
        if shared is None:
            return Where("gone")
        # It may be another process than the one that had this address before.
        shared.holders.pop(worker, None)
        shared.fetches.pop(worker, None)
        for address, holder in shared.holders.items():
            if holder.host == host and address not in unmapped:
                return Where("map", address, holder.heavy)
        if any(fetch.host == host for fetcher, fetch in shared.fetches.items() if fetcher not in unmapped):
            return None
        # What the caller sends passes the scheduler, so others are asked before it; but it is never beyond reach.
        sources = [address for address in shared.holders if address == CALLER or address not in avoid]
        source = min(sources, key=lambda address: (shared.sends(address), address == CALLER))
        if shared.sends(source) >= SENDS_MAX:
            return None
        shared.fetches[worker] = _Fetch(host, source)
        shared.fetch_count += 1
        return Where("fetch", source, shared.holders[source].heavy)

    def held(self, name: bytes, worker: str, host: str, heavy: bytes) -> bool:
        """A worker has it now; False: it is not shared any more."""
        shared = self._shared.get(name)
        if shared is None:
            return False
        shared.fetches.pop(worker, None)
        shared.holders[worker] = _Holder(host, heavy)
        return True

    def gave_up(self, name: bytes, worker: str) -> bool:
        """A worker does not get it the way it was told; False: it was not told any."""
        shared = self._shared.get(name)
        return shared is not None and shared.fetches.pop(worker, None) is not None

    def dropped(self, name: bytes) -> list[str]:
        """The caller gave it up; the workers that have it, or will have it soon."""
        shared = self._shared.pop(name, None)
        return [] if shared is None else sorted({*shared.holders, *shared.fetches} - {CALLER})

    def worker_gone(self, worker: str) -> None:
        """Dask lost a worker."""
        for shared in self._shared.values():
            shared.holders.pop(worker, None)
            shared.fetches.pop(worker, None)

    def clear(self) -> None:
        """Nothing is shared any more."""
        self._shared.clear()

    def fetch_counts(self) -> list[int]:
        """For each object that is shared, how often its content was to be sent."""
        return [shared.fetch_count for shared in self._shared.values()]
