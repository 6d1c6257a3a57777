"""
What a reader of a format is: the contract between the files of this folder and whoever merges what they read.

    path, what was said of it -> Reader.parts -> Reader.batches of one part -> EventBatch, columns as written

A reader turns stamps into readings of the clock that wrote them, integer ns since 1970 by that clock, and corrects
nothing. A part is read alone, in any process; so its lines are numbered from its own start, and whoever knows the parts
before it adds theirs. What cannot be read goes to the part's tally, with its reason: rows read = events + set aside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.timeline.readers._input import Head
from coeval.timeline.readers._set_aside import SetAside
from coeval.timeline.readers._values import Int64Array

Unit = Literal["s", "ms", "us", "ns"]

NO_READING = int(np.iinfo(np.int64).min)
"""Stands where an event has no end."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """
    What somebody said about a source; empty where nobody did, and then it is found out or refused.

    Attributes:
        reader: the format's name.
        clock: the clock that wrote the stamps; "": a clock of the source's own, named after it.
        clock_field: the column that names the clock of each row, such as "host".
        zone: of stamps that carry none: an IANA name or an offset such as "+02:00".
        assume_utc: stamps without a zone are taken for UTC, and their rows are marked.
        unit: of integer stamps.
        time, end: the columns or groups of the begin and the end of an event.
        year: the year of the first stamp, where stamps carry none.
        pattern: of a text log: the name of a pattern, or a regular expression with named groups.
        resolution_ns: what stamps are cut to; None: as many digits as they have.
        smear: how the clock takes leap seconds in: "" as steps (POSIX), "24h-noon" over a day, linearly.
        query: what to read of a database: a table's name or a SELECT.
    """

    reader: str = ""
    clock: str = ""
    clock_field: str = ""
    zone: str = ""
    assume_utc: bool = False
    unit: Unit | Literal[""] = ""
    time: str = ""
    end: str = ""
    year: int | None = None
    pattern: str = ""
    resolution_ns: int | None = None
    smear: Literal["", "24h-noon"] = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """
    As much of one source as is read at once; travels to whichever process reads it.

    Attributes:
        source: the source's name, as results show it.
        path: where it is: a path, or a URL for fsspec.
        reader: the format's name.
        start, stop: what of it: bytes (a line belongs to the part that its first byte is in), or groups of rows;
            None: to the end.
        notes: what the reader took for granted, one sentence each; only the first part has them.
    """

    source: str
    path: str
    reader: str
    settings: SourceSettings
    start: int = 0
    stop: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class EventBatch:
    """
    Events in columns of equal length.

    Attributes:
        lines: the line or row of each, counted from 0 at the part's start.
        raw_ns: the begin, or the one stamp: a reading of its clock, int64 ns since 1970 by that clock.
        resolution_ns: a stamp means [stamp, stamp + resolution); 0: exact.
        payload: everything else that was written, by column.
        clocks: the clock of each; None: all are of the source's one clock.
        end_raw_ns: the end; `NO_READING` where there is none. None: no event of the batch has one.
        fold_ns: where local time ran twice, the stamp may also mean so much later; 0 where it may not. None: nowhere.
        is_assumed: the zone of these stamps is nobody's word.
        edges: where the text of each, UTF-8, begins in its file, and where the last one ends: one more than events.
            Each reaches to the next with one \\n behind it. None: the file is compressed, or it is not so of all.
    """

    lines: Int64Array
    raw_ns: Int64Array
    resolution_ns: int
    payload: pa.RecordBatch
    clocks: pa.DictionaryArray | None = None
    end_raw_ns: Int64Array | None = None
    fold_ns: Int64Array | None = None
    is_assumed: bool = False
    edges: Int64Array | None = None

    def __len__(self) -> int:
        return len(self.raw_ns)


@dataclass
class Tally:
    """
    What one part held, counted while it is read.

    Attributes:
        lines: lines or rows passed, blank ones and headers included: the next part's start from here.
        read: records that were there: events and those set aside.
        aside: what could not be read, by line from 1 at the part's start.
        problems: what kept the part from being read to its end, one sentence each.
        continued: lines that go on with the record before them, and are in its text.
        notes: what was taken for granted, such as a year, one sentence each.
    """

    aside: SetAside
    lines: int = 0
    read: int = 0
    problems: list[str] = field(default_factory=list)
    continued: int = 0
    notes: list[str] = field(default_factory=list)


class Reader(Protocol):
    """
    Reads one format. Stateless, so that any process can make one; found by name among `coeval.readers`.

    Attributes:
        name: as `--reader` and messages say it, such as "nginx".

    One with an attribute `rereads` that is true is as cheap to read as a copy of ours would be, and gives the same
    batches each time: a merge then reads it again where it needs the rest of its rows, and puts nothing down.
    """

    name: str

    def match(self, head: Head) -> float:
        """How sure the first bytes make it: 0 not this format, 1 no other. The surest reader is taken."""
        ...

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        """
        Cut a source into parts that can be read alone.

        Args:
            size: about so many bytes in each. A format that must be read from its start gives one part.

        Raises:
            WrongTable: what was said of it does not fit, such as a column that it has not.
            OSError: it cannot be read.
        """
        ...

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        """
        Read one part.

        Args:
            tally: counts what was read and takes what could not be.
            wanted: columns of the payload that somebody will look at; None: all.

        Raises:
            WrongTable: stamps have no zone, or could be in more than one unit, and nobody said which.
            OSError: the source cannot be read.
        """
        ...

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        """What the format itself says about clocks, beside its events; none for most."""
        ...
