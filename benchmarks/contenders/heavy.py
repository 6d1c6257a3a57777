"""The calls that need numpy and pandas: importing this file brings both, as a user's own module would."""

import gc
from typing import Any

import numpy
import pandas  # type: ignore[import-untyped, unused-ignore]

from benchmarks.contenders import calls

_kept: "dict[int, Any]" = {}


def meet(place: "tuple[str, int]") -> int:
    """As `calls.meet`, after using both libraries."""
    assert int(pandas.Series(numpy.arange(10)).sum()) == 45
    return calls.meet(place)


def meet_collected(place: "tuple[str, int]") -> int:
    """As `meet`, after a collection, which writes to the header of every object."""
    gc.collect()
    return meet(place)


def meet_with_array(place: "tuple[str, int]") -> int:
    """As `meet`, and this worker has made the array that it is going to return."""
    kept_array((calls.ARRAY_BYTES, 1.0))
    return meet(place)


def element(given: "tuple[Any, int]") -> float:
    array, index = given
    return float(array[index])


def element_of(array: Any, index: int) -> float:
    return float(array[index])


def kept_array(given: "tuple[int, float]") -> Any:
    """Return an array that this worker keeps, of so many bytes, with its first element changed."""
    size_bytes, first = given
    if size_bytes not in _kept:
        _kept[size_bytes] = numpy.ones(size_bytes // 8)
    _kept[size_bytes][0] = first
    return _kept[size_bytes]
