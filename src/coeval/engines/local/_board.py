"""
The board: pages shared by the pool and its workers, in which each worker shows what it is doing.

It outlives the worker, and writing to it takes no system call. So the pool knows which item a dead worker was running,
which it never started, and how long the current one has run, without one message more per item.

Each worker has a row of eight-byte cells; each cell is written by one side only, as one aligned store:

    0  key: the batch that it took up last and the item it began last (worker)
    1  when that item began (worker); written before the key
    2  limit: items whose key is not below this one are called back, the worker does not begin them (pool)
    3  shelf: the key of the first item on the worker's shelf (worker)
    4  when the work on what is there began (worker); written after the key

A reader sees an older value or the newer, both of which were true a moment ago. Calling back needs no more than that:
the worker shows a key before it looks at the limit, so after a moment longer than any store takes to become visible,
what the pool does not see begun will not be begun (`_pool_state.py`).

Below its cells each row has a shelf. What a worker finished and sends home later, with what follows in the same batch,
it puts there at once; so that the pool can take it where the item that follows runs for long or kills the worker. The
shelf has the values of the items from the first on up to the one that the row shows as begun, which was shown after
they had been put there; they stay until the next item but one begins.
"""

from __future__ import annotations

import fcntl
import mmap
import os

from coeval.clocks._named_tuple import NamedTuple
from coeval.engines._attempt import Piece
from coeval.engines._engine import ItemStamps
from coeval.engines._segments import Heavy
from coeval.engines.local._frames import is_pickle, pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from coeval.engines._protocol import Returned
    from coeval.recording import Event

_CELL_BYTES = 8
_KEY, _STARTED, _LIMIT, _SHELF, _SHELF_STARTED = range(5)
_CELLS = 8

# A worker's shelf holds so many values, of so many bytes together; with more, all goes home at once. So many lengths
# fit on a row's first page, below its cells; the bytes have pages of their own.
# Smaller: pieces of small calls are torn apart. Larger: only costs memory, where it is used.
SHELF_ITEMS_MAX = 504
SHELF_BYTES_MAX = 4 * mmap.PAGESIZE
ROW_BYTES = mmap.PAGESIZE + SHELF_BYTES_MAX

