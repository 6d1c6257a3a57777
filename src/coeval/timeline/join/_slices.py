"""
Work on long columns, slice by slice, on all processors.

numpy and Arrow let other threads run while they work, and a slice is in a processor's cache when it is looked at again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

import numpy as np

from coeval.timeline.join._groups import Int64Array

ROWS_IN_SLICE = 1 << 18

_PIECES_MAX = 10_000

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the items' order; who stops asking stops the work."""
    waiting = list(items)
    if len(waiting) < 2:
        yield from map(work, waiting)
        return
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="coeval-join") as pool:
        try:
            yield from pool.map(work, waiting)
        finally:
            pool.shutdown(cancel_futures=True)


def slices(count: int, rows: int = ROWS_IN_SLICE) -> list[slice]:
    """Cut so many rows."""
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]


def without(column: Int64Array, dropped: Int64Array) -> Int64Array:
    """All but some rows, which are given in ascending order."""
    if len(dropped) > _PIECES_MAX:
        return np.delete(column, dropped)
    # A few rows: copying what is between them is several times as fast as choosing row by row.
    result = np.empty(len(column) - len(dropped), dtype=np.int64)
    edges = [0, *(dropped + 1).tolist()]
    for number, (start, stop) in enumerate(zip(edges, [*dropped.tolist(), len(column)], strict=True)):
        result[start - number : stop - number] = column[start:stop]
    return result


class KeptRows:
    """
    The numbers of the rows that are left when a few are dropped: an array of them that takes no memory.

    Args:
        dropped: rows, in ascending order.
    """

    def __init__(self, dropped: Int64Array) -> None:
        # Of each dropped row, how many that are kept stand before it.
        self._before = dropped - np.arange(len(dropped))

    def __getitem__(self, places: Int64Array) -> Int64Array:
        rows: Int64Array = places + np.searchsorted(self._before, places, side="right")
        return rows


Rows: TypeAlias = Int64Array | KeptRows
"""Numbers of rows, by place."""


def kept_rows(count: int, dropped: Int64Array) -> Rows:
    """All of so many rows but some, which are given in ascending order."""
    return KeptRows(dropped) if len(dropped) <= _PIECES_MAX else np.delete(np.arange(count), dropped)
