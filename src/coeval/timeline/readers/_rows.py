"""
Rows of a table as checked columns: what a column is for, what is read of it, and what happens to rows that do not fit.

    Source -> batches -> values and faults -> columns of the rows without a fault, the others aside
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from coeval.errors import WrongTable
from coeval.timeline.readers._numbering import Numbering
from coeval.timeline.readers._set_aside import SetAside, SetAsideRow
from coeval.timeline.readers._source import Source
from coeval.timeline.readers._values import (
    BoolArray,
    CodeArray,
    Fault,
    as_numpy,
    check_integer_type,
    described,
    flags,
    integers,
    names,
    texts,
)

# Readings this far from their origin leave room for resolutions, delays and the arithmetic of bounds: 146 years.
READING_NS_MAX = 2**62
AMOUNT_NS_MAX = 2**61 - 1

UNSAID = -1
"""Stands for an amount that a row does not give."""

RESERVED_CLOCK = "utc"

ColumnKind = Literal["clock", "reading", "amount", "flag", "text"]


class Column(NamedTuple):
    """
    A column that is asked for.

    Attributes:
        kind: "clock": a name. "reading": int64 ns. "amount": int64 ns, not negative; `UNSAID` where nothing is said.
            "flag": true where nothing is said. "text": for people.
        required: without it the table is none.
    """

    name: str
    kind: ColumnKind
    required: bool = True


class Piece(NamedTuple):
    """
    A batch, read: one value per row, clocks as codes into the reader's `clocks`.

    Attributes:
        good: rows that can be used.
        blank: rows that are none, such as an empty line.
    """

    batch: pa.RecordBatch
    values: dict[str, Any]
    good: BoolArray
    blank: BoolArray


@dataclass
class Rows:
    """
    The used rows of one source.

    Attributes:
        source: where they are from.
        columns: by name; int64 codes for clocks, int64, bool, or lists of Arrow arrays for texts. Optional columns that
            the source does not have are left out.
        count: how many rows are used.
        read: how many there were, blank lines not counted.
        kept: numbers the used rows among those that the source delivered, from 0.
    """

    source: Source
    columns: dict[str, Any]
    count: int
    read: int
    kept: Numbering

    def place(self, index: int) -> str:
        """Where a used row stands: `calls.csv line 17`."""
        number = self.source.numbering.numbers_of(self.kept.numbers_of([index]))[0]
        return f"{self.source.name} {self.source.unit} {number}"


class RowReader:
    """
    Reads tables of one kind, with codes for clocks that hold for all of them.

    Args:
        columns: what is asked for.
        aside: takes what cannot be used.
        clocks: known already, by code; new ones are added.
    """

    def __init__(self, columns: Sequence[Column], aside: SetAside, clocks: list[str]) -> None:
        self._columns = columns
        self._aside = aside
        self.clocks = clocks
        self._codes = {clock: code for code, clock in enumerate(clocks)}

    def read(self, source: Source) -> Rows:
        """Read a whole table into columns."""
        wanted = self.present(source)
        parts: dict[str, list[Any]] = {column.name: [] for column in wanted}
        kept = Numbering(0)
        delivered = used = blank_count = 0
        for piece in self.pieces(source, [column.name for column in wanted]):
            for row in np.flatnonzero(~piece.good):
                kept.leave_out(delivered + int(row))
            whole = bool(piece.good.all())
            for column in wanted:
                values = piece.values[column.name]
                if not whole:
                    values = values.filter(pa.array(piece.good)) if column.kind == "text" else values[piece.good]
                parts[column.name].append(values)
            delivered += len(piece.good)
            used += int(piece.good.sum())
            blank_count += int(piece.blank.sum())
        columns: dict[str, Any] = {}
        for column in wanted:
            made = parts.pop(column.name)
            if column.kind == "text":
                columns[column.name] = pa.chunked_array(made, pa.string())
            else:
                columns[column.name] = np.concatenate(made) if made else np.empty(0, dtype=np.int64)
        read = int(source.numbering.numbers_of([delivered])[0]) - int(source.numbering.first) - blank_count
        return Rows(source, columns, used, read, kept)

    def present(self, source: Source) -> list[Column]:
        """
        Those of the columns that a table has.

        Raises:
            WrongTable: one is missing that must be there, or cannot hold what it is for.
        """
        for column in self._columns:
            if column.required and column.name not in source.columns:
                raise WrongTable(_missing(column.name, source))
        found = [column for column in self._columns if column.name in source.columns]
        schema = getattr(source, "schema", None)
        if schema is not None:
            for column in found:
                if column.kind in ("reading", "amount"):
                    check_integer_type(column.name, schema.field(column.name).type, source.name)
        return found

    def pieces(self, source: Source, wanted: Sequence[str]) -> Iterator[Piece]:
        """
        Batch by batch, with these columns, every row; the unusable ones are also set aside.

        Raises:
            WrongTable: a column of text holds no whole number at all, but times or fractions.
        """
        columns = [column for column in self._columns if column.name in wanted and column.name in source.columns]
        delivered = 0
        for batch in source.batches(wanted, self._aside):
            values: dict[str, Any] = {}
            faults: list[tuple[str, Fault]] = []
            for column in columns:
                values[column.name], found = self._values(column, batch.column(column.name))
                faults += [(column.name, fault) for fault in found if len(fault.rows)]
                if delivered == 0 and column.kind == "reading":
                    _check_sample(column.name, batch.column(column.name), found, source)
            blank = _blank(batch) if source.unit == "line" else np.zeros(batch.num_rows, dtype=np.bool_)
            good = ~blank
            for name, fault in faults:
                rows = fault.rows[good[fault.rows]]  # one reason for each row
                good[rows] = False
                numbers = source.numbering.numbers_of(delivered + rows)
                for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
                    read = described(batch, row, [column.name for column in columns])
                    self._aside.add(SetAsideRow(source.name, source.unit, number, f"{name} {fault.reason}", read))
            delivered += batch.num_rows
            yield Piece(batch, values, good, blank)

    def _values(self, column: Column, array: pa.Array) -> tuple[Any, list[Fault]]:
        if column.kind == "clock":
            return self._clock_codes(array)
        if column.kind == "text":
            return texts(array), []
        if column.kind == "flag":
            return flags(array)
        values, faults = integers(array)
        unsaid = [fault.rows for fault in faults if fault.reason == "is missing"]
        if column.kind == "reading":
            beyond = (values > READING_NS_MAX) | (values < -READING_NS_MAX)
            faults = [*faults, Fault("is more than 146 years from its clock's origin", np.flatnonzero(beyond))]
        else:
            faults = [
                *(fault for fault in faults if fault.reason != "is missing"),
                Fault("is negative", np.flatnonzero(values < 0)),
                Fault("is more than 73 years", np.flatnonzero(values > AMOUNT_NS_MAX)),
            ]
            for rows in unsaid:
                values = values.copy()
                values[rows] = UNSAID
        return values, faults

    def _clock_codes(self, array: pa.Array) -> tuple[CodeArray, list[Fault]]:
        local, found = names(array)
        table = [-1]
        for text in found:
            if text is None:
                table.append(-2)
                continue
            if text == RESERVED_CLOCK:
                raise WrongTable(f"a clock is named {text!r}, which is what anchors tie to: give it another name.")
            code = self._codes.setdefault(text, len(self.clocks))
            if code == len(self.clocks):
                self.clocks.append(text)
            table.append(code)
        codes = np.array(table, dtype=np.int32)[local + 1]
        return codes, [
            Fault("is missing", np.flatnonzero(codes == -1)),
            Fault("is not UTF-8", np.flatnonzero(codes == -2)),
        ]


def _missing(name: str, source: Source) -> str:
    near = get_close_matches(name, source.columns, n=1, cutoff=0.6)
    there = ", ".join(source.columns) or "no columns"
    hint = f"; is {near[0]} meant? Then rename it" if near else ""
    return f"{source.name} has no column {name}; it has {there}{hint}."


def _blank(batch: pa.RecordBatch) -> BoolArray:
    """Lines without a single value."""
    blank = np.ones(batch.num_rows, dtype=np.bool_)
    for column in batch.columns:
        if not column.null_count:
            return np.zeros(batch.num_rows, dtype=np.bool_)
        blank &= as_numpy(column.is_null())
    return blank


def _check_sample(name: str, array: pa.Array, faults: list[Fault], source: Source) -> None:
    """A first batch without a single whole number is not a matter of bad rows."""
    odd = sum(len(fault.rows) for fault in faults if fault.reason == "is no whole number")
    given = len(array) - array.null_count
    if not odd or odd < given:
        return
    first = texts(array.drop_null().slice(0, 1))[0].as_py()
    raise WrongTable(
        f"column {name} of {source.name} holds {first!r}; expected are whole nanoseconds, such as "
        "1790000000123456789. Turn times and fractions of seconds into nanoseconds first, and seconds as text digit by "
        "digit: a float of seconds since 1970 is only good to 240 ns."
    )
