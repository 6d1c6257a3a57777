"""
A process and all that descend from it: suspended and resumed, and what they use, read from /proc: memory, processor
time, wake-ups.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


def tree(pid: int) -> Iterator[int]:
    """`pid` and its descendants."""
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return  # the process ended
    for thread in threads:
        try:
            children = (thread / "children").read_text().split()
        except OSError:
            continue  # the thread ended
        for child in children:
            yield from tree(int(child))


def births(pid: int) -> dict[int, str]:
    """When each of `tree` began, in ticks since boot: with it a pid is never another process's."""
    return {each: born for each in tree(pid) if (born := birth(each))}


def birth(pid: int) -> str:
    """When a process began, or "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def wait_until_ended(pid: int, born: str, limit_s: float) -> None:
    """Wait for that very process, at most so long; one that only waits to be reaped has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if birth(pid) == born:
            select.select([pidfd], [], [], limit_s)
    finally:
        os.close(pidfd)


def suspend(pid: int) -> None:
    """Stop `tree`, parents first, until nobody is left who started another meanwhile."""
    stopped: set[int] = set()
    while found := [each for each in tree(pid) if each not in stopped]:
        for each in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGSTOP)
        stopped.update(found)


def resume(pid: int) -> None:
    """Let a suspended `tree` go on, children first: who waits for one finds it at work."""
    for each in [*tree(pid)][::-1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGCONT)


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process and its descendants: a page that n processes share counts 1/n in each."""
    return sum(rollup_bytes(each, "Pss") for each in tree(pid))


def memory_with_segments_bytes(pid: int) -> int:
    """The same, with the machine's whole shared memory in place of the part that they have touched."""
    private = sum(rollup_bytes(each, "Pss") - rollup_bytes(each, "Pss_Shmem") for each in tree(pid))
    return private + field_bytes(Path("/proc/meminfo").read_text(), "Shmem")


def rollup_bytes(pid: int, name: str) -> int:
    try:
        return field_bytes(Path(f"/proc/{pid}/smaps_rollup").read_text(), name)
    except OSError:
        return 0  # ended


def field_bytes(text: str, name: str) -> int:
    kilobytes = next((line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")), "0")
    return int(kilobytes) * 1024


class Activity(NamedTuple):
    """Processor time in ns and voluntary context switches, of a tree's threads but the one that looks."""

    processor_ns: int
    switches: int


def activity(pid: int) -> Activity:
    own = f"/proc/{os.getpid()}/task/{threading.get_native_id()}"
    processor_ns = switches = 0
    for each in tree(pid):
        for task in Path(f"/proc/{each}/task").iterdir():
            if str(task) == own:
                continue
            try:
                processor_ns += int((task / "schedstat").read_text().split()[0])
                status = (task / "status").read_text()
            except OSError:
                continue
            switches += int(status.partition("\nvoluntary_ctxt_switches:")[2].split(maxsplit=1)[0])
    return Activity(processor_ns, switches)


class PeakMemory:
    """Within its block, the greatest `memory_with_segments_bytes` of this process; looked at every 20 ms."""

    PAUSE_S = 0.02

    def __enter__(self) -> PeakMemory:
        self.peak_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(self.PAUSE_S):
            self.peak_bytes = max(self.peak_bytes, memory_with_segments_bytes(os.getpid()))
