"""
The worker's side of the local pool: batch after batch, from the command pipe to the result pipe.

What it imports every worker pays for, so it imports next to nothing. It is started, tied to the pool's life and given
the caller's surroundings by `_child.py`.
"""

from __future__ import annotations

import gc
import os
import select
import sys

from coeval.clocks import SYSTEM_CLOCK, clock_id
from coeval.engines import local
from coeval.engines._attempt import load_function, run_batch
from coeval.engines._engine import Failure, Packed
from coeval.engines._payload import settle
from coeval.engines._segments import can_reach
from coeval.engines.local._board import Row, Shelf
from coeval.engines.local._child import flush_standard_streams
from coeval.engines.local._frames import READ_BYTES_MAX, FrameReader, write_frame
from coeval.engines.local._parcels import ParcelSegments
from coeval.engines.local._slate import Slate
from coeval.recording._capture import clock_event
from coeval.recording._worker_logs import WorkerLogs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from coeval.engines._attempt import Piece
    from coeval.recording._output_capture import LabelledOutput

# A worker adds a snapshot of its clocks to an outcome when the last one is older than this.
CLOCK_EVERY_NS = 5_000_000_000

# A worker that has nothing to do looks for its next batch three times so often before it sleeps: about 50 us. Waking a
# process on another core takes as long.
# Fewer: the next call of a chain of calls waits for it to wake. More: it takes time from others where cores are few.
LOOKS_BEFORE_SLEEP = 30

# Where its last batch came while it looked, calls come one after the other, and it looks for longer: about 0.3 ms. In a
# virtual machine its core may be given away while it sleeps, and then it wakes up beside the caller.
# Fewer: what holds the caller up for a moment ends that. More: at the end of each such chain it looks for nothing.
LOOKS_IN_A_CHAIN = 200

# When letting others run takes this long, somebody has more to do on this core than to hand over the next batch.
# Shorter: a caller that does something between two calls counts. Longer: that somebody is interrupted for nothing.
SHARED_CORE_NS = 200_000


def work(commands: int, results: int, parcels: int, board: int, cell: int, lifeline: int) -> None:
    """
    Run batches until the command pipe is closed.

    Args:
        commands, results, parcels, board: descriptors that the pool made.
        cell: where this worker's row of the board begins, in bytes.
        lifeline: must stay open.
    """
    # No child of a call may keep the pool's pipes open.
    for fd in (commands, results, parcels, board, lifeline):
        os.set_inheritable(fd, False)
    _print_line_by_line()
    _Worker(_Commands(commands), results, parcels, Row(board, cell)).run()
    flush_standard_streams()


def _print_line_by_line() -> None:
    """
    Each line goes out as it is printed and in one piece, also into a pipe or a file, where Python would gather 8 KB and
    cut wherever they end, or under -u each argument of a `print` for itself: other workers write there too, and what
    was gathered would be lost with a killed worker.
    """
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105  # `contextlib` is not free
            stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]
        except Exception:
            pass  # there is none, or the caller has its own kind


