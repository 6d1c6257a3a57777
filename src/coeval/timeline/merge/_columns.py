"""
The columns of a merged table: ours, then the payload of all sources, united by name.

Numbers of several types become the wider one; columns that nothing else unites become text. So does text itself where
sources store it differently. Nothing is left out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline._layout import TableClaims, payload_name

# Texts are worth a dictionary where among so many of the first ones each comes this often; others only cost the look
# for one.
_LOOK_ROWS, _REPEATED = 20_000, 4


@dataclass(frozen=True, slots=True)
class MergedColumns:
    """
    Attributes:
        clocks, sources: names by code.
        payload: the other columns under the names that they have in the sources, with their types in the table.
        has_end, has_resolution, has_assumed: whether there are columns for that.
        claims: what times count on.
        has_times: whether there are columns for times, besides the raw reading.
        has_origin: whether there are columns for what a row is of: clock, source and line.
    """

    clocks: tuple[str, ...]
    sources: tuple[str, ...]
    payload: pa.Schema
    has_end: bool
    has_resolution: bool
    has_assumed: bool
    claims: TableClaims
    has_times: bool = True
    has_origin: bool = True

    @property
    def schema(self) -> pa.Schema:
        """Of the table."""
        names = pa.dictionary(pa.int32(), pa.string())
        fields: list[pa.Field] = []
        has_end = self.has_times and self.has_end
        if self.has_times:
            fields.append(pa.field("time", pa.timestamp("ns", tz="UTC")))
            fields += [pa.field(name, pa.int64()) for name in ("earliest_ns", "estimate_ns", "latest_ns")]
        if has_end:
            fields += [pa.field(name, pa.int64()) for name in ("end_earliest_ns", "end_estimate_ns", "end_latest_ns")]
        fields.append(pa.field("raw_ns", pa.int64()))
        if has_end:
            fields.append(pa.field("end_raw_ns", pa.int64()))
        if self.has_times and self.has_resolution:
            fields.append(pa.field("resolution_ns", pa.int64()))
        if self.has_origin:
            fields += [pa.field("clock", names), pa.field("source", names), pa.field("line", pa.int64())]
        if self.has_origin and self.has_assumed:
            fields.append(pa.field("assumed", pa.bool_()))
        taken: set[str] = set()
        for entry in self.payload:
            name = payload_name(entry.name)
            while name in taken:
                name += "_"
            taken.add(name)
            fields.append(pa.field(name, entry.type))
        return pa.schema(fields, metadata=self.claims.metadata())


def united(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The columns of several payloads, in the order of their first appearance."""
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for entry in schema:
            kind = _stored(entry.type)
            types[entry.name] = kind if entry.name not in types else _common(types[entry.name], kind)
    return pa.schema([(name, pa.string() if pa.types.is_null(kind) else kind) for name, kind in types.items()])


def with_codes(payload: pa.Schema, pieces: Iterable[tuple[Iterable[pa.Schema], Collection[str]]]) -> pa.Schema:
    """
    Columns of texts as dictionaries, where that is how they come.

    Args:
        payload: united.
        pieces: of each its schemas, and the columns that have codes in it.
    """
    coded: set[str] = set()
    plain: set[str] = set()
    for schemas, repeating in pieces:
        names = {name for schema in schemas for name in schema.names}
        coded |= names & set(repeating)
        plain |= names - set(repeating)
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        entry.with_type(kind) if pa.types.is_string(entry.type) and entry.name in coded - plain else entry
        for entry in payload
    )


def is_text(kind: pa.DataType) -> bool:
    """Whether values are texts or bytes, however they are stored."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def texts_repeat(column: pa.Array | pa.ChunkedArray) -> bool:
    """Whether texts come again and again, as far as the first ones tell, so that codes may stand in for them."""
    head = column[:_LOOK_ROWS]
    return len(head) > 0 and bool(pc.count_distinct(head).as_py() * _REPEATED <= len(head))


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A payload with exactly these columns."""
    if batch.schema.equals(schema):
        return batch
    found = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns = [
        _cast(found[entry.name], entry.type) if entry.name in found else pa.nulls(batch.num_rows, entry.type)
        for entry in schema
    ]
    if not columns:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * batch.num_rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _stored(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        inner = _stored(kind.value_type)
        return pa.dictionary(pa.int32(), inner) if pa.types.is_string(inner) else inner
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    return kind


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if (_is_number(one) and _is_number(other)) or (pa.types.is_timestamp(one) and pa.types.is_timestamp(other)):
        try:
            schemas = [pa.schema([("it", kind)]) for kind in (one, other)]
            return pa.unify_schemas(schemas, promote_options="permissive").field("it").type
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass
    if pa.types.is_dictionary(one) or pa.types.is_dictionary(other):
        return _common(*(kind.value_type if pa.types.is_dictionary(kind) else kind for kind in (one, other)))
    return pa.string()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(column.type):
        return pc.cast(_cast(column, kind.value_type).dictionary_encode(), kind)
    try:
        return pc.cast(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Nested values, and bytes that are no UTF-8.
        return pa.array([None if value is None else _text(value) for value in column.to_pylist()], kind)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return json.dumps(value, default=str, ensure_ascii=False)


def named(codes: np.ndarray[Any, Any], names: Sequence[str]) -> pa.DictionaryArray:
    """Codes as names."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(names, pa.string()))
