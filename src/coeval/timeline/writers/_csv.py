"""A timeline as CSV: its columns, integers in ns, nothing where something is unknown."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from coeval.timeline._timeline import Timeline


def write_csv(timeline: Timeline, file: IO[bytes]) -> int:
    """
    Write every event of a timeline, in its order, below a line of column names. Nested values are written as JSON.

    Returns:
        How many events were written: all of them.
    """
    import json

    import pyarrow as pa
    from pyarrow import csv

    from coeval.timeline.writers._json_value import json_value

    names = [name for name in timeline.schema.names if name != "time"]
    types = [timeline.schema.field(name).type for name in names]
    nested = [pa.types.is_nested(type_) for type_ in types]
    texts = [pa.types.is_dictionary(type_) for type_ in types]
    flat = [pa.string() if inside or text else type_ for type_, inside, text in zip(types, nested, texts, strict=True)]
    schema = pa.schema(list(zip(names, flat, strict=True)))
    count = 0
    with csv.CSVWriter(file, schema) as writer:
        for batch in timeline.batches(names):
            columns = [
                pa.array([None if value is None else json.dumps(json_value(value)) for value in column.to_pylist()])
                if inside
                else column.cast(type_)
                for column, inside, type_ in zip(batch.columns, nested, flat, strict=True)
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            count += len(batch)
    return count
