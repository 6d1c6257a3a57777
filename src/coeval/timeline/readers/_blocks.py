"""
Blocks of whole lines: how formats of lines are read, each part alone, megabytes at a time.

A line belongs to the part that its first byte is in. What a damaged file still has of a line is no line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa

from coeval.timeline.readers._input import DAMAGED, is_plain, open_input, size_of
from coeval.timeline.readers._reader import Part, SourceSettings, Tally
from coeval.timeline.readers._set_aside import SetAsideRow
from coeval.timeline.readers._values import Int64Array

BLOCK_BYTES = 4 << 20
_PIECE_BYTES = 1 << 20

# Longer ones are set aside: a file without line ends must not fill the memory.
LINE_BYTES_MAX = 64 << 20

_SHOWN_MAX = 2000
_BOM = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """
    Whole lines.

    Attributes:
        data: their bytes; the last one may lack its line end.
        first: the first one's number, from 0 at the part's start.
    """

    data: bytes
    first: int


def byte_parts(source: str, path: str, reader: str, settings: SourceSettings, size: int) -> Sequence[Part]:
    """A file in parts of so many bytes; a compressed one in one, since it is read from its start."""
    if not is_plain(path):
        return [Part(source, path, reader, settings)]
    total = size_of(path)
    starts = range(0, max(total, 1), max(size, 1))
    return [Part(source, path, reader, settings, start, min(start + size, total)) for start in starts]


def blocks(part: Part, tally: Tally, size: int = BLOCK_BYTES) -> Iterator[Block]:
    """
    The lines of a part.

    Args:
        tally: counts the lines; takes those that are too long or cut off by damage.
    """
    lines = _Lines(part, tally)
    with closing(open_input(part.path)) as file:
        yield from lines.blocks(file, size)


def text_lines(block: Block) -> tuple[pa.StringArray, Int64Array, list[tuple[int, bytes]]]:
    """
    The lines of a block that are not blank.

    Returns:
        Their texts, the number of each, and those that are not UTF-8: numbers and bytes.
    """
    data = block.data if block.data.endswith(b"\n") else block.data + b"\n"
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 10) + 1
    offsets = np.zeros(len(ends) + 1, dtype=np.int32)
    offsets[1:] = ends
    numbers = block.first + np.arange(len(ends), dtype=np.int64)
    texts = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    odd: list[tuple[int, bytes]] = []
    good = np.ones(len(ends), dtype=np.bool_)
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        for row, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            line = data[start:end]
            try:
                line.decode()
            except UnicodeDecodeError:
                good[row] = False
                odd.append((block.first + row, line))
    # What begins with neither space nor a line end is not blank.
    for row in np.flatnonzero(np.frombuffer(data, dtype=np.uint8)[offsets[:-1]] <= 32).tolist():
        if not data[offsets[row] : offsets[row + 1]].strip():
            good[row] = False
    if not good.all():
        texts, numbers = texts.filter(pa.array(good)), numbers[good]
    return texts, numbers, odd


def shown(line: bytes) -> dict[str, str | None]:
    """A line that is set aside, for people."""
    return {"text": line[:_SHOWN_MAX].rstrip(b"\r\n").decode(errors="backslashreplace")}


class _Lines:
    """Cuts what is read of one part at line ends."""

    def __init__(self, part: Part, tally: Tally) -> None:
        self._part = part
        self._tally = tally
        self._position = part.start
        self._is_at_end = False
        self._is_damaged = False

    def blocks(self, file: IO[bytes], size: int) -> Iterator[Block]:
        rest = b""
        if self._part.start:
            file.seek(self._part.start - 1)
            self._position = self._part.start - 1
            rest = self._after_first_line_end(file)
        while True:
            more = self._read(file, max(size - len(rest), _PIECE_BYTES)) if not self._is_at_end else b""
            data = rest + more
            if not data:
                return
            start = self._position - len(data)
            end = len(data) if self._is_at_end else data.rfind(b"\n") + 1
            stop = self._part.stop
            if stop is not None and start + end >= stop:
                # The last line whose first byte is before the stop ends at the first line end at or after stop - 1.
                found = data.find(b"\n", max(stop - 1 - start, 0))
                if found >= 0 or self._is_at_end:
                    yield from self._block(data[: found + 1] if found >= 0 else data, start)
                    return
            if not end:
                if len(data) > LINE_BYTES_MAX:
                    rest = self._skip_line(file, data)
                    continue
                rest = data
                continue
            yield from self._block(data[:end], start)
            rest = data[end:]
            if self._is_at_end:
                return

    def _block(self, data: bytes, start: int) -> Iterator[Block]:
        if start == 0 and data.startswith(_BOM):
            data = b"   " + data[3:]  # so that positions stay
        if not data:
            return
        if self._is_damaged and not data.endswith(b"\n"):
            yield from self._block(data[: data.rfind(b"\n") + 1], start)
            self._set_aside(data[data.rfind(b"\n") + 1 :], "is cut off where the file is damaged")
            return
        first = self._tally.lines
        self._tally.lines += data.count(b"\n") + (not data.endswith(b"\n"))
        yield Block(data, first)

    def _read(self, file: IO[bytes], size: int) -> bytes:
        try:
            data = file.read(size)
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self._is_at_end = self._is_damaged = True
            self._tally.problems.append(f"{self._part.source} is damaged, and was read only as far as that: {error}")
            return b""
        self._position += len(data)
        self._is_at_end = not data
        return data

    def _after_first_line_end(self, file: IO[bytes]) -> bytes:
        while data := self._read(file, _PIECE_BYTES):
            found = data.find(b"\n")
            start = self._position - len(data)
            if self._part.stop is not None and (start + found if found >= 0 else self._position) >= self._part.stop - 1:
                self._is_at_end = True  # a line that began before this part is all that is in it
                return b""
            if found >= 0:
                return data[found + 1 :]
        return b""

    def _skip_line(self, file: IO[bytes], data: bytes) -> bytes:
        self._set_aside(data, f"is a line of more than {LINE_BYTES_MAX >> 20} MB")
        while more := self._read(file, _PIECE_BYTES):
            found = more.find(b"\n")
            if found >= 0:
                return more[found + 1 :]
        return b""

    def _set_aside(self, line: bytes, reason: str) -> None:
        self._tally.read += 1
        self._tally.lines += 1
        self._tally.aside.add(SetAsideRow(self._part.source, "line", self._tally.lines, reason, shown(line)))
