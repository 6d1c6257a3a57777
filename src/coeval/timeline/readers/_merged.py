"""
Timelines that coeval wrote, read back: their raw readings are what counts, and what was made of them is left out.

A table says nothing of its stamps' resolution. It is read off them, source by source, for each wrote its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from coeval.errors import WrongTable
from coeval.timeline._layout import END_INSTANT, INSTANT, LAYOUT
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._stamp_columns import StampColumns
from coeval.timeline.readers._table_events import Rows, TableEvents, batches_by_resolution, filtered, grains_by_code_ns
from coeval.timeline.readers._values import BoolArray, as_numpy, flags, names

_LAYOUT_KEY = b"coeval.layout"

DERIVED = ("time", *INSTANT, *END_INSTANT, "assumed")
"""Columns that a later merge makes anew."""


def merged_columns(schema: pa.Schema, source: str, settings: SourceSettings) -> StampColumns | None:
    """
    Where the stamps of a timeline are; None: it is none of coeval's, or somebody said which column is the time.

    Raises:
        WrongTable: a later coeval wrote it, or its columns were taken away.
    """
    layout = (schema.metadata or {}).get(_LAYOUT_KEY)
    if layout is None or settings.time:
        return None
    if not layout.isdigit() or int(layout) > LAYOUT:
        raise WrongTable(
            f"{source} is a timeline of layout {layout.decode(errors='replace')}, and this coeval knows layouts up to "
            f"{LAYOUT}: update coeval."
        )
    if "raw_ns" not in schema.names:
        # Somebody's own choice of columns, such as a SELECT: a table like any other.
        return None
    end = "end_raw_ns" if "end_raw_ns" in schema.names else ""
    clock = "clock" if "clock" in schema.names and not settings.clock else ""
    return StampColumns("raw_ns", end, clock, "ns", "ns" if end else "", True)


class MergedEvents:
    """Makes events of a timeline's rows, as `TableEvents`; their old source and line are payload."""

    def __init__(self, stamps: StampColumns, part: Part, tally: Tally, wanted: Collection[str] | None) -> None:
        left_out = [*DERIVED, *([] if not stamps.clock else ["clock"])]
        self._events = TableEvents(stamps, part, tally, wanted, left_out)

    def of(self, rows: Rows) -> Iterator[EventBatch]:
        """See `TableEvents.of`."""
        columns = rows.columns
        codes = np.zeros(columns.num_rows, dtype=np.int64)
        if "source" in columns.schema.names:
            codes = names(columns.column("source"))[0] + 1
        assumed = np.zeros(columns.num_rows, dtype=np.bool_)
        if "assumed" in columns.schema.names:
            assumed = _said(columns.column("assumed"))
        first = int(rows.lines[0]) if len(rows.lines) else 0
        for batch in self._events.of(rows):
            at = batch.lines - first
            resolution = grains_by_code_ns(codes[at], batch.raw_ns)
            for value in (False, True):
                mask = assumed[at] == value
                if mask.any():
                    some = batch if mask.all() else filtered(batch, mask)
                    yield from batches_by_resolution(
                        replace(some, is_assumed=value), resolution[mask], np.ones(len(some), dtype=np.bool_)
                    )


def _said(column: pa.Array) -> BoolArray:
    values, _ = flags(column)
    said: BoolArray = values & ~as_numpy(column.is_null())
    return said
