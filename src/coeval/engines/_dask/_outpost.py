"""
The outpost: what coeval has on a Dask worker. One for each engine that uses the worker; it owns a local pool.

`carry` is the Dask task. It holds one of the worker's threads, while the calls themselves run in the pool's processes.
So a call that crashes, or is ended, does not touch the Dask worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import platform
import socket
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

from distributed.diagnostics.plugin import WorkerPlugin

from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.engines._dask._library import Status, get_worker, to_serialize
from coeval.engines._dask._office_state import NO_PARCEL
from coeval.engines._dask._versions import Versions, mismatch, versions_here
from coeval.engines._engine import Batch, Function, Outcome
from coeval.engines.local import LocalEngine
from coeval.errors import EngineError

# While a parcel runs, what is done of it goes home this often.
# Shorter: a scheduler of a thousand threads hears too much. Longer: a lost worker costs more repeated work.
# QUIET_NS (`_flights.py`) is a multiple of it.
HOLD_S = 0.5

# A task that has the thread takes one parcel after the other, without Dask in between, for at most so long.
# Shorter: the way through Dask, some milliseconds, counts. Longer: others' tasks wait for the thread.
TURN_NS = 3_000_000_000

# Larger outcomes go home while the thread already does something else.
OUTCOME_BYTES_MAX = 1 << 20

# Function bodies that an outpost keeps, so that each travels to a worker once.
BODIES_KEPT_MAX = 256


# Post offices that closed while this Dask worker had an outpost of theirs. Tasks of theirs may still be on their way.
_closed: deque[str] = deque(maxlen=1000)


def carry(office: str, number: int, function: tuple[int, str], caller: tuple[str, str, str]) -> None:
    """
    Fetch a parcel, have it run here and send its outcomes home. Nothing happens if the parcel is not to be had (again).

    Called by a Dask task, in one of the worker's threads.

    Args:
        office: the post office's name.
        number: the parcel's.
        function: number and name of its function.
        caller: the caller's `Versions`.

    Raises:
        EngineError: this worker and the caller do not fit together.
    """
    worker = get_worker()
    misfit = mismatch(Versions(*caller), versions_here(), f"worker {worker.address}")
    if misfit:
        raise EngineError(misfit)
    loop = worker.loop.asyncio_loop
    asyncio.run_coroutine_threadsafe(_carry(worker, office, number, Function(*function, b"")), loop).result()


async def _carry(worker: Any, office: str, number: int, function: Function) -> None:
    outpost = worker.plugins.get(office)
    if outpost is None:
        if office in _closed:
            return
        outpost = Outpost(office)
        await worker.plugin_add(plugin=outpost, name=office, catch_errors=False)
    if not await outpost.carry(number, function):
        await worker.plugin_remove(name=office)


async def stop(office: str, number: int, item: int, dask_worker: Any) -> bool:
    """Stop one item of a parcel on this worker; False if it is not here any more. Run by `Client.run`."""
    outpost = dask_worker.plugins.get(office)
    return outpost is not None and await outpost.stop(number, item)


def read_clock() -> tuple[tuple[str, int, str, str], int, int]:
    """Who this is, and its raw clock twice: when the question was here, and before the answer goes. By `Client.run`."""
    arrived_ns = SYSTEM_CLOCK.raw_ns()
    return _who_this_is(), arrived_ns, SYSTEM_CLOCK.raw_ns()


def _who_this_is() -> tuple[str, int, str, str]:
    return socket.gethostname(), os.getpid(), clock_id(SYSTEM_CLOCK), platform.python_version()


@dataclass(slots=True)
class _Box:
    """What came of one parcel and has not been sent yet."""

    left: int
    outcomes: list[Outcome] = field(default_factory=list)
    some: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Outpost(WorkerPlugin):
    """A local pool on a Dask worker, as many workers as that has threads, and what is under way in it."""

    def __init__(self, office: str) -> None:
        self.name = office

    # Called by Dask ---------------------------------------------------------------------------------------------------

    def setup(self, worker: Any) -> None:
        """Open."""
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._boxes: dict[int, _Box] = {}
        self._sendings = 0
        self._newcomers: set[int] = set()  # a worker introduces itself a moment before the pool counts it
        self._under_way: set[asyncio.Task[dict[str, Any]]] = set()  # the loop itself holds tasks weakly
        self._bodies: OrderedDict[int, bytes] = OrderedDict()
        self._fetching: dict[int, asyncio.Future[None]] = {}  # by parcel; for one more of its function, by the last one
        self._me = _who_this_is()
        self._pool = LocalEngine(worker.state.nthreads)
        self._pool.start(self._deliver)

    async def teardown(self, worker: Any) -> None:
        """End the pool and everything that runs in it."""
        _closed.append(self.name)
        boxes, self._boxes = self._boxes, {}
        for box in boxes.values():
            box.left = 0
            box.outcomes.clear()
            box.some.set()
            box.done.set()
        try:
            await self._loop.run_in_executor(None, self._pool.close)
        except RuntimeError:  # this process is about to exit and starts no thread any more
            self._pool.close()

    # Parcels ----------------------------------------------------------------------------------------------------------

    async def carry(self, number: int, function: Function) -> bool:
        """See the function `carry`. False: the post office is closed."""
        known = self._bodies.get(function.number)
        parcel = await self._fetch("begin", number, me=self._me, knows=known is not None)
        if not parcel:
            return parcel is not None
        if known is None:
            self._bodies[function.number] = parcel["body"]
            if len(self._bodies) > BODIES_KEPT_MAX:
                self._bodies.popitem(last=False)
        function = function._replace(body=parcel["body"] if known is None else known)
        turn_ends_ns = SYSTEM_CLOCK.raw_ns() + TURN_NS
        while parcel:
            parcel = await self._run(number, function, parcel["content"], turn_ends_ns)
            number = parcel.get("number", NO_PARCEL)
        return True

    async def _run(self, number: int, function: Function, content: bytes, turn_ends_ns: int) -> dict[str, Any]:
        """Have a parcel run and bring its outcomes home; the next one, of the same function, if there is one."""
        batch: Batch = pickle.loads(content)
        box = self._boxes[number] = _Box(len(batch.items))
        try:
            self._pool.send(batch._replace(function=function))
            return await self._bring(number, function.number, box, turn_ends_ns)
        finally:
            self._boxes.pop(number, None)

    async def _bring(self, number: int, function: int, box: _Box, turn_ends_ns: int) -> dict[str, Any]:
        while True:
            await box.some.wait()
            if box.left:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(box.done.wait(), HOLD_S)
            last = box.left == 0
            outcomes, box.outcomes = box.outcomes, []
            box.some.clear()
            if not outcomes:
                return {}  # torn down
            content = pickle.dumps(outcomes, 5)
            if not last:
                if not (await self._send(number, content))["wanted"]:
                    return {}
                continue
            turn_is_over = SYSTEM_CLOCK.raw_ns() >= turn_ends_ns or self._worker.status is not Status.running
            if turn_is_over or len(content) > OUTCOME_BYTES_MAX:
                self._send_in_background(number, content, last=True)
                return {}
            answer = await self._send(number, content, last=True, next_of=function)
            return answer if "number" in answer else {}

    def _send_in_background(self, number: int, content: bytes, *, last: bool) -> None:
        task = self._loop.create_task(self._send(number, content, last=last))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _send(
        self, number: int, content: bytes, *, last: bool = False, next_of: int | None = None
    ) -> dict[str, Any]:
        # What is sent at the same time may arrive in any order, and only the newest list of the living is true.
        self._sendings += 1
        alive = [self._sendings, *({worker.number for worker in self._pool.workers()} | self._newcomers)]
        if number != NO_PARCEL:
            self._newcomers.clear()
        with contextlib.suppress(OSError):  # the scheduler is gone, and with it everybody who waits
            answer = await self._fetch(
                "bring",
                number,
                me=self._me,
                outcomes=to_serialize(content),
                alive=alive,
                last=last,
                next_of=next_of,
            )
            return answer or {"wanted": False}
        return {"wanted": False}

    async def _fetch(self, what: str, number: int, **message: Any) -> dict[str, Any] | None:
        """Ask something whose answer may hold a parcel."""
        fetched = self._fetching[number] = self._loop.create_future()
        try:
            answer: dict[str, Any] | None = await self._ask(what, number=number, **message)
            return answer
        finally:
            fetched.set_result(None)
            if self._fetching.get(number) is fetched:
                del self._fetching[number]

    async def _ask(self, what: str, **message: Any) -> Any:
        return await getattr(self._worker.scheduler, f"{self.name}-{what}")(worker=self._worker.address, **message)

    async def stop(self, number: int, item: int) -> bool:
        """Stop one item of a parcel that is here, or about to be."""
        if number not in self._boxes:
            coming = [self._fetching[number]] if number in self._fetching else list(self._fetching.values())
            if coming:
                await asyncio.wait(coming)
        return number in self._boxes and self._pool.stop(number, item)

    # The pool ---------------------------------------------------------------------------------------------------------

    def _deliver(self, outcome: Outcome) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(self._take, outcome)

    def _take(self, outcome: Outcome) -> None:
        if outcome.batch < 0:
            if outcome.worker is not None:
                self._newcomers.add(outcome.worker.number)
            self._send_in_background(NO_PARCEL, pickle.dumps([outcome], 5), last=False)
            return
        box = self._boxes.get(outcome.batch)
        if box is None:
            return
        box.outcomes.append(outcome)
        box.left -= outcome.item_count
        box.some.set()
        if box.left == 0:
            box.done.set()
