"""
What all readers of text logs share: from lines to events.

    block of lines -> which lines begin with a stamp -> records (a line, and those that go on with it) -> batches

A format is a `TextFormat`: where the stamp stands, in which forms, and how a record falls into fields. A new one is a
file with one of these in a class of three lines. Most lines never meet a regular expression: their stamp is read
by its shape, and their text stays in the block that was read. Fields cost one, and only where somebody wants them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coeval.alignment import Messages
from coeval.clocks import Anchor
from coeval.errors import WrongTable
from coeval.timeline.readers._input import Head, is_plain, is_url, open_input, size_of
from coeval.timeline.readers._lines import NEWLINE, RETURN, LineBlock, LineBlocks
from coeval.timeline.readers._reader import EventBatch, Part, SourceSettings, Tally
from coeval.timeline.readers._set_aside import SetAsideRow
from coeval.timeline.readers._text_years import line_of, years_of_parts
from coeval.timeline.readers._values import BoolArray, Int64Array, as_numpy
from coeval.timeline.stamps import PATTERNS, Shapes, StampSense, no_zone
from coeval.timeline.stamps._forms import read_stamp
from coeval.timeline.stamps._layout import Bytes
from coeval.timeline.stamps._written import GOOD, IMPOSSIBLE, NO_OFFSET, NO_STAMP, Written, as_slice

TEXT = "text"
"""The column of the record as it stands in the file, without its last line end."""

WHOLE_TEXT = "text\n"
"""The same with one line end behind it, where somebody wants that: for a log that stays a log."""

RECORD_BYTES_MAX = 1 << 26
"""A record takes in no more lines than fit; further ones are set aside."""

NO_STAMP_HERE = "there is no stamp in it"
NOT_BEGUN = "there is no stamp in it, nor before it"
TOO_LONG = f"it goes on with a record that has {RECORD_BYTES_MAX:,} bytes already"

# Twice as much as other formats take at once: threads that each do little with many rows hinder each other less.
_BLOCK_BYTES = 1 << 23
_SEARCH_BYTES = 512
_CLOCK_BYTES = 256
_STAMP_SHOWN = 60
_EXAMPLES = 4
_PREFIX_MAX = 16
_DISAPPOINTMENTS_MAX = 8
_HEAD_LINES = 60
_ZONE_LINES = 200
_INTEGER_DIGITS_MAX = 18
_STEP = "step_"
_REST = re.compile(r"\(\?P<(\w+)>\.\*\)\$")


Steps: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class TextFormat:
    """
    How the lines of a format are written. Regular expressions are read by RE2 and by Python's `re`.

    Attributes:
        forms: that the stamp may have, of `stamps`.
        before: what stands before a stamp, from the line's begin. The shorter one is taken where two would do.
        fields_before, fields: what stands before the stamp, and what after it, in named groups; of several the first
            that fits counts. Each is a row of expressions, the next from where the one before ended: RE2 is several
            times faster where it need not try twice and has at most three groups.
        after_first: a byte that `before` ends with, and the first one in most lines: there stamps are looked for first.
        anywhere: further fields, each found by its own expression in what stands after the stamp.
        whole: an expression for the whole line with a group `time`, instead of those.
        has_continuations: a line without a stamp goes on with the record before it.
        clock_field: names the clock of each record, unless somebody says otherwise.
        clock_by: finds that alone in what stands after the stamp, in its first bytes.
        integers: fields that are whole numbers; null where they have more than 18 digits.
        nothing: what stands for a field that is not there.
        may_begin_with_space: else a line that does has no stamp.
        names_zone: a stamp without its zone is none of this format.
        loose: further expressions for what stands after the stamp, which do not tell the format.
    """

    forms: tuple[str, ...]
    before: str = ""
    after_first: str = ""
    fields_before: Steps = ()
    fields: tuple[Steps, ...] = ()
    anywhere: tuple[str, ...] = ()
    whole: str = ""
    has_continuations: bool = True
    clock_field: str = ""
    clock_by: str = ""
    integers: tuple[str, ...] = ()
    nothing: str = ""
    may_begin_with_space: bool = False
    names_zone: bool = False
    loose: tuple[Steps, ...] = ()

    @cached_property
    def search(self) -> str:
        """Finds the stamp of a line in its group `time`, and what is before it in `before`."""
        if self.whole:
            return without_groups(self.whole, but="time")
        return f"^(?P<before>{self.before})(?P<time>{'|'.join(PATTERNS[form] for form in self.forms)})"

    @cached_property
    def python(self) -> re.Pattern[bytes]:
        """The same for one line."""
        return re.compile(self.search.encode())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the fields, without the stamp."""
        steps = (*self.fields_before, *(step for steps in (*self.fields, *self.loose) for step in steps))
        steps += (*self.anywhere, self.whole)
        found = {name: None for step in steps for name in _GROUP.findall(step)}
        return tuple(name for name in found if name != "time")

    def fits(self, line: bytes) -> bool:
        """Whether a line has a stamp and the fields."""
        found = self.python.search(line)
        if found is None or self.whole:
            return found is not None
        before, after = line[: found.start("time")], line[found.end("time") :].rstrip(b"\r\n")
        return _joined(self.fields_before).match(before) is not None and (
            not self.fields or any(_joined(steps).match(after) for steps in self.fields)
        )


