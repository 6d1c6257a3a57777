"""Which line or row of a file each row had that is still there after others were left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class Numbering:
    """
    Numbers of rows, kept as the numbers of those that were left out: few, so it costs nothing where all is well.

    Args:
        first: the number of the first row.
    """

    def __init__(self, first: int) -> None:
        self.first = first
        self._left_out: list[int] = []
        self._kept_before: npt.NDArray[np.int64] | None = None

    def leave_out(self, number: int) -> None:
        """The row of this number is not there. In increasing order."""
        self._left_out.append(number)
        self._kept_before = None

    def numbers_of(self, indices: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """
        The numbers that rows had.

        Args:
            indices: among the rows that are there, from 0, int64.
        """
        if self._kept_before is None:
            left_out = np.array(self._left_out, dtype=np.int64)
            self._kept_before = left_out - self.first - np.arange(len(left_out))
        indices = np.asarray(indices, dtype=np.int64)
        return indices + self.first + np.searchsorted(self._kept_before, indices, "right")
