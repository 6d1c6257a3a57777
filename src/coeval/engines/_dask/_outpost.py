"""
The outpost: what coeval has on a Dask worker. One for each engine that uses the worker; it owns a local pool.

`carry` is the Dask task. It holds one of the worker's threads, while the calls themselves run in the pool's processes.
So a call that crashes, or is ended, does not touch the Dask worker.

While a parcel runs, the one that is to follow it is fetched, and begun without asking when its turn comes
(`_ahead.py`, and `_office.py` for what is said).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import platform
import socket
from collections import OrderedDict, deque
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from distributed.diagnostics.plugin import WorkerPlugin

from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.engines._dask._ahead import Ahead, Follower
from coeval.engines._dask._library import Status, connect, get_worker, to_serialize
from coeval.engines._dask._office_state import NO_PARCEL
from coeval.engines._dask._share_fetch import ShareFetch
from coeval.engines._dask._share_names import Place, placed
from coeval.engines._dask._versions import Versions, mismatch, versions_here
from coeval.engines._engine import Batch, Function, Outcome, Packed
from coeval.engines._protocol import Arguments
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

# Outcomes up to this size go in one message with the news that the next parcel begins.
# Larger: a socket's buffer may not take it at once, and what it did not take is lost with this process.
NOTICE_BYTES_MAX = 1 << 14

# A parcel that has run so long asks for one that is to follow it, and then again after twice as long while none is to
# be had. Shorter: it takes what another worker's task is just about to fetch. Longer: calls of so many milliseconds
# wait for the scheduler between each other.
RESERVE_AFTER_S = 0.01

# What is reserved behind a parcel that runs longer than this is given back: others' results should not wait for it,
# and the answer of a scheduler is not much beside its duration.
RESERVED_S_MAX = 2.0

# A scheduler that does not take our channel within this is not asked again: then parcels are fetched one by one.
CONNECT_S_MAX = 30.0

# Function bodies that an outpost keeps, so that each travels to a worker once.
BODIES_KEPT_MAX = 256


# Post offices that closed while this Dask worker had an outpost of theirs. Tasks of theirs may still be on their way.
_closed: deque[str] = deque(maxlen=1000)


def carry(
    office: str, number: int, function: tuple[int, str], caller: tuple[str, str, str], labels_output: bool
) -> None:
    """
    Fetch a parcel, have it run here and send its outcomes home. Nothing happens if the parcel is not to be had (again).

    Called by a Dask task, in one of the worker's threads.

    Args:
        office: the post office's name.
        number: the parcel's.
        function: number and name of its function.
        caller: the caller's `Versions`.
        labels_output: what calls print is labelled, and comes home.

    Raises:
        EngineError: this worker and the caller do not fit together.
    """
    worker = get_worker()
    misfit = mismatch(Versions(*caller), versions_here(), f"worker {worker.address}")
    if misfit:
        raise EngineError(misfit)
    loop = worker.loop.asyncio_loop
    asyncio.run_coroutine_threadsafe(
        _carry(worker, office, number, Function(*function, b""), labels_output), loop
    ).result()


async def _carry(worker: Any, office: str, number: int, function: Function, labels_output: bool) -> None:
    outpost = worker.plugins.get(office)
    if outpost is None:
        if office in _closed:
            return
        outpost = Outpost(office, labels_output=labels_output)
        await worker.plugin_add(plugin=outpost, name=office, catch_errors=False)
    if not await outpost.carry(number, function):
        await worker.plugin_remove(name=office)


async def stop(office: str, number: int, item: int, dask_worker: Any) -> bool:
    """Stop one item of a parcel on this worker; False if it is not here any more. Run by `Client.run`."""
    outpost = dask_worker.plugins.get(office)
    return outpost is not None and await outpost.stop(number, item)


def read_clock() -> tuple[tuple[str, int, str, str], tuple[int, ...], int, int]:
    """
    Who this is, a snapshot of its clocks, and its raw clock twice: when the question was here, and before the answer
    goes. By `Client.run`.
    """
    arrived_ns = SYSTEM_CLOCK.raw_ns()
    return _who_this_is(), tuple(SYSTEM_CLOCK.snapshot()), arrived_ns, SYSTEM_CLOCK.raw_ns()


def _who_this_is() -> tuple[str, int, str, str]:
    return socket.gethostname(), os.getpid(), clock_id(SYSTEM_CLOCK), platform.python_version()


def _placed_batch(batch: Batch, places: Mapping[bytes, Place]) -> Batch:
    """A batch that finds shared objects on this host."""
    function = batch.function._replace(body=placed(batch.function.body, places))
    if isinstance(batch.items, Packed):
        packed = batch.items
        content = placed(_bytes(packed.content), places)
        return batch._replace(function=function, items=Packed(content, packed.count, packed.spread, packed.stride))
    return batch._replace(function=function, items=[placed(_bytes(item), places) for item in batch.items])


def _bytes(payload: Arguments) -> bytes:
    assert isinstance(payload, bytes), "what comes from another host has everything in its pickle"
    return payload


@dataclass(slots=True)
class _Box:
    """What came of one parcel and has not been sent yet."""

    left: int
    outcomes: list[Outcome] = field(default_factory=list)
    some: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Outpost(WorkerPlugin):
    """A local pool on a Dask worker, as many workers as that has threads, and what is under way in it."""

    def __init__(self, office: str, *, labels_output: bool = False) -> None:
        self.name = office
        self._labels_output = labels_output

    # Called by Dask ---------------------------------------------------------------------------------------------------

    def setup(self, worker: Any) -> None:
        """Open."""
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._boxes: dict[int, _Box] = {}
        self._sendings = 0
        self._newcomers: set[int] = set()  # a worker introduces itself a moment before the pool counts it
        self._under_way: set[asyncio.Task[Any]] = set()  # the loop itself holds tasks weakly
        self._bodies: OrderedDict[int, bytes] = OrderedDict()
        self._fetching: dict[int, asyncio.Future[None]] = {}  # by parcel; for one more of its function, by the last one
        self._ahead = Ahead()
        self._channel: Any = None
        self._writing = asyncio.Lock()  # not every protocol of Dask's takes two messages at once
        self._me = _who_this_is()
        self._shares = ShareFetch(self.name, worker, self._ask)
        self._pool = LocalEngine(worker.state.nthreads, results_leave_host=True, labels_output=self._labels_output)
        self._pool.start(self._deliver)
        self._listener = self._loop.create_task(self._listen())

    async def teardown(self, worker: Any) -> None:
        """End the pool and everything that runs in it."""
        _closed.append(self.name)
        self._listener.cancel()
        await self._shares.close()
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
        follower: Follower | None = Follower.read(number, parcel["content"])
        while follower is not None:
            follower = await self._run(follower, function, turn_ends_ns)
        return True

    async def _run(self, parcel: Follower, function: Function, turn_ends_ns: int) -> Follower | None:
        """Have a parcel run and bring its outcomes home; the next one, of the same function, if there is one."""
        number, batch = parcel.number, parcel.batch._replace(function=function)
        if parcel.shares:
            with self._on_its_way(number):
                places = await self._shares.places(parcel.shares)
            if places is None:
                return None
            batch = _placed_batch(batch, places)
        box = self._boxes[number] = _Box(len(batch.items))
        self._ahead.runs(number)
        try:
            self._pool.send(batch)
            self._loop.call_later(RESERVE_AFTER_S, self._ask_ahead, number, function.number, 2 * RESERVE_AFTER_S)
            return await self._bring(number, function.number, box, turn_ends_ns)
        finally:
            self._boxes.pop(number, None)
            if parcel.shares:
                self._shares.tidy()
            unused = self._ahead.take(number)
            if unused is not None:
                self._in_background(self._say(["returned", unused.number]))

    async def _bring(self, number: int, function: int, box: _Box, turn_ends_ns: int) -> Follower | None:
        while True:
            await box.some.wait()
            if box.left:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(box.done.wait(), HOLD_S)
            last = box.left == 0
            outcomes, box.outcomes = box.outcomes, []
            box.some.clear()
            if not outcomes:
                return None  # torn down
            content = pickle.dumps(outcomes, 5)
            if last:
                return await self._bring_last(number, function, content, turn_ends_ns)
            if not (await self._send(number, content))["wanted"]:
                return None

    async def _bring_last(self, number: int, function: int, content: bytes, turn_ends_ns: int) -> Follower | None:
        turn_is_over = SYSTEM_CLOCK.raw_ns() >= turn_ends_ns or self._worker.status is not Status.running
        follower = self._ahead.take(number)
        if follower is not None and not turn_is_over:
            return await self._begin_unasked(number, content, follower)
        if turn_is_over or len(content) > OUTCOME_BYTES_MAX:
            self._in_background(self._send(number, content, last=True))
            return None
        answer = await self._send(number, content, last=True, next_of=function)
        return Follower.read(answer["number"], answer["content"]) if "number" in answer else None

    async def _begin_unasked(self, number: int, content: bytes, follower: Follower) -> Follower | None:
        """
        Say that the follower begins, with the last outcomes of the parcel before it if they are small.

        Both have left when this returns. So if the follower kills this process, it is known whose fault it was.
        """
        with self._on_its_way(follower.number):
            outcomes = None
            if len(content) <= NOTICE_BYTES_MAX:
                outcomes = content  # as it is: to wrap what is small takes longer than to copy it
            elif len(content) <= OUTCOME_BYTES_MAX:
                await self._send(number, content, last=True, followed=True)
            else:
                self._in_background(self._send(number, content, last=True, followed=True))
            if await self._say(["began", follower.number, number, outcomes, self._alive()]):
                return follower
        if outcomes is not None:
            await self._send(number, content, last=True)
        return None

    def _in_background(self, what: Coroutine[Any, Any, Any]) -> None:
        task = self._loop.create_task(what)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _send(
        self, number: int, content: bytes, *, last: bool = False, followed: bool = False, next_of: int | None = None
    ) -> dict[str, Any]:
        with contextlib.suppress(OSError):  # the scheduler is gone, and with it everybody who waits
            answer = await self._fetch(
                "bring",
                number,
                me=self._me,
                outcomes=to_serialize(content),
                alive=self._alive(),
                last=last,
                followed=followed,
                next_of=next_of,
            )
            return answer or {"wanted": False}
        return {"wanted": False}

    def _alive(self) -> list[int]:
        """Who is alive in the pool. What is sent at the same time may arrive in any order, so the lists count up."""
        self._sendings += 1
        return [self._sendings, *({worker.number for worker in self._pool.workers()} | self._newcomers)]

    async def _fetch(self, what: str, number: int, **message: Any) -> dict[str, Any] | None:
        """Ask something whose answer may hold a parcel."""
        with self._on_its_way(number):
            answer: dict[str, Any] | None = await self._ask(what, number=number, **message)
            return answer

    @contextlib.contextmanager
    def _on_its_way(self, number: int) -> Iterator[None]:
        """Let who wants to stop a parcel wait until it is here."""
        fetched = self._fetching[number] = self._loop.create_future()
        try:
            yield
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

    # The channel ------------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Open the channel and hear what comes through it, until either end is closed."""
        channel = None
        try:
            scheduler = self._worker.scheduler.address
            channel = await connect(scheduler, CONNECT_S_MAX, **self._worker.connection_args)
            hello = {"op": f"{self.name}-outpost", "worker": self._worker.address, "me": self._me, "reply": False}
            await channel.write(hello)
            self._channel = channel
            while True:
                for message in await channel.read():
                    self._hear(message)
        except OSError:
            pass
        finally:
            self._channel = None
            self._ahead.clear()
            if channel is not None:
                channel.abort()

    def _hear(self, message: Any) -> None:
        match message:
            case ("reserved", behind, number, content):
                if self._ahead.came(behind, Follower.read(number, content)):
                    self._loop.call_later(RESERVED_S_MAX, self._give_back, number)
            case ("recall", number):
                self._give_back(number)
            case ("dropped", name):
                self._shares.dropped(name)
            case _:
                raise AssertionError(f"the post office sent {message!r}")

    def _ask_ahead(self, number: int, function: int, again_s: float) -> None:
        if self._ahead.wants(number):
            self._in_background(self._say(["reserve", number, function]))
            if again_s <= RESERVED_S_MAX:
                self._loop.call_later(again_s, self._ask_ahead, number, function, 2 * again_s)

    def _give_back(self, number: int) -> None:
        if self._ahead.give_back(number):
            self._in_background(self._say(["returned", number]))

    async def _say(self, message: list[Any]) -> bool:
        """Send one way; the message has left when this returns. False: there is no channel."""
        try:
            async with self._writing:
                if self._channel is None:
                    return False
                await self._channel.write(message)
                return True
        except OSError:
            return False

    # The pool ---------------------------------------------------------------------------------------------------------

    def _deliver(self, outcome: Outcome) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(self._take, outcome)

    def _take(self, outcome: Outcome) -> None:
        if outcome.batch < 0:
            if outcome.worker is not None:
                self._newcomers.add(outcome.worker.number)
            self._in_background(self._send(NO_PARCEL, pickle.dumps([outcome], 5)))
            return
        box = self._boxes.get(outcome.batch)
        if box is None:
            return
        box.outcomes.append(outcome)
        box.left -= outcome.item_count
        box.some.set()
        if box.left == 0:
            box.done.set()
