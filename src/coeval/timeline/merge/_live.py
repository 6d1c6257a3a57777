"""
A merge of sources that are still written.

    FollowedFile, FollowedStream -> whole records -> the source's reader -> LiveEvents  ─┐
                                                         rows that may be evidence       │
    evidence so far -> relate, again and again, for a tenth of the time -> places        │
                                         LiveOrder: emitted, late, future  <─────────────┘
                                                      -> lines of JSON, lines set aside

Every round is one call of `step`; whoever calls it waits in between, and says when to end. Intervals of an event are
those known when it was written: evidence that comes later narrows what follows, and a merge of the files has it all.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST
from coeval.clocks import SYSTEM_CLOCK, ClockId
from coeval.errors import ClocksNotRelated, WrongTable
from coeval.timeline._layout import payload_name
from coeval.timeline._python_rows import python_rows
from coeval.timeline.merge._aside import aside_line
from coeval.timeline.merge._before import (
    ClockOrder,
    clock_orders,
    keys_of,
    near_each_other,
    nodes_of,
    with_messages,
)
from coeval.timeline.merge._follow import FollowedFile, FollowedStream, RecordCutter
from coeval.timeline.merge._live_order import FUTURE_NS, Aside, Emitted, LiveEvent, LiveOrder
from coeval.timeline.merge._maps import PlacedClock, placed_clocks
from coeval.timeline.merge._merge import STDIN, MergeEvidence, MergeSettings, MergeSource
from coeval.timeline.readers._input import Head, head_of, is_plain, is_url
from coeval.timeline.readers._jsonl import JsonLinesReader
from coeval.timeline.readers._reader import NO_READING, EventBatch, Tally
from coeval.timeline.readers._registry import detected, reader_named
from coeval.timeline.readers._set_aside import SetAside, SetAsideRow
from coeval.timeline.readers._text import TextReader
from coeval.timeline.readers._values import Int64Array
from coeval.timeline.sources._claims import ClockSpan
from coeval.timeline.sources._links import links_of
from coeval.timeline.sources._messages import FoundEvidence, messages_of
from coeval.timeline.sources._relate import relate
from coeval.timeline.sources._rows import EvidenceRows, extract, joined
from coeval.timeline.writers._json_value import json_value

WAITING_MAX = 1 << 20
"""So many events wait at most; then only sources that hold them back are read."""

EVIDENCE_ROWS_MAX = 1 << 17
"""So many rows are kept to be joined; older ones are a summary, and join nothing more."""

# A record whose next line does not come for so long is whole: it was written in one go or not at all.
_WHOLE_AFTER_NS = 10**9
# Relating costs at most this share of the time.
_RELATING_SHARE = 0.1
_RELATE_EVERY_NS = 200 * 10**6


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """
    How to follow.

    Attributes:
        idle_timeout_ns: a source, or a clock of it, that was silent for so long is no longer waited for; None: all are.
        future_ns: see `LiveOrder`.
    """

    idle_timeout_ns: int | None = None
    future_ns: int = FUTURE_NS


class LiveReport(NamedTuple):
    """
    What a live merge did: read = emitted + the sum of set_aside.

    Attributes:
        set_aside: how many for which reason.
    """

    read: int
    emitted: int
    set_aside: Mapping[str, int]
    reference_label: str
    problems: tuple[str, ...]


class _Source:
    """One source while it is followed."""

    def __init__(self, source: MergeSource, folder: Path, number: int) -> None:
        if source.path != STDIN and (is_url(source.path) or Path(source.path).is_dir() or not is_plain(source.path)):
            raise ValueError(f"{source.path} cannot be followed; expected a plain local file of lines, or -")
        self.source = source
        self.number = number
        if source.path != STDIN and not source.settings.reader:
            with contextlib.suppress(WrongTable):  # nothing or little is written yet: the first lines will tell
                self._check(detected(head_of(source.path)).name)
        self.file = FollowedStream(0) if source.path == STDIN else FollowedFile(source.path)
        self.heard_ns = 0
        self.lines = 0
        self._cutter = RecordCutter(None)
        self._settings = source.settings
        self._reader: TextReader | JsonLinesReader | None = None
        self._path = str(folder / f"live-{number}-")
        self._chunks = 0

    def chunk(self, now_ns: int) -> bytes:
        """Whole records that were not given yet."""
        data = self.file.read()
        if data:
            self.heard_ns = now_ns
        if self._reader is None and data:
            return self._first(data)
        found = self._cutter.cut(data) if data else b""
        if not found and self.file.has_ended:
            return self._cutter.rest()
        if not found and not data and now_ns - self.heard_ns > _WHOLE_AFTER_NS:
            return self._cutter.whole_lines()
        return found

    def rest(self) -> bytes:
        """What is left at the end."""
        return self._cutter.rest()

    def events(self, data: bytes, tally: Tally) -> Iterator[EventBatch]:
        """Read whole records."""
        if self._reader is None:
            self._choose(data)
        reader = self._reader
        assert reader is not None
        self._chunks += 1
        path = f"{self._path}{self._chunks}"
        Path(path).write_bytes(data)
        try:
            if (modified_ns := self.file.modified_ns) is not None:
                os.utime(path, ns=(modified_ns, modified_ns))  # by which a year that stamps lack is found
            (part,) = reader.parts(self.source.name, path, self._settings, len(data) + 1)
            if isinstance(reader, JsonLinesReader):
                stamps, types = reader._looked_at(self.source.name, path, self._settings)
                if types and not self._settings.time:  # what the first lines show holds for all
                    self._settings = replace(self._settings, time=stamps.time, unit=self._settings.unit or stamps.unit)
            yield from reader.batches(part, tally)
        finally:
            Path(path).unlink()

    def _first(self, data: bytes) -> bytes:
        """Until the first line is whole nobody knows the format."""
        whole = self._cutter.cut(data)
        if not whole:
            return b""
        self._choose(whole)
        return self._cutter.again(whole)

    def _check(self, name: str) -> TextReader | JsonLinesReader:
        reader = reader_named(name)
        if not isinstance(reader, (TextReader, JsonLinesReader)):
            raise ValueError(f"{self.source.name} is {name}, which is not read line by line: merge it without --live")
        return reader

    def _choose(self, data: bytes) -> None:
        head = Head(PurePosixPath(self.source.path).name, data, is_whole=True)
        name = self._settings.reader or detected(head).name
        self._reader = reader = self._check(name)
        if isinstance(reader, TextReader):
            form = reader.format_of(self._settings)
            if form.has_continuations:
                search = form.python.search
                self._cutter.begins = lambda line: search(line) is not None


class LiveMerge:
    """
    One live merge.

    Args:
        write: takes lines, each a JSON object with its line end.
        write_aside: takes those of events that are not written.
        tell: takes a sentence for people.
        folder: a folder for what is being read, of one's own.
        clock_ns: tells what relating costs.

    Raises:
        ValueError: a source cannot be followed.
        OSError: it cannot be read.
    """

    def __init__(
        self,
        sources: Sequence[MergeSource],
        settings: MergeSettings,
        evidence: MergeEvidence,
        live: LiveSettings,
        *,
        write: Callable[[list[bytes]], None],
        write_aside: Callable[[str], None],
        tell: Callable[[str], None],
        folder: Path,
        clock_ns: Callable[[], int] = SYSTEM_CLOCK.raw_ns,
    ) -> None:
        self._clock_ns = clock_ns
        self._settings, self._evidence, self._live = settings, evidence, live
        self._write, self._write_aside, self._tell = write, write_aside, tell
        self._sources = {source.name: _Source(source, folder, number) for number, source in enumerate(sources)}
        self._order = LiveOrder(list(self._sources), live.future_ns)
        self._heard_ns: dict[tuple[str, str | None], int] = {}
        self._folder = str(folder)
        self._rows: list[EvidenceRows] = []
        self._older = FoundEvidence()
        self._spans: dict[ClockId, ClockSpan] = {}
        self._maps: dict[str, PlacedClock] = {}
        self._orders: dict[str, ClockOrder] = {}
        self._means_ns = 0
        self._axis: tuple[str, str] | None = None  # reference clock, and what instants count on
        self._reference: tuple[str, str] | None = None  # the same, once something is written
        self._label = ""
        self._is_stale = False
        self._relate_at_ns = 0
        self._unrelated = ""
        self._told_holding: list[str] = []
        self._read = self._emitted = 0
        self._asides: dict[str, int] = {}
        self._problems: list[str] = []
        self._is_full = False

    @property
    def has_ended(self) -> bool:
        """Nothing can come any more."""
        return all(source.file.has_ended for source in self._sources.values())

    def step(self, now_ns: int) -> bool:
        """
        Read what is there, and write what is due.

        Args:
            now_ns: of a clock that nobody sets.

        Returns:
            Whether something was read.

        Raises:
            WrongTable: a source has no format known, or its stamps lack a zone that nobody said.
            OSError: as reading does.
        """
        holding = {name for name, _ in self._order.holding(self._places)}
        has_read = False
        for name, source in self._sources.items():
            if self._order.waiting >= WAITING_MAX and name not in holding:
                continue
            data = source.chunk(now_ns)
            if data:
                has_read = True
                self._take(source, data, now_ns)
            if source.file.has_ended:
                self._order.ended(name)
            self._tell_problems(source)
        self._tell_full(holding)
        if self._is_stale and now_ns >= self._relate_at_ns:
            self._relate(now_ns)
        self._release(now_ns)
        if not self._is_stale:  # else messages may say more of the order than is known yet
            self._put(*self._order.due(self._places, self._keys))
        return has_read

    def finish(self, now_ns: int) -> LiveReport:
        """Read what is held back, write everything that can be placed, and count."""
        for source in self._sources.values():
            if data := source.rest():
                self._take(source, data, now_ns)
            source.file.close()
        if self._is_stale:
            self._relate(now_ns)
        self._put(*self._order.finish(self._places, self._keys))
        aside = sum(self._asides.values())
        assert self._read == self._emitted + aside, f"{self._read} read, {self._emitted} emitted and {aside} set aside"
        problems = [*self._problems, *([self._unrelated] if self._unrelated else [])]
        return LiveReport(self._read, self._emitted, dict(self._asides), self._label, tuple(problems))

    def holding(self, now_ns: int) -> list[tuple[str, int]]:
        """Sources that hold others' events back, and for how many ns they have been silent."""
        if not self._order.waiting:
            return []
        lanes = self._order.holding(self._places)
        return [(_lane_text(lane), now_ns - self._heard_ns.setdefault(lane, now_ns)) for lane in lanes]

    @property
    def unbounded(self) -> str | None:
        """A clock that holds all back because nothing says how late its events can have been; None: none does."""
        return self._order.unbounded

    def _take(self, source: _Source, data: bytes, now_ns: int) -> None:
        lines_before = source.lines

        def aside(row: SetAsideRow) -> None:
            self._note_aside(row.source, row.number + lines_before, row.reason, row.values)

        tally = Tally(SetAside(aside))
        for chunk in source.events(data, tally):
            batch = replace(chunk, lines=chunk.lines + lines_before)
            found = extract(
                batch,
                self._evidence.rules,
                clock=source.source.clock,
                source=source.source.name,
                part=source.number,
            )
            if found.points is not None or found.spans is not None:
                self._rows.append(found)
            events = list(_events(batch, source.source))
            for event in events:
                self._heard_ns[event.source, event.clock] = now_ns
                span = self._spans.get(ClockId(event.clock), ClockSpan(0, event.raw_ns, event.raw_ns))
                self._spans[ClockId(event.clock)] = ClockSpan(
                    span.events + 1,
                    min(span.first_ns, event.raw_ns),
                    max(span.last_ns, event.raw_ns + event.means_ns),
                )
                self._means_ns = max(self._means_ns, event.means_ns)
            self._order.take(events)
            self._is_stale |= bool(events)
        source.lines += tally.lines
        self._read += tally.read
        for problem in tally.problems:
            self._problem(f"{source.source.name}: {problem}")

    def _release(self, now_ns: int) -> None:
        if self._live.idle_timeout_ns is None:
            return
        for lane in self._order.lanes:
            silent_ns = now_ns - self._heard_ns.setdefault(lane, now_ns)
            if silent_ns >= self._live.idle_timeout_ns:
                self._order.silent(*lane)
                self._tell(
                    f"{_lane_text(lane)} was silent for {silent_ns / 1e9:.1f} s and is no longer waited for; lines "
                    'that follow name it in "without"'
                )

    def _relate(self, now_ns: int) -> None:
        """Find anew where clocks lie."""
        began_ns = self._clock_ns()
        self._is_stale = False
        limit = f"{self._settings.memory}B"
        found = FoundEvidence().merge(self._older)
        rows = joined(self._rows)
        count = sum(0 if table is None or isinstance(table, str) else table.num_rows for table in rows)
        new = messages_of([rows], self._evidence.rules, memory_limit=limit, folder=self._folder)
        if count > EVIDENCE_ROWS_MAX:
            self._older = self._older.merge(new)
            self._rows = []
        elif rows.points is not None or rows.spans is not None:
            self._rows = [rows]
        found = found.merge(new)
        if len(self._evidence.messages):
            found.hard.add(self._evidence.messages)
        try:
            relation = relate(
                found,
                self._spans,
                anchors=self._evidence.anchors,
                claims=self._evidence.claims,
                standing=self._evidence.standing,
                trust_ns=self._settings.trust_ns,
                reference=self._reference[0] if self._reference else self._settings.reference,
                rates_ppm=self._settings.rates_ppm,
                rate_bound_ppm=self._settings.rate_bound_ppm,
                unplaced="aside",
            )
        except (ClocksNotRelated, ValueError) as error:
            # A clock that something was said of may not have shown itself yet; evidence may be false for a while.
            self._unrelated = f"clocks could not be related: {error}"
        else:
            axis = (str(relation.alignment.reference_clock), str(relation.reference))
            self._unrelated = ""
            if self._emitted and axis != self._reference:
                self._unrelated = f"later evidence would have moved all times to {relation.reference_label}; it was not"
            else:
                self._axis, self._label = axis, relation.reference_label
                self._maps = placed_clocks(relation)
                self._orders = self._order_by_messages(rows, limit)
        cost_ns = self._clock_ns() - began_ns
        self._relate_at_ns = now_ns + max(_RELATE_EVERY_NS, int(cost_ns / _RELATING_SHARE))

    def _order_by_messages(self, rows: EvidenceRows, limit: str) -> dict[str, ClockOrder]:
        """What messages change in the order of rows, by clock; see `_before`."""
        clocks = tuple(str(clock) for clock in self._spans)
        within_ns = self._means_ns
        given = self._evidence.messages
        while rows.points is not None or rows.spans is not None or len(given):
            near = partial(near_each_other, maps=self._maps, within_ns=within_ns)
            links = links_of([rows], self._evidence.rules, clocks, near, memory_limit=limit, folder=self._folder)
            count = len(self._sources)
            nodes = nodes_of(links, range(count), [0] * count, self._maps)
            nodes = with_messages(nodes, given, {clock: code for code, clock in enumerate(clocks)}, self._maps)
            orders = clock_orders(nodes, keys_of(nodes))
            moved_ns = max((order.lifted_ns + order.lowered_ns for order in orders.values()), default=0)
            if moved_ns <= within_ns:
                return {clocks[code]: order for code, order in orders.items()}
            within_ns = moved_ns
        return {}

    def _keys(
        self, clock: str, source: str, estimate: Int64Array, raw: Int64Array, lines: Int64Array
    ) -> tuple[Int64Array, Int64Array | None]:
        order = self._orders.get(clock)
        if order is None:
            return estimate, None
        return order.applied(estimate, raw, self._sources[source].number, lines)

    def _places(self, clock: str, raw: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array] | None:
        found = self._maps.get(clock)
        if found is None:
            return None
        placed = found.instants(raw)
        return placed.earliest_ns, placed.estimate_ns, placed.latest_ns

    def _put(self, emitted: list[Emitted], asides: list[Aside]) -> None:
        if emitted:
            self._write([self._line(each) for each in emitted])
            self._emitted += len(emitted)
            self._reference = self._axis
        for event, reason in asides:
            self._note_aside(event.source, event.line, reason, {"raw_ns": event.raw_ns, **event.row})

    def _line(self, each: Emitted) -> bytes:
        event = each.event
        row: dict[str, Any] = {
            "earliest_ns": each.earliest_ns,
            "estimate_ns": each.estimate_ns,
            "latest_ns": each.latest_ns,
            "raw_ns": event.raw_ns,
            "resolution_ns": event.means_ns,
            "clock": event.clock,
            "source": event.source,
            "line": event.line,
        }
        if (end := event.row.get("end_raw_ns")) is not None:
            found = self._places(event.clock, np.array([end], dtype=np.int64))
            assert found is not None
            unknown = (UNKNOWN_EARLIEST, UNKNOWN_ESTIMATE, UNKNOWN_LATEST)
            for name, column, nothing in zip(("earliest", "estimate", "latest"), found, unknown, strict=True):
                row[f"end_{name}_ns"] = None if int(column[0]) == nothing else int(column[0])
        if each.without:
            row["without"] = list(each.without)
        row |= {name: json_value(value) for name, value in event.row.items()}
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    def _note_aside(self, source: str, line: int, reason: str, values: Mapping[str, Any]) -> None:
        self._asides[reason] = self._asides.get(reason, 0) + 1
        self._write_aside(aside_line(source, line, reason, values))

    def _tell_problems(self, source: _Source) -> None:
        for problem in source.file.problems:
            self._problem(problem)
        source.file.problems.clear()

    def _problem(self, text: str) -> None:
        self._problems.append(text)
        self._tell(text)

    def _tell_full(self, holding: set[str]) -> None:
        is_full = self._order.waiting >= WAITING_MAX
        if is_full and not self._is_full:
            self._tell(f"{WAITING_MAX:,} events wait; only {', '.join(sorted(holding))} is read until some are written")
        self._is_full = is_full


