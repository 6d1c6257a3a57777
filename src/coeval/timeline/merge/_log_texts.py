"""
Texts of a log that stays a log, by their places: read when they are put together with those of other logs.

Each then goes straight from the log to where they are put into their order, and not by way of a chunk of its own.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from coeval.timeline.readers._text import WHOLE_TEXT
from coeval.timeline.readers._values import Int64Array
from coeval.timeline.stamps._layout import Bytes

WHOLE_TEXTS = pa.schema([(WHOLE_TEXT, pa.string())])

# As far as the offsets of Arrow's usual texts reach.
_TOGETHER_BYTES_MAX = (1 << 31) - 1


class OpenLog:
    """A log that is read here and there; closed when nobody has it any more."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read_into(self, data: Bytes, begin: int) -> None:
        """
        Fill an array from a place on.

        Raises:
            OSError: the log is not that long any more.
        """
        # Not a map of the file: it may become shorter at any time, and that would end the process.
        got = 0
        while got < len(data) and (more := os.preadv(self._descriptor, [data[got:].data], begin + got)):
            got += more
        if got < len(data):
            raise OSError(
                f"{self._path} became shorter while it was merged: byte {begin + len(data):,} is gone; merge it again"
            )


@dataclass(frozen=True, eq=False, slots=True)
class LogTexts:
    """
    Neighbouring texts of a log; stands for a payload of them alone.

    Attributes:
        edges: where each begins in the log, and where the last one ends: one more than texts. Int64.
    """

    log: OpenLog
    edges: Int64Array

    def __len__(self) -> int:
        return len(self.edges) - 1

    @property
    def size(self) -> int:
        """In bytes."""
        return int(self.edges[-1] - self.edges[0])

    def slice(self, start: int, length: int) -> LogTexts:
        """Some of them, as a payload does it."""
        return LogTexts(self.log, self.edges[start : start + length + 1])


Payload: TypeAlias = pa.RecordBatch | LogTexts


def as_batch(payload: Payload) -> pa.RecordBatch:
    """A payload in memory."""
    if not isinstance(payload, LogTexts):
        return payload
    return pa.RecordBatch.from_arrays([_together([payload])], schema=WHOLE_TEXTS)


def as_table(payloads: Sequence[Payload], schema: pa.Schema) -> pa.Table | None:
    """Payloads one after the other, where all are texts of logs and a payload has nothing else; else None."""
    texts = [payload for payload in payloads if isinstance(payload, LogTexts)]
    is_together = sum(each.size for each in texts) <= _TOGETHER_BYTES_MAX
    if len(texts) < len(payloads) or not is_together or not WHOLE_TEXTS.equals(schema):
        return None
    return pa.Table.from_arrays([_together(texts)], schema=schema)


def _together(texts: Sequence[LogTexts]) -> pa.StringArray:
    data = np.empty(sum(each.size for each in texts), dtype=np.uint8)
    offsets = np.empty(sum(map(len, texts)) + 1, dtype=np.int32)
    row = at = 0
    for each in texts:
        begin = int(each.edges[0])
        each.log.read_into(data[at : at + each.size], begin)
        # The end of the last one is where the next one's first begins.
        np.add(each.edges, at - begin, out=offsets[row : row + len(each) + 1], casting="unsafe")
        row, at = row + len(each), at + each.size
    return pa.StringArray.from_buffers(row, pa.py_buffer(offsets), pa.py_buffer(data))