# A key is (batch << ITEM_BITS) + item. The highest item stands for none: the worker took the batch up and loads its
# function, or the items of a map; whatever happens there belongs to item 0. A batch of which nothing is to be loaded
# before its first item begins is shown from then on.
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
        self._cells[first + _SHELF] = key_of(BLANK.batch, BLANK.item)
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

    def kept(self, row: int, reading: BoardReading) -> Piece | None:
        """
        What was on a worker's shelf when the item of this reading ran; None: nothing, or it has gone on.

        Raises:
            Exception: a call wrote there.
        """
        cells, first = self._cells, row * (ROW_BYTES // _CELL_BYTES)
        shelf_key, started_ns = cells[first + _SHELF], cells[first + _SHELF_STARTED]
        batch, first_item = turn_and_item(shelf_key)
        count = reading.item - first_item
        if batch != reading.batch or reading.item == LOADING or count <= 0:
            return None
        lengths = cells[first + _CELLS : first + _CELLS + count].tolist()
        begin = row * ROW_BYTES + mmap.PAGESIZE
        data = self._memory[begin : begin + sum(map(abs, lengths))]
        if cells[first + _KEY] != key_of(reading.batch, reading.item) or cells[first + _SHELF] != shelf_key:
            return None
        return _unpacked(first_item, lengths, data, started_ns, reading.started_ns)

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

    __slots__ = ("_cells", "_first", "_values", "lengths", "write")

    def __init__(self, fd: int, offset: int) -> None:
        # The mapping lives as long as the process.
        self._cells = memoryview(mmap.mmap(fd, os.fstat(fd).st_size)).cast("q")
        self._first = offset // _CELL_BYTES
        self._use(mmap.mmap(fd, SHELF_BYTES_MAX, offset=offset + mmap.PAGESIZE))

    def take(self, batch: int) -> None:
        """The worker has taken a batch, and loads something before it begins the first item."""
        cells, first = self._cells, self._first
        cells[first + _STARTED] = 0
        cells[first + _KEY] = (batch << ITEM_BITS) + LOADING

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

    def clear_shelf(self, batch: int, first_item: int, started_ns: int) -> None:
        """What is put on the shelf from now on begins with this item."""
        self._cells[self._first + _SHELF] = (batch << ITEM_BITS) + first_item
        self._cells[self._first + _SHELF_STARTED] = started_ns
        self._values.seek(0)

    def leave(self) -> None:
        """This process is a forked child: it shows nothing, and begins nothing."""
        nothing = memoryview(bytearray(len(self._cells) * _CELL_BYTES)).cast("q")
        nothing[self._first + _LIMIT] = -1
        self._cells = nothing
        self._use(mmap.mmap(-1, SHELF_BYTES_MAX))

    def _use(self, values: mmap.mmap) -> None:
        begin = self._first + _CELLS
        self.lengths = self._cells[begin : begin + SHELF_ITEMS_MAX]
        self._values, self.write = values, values.write


class Shelf:
    """
    The worker's shelf, for one batch.

    An entry is the value's pickle, or a bare value packed, where the item left nothing else; else what was to travel is
    packed with the events and stamps that came with it, and its length is negative.

    Of what travels beside its pickle there is the word; the file itself was passed on before (`_parcels.py`).
    """

    __slots__ = ("_batch", "_count", "_events", "_row", "_stamps")

    def __init__(self, row: Row, batch: int) -> None:
        self._row, self._batch = row, batch
        self._count = self._events = self._stamps = 0

    def clear(self, first_item: int, started_ns: int) -> None:
        """A piece begins."""
        self._count = self._events = self._stamps = 0
        self._row.clear_shelf(self._batch, first_item, started_ns)

    def put(self, value: Returned, events: Sequence[Event], stamps: Sequence[ItemStamps]) -> bool:
        """Put the piece's next value there, with what is new of its events and stamps; False: there is no room."""
        row, count = self._row, self._count
        try:
            if events or stamps or type(value) is Heavy:
                row.lengths[count] = self._put_seldom(value, events, stamps)
            else:  # most are
                row.lengths[count] = row.write(_entry(value))
        except (ValueError, IndexError):
            return False
        self._count = count + 1
        return True

    def _put_seldom(self, value: Returned, events: Sequence[Event], stamps: Sequence[ItemStamps]) -> int:
        """Give the length to note."""
        its_events, its_stamps = [*events[self._events :]], [*stamps[self._stamps :]]
        if not its_events and not its_stamps and type(value) is not Heavy:
            return self._row.write(_entry(value))
        self._events, self._stamps = len(events), len(stamps)
        return -self._row.write(pack((value, its_events, [*map(tuple, its_stamps)])))


def _entry(value: Returned) -> bytes:
    return value if type(value) is bytes else pack(value)


def _unpacked(first: int, lengths: list[int], data: bytes, started_ns: int, finished_ns: int) -> Piece:
    values: list[Returned] = []
    events: list[Event] = []
    stamps: list[ItemStamps] = []
    begin = 0
    for length in lengths:
        entry: Any = data[begin : begin + abs(length)]
        begin += abs(length)
        if length < 0:
            entry, its_events, its_stamps = unpack(entry)
            events += its_events
            stamps += [ItemStamps(*each) for each in its_stamps]
        elif not is_pickle(entry):
            entry = unpack(entry)
        values.append(entry)
    return Piece(first, len(values), values, None, started_ns, finished_ns, events, stamps)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("coeval-board")
    import tempfile

    fd, path = tempfile.mkstemp(prefix="coeval-board-")
    os.unlink(path)  # noqa: PTH108  # `pathlib` is not free
    return fd
