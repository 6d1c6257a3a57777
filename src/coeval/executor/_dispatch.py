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
import os
import sys
import threading
import weakref
from collections import deque

from coeval.clocks._named_tuple import unchecked
from coeval.engines._engine import Batch, Failure, Packed
from coeval.engines._payload import drop, dump, size_of, take
from coeval.executor._batching import Pace
from coeval.executor._call import CallFuture, MapChunk
from coeval.executor._statistics import Statistics
from coeval.recording._raw_rows import event_row, exchange_row, failure_row, item_row, outcome_row, sent_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coeval.clocks import Clock
    from coeval.engines import Engine, Function, Limits, Outcome, Worker
    from coeval.engines._protocol import Arguments
    from coeval.executor._far_clocks import FarClocks
    from coeval.recording import Recorder

# A call whose workers end so often while they take it up fails: its arguments may be too much for any of them.
# Fewer: somebody who kills idle workers fails calls. More: each try costs a worker's start.
MOVES_MAX = 3

# While calls wait for room, results are looked for once in so many submits.
# Fewer: each look costs a microsecond. More: workers that are done wait for what was submitted meanwhile.
SUBMITS_PER_LOOK = 128


class _Flight:
    """A batch that the engine has."""

    __slots__ = ("batch", "calls", "chunk_first", "item_count", "left")

    def __init__(self, batch: Batch, calls: Sequence[CallFuture]) -> None:
        self.batch = batch
        self.calls = calls
        self.item_count = len(batch.items)
        self.left = self.item_count  # items that have not come home
        self.chunk_first = 0  # if it is items of a map: which item of the batch is the first of what is left of them

    def chunk(self) -> MapChunk | None:
        """What is left of the items of a map, if it is those."""
        first = self.calls[0]
        return first if isinstance(first, MapChunk) else None


class _Here(threading.local):
    """What this thread is doing."""

    is_sending = False


class _Counts:
    """Calls that are over or were tried again; what waits and runs is counted from where it is."""

    __slots__ = ("cancelled", "failed", "finished", "probes", "retried", "submitted")

    def __init__(self) -> None:
        self.submitted = self.finished = self.failed = self.cancelled = self.retried = self.probes = 0


