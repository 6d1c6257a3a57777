"""Tables of messages and of anchors, from anyone, as the evidence that alignment takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor, ClockId
from coeval.timeline.readers._rows import UNSAID, Column, RowReader, Rows
from coeval.timeline.readers._set_aside import SetAside, SetAsideRow
from coeval.timeline.readers._source import Tabular, open_source
from coeval.timeline.readers._values import BoolArray, Int64Array

MESSAGE_COLUMNS = (
    Column("sender", "clock"),
    Column("receiver", "clock"),
    Column("sent_ns", "reading"),
    Column("received_ns", "reading"),
    Column("id", "text", required=False),
    Column("sender_resolution_ns", "amount", required=False),
    Column("receiver_resolution_ns", "amount", required=False),
    Column("delay_ns_min", "amount", required=False),
    Column("hard", "flag", required=False),
)
ANCHOR_COLUMNS = (
    Column("clock", "clock"),
    Column("reading_ns", "reading"),
    Column("earliest_ns", "reading"),
    Column("latest_ns", "reading"),
    Column("source", "text", required=False),
)


class MessageNames(Sequence[str]):
    """How reports name each message: by its id, or by where it stands."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *(part.count for part in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"message {index} of {len(self)}")
        index = index % len(self)
        number = int(np.searchsorted(self._starts, index, "right")) - 1
        part, within = self._parts[number], index - int(self._starts[number])
        name = part.columns["id"][within].as_py() if "id" in part.columns else None
        return name or part.place(within)


@dataclass(frozen=True, eq=False, slots=True)
class MessageTable:
    """
    Messages that were read.

    Attributes:
        messages: in the order of the tables; stamps whose resolution nobody gave have 0.
        sender_given, receiver_given: where the table gave a resolution.
        read: how many rows there were: used and set aside.
        problems: what kept a table from being read to its end.
    """

    messages: Messages
    sender_given: BoolArray
    receiver_given: BoolArray
    read: int
    problems: tuple[str, ...]
    parts: tuple[Rows, ...]

    def place(self, index: int) -> str:
        """Where a message stands: `calls.csv line 17`."""
        for part in self.parts:
            if index < part.count:
                return part.place(index)
            index -= part.count
        raise IndexError(index)


def read_messages(tables: Iterable[Tabular], aside: SetAside) -> MessageTable:
    """
    Read messages: `sender, receiver, sent_ns, received_ns`, and optionally `id, sender_resolution_ns,
    receiver_resolution_ns, delay_ns_min, hard`. Other columns are ignored.

    Args:
        tables: see `Tabular`; one after the other.
        aside: takes rows that cannot be used.

    Raises:
        WrongTable: a column is missing or cannot hold what it is for, or a file is empty.
        OSError: a file cannot be read.
    """
    clocks: list[str] = []
    reader = RowReader(MESSAGE_COLUMNS, aside, clocks)
    parts = [reader.read(open_source(table, "messages")) for table in tables]
    sender_resolution_ns, receiver_resolution_ns, delay_ns_min = (
        _optional(parts, name, UNSAID) for name in ("sender_resolution_ns", "receiver_resolution_ns", "delay_ns_min")
    )
    messages = Messages(
        tuple(ClockId(clock) for clock in clocks),
        _column(parts, "sender", np.int32),
        _column(parts, "receiver", np.int32),
        _column(parts, "sent_ns", np.int64),
        _column(parts, "received_ns", np.int64),
        _said(sender_resolution_ns),
        _said(receiver_resolution_ns),
        _said(delay_ns_min),
        _optional(parts, "hard", True),
        MessageNames([_lean(part) for part in parts]),
    )
    return MessageTable(
        messages,
        sender_resolution_ns != UNSAID,
        receiver_resolution_ns != UNSAID,
        sum(part.read for part in parts),
        tuple(problem for part in parts for problem in part.source.problems),
        tuple(_lean(part) for part in parts),
    )


def read_anchors(table: Tabular, aside: SetAside) -> tuple[list[Anchor], int, tuple[str, ...]]:
    """
    Read anchors: `clock, reading_ns, earliest_ns, latest_ns`, and optionally `source`.

    Returns:
        The anchors, how many rows there were, and what kept the table from being read to its end.

    Raises:
        WrongTable, OSError: as `read_messages`.
    """
    clocks: list[str] = []
    rows = RowReader(ANCHOR_COLUMNS, aside, clocks).read(open_source(table, "anchors"))
    columns = rows.columns
    sources: Iterator[str | None] = itertools.repeat(None)
    if "source" in columns:
        sources = iter(columns["source"].to_pylist())
    anchors: list[Anchor] = []
    fields = zip(*(columns[name].tolist() for name in ("clock", "reading_ns", "earliest_ns", "latest_ns")), strict=True)
    for index, (clock, reading, earliest, latest) in enumerate(fields):
        source = next(sources)
        if earliest > latest:
            place = rows.source.numbering.numbers_of(rows.kept.numbers_of([index]))
            values = {"clock": clocks[clock], "earliest_ns": str(earliest), "latest_ns": str(latest)}
            reason = "earliest_ns is after latest_ns"
            aside.add(SetAsideRow(rows.source.name, rows.source.unit, int(place[0]), reason, values))
            continue
        anchors.append(Anchor(ClockId(clocks[clock]), reading, earliest, latest, source or rows.source.name))
    return anchors, rows.read, tuple(rows.source.problems)


def _column(parts: Sequence[Rows], name: str, kind: Any) -> Any:
    columns = [part.columns.pop(name) for part in parts]
    return np.concatenate(columns).astype(kind, copy=False) if columns else np.empty(0, dtype=kind)


def _optional(parts: Sequence[Rows], name: str, missing: int | bool) -> Any:
    value: Any = np.array(missing, dtype=np.bool_ if isinstance(missing, bool) else np.int64)
    if not any(name in part.columns for part in parts):
        return np.broadcast_to(value, (sum(part.count for part in parts),))  # takes no memory
    return np.concatenate(
        [part.columns.pop(name) if name in part.columns else np.full(part.count, value) for part in parts]
    )


def _said(amounts: Int64Array) -> Int64Array:
    unsaid = amounts == UNSAID
    if bool(unsaid.all()):
        return np.broadcast_to(np.int64(0), amounts.shape)
    return np.where(unsaid, 0, amounts)


def _lean(part: Rows) -> Rows:
    """Without the columns that messages have now."""
    ids: dict[str, pa.ChunkedArray] = {"id": part.columns["id"]} if "id" in part.columns else {}
    return Rows(part.source, ids, part.count, part.read, part.kept)
