"""
What recording costs: microseconds per call in memory, per append also with a run folder, and per call on its worker.

    python benchmarks/recorder_append.py

With a folder the spool's thread encodes and writes at the same time and takes turns with the caller, so its whole cost
is in that number; "until on disk" also counts what was still waiting when the last append returned. Rows are a call's
usual two: sent and outcome; "a call" makes both and appends both. On its worker a call is told who it is.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from coeval.recording import Attempt, Recorder, Recording, RunFolder, running_call
from coeval.recording._capture import Running, run_in_process
from coeval.recording._raw_rows import RawRow, outcome_row, sent_row

ROWS = 200_000
REPEATS = 5


def rows() -> list[RawRow]:
    made: list[RawRow] = []
    record_calls(made.append)
    return made


def record_calls(append: Callable[[RawRow], None]) -> None:
    for batch in range(ROWS // 2):
        append(sent_row(0, batch, 1, 0, (batch,), 10**13 + batch))
        append(outcome_row(0, batch, 0, 1, "ok", 1, 10**13, 10**13 + 1, 10**13 + 2, 10**13 + 3))


def seconds(work: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def append_all(recorder: Recorder, given: list[RawRow]) -> None:
    append = recorder.append
    for row in given:
        append(row)


def append_from_threads(recorder: Recorder, given: list[RawRow]) -> None:
    threads = [threading.Thread(target=append_all, args=(recorder, given[part::4])) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def best_us(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(REPEATS)) / ROWS * 1e6


def in_memory(given: list[RawRow], work: Callable[[Recorder, list[RawRow]], None]) -> float:
    recorder = Recorder(engine="local", folder=None)
    taken_s = seconds(lambda: work(recorder, given))
    recorder.close(finished=0, failed=0, cancelled=0)
    return taken_s


def whole_calls() -> float:
    recorder = Recorder(engine="local", folder=None)
    taken_s = seconds(lambda: record_calls(recorder.append))
    recorder.close(finished=0, failed=0, cancelled=0)
    return 2 * taken_s


def told_by_assignment() -> None:
    running = Running(-1, 1, -1, [])
    run_in_process(running)
    for number in range(ROWS):
        running.call, running.item = number, number
        running.item = -1
    run_in_process(None)


def told_by_block() -> None:
    for number in range(ROWS):
        with running_call(Attempt(number, 1), number, [], whole_process=True):
            pass


def in_folder(given: list[RawRow], place: Path, *, until_on_disk: bool) -> float:
    with tempfile.TemporaryDirectory(dir=place) as parent:
        folder = RunFolder.create(Path(parent) / "run", command=sys.orig_argv)
        recorder = Recorder(engine="local", folder=folder)
        taken_s = seconds(lambda: append_all(recorder, given))
        taken_s += seconds(folder.spool().flush) if until_on_disk else 0
        recorder.close(finished=0, failed=0, cancelled=0)
    return taken_s


def reading(given: list[RawRow], place: Path) -> float:
    with tempfile.TemporaryDirectory(dir=place) as parent:
        folder = RunFolder.create(Path(parent) / "run", command=sys.orig_argv)
        recorder = Recorder(engine="local", folder=folder)
        append_all(recorder, given)
        recorder.close(finished=0, failed=0, cancelled=0)
        return seconds(lambda: _open(folder.path))


def _open(path: Path) -> None:
    assert len(Recording.open(path).outcomes) == ROWS // 2


def main() -> None:
    given, place = rows(), Path(tempfile.gettempdir())
    print(f"Python {platform.python_version()}, {platform.machine()}, {ROWS} rows, best of {REPEATS}; us")
    print(f"a call, memory only            {best_us(whole_calls):6.2f}")
    print(f"append, memory only            {best_us(lambda: in_memory(given, append_all)):6.2f}")
    print(f"append, memory, 4 threads      {best_us(lambda: in_memory(given, append_from_threads)):6.2f}")
    print(f"append, with a run folder      {best_us(lambda: in_folder(given, place, until_on_disk=False)):6.2f}")
    print(f"the same until on disk         {best_us(lambda: in_folder(given, place, until_on_disk=True)):6.2f}")
    print(f"Recording.open                 {best_us(lambda: reading(given, place)):6.2f}")
    print(f"a call on a worker             {best_us(lambda: seconds(told_by_assignment)):6.2f}")
    print(f"the same by a `with` block     {best_us(lambda: seconds(told_by_block)):6.2f}")


if __name__ == "__main__":
    main()
