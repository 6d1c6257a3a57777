"""
A timeline: events of many clocks on one reference, in an order that contradicts nothing known.

It is a table (see `_layout`), in memory or as a Parquet file that need not fit there; what a run left behind is one too
(`_run_timeline`). Questions in SQL go to DuckDB (`_query`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coeval.clocks import ClockId, Grade, Instant, Stamp
from coeval.errors import MissingExtra, WrongTable
from coeval.timeline._layout import INSTANT, OWN_COLUMNS, TableClaims
from coeval.timeline._python_rows import python_rows
from coeval.timeline._time_filter import TimeFilter, time_filter

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as ds

    from coeval.timeline.join._asof import Direction
    from coeval.timeline.join._rules import Window
    from coeval.timeline.join._tables import How

_ROWS_IN_BATCH = 1 << 16


def open_timeline(path: str | os.PathLike[str]) -> Timeline:
    """
    Open a timeline that was written as Parquet, as `coeval merge` and `coeval export` do; read when it is used.

    Args:
        path: a file, or its URL (see `coeval[remote]`).

    Raises:
        WrongTable: it is no timeline.
        MissingExtra: fsspec is not installed, or what it needs for such a URL.
        OSError: it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    from coeval.timeline.readers._input import filesystem_of, is_url

    name = os.fspath(path)
    filesystem, within = filesystem_of(name) if is_url(name) else (None, name)
    with filesystem.open(within, "rb") if filesystem is not None else open(name, "rb") as file:
        if file.read(4) != b"PAR1":
            raise WrongTable(f"{name} is no Parquet file; expected one that `coeval merge` or `coeval export` wrote.")
    try:
        dataset = ds.dataset(within, format="parquet", filesystem=filesystem)
    except pa.ArrowInvalid as error:
        raise WrongTable(f"{name} is damaged: {error}") from error
    return Timeline(dataset, name, path=Path(name) if filesystem is None else None)


