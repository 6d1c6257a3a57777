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
    names = ["key", "raw", "line", "clock"]
    if columns.has_times:
        names += ["earliest", "latest", *(END_COLUMNS if columns.has_end else ())]
        names += ["resolution"] if columns.has_resolution else []
    made = {name: np.concatenate([_column(part, name) for part in parts]) for name in names}
    source = np.repeat(np.array([part.source for part in parts], dtype=np.int64), [len(part) for part in parts])
    level = None
    if any("level" in part.columns for part in parts):
        level = np.concatenate([_column(part, "level") for part in parts])
    if not is_placed:
        order = np.lexsort((made["line"], source, made["raw"], made["clock"]))
    else:
        order = row_order(made["key"], level, made["clock"], made["raw"], source, made["line"])
    is_sorted = bool(np.all(order[1:] > order[:-1]))
    if not is_sorted:
        made = {name: values[order] for name, values in made.items()}
        source = source[order]
    payload = pa.Table.from_batches([conformed(part.payload, columns.payload) for part in parts])
    payload = payload.unify_dictionaries().combine_chunks()
    if not is_sorted and payload.num_columns:
        payload = pc.take(payload, pa.array(order), boundscheck=False)
    arrays: dict[str, pa.Array] = {
        "raw_ns": pa.array(made["raw"]),
        "clock": named(made["clock"], columns.clocks),
        "source": named(source, columns.sources),
        "line": pa.array(made["line"]),
    }
    if columns.has_times:
        arrays |= _times(made, columns, is_placed=is_placed)
    if columns.has_assumed:
        assumed = np.repeat([part.is_assumed for part in parts], [len(part) for part in parts])
        arrays["assumed"] = pa.array(assumed if is_sorted else assumed[order])
    own = [arrays[name] for name in schema.names[: len(arrays)]]
    return pa.Table.from_arrays([*own, *payload.columns], schema=schema)


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


def row_order(
    key: Int64Array,
    level: Int64Array | None,
    clock: Int64Array,
    raw: Int64Array,
    source: Int64Array,
    line: Int64Array,
) -> Int64Array:
    """
    Which row stands where: by key, level, clock, its reading, source and line.

    Ties are few as a rule, and runs that are sorted already cost a stable sort little: so keys alone are sorted first.
    """
    order: Int64Array = np.argsort(key, kind="stable")
    sorted_key = key[order]
    same = sorted_key[1:] == sorted_key[:-1]
    if not bool(same.any()):
        return order
    is_tied = np.zeros(len(key), dtype=np.bool_)
    is_tied[1:] = same
    is_tied[:-1] |= same
    rows = order[is_tied]
    by = [line[rows], source[rows], raw[rows], clock[rows], sorted_key[is_tied]]
    if level is not None:
        by.insert(4, level[rows])
    order[is_tied] = rows[np.lexsort(by)]
    return order


def _column(part: Rows, name: str) -> Int64Array:
    values = part.columns.get(name)
    return np.full(len(part), UNKNOWN_OF.get(name, 0), dtype=np.int64) if values is None else values


def _known(values: Int64Array, unknown: int) -> pa.Array:
    mask = values == unknown
    return pa.array(values, mask=mask) if bool(mask.any()) else pa.array(values)