_GROUP = re.compile(r"\(\?P<(\w+)>")


@cache
def _joined(steps: Steps) -> re.Pattern[bytes]:
    return re.compile("".join(steps).encode(), re.DOTALL)


def without_groups(pattern: str, but: str) -> str:
    """A pattern that keeps only the groups named so, a regular expression; what is not kept costs RE2 nothing."""
    return re.sub(rf"\(\?P<(?!{but}>)\w+>", "(?:", pattern)


class TextReader:
    """
    Reads one format of text logs; a subclass names it.

    Attributes:
        format: how its lines are written.
        sureness: how sure it is of a file all of whose lines fit.
    """

    name: str
    format: ClassVar[TextFormat]
    sureness: float = 0.8

    def format_of(self, settings: SourceSettings) -> TextFormat:
        """The format, where settings say more of it."""
        return self.format

    def match(self, head: Head) -> float:
        """The share of lines that fit the fields, or where there are none, the stamp; of those that begin a record."""
        lines = head.data.split(b"\n")
        lines = [line for line in (lines if head.is_whole else lines[:-1])[:_HEAD_LINES] if line.strip()]
        if not lines or b"\0" in head.data[:64]:
            return 0.0
        form = self.format
        heads = [line for line in lines if line[:1] > b" "] if form.has_continuations else lines
        fits = [form.fits(line) for line in heads]
        share = sum(fits) / max(len(fits), 1)
        # Stack traces have lines that look like anything, so a few that fit are enough where the first one does.
        if form.has_continuations and any(fits[:1]):
            share = 0.5 + share / 2
        return self.sureness * share

    def parts(self, source: str, path: str, settings: SourceSettings, size: int) -> Sequence[Part]:
        """Cut at any byte; a compressed file is one part."""
        form = self.format_of(settings)
        self._check_zone(form, source, path, settings)
        total = size_of(path)
        count = max(1, round(total / max(size, 1))) if is_plain(path) else 1
        starts = [total * number // count for number in range(count)]
        parts = [
            Part(source, path, self.name, settings, start, stop)
            for start, stop in zip(starts, [*starts[1:], None], strict=True)
        ]
        years = years_of_parts(form.python, form.forms, parts)
        if years is None:
            return parts
        return [
            replace(part, settings=replace(settings, year=year), notes=years.notes if part is parts[0] else ())
            for part, year in zip(parts, years.years, strict=True)
        ]

    def _check_zone(self, form: TextFormat, source: str, path: str, settings: SourceSettings) -> None:
        """Refuse a file that begins with stamps without a zone that nobody said; later, single lines are set aside."""
        StampSense(settings, source)
        if settings.zone or settings.assume_utc or form.names_zone:
            return
        with closing(open_input(path)) as file:
            for _ in range(_ZONE_LINES):
                found = form.python.search(line_of(file)[0])
                if found is None:
                    continue
                text = found["time"].decode("latin-1")
                stamp = read_stamp(text, form.forms)
                if stamp.state == GOOD and stamp.offset_s == NO_OFFSET:
                    raise no_zone(source, text)

    def batches(self, part: Part, tally: Tally, wanted: Collection[str] | None = None) -> Iterator[EventBatch]:
        """Read one part; the payload has `text` and the format's fields."""
        tally.notes.extend(part.notes)
        with closing(open_input(part.path)) as file:
            keeps_places = is_plain(part.path) and not is_url(part.path)
            yield from _PartOfText(part, self.format_of(part.settings), tally, wanted, keeps_places).read(file)

    def evidence(self, part: Part) -> tuple[Messages, Sequence[Anchor]]:
        """Lines of text say nothing about other clocks by themselves."""
        return Messages.of([]), ()


class _PartOfText:
    """One part while it is read."""

    def __init__(
        self, part: Part, form: TextFormat, tally: Tally, wanted: Collection[str] | None, keeps_places: bool
    ) -> None:
        self._keeps_places = keeps_places
        self._refused: list[tuple[int, str, bytes]] = []
        self._part = part
        self._form = form
        self._tally = tally
        settings = part.settings
        self._clock_field = "" if settings.clock else settings.clock_field or form.clock_field
        if self._clock_field and self._clock_field not in form.names:
            raise WrongTable(
                f"{part.source} has no field named {self._clock_field!r} to name the clock by; "
                f"its format, {part.reader}, has {', '.join(form.names) or 'none'}."
            )
        names = (TEXT, *form.names)
        self._wanted = list(names) if wanted is None else [name for name in (WHOLE_TEXT, *names) if name in wanted]
        self._shapes = Shapes(form.forms)
        self._shapes_of_texts = Shapes(form.forms)
        self._disappointments = 0
        self._sense = StampSense(settings, part.source, refuses=False)
        # Lines before this part belong to a record that began there, if the format has such.
        self._is_inside = part.start > 0 and form.has_continuations
        self._has_begun = False

    def read(self, file: Any) -> Iterator[EventBatch]:
        blocks = LineBlocks(file, self._part.start, self._part.stop, _BLOCK_BYTES)
        keep = b""
        while (block := blocks.next(keep)) is not None:
            keep = b""
            written = self._stamps_of(block)
            records = np.flatnonzero(written.state)
            begin = self._first_line(block, records)
            if begin is None:
                if block.is_last or block.own < len(block.begins):
                    break
                continue
            end = self._end_line(block, records)
            is_end = block.is_last or end < len(block.begins)
            records = records[(records >= begin) & (records < end)]
            if not is_end and (count := self._held(block, written, records)):
                first = int(records[-count])
                keep = block.data[block.begins[first] : block.size].tobytes()
                end, records = first, records[:-count]
            lines = _Lines(block, written, records, begin, end, self._form.has_continuations)
            self._take_unstamped(lines)
            if len(records):
                yield from self._batches_of(lines)
                self._has_begun = True
            self._set_refused_aside()
            self._tally.lines += end - begin
            if is_end:
                break
        self._tally.problems.extend(blocks.problems)

    def _held(self, block: LineBlock, written: Written, records: Int64Array) -> int:
        """How many of the last records come again with the next block, as what follows may belong to them."""
        # Either the last one goes on, or it is not settled yet which time is meant.
        counts = [self._sense.waiting(written.taken(records)), int(self._form.has_continuations)]
        for count in counts:
            if 0 < count <= len(records) and block.size - block.begins[records[-count]] < RECORD_BYTES_MAX:
                return count
        return 0

    def _first_line(self, block: LineBlock, records: Int64Array) -> int | None:
        """The first line that is ours; None: none is, yet."""
        if not self._is_inside:
            return 0
        ours = records[records < block.own]
        if not len(ours):
            return None
        self._is_inside = False
        return int(ours[0])

    def _end_line(self, block: LineBlock, records: Int64Array) -> int:
        """The first line that is not ours: where the next part's first record begins, if records have several lines."""
        if not self._form.has_continuations:
            return block.own
        beyond = records[records >= block.own]
        return int(beyond[0]) if len(beyond) else len(block.begins)

    def _stamps_of(self, block: LineBlock) -> Written:
        # A line that is empty or begins with space is not looked at further, unless the format has such.
        first = block.data[block.begins]
        rows = np.flatnonzero((first > 32) | ((first != 10) & self._form.may_begin_with_space))
        if self._shapes.is_empty and len(rows):
            # A few lines tell the shape of most: the others need not be searched.
            self._learn(block, rows)
        if self._form.after_first:
            written, left = self._read_after_first(block, rows)
        else:
            written, left = self._shapes.read_known(block.data, block.begins, block.ends, rows)
        if len(left):
            self._search(block, written, left)
        return written

    def _read_after_first(self, block: LineBlock, rows: Int64Array) -> tuple[Written, Int64Array]:
        """Read the stamps that stand right after the first of a certain byte in their line; and what is left."""
        places = np.flatnonzero(block.data[: block.size] == ord(self._form.after_first)) + 1
        places = np.append(places, block.size)
        begins = places[np.searchsorted(places, block.begins, "right")]
        is_there = begins <= block.ends
        is_there = is_there[rows]
        written, left = self._shapes.read_known(block.data, begins, block.ends, rows[is_there])
        shift = np.where(written.state == GOOD, begins - block.begins, 0).astype(np.int32)
        written = written._replace(begin=written.begin + shift, end=written.end + shift)
        return written, np.union1d(left, rows[~is_there]) if not is_there.all() else left

    def _search(self, block: LineBlock, written: Written, rows: Int64Array) -> None:
        """Find and read the stamps of lines whose shape is not known."""
        offsets = np.append(block.begins, block.size)
        lines = _slices(block, offsets)
        lines = lines if len(rows) == len(lines) else lines.take(pa.array(rows))
        if not self._form.whole:
            lines = pc.binary_slice(lines, 0, _SEARCH_BYTES)
        if self._form.before and self._form.has_continuations:
            # Lines that go on, as those of stack traces, have no stamp: that is told faster than where it is.
            may_have = _mask(pc.match_substring_regex(lines, "|".join(PATTERNS[form] for form in self._form.forms)))
            rows, lines = rows[may_have], lines.filter(pa.array(may_have))
        found = pc.extract_regex(lines, self._form.search)
        is_found = _mask(pc.is_valid(found))
        rows, found = rows[is_found], found.filter(pa.array(is_found))
        if not len(rows):
            return
        read = self._shapes_of_texts.read_texts(pc.struct_field(found, "time"))
        # The pattern found it, so that no form fits means that it is no time.
        read = read._replace(state=np.where(read.state == NO_STAMP, np.uint8(IMPOSSIBLE), read.state))
        if not self._form.whole:
            before = as_numpy(pc.binary_length(pc.struct_field(found, "before")))
            read = read._replace(begin=before, end=before + read.end)
        written.put(rows, read)
        if len(rows) * 20 > len(block.begins) and self._disappointments < _DISAPPOINTMENTS_MAX:
            self._learn(block, rows)

    def _learn(self, block: LineBlock, rows: Int64Array) -> None:
        for row in rows[:: max(1, len(rows) // _EXAMPLES)][:_EXAMPLES].tolist():
            line = block.data[block.begins[row] : min(block.ends[row], block.begins[row] + _SEARCH_BYTES)].tobytes()
            found = self._form.python.search(line)
            if found is None:
                continue
            begin, end = found.span("time")
            if self._form.after_first:
                line, begin, end = line[begin:], 0, end - begin
            if begin <= _PREFIX_MAX:
                self._disappointments += self._shapes.learn(line, begin, end)

    def _take_unstamped(self, lines: _Lines) -> None:
        """Account for the lines that begin no record: they go on with one, are blank, or are set aside."""
        if lines.end - lines.begin == len(lines.records):
            return
        block = lines.block
        is_other = np.ones(lines.end, np.bool_)
        is_other[lines.records] = False
        others = np.flatnonzero(is_other[lines.begin :]) + lines.begin
        begins, ends = block.begins[others], block.ends[others]
        others = others[ends - begins > (block.data[begins] == 13)]
        reason = NO_STAMP_HERE
        if self._form.has_continuations:
            first = int(lines.records[0]) if len(lines.records) else lines.end
            self._tally.continued += int((others > first).sum())
            others = others[others < first]
            reason = TOO_LONG if self._has_begun else NOT_BEGUN
        self._tally.read += len(others)
        for row in others.tolist():
            self._refused.append((row - lines.begin, reason, lines.bytes_of(row)))

    def _batches_of(self, lines: _Lines) -> Iterator[EventBatch]:
        records = lines.records
        self._tally.read += len(records)
        stamps = self._sense.read(
            lines.written.taken(records), lambda row: _shown(lines.bytes_of(int(records[row])))[:_STAMP_SHOWN].strip()
        )
        is_good = np.ones(len(records), np.bool_)
        for fault in stamps.faults:
            is_good[fault.rows] = False
            for row in fault.rows.tolist():
                self._refused.append((int(records[row]) - lines.begin, fault.reason, lines.texts[row].as_py()))
        for resolution_ns, is_assumed, rows in _alike(stamps.resolution_ns, stamps.is_assumed, is_good):
            chosen = as_slice(rows)
            whole = lines.whole if WHOLE_TEXT in self._wanted and len(rows) == len(records) else None
            clocks, payload = self._payload(lines, rows, whole)
            fold_ns = stamps.fold_ns[chosen]
            yield EventBatch(
                records[chosen] + (self._tally.lines - lines.begin),
                stamps.raw_ns[chosen],
                resolution_ns,
                payload,
                clocks,
                fold_ns=fold_ns if fold_ns.any() else None,
                is_assumed=is_assumed,
                edges=whole.edges if whole is not None and self._keeps_places else None,
            )

    def _payload(
        self, lines: _Lines, rows: Int64Array, whole: _WholeTexts | None
    ) -> tuple[pa.DictionaryArray | None, pa.RecordBatch]:
        written = lines.written.taken(lines.records[as_slice(rows)])
        fields = [name for name in self._wanted if name not in (TEXT, WHOLE_TEXT)]
        columns = {}
        if fields:
            columns = self._fields(lines.taken(rows), written, "")
        elif self._clock_field and whole is not None and self._has_clock_near:
            columns = self._fields(whole.texts, written, self._clock_field, behind=1)
        elif self._clock_field:
            columns = self._fields(lines.taken(rows), written, self._clock_field)
        clocks = None
        if self._clock_field:
            named = columns[self._clock_field].cast(pa.string())
            clocks = pc.fill_null(named, self._part.source).dictionary_encode()
        if TEXT in self._wanted:
            columns[TEXT] = as_text(lines.taken(rows))
        if whole is not None:
            columns[WHOLE_TEXT] = whole.texts
        elif WHOLE_TEXT in self._wanted:
            columns[WHOLE_TEXT] = pc.binary_join_element_wise(as_text(lines.taken(rows)), "", "\n")
        payload = pa.RecordBatch.from_arrays([columns[name] for name in self._wanted], list(self._wanted))
        return clocks, payload

    @property
    def _has_clock_near(self) -> bool:
        """Whether the clock's name is found in a few bytes behind the stamp."""
        return bool(self._form.clock_by) and self._clock_field == self._form.clock_field and not self._form.whole

    def _fields(self, records: pa.Array, written: Written, only: str, behind: int = 0) -> dict[str, pa.Array]:
        """The fields of each record, or one of them, null where it has none; `behind` are bytes of a line end there."""
        form = self._form
        if form.whole:
            found = _extracted(_first_lines(as_text(records)), without_groups(form.whole, r"(?!time>)\w+"))
        elif only and self._has_clock_near:
            [after] = _pieces(records, written.end, written.end + _CLOCK_BYTES, wanted=(1,), behind=behind)
            found = _in_steps(as_text(after), ((form.clock_by,),))
        else:
            before, after = _around(records, written)
            found = _in_steps(as_text(after), (*form.fields, *form.loose))
            for pattern in form.anywhere:
                found |= _extracted(as_text(after), pattern)
            for name, column in _in_steps(as_text(before), (form.fields_before,)).items():
                # A field may stand on either side; after the stamp it counts more.
                column = pc.if_else(pc.equal(column, ""), None, column)
                found[name] = pc.coalesce(found[name], column) if name in found else column
        nothing = pa.array(["", form.nothing], pa.string())
        columns = {}
        for name in (only,) if only else form.names:
            column = found.get(name, pa.nulls(len(records), pa.string()))
            column = pc.if_else(pc.is_in(column, nothing), None, column)
            if name in form.integers:
                is_small = pc.less_equal(pc.binary_length(column), _INTEGER_DIGITS_MAX)
                column = pc.if_else(is_small, column, None).cast(pa.int64())
            columns[name] = column
        return columns

    def _set_refused_aside(self) -> None:
        """In the order of lines, whatever it was that each was looked at for."""
        for line, reason, text in sorted(self._refused):
            number = self._tally.lines + line + 1
            self._tally.aside.add(SetAsideRow(self._part.source, "line", number, reason, {TEXT: _shown(text)}))
        self._refused.clear()


class _WholeTexts(NamedTuple):
    """
    Records of a block as they stand there, each with one \\n behind it, and nothing between them.

    Attributes:
        texts: strings; their bytes are the block's.
        edges: where each begins in the file, and where the last one ends.
    """

    texts: pa.StringArray
    edges: Int64Array


@dataclass(frozen=True, eq=False)
class _Lines:
    """
    Lines of a block that are taken now.

    Attributes:
        records: those that begin with a stamp.
        begin, end: which lines.
        has_continuations: the others go on with a record.
    """

    block: LineBlock
    written: Written
    records: Int64Array
    begin: int
    end: int
    has_continuations: bool

    def bytes_of(self, row: int) -> bytes:
        """One line."""
        return self.block.data[self.block.begins[row] : self.block.ends[row]].tobytes()

    @property
    def _edges(self) -> Int64Array:
        """Where records begin in the block, and where the last line ends."""
        begins = self.block.begins
        end = begins[self.end] if self.end < len(begins) else self.block.size
        return np.append(begins[as_slice(self.records)], end)

    @cached_property
    def texts(self) -> pa.Array:
        """Each record as it stands there, without the line end behind it; binary."""
        block = self.block
        if self.has_continuations:
            return _slices(block, self._edges)
        end = block.begins[self.end] if self.end < len(block.begins) else block.size
        lines = _slices(block, np.append(block.begins[: self.end], end))
        return lines if len(lines) == len(self.records) else lines.take(pa.array(self.records))

    def taken(self, rows: Int64Array) -> pa.Array:
        """The texts of some of the records."""
        return self.texts if len(rows) == len(self.texts) else self.texts.take(pa.array(rows))

    @cached_property
    def whole(self) -> _WholeTexts | None:
        """The records as they stand there; None: there are other lines or line ends, or what is no UTF-8."""
        if not self.has_continuations and self.end - self.begin > len(self.records):
            return None
        block, edges = self.block, self._edges
        last = block.data[edges[1:] - 2]
        if block.data[edges[-1] - 1] != NEWLINE or bool(((last == NEWLINE) | (last == RETURN)).any()):
            return None
        buffers = [None, pa.py_buffer(edges.astype(np.int32)), pa.py_buffer(block.data)]
        texts = pa.StringArray.from_buffers(len(edges) - 1, buffers[1], buffers[2])
        if not is_ascii(block.data[edges[0] : edges[-1]]) and not is_utf8(texts):
            return None
        return _WholeTexts(texts, edges + block.at)


def is_ascii(data: Bytes) -> bool:
    """Whether all bytes are of the first half; each then is a letter of UTF-8."""
    whole = len(data) & ~7
    return not (
        int(np.bitwise_or.reduce(data[:whole].view(np.uint64), initial=np.uint64(0))) & 0x8080808080808080
        or bool((data[whole:] > 127).any())
    )


def is_utf8(column: pa.Array) -> bool:
    """Whether all of a column of strings is that."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def as_text(column: pa.Array) -> pa.Array:
    """Bytes as text; what is no UTF-8 is shown by replacement characters."""
    if len(column) and is_ascii(_bytes_of(column)):
        return column.cast(pa.string(), safe=False)  # which is not to be looked at again
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_shown(value) for value in column.to_pylist()], pa.string())


def _bytes_of(column: pa.Array) -> Bytes:
    _, offsets, data = column.buffers()
    if data is None:
        return np.empty(0, np.uint8)
    first, last = np.frombuffer(offsets, np.int32)[[column.offset, column.offset + len(column)]].tolist()
    return np.frombuffer(data, np.uint8)[first:last]


def _around(records: pa.Array, written: Written) -> tuple[pa.Array, pa.Array]:
    """What stands before each record's stamp, and what after it."""
    before, after = _pieces(records, written.begin, written.end, wanted=(0, 2))
    return before, after


def _pieces(texts: pa.Array, *cuts: npt.NDArray[np.int32], wanted: tuple[int, ...], behind: int = 0) -> list[pa.Array]:
    """
    Every text cut at some of its bytes, in increasing order; an array for the first pieces, or the second…

    Args:
        behind: so many of the last bytes of each are in the last piece, whatever the cuts.
    """
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    count = len(cuts) + 1
    edges = np.empty(count * len(texts) + 1, np.int32)
    edges[0::count] = offsets
    for number, cut in enumerate(cuts, 1):
        edges[number::count] = np.minimum(offsets[:-1] + cut, offsets[1:] - behind)
    buffers = [None, pa.py_buffer(edges), texts.buffers()[2]]
    pieces = pa.Array.from_buffers(texts.type, len(edges) - 1, buffers)
    places = np.arange(0, len(edges) - 1, count)
    return [pieces.take(pa.array(places + number)) for number in wanted]


def _in_steps(texts: pa.Array, alternatives: tuple[Steps, ...]) -> dict[str, pa.Array]:
    """Named groups of the first alternative that fits each text."""
    columns: dict[str, pa.Array] = {}
    rows = np.arange(len(texts))
    for steps in alternatives:
        if not len(rows):
            break
        found, fitting = _followed(texts if len(rows) == len(texts) else texts.take(pa.array(rows)), steps)
        if len(fitting) == len(texts):
            return found
        mask = np.zeros(len(texts), np.bool_)
        mask[rows[fitting]] = True
        for name, values in found.items():
            before = columns.get(name, pa.nulls(len(texts), pa.string()))
            columns[name] = pc.replace_with_mask(before, pa.array(mask), values)
        rows = np.delete(rows, fitting)
    return columns


def _followed(texts: pa.Array, steps: Steps) -> tuple[dict[str, pa.Array], Int64Array]:
    """Named groups of all steps, of those texts that fit every one; and which those are."""
    columns: dict[str, pa.Array] = {}
    fitting, rest = np.arange(len(texts)), texts
    for number, step in enumerate(steps, 1):
        if number == len(steps) and (all_that_is_left := _REST.fullmatch(step)):
            columns[all_that_is_left[1]] = rest
            break
        found = pc.extract_regex(rest, f"(?s)^(?P<{_STEP}>{step})")
        fits = _mask(pc.is_valid(found))
        if not fits.all():
            found, rest = found.filter(pa.array(fits)), rest.filter(pa.array(fits))
            columns = {name: column.filter(pa.array(fits)) for name, column in columns.items()}
            fitting = fitting[fits]
        columns |= _columns(found)
        passed = as_numpy(pc.binary_length(columns.pop(_STEP)))
        if number < len(steps):
            [rest] = _pieces(rest, passed, wanted=(1,))
    return columns, fitting


def _extracted(texts: pa.Array, pattern: str) -> dict[str, pa.Array]:
    return _columns(pc.extract_regex(texts, pattern)) if _GROUP.search(pattern) else {}


def _columns(found: pa.StructArray) -> dict[str, pa.Array]:
    return {kind.name: pc.struct_field(found, kind.name) for kind in found.type}


def _first_lines(texts: pa.Array) -> pa.Array:
    if not pc.any(pc.match_substring(texts, "\n")).as_py():
        return texts
    return pc.replace_substring_regex(texts, r"(?s)\r?\n.*", "")


def _slices(block: LineBlock, offsets: Int64Array) -> pa.Array:
    """Adjacent stretches of a block, without the line ends behind them."""
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(block.data)]
    # As text, though it may be none, because only text can be trimmed; that looks at single bytes.
    lines = pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)
    return pc.ascii_rtrim(lines, characters="\r\n").cast(pa.binary())


def _alike(
    resolution_ns: Int64Array, is_assumed: BoolArray, is_good: BoolArray
) -> Iterator[tuple[int, bool, Int64Array]]:
    """Rows by what they have in common."""
    is_left = is_good
    while is_left.any():
        first = int(is_left.argmax())
        is_same = is_left & (resolution_ns == resolution_ns[first]) & (is_assumed == is_assumed[first])
        yield int(resolution_ns[first]), bool(is_assumed[first]), np.flatnonzero(is_same)
        is_left = is_left & ~is_same


def _shown(value: bytes | None) -> str:
    return "" if value is None else value.decode(errors="replace")


def _mask(condition: pa.Array) -> BoolArray:
    mask: BoolArray = as_numpy(condition)
    return mask
