"""
What an event says, for people, whatever source it is from: its text, or its name and what else it has.

In Python for one event, and in SQL for rows of tables; both say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from coeval.timeline._layout import OWN_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS = ("text", "message", "msg", "body")
"""Columns for people, the first that has something: of text logs, of OTLP, and as libraries that log JSON call it."""

_FIELDS = "fields"
"""The column of a run's events that holds what lines and log records say, as JSON."""


def said(payload: Mapping[str, Any]) -> str:
    """
    What one event says.

    Args:
        payload: what it has of its own, as values that JSON has.
    """
    there = {name: value for name, value in payload.items() if value is not None}
    for name in TEXTS:
        if there.get(name) not in (None, ""):
            return _written(there[name])
    inner = _inner_text(there.get(_FIELDS))
    if inner:
        return inner
    name = _written(there.pop("name", ""))
    rest = " ".join(f"{key}={_written(value)}" for key, value in there.items())
    return f"{name} {rest}".strip()


def _inner_text(fields: Any) -> str:
    try:
        inner = json.loads(fields) if isinstance(fields, str) else None
    except ValueError:
        return ""
    found = [inner[name] for name in TEXTS if inner.get(name)] if isinstance(inner, dict) else []
    return _written(found[0]) if found else ""


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def said_sql(schemas: Sequence[pa.Schema], row: str) -> str:
    """
    The same as an expression of SQL.

    Args:
        schemas: of every table that a row may be of.
        row: what the row is called.
    """
    names: dict[str, str] = {}
    for schema in schemas:
        for name in schema.names:
            if name not in OWN_COLUMNS:
                names.setdefault(name.lower(), name)  # SQL sees no case
    columns = {name: _column(schemas, row, name) for name in names.values()}
    texts = [f"nullif({columns[name]}, '')" for name in TEXTS if name in columns]
    if _FIELDS in columns:
        fields = f"case when json_valid({columns[_FIELDS]}) then {columns[_FIELDS]} end"
        texts += [f"nullif({fields} ->> {_text(name)}, '')" for name in TEXTS]
    rest = [f"{_text(f'{name}=')} || {column}" for name, column in columns.items() if name != "name"]
    named = [f"nullif({columns['name']}, '')"] if "name" in columns else []
    return f"coalesce({', '.join([*texts, _spaced([*named, *rest])])})"


def _spaced(parts: Sequence[str]) -> str:
    return f"concat_ws(' ', {', '.join(parts)})" if parts else "''"


def _column(schemas: Sequence[pa.Schema], row: str, name: str) -> str:
    """A column as text. One that some table lacks is looked up in the whole row, which is slower."""
    import pyarrow as pa

    types = [schema.field(name).type if name in schema.names else None for schema in schemas]
    values = [kind.value_type if kind is not None and pa.types.is_dictionary(kind) else kind for kind in types]
    own = f'{row}."' + name.replace('"', '""') + '"'
    if all(kind is not None and _is_text(kind) for kind in values):
        return f"{own}::varchar"
    if all(kind is not None and not _is_text(kind) for kind in values):
        return f"to_json({own})::varchar"
    key = f'$."{name}"' if name[:1] in ("$", "/") else name  # DuckDB takes these for paths
    return f"(to_json({row}) ->> {_text(key)})"


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
