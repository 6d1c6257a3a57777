"""Texts that are stamps, read many at a time: shapes are learned from the texts themselves, the rest is read alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline.readers._values import Int64Array
from coeval.timeline.stamps._forms import Reading, read_stamp
from coeval.timeline.stamps._layout import PADDING, Bytes, Layout, layout_of, read_alike, read_rows
from coeval.timeline.stamps._written import Written, as_slice, nothing_written

_SHAPES_MAX = 12
_TRIALS_MAX = 16
# Fewer texts than this are read one by one at once.
_FEW = 8


class Shapes:
    """
    Reads stamps of given forms, and remembers what shapes they have.

    Args:
        forms: of `_forms.py`; the first that fits a text is taken.
    """

    def __init__(self, forms: tuple[str, ...]) -> None:
        self.forms = forms
        self._known: list[Layout] = []

    @property
    def is_empty(self) -> bool:
        """Whether no shape is known."""
        return not self._known

    def learn(self, text: bytes, begin: int, end: int) -> bool:
        """Remember the shape of a text that begins with a stamp; whether it is a new one."""
        layout = layout_of(text, begin, end, self.forms)
        if layout is None or layout in self._known:
            return False
        self._known.insert(0, layout)
        del self._known[_SHAPES_MAX:]
        return True

    def forget(self, useless: Layout) -> None:
        """It did not help."""
        self._known.remove(useless)

    def read_known(
        self, data: Bytes, begins: Int64Array, ends: Int64Array, rows: Int64Array
    ) -> tuple[Written, Int64Array]:
        """
        Read, of some rows, those that have a known shape.

        Args:
            data: what the texts stand in, with `PADDING` bytes after them.
            begins, ends: of each row's text, int64.
            rows: which ones, int64, ascending.

        Returns:
            A row for each text, NO_STAMP where none was read, which may only be written to where rows are left; and
            the rows that are left.
        """
        written = None
        for layout in list(self._known):
            if not len(rows):
                break
            chosen = as_slice(rows)
            fits, values = read_alike(layout, data, begins[chosen], ends[chosen])
            if len(values.state) == len(begins):
                return values, rows[:0]
            written = nothing_written(len(begins)) if written is None else written
            written.put(rows[fits], values)
            if len(values.state) * 20 < len(rows):
                self.forget(layout)
            rows = rows[~fits]
        return nothing_written(len(begins)) if written is None else written, rows

    def read_texts(self, column: pa.Array) -> Written:
        """
        Read a column of texts each of which is a stamp and nothing else.

        Args:
            column: any type of text or binary.

        Returns:
            One row for each, not to be written to; NO_STAMP where it is none, or nothing is there.
        """
        column = pc.cast(column, pa.large_binary())
        if not len(column):
            return nothing_written(0)
        values = self._of_one_shape(column)
        if values is not None:
            return values
        offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
        data = np.empty(int(offsets[-1] - offsets[0]) + PADDING, np.uint8)
        data[-PADDING:] = 0
        if column.buffers()[2] is not None:
            data[:-PADDING] = np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
        begins, ends = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
        written = nothing_written(len(column))
        rows = np.flatnonzero(ends > begins)
        for _ in range(_TRIALS_MAX):
            rows = self._read_whole(data, begins, ends, written, rows)
            if len(rows) <= _FEW or not self._learn_from(data, begins, ends, rows):
                break
        for row in rows.tolist():
            text = data[begins[row] : ends[row]].tobytes().decode("latin-1")
            written.put(np.array([row]), _row(read_stamp(text, self.forms), len(text)))
        return written

    def _of_one_shape(self, column: pa.LargeBinaryArray) -> Written | None:
        """As nearly always: all have the shape that was found last, and nothing is to be chosen or put together."""
        if not self._known:
            return None
        layout = self._known[0]
        offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
        if not bool((offsets[1:] - offsets[:-1] == layout.length).all()):
            return None
        data = np.frombuffer(column.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
        fits, values = read_rows(layout, data.reshape(-1, layout.length))
        return values if bool(fits.all()) else None

    def _read_whole(
        self, data: Bytes, begins: Int64Array, ends: Int64Array, written: Written, rows: Int64Array
    ) -> Int64Array:
        for layout in list(self._known):
            is_long = ends[rows] - begins[rows] == layout.length
            fits, values = read_alike(layout, data, begins[rows[is_long]], ends[rows[is_long]])
            written.put(rows[is_long][fits], values)
            is_long[np.flatnonzero(is_long)[~fits]] = False
            rows = rows[~is_long]
        return rows

    def _learn_from(self, data: Bytes, begins: Int64Array, ends: Int64Array, rows: Int64Array) -> bool:
        for row in rows[:: max(1, len(rows) // 4)][:4].tolist():
            text = data[begins[row] : ends[row]].tobytes()
            if self.learn(text, 0, len(text)):
                return True
        return False


def _row(reading: Reading, length: int) -> Written:
    kinds: tuple[npt.NDArray[Any], ...] = nothing_written(1)
    values = zip(kinds, (*reading, 0, length), strict=True)
    return Written._make(np.array([value], kind.dtype) for kind, value in values)
