"""
From submit to the one outcome: what waits, what is with the engine, what comes back.

    submit ──> waiting ──(the engine's window has room)──> in flight ──> outcome ──> future
                  ^                                            │
                  └── tried again (policy), or moved ──────────┘

This is the only owner of that state; one lock guards it. Engines are called and futures are resolved without the lock,
as both may run other people's code.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import logging
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import InvalidStateError
from dataclasses import dataclass
from typing import NamedTuple

from coeval.clocks import Clock
from coeval.engines import Batch, Engine, Failure, Function, Limits, Outcome, Worker
from coeval.engines._payload import load
from coeval.errors import CallStopped, EngineError
from coeval.executor._batching import Pace
from coeval.executor._call import Call, CallFuture
from coeval.executor._failures import exception_of, unreadable_result
from coeval.executor._logs import hand_to_logging
from coeval.executor._statistics import Statistics
from coeval.recording import Recorder
from coeval.recording._rows import EventRow, ExchangeRow, FailureRow, ItemRow, OutcomeRow, SentRow

# A call whose workers end so often while they take it up fails: its arguments may be too much for any of them.
# Fewer: somebody who kills idle workers fails calls. More: each try costs a worker's start.
MOVES_MAX = 3


class _Flight(NamedTuple):
    """A batch that the engine has."""

    batch: Batch
    calls: Sequence[Call]
    left: list[int]  # one cell: items that have not come home


class _Here(threading.local):
    """What this thread is doing."""

    is_sending = False


@dataclass(slots=True)
class _Counts:
    submitted: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    running: int = 0
    waiting: int = 0


class Dispatch:
    """
    Sends calls to an engine, as many as its window takes, and resolves their futures.

    Args:
        engine: not started yet; belongs to this object from now on.
        recorder: likewise.
    """

    def __init__(self, engine: Engine, recorder: Recorder, clock: Clock) -> None:
        self.engine = engine
        self.recorder = recorder
        self._clock = clock
        self._lock = threading.Lock()
        self._nothing_left = threading.Condition(self._lock)
        # Calls of one list share function, options and attempt: they travel as one batch.
        self._waiting: deque[list[Call]] = deque()
        self._in_flight: dict[int, _Flight] = {}
        self._pace = Pace(engine.capabilities.batch_items_max)
        self._counts = _Counts()
        self._here = _Here()
        self._next_call = 0
        self._next_batch = 0
        # Threads that are bringing an outcome home: its futures are not resolved yet, so it is not the end yet.
        self._delivering: list[int] = []
        self._closed = False  # no new calls
        self._ended = False  # engine and recorder are closed or being closed
        self._ended_event = threading.Event()
        try:
            engine.start(self._deliver)
        except BaseException:
            recorder.close(finished=0, failed=0, cancelled=0)
            raise
        _open_dispatches.add(self)

    # In ---------------------------------------------------------------------------------------------------------------

    def number_calls(self, count: int) -> int:
        """
        Reserve the numbers of the next `count` calls.

        Raises:
            RuntimeError: the executor is shut down (as the standard executors say it).
        """
        with self._lock:
            self._check_open()
            first, self._next_call = self._next_call, self._next_call + count
            return first

    def submit(self, calls: list[Call]) -> None:
        """
        Take calls that share function and options; they travel together.

        Raises:
            RuntimeError: the executor was shut down meanwhile.
        """
        with self._lock:
            self._check_open()
            self._counts.submitted += len(calls)
            self._counts.waiting += len(calls)
            self._waiting.append(calls)
        self._feed()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def fail_unsent(self, future: CallFuture, error: BaseException) -> None:
        """Resolve a call that cannot even be sent."""
        with self._lock:
            self._counts.submitted += 1
            self._counts.failed += 1
        future.set_running_or_notify_cancel()
        future.set_exception(error)
        self._end_if_nothing_left()

    def stop(self, future: CallFuture) -> bool:
        """End one call, whether it waits or runs."""
        if future.cancel():
            return True
        call = future.call
        if call is None:
            return False
        with self._lock:
            batch, item = call.batch, call.item
        return batch >= 0 and self.engine.stop(batch, item)

    # To the engine ----------------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        while True:
            with self._lock:
                if self._ended or not self._waiting or len(self._in_flight) >= self.engine.window():
                    break
                flight = self._make_flight(self._next_calls())
            if flight is None:
                continue
            was_sending, self._here.is_sending = self._here.is_sending, True
            try:
                self.engine.send(flight.batch)
            except Exception as error:
                self._refused(flight, error)
            except BaseException as error:  # Ctrl-C: whether it went or not, nobody shall wait for it
                self._refused(flight, error)
                raise
            finally:
                self._here.is_sending = was_sending
        self._end_if_nothing_left()

    def _feed_after_outcome(self) -> None:
        # An engine that delivers from within `send` comes back to the loop that sent; feeding here as well would nest
        # a level deeper with each try.
        if self._waiting and not self._here.is_sending:
            self._feed()

    def _next_calls(self) -> list[Call]:
        """Take the calls of the next batch from the queue; called with the lock held."""
        calls = self._waiting.popleft()
        first = calls[0]
        if first.attempt > 0:  # tried again: by itself
            return calls
        wanted = self._pace.items(first.function.number, self._counts.waiting, self.engine.window())
        while self._waiting and len(calls) + len(self._waiting[0]) <= wanted:
            other = self._waiting[0][0]
            if other.attempt > 0 or not other.travels_with(first):
                break
            calls += self._waiting.popleft()
        return calls

    def _make_flight(self, calls: list[Call]) -> _Flight | None:
        # A call that is tried again is running already, for everybody outside.
        sent = []
        for call in calls:
            if call.attempt > 0 or call.future.set_running_or_notify_cancel():
                sent.append(call)
            else:
                call.let_go()
        self._counts.waiting -= len(calls)
        self._counts.cancelled += len(calls) - len(sent)
        if not sent:
            return None
        first = sent[0]
        number, self._next_batch = self._next_batch, self._next_batch + 1
        for item, call in enumerate(sent):
            call.batch, call.item = number, item
            call.attempt = max(call.attempt, 1)
        batch = Batch(
            number,
            first.attempt,
            first.function,
            [call.payload for call in sent],
            [call.number for call in sent],
            first.options.limits,
        )
        self._counts.running += len(sent)
        flight = self._in_flight[number] = _Flight(batch, sent, [len(sent)])
        labels = [call.options.name for call in sent] if any(call.options.name for call in sent) else ()
        self.recorder.append(
            SentRow(
                self.recorder.executor,
                number,
                first.attempt,
                first.function.number,
                batch.calls,
                self._clock.raw_ns(),
                labels,
            )
        )
        return flight

    def _refused(self, flight: _Flight, error: BaseException) -> None:
        with self._lock:
            if self._in_flight.pop(flight.batch.id, None) is None:  # all of it came home, or it was torn down
                return
            self._counts.running -= flight.left[0]
            self._counts.failed += flight.left[0]
        reason = str(error) or type(error).__name__
        for call in flight.calls:
            if call.batch == flight.batch.id and not call.future.done():
                call.future.set_exception(EngineError(f"{call} was not run: the engine refused it: {reason}"))
                call.let_go()

    # Home -------------------------------------------------------------------------------------------------------------

    def _deliver(self, outcome: Outcome) -> None:
        """Take what the engine brings (see `engines.Deliver`)."""
        if outcome.batch < 0:
            process = self._process_of(outcome.worker)
            self._record_events(outcome, process)
            if process >= 0 and any(outcome.stamps[:3]):
                self.recorder.append(ExchangeRow(self.recorder.executor, process, *outcome.stamps))
            self._feed()  # a worker more may be room for a batch more
            return
        this_thread = threading.get_ident()
        with self._lock:
            self._delivering.append(this_thread)
        try:
            self._bring_home(outcome)
        finally:
            with self._lock:
                self._delivering.remove(this_thread)
            self._end_if_nothing_left()

    def _bring_home(self, outcome: Outcome) -> None:
        with self._lock:
            flight = self._in_flight.get(outcome.batch)
            if flight is None:  # ended meanwhile: its futures are resolved
                return
            calls = flight.calls[outcome.first : outcome.first + outcome.item_count]
            flight.left[0] -= outcome.item_count
            if flight.left[0] == 0:
                del self._in_flight[outcome.batch]
            self._counts.running -= outcome.item_count
            if outcome.failure is None:
                duration_ns = outcome.stamps.finished_ns - outcome.stamps.started_ns
                self._pace.observe(flight.batch.function.number, outcome.item_count, duration_ns)
            outcome = _checked_move(outcome, flight)
            again = self._again(flight, calls, outcome.failure)
        try:
            process = self._process_of(outcome.worker)
            self._record(outcome, process, calls, flight.batch, final=not again)
            self._record_events(outcome, process)
            if again:
                self._feed_after_outcome()
            else:
                self._feed_then_resolve(outcome, flight.batch, calls)
        except BaseException as error:
            # Our own broken invariant, or what a callback may not raise. Nobody shall wait for ever because of it.
            for call in calls:
                if call.batch == flight.batch.id and not call.future.done():
                    call.future.set_exception(EngineError(f"the outcome of {call} was lost to {error!r}"))
            raise

    def _again(self, flight: _Flight, calls: Sequence[Call], failure: Failure | None) -> bool:
        """Put calls back that are to run (again); called with the lock held."""
        if failure is None:
            return False
        moved = failure.kind == "moved"
        if not moved and not all(call.options.retry.tries_again(failure, call.attempt) for call in calls):
            return False
        if not moved:
            self._counts.retried += len(calls)
            for call in calls:
                call.attempt += 1
        for call in calls:
            call.batch = call.item = -1
        self._counts.waiting += len(calls)
        self._waiting.appendleft(list(calls))
        return True

    def _feed_then_resolve(self, outcome: Outcome, batch: Batch, calls: Sequence[Call]) -> None:
        # First new work for the worker that became free, then what may take long here: rebuilding results.
        with self._lock:
            self._counts.finished += outcome.item_count if outcome.failure is None else 0
            self._counts.failed += outcome.item_count if outcome.failure is not None else 0
        try:
            self._feed_after_outcome()
        finally:
            self._resolve(outcome, batch, calls)

    def _resolve(self, outcome: Outcome, batch: Batch, calls: Sequence[Call]) -> None:
        failed = 0
        for position, call in enumerate(calls):
            if outcome.failure is None:
                failed += not self._resolve_value(call, outcome.values[position], outcome)
            else:
                call.future.set_exception(self._exception(call, outcome.failure, outcome.worker, batch.limits))
            call.batch = call.item = -1
            call.let_go()
        if failed:
            with self._lock:
                self._counts.finished -= failed
                self._counts.failed += failed

    def _resolve_value(self, call: Call, payload: bytes, outcome: Outcome) -> bool:
        try:
            value = load(payload)
        except BaseException as error:
            made = unreadable_result(
                error,
                function=call.function.name,
                arguments=call.arguments(values=True),
                attempt=call.attempt,
                worker=outcome.worker,
            )
            self._record_failure(
                call, outcome.batch, call.item, "result", type(error).__qualname__, str(error), final=True
            )
            call.future.set_exception(made)
            return False
        if call.keep is not None:
            try:
                call.keep(payload)
            except Exception:  # as a full disk's warning where warnings are errors
                logging.getLogger("coeval.executor").exception("the result of %s is not kept", call)
        call.future.set_result(value)
        return True

    def _exception(self, call: Call, failure: Failure, worker: Worker | None, limits: Limits) -> BaseException:
        return exception_of(
            failure,
            function=call.function.name,
            arguments=call.arguments(values=True),
            attempt=call.attempt,
            worker=worker,
            limit_s=limits.time_s,
        )

    # Writing down -----------------------------------------------------------------------------------------------------

    def note_function(self, function: Function) -> None:
        """Write down a function that is new in this executor."""
        from hashlib import sha256

        from coeval.recording._rows import FunctionRow

        digest = sha256(function.body).hexdigest()
        self.recorder.append(FunctionRow(self.recorder.executor, function.number, function.name, digest))

    def _process_of(self, worker: Worker | None) -> int:
        if worker is None:
            return -1
        return self.recorder.process_of(
            worker.number, role="worker", host=worker.host, pid=worker.pid, clock=worker.clock, python=worker.python
        )

    def _record(self, outcome: Outcome, process: int, calls: Sequence[Call], batch: Batch, *, final: bool) -> None:
        executor, failure = self.recorder.executor, outcome.failure
        kind = failure.kind if failure is not None else "ok"
        self.recorder.append(
            OutcomeRow(executor, batch.id, outcome.first, outcome.item_count, kind, process, *outcome.stamps)
        )
        for item in outcome.item_stamps:
            self.recorder.append(ItemRow(executor, batch.id, *item))
        if failure is not None and failure.kind != "moved":
            for position, call in enumerate(calls):
                self._record_failure(
                    call,
                    batch.id,
                    outcome.first + position,
                    failure.kind,
                    failure.type_name,
                    failure.message,
                    final=final,
                )
        self.recorder.snapshot_if_due()

    def _record_failure(
        self, call: Call, batch: int, item: int, kind: str, type_name: str, message: str, *, final: bool
    ) -> None:
        self.recorder.append(
            FailureRow(
                self.recorder.executor, batch, item, kind, type_name, message, call.arguments(values=False), final
            )
        )

    def _record_events(self, outcome: Outcome, process: int) -> None:
        executor = self.recorder.executor
        for event in outcome.events:
            if event.kind == "clock":
                self.recorder.note_clock(process, event)
                continue
            self.recorder.append(
                EventRow(
                    process,
                    executor,
                    outcome.batch,
                    event.item,
                    event.kind,
                    event.reading_ns,
                    event.end_ns,
                    event.name,
                    event.fields,
                )
            )
            if event.kind == "log" and self.engine.capabilities.separate_process:
                hand_to_logging(event, outcome.worker, self._clock)

    # The end ----------------------------------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """Count."""
        with self._lock:
            c = self._counts
            counts = (c.submitted, c.waiting, c.running, c.finished, c.failed, c.cancelled, c.retried)
        return Statistics(*counts, workers=0 if self._ended else len(self.engine.workers()))

    def shutdown(self, *, wait: bool, cancel: bool) -> None:
        """Take no more calls; end the engine when nothing is left. `cancel`: what still waits is cancelled."""
        with self._lock:
            self._closed = True
            waiting = [call for calls in self._waiting for call in calls] if cancel else []
        for call in waiting:
            call.future.cancel()
        # Cancelled calls leave the queue as it is fed.
        self._feed_cancelled()
        # A future's callback that shuts its own executor down would wait for itself.
        if wait and threading.get_ident() not in self._delivering:
            with self._lock:
                while self._in_flight or self._waiting or self._delivering:
                    self._nothing_left.wait()
            self._end()
            self._ended_event.wait()
            self.engine.close()  # the engine's own thread may have ended it, and could not wait for itself
        else:
            self._end_if_nothing_left()

    def leave(self) -> None:
        """
        Shut down without waiting, as nobody holds the executor any more.

        In a thread of its own: the garbage collector calls this in the middle of anything, under any lock, also ours.
        """
        with contextlib.suppress(RuntimeError):  # no more threads; then it is shut down at exit
            _thread.start_new_thread(self.shutdown, (), {"wait": False, "cancel": False})

    def abort(self) -> None:
        """End everything now: what waits is cancelled, what runs is ended and fails as stopped."""
        this_thread = threading.get_ident()
        with self._lock:
            self._closed = True
            waiting, self._waiting = [call for calls in self._waiting for call in calls], deque()
            flights, self._in_flight = list(self._in_flight.values()), {}
            already_ended, self._ended = self._ended, True
            is_from_callback = this_thread in self._delivering
            self._delivering.append(this_thread)
        try:
            try:
                if not already_ended:
                    self.engine.close()
            finally:  # also where Ctrl-C comes again
                self._give_up(flights, waiting)
        finally:
            with self._lock:
                self._delivering.remove(this_thread)
                self._nothing_left.notify_all()
            if not already_ended:
                self._close_recorder()
            if not is_from_callback:
                self._ended_event.wait()

    def _give_up(self, flights: Sequence[_Flight], waiting: Sequence[Call]) -> None:
        stopped = 0
        for call, is_here in [
            *((call, call.batch == flight.batch.id) for flight in flights for call in flight.calls),
            *((call, True) for call in waiting),
        ]:
            if not is_here or (call.future.done() and not call.future.cancelled()):
                continue
            if call.attempt == 0:
                call.future.cancel()
                call.future.set_running_or_notify_cancel()  # tells those who wait for it
            else:  # also one that is tried again: it was running for everybody outside
                stopped += 1
                with contextlib.suppress(InvalidStateError):  # its outcome came home in this moment
                    call.future.set_exception(CallStopped(f"{call} was stopped: its executor was torn down."))
            call.let_go()
        with self._lock:
            c = self._counts
            c.failed += stopped
            c.cancelled = c.submitted - c.finished - c.failed
            c.waiting = c.running = 0

    def _feed_cancelled(self) -> None:
        """Take cancelled calls out of the queue, also where the window has no room."""
        with self._lock:
            kept: deque[list[Call]] = deque()
            for calls in self._waiting:
                alive = []
                for call in calls:
                    if call.attempt > 0 or not call.future.cancelled():
                        alive.append(call)
                        continue
                    call.future.set_running_or_notify_cancel()
                    call.let_go()
                    self._counts.waiting -= 1
                    self._counts.cancelled += 1
                if alive:
                    kept.append(alive)
            self._waiting = kept

    def _end_if_nothing_left(self) -> None:
        with self._lock:
            if self._in_flight or self._waiting or self._delivering:
                return
            self._nothing_left.notify_all()
            if not self._closed or self._ended:
                return
        self._end()

    def _end(self) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        try:
            self.engine.close()
        finally:
            self._close_recorder()

    def _close_recorder(self) -> None:
        c = self._counts
        try:
            self.recorder.close(finished=c.finished, failed=c.failed, cancelled=c.cancelled)
        finally:
            _open_dispatches.discard(self)
            self._ended_event.set()

    def forget_in_forked_child(self) -> None:
        """The workers, and the threads that hold locks or bring outcomes, are the parent's: here nothing is left."""
        self._lock = threading.Lock()
        self._nothing_left = threading.Condition(self._lock)
        self._waiting.clear()
        self._in_flight.clear()
        self._delivering.clear()
        self._closed = self._ended = True
        self._ended_event = threading.Event()
        self._ended_event.set()


