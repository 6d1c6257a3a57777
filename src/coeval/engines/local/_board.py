"""
The board: pages shared by the pool and its workers, in which each worker shows what it is doing.

It outlives the worker, and writing to it takes no system call. So the pool knows which item a dead worker was running,
which it never started, and how long the current one has run, without one message more per item.

Each worker has a row of eight-byte cells; each cell is written by one side only, as one aligned store:

    0  key: the batch it took last and the item it began last (worker)
    1  when that item began (worker); written before the key
    2  limit: items whose key is not below this one are called back, the worker does not begin them (pool)

A reader sees an older value or the newer, both of which were true a moment ago. Calling back needs no more than that:
the worker shows a key before it looks at the limit, so after a moment longer than any store takes to become visible,
what the pool does not see begun will not be begun (`_pool_state.py`).
"""

from __future__ import annotations

import fcntl
import mmap
import os

from coeval.clocks._named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ROW_BYTES = 64
_CELL_BYTES = 8
_KEY, _STARTED, _LIMIT = range(3)

# A key is (batch << ITEM_BITS) + item. The highest item stands for none: the worker took the batch and loads its
# function; whatever happens there belongs to item 0.
# Fewer: a chunk of a map that somebody makes very large does not fit. More: batches run out, after 2 ** 39.
ITEM_BITS = 24
LOADING = (1 << ITEM_BITS) - 1

# No item is called back.
NO_LIMIT = (1 << 63) - 1


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
        batch: which batch it took last, counted by the pool in the order of handing over; -1 before the first.
        item: the item it began last; `LOADING` before the first.
        started_ns: the item's start on the raw clock that pool and worker share; 0 while loading.
    """

    batch: int
    item: int
    started_ns: int


# What a row shows before its worker took anything.
BLANK = BoardReading(-1, LOADING, 0)


def key_of(batch: int, item: int) -> int:
    """The key of an item."""
    return (batch << ITEM_BITS) + item


def turn_and_item(key: int) -> tuple[int, int]:
    """Which batch and item a key is of."""
    return key >> ITEM_BITS, key & LOADING


class Board:
    """
    The pool's side.

    Args:
        rows: for so many workers at once.

    Attributes:
        fd: goes to every worker.
    """

    def __init__(self, rows: int) -> None:
        fd = above_standard_streams(_anonymous_file())
        try:
            size = -(-rows * ROW_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE
            os.ftruncate(fd, size)
            self._memory = mmap.mmap(fd, size)
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        self._cells = memoryview(self._memory).cast("q")
        self._free = list(range(rows - 1, -1, -1))

    def take_row(self) -> int:
        """A row for a new worker."""
        row = self._free.pop()
        first = row * (ROW_BYTES // _CELL_BYTES)
        self._cells[first + _KEY] = key_of(BLANK.batch, BLANK.item)
        self._cells[first + _STARTED] = 0
        self._cells[first + _LIMIT] = NO_LIMIT
        return row

    def give_row_back(self, row: int) -> None:
        """Its worker is gone."""
        self._free.append(row)

    def read(self, row: int) -> BoardReading:
        """Read what a worker is or was doing."""
        first = row * (ROW_BYTES // _CELL_BYTES)
        while True:  # until no item began between the two
            key = self._cells[first + _KEY]
            started_ns = self._cells[first + _STARTED]
            if self._cells[first + _KEY] == key:
                return BoardReading(*turn_and_item(key), started_ns)

    def call_back(self, row: int, key: int) -> None:
        """The worker shall not begin this item and what comes after it; `NO_LIMIT`: it may."""
        self._cells[row * (ROW_BYTES // _CELL_BYTES) + _LIMIT] = key

    def close(self) -> None:
        """Give the memory and the descriptor back."""
        self._cells.release()
        self._memory.close()
        os.close(self.fd)


class Row:
    """
    The worker's side.

    Args:
        fd: the board's.
        offset: of its row, in bytes.
    """

    __slots__ = ("_cells", "_first")

    def __init__(self, fd: int, offset: int) -> None:
        # The mapping lives as long as the process.
        self._cells = memoryview(mmap.mmap(fd, os.fstat(fd).st_size)).cast("q")
        self._first = offset // _CELL_BYTES

    def take(self, batch: int) -> bool:
        """The worker has taken a batch; False: it was called back."""
        cells, first, key = self._cells, self._first, batch << ITEM_BITS
        cells[first + _STARTED] = 0
        cells[first + _KEY] = key + LOADING
        return key < cells[first + _LIMIT]

    def beginner(self, batch: int) -> Callable[[int, int], bool]:
        """Give the function by which items of a batch begin: item and start to "go on", or False: called back."""
        base, first = batch << ITEM_BITS, self._first
        key_cell, started_cell, limit_cell = first + _KEY, first + _STARTED, first + _LIMIT

        def begin(item: int, started_ns: int) -> bool:
            cells = self._cells
            cells[started_cell] = started_ns
            cells[key_cell] = key = base + item
            return key < cells[limit_cell]

        return begin

    def leave(self) -> None:
        """This process is a forked child: it shows nothing, and begins nothing."""
        nothing = memoryview(bytearray(len(self._cells) * _CELL_BYTES)).cast("q")
        nothing[self._first + _LIMIT] = -1
        self._cells = nothing


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("coeval-board")
    import tempfile

    fd, path = tempfile.mkstemp(prefix="coeval-board-")
    os.unlink(path)  # noqa: PTH108  # `pathlib` is not free
    return fd
