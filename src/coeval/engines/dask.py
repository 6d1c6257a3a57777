"""
Dask as an engine: `dask://host:8786`, `dask+tls://…`, and `dask:`, a cluster of its own in this process.

Calls do not run in Dask's workers but beside them: each Dask worker that gets work of ours keeps a local pool with as
many processes as the worker has threads, and a Dask task carries one batch to it. So whatever a call does to its
process, Dask's worker lives on; time limits, `stop` and signals by name are the local pool's. `_dask/__init__.py` shows
the parts.

What only this side can decide, because it alone sees all of them, is in `_dask/_flights.py`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from coeval.clocks import SYSTEM_CLOCK, Clock, ClockId, Snapshot
from coeval.engines._dask._ahead import Follower
from coeval.engines._dask._flights import Flights
from coeval.engines._dask._function import logger_levels, pack
from coeval.engines._dask._share_names import NAME_BYTES, PREFIX_BYTES, find, names_in
from coeval.engines._dask._share_room import memory_host
from coeval.engines._dask._url import parse_url
from coeval.engines._engine import Batch, Capabilities, Failure, Outcome, Packed, Stamps, Worker
from coeval.engines._protocol import Deliver
from coeval.engines._segments import Heavy, Segments
from coeval.engines.local._cores import usable_cores
from coeval.errors import EngineError, UnknownEngine
from coeval.recording._capture import clock_event

if TYPE_CHECKING:
    from coeval.engines._dask._link import Link
    from coeval.engines._live_clocks import LiveClocks

# Batches outstanding for each of the cluster's threads: one runs, one is there already when it ends.
BATCHES_PER_THREAD = 2

# A cluster without workers still gets something to do, or one that grows with its work never would.
WINDOW_MIN = 2

# Larger: a lost worker repeats more. Smaller: empty calls are bound by Dask's price for a task (about a millisecond).
BATCH_ITEMS_MAX = 4096

# Functions of which it is remembered which shared objects they mention.
FUNCTION_NAMES_MAX = 256

# A worker of the cluster's local pools; a Dask worker itself has -1 for the second.
_Key = tuple[str, int]


class DaskEngine:
    """
    Carries batches through a Dask cluster.

    Args:
        url: see `_dask/_url.py`.
        max_workers: at most so many batches at once; None: as the cluster has threads.
        labels_output: each line that a call prints says which call and process, and comes home as an event.

    Raises:
        UnknownEngine: the URL is none of Dask's, or `distributed` is not installed.
    """

    name = "dask"
    segments = None  # workers are on other hosts; what is shared has its own

    def __init__(
        self,
        url: str = "dask:",
        max_workers: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        labels_output: bool = False,
    ) -> None:
        place = parse_url(url)
        own_cluster = place.address is None
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise UnknownEngine(f"engine {url!r} needs Dask: pip install 'coeval[dask]' ({error}).") from error
        if own_cluster:
            place = place._replace(workers=max_workers or place.workers or usable_cores())
        self.capabilities = Capabilities(
            separate_process=True,
            stops_running_work=True,
            time_limit=True,
            memory_limit=True,
            names_signal=True,
            same_host=own_cluster,
            batch_items_max=BATCH_ITEMS_MAX,
        )
        self._place = place
        self._window_max = None if own_cluster else max_workers
        self._clock = clock
        self._labels_output = labels_output
        self._lock = threading.Lock()
        self._nothing_out = threading.Condition(self._lock)
        self._flights = Flights()
        self._threads = 0
        self._size_known = False
        self._workers: dict[_Key, Worker] = {}
        self._sendings: dict[str, int] = {}  # of each outpost, the newest that came
        self._numbers = 0
        self._broken = ""
        self._events: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._link: Link | None = None
        self._carrier: threading.Thread | None = None
        self._clocks: LiveClocks | None = None
        self._share_segments: Segments | None = None  # from the first object on
        self._share_prefix = os.urandom(PREFIX_BYTES)
        self._shared: dict[bytes, Heavy] = {}  # by name
        self._function_names: dict[int, set[bytes]] = {}

    # The contract -----------------------------------------------------------------------------------------------------

    def start(self, deliver: Deliver) -> None:
        """
        Connect.

        Raises:
            EngineError: the scheduler does not answer within a few seconds, or versions there differ.
        """
        from coeval.engines._dask._link import Link

        self._deliver = deliver
        link = Link(
            self._place,
            self._events.put,
            self._leaves,
            self._clock,
            self._is_busy,
            self._clocks,
            labels_output=self._labels_output,
            find_shared=self._shared.get,
            tidy_shared=self._tidy_shared,
        )
        link.open()
        self._link = link
        while not self._size_known:  # the window rests on it
            event = self._events.get()
            assert event is not None
            self._take(event)
        self._carrier = threading.Thread(target=self._carry_home, name="coeval-dask", daemon=True)
        self._carrier.start()
        _open_engines.add(self)

    def keep_clocks_known(self, clocks: LiveClocks) -> None:
        self._clocks = clocks

    def window(self) -> int:
        wanted = max(WINDOW_MIN, BATCHES_PER_THREAD * self._threads)
        return wanted if self._window_max is None else min(wanted, self._window_max)

    def send(self, batch: Batch) -> None:
        from coeval.engines._dask._link import Letter

        with self._lock:
            link = self._link
            if self._broken or link is None:
                raise EngineError(self._broken or "the Dask engine is closed")
            parcels = self._flights.sent(batch)
        function = batch.function
        bare = function._replace(body=b"")
        body = pack(function.body, logger_levels())
        for parcel in parcels:
            shares = sorted(self._names_in(parcel.batch)) if self._share_segments is not None else ()
            content = Follower(parcel.number, parcel.batch._replace(function=bare), shares).content()
            link.post(Letter(parcel.number, (function.number, function.name), body, content))

    def pump(self, is_wanted: Callable[[], bool], timeout_s: float | None) -> None:
        return  # threads of our own carry

    def stop(self, batch: int, item: int) -> bool:
        with self._lock:
            parcel = self._flights.find(batch, item)
            link = self._link
        if parcel is None or link is None:
            return False
        try:
            where = link.withdraw(parcel.number)
            if where == "waiting":
                self._events.put(("withdrawn", parcel.number, item))
                return True
            return bool(where) and link.stop_at(where, parcel.number, item - parcel.first)
        except (OSError, TimeoutError, RuntimeError):  # the connection is lost or being closed
            return False

    def call_back(self, batch: int) -> None:
        return  # asking the cluster takes longer than what was sent ahead

    def workers(self) -> Sequence[Worker]:
        return [worker for (_, number), worker in list(self._workers.items()) if number >= 0]

    def close(self) -> None:
        with self._lock:
            link, self._link = self._link, None
            carrier, self._carrier = self._carrier, None
            is_done = not self._flights.numbers()
        if link is not None:
            _open_engines.discard(self)
            self._events.put(None)
            link.close(ask_clocks=is_done)  # who tears calls down does not wait for that
        if carrier is not None and carrier is not threading.current_thread():
            carrier.join()
        if link is not None:
            self._take_last_measurements()
        self._workers.clear()
        self._shared.clear()
        if self._share_segments is not None:
            self._share_segments.close()

    def wait_until_nothing_is_out(self) -> None:
        """Wait until all that was sent, and what the executor sends as it comes home, is home."""
        with self._lock:
            while self._flights.numbers():
                self._nothing_out.wait()

    def _take_last_measurements(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if event is not None and event[0] == "measured":
                    self._take(event)
        self._events.put(None)  # where the thread that carries closes us, it has not read it yet

    # Shared objects ---------------------------------------------------------------------------------------------------

    @property
    def share_segments(self) -> Segments:
        with self._lock:
            if self._share_segments is None:
                self._share_segments = Segments(self._clock, idle_bytes_max=0)
                if self._link is None:
                    self._share_segments.close()
            return self._share_segments

    def publish(self, heavy: Heavy) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        from coeval.engines._dask._link import Note

        name = self._share_prefix + heavy.number.to_bytes(NAME_BYTES - PREFIX_BYTES, "little")
        link = self._link
        if link is None:
            raise EngineError("the Dask engine is closed")
        self._shared[name] = heavy
        link.post(Note(["shared", name, memory_host(), pickle.dumps(heavy, 5)]))
        return find, (name,)

    def withdraw(self, heavy: Heavy) -> None:
        # From finalizers too, at any moment in any thread: no lock is taken here.
        from coeval.engines._dask._link import Note

        name = self._share_prefix + heavy.number.to_bytes(NAME_BYTES - PREFIX_BYTES, "little")
        link, known = self._link, self._shared.pop(name, None)
        if link is not None and known is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                link.post(Note(["unshared", name]))

    def _tidy_shared(self) -> None:
        if self._share_segments is not None:
            self._share_segments.give_back()

    def _names_in(self, batch: Batch) -> set[bytes]:
        function, items = batch.function, batch.items
        names = self._function_names.get(function.number)
        if names is None:
            names = self._function_names[function.number] = names_in(function.body, self._share_prefix)
            if len(self._function_names) > FUNCTION_NAMES_MAX:
                self._function_names.pop(next(iter(self._function_names)), None)
        return names.union(
            *(
                names_in(payload, self._share_prefix)
                for payload in ([items.content] if isinstance(items, Packed) else items)
                if isinstance(payload, bytes)
            )
        )

    # The thread that carries home -------------------------------------------------------------------------------------

    def _leaves(self, number: int) -> bool:
        with self._lock:
            return self._flights.handed_over(number, self._clock.raw_ns())

    def _is_busy(self) -> bool:
        with self._lock:
            return bool(self._flights.numbers())

    def _carry_home(self) -> None:
        while (event := self._events.get()) is not None and self._link is not None:
            try:
                self._take(event)
                with self._lock:  # what follows from what came has been sent by now
                    if not self._flights.numbers():
                        self._nothing_out.notify_all()
            except Exception:
                # Our own broken invariant. Nobody must wait for ever for what will not come.
                logging.getLogger("coeval.engines.dask").critical(
                    "the Dask engine failed; please report this", exc_info=True
                )
                self._take(("broken", "the Dask engine failed; its log says why"))

    def _take(self, event: tuple[Any, ...]) -> None:
        now_ns = self._clock.raw_ns()
        match event:
            case ("came", number, address, content, alive, seen_ns):
                self._came(address, pickle.loads(content), seen_ns)
                self._bury(address, *alive)
            case ("measured", address, me, snapshot, *stamps):
                worker, events = self._worker((address, -1), *me), (clock_event(Snapshot(*snapshot)),)
                self._deliver(Outcome(-1, 0, 0, (), None, Stamps(*stamps), worker, events))
            case ("begun", number, address, me):
                with self._lock:
                    self._flights.begun(number, self._worker((address, -1), *me))
            case ("lost", numbers, address, expected, known):
                self._lost(numbers, address, expected, known, now_ns)
            case ("unrun", number, fate, innocent, reason):
                if fate:
                    self._unrun(number, fate, innocent, reason, now_ns)
            case ("withdrawn", number, item):
                self._home(partial(self._flights.withdrawn, number, item, now_ns))
            case ("cluster", _, threads):
                grown, self._threads = threads > self._threads, threads
                self._size_known = True
                if grown:  # news without items: there is room for more
                    self._deliver(Outcome(-1, 0, 0, (), None, Stamps(0, 0, 0, now_ns), None))
            case ("broken", reason):
                self._size_known = True
                self._break(reason, now_ns)
            case _:
                raise AssertionError(f"unknown event {event!r}")

    def _came(self, address: str, outcomes: Sequence[Outcome], seen_ns: int) -> None:
        for outcome in outcomes:
            worker = outcome.worker
            if worker is not None:
                host, pid, clock, python = worker[1:]
                worker = self._worker((address, worker.number), host, pid, clock, python)
            outcome = outcome._replace(worker=worker)
            if outcome.batch < 0:
                self._deliver(outcome._replace(stamps=Stamps(0, 0, outcome.stamps.finished_ns, seen_ns)))
                continue
            self._home(partial(self._flights.came, outcome, seen_ns))

    def _bury(self, address: str, sending: int, *alive: int) -> None:
        if sending > self._sendings.get(address, 0):
            self._sendings[address] = sending
            for key in list(self._workers):
                if key[0] == address and key[1] >= 0 and key[1] not in alive:
                    del self._workers[key]

    def _lost(self, numbers: Sequence[int], address: str, expected: bool, known: str, now_ns: int) -> None:
        message = f"Dask's scheduler lost worker {address}"
        if known:
            message += f": {known}"
        for number in numbers:
            self._home(partial(self._flights.lost, number, message, expected=expected, now_ns=now_ns))
        self._sendings.pop(address, None)
        for key in list(self._workers):
            if key[0] == address:
                del self._workers[key]

    def _unrun(self, number: int, fate: str, innocent: bool, reason: str, now_ns: int) -> None:
        if innocent and fate == "waiting":
            failure = Failure("moved")
        else:
            failure = Failure("engine", message=f"its Dask task failed: {reason}")
        self._home(partial(self._flights.failed, number, failure, now_ns))

    def _break(self, reason: str, now_ns: int) -> None:
        with self._lock:
            self._broken = reason
            numbers = self._flights.numbers()
        for number in numbers:
            self._home(partial(self._flights.failed, number, Failure("engine", message=reason), now_ns))

    def _home(self, decide: Callable[[], list[Outcome]]) -> None:
        with self._lock:
            outcomes = [ready for outcome in decide() for ready in self._flights.in_order(outcome)]
        for outcome in outcomes:
            self._deliver(outcome)

    def _worker(self, key: _Key, host: str, pid: int, clock: str, python: str) -> Worker:
        known = self._workers.get(key)
        if known is None or known.pid != pid:
            known = self._workers[key] = Worker(self._numbers, host, pid, ClockId(clock), python)
            self._numbers += 1
        return known


_open_engines: weakref.WeakSet[DaskEngine] = weakref.WeakSet()


def _wait_at_exit() -> None:
    """The program ends without having closed its executors; unless it was interrupted, their calls go on first."""
    if isinstance(getattr(sys, "last_value", None), KeyboardInterrupt):
        return
    with contextlib.suppress(KeyboardInterrupt):  # the executor's own hook does the rest
        for engine in list(_open_engines):
            engine.wait_until_nothing_is_out()


# Not atexit: by then the interpreter has ended all thread pools, and Dask cannot work without.
threading._register_atexit(_wait_at_exit)  # type: ignore[attr-defined]  # as concurrent.futures does
