"""
The post office: our plugin in Dask's scheduler, one for each engine; the network side of `_office_state.py`.

It keeps a channel of its own to the caller, opened by the caller as Dask's clients open theirs. When that channel ends,
in whichever way, the caller is gone: the office ends the outposts on the workers and takes itself off the scheduler.

Each outpost has a channel too, for reservations. What must stay in order goes through it: that a worker begins what is
reserved there is said one way, and has been said when the pool gets the parcel.

    outpost                                           office
    ───────                                           ──────
    reserve (behind this one, of this function) ───>
                                                <───  reserved (behind that one: this parcel)
                                                <───  recall (this parcel)
    returned (this parcel)                      ───>
    began (this parcel; outcomes of the one before)─>

Nothing here may raise into the scheduler, which is somebody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from coeval.engines._dask._office_state import OfficeState, Parcel
from coeval.engines._dask._share_pieces import pass_on
from coeval.engines._dask._share_state import ShareState

# A parcel and its task travel on two connections. Where the task wins, its worker waits at most so long.
ARRIVAL_S_MAX = 30.0

# A worker that does not end its outpost within this time is left to itself: its pool ends with its process.
LEAVE_S_MAX = 5.0

# Dask tells that it lost a worker on a connection of its own. What the worker had said before is read first: its
# channel ends with its process, so to wait for that end costs nothing, unless only its host or the network went.
# Shorter: a busy scheduler takes a parcel that was begun for one that was not. Longer: such a loss is told of late.
PARTING_S_MAX = 2.0

_log = logging.getLogger("coeval.engines.dask")


class _Channel:
    """The office's end of an outpost's channel."""

    def __init__(self, comm: Any, worker: str, me: tuple[Any, ...]) -> None:
        self.comm = comm
        self.worker = worker
        self.me = me
        self.outgoing: asyncio.Queue[list[Any] | None] = asyncio.Queue()
        self.ended = asyncio.Event()


class _Push:
    """The caller's connection for one content, when it comes."""

    def __init__(self) -> None:
        self.comm: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()


