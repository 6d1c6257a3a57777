"""
The board: a page shared by the pool and one worker, in which the worker shows what it is doing.

It outlives the worker, and writing to it takes no system call. So the pool knows which item a dead worker was running,
which it never started, and how long the current one has run, without one message more per item.

The worker writes each cell as one aligned eight-byte store, `item` last; the pool may read between two of them and then
sees the older item or the newer, both of which were true a moment ago.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

_BYTES = mmap.PAGESIZE

# The worker took the batch but has not begun an item: it loads the function. Whatever happens there belongs to item 0.
LOADING = -1


def above_standard_streams(fd: int) -> int:
    """Give a descriptor another number where its own is that of a standard stream: a worker gets those anew."""
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


class BoardReading(NamedTuple):
    """
    What a worker was doing.

    Attributes:
        batch: id of the batch it took last; -1 before the first.
        item: the item it began last; `LOADING` before the first.
        started_ns: the item's start on the raw clock that pool and worker share; 0 while loading.
    """

    batch: int
    item: int
    started_ns: int


# What a board shows before its worker took anything.
BLANK = BoardReading(-1, LOADING, 0)


class Board:
    """One worker's board; the same class at both ends."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, _BYTES)
        self._cells = memoryview(self._memory).cast("q")

    @classmethod
    def create(cls) -> Board:
        """Make a fresh board (the pool's side)."""
        if hasattr(os, "memfd_create"):
            made = os.memfd_create("coeval-board")
        else:
            made, path = tempfile.mkstemp(prefix="coeval-board-")
            Path(path).unlink()
        fd = above_standard_streams(made)
        try:
            os.ftruncate(fd, _BYTES)
            board = cls(fd)
        except BaseException:
            os.close(fd)
            raise
        board.take(BLANK.batch)
        return board

    def take(self, batch: int) -> None:
        """The worker has taken a batch."""
        self._cells[1] = LOADING
        self._cells[2] = 0
        self._cells[0] = batch

    def begin(self, item: int, started_ns: int) -> None:
        """The worker begins an item."""
        self._cells[2] = started_ns
        self._cells[1] = item

    def read(self) -> BoardReading:
        """Read what the worker is or was doing."""
        return BoardReading(self._cells[0], self._cells[1], self._cells[2])

    def close(self) -> None:
        """Give the memory and the descriptor back."""
        self._cells.release()
        self._memory.close()
        os.close(self.fd)
