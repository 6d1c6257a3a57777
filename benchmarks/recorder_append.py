"""
What recording costs a caller: microseconds per append, in memory and with a run folder.

    python benchmarks/recorder_append.py

With a folder the spool's thread encodes and writes at the same time and takes turns with the caller, so its whole cost
is in that number; "until on disk" also counts what was still waiting when the last append returned. Rows are a call's
usual two: sent and outcome.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from coeval.recording import Recorder, Recording, RunFolder
from coeval.recording._rows import OutcomeRow, Row, SentRow

ROWS = 200_000
REPEATS = 5


def rows() -> list[Row]:
    made: list[Row] = []
    for batch in range(ROWS // 2):
        made.append(SentRow(0, batch, 1, 0, [batch], 10**13 + batch))
        made.append(OutcomeRow(0, batch, 0, 1, "ok", 1, 10**13, 10**13 + 1, 10**13 + 2, 10**13 + 3))
    return made


def seconds(work: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def append_all(recorder: Recorder, given: list[Row]) -> None:
    append = recorder.append
    for row in given:
        append(row)


def append_from_threads(recorder: Recorder, given: list[Row]) -> None:
    threads = [threading.Thread(target=append_all, args=(recorder, given[part::4])) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def best_us(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(REPEATS)) / ROWS * 1e6


def in_memory(given: list[Row], work: Callable[[Recorder, list[Row]], None]) -> float:
    recorder = Recorder(engine="local", folder=None)
    taken_s = seconds(lambda: work(recorder, given))
    recorder.close(finished=0, failed=0, cancelled=0)
    return taken_s


def in_folder(given: list[Row], place: Path, *, until_on_disk: bool) -> float:
    with tempfile.TemporaryDirectory(dir=place) as parent:
        folder = RunFolder.create(Path(parent) / "run", command=sys.orig_argv)
        recorder = Recorder(engine="local", folder=folder)
        taken_s = seconds(lambda: append_all(recorder, given))
        taken_s += seconds(folder.spool().flush) if until_on_disk else 0
        recorder.close(finished=0, failed=0, cancelled=0)
    return taken_s


def reading(given: list[Row], place: Path) -> float:
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
    print(f"Python {platform.python_version()}, {platform.machine()}, {ROWS} rows, best of {REPEATS}; us per row")
    print(f"append, memory only            {best_us(lambda: in_memory(given, append_all)):6.2f}")
    print(f"append, memory, 4 threads      {best_us(lambda: in_memory(given, append_from_threads)):6.2f}")
    print(f"append, with a run folder      {best_us(lambda: in_folder(given, place, until_on_disk=False)):6.2f}")
    print(f"the same until on disk         {best_us(lambda: in_folder(given, place, until_on_disk=True)):6.2f}")
    print(f"Recording.open                 {best_us(lambda: reading(given, place)):6.2f}")


if __name__ == "__main__":
    main()
