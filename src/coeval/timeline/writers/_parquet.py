"""A timeline as a Parquet file: the layout of `coeval.timeline._layout`, what its times rest on in the metadata."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any

from coeval.timeline._layout import OWN_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

    from coeval.timeline._timeline import Timeline

# Small groups let a reader skip what a filter on time excludes; each costs some kilobytes of statistics.
ROWS_IN_GROUP = 1 << 17


def write_parquet(timeline: Timeline, path: str | os.PathLike[str] | IO[bytes]) -> int:
    """
    Write every event of a timeline, in its order.

    Args:
        path: of the file, or an open one.

    Returns:
        How many rows were written: all events.
    """
    # Not at once: whoever writes another format should not wait for it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    held: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, timeline.schema, **parquet_options(timeline.schema)) as writer:
        for batch in timeline.batches():
            held.append(batch)
            count += len(batch)
            if sum(len(one) for one in held) >= ROWS_IN_GROUP:
                writer.write_table(pa.Table.from_batches(held, timeline.schema), ROWS_IN_GROUP)
                held = []
        if held:
            writer.write_table(pa.Table.from_batches(held, timeline.schema), ROWS_IN_GROUP)
    return count


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """
    How the columns of a timeline are best encoded: times and lines grow by little from row to row, so their differences
    are written, which takes half the room and a third of the time of the usual encoding.
    """
    import pyarrow as pa

    steady = [
        field.name
        for field in schema
        if field.name in OWN_COLUMNS and (pa.types.is_int64(field.type) or pa.types.is_timestamp(field.type))
    ]
    texts = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    return {
        "compression": "zstd",
        "use_dictionary": texts,
        "column_encoding": dict.fromkeys(steady, "DELTA_BINARY_PACKED"),
    }
