"""
One stretch of the timeline, from the rows of many streams to a table in timeline order.

Rows stand by their keys. Equal keys are put into order by what is known of them: what happened first, then each clock's
own readings, then source and line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST
from coeval.timeline.merge._columns import MergedColumns, conformed, named
from coeval.timeline.merge._log_texts import as_batch, as_table
from coeval.timeline.merge._rows import END_COLUMNS, UNKNOWN_OF, Rows
from coeval.timeline.readers._reader import NO_READING
from coeval.timeline.readers._values import Int64Array


def merged_table(parts: Sequence[Rows], columns: MergedColumns, *, is_placed: bool) -> pa.Table:
    """
    Put rows into their order.

    Args:
        parts: of one stretch, in the order of sources.
        is_placed: their keys are estimates; otherwise raw readings, and when they were is not known.
    """
    schema = columns.schema
    if not parts:
        return schema.empty_table()
    joined = _Joined(parts)
    made = {"raw": joined.every("raw")}
    if columns.has_times:
        names = ["key", "earliest", "latest", *(END_COLUMNS if columns.has_end else ())]
        names += ["resolution"] if columns.has_resolution else []
        made |= {name: joined.every(name) for name in names}
    if columns.has_origin or not is_placed:
        made |= {name: joined.every(name) for name in ("clock", "source", "line")}
    if is_placed:
        order = row_order(made.get("key", joined.every("key")), joined)
    else:
        order = np.lexsort((made["line"], made["source"], made["raw"], made["clock"]))
    is_sorted = bool(np.all(order[1:] > order[:-1]))
    if not is_sorted:
        made = {name: np.take(values, order) for name, values in made.items()}
    payload = as_table([part.payload for part in parts], columns.payload)
    if payload is None:
        payload = pa.Table.from_batches([conformed(as_batch(part.payload), columns.payload) for part in parts])
        payload = payload.unify_dictionaries().combine_chunks()
    if not is_sorted and payload.num_columns:
        payload = pc.take(payload, pa.array(order), boundscheck=False)
    arrays: dict[str, pa.Array] = {"raw_ns": pa.array(made["raw"])}
    if columns.has_origin:
        arrays["clock"] = named(made["clock"], columns.clocks)
        arrays["source"] = named(made["source"], columns.sources)
        arrays["line"] = pa.array(made["line"])
    if columns.has_times:
        arrays |= _times(made, columns, is_placed=is_placed)
    if columns.has_origin and columns.has_assumed:
        assumed = np.repeat([part.is_assumed for part in parts], [len(part) for part in parts])
        arrays["assumed"] = pa.array(assumed if is_sorted else assumed[order])
    own = [arrays[name] for name in schema.names[: len(arrays)]]
    return pa.Table.from_arrays([*own, *payload.columns], schema=schema)


class _Joined:
    """The rows of several parts as one, column by column as somebody asks for it."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts
        self._counts = np.array([len(part) for part in parts])
        self._ends = np.cumsum(self._counts)

    def every(self, name: str) -> Int64Array:
        """A column, or the codes of sources."""
        if name == "source":
            return np.repeat(np.array([part.source for part in self._parts], dtype=np.int64), self._counts)
        return np.concatenate([_column(part, name) for part in self._parts])

    def some(self, name: str, rows: Int64Array) -> Int64Array:
        """The same of some rows."""
        found = np.empty(len(rows), dtype=np.int64)
        of = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(of).tolist():
            at = np.flatnonzero(of == number)
            part = self._parts[number]
            own = rows[at] - (self._ends[number] - len(part))
            found[at] = part.source if name == "source" else _column(part, name)[own]
        return found

    def has(self, name: str) -> bool:
        """Whether any part has such a column."""
        return any(name in part.columns for part in self._parts)


def _times(made: Mapping[str, Int64Array], columns: MergedColumns, *, is_placed: bool) -> dict[str, pa.Array]:
    """When the rows were, as far as it is known."""
    key = made["key"] if is_placed else np.full(len(made["key"]), UNKNOWN_ESTIMATE)
    estimate = _known(key, UNKNOWN_ESTIMATE)
    arrays = {
        "time": estimate.cast(pa.timestamp("ns", tz="UTC")),
        "earliest_ns": _known(made["earliest"], UNKNOWN_EARLIEST),
        "estimate_ns": estimate,
        "latest_ns": _known(made["latest"], UNKNOWN_LATEST),
    }
    if columns.has_end:
        for name in ("end_earliest", "end_estimate", "end_latest"):
            arrays[f"{name}_ns"] = _known(made[name], UNKNOWN_OF[name])
        arrays["end_raw_ns"] = _known(made["end_raw"], NO_READING)
    if columns.has_resolution:
        arrays["resolution_ns"] = pa.array(made["resolution"])
    return arrays


def row_order(key: Int64Array, rows: _Joined) -> Int64Array:
    """
    Which row stands where: by key, level, clock, its reading, source and line.

    Ties are few as a rule, and runs that are sorted already cost a stable sort little: so keys alone are sorted first,
    and nothing else is looked at but of rows that are tied.
    """
    order: Int64Array = np.argsort(key, kind="stable")
    sorted_key = np.take(key, order)
    same = sorted_key[1:] == sorted_key[:-1]
    if not bool(same.any()):
        return order
    is_tied = np.zeros(len(key), dtype=np.bool_)
    is_tied[1:] = same
    is_tied[:-1] |= same
    tied = order[is_tied]
    names = ["line", "source", "raw", "clock", *(["level"] if rows.has("level") else [])]
    order[is_tied] = tied[np.lexsort([*(rows.some(name, tied) for name in names), sorted_key[is_tied]])]
    return order


def _column(part: Rows, name: str) -> Int64Array:
    values = part.columns.get(name)
    return np.full(len(part), UNKNOWN_OF.get(name, 0), dtype=np.int64) if values is None else values


def _known(values: Int64Array, unknown: int) -> pa.Array:
    mask = values == unknown
    return pa.array(values, mask=mask) if bool(mask.any()) else pa.array(values)
