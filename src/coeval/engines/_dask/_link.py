"""
The caller's end of the network: a thread with an event loop of its own, and in it a Dask client, the channel to the
post office, and the tasks.

What comes is told to the engine as tuples, through a function that never waits:

    ("begun", parcel, worker address, (host, pid, clock, python))
    ("came", parcel, worker address, pickled outcomes, [which sending this is, *workers alive there], seen_ns)
    ("lost", parcels, worker address, expected, what is known about it)
    ("unrun", parcel, fate, innocent, reason): Dask will not run its task; the fate is the post office's answer
    ("cluster", workers, threads)
    ("measured", worker address, (host, pid, clock, python), snapshot, sent_ns, arrived_ns, replied_ns, seen_ns)
    ("broken", reason): nothing more will come
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from coeval.clocks import Clock, ClockId
from coeval.engines._dask._library import (
    Client,
    KilledWorker,
    Scheduler,
    Security,
    SpecCluster,
    TasksCancelled,
    Worker,
    connect,
    to_serialize,
    wait,
)
from coeval.engines._dask._office import PostOffice
from coeval.engines._dask._outpost import read_clock, stop
from coeval.engines._dask._share_pieces import send_pieces
from coeval.engines._dask._url import Place
from coeval.engines._dask._versions import Versions, mismatches, versions_here
from coeval.engines._engine import Stamps
from coeval.engines._live_clocks import LiveClocks
from coeval.engines._segments import Heavy
from coeval.errors import EngineError

# Shorter: a busy scheduler is given up. Longer: a wrong address is told of late.
CONNECT_S_MAX = 5.0

# A question to the scheduler or a worker is given up after this.
ANSWER_S_MAX = 30.0

# How long the cluster has for ending what is ours. The scheduler does that also if nobody waits for it.
CLOSE_S_MAX = 10.0

# Dask's client gathers for so long what it sends to the scheduler. Dask's own value is 10 ms, which the second call of
# a burst would wait. Parcels that are there together are one message anyway.
GATHER_S = 0.001

# A question to a clock that is under way when we close has so long to end; so have those that are asked at the end.
QUESTION_S_MAX = 1.0

# Functions whose bodies the scheduler keeps for workers that have not seen them.
BODIES_KEPT_MAX = 256

# The task: it names nothing of coeval until it runs. A Dask worker that cannot unpickle a task closes itself, and one
# without coeval, which somebody added later, is not ours to close.
TASK = "__import__('importlib').import_module('coeval.engines._dask._outpost').carry(*arguments)"

T = TypeVar("T")


class Letter(NamedTuple):
    """
    A parcel on its way out.

    Attributes:
        number: the parcel's.
        function: number and name of its function.
        body: that function's body.
        content: the pickled batch without that body.
    """

    number: int
    function: tuple[int, str]
    body: bytes
    content: bytes


class Note(NamedTuple):
    """
    What the post office is told in its turn among the parcels.

    Attributes:
        message: as it is sent.
    """

    message: list[Any]


class Link:
    """
    Args:
        place: where the cluster is.
        tell: told what comes.
        leaves: asked just before a parcel leaves, by its number; False: it is not wanted any more.
        labels_output: what calls print is labelled, and comes home.
        is_busy: whether any parcel is out. Watched tasks do not tell: a parcel that was begun behind another has none.
        clocks: says when to ask which worker's clock; None: never.
        find_shared: where an object is that was shared under a name; None: it is not any more.
        tidy_shared: called when an object was sent, which may have been given up meanwhile.
    """

    def __init__(
        self,
        place: Place,
        tell: Callable[[tuple[Any, ...]], None],
        leaves: Callable[[int], bool],
        clock: Clock,
        is_busy: Callable[[], bool] = bool,
        clocks: LiveClocks | None = None,
        *,
        labels_output: bool = False,
        find_shared: Callable[[bytes], Heavy | None] = lambda _: None,
        tidy_shared: Callable[[], None] = lambda: None,
    ) -> None:
        self._place = place
        self._find_shared = find_shared
        self._tidy_shared = tidy_shared
        self._pushing: set[asyncio.Task[None]] = set()
        self._tell = tell
        self._leaves = leaves
        self._clock = clock
        self._labels_output = labels_output
        self._office = f"coeval-{uuid.uuid4().hex[:12]}"
        self._thread = threading.Thread(target=self._run, name="coeval-dask-link", daemon=True)
        self._started = threading.Event()
        self._trouble: BaseException | None = None
        self._watched: dict[int, asyncio.Task[None]] = {}
        self._bodies: OrderedDict[int, None] = OrderedDict()
        self._is_busy = is_busy
        self._clocks = clocks if clocks is not None and clocks.width_ns is not None else None
        self._clock_at: dict[str, ClockId] = {}  # of each worker that answered
        self._questions: dict[str, asyncio.Task[None]] = {}  # under way, by worker
        self._asker_sleeps = False
        self._asks_last = False

    # From any thread --------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """
        Connect, compare versions and open the post office, which tells about the cluster first.

        Raises:
            EngineError: the scheduler does not answer, or somebody there does not fit.
        """
        self._thread.start()
        self._started.wait()
        if self._trouble is not None:
            self._thread.join()
            raise self._trouble

    def post(self, letter: Letter | Note) -> None:
        """Send a parcel, or a note; they arrive in this order. Never waits, so finalizers may call it."""
        self._loop.call_soon_threadsafe(self._outgoing.put_nowait, letter)

    def withdraw(self, number: int) -> str:
        """Call a parcel back: "waiting" if that worked, else the address of the worker that has it, or ""."""
        answer: str = self._ask(self._call_office("withdraw", number=number)) or ""
        return answer

    def stop_at(self, worker: str, number: int, item: int) -> bool:
        """Stop an item of a parcel that a Dask worker has."""
        return self._ask(self._stop_at(worker, number, item))

    def close(self, *, ask_clocks: bool = False) -> None:
        """
        End everything of ours on the cluster and the connection to it. Safe to call twice.

        Args:
            ask_clocks: before that, ask each host's clock once more.
        """
        self._asks_last = ask_clocks
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            self._loop.call_soon_threadsafe(self._outgoing.put_nowait, None)
        self._thread.join()

    def _ask(self, question: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(question, ANSWER_S_MAX), self._loop).result()

    # The thread -------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            if self._started.is_set():
                self._tell(("broken", f"{type(error).__qualname__}: {error}"))
            else:
                self._trouble = error
                self._started.set()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._outgoing: asyncio.Queue[Letter | Note | None] = asyncio.Queue()
        async with contextlib.AsyncExitStack() as stack:
            self._client = await self._connect(stack)
            stack.enter_context(self._client.as_current())  # `wait` looks there
            self._client.scheduler_comm.interval = GATHER_S
            await self._check_versions()
            await self._client.register_plugin(PostOffice(self._office))
            channel = await connect(self._client.scheduler.address, CONNECT_S_MAX, **self._client.connection_args)
            stack.callback(channel.abort)
            await channel.write({"op": f"{self._office}-channel", "reply": False})
            self._stirred = asyncio.Event()  # something changed that decides whose clock is to be asked, and when
            self._workers_changed = False
            self._closing = False
            self._started.set()
            reader, writer = asyncio.create_task(self._read(channel)), asyncio.create_task(self._write(channel))
            asker = asyncio.create_task(self._ask_clocks())
            try:
                await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
                if writer.done():  # closed by us
                    await writer
                await asyncio.wait_for(reader, CLOSE_S_MAX)
            except (OSError, TimeoutError) as error:
                self._tell(("broken", f"the connection to Dask's scheduler at {self._address} was lost: {error}"))
            finally:
                # A question that is cut off would leave its socket to the garbage collector.
                self._closing = True
                self._stirred.set()
                await asyncio.wait({asker, *self._questions.values()}, timeout=QUESTION_S_MAX)
                tasks = [reader, writer, asker, *self._questions.values(), *self._watched.values(), *self._pushing]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, stack: contextlib.AsyncExitStack) -> Any:
        scheduler: Any = self._place.address
        if scheduler is None:
            scheduler = await stack.enter_async_context(_own_cluster(self._place.workers))
        security = Security(**self._place.security) if self._place.security else None
        try:
            return await stack.enter_async_context(
                Client(scheduler, asynchronous=True, set_as_default=False, security=security, timeout=CONNECT_S_MAX)
            )
        except (OSError, ValueError) as error:
            raise EngineError(
                f"no Dask scheduler answers at {self._place.address} within {CONNECT_S_MAX:g} s: "
                f"{type(error).__qualname__}: {error}. Is `dask scheduler` running there, and is that its address?"
            ) from error

    @property
    def _address(self) -> str:
        return self._place.address or "its own cluster"

    async def _check_versions(self) -> None:
        try:
            there = [("scheduler", await self._client.run_on_scheduler(versions_here))]
        except ImportError:
            there = [("scheduler", Versions("", "", ""))]
        answers = await self._client.run(versions_here, on_error="return")
        for address, answer in answers.items():
            there.append((f"worker {address}", answer if isinstance(answer, Versions) else Versions("", "", "")))
        wrong = mismatches(versions_here(), there)
        if wrong:
            raise EngineError("\n".join(wrong))

    # Out --------------------------------------------------------------------------------------------------------------

    async def _write(self, channel: Any) -> None:
        caller = tuple(versions_here())
        while True:
            letters = [await self._outgoing.get()]
            written: list[Letter] = []
            while letters and None not in letters:
                wanted = [letter for letter in letters if letter is not None and self._is_wanted(letter)]
                if wanted:
                    await channel.write([self._message(letter) for letter in wanted])
                written += [letter for letter in wanted if isinstance(letter, Letter)]
                letters = [self._outgoing.get_nowait() for _ in range(self._outgoing.qsize())]
            self._submit(written, caller)
            if letters:
                if self._asks_last:
                    await self._ask_each_clock()
                await channel.write([["close"]])
                return

    def _is_wanted(self, letter: Letter | Note) -> bool:
        return isinstance(letter, Note) or self._leaves(letter.number)

    def _message(self, letter: Letter | Note) -> list[Any]:
        if isinstance(letter, Note):
            return letter.message
        number, forget = letter.function[0], []
        new = number not in self._bodies
        self._bodies[number] = None
        self._bodies.move_to_end(number)
        if len(self._bodies) > BODIES_KEPT_MAX:
            forget.append(self._bodies.popitem(last=False)[0])
        body = to_serialize(letter.body) if new else None
        # Lists: where both ends are one process, Dask looks for wrapped bytes in lists only.
        return ["parcel", letter.number, number, to_serialize(letter.content), body, forget]

    def _submit(self, letters: Sequence[Letter], caller: tuple[str, ...]) -> None:
        """Have Dask place a task for each letter; all at once, as each time costs the scheduler a millisecond."""
        if not letters:
            return
        keys = [f"{letter.function[1].replace(':', '.')}-{self._office}-{letter.number}" for letter in letters]
        arguments = [
            {"arguments": (self._office, letter.number, letter.function, caller, self._labels_output)}
            for letter in letters
        ]
        futures = self._client.map(eval, [TASK] * len(keys), arguments, key=keys, pure=False, retries=0)
        if self._asker_sleeps:
            self._stirred.set()
        for letter, future in zip(letters, futures, strict=True):
            self._watched[letter.number] = asyncio.create_task(self._watch(letter.number, future))

    async def _watch(self, number: int, future: Any) -> None:
        """Keep a parcel's task alive until it is done, and tell if Dask gave it up. Cancelled: Dask may forget it."""
        try:
            with contextlib.suppress(TasksCancelled):
                await wait(future)
            if future.status == "finished":
                return
            error = await future.exception() if future.status == "error" else None
            innocent = error is None or isinstance(error, KilledWorker)
            reason = f"its task was {future.status}" if error is None else f"{type(error).__qualname__}: {error}"
            if isinstance(error, ImportError):
                reason += f". Run on every worker: pip install 'coeval[dask]=={versions_here().coeval}'"
            fate = await self._call_office("give-up", number=number)
            self._tell(("unrun", number, fate, innocent, reason))
        except (OSError, RuntimeError):
            pass  # the connection is lost, which the channel's reader tells
        finally:
            self._watched.pop(number, None)

    # In ---------------------------------------------------------------------------------------------------------------

    async def _read(self, channel: Any) -> None:
        while True:
            messages = await channel.read()
            seen_ns = self._clock.raw_ns()
            for message in messages:
                match message:
                    case ("closed",):
                        return
                    case ("came", *rest):
                        self._tell(("came", *rest, seen_ns))
                    case ("taskless", number):  # it began without its task, which would find nothing to do
                        self._release(number)
                    case ("lost", lost, *rest):
                        for number in lost:
                            self._release(number)
                        self._tell(("lost", lost, *rest))
                    case ("push", ticket, name):
                        task = asyncio.create_task(self._push(ticket, name))
                        self._pushing.add(task)
                        task.add_done_callback(self._pushing.discard)
                    case ("cluster", *_):
                        self._workers_changed = True
                        self._stirred.set()
                        self._tell(tuple(message))
                    case _:
                        self._tell(tuple(message))

    async def _push(self, ticket: int, name: bytes) -> None:
        """Send the content of a shared object to the post office, which passes it on."""
        with contextlib.suppress(OSError):  # the outpost asks again
            arguments = self._client.connection_args
            comm = await connect(self._client.scheduler.address, CONNECT_S_MAX, **arguments)
            try:
                await comm.write({"op": f"{self._office}-push", "ticket": ticket, "reply": False})
                await send_pieces(comm, self._find_shared(name))
            finally:
                comm.abort()
                self._tidy_shared()

    def _release(self, number: int) -> None:
        """Let Dask forget a task, so that it does not run it again."""
        watcher = self._watched.get(number)
        if watcher is not None:
            watcher.cancel()

    # Clocks -----------------------------------------------------------------------------------------------------------

    async def _ask_clocks(self) -> None:
        """Ask each worker's clock when it is new, and while work is out as `LiveClocks` say. Idle, nothing happens."""
        if self._clocks is None:
            return
        while not self._closing:
            try:
                if self._workers_changed:
                    self._workers_changed = False
                    await self._ask_newcomers()
                due_ns = self._due_ns()
                now_ns = self._clock.raw_ns()
                for address, at_ns in due_ns.items():
                    if at_ns <= now_ns:
                        self._question(address)
            except (OSError, RuntimeError):
                return  # the connection is lost, which the channel's reader tells
            next_ns = min((at_ns for at_ns in due_ns.values() if at_ns > now_ns), default=None)
            with contextlib.suppress(TimeoutError):
                self._asker_sleeps = next_ns is None
                await asyncio.wait_for(self._stirred.wait(), None if next_ns is None else (next_ns - now_ns) / 1e9)
            self._stirred.clear()

    def _due_ns(self) -> dict[str, int]:
        """One worker of each host whose clock may have to be asked while work is out, and when."""
        assert self._clocks is not None
        if not self._is_busy():
            return {}
        at = {clock: address for address, clock in self._clock_at.items()}
        busy = {self._clock_at.get(address) for address in self._questions}
        return {at[clock]: due_ns for clock, due_ns in self._clocks.due_ns(at).items() if clock not in busy}

    async def _ask_newcomers(self) -> None:
        identity = await self._client.scheduler.identity(n_workers=-1)
        known = set(identity["workers"])
        self._clock_at = {address: clock for address, clock in self._clock_at.items() if address in known}
        for address in known - self._clock_at.keys() - self._questions.keys():
            self._question(address)

    def _question(self, address: str) -> None:
        """Ask a worker's clock. In a task of its own: one that does not answer keeps nobody from asking others."""
        assert self._clocks is not None
        if address in self._clock_at:
            self._clocks.asked(self._clock_at[address], self._clock.raw_ns())
        task = self._questions[address] = asyncio.create_task(self._measure(address))
        task.add_done_callback(lambda _: self._question_over(address))

    def _question_over(self, address: str) -> None:
        del self._questions[address]
        self._stirred.set()

    async def _ask_each_clock(self) -> None:
        """Once more, one worker of each host. So what happened to a wall clock late in the run is found as well."""
        if self._clocks is None:
            return
        for clock, address in {clock: address for address, clock in self._clock_at.items()}.items():
            if clock != self._clocks.own and address not in self._questions:
                self._question(address)
        if self._questions:
            await asyncio.wait(self._questions.values(), timeout=QUESTION_S_MAX)

    async def _measure(self, address: str) -> None:
        assert self._clocks is not None
        with contextlib.suppress(OSError, RuntimeError):  # the connection is lost, which the channel's reader tells
            sent_ns = self._clock.raw_ns()
            answers = await self._client.run(read_clock, workers=[address], on_error="ignore")
            seen_ns = self._clock.raw_ns()
            if address not in answers:
                return  # it has gone meanwhile, or has no coeval
            me, snapshot, arrived_ns, replied_ns = answers[address]
            clock = ClockId(me[2])
            if address not in self._clock_at:
                self._clock_at[address] = clock
                self._clocks.asked(clock, sent_ns)
            self._clocks.answered(clock, seen_ns - sent_ns - (replied_ns - arrived_ns))
            self._clocks.heard(clock, Stamps(sent_ns, arrived_ns, replied_ns, seen_ns))
            self._tell(("measured", address, me, snapshot, sent_ns, arrived_ns, replied_ns, seen_ns))

    async def _call_office(self, what: str, **message: Any) -> Any:
        return await getattr(self._client.scheduler, f"{self._office}-{what}")(**message)

    async def _stop_at(self, worker: str, number: int, item: int) -> bool:
        answers = await self._client.run(stop, self._office, number, item, workers=[worker], on_error="ignore")
        return bool(answers.get(worker, False))


def _own_cluster(workers: int | None) -> Any:
    """
    A scheduler and a worker in this event loop.

    `LocalCluster` would open ports that other hosts can reach, or start processes that import the program's `__main__`
    anew. The calls have processes of their own in any case: the worker's local pool.
    """
    # Their pages for people cannot be left out; a port of the loopback interface that is free is the least.
    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": {"protocol": "inproc://", "port": 0, **quiet}},
        workers={0: {"cls": Worker, "options": {"nthreads": workers, "memory_limit": 0, **quiet}}},
        asynchronous=True,
        silence_logs=logging.ERROR,
    )