def _events(batch: EventBatch, source: MergeSource) -> Iterator[LiveEvent]:
    rows = python_rows(batch.payload)
    clocks = [source.clock] * len(batch) if batch.clocks is None else batch.clocks.to_pylist()
    folds = np.zeros(len(batch), dtype=np.int64) if batch.fold_ns is None else batch.fold_ns
    ends = None if batch.end_raw_ns is None else batch.end_raw_ns.tolist()
    columns = zip(batch.raw_ns.tolist(), folds.tolist(), batch.lines.tolist(), rows, clocks, strict=True)
    for number, (raw_ns, fold_ns, line, row, clock) in enumerate(columns):
        payload: dict[str, Any] = {"assumed": True} if batch.is_assumed else {}
        if ends is not None and ends[number] != NO_READING:
            payload["end_raw_ns"] = ends[number]
        payload |= {_own_name(name): value for name, value in row.items() if value is not None}
        yield LiveEvent(source.name, clock or source.clock, line + 1, raw_ns, batch.resolution_ns + fold_ns, payload)


def _own_name(name: str) -> str:
    return "without_" if name == "without" else payload_name(name)


def _lane_text(lane: tuple[str, str | None]) -> str:
    source, clock = lane
    return source if clock is None or clock == source else f"{source} (clock {clock})"