class PostOffice(SchedulerPlugin):
    """
    Hands each parcel out once, takes outcomes home, and knows which host has which shared object.

    Args:
        name: unique on the scheduler; also how the caller and the outposts address it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    async def start(self, scheduler: Any) -> None:
        """Open (called by Dask)."""
        self._scheduler = scheduler
        self._state = OfficeState()
        self._shares = ShareState()
        self._pushes: dict[int, _Push] = {}  # by ticket
        self._push_count = 0
        self._untold: dict[str, list[bytes]] = {}  # by worker whose channel is not there yet: what was dropped
        self._change = asyncio.Event()
        self._outgoing: asyncio.Queue[list[Any] | None] = asyncio.Queue()
        self._open = True
        self._channels: dict[str, _Channel] = {}
        self._partings: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly
        self._last_words: dict[str, str] = {}
        self._expected: set[str] = set()
        self._handlers = {
            f"{self.name}-channel": self._serve_caller,
            f"{self.name}-outpost": self._serve_outpost,
            f"{self.name}-begin": self._begin,
            f"{self.name}-bring": self._bring,
            f"{self.name}-withdraw": self._withdraw,
            f"{self.name}-give-up": self._give_up,
            f"{self.name}-share": self._share,
            f"{self.name}-share-held": self._share_held,
            f"{self.name}-share-gave-up": self._share_gave_up,
            f"{self.name}-pull": self._pull,
            f"{self.name}-push": self._push,
        }
        scheduler.handlers.update(self._handlers)

    # The caller -------------------------------------------------------------------------------------------------------

    async def _serve_caller(self, comm: Any) -> None:
        writer = asyncio.create_task(_write(comm, self._outgoing))
        polite = False
        try:
            self._tell_cluster()
            while not polite:
                for message in await comm.read():
                    match message:
                        case ("parcel", *parcel):
                            self._state.arrived(*parcel)
                            self._announce_change()
                        case ("shared", *shared):
                            self._shares.shared(*shared)
                        case ("unshared", name):
                            self._drop(name)
                        case ("close",):
                            polite = True
        except OSError:
            pass  # the caller is gone
        except Exception:
            _log.exception("a coeval caller sent what cannot be understood; its calls are given up")
        finally:
            await self._leave()
            if polite:
                self._outgoing.put_nowait(["closed"])
            self._outgoing.put_nowait(None)
            with contextlib.suppress(Exception):
                await writer

    async def _withdraw(self, number: int) -> str:
        """Do not hand a parcel out: "waiting" if nobody has begun it, else the worker that did, or ""."""
        if not await self._arrived(number):
            return ""
        await self._settled(number)
        return "waiting" if self._state.withdraw(number) else self._state.where(number)

    async def _give_up(self, number: int) -> str:
        """Dask will not run a parcel's task (again): "waiting" if nobody had begun it, "begun" if so, "" if over."""
        await self._settled(number)
        if self._state.withdraw(number):
            return "waiting"
        given_up = self._state.give_up(number)
        self._announce_change()
        return "begun" if given_up else ""

    async def _arrived(self, number: int) -> bool:
        while self._open and number > self._state.latest:
            try:
                await asyncio.wait_for(self._change.wait(), ARRIVAL_S_MAX)
            except TimeoutError:
                return False
        return self._open

    async def _settled(self, number: int) -> None:
        """Wait until a parcel is not reserved: the worker that has it gives it back, begins it or is lost."""
        while self._open and self._state.is_reserved(number):
            self._recall(number)
            await self._change.wait()

    def _recall(self, number: int) -> None:
        worker = self._state.recall(number)
        if worker is not None and worker in self._channels:
            self._channels[worker].outgoing.put_nowait(["recall", number])

    def _announce_change(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def _leave(self) -> None:
        """End everything of this engine on the cluster."""
        self._open = False
        self._state.clear()
        self._shares.clear()
        self._announce_change()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(
                self._scheduler.broadcast(
                    msg={"op": "plugin-remove", "name": self.name},
                    workers=[address for address in self._state.outposts if address in self._scheduler.workers],
                    on_error="ignore",
                ),
                LEAVE_S_MAX,
            )
        for channel in list(self._channels.values()):
            channel.comm.abort()
        for handler in self._handlers:
            self._scheduler.handlers.pop(handler, None)
        if self.name in self._scheduler.plugins:
            self._scheduler.remove_plugin(name=self.name)

    # Shared objects ---------------------------------------------------------------------------------------------------

    async def _share(
        self, name: bytes, worker: str, host: str, unmapped: Sequence[str], avoid: Sequence[str]
    ) -> list[Any]:
        """How an outpost gets an object, when it is its turn."""
        if self._shares.gave_up(name, worker):  # it could not be reached, or not be mapped
            self._announce_change()
        while self._open and self._is_there(worker):
            where = self._shares.asked(name, worker, host, unmapped, avoid)
            if where is not None:
                return list(where)
            await self._change.wait()
        return ["gone", "", b""]

    async def _share_held(self, name: bytes, worker: str, host: str, heavy: bytes) -> bool:
        is_shared = self._is_there(worker) and self._shares.held(name, worker, host, heavy)
        self._announce_change()
        return is_shared

    async def _share_gave_up(self, name: bytes, worker: str) -> None:
        self._shares.gave_up(name, worker)
        self._announce_change()

    def _drop(self, name: bytes) -> None:
        for worker in self._shares.dropped(name):
            if worker in self._channels:
                self._channels[worker].outgoing.put_nowait(["dropped", name])
            else:
                self._untold.setdefault(worker, []).append(name)
        self._announce_change()

    async def _pull(self, comm: Any, name: bytes) -> None:
        """An outpost fetches from the caller, whom nobody can connect to: it comes to us, and we pass on."""
        self._push_count += 1
        ticket, push = self._push_count, _Push()
        self._pushes[ticket] = push
        self._outgoing.put_nowait(["push", ticket, name])
        try:
            await pass_on(await asyncio.wait_for(push.comm, ARRIVAL_S_MAX), comm)
        except TimeoutError:
            pass  # the outpost asks again
        finally:
            self._pushes.pop(ticket, None)
            comm.abort()
            push.over.set()

    async def _push(self, comm: Any, ticket: int) -> None:
        push = self._pushes.pop(ticket, None)
        if push is None or push.comm.done():
            comm.abort()
            return
        push.comm.set_result(comm)
        await push.over.wait()  # Dask takes the connection back when this returns

    # The outposts -----------------------------------------------------------------------------------------------------

    async def _begin(self, number: int, worker: str, me: tuple[Any, ...], knows: bool) -> dict[str, Any]:
        if not await self._arrived(number):
            return {}
        await self._settled(number)
        parcel = self._state.begin(number, worker) if self._is_there(worker) else None
        if parcel is None:
            return {}
        self._outgoing.put_nowait(["begun", number, worker, me])
        return {"content": parcel.content, "body": None if knows else parcel.body}

    async def _bring(
        self,
        number: int,
        worker: str,
        me: tuple[Any, ...],
        outcomes: Any,
        alive: Sequence[int],
        last: bool,
        followed: bool,
        next_of: int | None,
    ) -> dict[str, Any]:
        """
        Outcomes of a parcel.

        Args:
            last: there are no more.
            followed: the worker begins what is reserved behind this parcel, of which it tells on its channel.
            next_of: now the worker is free and would take a parcel of this function.
        """
        while self._state.is_reserved_at(number, worker):  # this overtook the news that it began
            await self._change.wait()
        if not self._came(number, worker, outcomes, alive, last=last):
            return {"wanted": False}
        if last and not followed:
            self._state.not_followed(number, worker)
            self._announce_change()
        taken = None if next_of is None else await self._taken_next(next_of, worker)
        if taken is None:
            return {"wanted": True}
        number, parcel = taken
        self._began_without_task(number, worker, me)
        return {"wanted": True, "number": number, "content": parcel.content}

    async def _taken_next(self, function: int, worker: str) -> tuple[int, Parcel] | None:
        """What waits, or else what another worker has in reserve and gives back."""
        while self._open and self._is_there(worker):
            taken = self._state.begin_next(function, worker)
            reserved = self._state.reserved_of(function) if taken is None else None
            if reserved is None:
                return taken
            self._recall(reserved)
            while self._state.is_reserved(reserved) and not self._state.has_next(function):
                await self._change.wait()
        return None

    def _is_there(self, worker: str) -> bool:
        """Whether to hand anything to a worker: it may have been lost while it waited for an answer."""
        return worker in self._scheduler.workers

    def _came(self, number: int, worker: str, outcomes: Any, alive: Sequence[int], *, last: bool) -> bool:
        wanted = self._state.brought(number, worker, last=last)
        if wanted:
            self._outgoing.put_nowait(["came", number, worker, outcomes, alive])
        return wanted

    def _began_without_task(self, number: int, worker: str, me: tuple[Any, ...]) -> None:
        self._outgoing.put_nowait(["begun", number, worker, me])
        self._outgoing.put_nowait(["taskless", number])

    async def _serve_outpost(self, comm: Any, worker: str, me: tuple[Any, ...]) -> None:
        channel = self._channels[worker] = _Channel(comm, worker, me)
        for name in self._untold.pop(worker, ()):
            channel.outgoing.put_nowait(["dropped", name])
        writer = asyncio.create_task(_write(comm, channel.outgoing))
        try:
            while self._open:
                self._hear(await comm.read(), channel)
        except OSError:
            pass  # the outpost has ended
        except Exception:
            _log.exception("a coeval outpost sent what cannot be understood; it runs on without reservations")
        finally:
            self._state.unreachable(worker)
            channel.ended.set()
            if self._channels.get(worker) is channel:
                del self._channels[worker]
            self._announce_change()
            channel.outgoing.put_nowait(None)
            comm.abort()
            with contextlib.suppress(Exception):
                await writer

    def _hear(self, message: Sequence[Any], channel: _Channel) -> None:
        worker = channel.worker
        match message:
            case ("reserve", behind, function):
                reserved = self._state.reserve(behind, function, worker)
                if reserved is not None:
                    number, parcel = reserved
                    channel.outgoing.put_nowait(["reserved", behind, number, parcel.content])
            case ("returned", number):
                self._state.returned(number, worker)
            case ("began", number, behind, outcomes, alive):
                if outcomes is not None:
                    self._came(behind, worker, outcomes, alive, last=True)
                if self._state.began(number, worker):
                    self._began_without_task(number, worker, channel.me)
            case _:
                raise ValueError(f"a message of {len(message)} parts that begins with {message[0]!r}")
        self._announce_change()

    # Dask -------------------------------------------------------------------------------------------------------------

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """A worker joined (called by Dask)."""
        old = self._channels.get(worker)
        if old is not None:  # one before had the same address, and its end is not yet decided upon
            old.comm.abort()
        self._tell_cluster()

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """A worker left or was lost (called by Dask)."""
        channel = self._channels.get(worker)
        if channel is None:
            self._tell_lost(worker)
        else:
            parting = asyncio.create_task(self._part(worker, channel))
            self._partings.add(parting)
            parting.add_done_callback(self._partings.discard)
        self._tell_cluster()

    async def _part(self, worker: str, channel: _Channel) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(channel.ended.wait(), PARTING_S_MAX)
        channel.comm.abort()
        self._tell_lost(worker)

    def _tell_lost(self, worker: str) -> None:
        lost = self._state.worker_gone(worker)
        self._shares.worker_gone(worker)
        self._untold.pop(worker, None)
        self._announce_change()
        expected = worker in self._expected
        self._expected.discard(worker)
        self._outgoing.put_nowait(["lost", lost, worker, expected, self._last_words.pop(worker, "")])

    def log_event(self, topic: str, msg: Any) -> None:
        """Something was logged on the cluster (called by Dask): what it says of workers that are about to go."""
        if not isinstance(msg, dict) or topic not in ("all", "worker-restart-memory"):
            return
        worker = msg.get("worker")
        if topic == "worker-restart-memory":
            self._last_words[str(worker)] = (
                f"its nanny ended it, as its memory had grown to {msg.get('rss', 0) / 1e9:.3g} GB"
            )
        elif msg.get("action") == "remove-worker" and msg.get("expected"):
            self._expected.add(str(worker))

    def _tell_cluster(self) -> None:
        self._outgoing.put_nowait(["cluster", len(self._scheduler.workers), self._scheduler.total_nthreads])


async def _write(comm: Any, outgoing: asyncio.Queue[list[Any] | None]) -> None:
    with contextlib.suppress(OSError):
        while True:
            messages = [await outgoing.get()]
            while not outgoing.empty():
                messages.append(outgoing.get_nowait())
            told = [message for message in messages if message is not None]
            if told:
                await comm.write(told)
            if None in messages:
                return
