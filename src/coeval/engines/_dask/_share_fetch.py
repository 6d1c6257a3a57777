"""
How an outpost comes by the shared objects that a parcel needs: it asks the office who has them, and maps or fetches.

Everything here happens in the event loop of the Dask worker. An object that several parcels need at once is fetched
once; one that could not be had is tried again for the next parcel.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from coeval.engines._dask._library import connect
from coeval.engines._dask._share_names import Place
from coeval.engines._dask._share_pieces import receive_pieces, send_pieces
from coeval.engines._dask._share_room import ShareRoom, memory_host
from coeval.engines._dask._share_state import CALLER
from coeval.engines._segments import Heavy, SegmentGone

# After so many that could not be reached an object counts as not to be had.
TRIES_MAX = 8

# After so many of one host whose memory could not be opened, this outpost is a host of its own.
# More: where each worker has a user of its own, each tries all others.
MAPS_MAX = 2

# One that does not take our connection within this is passed over.
CONNECT_S_MAX = 10.0

# While calls still use what was freed, this often it is tried whether its memory can be given back.
TIDY_EVERY_S = 0.5

_GONE = "the shared object was freed while a call still waited for it; keep the handle until then"


class ShareFetch:
    """
    Args:
        office: the post office's name.
        worker: the Dask worker.
        ask: asks the office.
    """

    def __init__(self, office: str, worker: Any, ask: Callable[..., Awaitable[Any]]) -> None:
        self._pull = f"{office}-pull"
        self._worker = worker
        self._ask = ask
        self._host = memory_host()
        self._room = ShareRoom()
        self._coming: dict[bytes, asyncio.Task[Place]] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._tidying: asyncio.TimerHandle | None = None
        self._is_open = True
        worker.handlers[self._pull] = self._send

    async def places(self, names: Sequence[bytes]) -> dict[bytes, Place] | None:
        """Where objects are on this host, or why they are not; fetched first, if need be. None: we are closed."""
        places: dict[bytes, Place] = {}
        coming: dict[bytes, asyncio.Task[Place]] = {}
        for name in names:
            kept = self._room.get(name) if name not in self._coming else None
            if kept is not None:
                places[name] = kept
            elif self._is_open:
                if name not in self._coming:
                    self._coming[name] = asyncio.create_task(self._get(name))
                coming[name] = self._coming[name]
        if coming:
            await asyncio.wait(coming.values())
        if not self._is_open:
            return None
        return places | {name: task.result() for name, task in coming.items()}

    def dropped(self, name: bytes) -> None:
        """An object is not shared any more."""
        self._room.drop(name)
        self.tidy()

    def tidy(self) -> None:
        """Calls have ended: give back what they alone still used."""
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        if self._room.tidy() and self._is_open:
            self._tidying = asyncio.get_running_loop().call_later(TIDY_EVERY_S, self.tidy)

    async def close(self) -> None:
        """Let go of everything."""
        self._is_open = False
        self._worker.handlers.pop(self._pull, None)
        tasks = [*self._coming.values(), *self._sending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.tidy()
        self._room.close()

    # In ---------------------------------------------------------------------------------------------------------------

    async def _get(self, name: bytes) -> Place:
        try:
            return await self._map_or_fetch(name)
        except (OSError, MemoryError) as error:
            with contextlib.suppress(OSError):  # the scheduler is gone, and with it everybody who waits
                await self._ask("share-gave-up", name=name)
            return MemoryError(*error.args) if isinstance(error, MemoryError) else OSError(str(error))
        finally:
            del self._coming[name]

    async def _map_or_fetch(self, name: bytes) -> Place:
        unmapped: list[str] = []
        avoid: list[str] = []
        trouble: Exception | None = None
        for _ in range(TRIES_MAX):
            host = self._host if len(unmapped) < MAPS_MAX else f"{self._host} {self._worker.address}"
            where = await self._ask("share", name=name, host=host, unmapped=unmapped, avoid=avoid)
            way, address, content = where or ("gone", "", b"")
            if way == "gone":
                return SegmentGone(_GONE)
            heavy: Heavy = pickle.loads(content)
            try:
                if way == "map":
                    kept = self._room.adopt(name, heavy)
                else:
                    kept = await self._fetch(name, address, heavy)
            except (SegmentGone, OSError) as error:
                trouble = error
                (unmapped if way == "map" else avoid).append(address)
                continue
            if not await self._ask("share-held", name=name, host=host, heavy=pickle.dumps(kept, 5)):
                self.dropped(name)
                return SegmentGone(_GONE)
            return kept
        raise OSError(f"a shared object did not get to {self._worker.address}: {trouble}")

    async def _fetch(self, name: bytes, address: str, heavy: Heavy) -> Heavy:
        source = self._worker.scheduler.address if address == CALLER else address
        filling = self._room.make(heavy)
        comm = None
        try:
            comm = await connect(source, CONNECT_S_MAX, **self._worker.connection_args)
            await comm.write({"op": self._pull, "name": name, "reply": False})
            await receive_pieces(comm, heavy.size, filling.write)
        except BaseException:
            filling.abandon()
            raise
        finally:
            if comm is not None:
                comm.abort()
        return filling.finish(name)

    # Out --------------------------------------------------------------------------------------------------------------

    async def _send(self, comm: Any, name: bytes) -> None:
        task = asyncio.create_task(send_pieces(comm, self._room.get(name)))
        self._sending.add(task)
        try:
            await asyncio.wait({task})
        finally:
            self._sending.discard(task)
