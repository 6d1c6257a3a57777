"""
Whole lines of a part of a text file, in blocks of some megabytes.

A line belongs to the part that its first byte is in. Lines end with \\n or \\r\\n; the last one need not end. Nothing
is decoded here: bytes that are no UTF-8 stay, and only what is shown of them later has replacement characters. A file
that is damaged gives every whole line before the damage.
"""

from __future__ import annotations

import sys
from typing import IO, NamedTuple

import numpy as np

from coeval.timeline.readers._input import DAMAGED
from coeval.timeline.readers._values import Int64Array
from coeval.timeline.stamps._layout import PADDING, Bytes

BLOCK_BYTES = 1 << 22
"""Larger: no faster, as blocks no longer fit the cache. Smaller: more Python per byte."""

BEYOND_BYTES = 1 << 16
"""What is read at once beyond a part's end, where one line is usually all that is wanted."""

LINE_BYTES_MAX = 1 << 26
"""A line is cut here, and that is said: a file without line ends would otherwise fill the memory."""

NEWLINE, RETURN = 10, 13
_BOM = b"\xef\xbb\xbf"


class LineBlock(NamedTuple):
    """
    Consecutive lines.

    Attributes:
        data: their bytes, and `PADDING` more.
        size: of `data`, without the padding.
        begins, ends: of each line, int64; a line end is left out, but for the \\r of a \\r\\n.
        own: how many begin before the part's end; the others are the next part's.
        is_last: the file ends here.
        at: the place of `data`'s first byte in the file.
    """

    data: Bytes
    size: int
    begins: Int64Array
    ends: Int64Array
    own: int
    is_last: bool
    at: int


class LineBlocks:
    """
    Reads the lines of a part, and on beyond its end for as long as somebody asks.

    Args:
        file: what to read; it must be able to seek where the part does not begin at the file's begin.
        start, stop: the part's bytes; None: to the end.
        block_bytes: about how much is read at once.

    Attributes:
        problems: what kept the file from being read to its end, and lines that were cut.
    """

    def __init__(self, file: IO[bytes], start: int, stop: int | None, block_bytes: int = BLOCK_BYTES) -> None:
        self.problems: list[str] = []
        self._file = file
        self._stop = stop
        self._block_bytes = block_bytes
        # A part that begins within a line leaves it to the part before: so one byte more is read, to see.
        self._is_skipping = start > 0
        self._at = start - 1 if start else 0
        if start:
            file.seek(self._at)
        self._held: Bytes = np.zeros(0, np.uint8)
        self._is_over = False
        self._is_begin = start == 0

    def next(self, keep: bytes | Bytes = b"") -> LineBlock | None:
        """
        The next lines; None: there are none.

        Args:
            keep: whole lines of the block before, from one of them to its last, that are to come again.
        """
        if len(keep):
            self._held = np.concatenate([np.frombuffer(keep, np.uint8), self._held])
        while not self._is_over:
            block = self._read()
            if block is not None:
                return block
        return None

    def _read(self) -> LineBlock | None:
        if self._is_skipping:
            self._skip_line()
        held = self._held
        data = np.empty(len(held) + self._wanted_bytes(len(held)) + PADDING, np.uint8)
        data[: len(held)] = held
        got, is_damaged = self._fill(data[len(held) : -PADDING])
        size = len(held) + got
        data[size:] = 0
        begin_at = self._at - len(held)
        self._at += got
        self._is_over = size < len(data) - PADDING
        skipped = self._mark_bytes(data, size)
        newlines = line_ends(data[:size])
        begins = np.concatenate([np.array([skipped]), newlines + 1])
        ends = newlines
        if self._is_over and begins[-1] < size and not is_damaged:
            ends = np.append(newlines, size)
        elif not self._is_over and size - begins[-1] > LINE_BYTES_MAX:
            self.problems.append(f"a line has more than {LINE_BYTES_MAX:,} bytes; what is beyond is left out")
            ends = np.append(newlines, size)
            self._is_skipping = True
        rest = begins[len(ends)] if len(ends) < len(begins) else size
        begins = begins[: len(ends)]
        self._held = data[rest:size].copy() if not self._is_over else data[:0]
        if not len(begins):
            return None
        own = len(begins)
        if self._stop is not None and begin_at + size > self._stop:
            own = int(np.searchsorted(begins, self._stop - begin_at, "left"))
        # A line whose end is the file's has no \n behind it, and nothing that follows.
        end = int(min(ends[-1] + 1, size))
        data[end:] = 0
        return LineBlock(data[: end + PADDING], end, begins, ends, own, self._is_over, begin_at)

    def _wanted_bytes(self, held: int) -> int:
        if self._stop is None:
            return max(self._block_bytes, held)
        if self._at < self._stop:
            # To the part's end and not beyond, where it is near.
            return min(max(self._block_bytes, held), self._stop - self._at)
        return max(min(BEYOND_BYTES, self._block_bytes), held)

    def _fill(self, target: Bytes) -> tuple[int, bool]:
        """How many bytes there were, and whether the file is damaged after them."""
        view, got = target.data, 0
        try:
            while got < len(target) and (more := self._file.readinto(view[got:])):  # type: ignore[attr-defined]
                got += more
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self.problems.append(
                f"it is damaged or was cut: {str(error) or type(error).__name__}; every whole line before is read"
            )
            return got, True
        return got, False

    def _mark_bytes(self, data: Bytes, size: int) -> int:
        """How long the byte order mark is that the file begins with."""
        if not self._is_begin or not size:
            return 0
        self._is_begin = False
        return len(_BOM) if data[: len(_BOM)].tobytes() == _BOM else 0

    def _skip_line(self) -> None:
        """Go on to behind the next line end."""
        self._is_skipping = False
        while True:
            data = np.empty(BEYOND_BYTES, np.uint8)
            got, is_damaged = self._fill(data)
            self._at += got
            newlines = line_ends(data[:got])
            if len(newlines):
                self._held = np.concatenate([self._held, data[newlines[0] + 1 : got]])
                return
            if got < len(data) or is_damaged:
                return


# The place of the one byte that is 1 in eight bytes comes out in the topmost eight bits of their product with this.
_PLACE_OF_ONE = np.uint64(0x0001020304050607)


# So much is looked at at once: it fits the cache with what is made of it, and the memory for that is used again, where
# for a whole block the system would have to clear as much as was read.
_AT_ONCE_BYTES = 1 << 20


def line_ends(data: Bytes) -> Int64Array:
    """The places of all line ends."""
    found = []
    for start in range(0, len(data), _AT_ONCE_BYTES):
        places = _line_ends(data[start : start + _AT_ONCE_BYTES])
        places += start
        found.append(places)
    return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.int64), *found])


def _line_ends(data: Bytes) -> Int64Array:
    """
    Lines are longer than eight bytes as a rule: then the eights that hold a line end are looked for, which takes half
    as long as to look at every byte.
    """
    is_end = data == NEWLINE
    whole = len(data) & ~7
    eights = is_end[:whole].view(np.uint64)
    at = np.flatnonzero(eights != 0)
    found = eights[at]
    if sys.byteorder == "big" or bool((found & (found - np.uint64(1))).any()):
        return np.flatnonzero(is_end)
    at <<= 3
    at += ((found * _PLACE_OF_ONE) >> np.uint64(56)).view(np.int64)
    return at if whole == len(data) else np.append(at, np.flatnonzero(is_end[whole:]) + whole)
