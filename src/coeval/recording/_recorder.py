"""
The recorder of one executor: it numbers processes, keeps the newest rows in memory, and hands every row to the run
folder if there is one.

An append is on the path of every call, so it is two list operations under a lock. What costs more (reading the host's
synchronisation, JSON, the disk) is done elsewhere: in `recording()`, or by the spool's own thread.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import deque

from coeval.clocks import SYSTEM_CLOCK, Clock
from coeval.recording._capture import add_recorder, remove_recorder
from coeval.recording._event import Event
from coeval.recording._rows import (
    ClockRow,
    EndRow,
    ExecutorRow,
    FunctionRow,
    GapRow,
    HostRow,
    ProcessRow,
    Row,
)
from coeval.recording._run_folder import RunFolder, clock_row, driver_event_row, driver_process_row, host_row
from coeval.recording._tables import Recording

# The driver's clocks are read this often while outcomes come. A wall-clock step is dated to within this time.
CLOCK_EVERY_NS = 5_000_000_000

# Rows kept in memory. A call has two or three of some 200 bytes, so this is the last 70 000 calls and about 50 MB.
ROWS_MAX = 200_000

# Without these the other rows cannot be read; they are few and stay.
_LASTING = frozenset((ProcessRow, HostRow, ExecutorRow, FunctionRow))


class Recorder:
    """
    Keeps what one executor did; safe from any thread.

    Args:
        engine: the engine's name.
        folder: also write every row there; None: memory only.
        clock: what the driver stamps with.
        rows_max: so many of the newest rows are kept in memory. Of older ones those stay that introduce processes,
            hosts, executors and functions, and each process's first clock reading; the rest is counted in a `GapRow`.

    Attributes:
        executor: this executor's number in its recording.
    """

    def __init__(
        self, *, engine: str, folder: RunFolder | None, clock: Clock = SYSTEM_CLOCK, rows_max: int = ROWS_MAX
    ) -> None:
        if rows_max < 1:
            raise ValueError(f"rows_max is {rows_max}; expected at least 1")
        self._clock = clock
        self._folder = folder
        self._spool = None if folder is None else folder.spool(clock)
        self._rows_max = rows_max
        self._rows: deque[Row] = deque()
        self._lasting: list[Row] = []
        self._rows_dropped = 0
        self._clocks_kept: set[int] = set()
        self._processes: dict[int, int] = {}
        self._has_host = False
        self._is_closed = False
        # Re-entrant, as the garbage collector may run another executor's last rites in the middle of an append.
        self._lock = threading.RLock()
        self.executor = 0 if folder is None else folder.next_executor()
        self._process_numbers = itertools.count(1)
        self._keep(driver_process_row(clock))
        self.append(clock_row(clock))
        self.append(ExecutorRow(self.executor, engine, clock.raw_ns()))
        self._snapshot_due_ns = clock.raw_ns() + CLOCK_EVERY_NS
        if folder is not None:
            folder.listen(clock)
        add_recorder(self.event)
        _recorders.add(self)

    # Hot --------------------------------------------------------------------------------------------------------------

    def append(self, row: Row) -> None:
        """Keep a row, in memory and in the run folder. About a microsecond; waits only where the disk is far behind."""
        self._keep(row)
        if self._spool is not None:
            self._spool.append(row)

    def _keep(self, row: Row) -> None:
        with self._lock:
            self._rows.append(row)
            if len(self._rows) > self._rows_max:
                self._let_go(self._rows.popleft())

    def _let_go(self, row: Row) -> None:
        if type(row) in _LASTING:
            self._lasting.append(row)
        elif isinstance(row, ClockRow) and row.process not in self._clocks_kept:
            self._clocks_kept.add(row.process)
            self._lasting.append(row)
        else:
            self._rows_dropped += 1

    def process_of(self, number: int, *, role: str, host: str, pid: int, clock: str, python: str) -> int:
        """
        Number a worker in the recording, and introduce it the first time.

        Args:
            number: the worker's number in this executor's engine.
            role, host, pid, clock, python: see `ProcessRow`.
        """
        process = self._processes.get(number)
        if process is not None:
            return process
        with self._lock:
            if number not in self._processes:
                process = next(self._process_numbers) if self._folder is None else self._folder.next_process()
                self.append(ProcessRow(process, role, host, pid, clock, python, number))
                self._processes[number] = process
            return self._processes[number]

    def note_clock(self, process: int, event: Event) -> None:
        """Keep a snapshot of a worker's clocks (`clock_event`)."""
        realtime_ns, boottime_ns = event.fields["realtime_ns"], event.fields["boottime_ns"]
        assert isinstance(realtime_ns, int)
        assert isinstance(boottime_ns, int)
        assert event.end_ns is not None
        self.append(ClockRow(process, event.reading_ns, realtime_ns, boottime_ns, event.end_ns))

    def snapshot_if_due(self) -> None:
        """Keep a snapshot of the driver's clocks if the last one is `CLOCK_EVERY_NS` old."""
        now_ns = self._clock.raw_ns()
        if now_ns >= self._snapshot_due_ns:
            self._snapshot_due_ns = now_ns + CLOCK_EVERY_NS
            self.append(clock_row(self._clock))

    def event(self, event: Event) -> None:
        """Keep a mark or a span of the driver's own. The run folder hears of it by itself, once for all executors."""
        self._keep(driver_event_row(event))

    # Cold -------------------------------------------------------------------------------------------------------------

    def recording(self) -> Recording:
        """All that is kept now."""
        self._note_host()
        with self._lock:
            rows: list[Row] = list(self._lasting)
            if self._rows_dropped:
                rows.append(
                    GapRow(self._rows_dropped, f"memory keeps the newest {self._rows_max} rows; run=PATH keeps all")
                )
            rows += self._rows
        return Recording(rows)

    def close(self, *, finished: int, failed: int, cancelled: int) -> None:
        """
        Write the end and everything that waits. What is in memory stays readable. Only the first time does anything.

        Args:
            finished, failed, cancelled: the executor's counts.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        remove_recorder(self.event)
        self.append(clock_row(self._clock))
        self.append(EndRow(self.executor, self._clock.raw_ns(), finished, failed, cancelled))
        if self._folder is not None and self._spool is not None:
            self._folder.stop_listening()
            self._spool.rest()

    def _note_host(self) -> None:
        """In memory the host's row waits until somebody reads it: it costs more than all of an executor's start."""
        with self._lock:
            if self._has_host:
                return
            self._has_host = True
        self._keep(host_row(self._clock))

    def _stop_in_forked_child(self) -> None:
        # The child has a copy of the memory; the executor, its end and its folder are the parent's.
        self._lock = threading.RLock()
        self._is_closed = True
        self._folder = self._spool = None


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        recorder._stop_in_forked_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
