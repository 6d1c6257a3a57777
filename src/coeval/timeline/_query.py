"""
Questions about timelines in SQL: DuckDB over their tables, with words for what is certain.

`before` and `overlaps` have three answers, like SQL itself: true, false, and null where the clocks do not tell. A row
is handed to them by the alias of its table, so every column that they look at must be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, timezone, tzinfo
from typing import TYPE_CHECKING

import pyarrow as pa

from coeval.clocks import ClockId
from coeval.errors import DifferentClocks
from coeval.timeline._layout import END_INSTANT
from coeval.timeline._said import said_sql
from coeval.timeline._time_text import format_utc_offset

if TYPE_CHECKING:
    import duckdb

    from coeval.timeline._timeline import Timeline

_OPTIONAL = (*END_INSTANT, "resolution_ns")

_MACROS = (
    # Two readings of one clock are in its own order. One that was cut means all from it on; equal exact ones are a tie.
    """create macro before(a, b) as case
        when {is_one_clock} and a.raw_ns + greatest({a_resolution}, 1) <= b.raw_ns then true
        when {is_one_clock} and b.raw_ns + greatest({b_resolution}, 1) <= a.raw_ns then false
        when {is_one_clock} and a.raw_ns = b.raw_ns and {a_resolution} = 0 and {b_resolution} = 0 then false
        when a.latest_ns < b.earliest_ns then true
        when a.earliest_ns >= b.latest_ns then false
    end""",
    # An event without an end overlaps as a point would.
    """create macro "overlaps"(a, b) as case
        when {a_end_latest} < b.earliest_ns or {b_end_latest} < a.earliest_ns then false
        when a.latest_ns <= {b_end_earliest} and b.latest_ns <= {a_end_earliest} then true
    end""",
    "create macro certain(answer) as coalesce(answer, false)",
    "create macro possible(answer) as coalesce(answer, true)",
    # Of an offset that begins with UTC DuckDB would drop the minutes, without a word; one alone it does not know.
    r"""create macro at_zone(ns, zone) as
        make_timestamp_ns(ns)::timestamptz at time zone regexp_replace(zone, '^(UTC)?([+-])', 'GMT\2')""",
)


def check_references(tables: Mapping[str, Timeline]) -> None:
    """
    Raises:
        DifferentClocks: two of them count on different references.
    """
    (one, first), *others = tables.items()
    for name, other in others:
        if other.reference != first.reference:
            raise DifferentClocks(
                f"{name} counts on {other.reference_label}, and {one} on {first.reference_label}: times of two "
                "references do not compare. Merge their sources into one timeline."
            )


def ask(query: str, tables: Mapping[str, Timeline], zone: tzinfo = UTC) -> duckdb.DuckDBPyRelation:
    """
    Run a query over timelines.

    Args:
        tables: by the names that the query uses.
        zone: where `time` is shown; it is UTC inside, whatever the zone of this process is.

    Raises:
        DifferentClocks: they do not count on one reference.
        ValueError: it is not one SELECT.
        duckdb.Error: as DuckDB says.
    """
    check_references(tables)
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"set timezone = {_quoted(_zone_name(zone))}")
    # A macro does not know which table a row is of: all of them get the columns that one of them has.
    optional = [name for name in _OPTIONAL if any(name in timeline.schema.names for timeline in tables.values())]
    set_back = sorted({clock for timeline in tables.values() for clock in timeline.claims.set_back})
    for macro in _macros(set_back, optional):
        connection.execute(macro)
    schemas = [timeline.schema for timeline in tables.values()]
    connection.execute(f"create macro said(event) as {said_sql(schemas, 'event')}")
    for name, timeline in tables.items():
        _show(connection, name, timeline, [column for column in optional if column not in timeline.schema.names])
    statements = connection.extract_statements(query)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise ValueError(f"{query!r} is not one query; expected a SELECT")
    return connection.sql(query)


def _zone_name(zone: tzinfo) -> str:
    """As DuckDB knows it; see `at_zone` for offsets."""
    if isinstance(zone, timezone) and zone is not UTC:
        return f"GMT{format_utc_offset(zone.utcoffset(None))}"
    return str(zone)


def _macros(set_back: list[ClockId], columns: Sequence[str]) -> list[str]:
    """The macros for tables that have such columns beside those that all have."""
    quoted = ", ".join(_quoted(clock) for clock in set_back)
    words = {"is_one_clock": f"a.clock = b.clock and not list_contains([{quoted}]::varchar[], a.clock)"}
    for row in "ab":
        words[f"{row}_resolution"] = f"coalesce({row}.resolution_ns, 0)" if "resolution_ns" in columns else "0"
        for side in ("earliest", "latest"):
            own = f"{row}.{side}_ns"
            has_ends = "end_earliest_ns" in columns
            words[f"{row}_end_{side}"] = f"coalesce({row}.end_{side}_ns, {own})" if has_ends else own
    return [macro.format(**words) for macro in _MACROS]


def _show(connection: duckdb.DuckDBPyConnection, name: str, timeline: Timeline, missing: Sequence[str]) -> None:
    """Make a timeline a table of the connection; DuckDB reads files itself, and skips what a query does not need."""
    identifier = '"' + name.replace('"', '""') + '"'
    path = timeline._path
    if path is not None:
        source = f"read_parquet({_quoted(str(path))})"
    else:
        data = timeline._data
        # By a name of its own: a view refers to it, and must not to itself.
        connection.register(f"{name} in memory", data if isinstance(data, pa.Table) else timeline._dataset)
        source = '"' + f"{name} in memory".replace('"', '""') + '"'
    condition = timeline._within.sql if timeline._within is not None else ""
    where = f" where {condition}" if condition else ""
    added = "".join(f", null::bigint as {column}" for column in missing)
    connection.execute(f"create view {identifier} as select *{added} from {source}{where}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
