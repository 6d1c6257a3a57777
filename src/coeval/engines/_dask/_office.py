"""
The post office: our plugin in Dask's scheduler, one for each engine; the network side of `_office_state.py`.

It keeps a channel of its own to the caller, opened by the caller as Dask's clients open theirs. When that channel ends,
in whichever way, the caller is gone: the office ends the outposts on the workers and takes itself off the scheduler.

Nothing here may raise into the scheduler, which is somebody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from coeval.engines._dask._office_state import OfficeState

# A parcel and its task travel on two connections. Where the task wins, its worker waits at most so long.
ARRIVAL_S_MAX = 30.0

# A worker that does not end its outpost within this time is left to itself: its pool ends with its process.
LEAVE_S_MAX = 5.0

_log = logging.getLogger("coeval.engines.dask")


class PostOffice(SchedulerPlugin):
    """
    Hands each parcel out once and takes outcomes home.

    Args:
        name: unique on the scheduler; also how the caller and the outposts address it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    async def start(self, scheduler: Any) -> None:
        """Open (called by Dask)."""
        self._scheduler = scheduler
        self._state = OfficeState()
        self._arrival = asyncio.Event()
        self._outgoing: asyncio.Queue[list[Any] | None] = asyncio.Queue()
        self._open = True
        self._last_words: dict[str, str] = {}
        self._expected: set[str] = set()
        self._handlers = {
            f"{self.name}-channel": self._serve_caller,
            f"{self.name}-begin": self._begin,
            f"{self.name}-bring": self._bring,
            f"{self.name}-withdraw": self._withdraw,
            f"{self.name}-give-up": self._give_up,
        }
        scheduler.handlers.update(self._handlers)

    # The caller -------------------------------------------------------------------------------------------------------

    async def _serve_caller(self, comm: Any) -> None:
        writer = asyncio.create_task(self._write(comm))
        polite = False
        try:
            self._tell_cluster()
            while not polite:
                for message in await comm.read():
                    match message:
                        case ("parcel", *parcel):
                            self._state.arrived(*parcel)
                            self._announce_arrival()
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

    async def _write(self, comm: Any) -> None:
        with contextlib.suppress(OSError):
            while True:
                messages = [await self._outgoing.get()]
                while not self._outgoing.empty():
                    messages.append(self._outgoing.get_nowait())
                told = [message for message in messages if message is not None]
                if told:
                    await comm.write(told)
                if None in messages:
                    return

    async def _withdraw(self, number: int) -> str:
        """Do not hand a parcel out: "waiting" if it was still here, else the worker that has it, or ""."""
        if not await self._arrived(number):
            return ""
        return "waiting" if self._state.withdraw(number) else self._state.where(number)

    async def _give_up(self, number: int) -> str:
        """Dask will not run a parcel's task (again): "waiting" if nobody had begun it, "begun" if so, "" if over."""
        if self._state.withdraw(number):
            return "waiting"
        return "begun" if self._state.give_up(number) else ""

    async def _arrived(self, number: int) -> bool:
        while self._open and number > self._state.latest:
            try:
                await asyncio.wait_for(self._arrival.wait(), ARRIVAL_S_MAX)
            except TimeoutError:
                return False
        return self._open

    def _announce_arrival(self) -> None:
        self._arrival.set()
        self._arrival = asyncio.Event()

    async def _leave(self) -> None:
        """End everything of this engine on the cluster."""
        self._open = False
        self._state.clear()
        self._announce_arrival()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(
                self._scheduler.broadcast(
                    msg={"op": "plugin-remove", "name": self.name},
                    workers=[address for address in self._state.outposts if address in self._scheduler.workers],
                    on_error="ignore",
                ),
                LEAVE_S_MAX,
            )
        for handler in self._handlers:
            self._scheduler.handlers.pop(handler, None)
        if self.name in self._scheduler.plugins:
            self._scheduler.remove_plugin(name=self.name)

    # The outposts -----------------------------------------------------------------------------------------------------

    async def _begin(self, number: int, worker: str, me: tuple[Any, ...], knows: bool) -> dict[str, Any]:
        parcel = self._state.begin(number, worker) if await self._arrived(number) else None
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
        next_of: int | None,
    ) -> dict[str, Any]:
        """Outcomes of a parcel; `next_of`: and now the worker would take a parcel of this function, as it is free."""
        if not self._state.brought(number, worker, last=last):
            return {"wanted": False}
        self._outgoing.put_nowait(["came", number, worker, outcomes, alive])
        taken = None if next_of is None else self._state.begin_next(next_of, worker)
        if taken is None:
            return {"wanted": True}
        number, parcel = taken
        self._outgoing.put_nowait(["begun", number, worker, me])
        self._outgoing.put_nowait(["taskless", number])
        return {"wanted": True, "number": number, "content": parcel.content}

    # Dask -------------------------------------------------------------------------------------------------------------

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """A worker joined (called by Dask)."""
        self._tell_cluster()

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """A worker left or was lost (called by Dask)."""
        lost = self._state.worker_gone(worker)
        expected = worker in self._expected
        self._expected.discard(worker)
        self._outgoing.put_nowait(["lost", lost, worker, expected, self._last_words.pop(worker, "")])
        self._tell_cluster()

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
