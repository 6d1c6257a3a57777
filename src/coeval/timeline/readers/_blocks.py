"""
Blocks of whole lines, for the formats whose parsers take megabytes of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coeval.timeline.readers._input import is_plain, open_input, size_of
from coeval.timeline.readers._lines import LineBlocks
from coeval.timeline.readers._reader import Part, SourceSettings, Tally
from coeval.timeline.readers._values import Int64Array

_SHOWN_MAX = 2000
_ASCII_MAX = 127


class Block(NamedTuple):
    """
    Whole lines.

    Attributes:
        data: their bytes; the last one may lack its line end.
        first: the first one's number, from 0 at the part's start.
        begins: where each begins; None: not known.
    """

    data: bytes
    first: int
    begins: Int64Array | None = None


class BlockView(NamedTuple):
    """The same, with a view of what was read instead of bytes of their own."""

    data: memoryview
    first: int
    begins: Int64Array


def byte_parts(source: str, path: str, reader: str, settings: SourceSettings, size: int) -> Sequence[Part]:
    """A file in parts of at most so many bytes; a compressed one in one, since it is read from its start."""
    if not is_plain(path):
        return [Part(source, path, reader, settings)]
    total = size_of(path)
    # Of equal size, so that whoever reads them side by side is done at the same time.
    size = -(-max(total, 1) // -(-max(total, 1) // max(size, 1)))
    starts = range(0, max(total, 1), size)
    return [Part(source, path, reader, settings, start, min(start + size, total)) for start in starts]


def blocks(part: Part, tally: Tally) -> Iterator[Block]:
    """The lines of a part; see `views`."""
    for view in views(part, tally):
        yield Block(view.data.tobytes(), view.first, view.begins)


def views(part: Part, tally: Tally) -> Iterator[BlockView]:
    """
    The lines of a part.

    Args:
        tally: counts the lines, and takes what kept the file from being read to its end.
    """
    with closing(open_input(part.path)) as file:
        lines = LineBlocks(file, part.start, part.stop)
        while (found := lines.next()) is not None and found.own:
            is_end = found.own < len(found.begins)
            stop = int(found.begins[found.own]) if is_end else found.size
            first = tally.lines
            tally.lines += found.own
            begin = int(found.begins[0])
            yield BlockView(found.data[begin:stop].data, first, found.begins[: found.own] - begin)
            if is_end:
                break
        tally.problems += [f"{part.source}: {problem}" for problem in lines.problems]


def text_lines(block: Block | BlockView) -> tuple[pa.StringArray, Int64Array, list[tuple[int, bytes]]]:
    """
    The lines of a block that are not blank.

    Returns:
        Their texts, the number of each, and those that are not UTF-8: numbers and bytes.
    """
    data = block.data if block.data[-1:] == b"\n" else bytes(block.data) + b"\n"
    begins = block.begins
    if begins is None:
        begins = np.flatnonzero(np.frombuffer(data, dtype=np.uint8)[:-1] == 10) + 1
        begins = np.insert(begins, 0, 0)
    offsets = np.empty(len(begins) + 1, dtype=np.int32)
    offsets[:-1], offsets[-1] = begins, len(data)
    numbers = block.first + np.arange(len(begins), dtype=np.int64)
    texts = pa.StringArray.from_buffers(len(begins), pa.py_buffer(offsets), pa.py_buffer(data))
    odd: list[tuple[int, bytes]] = []
    good = np.ones(len(begins), dtype=np.bool_)
    try:
        # What is ASCII is UTF-8, and that is seen sooner.
        if np.frombuffer(data, dtype=np.uint8).max() > _ASCII_MAX:
            texts.validate(full=True)
    except pa.ArrowInvalid:
        for row, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
            line = bytes(data[start:end])
            try:
                line.decode()
            except UnicodeDecodeError:
                good[row] = False
                odd.append((block.first + row, line))
    # What begins with neither space nor a line end is not blank.
    for row in np.flatnonzero(np.frombuffer(data, dtype=np.uint8)[offsets[:-1]] <= 32).tolist():
        if not bytes(data[offsets[row] : offsets[row + 1]]).strip():
            good[row] = False
    if not good.all():
        texts, numbers = texts.filter(pa.array(good)), numbers[good]
    return texts, numbers, odd


def shown(line: bytes) -> dict[str, str | None]:
    """A line that is set aside, for people."""
    return {"text": line[:_SHOWN_MAX].rstrip(b"\r\n").decode(errors="backslashreplace")}
