"""What the recorder of an executor keeps, in memory and in a run folder."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from coeval.clocks import SYSTEM_CLOCK, Snapshot, clock_id
from coeval.recording import Event, Recorder, Recording, RunFolder, clock_event, mark, span
from coeval.recording._recorder import CLOCK_EVERY_NS
from coeval.recording._rows import (
    ClockRow,
    EndRow,
    ExecutorRow,
    FunctionRow,
    GapRow,
    HostRow,
    ItemRow,
    ProcessRow,
    Row,
)


class HandClock:
    """A clock that a test moves."""

    name = "hand"

    def __init__(self) -> None:
        self.now_ns = 1000
        self.raw_ns: Callable[[], int] = lambda: self.now_ns

    def snapshot(self) -> Snapshot:
        return Snapshot(self.now_ns, self.now_ns + 10**18, self.now_ns + 5, self.now_ns + 1)


def item(number: int) -> ItemRow:
    return ItemRow(0, 0, number, 0, 0)


def items_of(recording: Recording) -> list[int]:
    return [row.item for row in recording.items]


def close(recorder: Recorder) -> None:
    recorder.close(finished=3, failed=2, cancelled=1)


def test_a_recorder_introduces_its_process_its_clocks_and_its_executor() -> None:
    clock = HandClock()
    recorder = Recorder(engine="local", folder=None, clock=clock)
    close(recorder)
    recording = recorder.recording()
    [process], [host], [executor] = recording.processes, recording.hosts, recording.executors
    assert (process.process, process.role, process.pid, process.clock) == (0, "driver", os.getpid(), clock_id(clock))
    assert (process.host, process.python) == (platform.node(), platform.python_version())
    assert (host.process, host.reading_ns) == (0, 1000)
    assert executor == ExecutorRow(0, "local", 1000)
    assert recording.clocks == [ClockRow(0, 1000, 10**18 + 1000, 1005, 1001)] * 2
    assert recording.ends == [EndRow(0, 1000, 3, 2, 1)]
    assert recording.run is None
    assert recording.problems == ()
    assert recording.rows_read == len(recording) == 6


def test_memory_and_folder_hold_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    recorder = Recorder(engine="local", folder=folder)
    worker = recorder.process_of(7, role="worker", host="far", pid=9, clock="c", python="3.11")
    for number in range(2000):
        recorder.append(item(number))
    recorder.note_clock(worker, clock_event(Snapshot(1, 2, 3, 4)))
    close(recorder)
    in_memory, on_disk = recorder.recording(), Recording.open(folder.path)
    # The folder's first rows introduce the process as it is opened; memory asks for the host when it is read.
    introduction = (ProcessRow, HostRow, ClockRow)
    assert [type(row) for row in list(on_disk)[:3]] == list(introduction)
    assert list(on_disk)[3:] == list(in_memory)[1:-1]
    first, *_, last = in_memory
    assert (type(first), type(last)) == (ProcessRow, HostRow)
    assert on_disk.clocks[-2] == ClockRow(worker, 1, 2, 3, 4)
    assert on_disk.problems == ()


def test_executors_of_one_folder_are_numbered_and_introduce_their_process_once(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    first, second = (Recorder(engine=engine, folder=folder) for engine in ("local", "inline"))
    numbers = [
        recorder.process_of(0, role="worker", host="h", pid=1, clock="c", python="3") for recorder in (first, second)
    ]
    close(first)
    close(second)
    third = Recorder(engine="dask", folder=folder)  # the spool rested in between
    close(third)
    recording = Recording.open(folder.path)
    assert [recorder.executor for recorder in (first, second, third)] == [0, 1, 2]
    assert [(row.executor, row.engine) for row in recording.executors] == [(0, "local"), (1, "inline"), (2, "dask")]
    assert numbers == [1, 2]
    assert [(row.process, row.role) for row in recording.processes] == [(0, "driver"), (1, "worker"), (2, "worker")]
    assert len(recording.hosts) == 1
    assert len(list(folder.path.iterdir())) == 2


def test_a_worker_is_introduced_once_whatever_threads_ask() -> None:
    recorder = Recorder(engine="local", folder=None)
    answers: list[tuple[int, int]] = []
    start = threading.Barrier(4)

    def ask() -> None:
        start.wait()
        for number in range(200):
            process = recorder.process_of(number, role="worker", host="h", pid=number, clock="c", python="3")
            answers.append((number, process))

    run_together(ask)
    close(recorder)
    assert len(set(answers)) == 200
    assert len({process for _, process in answers}) == 200
    workers = recorder.recording().processes[1:]
    assert {(row.worker, row.process) for row in workers} == set(answers)
    assert len(workers) == 200


def run_together(target: Callable[[], None], copies: int = 4) -> None:
    threads = [threading.Thread(target=target) for _ in range(copies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_no_row_is_lost_when_threads_append_together(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    recorder = Recorder(engine="local", folder=folder)

    def append() -> None:
        for number in range(3000):
            recorder.append(item(number))

    run_together(append)
    close(recorder)
    assert sorted(items_of(recorder.recording())) == sorted(list(range(3000)) * 4)
    assert sorted(items_of(Recording.open(folder.path))) == sorted(list(range(3000)) * 4)


# Bounded memory -------------------------------------------------------------------------------------------------------


def test_memory_keeps_the_newest_rows_and_counts_the_others() -> None:
    recorder = Recorder(engine="local", folder=None, rows_max=100)
    for number in range(1000):
        recorder.append(item(number))
    recording = recorder.recording()
    close(recorder)
    kept = items_of(recording)
    assert kept == list(range(1000 - len(kept), 1000))
    assert 98 <= len(kept) <= 100
    [gap] = recording.gaps
    assert gap.row_count == 1000 - len(kept)
    assert recording.problems == (
        f"{gap.row_count} rows were not kept: memory keeps the newest 100 rows; run=PATH keeps all.",
    )


def test_what_other_rows_refer_to_stays_in_memory() -> None:
    clock = HandClock()
    recorder = Recorder(engine="local", folder=None, clock=clock, rows_max=10)
    recorder.append(FunctionRow(0, 0, "m:f", "ab"))
    for worker in range(3):
        process = recorder.process_of(worker, role="worker", host="h", pid=1, clock="c", python="3")
        for number in range(20):
            recorder.append(item(number))
            recorder.note_clock(process, clock_event(Snapshot(number, number, number, number)))
    recording = recorder.recording()
    close(recorder)
    assert [row.process for row in recording.processes] == [0, 1, 2, 3]
    assert [row.name for row in recording.functions] == ["m:f"]
    assert len(recording.executors) == len(recording.hosts) == 1
    first_clocks = {row.process: row for row in reversed(recording.clocks)}
    assert first_clocks[0].raw_before_ns == 1000
    assert [first_clocks[process] for process in (1, 2, 3)] == [ClockRow(process, 0, 0, 0, 0) for process in (1, 2, 3)]
    appended = 1 + 1 + 1 + 1 + 1 + 3 * 41  # process, host, clock, executor, function; a process, items and clocks each
    assert len(recording) - 1 + recording.gaps[0].row_count == appended


def test_rows_before_the_gap_come_before_it_and_the_newest_after() -> None:
    recorder = Recorder(engine="local", folder=None, rows_max=5)
    for number in range(50):
        recorder.append(item(number))
    rows: list[Row] = list(recorder.recording())
    close(recorder)
    [gap] = [place for place, row in enumerate(rows) if isinstance(row, GapRow)]
    assert not any(isinstance(row, ItemRow) for row in rows[:gap])
    assert items_of(Recording(rows[gap:])) == list(range(50 - len(items_of(Recording(rows))), 50))


def test_memory_for_no_row_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="rows_max is 0; expected at least 1"):
        Recorder(engine="local", folder=None, rows_max=0)


def test_a_folder_has_all_rows_however_small_memory_is(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    recorder = Recorder(engine="local", folder=folder, rows_max=10)
    for number in range(5000):
        recorder.append(item(number))
    close(recorder)
    recording = Recording.open(folder.path)
    assert items_of(recording) == list(range(5000))
    assert recording.gaps == ()


# Clocks and events ----------------------------------------------------------------------------------------------------


def test_the_drivers_clocks_are_read_when_due_and_not_before() -> None:
    clock = HandClock()
    recorder = Recorder(engine="local", folder=None, clock=clock)
    every_ns = CLOCK_EVERY_NS
    for moment_ns in (1, every_ns - 1, every_ns, every_ns + 1, 2 * every_ns, 9 * every_ns):
        clock.now_ns = 1000 + moment_ns
        recorder.snapshot_if_due()
    readings = [row.raw_before_ns - 1000 for row in recorder.recording().clocks]
    close(recorder)
    assert readings == [0, every_ns, 2 * every_ns, 9 * every_ns]


def test_a_reading_that_was_just_taken_tells_what_is_due_as_well() -> None:
    clock = HandClock()
    recorder = Recorder(engine="local", folder=None, clock=clock)
    recorder.snapshot_if_due(1000 + CLOCK_EVERY_NS - 1)
    clock.now_ns = 5 + CLOCK_EVERY_NS
    recorder.snapshot_if_due(1000 + CLOCK_EVERY_NS)
    readings = [row.raw_before_ns for row in recorder.recording().clocks]
    close(recorder)
    assert readings == [1000, 5 + CLOCK_EVERY_NS]


def test_the_drivers_own_marks_and_spans_are_kept_while_it_is_open() -> None:
    mark("before")
    recorder = Recorder(engine="local", folder=None)
    mark("during", step=1)
    with pytest.raises(ZeroDivisionError), span("stretch"):
        _ = 1 / 0
    close(recorder)
    mark("after")
    events = recorder.recording().events
    assert [(event.process, event.executor, event.item, event.kind, event.name) for event in events] == [
        (0, -1, -1, "mark", "during"),
        (0, -1, -1, "span", "stretch"),
    ]
    assert events[0].fields == {"step": 1}
    assert events[1].end_ns is not None
    assert events[1].end_ns >= events[1].reading_ns


def test_several_executors_keep_a_mark_each_and_their_folder_keeps_it_once(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    recorders = [Recorder(engine="local", folder=folder) for _ in range(3)]
    mark("three are open")
    close(recorders[0])
    mark("two are open")
    for recorder in recorders[1:]:
        close(recorder)
    mark("none is open")
    names = [[event.name for event in recorder.recording().events] for recorder in recorders]
    assert names == [["three are open"], ["three are open", "two are open"], ["three are open", "two are open"]]
    assert [event.name for event in Recording.open(folder.path).events] == ["three are open", "two are open"]


def test_a_clock_event_of_a_worker_becomes_its_clock_row() -> None:
    recorder = Recorder(engine="local", folder=None)
    snapshot = SYSTEM_CLOCK.snapshot()
    recorder.note_clock(4, clock_event(snapshot))
    close(recorder)
    assert ClockRow(4, *snapshot) in recorder.recording().clocks


# The end --------------------------------------------------------------------------------------------------------------


def test_closing_twice_writes_one_end_and_leaves_memory_readable(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    recorder = Recorder(engine="local", folder=folder)
    close(recorder)
    recorder.close(finished=9, failed=9, cancelled=9)
    for recording in (recorder.recording(), Recording.open(folder.path)):
        [end] = recording.ends
        assert (end.executor, end.finished, end.failed, end.cancelled) == (0, 3, 2, 1)
        assert recording.problems == ()


def test_a_closed_recorder_leaves_no_thread_and_nothing_that_holds_it(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    folder = RunFolder.create(tmp_path / "run", command=[])
    recorder = Recorder(engine="local", folder=folder)
    close(recorder)
    assert set(threading.enumerate()) == before
    gone = weakref.ref(recorder)
    del recorder
    gc.collect()
    assert gone() is None


def test_a_row_that_comes_after_the_end_is_kept_all_the_same(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", command=[])
    recorder = Recorder(engine="local", folder=folder)
    close(recorder)
    recorder.append(item(5))
    folder.close()
    assert items_of(recorder.recording()) == items_of(Recording.open(folder.path)) == [5]


def test_an_event_is_no_recorders_business_once_it_is_closed() -> None:
    recorder = Recorder(engine="local", folder=None)
    close(recorder)
    before = len(recorder.recording())
    mark("unheard")
    assert len(recorder.recording()) == before
    recorder.event(Event("mark", 1, None, "late, from a thread that was under way", {}))
    assert len(recorder.recording()) == before + 1


KILLED = """
import os, signal, sys
from coeval.recording import Recorder, RunFolder
from coeval.recording._rows import ItemRow

