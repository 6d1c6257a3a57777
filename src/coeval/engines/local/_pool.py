"""
The local engine: worker processes and their pipes, served by whoever waits for a result.

    any thread          whoever reads (one thread at a time)                 a worker (own process group)
    ──────────          ────────────────────────────────────                 ────────────────────────────
    send, stop ──> PoolState ──> HandOver ────────────────── commands ─────> batch after batch
                       ^                                                          │
                       └──────── pieces <── epoll <───────── results <────────────┘
                                 ends   <── the starter (`_starters.py`)
                                 board (shared page, read when it matters) <──── item, start

What to do about each fact is decided in `_pool_state.py`; this file does it. Three locks: `_reading` is held by the one
thread that reads; `_lock` guards the state, for as long as a decision and its writes take, and may be taken under it;
`_bringing` is held by the one thread that delivers outcomes, in their order, with neither of the others held, as
delivering runs callbacks.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import weakref
from collections import deque

from coeval.clocks import SYSTEM_CLOCK
from coeval.engines._attempt import Piece
from coeval.engines._engine import Capabilities, Failure, Outcome, Stamps, Worker
from coeval.engines._segments import Heavy, Segments
from coeval.engines._this_core import Elsewhere
from coeval.engines.local._board import BLANK, ROW_BYTES, Board
from coeval.engines.local._channel import raised
from coeval.engines.local._cores import usable_cores, workers_max_of
from coeval.engines.local._crowding import Crowding
from coeval.engines.local._frames import READ_BYTES_MAX, FrameReader, frame
from coeval.engines.local._helper import Helper
from coeval.engines.local._interrupts import Uninterrupted
from coeval.engines.local._launch import pipe_above_standard_streams
from coeval.engines.local._memory_kills import MemoryKills
from coeval.engines.local._parcels import Parcels, parcel_channel
from coeval.engines.local._pool_state import (
    CallBack,
    EndWorker,
    Exit,
    HandOver,
    LetGo,
    PoolState,
    StartWorker,
)
from coeval.engines.local._preload import modules_worth_preloading
from coeval.engines.local._slate import LastWords, SlateView, StackRequest, answers
from coeval.engines.local._starters import Ended, NotStarted, Reaped, Started, starter_of
from coeval.recording._event import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from coeval.clocks import Clock
    from coeval.engines._engine import Batch, Function, RunningItem
    from coeval.engines._protocol import Deliver, Returned
    from coeval.engines._segments import Parcel
    from coeval.engines.local._board import BoardReading
    from coeval.engines.local._launch import LaunchedServer
    from coeval.engines.local._pool_state import Action
    from coeval.engines.local._starters import Method, Starter
    from coeval.recording._event import Fields

# A worker that is idle when the pool is closed may run its atexit functions (coverage writes its data there) this long.
CLOSE_GRACE_S = 1.0

# Function bodies that one worker keeps. A program that makes a new lambda for each call, or binds an array to each,
# must not fill it.
FUNCTIONS_KEPT_MAX = 256
FUNCTION_BYTES_KEPT_MAX = 1 << 26

# Small calls of a backlog travel together, up to so many, and up to so much work.
# Fewer: each frame's price shows, 50 us on both sides where calls are short, and up to 400 where they last long enough
# for what a frame needs to have left the caches (with 20 ms calls of 0.1 and 1 ms used 0.69 and 0.90 of two cores, with
# 30 ms 0.76 and 0.91). More: results come home later.
BATCH_ITEMS_MAX = 512
BATCH_NS = 30_000_000

# While results stream in, limits and what waits are looked at so often.
LOOK_EVERY_NS = 1_000_000

# A thread that wants to read waits at most so long for the helper to stop reading, and one that closes the pool for
# another thread to deliver what came last.
GIVE_WAY_S_MAX = 0.05


class LocalEngine:
    """
    Workers that are processes of this machine.

    Workers start when there is work for them, at most `max_workers`; one that ends is replaced when it is needed again.
    `min_workers` of them start at once; if one ends, another starts with the next call.

    Args:
        max_workers: None: one for each usable core, and no fewer than `min_workers`.
        min_workers: they find the surroundings (directory, environment, levels of loggers) of the time of `start`.
        start_method: "server", "fork" or "spawn", see `_starters.py`.
        preload: modules to import before workers are forked, besides those that the program uses.
        initializer, initargs: called in each worker before its first call.
        recycle_after: a worker leaves after so many calls, and a new one takes its place.
        recycle_after_bytes: likewise one that after a call holds more resident memory than this for itself.
        labels_output: each line that a call prints says which call and process, and becomes an event.
        server: a fork server that was launched for this engine.
        results_leave_host: whoever gets the outcomes sends them on, so nothing may stay in this host's memory.
    """

    name = "local"

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        min_workers: int = 0,
        start_method: Method = "server",
        preload: Sequence[str] = (),
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[object] = (),
        recycle_after: int | None = None,
        recycle_after_bytes: int | None = None,
        labels_output: bool = False,
        server: LaunchedServer | None = None,
        results_leave_host: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._cores = usable_cores()
        self.workers_max = workers_max_of(min_workers, max_workers, self._cores)
        self.capabilities = Capabilities(
            separate_process=True,
            stops_running_work=True,
            time_limit=True,
            names_signal=True,
            same_host=True,
            memory_limit=sys.platform == "linux",
            stacks=True,
            batch_items_max=1 if recycle_after else BATCH_ITEMS_MAX,
            batch_ns=BATCH_NS,
        )
        self._start_method: Method = start_method
        self._preload = list(preload)
        self._server = server
        self.segments: Segments | None = None
        self._results_leave_host = results_leave_host
        self._size_max = recycle_after_bytes
        self._labels_output = labels_output
        self._initializer = _packed(initializer, initargs)
        self._clock = clock
        self._state = PoolState(self.workers_max, recycle_after, min_workers)
        self._workers: dict[int, _Worker] = {}
        self._by_fd: dict[int, _Worker] = {}
        self._crowding = Crowding()
        self._first_function = ""
        self._preloaded_for: str | None = None  # that function, or "" before there was one
        self._preloaded: set[str] = set()
        self._bell = -1
        self._make_locks()
        self._outbox: deque[Outcome] = deque()
        self._helper = Helper(self)
        self._helper_reads = False
        self._reader_is_wanted = False  # somebody waits to read in the helper's place
        self._reads_until_ns = 0  # when whoever reads looks at the clock again; 0: never
        self._looked_ns = 0  # when it did
        self._is_being_closed = False
        self.is_closing = False
        self.is_busy = False
        self.reads = 0
        self._is_open = False
        self._closed = threading.Event()

    def _make_locks(self) -> None:
        self._lock = threading.Lock()
        self._bell_lock = threading.Lock()
        # These two know their owner. An interrupt may come between acquiring and noting it; and whoever delivers may
        # be called back from there.
        self._reading = threading.RLock()
        self._bringing = threading.RLock()
        self.is_being_read = False

    # The contract -----------------------------------------------------------------------------------------------------

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._starter: Starter = starter_of(
            self._start_method, preload=self._preload, workers_max=self.workers_max, server=self._server
        )
        self._server = None
        self._starter_fd = self._starter.fd
        try:
            self._epoll = select.epoll()
            if self._epoll.fileno() <= 2:  # else a worker would print into it
                self._epoll = select.epoll.fromfd(raised(os.dup(self._epoll.fileno())))
            self._bell = raised(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
            # A place of a worker that is being buried is not free yet.
            self._board = Board(2 * self.workers_max + 2)
        except BaseException:
            self._starter.close()
            raise
        self._epoll.register(self._bell, select.EPOLLIN)
        self._epoll.register(self._starter.fd, select.EPOLLIN)
        self._memory_kills = MemoryKills()
        self._is_open = True
        if not self._results_leave_host:
            self.segments = Segments(self._clock)
        _pools.add(self)
        with Uninterrupted(), self._lock:
            self._do(self._state.opened())
            # Whoever sends first, or asks, reads that they are ready. A thread that did it now would take the
            # interpreter from what this program does meanwhile, eleven milliseconds of an import with eight workers.
            self.is_busy = not self._state.is_quiet()

    def window(self) -> int:
        # What waits is better off with the executor, where it can be cancelled.
        return self._state.window()

    def send(self, batch: Batch) -> None:
        with Uninterrupted():
            with self._lock:
                if self.is_closing:
                    raise RuntimeError("the local pool is closed")
                if not self._first_function:
                    self._helper.start()
                    self._first_function = batch.function.name
                self._do(self._state.batch_sent(batch))
                self.is_busy = True
                if self.is_being_read:
                    self._tell_reader()
            # Asked here already, as most often there is nothing: this is done for each call.
            if self._outbox or self._helper.sleeps:
                self._after_change()

    def pump(self, is_wanted: Callable[[], bool], timeout_s: float | None) -> None:
        wait_ns = None if timeout_s is None else round(timeout_s * 1e9)
        deadline_ns = None if wait_ns is None else self._clock.raw_ns() + wait_ns
        if self._outbox:  # as where a callback waits
            with Uninterrupted():
                self._bring()
        while self.is_busy and self._read(is_wanted, wait_ns):
            if deadline_ns is not None and (wait_ns := deadline_ns - self._clock.raw_ns()) <= 0:
                break
        if self.is_busy and not self.is_being_read:
            self._helper.wake()

    def stop(self, batch: int, item: int) -> bool:
        with Uninterrupted():
            with self._lock:
                if self.is_closing:
                    return False
                actions = self._state.stop_asked(batch, item, self._boards(), self._clock.raw_ns())
                self._do(actions)
                self._tell_reader()
            self._after_change()
        return bool(actions)

    def call_back(self, batch: int) -> None:
        with Uninterrupted():
            with self._lock:
                if self.is_closing:
                    return
                self._do(self._state.called_back(batch, self._boards(), self._clock.raw_ns()))
                self._tell_reader()
            self._after_change()

    def _boards(self) -> dict[int, BoardReading]:
        return {number: self._board.read(worker.row) for number, worker in self._workers.items()}

    def running(self) -> Sequence[RunningItem]:
        with self._lock:
            return [item for _, item in self._running()]

    def stacks(self) -> Sequence[tuple[RunningItem, str]]:
        with self._lock:
            asked = [(item, _ask(self._workers[number].slate, item.worker.pid)) for number, item in self._running()]
        return answers(asked)

    def _running(self) -> list[tuple[int, RunningItem]]:
        """What runs now, by the worker's number; called with the lock held."""
        if self.is_closing:
            return []
        running = self._state.running(self._boards(), self._clock.raw_ns())
        return [(number, item) for number, item in running if self._workers[number].how is None]

    def workers(self) -> Sequence[Worker]:
        return self._state.workers()

    def close(self) -> None:
        with self._lock:
            is_first, self._is_being_closed = not self._is_being_closed, True
            self.is_closing = True
        if not self._is_open:
            if self._server is not None:  # it was launched, and is not wanted
                server, self._server = self._server, None
                starter_of("server", preload=self._preload, workers_max=self.workers_max, server=server).close()
            return
        if is_first:
            with Uninterrupted():
                try:
                    self._ring()
                    self._helper.wake()
                    self._reading.acquire()  # for good: nobody reads any more
                    self._take_last()
                    self._end_everything()
                finally:
                    self._closed.set()
        self._closed.wait()
        this_thread = threading.current_thread()
        if self._helper.thread is not None and self._helper.thread is not this_thread:
            self._helper.thread.join()

    # Reading ----------------------------------------------------------------------------------------------------------

    def read_for_everybody(self) -> None:
        """The helper reads until there is nothing to read for, or somebody else wants to."""
        self._helper_reads = True
        while self._read(self._is_left_to_helper, None):
            pass
        self._helper_reads = False

    def _is_left_to_helper(self) -> bool:
        return not self._reader_is_wanted

    def _relieve_helper(self) -> bool:
        """Read in the helper's place; False: it is somebody else who reads."""
        if not self._helper_reads:
            return False
        self._reader_is_wanted = True
        self._ring()
        try:
            return self._reading.acquire(timeout=GIVE_WAY_S_MAX)
        finally:
            self._reader_is_wanted = False

    def _read(self, is_wanted: Callable[[], bool], wait_ns: int | None) -> bool:
        """
        Wait for news, at most so long, and take it.

        Returns:
            False if there is nothing to read for (any more), or another thread reads.
        """
        reading = self._reading
        try:
            is_held = reading.acquire(False) or (wait_ns != 0 and self._relieve_helper())
            # Whoever brings something home that nobody reads for any more looks afterwards whether somebody reads.
            if not is_held or not self.is_busy or self.is_closing or not is_wanted():
                return False
            self.is_being_read = True
            self.reads += 1
            events = self._wait(wait_ns)
            with Uninterrupted():
                is_sound = self._take(events)
                self.is_being_read = False
                reading.release()
                if is_sound:
                    self._bring()
                else:
                    self._fail()
            return True
        finally:
            # Asked of the lock itself, as an interrupt may come before what `acquire` returns is noted.
            if reading._is_owned() and not self._closed.is_set():  # type: ignore[attr-defined]  # as `Condition` does
                self.is_being_read = False
                reading.release()

    def _wait(self, wait_ns: int | None) -> list[tuple[int, int]]:
        poll = self._epoll.poll
        if wait_ns != 0 and self._state.busy_workers < self._cores:
            events = self._look()
            if events:
                return events
        with self._lock:
            look_ns = self._state.next_look_ns()
            self._reads_until_ns = look_ns or 0
        if look_ns is not None:
            until_look_ns = max(0, look_ns - self._clock.raw_ns())
            wait_ns = until_look_ns if wait_ns is None else min(wait_ns, until_look_ns)
        # Rounded up: waking a millisecond late costs nothing, waking early costs a second look.
        return poll(None if wait_ns is None else -(-wait_ns // 1_000_000) / 1000)

    def _look(self) -> list[tuple[int, int]]:
        """Look for news, for a moment: waking up takes longer than most short calls."""
        poll, raw_ns, crowding = self._epoll.poll, self._clock.raw_ns, self._crowding
        others_ns = 0
        for _ in range(crowding.looks()):
            # Letting others run, who may be whom we wait for, takes longer than a look.
            events = poll(0) or poll(0) or poll(0)
            if events:
                break
            yielded_ns = raw_ns()
            os.sched_yield()
            others_ns = max(others_ns, raw_ns() - yielded_ns)
        crowding.looked(others_ns, is_there=bool(events))
        return events

    def _take(self, events: list[tuple[int, int]]) -> bool:
        """See what there is; False: the pool is broken."""
        try:
            with self._lock:
                if self.is_closing:
                    return True
                for fd, _ in events:
                    worker = self._by_fd.get(fd)
                    if worker is not None and fd == worker.results:  # most often
                        self._read_results(worker)
                    elif worker is not None:
                        self._write(worker)
                    elif fd == self._starter_fd:
                        self._hear_starter()
                    elif fd == self._bell:
                        with contextlib.suppress(BlockingIOError):
                            os.eventfd_read(self._bell)
                now_ns = self._clock.raw_ns()
                if not events or now_ns - self._looked_ns >= LOOK_EVERY_NS:
                    self._look_at_workers(now_ns)
                self.is_busy = not self._state.is_quiet()
        except Exception:
            # Our own broken invariant. Nobody must wait for ever for calls that nobody serves.
            _warn("the local pool failed; please report this", exc_info=True)
            return False
        return True

    def _look_at_workers(self, now_ns: int) -> None:
        """See what they did without a word; called with the lock held."""
        self._looked_ns = now_ns
        due = self._state.looks_due(now_ns)
        if due:
            boards = {number: self._board.read(self._workers[number].row) for number in due}
            for number, board in boards.items():
                self._take_kept(self._workers[number], board)
            self._do(self._state.time_passed(now_ns, boards))

    def _take_kept(self, worker: _Worker, board: BoardReading) -> None:
        """Take what a worker finished before the item that it runs, or ran, and has not sent."""
        try:
            kept = self._board.kept(worker.row, board)
        except Exception:  # a call wrote into what is not its own
            _warn("a worker's shelf holds what it did not put there", exc_info=True)
            self._starter.kill(worker.number)
            return
        if kept is not None:
            actions = self._state.kept_found(worker.number, board.batch, kept, self._clock.raw_ns())
            self._do(_with_parcels(actions, worker.parcels))

    def _read_results(self, worker: _Worker) -> None:
        while True:
            try:
                data = os.read(worker.results, READ_BYTES_MAX)
            except BlockingIOError:
                return
            if not data:  # closed: the starter tells the rest
                self._stop_reading(worker)
                return
            reader, added = worker.reader, data
            while True:
                try:
                    message = reader.take(added)
                    actions = self._take_message(worker, message) if message is not None else ()
                except Exception:  # a call wrote into a pipe that is not its own
                    _warn("a worker sent what is no frame", exc_info=True)
                    self._stop_reading(worker)
                    self._starter.kill(worker.number)
                    return
                if actions:
                    self._do(actions)
                if message is None or not reader.there:
                    break
                added = b""
            if len(data) < READ_BYTES_MAX or not worker.is_read:
                return

    def _take_message(self, worker: _Worker, message: tuple[Any, ...]) -> Sequence[Action]:
        """What follows from a worker's message."""
        seen_ns = self._clock.raw_ns()
        if type(message) is tuple and message[0] == "piece":  # most are
            _, turn, piece = message
            return self._state.piece_arrived(worker.number, turn, Piece.of_plain(piece), seen_ns)
        match message:
            case ("parcels", int(turn), tuple(fields)):
                actions = self._state.piece_arrived(worker.number, turn, Piece.of_plain(fields), seen_ns)
                return _with_parcels(actions, worker.parcels)
            case ("ready", str(host), int(pid), clock, str(python), Event() as snapshot):
                worker.pid = pid
                introduced = Worker(worker.number, host, pid, clock, python)
                # No item belongs to it: a batch id of -1 says so. Its snapshot was taken before it was sent, so the two
                # are a message between our clocks.
                stamps = Stamps(0, 0, snapshot.end_ns or 0, seen_ns)
                self._outbox.append(Outcome(-1, 0, 0, (), None, stamps, introduced, (snapshot,)))
                return self._state.worker_ready(worker.number, introduced)
            case ("large", int(size)):
                _log_replaced(worker.number, size, self._size_max)
                return self._state.worker_large(worker.number)
            case ("refused", str(reason)):
                worker.refusal = reason
                return []
            case _:
                raise ValueError(f"a worker sent {message!r:.200}")

    def _stop_reading(self, worker: _Worker) -> None:
        if worker.is_read:
            worker.is_read = False
            self._epoll.unregister(worker.results)

    def _hear_starter(self) -> None:
        for news in self._starter.events():
            worker = self._workers.get(news.number)
            if worker is None:
                continue
            match news:
                case Started():
                    pass
                case Ended(_, how):
                    if worker.is_read:
                        self._read_results(worker)
                    self._starter.kill(worker.number)  # what its calls left behind
                    worker.how = how
                    self._starter.reap(worker.number)
                    self._do(self._state.worker_ended(worker.number))
                case Reaped(_, peak) if worker.how is not None:
                    self._bury(worker, worker.how._replace(memory_bytes_peak=peak))
                case NotStarted(_, reason):
                    _warn("a worker cannot be started: %s", reason)
                    self._bury(worker, Exit("", None, reason))

    # Doing ------------------------------------------------------------------------------------------------------------

    def _do(self, actions: Sequence[Action]) -> None:
        """Carry out; called with the lock held."""
        for action in actions:
            # These two are of every call, and a `match` takes 0.2 us for each case.
            if type(action) is Outcome:
                self._outbox.append(action)
            elif self.is_closing:
                continue  # nothing begins any more
            elif type(action) is HandOver:
                self._hand_over(self._workers[action.number], action.batch, action.turn)
            else:
                self._do_seldom(action)

    def _do_seldom(self, action: Action) -> None:
        match action:
            case StartWorker(number):
                self._start(number)
            case EndWorker(number):
                self._starter.kill(number)
            case LetGo(number):
                self._close_commands(self._workers[number])
            case CallBack(number, key):
                self._board.call_back(self._workers[number].row, key)

    def _tell_reader(self) -> None:
        """Whoever reads may have to look at the clock earlier; called with the lock held."""
        if self.is_being_read:
            look_ns = self._state.next_look_ns()
            if look_ns is not None and not 0 < self._reads_until_ns <= look_ns:
                self._ring()

    def _after_change(self) -> None:
        """Something was done by a thread that does not read."""
        # Not from within a callback: whoever called that delivers the rest, and a callback that submits would nest
        # once more for each outcome.
        if self._outbox and not self._bringing._is_owned():  # type: ignore[attr-defined]  # as `Condition` does
            self._bring()
        if self.is_busy and not self.is_being_read:
            self._helper.wake()

    def _bring(self) -> None:
        """Deliver what waits for it, unless another thread does that: then it takes these along."""
        bringing, brought = self._bringing, False
        while self._outbox and bringing.acquire(False):
            try:
                while self._outbox:
                    self._deliver(self._outbox.popleft())
                    brought = True
            except BaseException:
                # Our own broken invariant, or what a callback may not raise. Nobody must wait for ever for it.
                _warn("the local pool failed; please report this", exc_info=True)
                self._fail()
            finally:
                bringing.release()
        if brought and self.is_being_read:
            self._ring()  # whoever reads may have been waiting for just this

    def _fail(self) -> None:
        """End the pool, and all that is outstanding."""
        with self._lock:
            self.is_closing = True  # from now on `send` refuses
            reason = "the local pool failed; its log says why"
            for action in self._state.failed(reason, self._clock.raw_ns()):
                assert isinstance(action, Outcome)
                self._outbox.append(action)
        while self._outbox:
            outcome = self._outbox.popleft()
            if outcome.batch >= 0:
                with contextlib.suppress(BaseException):  # each by itself
                    self._deliver(outcome._replace(values=(), failure=Failure("engine", message=reason)))
        # News without items: who still has something to send learns that it is refused.
        with contextlib.suppress(BaseException):
            self._deliver(Outcome(-1, 0, 0, (), None, Stamps(0, 0, 0, 0), None))
        self.close()

    def _ring(self) -> None:
        with self._bell_lock:
            if self._bell >= 0:  # else it is closed, and its number may be another file's
                os.eventfd_write(self._bell, 1)

    def _start(self, number: int) -> None:
        try:
            worker = _Worker(number)
        except OSError as error:
            self._never_started(number, error)
            return
        worker.row = self._board.take_row()
        self._workers[number] = worker
        self._by_fd[worker.results] = self._by_fd[worker.commands] = worker
        try:
            if self._preloaded_for != self._first_function:
                self._preloaded_for = self._first_function
                # None of them twice: the server may have died of it.
                names = [name for name in modules_worth_preloading(self._first_function) if name not in self._preloaded]
                self._preloaded.update(names)
                self._starter.preload(names)
            self._epoll.register(worker.results, select.EPOLLIN)
            worker.is_read = True
            self._starter.start(number, (*worker.theirs, self._board.fd), worker.row * ROW_BYTES)
        except OSError as error:
            self._forget(worker)
            self._never_started(number, error)
            return
        finally:
            worker.close_theirs()
        worker.unwritten += frame(
            {
                "levels": _logger_levels(),
                "slate": worker.slate.place,
                "initializer": self._initializer,
                "segments": not self._results_leave_host,
                "size_max": self._size_max,
                "labels_output": self._labels_output,
            }
        )
        self._write(worker)

    def _never_started(self, number: int, error: OSError) -> None:
        """No descriptors, or no memory: as if it had ended at once."""
        _warn("a worker cannot be started: %s", error)
        how = Exit("", None, f"{type(error).__name__}: {error}")
        self._do(self._state.worker_gone(number, how, BLANK, self._clock.raw_ns()))

    def _hand_over(self, worker: _Worker, batch: Batch, turn: int) -> None:
        try:
            function = batch.function
            # A body goes to a worker once.
            body = None if function.number in worker.functions else self._body_for(worker, function)
            memory_bytes = batch.limits.memory_bytes
            data = frame(("batch", turn, batch.attempt, function.number, body, batch.items, batch.calls, memory_bytes))
        except Exception as error:  # no memory; the worker may be busy with another one
            worker.functions.discard(batch.function.number)
            message = (
                f"it cannot be written down for a worker ({type(error).__qualname__}: {error}). "
                "Send it less at once, or what is large by ex.share(…)."
            )
            self._do(self._state.not_handed_over(worker.number, turn, message, self._clock.raw_ns()))
            return
        now_ns, written = self._clock.raw_ns(), 0
        is_refused = False
        if not worker.unwritten:  # most often all of it goes at once
            try:
                crowding, began_ns = self._crowding, now_ns
                if crowding.waits and self._state.has_one(worker.number) and crowding.parts(now_ns):
                    written = self._wake_elsewhere(worker, data)
                    began_ns = self._clock.raw_ns()
                written += os.write(worker.commands, data[written:] if written else data)
                crowding.wrote_ns = self._clock.raw_ns() - began_ns
            except BlockingIOError:
                pass
            except BrokenPipeError:
                is_refused = True
        # The worker has begun to read by now: what can be done later is.
        self._state.handed_over(worker.number, now_ns)
        if is_refused:
            self._state.refused(worker.number, now_ns)
        elif written < len(data):
            worker.unwritten += data[written:]
            self._write(worker)

    def _wake_elsewhere(self, worker: _Worker, data: bytes) -> int:
        """
        Write the beginning of a frame, so that its reader wakes up on another core than this.

        Not all of it: a call that began before the worker may be anywhere again would leave threads and children so.
        """
        elsewhere = Elsewhere(worker.pid)
        try:
            if elsewhere.begin():
                return os.write(worker.commands, data[:1])
        finally:
            elsewhere.end()
        self._crowding.was_apart()
        return 0

    def _body_for(self, worker: _Worker, function: Function) -> bytes:
        """The body of a function that a worker does not have; it is going to keep that, and may be told to forget."""
        body = function.body
        worker.function_bytes += len(body)
        if len(worker.functions) >= FUNCTIONS_KEPT_MAX or worker.function_bytes > FUNCTION_BYTES_KEPT_MAX:
            worker.functions.clear()
            worker.function_bytes = len(body)
            worker.unwritten += frame(("forget",))
        worker.functions.add(function.number)
        return body

    def _write(self, worker: _Worker) -> None:
        try:
            while worker.unwritten:
                written = os.write(worker.commands, memoryview(worker.unwritten)[:READ_BYTES_MAX])
                del worker.unwritten[:written]
        except BlockingIOError:
            if not worker.is_written:
                worker.is_written = True
                self._epoll.register(worker.commands, select.EPOLLOUT)
            return
        except BrokenPipeError:
            worker.unwritten.clear()  # it has ended; the starter tells the rest
        if worker.is_written:
            worker.is_written = False
            self._epoll.unregister(worker.commands)

    def _close_commands(self, worker: _Worker) -> None:
        if worker.is_written:
            worker.is_written = False
            self._epoll.unregister(worker.commands)
        if worker.commands >= 0:
            del self._by_fd[worker.commands]
            os.close(worker.commands)
            worker.commands = -1

    def _bury(self, worker: _Worker, how: Exit) -> None:
        board = self._board.read(worker.row)
        self._take_kept(worker, board)
        words = worker.slate.last_words(how.signal)
        events = [*words.events, *_told_dropped(words)]
        how = how._replace(call=words.call, lines=words.lines, crash=words.crash, events=events)
        if how.signal == "SIGKILL" and self._memory_kills.account_for_one():
            how = how._replace(is_out_of_memory=True)
        self._forget(worker)
        if worker.refusal:
            how = how._replace(refusal=worker.refusal)
        self._do(self._state.worker_gone(worker.number, how, board, self._clock.raw_ns()))

    def _forget(self, worker: _Worker) -> None:
        self._stop_reading(worker)
        self._close_commands(worker)
        del self._by_fd[worker.results]
        os.close(worker.results)
        worker.parcels.close()
        worker.slate.close()
        self._board.give_row_back(worker.row)
        del self._workers[worker.number]

    # The end ----------------------------------------------------------------------------------------------------------

    def _take_last(self) -> None:
        """What workers had finished and sent before all was to end comes home. Nothing new begins."""
        try:
            with self._lock:
                for worker in list(self._workers.values()):
                    if worker.is_read:
                        self._read_results(worker)
        except Exception:
            _warn("the local pool failed; please report this", exc_info=True)
        self._bring()
        # Another thread may be delivering; but it may as well be waiting for us, in a callback.
        if self._bringing.acquire(timeout=GIVE_WAY_S_MAX):
            self._bringing.release()

    def _end_everything(self) -> None:
        with self._lock:
            leaving = set()
            for number, worker in self._workers.items():
                if worker.how is not None:
                    continue  # it has ended
                if self._state.is_idle(number) and worker.is_read:
                    self._close_commands(worker)
                    leaving.add(number)
                else:
                    self._starter.kill(number)
        self._let_leave(leaving)
        self._starter.close()
        if self.segments is not None:
            self.segments.close()
        with self._lock:
            for worker in list(self._workers.values()):
                self._forget(worker)
            self._epoll.close()
            with self._bell_lock:
                os.close(self._bell)
                self._bell = -1
            self._board.close()
            self._state = PoolState(self.workers_max)
            self.is_busy = False
        _pools.discard(self)

    def _let_leave(self, leaving: set[int]) -> None:
        """Idle workers may leave by themselves."""
        poll = select.poll()
        poll.register(self._starter.fd, select.POLLIN)
        deadline_ns = self._clock.raw_ns() + round(CLOSE_GRACE_S * 1e9)
        while leaving:
            left_ms = (deadline_ns - self._clock.raw_ns()) // 1_000_000
            if left_ms <= 0 or not poll.poll(left_ms):
                return
            leaving -= {news.number for news in self._starter.events() if isinstance(news, Ended | NotStarted)}

    def close_in_forked_child(self) -> None:
        """After `os.fork` all of this is the parent's business; the child closes its copies, and ends nothing."""
        self._is_being_closed = self.is_closing = True
        self.is_busy = False
        self._make_locks()
        self._helper = Helper(self)
        self._closed = threading.Event()
        self._closed.set()
        self._outbox.clear()
        self._epoll.close()
        for fd in (self._bell, *self._by_fd):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._bell = -1
        for worker in self._workers.values():
            worker.parcels.close()
        # The board, and what workers write on, stay: the child may be a worker that was forked right here.
        self._by_fd.clear()
        self._workers.clear()


_pools: weakref.WeakSet[LocalEngine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool.close_in_forked_child()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Worker:
    """
    One worker's pipes, and what is known of it here.

    Attributes:
        commands, results, parcels: our ends; they never block.
        theirs: the worker's.
        pid: 0 until it is ready.
        how: it ended; None: it runs.
    """

    __slots__ = (
        "commands",
        "function_bytes",
        "functions",
        "how",
        "is_read",
        "is_written",
        "number",
        "parcels",
        "pid",
        "reader",
        "refusal",
        "results",
        "row",
        "slate",
        "theirs",
        "unwritten",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        with contextlib.ExitStack() as undo:
            commands_read, self.commands = pipe_above_standard_streams()
            undo.callback(_close_all, (commands_read, self.commands))
            self.results, results_write = pipe_above_standard_streams()
            undo.callback(_close_all, (self.results, results_write))
            parcels, their_parcels = parcel_channel()
            undo.callback(parcels.close)
            undo.callback(their_parcels.close)
            self.slate = SlateView()
            undo.pop_all()
        self.parcels = Parcels(parcels)
        self.theirs = commands_read, results_write, their_parcels.detach()
        os.set_blocking(self.commands, False)
        os.set_blocking(self.results, False)
        self.row = -1
        self.pid = 0
        self.reader = FrameReader()
        self.refusal = ""
        self.how: Exit | None = None
        self.is_read = self.is_written = False
        self.functions: set[int] = set()
        self.function_bytes = 0
        self.unwritten = bytearray()

    def close_theirs(self) -> None:
        """The worker has them by now."""
        _close_all(self.theirs)


def _close_all(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def _with_parcels(actions: list[Action], parcels: Parcels) -> list[Action]:
    """Put the large results that came beside a piece where it tells of them."""
    return [
        action._replace(values=[_claimed(value, parcels) for value in action.values])
        if type(action) is Outcome
        else action
        for action in actions
    ]


def _claimed(value: Returned | Parcel, parcels: Parcels) -> Returned | Parcel:
    return parcels.claim(value) if isinstance(value, Heavy) else value


def _ask(slate: SlateView, pid: int) -> StackRequest | str:
    try:
        return slate.ask(pid)
    except OSError as error:
        return f"its worker cannot be asked: {error.strerror}"


def _packed(initializer: Callable[..., object] | None, initargs: Sequence[object]) -> bytes | None:
    if initializer is None:
        return None
    import functools

    from coeval.engines._payload import dump

    return dump(functools.partial(initializer, *initargs))


def _warn(text: str, *values: object, exc_info: bool = False) -> None:
    try:
        import logging  # most programs never need it
    except OSError:  # no descriptors, which may be what it is about
        sys.stderr.write(f"coeval: {text % values}\n")
        return
    logging.getLogger("coeval.engines.local").warning(text, *values, exc_info=exc_info)


def _told_dropped(words: LastWords) -> list[Event]:
    """What stands for the records of a dead worker's call that its slate had no room for."""
    if not words.dropped or not words.events:
        return []
    message = f"{words.dropped} earlier records of this call were lost with its worker"
    fields: Fields = {"level": 30, "message": message, "file": __file__, "line": 0}
    return [words.events[-1]._replace(kind="log", end_ns=None, name="coeval.engines.local", fields=fields)]


def _log_replaced(number: int, size: int, size_max: int | None) -> None:
    if "logging" in sys.modules:  # else nobody listens
        import logging

        log = logging.getLogger("coeval.engines.local")
        log.info("worker %d is replaced: it holds %d bytes of memory, recycle_after is %s", number, size, size_max)


def _logger_levels() -> dict[str, int]:
    """The levels that the caller set, so that a worker makes the records which the caller would, and no others."""
    if "logging" not in sys.modules:  # nobody has set any
        return {}
    import logging

    levels = {"": logging.getLogger().level}
    for name, logger in list(logging.getLogger().manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET:
            levels[name] = logger.level
    return levels
