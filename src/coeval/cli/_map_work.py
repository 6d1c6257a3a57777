"""
The work of `coeval map`, from inputs to lines.

    reader thread            main thread                                   executor
    read_inputs ──event──>   submit ─────────────────────────────────────> calls
        ^ credits            line, in its order ──> DataOutput <──event──  futures as they are done
        └──────────────────  one back for each finished input, in lots

Everything is decided in the main thread, one event after the other, so that nothing is interrupted half-way.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from coeval.cli._data_output import DataOutput
from coeval.cli._input import Input, JsonValue, SetAside
from coeval.cli._interrupts import Interrupts
from coeval.cli._json_value import ValueNotJson
from coeval.cli._line_order import LineOrder
from coeval.cli._map_report import MapReport
from coeval.cli._progress import ProgressLine
from coeval.cli._result import Problem, problem_line, problem_of, problem_of_line, value_line
from coeval.errors import CallExited, CallStopped, EngineError
from coeval.executor import Executor
from coeval.executor._call import CallFuture
from coeval.executor._resume import KeptCalls

# Inputs that are read and not finished. More keep more workers busy; each costs about two kilobytes.
AHEAD_MAX = 1000

# Credits go back to the reader in lots: waking it for each one costs a quarter of the speed on two cores.
CREDITS_LOT = AHEAD_MAX // 4

# Lines that wait for a slow input before them may take this much memory; then no more inputs are read until it is done.
HELD_BYTES_MAX = 64 << 20

# How often the time left is told anew on a terminal when nothing happens.
TERMINAL_WAIT_S = 0.2

# How long a reader may take nothing after somebody wanted us to end.
READER_WAIT_S = 0.5

# Calls are named by their inputs in a recording, up to this many characters.
LABEL_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class _Finished:
    index: int
    future: Future[Any]


@dataclass(frozen=True, slots=True)
class _ReadingEnded:
    error: BaseException | None


_Event: TypeAlias = Input | SetAside | _Finished | _ReadingEnded | None  # None: only wakes


class MapWork:
    """
    One `coeval map`.

    Args:
        function: what to call, with one input each.
        inputs: read in a thread of their own, as they are wanted.
        kept: submits where results are kept in a run folder, and knows those that were finished before. None: nothing
            is kept, and calls need no names.
    """

    def __init__(
        self,
        function: Callable[[Any], object],
        inputs: Iterable[Input | SetAside],
        output: DataOutput,
        order: LineOrder,
        report: MapReport,
        progress: ProgressLine,
        interrupts: Interrupts,
        *,
        kept: KeptCalls | None,
    ) -> None:
        self._function = function
        self._inputs = inputs
        self._output = output
        self._order = order
        self._report = report
        self._progress = progress
        self._interrupts = interrupts
        self._kept = kept
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._credits = threading.Semaphore(AHEAD_MAX)
        self._withheld = 0
        self._running: dict[int, JsonValue] = {}
        self._writing = False  # still true after a write that did not come to its end

    def run(self, executor: Executor) -> None:
        """
        Read all inputs, call, and write what comes of them. However this ends early, `finish_early` comes next.

        Raises:
            Interrupted: a signal arrived.
            OutputClosed, OutputFailed: lines cannot be written.
            EngineError: the engine cannot go on.
            CannotResume: an input is not what it was when its result was kept.
            OSError: the inputs cannot be read to their end; what was read is done.
        """
        self._interrupts.note(lambda: self._events.put(None))
        threading.Thread(target=self._read, name="coeval-map-inputs", daemon=True).start()
        wait_s = TERMINAL_WAIT_S if self._progress.on_terminal else None
        reading_ended: _ReadingEnded | None = None
        while reading_ended is None or self._running:
            self._interrupts.check()
            self._progress.show(self._report.counts())
            try:
                event = self._events.get(timeout=wait_s)
            except Empty:
                continue
            match event:
                case Input():
                    self._submit(executor, event)
                case SetAside():
                    self._write(event.index, self._problem(event.index, event.text, problem_of_line(event)))
                case _Finished(index, future):
                    self._finished(index, future)
                case _ReadingEnded():
                    reading_ended = event
        if reading_ended.error is not None:
            raise reading_ended.error

    def finish_early(self) -> None:
        """
        Write what was finished, after the executor was torn down and unless the output is what ended it.

        After a signal nobody is waited for, so a reader that takes nothing gets no more.

        Raises:
            OutputClosed, OutputFailed: lines cannot be written.
        """
        if self._writing:
            return
        while True:
            try:
                event = self._events.get_nowait()
            except Empty:
                break
            if isinstance(event, _Finished):
                with contextlib.suppress(EngineError):
                    self._finished(event.index, event.future)
        self._output.write(self._order.rest(), self._wait_s())

    def _read(self) -> None:
        try:
            for each in self._inputs:
                self._credits.acquire()
                self._events.put(each)
        except BaseException as error:
            self._events.put(_ReadingEnded(error))
        else:
            self._events.put(_ReadingEnded(None))

    def _submit(self, executor: Executor, given: Input) -> None:
        self._running[given.index] = given.value
        # Where calls run right here, nobody but this thread can end them.
        with self._interrupts.raising(not executor.capabilities.separate_process):
            if self._kept is None:
                future = executor.submit(self._function, given.value)
            else:
                label = given.value if isinstance(given.value, str) else repr(given.value)
                future = self._kept.submit(given.index, (given.value,), name=label[:LABEL_CHARS_MAX])
        future.add_done_callback(lambda done: self._events.put(_Finished(given.index, done)))

    def _finished(self, index: int, future: Future[Any]) -> None:
        given = self._running.pop(index)
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, CallStopped) or (isinstance(error, CallExited) and self._interrupts.noted):
            self._report.stopped += 1
            return
        if isinstance(error, EngineError):
            raise error
        attempts = future.attempt if isinstance(future, CallFuture) else 0
        if error is None:
            try:
                line = value_line(index, given, future.result())
                self._report.done += 1
            except ValueNotJson as not_json:
                line = self._problem(index, given, problem_of(not_json, attempts=attempts))
        else:
            line = self._problem(index, given, problem_of(error, attempts=attempts))
        self._write(index, line)

    def _wait_s(self) -> float | None:
        return READER_WAIT_S if self._interrupts.noted else None

    def _problem(self, index: int, given: JsonValue, problem: Problem) -> bytes:
        self._report.add_problem(index, given, problem)
        return problem_line(index, given, problem)

    def _write(self, index: int, line: bytes) -> None:
        if lines := self._order.add(index, line):
            self._writing = True
            # Who reads the output may keep us waiting for ever.
            with self._interrupts.raising(not self._output.is_file):
                self._output.write(lines, self._wait_s())
            self._writing = False
        self._withheld += 1
        if self._withheld >= CREDITS_LOT and self._order.held_bytes <= HELD_BYTES_MAX:
            self._credits.release(self._withheld)
            self._withheld = 0