folder = RunFolder.create(sys.argv[1], command=[])
recorder = Recorder(engine="local", folder=folder)
for number in range(777):
    recorder.append(ItemRow(0, 0, number, 0, 0))
folder.spool().flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_run_of_a_killed_driver_opens_and_says_that_it_has_no_end(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert subprocess.run([sys.executable, "-c", KILLED, path], check=False, timeout=60).returncode == -9
    recording = Recording.open(path)  # a warning would be an error here: nothing is damaged
    assert items_of(recording) == list(range(777))
    [problem] = recording.problems
    assert problem.startswith("executor 0 (local) has no end: it is still running, or its process was killed.")


FORKED = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")  # later Pythons warn of forking with threads; that is what is tested
from coeval.recording import Recorder, RunFolder, mark
from coeval.recording._rows import ItemRow

recorder = Recorder(engine="local", folder=RunFolder.create(sys.argv[1], command=[]))
recorder.append(ItemRow(0, 0, 0, 0, 0))
held, forked = threading.Event(), threading.Event()

def hold_the_lock():
    with recorder._lock:
        held.set()
        forked.wait()

thread = threading.Thread(target=hold_the_lock)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    recorder.append(ItemRow(0, 0, 1, 0, 0))
    mark("in the child")
    recorder.close(finished=9, failed=9, cancelled=9)
    os._exit(0 if len(recorder.recording().items) == 2 else 1)
forked.set()
thread.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
recorder.append(ItemRow(0, 0, 2, 0, 0))
recorder.close(finished=1, failed=0, cancelled=0)
"""


def test_a_forked_childs_copy_writes_nothing_and_ends_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORKED, tmp_path / "run"], check=True, timeout=60)
    recording = Recording.open(tmp_path / "run")
    assert items_of(recording) == [0, 2]
    assert recording.events == ()
    assert [row.finished for row in recording.ends] == [1]