class Dispatch:
    """
    Sends calls to an engine, as many as its window takes, and resolves their futures.

    Args:
        engine: not started yet; belongs to this object from now on.
        recorder: likewise.
        far_clocks: follows the clocks of other hosts; None: there are none.

    Attributes:
        segments: where large parts of arguments go.
        is_closed: no new calls are taken.
        lock: guards everything here, and the step from a waiting call to a running or a cancelled one.
    """

    def __init__(self, engine: Engine, recorder: Recorder, clock: Clock, far_clocks: FarClocks | None = None) -> None:
        self.engine = engine
        self.recorder = recorder
        self._far_clocks = far_clocks
        self._clock = clock
        self.lock = threading.Lock()
        self._nothing_left = threading.Condition(self.lock)
        self._waiting: deque[CallFuture] = deque()
        self._waiting_in_chunks = 0  # items beyond one for each that waits
        self._given_up: list[CallFuture] = []  # to be told so
        self._in_flight: dict[int, _Flight] = {}
        self._pace = Pace(engine.capabilities.batch_items_max, engine.capabilities.batch_ns)
        self._counts = _Counts()
        self._here = _Here()
        self._next_call = 0
        self._next_batch = 0
        # Threads that are bringing an outcome home: its futures are not resolved yet, so it is not the end yet.
        self._delivering: list[int] = []
        self.is_closed = False
        self._ended = False  # engine and recorder are closed or being closed
        self._ended_event = threading.Event()
        try:
            engine.start(self._deliver)
        except BaseException:
            recorder.close(finished=0, failed=0, cancelled=0)
            raise
        self.segments = engine.segments
        _open_dispatches.add(self)

    # In ---------------------------------------------------------------------------------------------------------------

    def refusal(self) -> RuntimeError:
        """What to raise at whoever brings a call when `is_closed` (as the standard executors say it)."""
        return RuntimeError("cannot schedule new futures after shutdown")

    def submit(self, call: CallFuture) -> None:
        """
        Take a call.

        Raises:
            RuntimeError: the executor was shut down meanwhile.
        """
        flight = None
        with self.lock:
            if self.is_closed:
                raise self.refusal()
            count = call.count
            number = call.number = self._next_call
            self._next_call = number + count
            self._counts.submitted += count
            has_room = not self._in_flight or len(self._in_flight) < self.engine.window()
            if has_room and not self._waiting:
                flight = self._make_flight([call])
            else:
                self._waiting.append(call)
                self._waiting_in_chunks += count - 1
                if has_room:
                    flight = self._make_flight(self._next_calls())
        if flight is not None:
            self._send(flight)
        if has_room:
            if self._waiting:
                self._feed()
        elif number % SUBMITS_PER_LOOK == 0:
            self.engine.pump(_always, 0)

    def fail_unsent(self, future: CallFuture, error: BaseException) -> None:
        """Resolve a call that cannot even be sent."""
        with self.lock:
            if self.is_closed:
                raise self.refusal()
            future.number = self._next_call
            self._next_call += 1
            self._counts.submitted += 1
            self._counts.failed += 1
            future.start()
        future.fail(error)
        self._end_if_nothing_left()

    def item_ns(self, function: Function) -> float | None:
        """How long a call of a function takes, as far as is known."""
        return self._pace.item_ns(function.number)

    def stop(self, future: CallFuture) -> bool:
        """End one call, whether it waits or runs."""
        if future.cancel():
            return True
        with self.lock:
            batch, item = future.batch, future.item
        return batch >= 0 and self.engine.stop(batch, item)

    def give_up(self, calls: Iterable[CallFuture]) -> None:
        """Nobody wants these any more: cancel what waits, and call back what was sent and has not begun."""
        batches = set()
        for call in calls:
            if not call.cancel() and call.is_undone():
                call.is_unwanted = True
                batches.add(call.batch)
        for batch in batches:
            self.engine.call_back(batch)

    def wait(self, future: CallFuture, timeout_s: float | None) -> float | None:
        """
        Help to bring results home until a future is resolved.

        Returns:
            What is left of the time; the future may still be to come if the engine needs no help, or time is over.
        """
        if timeout_s is None:
            self.engine.pump(future.is_undone, None)
            return None
        deadline_ns = self._clock.raw_ns() + round(timeout_s * 1e9)
        self.engine.pump(future.is_undone, timeout_s)
        return max(0, deadline_ns - self._clock.raw_ns()) / 1e9

    # To the engine ----------------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        window = self.engine.window
        while self._waiting:
            with self.lock:
                if self._ended or not self._waiting or len(self._in_flight) >= window():
                    break
                flight = self._make_flight(self._next_calls())
            if flight is not None:
                self._send(flight)
        if self.is_closed:
            self._end_if_nothing_left()

    def _send(self, flight: _Flight) -> None:
        here = self._here
        was_sending, here.is_sending = here.is_sending, True
        try:
            self.engine.send(flight.batch)
        except Exception as error:
            self._refused(flight, error)
        except BaseException as error:  # Ctrl-C: whether it went or not, nobody shall wait for it
            self._refused(flight, error)
            raise
        finally:
            here.is_sending = was_sending

    def _next_calls(self) -> list[CallFuture]:
        """Take the calls of the next batch from the queue; called with the lock held."""
        waiting = self._waiting
        first = waiting.popleft()
        calls = [first]
        self._waiting_in_chunks -= first.count - 1
        if not waiting or not first.travels_in_batches():
            return calls
        function, options = first.function, first.options
        assert function is not None
        wanted = self._pace.items(function.number, len(waiting) + 1, self.engine.window())
        while len(calls) < wanted and waiting:
            other = waiting[0]
            if other.function is not function or not other.travels_in_batches():
                break
            if other.options is not options and not other.options.travels_with(options):
                break
            calls.append(waiting.popleft())
        return calls

    def _make_flight(self, calls: list[CallFuture]) -> _Flight | None:
        # A call that is tried again is running already, for everybody outside.
        number = self._next_batch
        sent: list[CallFuture] = []
        payloads: list[Arguments] = []
        is_labelled = False
        for call in calls:
            if call.attempt > 0 or call.start():
                call.batch, call.item = number, len(sent)
                call.attempt = call.attempt or 1
                if call.options.name:
                    is_labelled = True
                sent.append(call)
                payloads.append(call.payload)
            else:
                call.set_running_or_notify_cancel()  # tells those who wait for it
                self._counts.cancelled += call.count
                call.let_go()
        if not sent:
            return None
        self._next_batch = number + 1
        first = sent[0]
        function, attempt, options = first.function, first.attempt, first.options
        assert function is not None
        items: Sequence[Arguments] | Packed = payloads
        numbers: Sequence[int]
        if isinstance(first, MapChunk):
            items = Packed(first.payload, first.count, first.spread, first.stride)
            numbers = range(first.number, first.number + first.count)
        elif len(sent) == 1:
            numbers = (first.number,)
        else:
            numbers = tuple([call.number for call in sent])
        fields = number, attempt, function, items, numbers, options.limits, first.keep is None
        batch = unchecked(Batch, fields)
        flight = self._in_flight[number] = _Flight(batch, sent)
        labels = tuple([call.options.name for call in sent]) if is_labelled else ()
        recorder = self.recorder
        recorder.append(
            sent_row(recorder.executor, number, attempt, function.number, numbers, self._clock.raw_ns(), labels)
        )
        return flight

    def _refused(self, flight: _Flight, error: BaseException) -> None:
        with self.lock:
            if self._in_flight.pop(flight.batch.id, None) is None:  # all of it came home, or it was torn down
                return
            self._counts.failed += flight.left
        from coeval.errors import EngineError

        reason = str(error) or type(error).__name__
        for call in flight.calls:
            if call.batch == flight.batch.id and call.is_undone():
                call.fail(EngineError(f"{call} was not run: the engine refused it: {reason}"))
                call.let_go()

    # Home -------------------------------------------------------------------------------------------------------------

    def _deliver(self, outcome: Outcome) -> None:
        """Take what the engine brings (see `engines.Deliver`)."""
        if outcome.batch < 0:
            process = self._process_of(outcome.worker)
            self._record_events(outcome, process)
            if process >= 0 and any(outcome.stamps[:3]):
                self.recorder.append(exchange_row(self.recorder.executor, process, *outcome.stamps))
                self._note_exchange(outcome)
            self._feed()  # a worker more may be room for a batch more
            return
        this_thread = _thread.get_ident()
        with self.lock:
            flight = self._in_flight.get(outcome.batch)
            if flight is not None:
                outcome, calls, again = self._landed(flight, outcome)
                self._delivering.append(this_thread)
        if flight is None:  # ended meanwhile: its futures are resolved
            for value in outcome.values:
                drop(value)
            return
        try:
            self._bring_home(flight, outcome, calls, again)
        finally:
            self._delivering.remove(this_thread)
            # Whoever closes it after this has been asked finds that nothing is being delivered.
            if self.is_closed:
                self._end_if_nothing_left()

    def _note_exchange(self, outcome: Outcome) -> None:
        """An exchange that carried no call: a newcomer's introduction, or a probe, which goes there and back."""
        if outcome.stamps.handed_over_ns:
            with self.lock:
                self._counts.probes += 1
            self.recorder.snapshot_if_due()
        if self._far_clocks is not None:
            self._far_clocks.note(outcome)

    def _landed(self, flight: _Flight, outcome: Outcome) -> tuple[Outcome, Sequence[CallFuture], bool]:
        """
        The engine has some items no more; called with the lock held.

        Returns:
            What to make of it, the calls it is about, and whether they wait again.
        """
        batch, first, item_count, _, failure, stamps, _, _, _ = outcome
        calls = flight.calls
        is_map = isinstance(calls[0], MapChunk)
        if not is_map and item_count < len(calls):
            calls = calls[first : first + item_count]
        flight.left -= item_count
        if flight.left == 0:
            del self._in_flight[batch]
        if failure is not None:
            outcome = _checked_move(outcome, flight)
            return outcome, calls, not is_map and self._again(outcome.failure, calls)
        self._counts.finished += item_count
        self._pace.observe(flight.batch.function.number, item_count, stamps.finished_ns - stamps.started_ns)
        return outcome, calls, False

    def _bring_home(self, flight: _Flight, outcome: Outcome, calls: Sequence[CallFuture], again: bool) -> None:
        batch, failure = flight.batch, outcome.failure
        try:
            if failure is not None and isinstance(calls[0], MapChunk):
                again = self._cut_chunk(flight, calls[0], outcome)
            process = self._process_of(outcome.worker)
            self._record(outcome, process, calls, batch, final=not again)
            if outcome.events:
                self._record_events(outcome, process, batch)
            if self._far_clocks is not None:
                self._far_clocks.note(outcome)
            if self._given_up:
                self._let_given_up_go()
            if failure is not None and not again:
                with self.lock:
                    self._counts.failed += outcome.item_count
            # First new work for the worker that became free, then what may take long here: rebuilding results.
            try:
                # An engine that delivers from within `send` comes back to the loop that sent; feeding here as well
                # would nest a level deeper with each try.
                if self._waiting and not self._here.is_sending:
                    self._feed()
            finally:
                if not again:
                    self._resolve(outcome, batch, calls)
        except BaseException as error:
            # Our own broken invariant, or what a callback may not raise. Nobody shall wait for ever because of it.
            from coeval.errors import EngineError

            for call in calls:
                if call.batch == batch.id and call.is_undone():
                    call.fail(EngineError(f"the outcome of {call} was lost to {error!r}"))
            raise

    def _again(self, failure: Failure | None, calls: Sequence[CallFuture]) -> bool:
        """Put calls back that are to run (again); called with the lock held."""
        assert failure is not None
        moved = failure.kind == "moved"
        if not moved and not all(call.options.retry.tries_again(failure, call.attempt) for call in calls):
            return False
        if not moved:
            self._counts.retried += len(calls)
            for call in calls:
                call.attempt += 1
        for call in calls:
            call.batch = call.item = -1
        if moved and any(call.is_unwanted for call in calls):
            self._given_up += [call for call in calls if call.is_unwanted]
            calls = [call for call in calls if not call.is_unwanted]
        self._waiting.extendleft(reversed(calls))
        return True

    def _cut_chunk(self, flight: _Flight, chunk: MapChunk, outcome: Outcome) -> bool:
        """
        Part items of a map from the others of their chunk: one that failed ends its chunk, and what was moved runs
        again.

        Returns:
            Whether they run again (or are given up).
        """
        assert outcome.failure is not None
        first = outcome.first - flight.chunk_first
        is_moved = outcome.failure.kind == "moved"
        part = chunk.cut(first) if first and is_moved else chunk
        end = outcome.item_count if part is not chunk else first + outcome.item_count
        if end < part.count:
            flight.calls = [part.cut(end)]
            flight.chunk_first = outcome.first + outcome.item_count
        if not is_moved:
            return False
        part.drop_payload()
        try:
            part.payload, part.stride = dump(part.items, self.segments), 1  # one of them may have ended its worker
        except Exception as error:  # there is no memory for it now
            part.error = error
        with self.lock:
            part.batch = part.item = -1
            if part.error is not None:
                self._counts.failed += part.count
            elif part.is_unwanted:
                self._given_up.append(part)
            else:
                self._waiting_in_chunks += part.count - 1
                self._waiting.appendleft(part)
        chunk.finish_if_all_is_home()
        part.finish_if_all_is_home()
        return True

    def _let_given_up_go(self) -> None:
        """What nobody wanted any more came back without having begun."""
        with self.lock:
            given_up, self._given_up = self._given_up, []
            self._counts.cancelled += sum(call.count for call in given_up)
        for call in given_up:
            call.give_up()

    def _resolve(self, outcome: Outcome, batch: Batch, calls: Sequence[CallFuture]) -> None:
        if isinstance(calls[0], MapChunk):
            self._resolve_chunk(outcome, batch, calls[0])
            return
        if outcome.failure is not None:
            for call in calls:
                call.fail(self._exception(call, outcome.failure, outcome.worker, batch.limits))
                call.batch = call.item = -1
                call.let_go()
            return
        failed = 0
        for call, payload in zip(calls, outcome.values, strict=True):
            try:
                value = take(payload)
            except BaseException as error:
                failed += 1
                self._unreadable(call, call.item, outcome, error)
            else:
                if call.keep is not None:
                    self._keep(call, payload if type(payload) is bytes else dump(value))
                call.finish(value)
            call.batch = call.item = -1
            call.let_go()
        if failed:
            with self.lock:
                self._counts.finished -= failed
                self._counts.failed += failed

    def _resolve_chunk(self, outcome: Outcome, batch: Batch, chunk: MapChunk) -> None:
        if chunk.error is not None:
            for value in outcome.values:
                drop(value)
            return  # whoever takes its values stops at the item that failed
        if outcome.failure is not None:
            chunk.error = self._exception(chunk, outcome.failure, outcome.worker, batch.limits)
        else:
            try:
                chunk.travelled_bytes += size_of(outcome.values[0])
                chunk.values += take(outcome.values[0])
            except BaseException as error:
                self._unreadable(chunk, 0, outcome, error)
                with self.lock:
                    self._counts.finished -= outcome.item_count
                    self._counts.failed += outcome.item_count
        chunk.finish_if_all_is_home()

    def _unreadable(self, call: CallFuture, item: int, outcome: Outcome, error: BaseException) -> None:
        from coeval.executor._failures import unreadable_result

        assert call.function is not None
        made = unreadable_result(
            error,
            function=call.function.name,
            arguments=call.arguments(values=True),
            attempt=call.attempt,
            worker=outcome.worker,
        )
        self._record_failure(call, outcome.batch, item, "result", type(error).__qualname__, str(error), final=True)
        if isinstance(call, MapChunk):
            call.error = made
        else:
            call.fail(made)

    def _keep(self, call: CallFuture, payload: bytes) -> None:
        assert call.keep is not None
        try:
            call.keep(payload)
        except Exception:  # as a full disk's warning where warnings are errors
            import logging

            logging.getLogger("coeval.executor").exception("the result of %s is not kept", call)

    def _exception(self, call: CallFuture, failure: Failure, worker: Worker | None, limits: Limits) -> BaseException:
        from coeval.executor._failures import exception_of  # most programs never need it

        assert call.function is not None
        return exception_of(
            failure,
            function=call.function.name,
            arguments=call.arguments(values=True),
            attempt=call.attempt,
            worker=worker,
            limits=limits,
        )

    # Writing down -----------------------------------------------------------------------------------------------------

    def note_function(self, function: Function) -> None:
        """Write down a function that is new in this executor."""
        try:  # without `hashlib`, which brings OpenSSL along
            from _sha2 import sha256  # type: ignore[import-not-found]
        except ImportError:
            from _sha256 import sha256  # type: ignore[import-not-found]  # Python 3.11

        from coeval.recording._raw_rows import function_row

        digest = sha256(function.body).hexdigest()
        self.recorder.append(function_row(self.recorder.executor, function.number, function.name, digest))

    def _process_of(self, worker: Worker | None) -> int:
        if worker is None:
            return -1
        process = self.recorder.known_processes.get(worker.number)
        if process is None:
            process = self.recorder.process_of(
                worker.number, role="worker", host=worker.host, pid=worker.pid, clock=worker.clock, python=worker.python
            )
        return process

    def _record(
        self, outcome: Outcome, process: int, calls: Sequence[CallFuture], batch: Batch, *, final: bool
    ) -> None:
        recorder, failure = self.recorder, outcome.failure
        executor = recorder.executor
        kind = failure.kind if failure is not None else "ok"
        recorder.append(
            outcome_row(executor, batch.id, outcome.first, outcome.item_count, kind, process, *outcome.stamps)
        )
        for item in outcome.item_stamps:
            recorder.append(item_row(executor, batch.id, *item))
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
        seen_ns = outcome.stamps.seen_ns
        if seen_ns >= recorder.snapshot_due_ns:
            recorder.snapshot_if_due(seen_ns)

    def _record_failure(
        self, call: CallFuture, batch: int, item: int, kind: str, type_name: str, message: str, *, final: bool
    ) -> None:
        self.recorder.append(
            failure_row(
                self.recorder.executor, batch, item, kind, type_name, message, call.arguments(values=False), final
            )
        )

    def _record_events(self, outcome: Outcome, process: int, batch: Batch | None = None) -> None:
        executor = self.recorder.executor
        for event in outcome.events:
            if event.kind == "clock":
                self.recorder.note_clock(process, event)
                continue
            self.recorder.append(
                event_row(
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
                from coeval.executor._logs import hand_to_logging

                hand_to_logging(event, outcome.worker, self._clock)
            elif event.kind == "output" and batch is not None and not self.engine.capabilities.same_host:
                from coeval.executor._logs import print_line

                print_line(event, batch, outcome.worker)

    # The end ----------------------------------------------------------------------------------------------------------

    def take_news(self) -> None:
        """Read what has come and nobody has read yet, but not within a callback, which would nest for each outcome."""
        if threading.get_ident() not in self._delivering:
            self.engine.pump(lambda: True, 0)

    def statistics(self) -> Statistics:
        """Count."""
        with self.lock:
            c = self._counts
            waiting = len(self._waiting) + self._waiting_in_chunks
            running = c.submitted - waiting - c.finished - c.failed - c.cancelled
            counts = (c.submitted, waiting, running, c.finished, c.failed, c.cancelled, c.retried)
            probes = c.probes
        return Statistics(*counts, workers=0 if self._ended else len(self.engine.workers()), probes=probes)

    def shutdown(self, *, wait: bool, cancel: bool) -> None:
        """Take no more calls; end the engine when nothing is left. `cancel`: what still waits is cancelled."""
        with self.lock:
            self.is_closed = True
            waiting = list(self._waiting) if cancel else []
        for call in waiting:
            call.cancel()
        # Cancelled calls leave the queue as it is fed.
        self._feed_cancelled()
        # A future's callback that shuts its own executor down would wait for itself.
        if wait and threading.get_ident() not in self._delivering:
            self._wait_until_nothing_is_left()
            self._end()
            self._ended_event.wait()
            self.engine.close()  # the engine's own thread may have ended it, and could not wait for itself
        else:
            self._end_if_nothing_left()

    def _wait_until_nothing_is_left(self) -> None:
        self.engine.pump(self._is_something_left, None)
        with self.lock:
            while self._in_flight or self._waiting or self._delivering:
                self._nothing_left.wait()

    def _is_something_left(self) -> bool:
        return bool(self._in_flight or self._waiting)

    def describe(self, batch: int, item: int) -> str:
        """Which call an item that the engine has is, with its arguments in a few words and its try."""
        with self.lock:
            flight = self._in_flight.get(batch)
            if flight is None:
                return "a call that has just ended"
            chunk = flight.chunk()
            if chunk is None:
                call, position = flight.calls[item], 0
                number = call.number
            else:
                call, position = chunk, item - flight.chunk_first - len(chunk.values)
                number = call.number + item - flight.chunk_first
            name = call.function.name if call.function is not None else "?"
            label = f" {call.options.name!r}" if call.options.name else ""
            return f"{name}{call.arguments(position, values=True)}{label}, call {number}, try {call.attempt}"

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait until engine and recorder are closed; False: they are not."""
        return self._ended_event.wait(timeout_s)

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
        with self.lock:
            self.is_closed = True
            already_ended, self._ended = self._ended, True  # nothing is sent any more
            is_from_callback = this_thread in self._delivering
            self._delivering.append(this_thread)
        try:
            try:
                if not already_ended:
                    self.engine.close()
            finally:  # also where Ctrl-C comes again
                with self.lock:  # only now: what had been finished came home meanwhile
                    waiting, self._waiting = list(self._waiting), deque()
                    self._waiting_in_chunks = 0
                    flights, self._in_flight = list(self._in_flight.values()), {}
                self._give_up(flights, waiting)
        finally:
            with self.lock:
                self._delivering.remove(this_thread)
                self._nothing_left.notify_all()
            if not already_ended:
                self._close_recorder()
            if not is_from_callback:
                self._ended_event.wait()

    def _give_up(self, flights: Sequence[_Flight], waiting: Sequence[CallFuture]) -> None:
        from coeval.errors import CallStopped

        stopped = 0
        for call, is_here in [
            *((call, call.batch == flight.batch.id) for flight in flights for call in flight.calls),
            *((call, True) for call in waiting),
        ]:
            if not is_here or (call.done() and not call.cancelled()):
                continue
            if call.attempt == 0:
                call.cancel()
                call.set_running_or_notify_cancel()  # tells those who wait for it
            else:  # also one that is tried again: it was running for everybody outside
                stopped += call.count - (len(call.values) if isinstance(call, MapChunk) else 0)
                if call.is_undone():  # else its outcome came home in this moment
                    call.fail(CallStopped(f"{call} was stopped: its executor was torn down."))
            call.let_go()
        with self.lock:
            c = self._counts
            c.failed += stopped
            c.cancelled = c.submitted - c.finished - c.failed

    def _feed_cancelled(self) -> None:
        """Take cancelled calls out of the queue, also where the window has no room."""
        with self.lock:
            kept: deque[CallFuture] = deque()
            for call in self._waiting:
                if call.attempt > 0 or not call.cancelled():
                    kept.append(call)
                    continue
                call.set_running_or_notify_cancel()
                call.let_go()
                self._counts.cancelled += call.count
                self._waiting_in_chunks -= call.count - 1
            self._waiting = kept

    def _end_if_nothing_left(self) -> None:
        with self.lock:
            if not self.is_closed or self._in_flight or self._waiting or self._delivering:
                return
            self._nothing_left.notify_all()  # only who has closed it waits for that
            if self._ended:
                return
        self._end()

    def _end(self) -> None:
        with self.lock:
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
        self.lock = threading.Lock()
        self._nothing_left = threading.Condition(self.lock)
        self._waiting.clear()
        self._in_flight.clear()
        self._delivering.clear()
        self.is_closed = self._ended = True
        self._ended_event = threading.Event()
        self._ended_event.set()


def _always() -> bool:
    return True


def _checked_move(outcome: Outcome, flight: _Flight) -> Outcome:
    """A batch that was moved whole, time after time, because its worker ended (not: was sent away) is to blame."""
    failure = outcome.failure
    if failure is None or failure.kind != "moved" or not failure.message or outcome.item_count < flight.item_count:
        return outcome
    moves = [call.moves + 1 for call in flight.calls]
    for call, count in zip(flight.calls, moves, strict=True):
        call.moves = count
    return outcome if max(moves) < MOVES_MAX else outcome._replace(failure=failure._replace(kind="died"))


_open_dispatches: weakref.WeakSet[Dispatch] = weakref.WeakSet()


def open_dispatches() -> list[Dispatch]:
    """Those of this process that are not closed."""
    return list(_open_dispatches)


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
            import logging

            logging.getLogger("coeval.executor").exception("an executor could not be shut down at exit")