class Timeline:
    """
    Events on one reference, in timeline order.

    Args:
        table: in the layout of `coeval.timeline._layout`, with its metadata: in memory, or a dataset on disk.
        name: what it is called in messages.
        path: of the Parquet file that the dataset is, if it is one.
        within: only these events of it.

    Raises:
        WrongTable: the metadata does not say what times count on, or the columns of an instant are missing.
    """

    def __init__(
        self,
        table: pa.Table | ds.Dataset,
        name: str = "the table",
        *,
        path: Path | None = None,
        within: TimeFilter | None = None,
    ) -> None:
        self._source = table
        self._name = name
        self._path = path
        self._within = within
        schema = table.schema
        self._claims = TableClaims.of(schema.metadata, name)
        missing = [column for column in INSTANT if column not in schema.names]
        if missing:
            raise WrongTable(f"{name} has no column {missing[0]}; expected {', '.join(INSTANT)}")

    @property
    def claims(self) -> TableClaims:
        """What the times rest on."""
        return self._claims

    @property
    def reference(self) -> ClockId:
        """What instants count on: UTC, or a clock."""
        return self.claims.reference

    @property
    def reference_label(self) -> str:
        """The same for people: "UTC", or "time of host X"."""
        return self.claims.reference_label

    @property
    def grade(self) -> Grade:
        """What the bounds rest on."""
        return self.claims.grade

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self._source.schema

    def between(
        self,
        since: str | datetime | int | None = None,
        until: str | datetime | int | None = None,
        *,
        tz: str | None = None,
        certain: bool = False,
    ) -> Timeline:
        """
        The events that can have been in [since, until): begun before its end and not before its start.

        Args:
            since, until: ISO 8601 text, a datetime, or int64 ns; None: no limit. A local time that was there twice
                means the earlier one as `since`, the later one as `until`.
            tz: the zone of times that carry none: an IANA name, or an offset such as "+02:00".
            certain: only those that were in it for certain.

        Raises:
            ValueError: a time cannot be read, carries no zone and none is given, or never was in that zone.
        """
        within = time_filter(since, until, tz, certain=certain)
        if self._within is not None:
            within = self._within.narrowed(within)
        return Timeline(self._data, self._name, path=self._path, within=within)

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """
        The events, in order, in pieces that fit into memory.

        Args:
            columns: only these; None: all.
        """
        import pyarrow as pa
        import pyarrow.dataset as ds

        scanner = ds.Scanner.from_dataset(
            self._dataset, columns=columns, filter=self._expression, batch_size=_ROWS_IN_BATCH
        )
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        for batch in scanner.to_batches():
            if len(batch):
                yield batch.replace_schema_metadata(schema.metadata)

    def arrow(self) -> pa.Table:
        """All events as an Arrow table, in memory."""
        import pyarrow as pa

        data = self._data
        if isinstance(data, pa.Table) and self._within is None:
            return data
        table = self._dataset.to_table(filter=self._expression)
        return table.replace_schema_metadata(self.schema.metadata)

    def pl(self) -> pl.DataFrame:
        """
        All events as a Polars data frame.

        Raises:
            MissingExtra: polars is not installed.
        """
        try:
            import polars
        except ImportError as error:
            raise MissingExtra("polars is not installed: pip install 'coeval[polars]'") from error
        frame = polars.from_arrow(self.arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame

    def df(self) -> pd.DataFrame:
        """
        All events as a pandas data frame. Integers are of pandas' nullable type: with unknown ones among them they
        would be floats otherwise, which have no room for ns.

        Raises:
            MissingExtra: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra("pandas is not installed: pip install 'coeval[pandas]'") from error
        import pyarrow as pa

        frame: pd.DataFrame = self.arrow().to_pandas(types_mapper={pa.int64(): pandas.Int64Dtype()}.get)
        return frame

    def sql(self, query: str, **others: Timeline) -> duckdb.DuckDBPyRelation:
        """
        Ask in SQL; this timeline is the table `timeline`.

        Beside DuckDB's own functions: `before(a, b)` of two rows (aliases of tables): true, false, or null where it is
        not known; `overlaps(a, b)` likewise; `certain(answer)` and `possible(answer)` make true or false of that;
        `said(row)`: what an event says, whatever source it is from; `at_zone(ns, zone)`: the local time there.

        Args:
            others: more timelines, by the name of their table.

        Returns:
            A relation: `.show()`, `.fetchall()`, `.arrow()`, `.pl()`, `.df()`.

        Raises:
            DifferentClocks: another timeline has another reference.
            ValueError: it was no query.
            duckdb.Error: as DuckDB says.

        Example:
            timeline.sql("select a.line, b.line from timeline a, timeline b where certain(before(a, b))")
        """
        from coeval.timeline._query import ask

        return ask(query, {"timeline": self, **others})

    def join(
        self,
        other: Timeline,
        *,
        on: str | Sequence[str] = (),
        within: str | int | None = None,
        direction: Direction | None = None,
        overlap: bool = False,
        window: Window | None = None,
        how: How | None = None,
        all_matches: bool = False,
    ) -> pa.Table:
        """
        Match each event with the event of another timeline before it, after it, or nearest to it, and say how sure that
        is: column `verdict` is "certain", "possible" or "none". Or pair spans that overlap; or count, or list, the
        events in a window around each.

        Args:
            other: on the same reference.
            on: columns that must be equal.
            within: how far apart a match may be: "5ms", or int ns; None: no limit.
            direction: None: backward. `coeval.timeline.join.join` says exactly what matches.
            overlap: pair each span with all that overlap it; see `coeval.timeline.join.overlap_join`.
            window: count what is from so long before to so long after: "5ms", or ("1s", "0s") for two sides; see
                `coeval.timeline.join.window_join`.
            how: "left": every event of this timeline is in the result; "inner": those with a match; None: inner for
                spans that overlap, else left.
            all_matches: a row for each possible match.

        Returns:
            This timeline's columns, then the other's and `verdict`, and of a match by time `matches_possible`; of a
            window that is counted, `certain_count` and `possible_count` instead.

        Raises:
            WrongTable: a column is missing or of no use.
            DifferentClocks: the two count on different references.
            ValueError: a time is no duration, or options do not go together.
        """
        from coeval.timeline.join._rules import rules_of

        rules = rules_of(
            (on,) if isinstance(on, str) else tuple(on),
            within=within,
            direction=direction,
            overlap=overlap,
            window=window,
            how=how,
            every=all_matches,
        )
        return rules.prepared(other.arrow()).table(self.arrow())

    def before(self, first: Any, second: Any) -> bool | None:
        """
        Did the first event happen before the second?

        By the readings of one clock, or by instants that do not overlap.

        Args:
            first, second: events of this timeline, as iteration gives them.

        Returns:
            True: certainly before. False: certainly not before. None: not known.
        """
        one, other = first.stamp, second.stamp
        if one.clock == other.clock and one.clock not in self.claims.set_back:
            # A stamp that was cut means all from its reading on; one that was not, its reading alone.
            if one.reading_ns + max(first.resolution_ns, 1) <= other.reading_ns:
                return True
            if other.reading_ns + max(second.resolution_ns, 1) <= one.reading_ns:
                return False
            if one == other and not first.resolution_ns and not second.resolution_ns:
                return False
        answer: bool | None = first.begin.before(second.begin)
        return answer

    def rows(self) -> Iterator[TableEvent]:
        """Every event, in order, as a row of the table."""
        claims = self.claims
        for batch in self.batches():
            for row in python_rows(batch):
                yield TableEvent(row, claims)

    def __iter__(self) -> Iterator[Any]:
        return self.rows()

    def __len__(self) -> int:
        return int(self._dataset.count_rows(filter=self._expression))

    def __repr__(self) -> str:
        return f"<coeval.Timeline on {self.reference_label}: {len(self):,} events>"

    def _repr_html_(self) -> str:
        from coeval.timeline._listing import html_events

        return html_events(self)

    @property
    def _data(self) -> pa.Table | ds.Dataset:
        """What holds the events; a timeline that makes its table when asked overrides this."""
        return self._source

    @cached_property
    def _dataset(self) -> ds.Dataset:
        import pyarrow.dataset as ds

        data = self._data
        return data if isinstance(data, ds.Dataset) else ds.dataset(data)

    @property
    def _expression(self) -> ds.Expression | None:
        return None if self._within is None else self._within.expression


@dataclass(frozen=True, slots=True)
class TableEvent(Mapping[str, Any]):
    """
    An event of a table: its columns by name, its times as instants.

    Attributes:
        row: the columns.
    """

    row: Mapping[str, Any]
    claims: TableClaims

    @property
    def begin(self) -> Instant:
        """When it happened, or began."""
        return self._instant("")

    @property
    def end(self) -> Instant | None:
        """When it ended; None: it has no end."""
        return None if self.row.get("end_raw_ns") is None else self._instant("end_")

    @property
    def stamp(self) -> Stamp:
        """The reading as it was written."""
        return Stamp(ClockId(self.row["clock"]), self.row["raw_ns"])

    @property
    def resolution_ns(self) -> int:
        """The stamp means [reading, reading + resolution); 0: exact."""
        return self.row.get("resolution_ns") or 0

    @property
    def payload(self) -> dict[str, Any]:
        """What the event has of its own."""
        return {name: value for name, value in self.row.items() if name not in OWN_COLUMNS}

    def _instant(self, prefix: str) -> Instant:
        earliest, estimate, latest = (self.row[f"{prefix}{name}"] for name in INSTANT)
        return Instant(self.claims.reference, earliest, estimate, latest, self.claims.grade)

    def __getitem__(self, name: str) -> Any:
        return self.row[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.row)

    def __len__(self) -> int:
        return len(self.row)
