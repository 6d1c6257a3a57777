"""
The recorder of one executor: it numbers processes, keeps the newest rows in memory, and hands every row to the run
folder if there is one.

An append is on the path of every call. What costs more (reading the host's synchronisation, JSON, the disk) is done
elsewhere: in `recording()`, or by the spool's own thread. Without a run folder nothing of what writes or reads one is
imported.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref

from coeval.clocks import SYSTEM_CLOCK
from coeval.recording._capture import add_recorder, remove_recorder
from coeval.recording._driver import driver_clock_row, driver_event_row, driver_host_row, driver_process_row
from coeval.recording._memory import RowMemory
from coeval.recording._raw_rows import clock_row, end_row, executor_row, process_row, typed_row

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coeval.clocks import Clock
    from coeval.clocks._ntp import TimeServer
    from coeval.recording._anchor_watch import AnchorWatch
    from coeval.recording._event import Event
    from coeval.recording._raw_rows import RawRow
    from coeval.recording._rows import Row
    from coeval.recording._run_folder import RunFolder
    from coeval.recording._spool import SpoolWriter
    from coeval.recording._tables import Recording

# The driver's clocks are read this often while outcomes come. A wall-clock step is dated to within this time.
CLOCK_EVERY_NS = 5_000_000_000

# Rows kept in memory. A call has two or three of some 200 bytes, so this is the last 70 000 calls and about 50 MB.
ROWS_MAX = 200_000


class Recorder:
    """
    Keeps what one executor did; safe from any thread.

    Args:
        engine: the engine's name.
        folder: also write every row there; None: memory only.
        clock: what the driver stamps with.
        rows_max: how many rows are kept in memory, see `RowMemory`.

    Attributes:
        executor: this executor's number in its recording.
        append: keeps a row, in memory and in the run folder. In memory about 0.1 microseconds; with a folder about one,
            and it waits only where the disk is far behind.
        known_processes: the recording's number of each worker that was introduced (`process_of`), by the engine's.
        snapshot_due_ns: from then on `snapshot_if_due` does something.
    """

    append: Callable[[Row | RawRow], None]

    def __init__(
        self, *, engine: str, folder: RunFolder | None, clock: Clock = SYSTEM_CLOCK, rows_max: int = ROWS_MAX
    ) -> None:
        self._clock = clock
        self._folder = folder
        self._memory = RowMemory(rows_max)
        self._spool: SpoolWriter | None = None
        self.known_processes: dict[int, int] = {}
        self._has_host = False
        self._is_closed = False
        self._watch: AnchorWatch | None = None
        # Re-entrant, as the garbage collector may run another executor's last rites in the middle of an append.
        self._lock = threading.RLock()
        self.executor = 0 if folder is None else folder.next_executor()
        self._process_numbers = itertools.count(1)
        self._memory.append(driver_process_row(clock))
        if folder is None:
            self.append = self._memory.append
        else:
            self._spool = folder.spool(clock)
            self.append = self._append_to_both
        self.append(driver_clock_row(clock))
        opened_ns = clock.raw_ns()
        self.append(executor_row(self.executor, engine, opened_ns))
        self.snapshot_due_ns = opened_ns + CLOCK_EVERY_NS
        if folder is not None:
            folder.listen(clock)
        add_recorder(self.event)
        _recorders.add(self)

    # Hot --------------------------------------------------------------------------------------------------------------

    def _append_to_both(self, row: Row | RawRow) -> None:
        self._memory.append(row)
        if self._spool is not None:
            self._spool.append(row)

    def process_of(self, number: int, *, role: str, host: str, pid: int, clock: str, python: str) -> int:
        """
        Number a worker in the recording, and introduce it the first time.

        Args:
            number: the worker's number in this executor's engine.
            role, host, pid, clock, python: see `ProcessRow`.
        """
        process = self.known_processes.get(number)
        if process is not None:
            return process
        with self._lock:
            if number not in self.known_processes:
                process = next(self._process_numbers) if self._folder is None else self._folder.next_process()
                self.append(process_row(process, role, host, pid, clock, python, number))
                self.known_processes[number] = process
            return self.known_processes[number]

    def note_clock(self, process: int, event: Event) -> None:
        """Keep a snapshot of a worker's clocks (`clock_event`)."""
        realtime_ns, boottime_ns = event.fields["realtime_ns"], event.fields["boottime_ns"]
        assert isinstance(realtime_ns, int)
        assert isinstance(boottime_ns, int)
        assert event.end_ns is not None
        self.append(clock_row(process, event.reading_ns, realtime_ns, boottime_ns, event.end_ns))

    def snapshot_if_due(self, now_ns: int | None = None) -> None:
        """
        Keep a snapshot of the driver's clocks if the last one is `CLOCK_EVERY_NS` old.

        Args:
            now_ns: a reading of the driver's clock that was just taken; None: read it here.
        """
        if now_ns is None:
            now_ns = self._clock.raw_ns()
        if now_ns >= self.snapshot_due_ns:
            self.snapshot_due_ns = now_ns + CLOCK_EVERY_NS
            self.append(driver_clock_row(self._clock))

    def event(self, event: Event) -> None:
        """Keep a mark or a span of the driver's own. The run folder hears of it by itself, once for all executors."""
        self._memory.append(driver_event_row(event))

    # Cold -------------------------------------------------------------------------------------------------------------

    def watch_time(self, servers: Sequence[TimeServer]) -> None:
        """Ask time servers for UTC from now until the recorder is closed, and keep what they say."""
        from coeval.recording._anchor_watch import AnchorWatch

        self._watch = AnchorWatch(servers, self.append, self._clock)

    def recording(self) -> Recording:
        """All that is kept now."""
        from coeval.recording._tables import Recording

        self._note_host()
        return Recording(map(typed_row, self._memory.rows()))

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
        if self._watch is not None:
            self._watch.finish()
        self.append(driver_clock_row(self._clock))
        self.append(end_row(self.executor, self._clock.raw_ns(), finished, failed, cancelled))
        if self._folder is not None and self._spool is not None:
            self._folder.stop_listening()
            self._spool.rest()

    def _note_host(self) -> None:
        """In memory the host's row waits until somebody reads it: it costs more than all of an executor's start."""
        with self._lock:
            if self._has_host:
                return
            self._has_host = True
        self._memory.append(driver_host_row(self._clock))

    def _stop_in_forked_child(self) -> None:
        # The child has a copy of the memory; the executor, its end and its folder are the parent's.
        self._lock = threading.RLock()
        self._memory.forget_lock()
        self._is_closed = True
        self._folder = self._spool = None


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        recorder._stop_in_forked_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
