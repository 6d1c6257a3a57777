"""
Whether something was left behind: processes, threads, descriptors, shared memory.

Read from /proc, so on Linux only. What is compared is how much there is of each: a worker that was replaced is no leak.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from coeval.testing._gate import wait_until

# What is on its way out has this long to go. Longer only delays the report of a real leak.
SETTLE_S = 5.0


_SEGMENT = "/memfd:coeval-segment"


class Leak(AssertionError):
    """Something is there that was not there before."""


class Holdings(NamedTuple):
    """
    What this process holds.

    Attributes:
        processes: its descendants, zombies too, as "pid command".
        threads: its live threads, as "name (ident)".
        descriptors: its open descriptors, as "number -> target".
        segments: shared memory that it maps, and coeval's files under /dev/shm.
    """

    processes: frozenset[str]
    threads: frozenset[str]
    descriptors: frozenset[str]
    segments: frozenset[str]

    def without_idle_memory(self) -> Holdings:
        """All but the memory that an open executor keeps for the next large value; it is bounded."""
        return self._replace(
            descriptors=frozenset(name for name in self.descriptors if _SEGMENT not in name),
            segments=frozenset(name for name in self.segments if _SEGMENT not in name),
        )

    def beyond(self, before: Holdings) -> dict[str, list[str]]:
        """Of what there is more of than before: the new ones, by kind."""
        return {
            kind: sorted(now - then)
            for kind, now, then in zip(self._fields, self, before, strict=True)
            if len(now) > len(then)
        }


def holdings() -> Holdings:
    """Look what this process holds now."""
    return Holdings(
        frozenset(_descendants(os.getpid())),
        frozenset(f"{thread.name} ({thread.ident})" for thread in threading.enumerate()),
        frozenset(_descriptors()),
        frozenset(_segments()),
    )


def check_nothing_beyond(before: Holdings, settle_s: float = SETTLE_S, *, is_open: bool = False) -> None:
    """
    Wait until there is no more of anything than before.

    Args:
        is_open: an executor is open, which may keep memory for the next large value.

    Raises:
        Leak: there still was after `settle_s`.
    """

    def beyond() -> dict[str, list[str]]:
        now = holdings()
        return (now.without_idle_memory() if is_open else now).beyond(
            before.without_idle_memory() if is_open else before
        )

    if not wait_until(lambda: not beyond(), settle_s):
        left = beyond()
        if left:
            lines = [f"{kind}: {', '.join(new)}" for kind, new in left.items()]
            raise Leak(f"left behind after {settle_s:g} s\n  " + "\n  ".join(lines))


@contextmanager
def leaks(settle_s: float = SETTLE_S) -> Iterator[None]:
    """
    Check that a block leaves nothing behind: no process, thread, descriptor or shared memory.

    What is still on its way out has `settle_s` to go. If the block itself raises, nothing is checked.

    Raises:
        Leak: there is more of something than before; it is named.
    """
    before = holdings()
    yield
    check_nothing_beyond(before, settle_s)


def memory_files() -> dict[tuple[int, int], int]:
    """Anonymous files in memory that this process and its descendants have open: their sizes, by device and inode."""
    found: dict[tuple[int, int], int] = {}
    for pid in (os.getpid(), *(int(process.partition(" ")[0]) for process in _descendants(os.getpid()))):
        try:
            paths = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue  # gone since
        for path in paths:
            try:
                if str(path.readlink()).startswith("/memfd:"):
                    status = path.stat()
                    found[status.st_dev, status.st_ino] = status.st_size
            except OSError:
                continue
    return found


def _descendants(pid: int) -> Iterator[str]:
    for child in _children(pid):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # gone since
        yield f"{child} {command or '(ended, not reaped)'}"
        yield from _descendants(child)


def _children(pid: int) -> Iterator[int]:
    # A file for each thread that started some.
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, path.read_text().split())
        except OSError:
            continue


def _descriptors() -> Iterator[str]:
    # Listing them opens one; what cannot be read any more was that one.
    for path in Path("/proc/self/fd").iterdir():
        try:
            yield f"{path.name} -> {path.readlink()}"
        except OSError:
            continue


def _segments() -> Iterator[str]:
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/dev/shm/" in line or "/memfd:" in line:
            address, _, name = line.partition(" ")
            yield f"{name.split(maxsplit=4)[-1]} at {address}"
    # Other programs use the folder at the same time; every segment that coeval makes there is named after it.
    yield from map(str, Path("/dev/shm").glob("coeval*"))