class _Commands:
    """Frames from the command pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._reader = FrameReader()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._is_in_chain = False  # the last batch came while it looked

    def next(self) -> Any:
        """The next frame; None when the pipe is closed."""
        reader = self._reader
        message = reader.take() if reader.there else None
        while message is None:
            self._look_for_more()
            data = os.read(self._fd, READ_BYTES_MAX)
            if not data:
                return None
            message = reader.take(data)
        return message

    def _look_for_more(self) -> None:
        """Look until something comes, or it is better to sleep."""
        look, raw_ns = self._poll.poll, SYSTEM_CLOCK.raw_ns
        looks = LOOKS_IN_A_CHAIN if self._is_in_chain else LOOKS_BEFORE_SLEEP
        for _ in range(looks):
            # Letting others run, who may be whom we wait for, takes longer than a look.
            if look(0) or look(0) or look(0):
                self._is_in_chain = True
                return
            yielded_ns = raw_ns()
            os.sched_yield()
            if raw_ns() - yielded_ns > SHARED_CORE_NS:
                break
        self._is_in_chain = False


class _Worker:
    def __init__(self, commands: _Commands, results: int, parcels: int, row: Row) -> None:
        self._commands = commands
        self._results = results
        self._parcels = parcels
        self._row = row
        self._pid = local.worker_pid = os.getpid()
        self._is_child = False
        os.register_at_fork(after_in_child=self._note_fork)
        self._functions: dict[int, Callable[..., Any] | Failure] = {}
        self._segments: ParcelSegments | None = None
        self._output: LabelledOutput | None = None
        self._size_max: int | None = None

    def run(self) -> None:
        hello = self._commands.next()
        if hello is None:
            return
        slate = Slate(*hello["slate"])
        logs = WorkerLogs(hello["levels"], slate.note)
        self._size_max = hello["size_max"]
        if hello["labels_output"]:
            from coeval.recording._output_capture import LabelledOutput

            self._output = LabelledOutput(slate.note)
        if hello["segments"] and can_reach(self._pid):
            self._segments = ParcelSegments(SYSTEM_CLOCK, self._parcels)
        if hello["initializer"] is not None and not self._initialize(hello["initializer"]):
            return
        self._introduce()
        while (message := self._commands.next()) is not None:
            if message[0] == "forget":
                self._functions.clear()
                continue
            _, batch, attempt, number, body, items, calls, memory_bytes = message
            logs.keep_on()
            if body is not None or type(items) is Packed:
                self._row.take(batch)  # loading a function, or items of a map, may be the end of this process
            if body is not None:
                self._functions[number] = load_function(body)
            if self._output is not None:
                self._output.function = _name_of(self._functions[number])
            self._run_batch(batch, attempt, number, items, calls, memory_bytes)
            if self._segments is not None and self._segments.has_stored_any:
                self._segments.give_back()
            # An idle worker keeps nothing of what it was sent and what it made.
            del message, body, items, calls

    def _initialize(self, packed: bytes) -> bool:
        """Run what the caller wants run in each worker; False: it failed, which is told."""
        called = load_function(packed)
        try:
            if isinstance(called, Failure):
                raise RuntimeError(f"the initializer cannot be loaded: {called.type_name}: {called.message}")
            called()
        except BaseException as error:
            import traceback

            traceback.print_exc()
            write_frame(self._results, ("refused", f"its initializer raised {type(error).__qualname__}: {error}"))
            return False
        return True

    def _introduce(self) -> None:
        version = ".".join(map(str, sys.version_info[:3]))
        snapshot = SYSTEM_CLOCK.snapshot()
        self._snapshot_due_ns = snapshot.raw_before_ns + CLOCK_EVERY_NS
        write_frame(
            self._results,
            ("ready", os.uname().nodename, self._pid, clock_id(SYSTEM_CLOCK), version, clock_event(snapshot)),
        )

    def _note_fork(self) -> None:
        self._is_child = True
        self._row.leave()

    def _run_batch(
        self, batch: int, attempt: int, number: int, items: Any, calls: Any, memory_bytes: int | None
    ) -> None:
        for piece in run_batch(
            self._functions[number],
            items,
            calls,
            attempt,
            clock=SYSTEM_CLOCK,
            begin=self._row.beginner(batch),
            segments=self._segments,
            whole_process=True,
            memory_bytes=memory_bytes,
            shelf=Shelf(self._row, batch) if len(items) > 1 else None,
        ):
            if self._is_child:
                _end_forked_child(piece.failure)
            settle()
            # What a call printed belongs before what the caller prints on seeing its result.
            flush_standard_streams()
            if self._output is not None:
                self._output.end_lines()
            if self._size_max is not None and piece.first + piece.item_count == len(items):
                self._tell_if_too_large(self._size_max)
            if piece.finished_ns >= self._snapshot_due_ns:
                piece = self._with_snapshot(piece)
            has_parcels = self._segments is not None and self._segments.has_stored_any
            write_frame(self._results, ("parcels" if has_parcels else "piece", batch, piece.as_plain()))

    def _tell_if_too_large(self, size_max: int) -> None:
        """Before the last piece of a batch, so that the pool gives this worker nothing more."""
        if own_bytes() > size_max:
            gc.collect()
            size = own_bytes()
            if size > size_max:
                write_frame(self._results, ("large", size))

    def _with_snapshot(self, piece: Piece) -> Piece:
        snapshot = SYSTEM_CLOCK.snapshot()
        self._snapshot_due_ns = snapshot.raw_before_ns + CLOCK_EVERY_NS
        return piece._replace(events=[*piece.events, clock_event(snapshot)])


def own_bytes() -> int:
    """The resident memory that this process has for itself: without files, and memory shared by name."""
    with open("/proc/self/statm", "rb", buffering=0) as file:
        _, resident, shared, *_ = file.read(256).split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _name_of(function: Callable[..., Any] | Failure) -> str:
    while type(function).__module__ == "functools" and type(function).__qualname__ == "partial":
        function = function.func  # type: ignore[union-attr]
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _end_forked_child(failure: Failure | None) -> NoReturn:
    """
    End a child that a call forked and that came back here, by returning or raising: pipes and board are its parent's.
    It ends as a program would.
    """
    code = 0
    if failure is not None and failure.kind == "exited":
        code = failure.exit_code if failure.exit_code is not None else bool(failure.message)
    elif failure is not None:
        code = 1
        try:  # noqa: SIM105  # `contextlib` is not free
            sys.stderr.write(failure.traceback)
        except Exception:
            pass
    flush_standard_streams()
    os._exit(code)
