"""
Clocks related by evidence from anyone: a table of messages in, any reading of any clock placed.

    tables -> messages and anchors -> grains of the stamps, the reference clock -> align -> report, placed stamps
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from coeval.alignment import (
    RATE_BOUND_PPM_DEFAULT,
    UNKNOWN_EARLIEST,
    UNKNOWN_ESTIMATE,
    UNKNOWN_LATEST,
    Alignment,
    ClockFit,
    Messages,
    align,
)
from coeval.clocks import Anchor, ClockId, Grade
from coeval.errors import WrongTable
from coeval.timeline._grains import Grain, detected_grain_ns, stamps_by_clock
from coeval.timeline._placed import place
from coeval.timeline._verdict import Verdict, verdict_of
from coeval.timeline.readers._evidence_tables import MessageTable, read_anchors, read_messages
from coeval.timeline.readers._rows import Column, RowReader
from coeval.timeline.readers._set_aside import SetAside, SetAsideRow
from coeval.timeline.readers._source import Source, Tabular, open_source

# What alignment can count within one clock: 73 years.
_SPAN_NS_MAX = 2**61

# Seconds, milliseconds or microseconds among nanoseconds since 1970 are decades apart, by a power of 1000 of one date.
_YEAR_NS = 31_556_952 * 10**9
_SUSPICIOUS_SPAN_NS = 20 * _YEAR_NS
_UNIT_RATIOS = (10**3, 10**6, 10**9)

STAMP_COLUMNS = (Column("clock", "clock"), Column("reading_ns", "reading"))
INSTANT_COLUMNS = ("earliest_ns", "estimate_ns", "latest_ns")
_SENTINELS = (UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST)


def relate_clocks(
    messages: Tabular | Sequence[Tabular],
    *,
    anchors: Tabular | None = None,
    reference: str | None = None,
    rate_bound_ppm: float | Mapping[str, float] = RATE_BOUND_PPM_DEFAULT,
    resolutions_ns: Mapping[str, int] = MappingProxyType({}),
    on_set_aside: Callable[[SetAsideRow], None] | None = None,
) -> RelatedClocks:
    """
    Relate clocks by messages between them: readings of one that are known to precede readings of another.

    A table is a path of a CSV or Parquet file (also compressed), anything with the Arrow interface (pandas, Polars,
    pyarrow, DuckDB), or a mapping of columns. Rows that cannot be used are set aside and counted, and lose no other.

    Args:
        messages: a table, or several: `sender, receiver, sent_ns, received_ns`, int64 ns of the sender's and of the
            receiver's clock. Optionally `id`, `sender_resolution_ns`, `receiver_resolution_ns` (a stamp cut to this
            grain means [stamp, stamp + grain)), `delay_ns_min` (proven), `hard` (false: the order is only likely).
        anchors: a table that ties readings to UTC: `clock, reading_ns, earliest_ns, latest_ns`, optionally `source`.
            With it instants are UTC.
        reference: the clock that all others are measured against, and that instants count on without anchors. None: the
            one with the most messages, the first to appear among equals.
        rate_bound_ppm: how far each clock's rate may be off, by clock or for all: 100 for raw clocks, 500 for wall
            clocks that ntpd slews, 83333 for those that chrony slews.
        resolutions_ns: the grain of a clock's stamps, over what the table says and what is seen; 0: exact.
        on_set_aside: called with each row that is set aside.

    Raises:
        WrongTable: a column is missing or cannot hold what it is for, a table is empty, no message can be used, or
            readings of one clock are so far apart that some must be in other units.
        ValueError: the reference or a resolution is of a clock that no message names.
        OSError: a file cannot be read.
    """
    aside = SetAside(on_set_aside)
    tables = list(messages) if isinstance(messages, (list, tuple)) else [messages]
    table = read_messages(tables, aside)
    if not len(table.messages):
        raise WrongTable(_no_message(tables, table, aside))
    anchor_rows, anchors_read, problems = read_anchors(anchors, aside) if anchors is not None else ([], 0, ())
    known = dict.fromkeys((*table.messages.clocks, *(anchor.clock for anchor in anchor_rows)))
    for name in filter(None, (reference, *resolutions_ns)):
        if name not in known:
            raise ValueError(f"clock {name!r} is in no message; the clocks are {_listed(list(known))}")
    grains = _grains(table, resolutions_ns)
    evidence = _with_grains(table, grains, resolutions_ns)
    chosen = ClockId(reference) if reference is not None else _busiest(evidence)
    bounds: Any = rate_bound_ppm
    alignment = align(evidence, reference=chosen, anchors=anchor_rows, rate_bound_ppm=bounds)
    return RelatedClocks(
        alignment,
        evidence,
        tuple(anchor_rows),
        verdict_of(alignment),
        grains,
        reference is not None,
        table.read + anchors_read,
        aside,
        (*table.problems, *problems),
    )


@dataclass(frozen=True, eq=False, slots=True)
class RelatedClocks:
    """
    Clocks that messages relate; made by `relate_clocks`.

    Attributes:
        alignment: places single stamps, and tells before from after.
        messages: the evidence that was used, resolutions filled in.
        anchors: what ties it to UTC.
        verdict: steps, rejected messages, and which clocks are related at all.
        grains: the resolution of each clock's stamps that was detected, or given as `resolutions_ns`.
        reference_given: whether somebody chose the reference.
        rows_read: rows of messages and anchors; the used ones and those set aside.
        set_aside: what was not used, counted by reason.
        problems: what kept a table from being read to its end.
    """

    alignment: Alignment
    messages: Messages
    anchors: tuple[Anchor, ...]
    verdict: Verdict
    grains: Mapping[ClockId, Grain]
    reference_given: bool
    rows_read: int
    set_aside: SetAside
    problems: tuple[str, ...]

    @property
    def reference(self) -> ClockId:
        """What instants count on: UTC, or the reference clock."""
        return self.alignment.reference

    @property
    def fits(self) -> tuple[ClockFit, ...]:
        """How each clock lies against the reference clock; on UTC, first how that one lies against UTC."""
        return self.alignment.report()

    def place(self, stamps: Tabular, grade: Grade = "declared") -> pa.Table:
        """
        Place stamps on the reference.

        Args:
            stamps: a table: `clock, reading_ns`; other columns are carried through.
            grade: "declared": true whenever the rate bounds are. "assumed": narrower.

        Returns:
            The same rows in the same order, with `earliest_ns, estimate_ns, latest_ns` added, int64; null where nothing
            is known, where the clock is in no message, and where the stamp itself cannot be read.

        Raises:
            WrongTable: as `relate_clocks`, and for a table that has such columns already.
        """
        stamping = Stamping(self, stamps, SetAside(), grade)
        return pa.Table.from_batches(list(stamping), stamping.schema)

    def __repr__(self) -> str:
        count = len(self.alignment.clocks)
        return f"<coeval.RelatedClocks on {self.reference}: {count} clocks, {len(self.messages):,} messages>"


class Stamping:
    """
    Stamps of one table being placed, batch by batch.

    Args:
        aside: takes the stamps that cannot be read; their rows come all the same.

    Attributes:
        schema: of the batches that come; None for text files, whose columns are all text, until the first came.
        count: rows that came.
        placed: those of them that have at least one bound.
        unknown_clocks: clocks of which there is no evidence, with how many stamps each had.
    """

    def __init__(self, clocks: RelatedClocks, stamps: Tabular, aside: SetAside, grade: Grade = "declared") -> None:
        self._clocks = clocks
        self._grade = grade
        self._source = open_source(stamps, "stamps")
        self._reader = RowReader(STAMP_COLUMNS, aside, [])
        self._reader.present(self._source)
        taken = [name for name in INSTANT_COLUMNS if name in self._source.columns]
        if taken:
            raise WrongTable(f"{self._source.name} has a column {taken[0]} already: rename it or leave it out.")
        schema: pa.Schema | None = getattr(self._source, "schema", None)
        self.is_text = schema is None
        if schema is None:
            schema = pa.schema([(name, pa.string()) for name in self._source.columns])
        for name in INSTANT_COLUMNS:
            schema = schema.append(pa.field(name, pa.int64()))
        self.schema = schema
        self.count = self.placed = 0
        self.unknown_clocks: dict[str, int] = {}

    @property
    def source(self) -> Source:
        """What is being read."""
        return self._source

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        from coeval.timeline.readers._values import texts

        alignment = self._clocks.alignment
        known = set(alignment.clocks)
        for piece in self._reader.pieces(self._source, self._source.columns):
            codes = np.where(piece.good, piece.values["clock"], -1)
            names = tuple(ClockId(clock) for clock in self._reader.clocks)
            placed = place(alignment, names, codes, piece.values["reading_ns"], self._grade)
            counts = np.bincount(codes[codes >= 0], minlength=len(names))
            for code in np.flatnonzero(counts).tolist():
                if (clock := names[code]) not in known:
                    self.unknown_clocks[clock] = self.unknown_clocks.get(clock, 0) + int(counts[code])
            instants = [
                pa.array(column, mask=column == sentinel)
                for column, sentinel in zip((placed.earliest, placed.estimate, placed.latest), _SENTINELS, strict=True)
            ]
            carried = [texts(column) if self.is_text else column for column in piece.batch.columns]
            batch = pa.RecordBatch.from_arrays([*carried, *instants], schema=self.schema)
            if piece.blank.any():
                batch = batch.filter(pa.array(~piece.blank))
            bounded = (placed.earliest != UNKNOWN_EARLIEST) | (placed.latest != UNKNOWN_LATEST)
            self.count += batch.num_rows
            self.placed += int(bounded.sum())
            yield batch


def _grains(table: MessageTable, resolutions_ns: Mapping[str, int]) -> dict[ClockId, Grain]:
    """Given, or detected where the table itself says none; and a look at whether units are mixed."""
    messages = table.messages
    columns = [(messages.sender, messages.sent_ns), (messages.receiver, messages.received_ns)]
    told = np.zeros(len(messages.clocks), dtype=np.bool_)
    told[messages.sender[table.sender_given]] = True
    told[messages.receiver[table.receiver_given]] = True
    grains: dict[ClockId, Grain] = {}
    for code, stamps in stamps_by_clock(len(messages.clocks), columns):
        clock = messages.clocks[code]
        if _has_mixed_units(int(stamps.min()), int(stamps.max())):
            raise WrongTable(_mixed_units(table, code))
        if clock in resolutions_ns:
            grains[clock] = Grain(resolutions_ns[clock], "given")
        elif not told[code] and (found := detected_grain_ns(stamps)):
            grains[clock] = Grain(found, "detected")
    return grains


def _with_grains(table: MessageTable, grains: Mapping[ClockId, Grain], given: Mapping[str, int]) -> Messages:
    """Fill in resolutions: what is given by clock goes before the table, and the table before what is detected."""
    messages = table.messages
    if not grains:
        return messages
    by_code = np.array([grains[clock].resolution_ns if clock in grains else 0 for clock in messages.clocks], np.int64)
    overruled = np.array([clock in given for clock in messages.clocks])

    def filled(codes: Any, said: Any, said_where: Any) -> Any:
        return np.where(said_where & ~overruled[codes], said, by_code[codes])

    return replace(
        messages,
        sender_resolution_ns=filled(messages.sender, messages.sender_resolution_ns, table.sender_given),
        receiver_resolution_ns=filled(messages.receiver, messages.receiver_resolution_ns, table.receiver_given),
    )


def _busiest(messages: Messages) -> ClockId:
    """The clock with the most messages; the first to appear among equals."""
    count = len(messages.clocks)
    uses = np.bincount(messages.sender, minlength=count) + np.bincount(messages.receiver, minlength=count)
    return messages.clocks[int(uses.argmax())]


def _has_mixed_units(least_ns: int, greatest_ns: int) -> bool:
    span_ns = greatest_ns - least_ns
    if span_ns >= _SPAN_NS_MAX:
        return True
    return span_ns > _SUSPICIOUS_SPAN_NS and any(
        greatest_ns < 2 * ratio * least_ns and ratio * least_ns < 2 * greatest_ns for ratio in _UNIT_RATIOS
    )


def _mixed_units(table: MessageTable, code: int) -> str:
    messages = table.messages
    found: list[tuple[int, int]] = []
    for codes, stamps in ((messages.sender, messages.sent_ns), (messages.receiver, messages.received_ns)):
        rows = np.flatnonzero(codes == code)
        if not len(rows):
            continue
        found += [(int(stamps[row]), int(row)) for row in rows[[stamps[rows].argmin(), stamps[rows].argmax()]]]
    (least, first), (greatest, last) = min(found), max(found)
    return (
        f"clock {messages.clocks[code]} has readings from {least} ({table.place(first)}) to {greatest} "
        f"({table.place(last)}), {(greatest - least) // _YEAR_NS} years apart: are some in seconds, milliseconds or "
        "microseconds? Give all readings of a clock in nanoseconds from one origin."
    )


def _no_message(tables: Sequence[Tabular], table: MessageTable, aside: SetAside) -> str:
    where = ", ".join(part.source.name for part in table.parts)
    if not len(aside):
        return f"{where or 'no table'} holds no message: there is nothing to relate clocks by."
    first = aside.examples[0]
    return f"none of the {table.read:,} messages in {where} can be used; the first: {first.place}: {first.reason}."


def _listed(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
