"""
Counts since 1970 without a word on their unit: told by the band of years that they fall in.

A count of one unit between 2001-09-09 (10^9 s) and 2100 is none of another unit in the same years. What falls in no
band, or in different ones, is refused: a wrong unit is wrong by decades.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from coeval.errors import WrongTable
from coeval.timeline.readers._reader import Unit
from coeval.timeline.readers._values import BoolArray, Int64Array
from coeval.timeline.stamps._forms import EPOCH_S_MAX, EPOCH_S_MIN

UNITS: dict[Unit, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""In ns."""

_SHOWN = 3


def unit_of(counts: Int64Array, said: Unit | str, source: str) -> Unit:
    """
    The unit of a column of counts.

    Args:
        counts: int64.
        said: what somebody said it is; "": nobody did.
        source: for messages: "column ts of web.csv".

    Raises:
        WrongTable: they fit no unit, or not all the same one, or another than was said. Said is taken where they fit
            none, such as a time since the machine was started.
    """
    bands = {unit: in_band(counts, unit) for unit in UNITS}
    if said:
        for unit, band in bands.items():
            if unit != said and len(counts) and band.all():
                raise WrongTable(
                    f"{source} was said to be in {said}, but is in {unit} by its size:\n{_readings(counts)}\n"
                    f"Say unit = {unit!r}, or leave it out."
                )
        return next(unit for unit in UNITS if unit == said)
    for unit, band in bands.items():
        if band.all() and len(counts):
            return unit
    fits = np.logical_or.reduce(list(bands.values()))
    if not fits.any():
        why = "fits no unit between 2001-09-09 and 2100"
        if len(counts) and counts.min() >= 0 and counts.max() < EPOCH_S_MAX * 10**9:
            why += "; it looks monotonic, such as the time since a machine was started"
    elif fits.all():
        why = "is in different units"
    else:
        why = "has counts that fit no unit between 2001-09-09 and 2100"
        counts = np.concatenate([counts[~fits][: _SHOWN - 1], counts[fits][:1]])
    raise WrongTable(
        f"{source} {why}:\n{_readings(counts)}\n"
        "Say which with unit = 's', 'ms', 'us' or 'ns'; a clock that does not count from 1970 also needs an anchor "
        "(--anchors) or messages to be placed."
    )


def in_band(counts: Int64Array, unit: Unit) -> BoolArray:
    """Which counts are times between 2001-09-09 and 2100 in this unit, and not so few that they look monotonic."""
    per_s = 10**9 // UNITS[unit]
    return (counts >= EPOCH_S_MIN * per_s) & (counts < EPOCH_S_MAX * per_s)


def _readings(counts: Int64Array) -> str:
    """Three of them in all four units."""
    shown: Sequence[int] = [int(count) for count in counts[:_SHOWN]]
    return "\n".join(
        f"  {count}: " + ", ".join(f"{_date(count * unit_ns)} in {unit}" for unit, unit_ns in UNITS.items())
        for count in shown
    )


def _date(ns: int) -> str:
    try:
        return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // 10**9):%Y-%m-%d}"
    except OverflowError:
        return f"year {1970 + ns // (31_556_952 * 10**9)}"