def _checked_move(outcome: Outcome, flight: _Flight) -> Outcome:
    """A batch that was moved whole, time after time, because its worker ended (not: was sent away) is to blame."""
    failure = outcome.failure
    if failure is None or failure.kind != "moved" or not failure.message or outcome.item_count < len(flight.calls):
        return outcome
    moves = [call.moves + 1 for call in flight.calls]
    for call, count in zip(flight.calls, moves, strict=True):
        call.moves = count
    return outcome if max(moves) < MOVES_MAX else outcome._replace(failure=failure._replace(kind="died"))


_open_dispatches: weakref.WeakSet[Dispatch] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for dispatch in list(_open_dispatches):
        dispatch.forget_in_forked_child()
    _open_dispatches.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@atexit.register
def _shut_down_at_exit() -> None:
    """
    A program that ends without `shutdown` waits for its calls, as with the standard executors; one that was interrupted
    does not.
    """
    interrupted = isinstance(getattr(sys, "last_value", None), KeyboardInterrupt)
    for dispatch in list(_open_dispatches):
        try:
            if interrupted:
                dispatch.abort()
            else:
                dispatch.shutdown(wait=True, cancel=False)
        except KeyboardInterrupt:
            interrupted = True
            dispatch.abort()
        except Exception:
            logging.getLogger("coeval.executor").exception("an executor could not be shut down at exit")
