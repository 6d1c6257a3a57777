"""
What a stamp says as it is written, before anybody asks which clock or zone it is of. In columns, one row per stamp.

Two ways lead here, and must agree: `_forms.py` reads one text with a regular expression, and is what a form means;
`_layout.py` reads many texts of one shape at once, and takes only those that the first way would read the same.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from coeval.timeline.readers._values import BoolArray, Int64Array

NO_OFFSET = int(np.iinfo(np.int32).min)
"""Stands where a stamp names no zone."""

NO_STAMP, GOOD, IMPOSSIBLE = 0, 1, 2
"""What a text is: no stamp, a stamp, or what looks like one but is no time, such as 2026-02-30."""

YEARLESS_YEAR = 1972
"""The year that `seconds` counts in where none is written: a leap year, so that every day has its place."""


class Written(NamedTuple):
    """
    Stamps in columns of equal length. A column may be one value that stands for all rows: such can only be read.

    Attributes:
        state: NO_STAMP, GOOD or IMPOSSIBLE; of rows that are not GOOD nothing else means anything.
        seconds: from 1970-01-01 to the date and time written, as if all days had 86,400 s. Of a stamp without a year,
            in `YEARLESS_YEAR`.
        nanos: the fraction of a second.
        digits: of the fraction, 0 to 9.
        offset_s: the zone written: local time minus UTC; NO_OFFSET: none.
        is_leap: it says second 60, so `seconds` is the beginning of the next minute.
        is_yearless: it names no year.
        begin, end: where in its text it stands, in bytes.
    """

    state: npt.NDArray[np.uint8]
    seconds: Int64Array
    nanos: Int64Array
    digits: npt.NDArray[np.uint8]
    offset_s: npt.NDArray[np.int32]
    is_leap: BoolArray
    is_yearless: BoolArray
    begin: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]

    def taken(self, rows: npt.NDArray[np.int64] | BoolArray | slice) -> Written:
        """Some of the rows; neighbours are not copied."""
        chosen = as_slice(rows)
        return Written._make(column[chosen] for column in self)

    def put(self, rows: npt.NDArray[np.int64] | BoolArray, other: Written) -> None:
        """Fill rows from another."""
        own: tuple[npt.NDArray[Any], ...] = self
        chosen = as_slice(rows)
        for column, values in zip(own, other, strict=True):
            column[chosen] = values


def as_slice(rows: npt.NDArray[np.int64] | BoolArray | slice) -> npt.NDArray[np.int64] | BoolArray | slice:
    """Numbers that follow each other, as a slice: as nearly always, where each line has its stamp."""
    if isinstance(rows, slice) or rows.dtype == np.bool_ or not len(rows) or rows[-1] - rows[0] + 1 != len(rows):
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1) if bool((rows[1:] > rows[:-1]).all()) else rows


def one_for_all(column: npt.NDArray[Any]) -> bool:
    """Whether a column is one value that stands for all rows; other columns may have equal values, too."""
    return len(column) > 0 and column.strides == (0,)


def nothing_written(count: int) -> Written:
    """So many rows without a stamp."""
    return Written(
        np.zeros(count, np.uint8),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.zeros(count, np.uint8),
        np.full(count, NO_OFFSET, np.int32),
        np.zeros(count, np.bool_),
        np.zeros(count, np.bool_),
        np.zeros(count, np.int32),
        np.zeros(count, np.int32),
    )
