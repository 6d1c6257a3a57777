"""
From sources to one ordered timeline, beyond memory, on any executor.

    sources -> parts -> scan, each by itself -> pieces          (_piece.py)
    evidence of all parts -> one map for each clock             (sources/, _maps.py)
    maps and samples -> stretches of about equal size           (_stretches.py)
    stretch: rows of all pieces, placed, in their order         (_stream.py, _rows.py, _range.py)
    tables of the stretches, in turn -> the output              (_output.py)

Only the last step, which runs here, writes the target; the others leave their results in the spill folder or hand them
over in memory. Repeating any of them gives the same, so a worker that dies costs its own work alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from coeval.alignment import RATE_BOUND_PPM_DEFAULT, Messages
from coeval.clocks import Anchor, ClockId
from coeval.errors import WrongTable
from coeval.timeline._layout import TableClaims
from coeval.timeline._shared_files import begin_file, on_this_machine
from coeval.timeline._target import Target
from coeval.timeline._url_target import UrlTarget, place_of
from coeval.timeline.merge._aside import aside_line, aside_lines
from coeval.timeline.merge._before import ClockOrder, clock_orders, keys_of, near_each_other, nodes_of, with_messages
from coeval.timeline.merge._columns import MergedColumns, united, with_codes
from coeval.timeline.merge._direct import DirectFile
from coeval.timeline.merge._maps import PlacedClock, placed_clocks
from coeval.timeline.merge._output import Format, TableWriter, format_of, writer_for
from coeval.timeline.merge._piece import Piece, ScanOrder, scan
from coeval.timeline.merge._rows import Placement, Settled
from coeval.timeline.merge._sorted_piece import SortOrder, pieces_to_sort, sort_piece
from coeval.timeline.merge._spill import OutputFull, RemoteSpill, SpillFolder, full_disk, telling_full_disks
from coeval.timeline.merge._stream import PlacedPiece, StreamSettings, place_chunks
from coeval.timeline.merge._stretches import Pass, cuts_of, in_process, tables_by_calls, tables_in_threads
from coeval.timeline.readers._input import head_of, is_url
from coeval.timeline.readers._reader import Part, SourceSettings
from coeval.timeline.readers._registry import detected, is_blank, reader_named
from coeval.timeline.readers._text import TEXT, WHOLE_TEXT, TextReader
from coeval.timeline.readers._values import Int64Array, as_numpy
from coeval.timeline.sources._claims import ClockSpan, OffsetClaim
from coeval.timeline.sources._folds import settle_folds
from coeval.timeline.sources._links import links_of
from coeval.timeline.sources._messages import LinkCount, messages_of, with_absent
from coeval.timeline.sources._relate import Relation, relate
from coeval.timeline.sources._rows import EvidenceRows
from coeval.timeline.sources._rules import EvidenceRules

Unplaced: TypeAlias = Literal["", "last", "aside"]
Step: TypeAlias = Literal["scan", "sort", "merge"]
Progress: TypeAlias = Callable[[Step, int, int], None]

MEMORY_DEFAULT = 1 << 30
"""Bytes that rows may take at once, about."""

PART_BYTES = 64 << 20
"""How much of a source is scanned at once."""

STDIN = "-"

EMPTY = "empty"
"""What is told as the format of a source without a single record, such as a log that was rotated just now."""

_FIRST_SHOWN = 80

# What ours takes of a row beside its payload, in bytes.
_OWN_BYTES_IN_ROW = 96
_STRETCH_ROWS_MIN, _STRETCH_ROWS_MAX = 1 << 12, 1 << 17
# Such stretches fit the cache. But what is read from its source again comes in large chunks, one thread at a time, and
# the other needs enough to do meanwhile.
_STRETCH_ROWS_SPILLED = 1 << 16
# Logs that stay logs are read only where their lines are put into order, so larger stretches cost nothing that waits,
# and fewer of them hand over less often; while there are enough for all threads to begin and end together.
_STRETCH_ROWS_LOG = 1 << 18
_STRETCHES_OF_LOG_MIN = 24
# Rows of a stretch are in memory as they were read, put together, and put in order.
_COPIES = 3
# Rows that wait in streams, and what readers take, may have the other half.
_STRETCHES_SHARE = 2


def nobody_listens(step: Step, done: int, total: int) -> None:
    """No progress is shown."""


class MergeSource(Protocol):
    """
    One source.

    Attributes:
        name: as results show it; no two have the same.
        path: where it is; "-": standard input.
        settings: what was said of it.
        clock: the clock of rows for which the format names none.
    """

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def settings(self) -> SourceSettings: ...
    @property
    def clock(self) -> str: ...


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """
    How to merge.

    Attributes:
        reference: the clock that times count on where nothing ties them to UTC; None: the busiest.
        rate_bound_ppm: how far each clock's rate may be off.
        rates_ppm: the same of some clocks, by name, also with wildcards.
        trust_ns: each clock shows UTC within so much; None: nobody said that.
        unplaced: what becomes of events of clocks that nothing relates: "": nothing is merged; "last": they come last,
            clock by clock; "aside": they are set aside.
        spill: where to put what does not fit into memory, a folder or a URL; None: beside the target, or the system's
            folder for that.
        memory: bytes, about.
        set_aside: the file of rows that were set aside, a path or a URL; None: named after the target.
    """

    reference: str | None = None
    rate_bound_ppm: float = RATE_BOUND_PPM_DEFAULT
    rates_ppm: Mapping[str, float] = field(default_factory=dict)
    trust_ns: int | None = None
    unplaced: Unplaced = ""
    spill: str | None = None
    memory: int = MEMORY_DEFAULT
    set_aside: Path | str | None = None


class SourceReport(NamedTuple):
    """
    What became of one source.

    Attributes:
        read: records that were there: events and those set aside.
        clocks: that stamped its events.
        width_ns: from the earliest to the latest an event can have been; the median over samples; None: unknown.
    """

    name: str
    reader: str
    read: int
    events: int
    set_aside: int
    clocks: tuple[str, ...]
    width_ns: int | None
    problems: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class MergeReport:
    """
    What a merge did.

    Attributes:
        merged: rows that were written.
        set_aside: rows that were not, each with its reason in `set_aside_file`.
        reasons: how many for which reason.
        neighbours_turned: neighbours on the timeline whose raw stamps say the opposite.
        spilled_bytes: what the spill folder held in the end.
        links: pairs and spans: how many messages each kind made, and what was not used.
    """

    sources: tuple[SourceReport, ...]
    relation: Relation
    claims: TableClaims
    merged: int
    set_aside: int
    reasons: Mapping[str, int]
    set_aside_file: Path | str | None
    neighbours_turned: int
    spilled_bytes: int
    links: tuple[LinkCount, ...]

    @property
    def read(self) -> int:
        """Records that were there."""
        return sum(source.read for source in self.sources)


@dataclass
class MergeEvidence:
    """
    What is evidence, and what the user brings along beside the sources.

    Attributes:
        messages, anchors: of tables.
        claims: offsets that somebody knows.
        standing: the same from the project file, which may name clocks that are not here.
        rules: what rows of the sources are looked at for.
    """

    messages: Messages = field(default_factory=lambda: Messages.of(()))
    anchors: Sequence[Anchor] = ()
    claims: Sequence[OffsetClaim] = ()
    standing: Sequence[OffsetClaim] = ()
    rules: EvidenceRules = field(default_factory=EvidenceRules)


def merge_sources(
    sources: Sequence[MergeSource],
    out: Path | str | IO[bytes],
    settings: MergeSettings,
    evidence: MergeEvidence,
    *,
    kind: Format | None = None,
    executor: Executor | None = None,
    on_progress: Progress = nobody_listens,
    make_writer: Callable[[IO[bytes], pa.Schema], TableWriter] | None = None,
    zone: tzinfo = UTC,
) -> MergeReport:
    """
    Merge.

    Args:
        out: a file, by its path or (text) its URL, which is there once it is whole; or an open stream.
        kind: the format; None: as the file's name says.
        executor: None: threads of this process, one for each core.
        make_writer: what writes, instead of the writer of the format.
        zone: of times in text for people.

    Raises:
        ClocksNotRelated: nothing relates some clocks, and `unplaced` does not say what becomes of them.
        WrongTable, OSError: a source cannot be read; `DiskFull` where there is no room.
        ValueError: the output is one of the sources.
    """
    target = out if isinstance(out, (Path, str)) else None
    aside = settings.set_aside or _beside(target, ".set-aside.jsonl")
    _check_are_no_sources(target, aside, sources)
    kind = kind or (format_of(str(target)) if target is not None else "jsonl")
    with contextlib.ExitStack() as stack:
        spill = stack.enter_context(SpillFolder(spill_folder(settings.spill, target)))
        remote = None
        if settings.spill is not None and is_url(settings.spill):
            remote = stack.enter_context(RemoteSpill(settings.spill))
        stack.enter_context(telling_full_disks(spill, target))
        if executor is None:
            executor = stack.enter_context(_threads())
        # In such a file texts with codes are read back as texts; elsewhere somebody would see the difference.
        has_codes = kind == "parquet" and make_writer is None
        work = _Merge(sources, settings, evidence, kind, executor, spill, remote, on_progress, has_codes=has_codes)
        work.scan()
        work.relate()
        passes = work.passes()
        writing = _opened(out) if isinstance(out, (Path, str)) else contextlib.nullcontext(out)
        with writing as file:
            maker = make_writer or (lambda stream, schema: writer_for(kind, stream, schema, zone))
            counted = _Counted(file)
            work.write(passes, maker(counted, work.columns.schema))  # type: ignore[arg-type]
            counted.flush()
            return work.finished(target)


def _opened(place: Path | str) -> Target | UrlTarget:
    """A file that is there once it is whole."""
    return UrlTarget(place) if isinstance(place, str) else Target(place, DirectFile)


def _check_are_no_sources(target: Path | str | None, aside: Path | str | None, sources: Sequence[MergeSource]) -> None:
    """What an earlier merge made, in a folder that is merged again, would stand there twice."""
    if target is not None and aside is not None and _is_same(target, aside):
        raise ValueError(f"{target} is to be the timeline and also the file of what is set aside; name two files")
    for source in sources:
        if target is not None and _is_same(target, source.path):
            raise ValueError(
                f"{target} is to be written and is one of the sources, so its events would be there twice. "
                "Write to a file that the sources do not mean, or remove this one"
            )
        if aside is not None and _is_same(aside, source.path):
            raise ValueError(
                f"{aside} is to take what is set aside and is one of the sources, which would be overwritten. "
                "Name another file for it, with --set-aside or set_aside="
            )


def _is_same(place: Path | str, other: Path | str) -> bool:
    one, two = (place_of(each) if isinstance(each, str) else each for each in (place, other))
    if isinstance(one, str) or isinstance(two, str):
        return one == two
    if one.exists() and two.exists():
        return one.samefile(two)
    return one.absolute() == two.absolute()


class _Merge:
    """One merge under way."""

    def __init__(
        self,
        sources: Sequence[MergeSource],
        settings: MergeSettings,
        evidence: MergeEvidence,
        kind: Format,
        executor: Executor,
        spill: SpillFolder,
        remote: RemoteSpill | None,
        on_progress: Progress,
        *,
        has_codes: bool,
    ) -> None:
        self._has_codes = has_codes
        self._sources = sources
        self._settings = settings
        self._evidence = evidence
        self._executor = executor
        self._spill = spill
        self._remote = remote
        # Where calls leave their files.
        self._shared = str(spill.path) if remote is None else remote.url
        self._on_progress = on_progress
        # Of logs that stay logs nothing else is shown. Other formats have no text, and are shown whole.
        self._formats = [reader_of(source) for source in sources]
        self._is_log = kind == "log" and all(map(is_text_log, self._formats))
        self._wanted = frozenset([WHOLE_TEXT]) if self._is_log else None
        self._pieces: list[tuple[int, Piece, int]] = []
        self._turned = 0
        self._aside_of: list[int] = [0] * len(sources)
        self._aside_reasons: dict[str, int] = {}
        self._merged = 0

    def scan(self) -> None:
        """Read every part once."""
        orders: list[tuple[int, ScanOrder]] = []
        for source, part in self._parts():
            orders.append((source, self._order(source, part, len(orders))))
        found = self._called("scan", scan, [order for _, order in orders])
        lines = [0] * len(self._sources)
        for (source, _), piece in zip(orders, found, strict=True):
            self._pieces.append((source, piece, lines[source]))
            lines[source] += piece.lines
        uses: dict[str, ClockSpan] = {}
        for source, piece, _ in self._pieces:
            for name, stretch in piece.clocks.items():
                clock = name or self._sources[source].clock
                use = ClockSpan(int(stretch.counts.sum()), int(stretch.first_ns.min()), stretch.latest_ns)
                if (other := uses.get(clock)) is not None:
                    use = ClockSpan(
                        use.events + other.events, min(use.first_ns, other.first_ns), max(use.last_ns, other.last_ns)
                    )
                uses[clock] = use
        self._uses = {clock: uses[clock] for clock in sorted(uses)}
        if not self._uses:
            named = ", ".join(source.name for source in self._sources)
            raise WrongTable(f"there is no event in {named}: {self._why_nothing()}.")

    def _why_nothing(self) -> str:
        """Why there is no event: nothing is there, or what is wrong with most records, and the first of them."""
        reasons = sum((Counter(piece.reasons) for _, piece, _ in self._pieces), Counter[str]())
        if not reasons:
            return "nothing is written there"
        file, lines_before = next((piece.aside_file, lines) for _, piece, lines in self._pieces if piece.aside_file)
        first = json.loads(next(iter(aside_lines(file, lines_before))))
        more = f"; of {reasons.total():,} records, {reasons[first['reason']]:,} are so" if reasons.total() > 1 else ""
        text = first["text"][:_FIRST_SHOWN]
        return f"{first['source']} line {first['line']} ({text!r}): {first['reason']}{more}"

    def _order(self, source: int, part: Part, number: int) -> ScanOrder:
        clock = self._sources[source].clock
        return ScanOrder(part, number, self._shared, clock, self._evidence.rules, self._wanted, self._has_codes)

    def _parts(self) -> Iterator[tuple[int, Part]]:
        for number, source in enumerate(self._sources):
            path = source.path
            if path == STDIN:
                path = f"{self._shared}/stdin"
                with begin_file(path) as file:
                    shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
            if path != source.path:
                self._formats[number] = source.settings.reader or format_in(path)
            name = self._formats[number]
            if name == EMPTY:
                continue
            for part in reader_named(name).parts(source.name, path, source.settings, PART_BYTES):
                yield number, part

    def _called(self, step: Step, function: Callable[[Any], Any], orders: Sequence[Any]) -> list[Any]:
        """Call a function with each order on the executor; the results in the orders' sequence."""
        futures: list[Future[Any]] = [self._executor.submit(function, order) for order in orders]
        left = set(futures)
        try:
            while left:
                self._on_progress(step, len(futures) - len(left), len(futures))
                done, left = wait(left, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
            self._on_progress(step, len(futures), len(futures))
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def relate(self) -> None:
        """Find where each clock lies."""
        pieces = [piece for _, piece, _ in self._pieces]
        given = [self._evidence.messages, *(piece.messages for piece in pieces)]
        found = messages_of(
            self._rows_of_evidence(),
            self._evidence.rules,
            [messages for messages in given if len(messages)],
            memory_limit=f"{self._settings.memory}B",
            folder=str(self._spill.path),
        )
        found = replace(found, counts=with_absent(found.counts, self._evidence.rules, self._uses))
        self._links = found.counts
        self._relation = relation = relate(
            found,
            {ClockId(clock): use for clock, use in self._uses.items()},
            anchors=[*self._evidence.anchors, *(anchor for piece in pieces for anchor in piece.anchors)],
            claims=self._evidence.claims,
            standing=self._evidence.standing,
            trust_ns=self._settings.trust_ns,
            reference=self._settings.reference,
            rates_ppm=self._settings.rates_ppm,
            rate_bound_ppm=self._settings.rate_bound_ppm,
            unplaced=self._settings.unplaced or None,
        )
        self._maps: dict[str, PlacedClock] = placed_clocks(relation)
        settled = settle_folds(relation.alignment, found.folded)
        self._settled: dict[int, Settled] = {}
        for part in np.unique(settled.part).tolist():
            rows = np.flatnonzero(settled.part == part)
            self._settled[part] = Settled(settled.line[rows], settled.is_later[rows])
        clocks = tuple(self._uses)
        self._code_of = {clock: code for code, clock in enumerate(clocks)}
        self._placement = Placement([self._maps.get(clock) for clock in clocks], self._orders(clocks))
        self._claims = TableClaims(
            relation.reference, relation.reference_label, set_back=tuple(ClockId(clock) for clock in self._set_back())
        )
        self.columns = MergedColumns(
            clocks,
            tuple(source.name for source in self._sources),
            with_codes(
                united(schema for piece in pieces for schema in piece.schemas),
                [(piece.schemas, piece.repeating) for piece in pieces],
            ),
            any(piece.has_end for piece in pieces),
            any(piece.has_resolution for piece in pieces),
            any(piece.has_assumed for piece in pieces),
            self._claims,
            has_times=not self._is_log,
        )

    def _rows_of_evidence(self) -> list[EvidenceRows]:
        """Of each piece, in memory or in files of this machine."""
        return [
            EvidenceRows(
                *(on_this_machine(each, self._spill.path) if isinstance(each, str) else each for each in piece.evidence)
            )
            for _, piece, _ in self._pieces
        ]

    def _orders(self, clocks: Sequence[str]) -> dict[int, ClockOrder]:
        """What messages change in the order of rows."""
        pieces = [piece for _, piece, _ in self._pieces]
        rows = self._rows_of_evidence()
        # A stamp cut to seconds leaves a second in which rows may be lifted, and those may lift others in turn.
        within_ns = max(
            (stretch.latest_ns - int(stretch.last_ns.max()) for piece in pieces for stretch in piece.clocks.values()),
            default=0,
        )
        given = Messages.concatenated([self._evidence.messages, *(piece.messages for piece in pieces)])
        has_rows = any(each.points is not None or each.spans is not None for each in rows)
        while has_rows or len(given):
            links = links_of(
                rows,
                self._evidence.rules,
                clocks,
                partial(near_each_other, maps=self._maps, within_ns=within_ns),
                memory_limit=f"{self._settings.memory}B",
                folder=str(self._spill.path),
            )
            nodes = nodes_of(
                links,
                [source for source, _, _ in self._pieces],
                [lines_before for _, _, lines_before in self._pieces],
                self._maps,
            )
            nodes = with_messages(nodes, given, {clock: code for code, clock in enumerate(clocks)}, self._maps)
            orders = clock_orders(nodes, keys_of(nodes))
            moved_ns = max((order.lifted_ns + order.lowered_ns for order in orders.values()), default=0)
            if moved_ns <= within_ns or not has_rows:
                return orders
            within_ns = moved_ns
        return {}

    def _set_back(self) -> list[str]:
        return [clock for clock, found in self._maps.items() if not found.map.is_monotone]

    def passes(self) -> list[Pass]:
        """The ways through the pieces; pieces that are too far from their order are sorted first."""
        placed = frozenset(self._code_of[clock] for clock in self._maps)
        unplaced = [frozenset([self._code_of[clock]]) for clock in self._relation.unplaced if clock in self._code_of]
        return [self._pass(clocks, is_placed=clocks is placed) for clocks in [placed, *unplaced] if clocks]

    def _pass(self, clocks: frozenset[int], *, is_placed: bool) -> Pass:
        settings = StreamSettings(self._placement, clocks, self._wanted, has_bounds=not self._is_log)
        pieces, samples = [], []
        for number, (source, piece, lines_before) in enumerate(self._pieces):
            codes = {name: self._code_of[name or self._sources[source].clock] for name in piece.clocks}
            if not clocks & set(codes.values()):
                continue
            nowhere = np.empty(0, dtype=np.int64)
            made = PlacedPiece(piece, codes, source, lines_before, nowhere, nowhere, self._settled.get(number))
            pieces.append(place_chunks(made, settings))
            for name, stretch in piece.clocks.items():
                if codes[name] in clocks:
                    samples.append(self._placement.keys(codes[name], stretch.samples_ns))
        half = self._settings.memory // _STRETCHES_SHARE
        chosen = pieces_to_sort(pieces, half)
        if chosen:
            orders = [
                SortOrder(pieces[number], settings, self._shared, f"sorted-{min(clocks)}-{number:06}")
                for number in chosen
            ]
            for number, made in zip(chosen, self._called("sort", sort_piece, orders), strict=True):
                pieces[number] = made
        rows = self._stretch_rows(half)
        # The lines of a log are all that is written of it; where a row is from is told only of those set aside.
        columns = replace(self.columns, has_origin=not (self._is_log and is_placed))
        return Pass(tuple(pieces), settings, columns, cuts_of(samples, rows), is_placed)

    def _stretch_rows(self, memory: int) -> int:
        total = sum(piece.events for _, piece, _ in self._pieces)
        payload = sum(piece.bytes_in_row * piece.events for _, piece, _ in self._pieces) / max(1, total)
        at_once = _COPIES * (cores() + 1)
        rows = int(memory / (at_once * (payload + _OWN_BYTES_IN_ROW)))
        most = _STRETCH_ROWS_MAX
        if all(piece.file for _, piece, _ in self._pieces):
            most = _STRETCH_ROWS_SPILLED
        if self._is_log:
            most = max(most, min(_STRETCH_ROWS_LOG, total // _STRETCHES_OF_LOG_MIN))
        return min(max(rows, _STRETCH_ROWS_MIN), most)

    def write(self, passes: Sequence[Pass], writer: TableWriter) -> None:
        """Make the tables, and write them as they come."""
        total = sum(use.events for use in self._uses.values())
        self._aside_path = self._spill.path / "aside.jsonl"
        with open(self._aside_path, "w", encoding="utf-8") as aside:
            self._aside = aside
            self._copy_asides()
            last_raw: int | None = None
            for number, work in enumerate(passes):
                for table in self._tables(work, number):
                    if not table.num_rows:
                        continue
                    if not work.is_placed and self._settings.unplaced == "aside":
                        self._set_aside(table)
                        continue
                    writer.write(table)
                    if work.is_placed:
                        raw = as_numpy(table.column("raw_ns"))
                        self._turned += int(np.count_nonzero(raw[1:] < raw[:-1]))
                        self._turned += int(last_raw is not None and int(raw[0]) < last_raw)
                        last_raw = int(raw[-1])
                    self._merged += table.num_rows
                    self._on_progress("merge", self._merged, total)
            writer.finish()

    def _tables(self, work: Pass, number: int) -> Iterator[pa.Table]:
        if in_process(self._executor):
            return tables_in_threads(work, self._executor, cores() + 1)
        return tables_by_calls(work, self._executor, self._shared, f"pass-{number}")

    def _copy_asides(self) -> None:
        """What parts set aside, in the order of sources and lines."""
        for source, piece, lines_before in self._pieces:
            for reason, count in piece.reasons.items():
                self._aside_reasons[reason] = self._aside_reasons.get(reason, 0) + count
                self._aside_of[source] += count
            if piece.aside_file:
                self._aside.writelines(aside_lines(piece.aside_file, lines_before))

    def _set_aside(self, table: pa.Table) -> None:
        """Rows of a clock that cannot be placed."""
        names = [name for name in table.schema.names if name not in ("clock", "source", "line")]
        for row in table.to_pylist():
            reason = f"nothing relates clock {row['clock']} to the {self._claims.reference_label}"
            values = {name: row[name] for name in names if row[name] is not None}
            if self._is_log:
                values[TEXT] = values.pop(WHOLE_TEXT)[:-1]
            self._aside.write(aside_line(row["source"], row["line"], reason, values))
            self._aside_reasons[reason] = self._aside_reasons.get(reason, 0) + 1
            self._aside_of[self.columns.sources.index(row["source"])] += 1

    def finished(self, target: Path | str | None) -> MergeReport:
        """Keep the rows that were set aside, check the sum, and tell what was done."""
        count = sum(self._aside_of)
        kept = None
        if count:
            kept = self._settings.set_aside or _beside(target, ".set-aside.jsonl")
            if kept is not None:
                with _opened(kept) as file, open(self._aside_path, "rb") as made:
                    shutil.copyfileobj(made, file, 1 << 20)
        reports = tuple(self._report(number) for number in range(len(self._sources)))
        report = MergeReport(
            reports,
            self._relation,
            self._claims,
            self._merged,
            count,
            self._aside_reasons,
            kept,
            self._turned,
            self._spill.size() + (self._remote.size() if self._remote is not None else 0),
            self._links,
        )
        assert report.read == self._merged + count, f"{report.read} read, {self._merged} merged and {count} set aside"
        return report

    def _report(self, number: int) -> SourceReport:
        pieces = [piece for source, piece, _ in self._pieces if source == number]
        source = self._sources[number]
        clocks = dict.fromkeys(name or source.clock for piece in pieces for name in piece.clocks)
        read = sum(piece.read for piece in pieces)
        return SourceReport(
            source.name,
            pieces[0].part.reader if pieces else self._formats[number],
            read,
            read - self._aside_of[number],
            self._aside_of[number],
            tuple(clocks),
            self._width_ns(number),
            tuple(problem for piece in pieces for problem in piece.problems),
        )

    def _width_ns(self, number: int) -> int | None:
        widths: list[Int64Array] = []
        for source, piece, _ in self._pieces:
            if source != number:
                continue
            for name, stretch in piece.clocks.items():
                found = self._maps.get(name or self._sources[source].clock)
                if found is None:
                    return None
                means_ns = stretch.latest_ns - int(stretch.last_ns.max())
                earliest, latest = found.instants(stretch.samples_ns), found.instants(stretch.samples_ns + means_ns)
                known = earliest.known & latest.known
                widths.append((latest.latest_ns - earliest.earliest_ns)[known])
        # numpy's median imports numpy.ma, which takes longer than all of this.
        every = np.sort(np.concatenate(widths)) if widths else np.empty(0, dtype=np.int64)
        return int(every[(len(every) - 1) // 2 : len(every) // 2 + 1].mean()) if len(every) else None


class _Counted:
    """The output, which knows how much was written of it when there is no more room."""

    def __init__(self, file: IO[bytes] | DirectFile) -> None:
        self._file = file
        self._written = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """As a file does."""
        with self._telling():
            self._file.write(data)
        size = memoryview(data).nbytes
        self._written += size
        return size

    def tell(self) -> int:
        """How much was written."""
        return self._written

    def flush(self) -> None:
        """As a file does."""
        with self._telling():
            self._file.flush()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            number = full_disk(error)
            if number is None:
                raise
            raise OutputFull(number, self._written) from error

    def close(self) -> None:
        """Left to whoever opened it."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def _beside(target: Path | str | None, ending: str) -> Path | str | None:
    return target.with_name(f"{target.name}{ending}") if isinstance(target, Path) else target and f"{target}{ending}"


def reader_of(source: MergeSource) -> str:
    """The name of a source's format, as somebody said it or as it begins; "": standard input, not looked at yet."""
    if source.settings.reader or source.path == STDIN:
        return source.settings.reader
    return format_in(source.path)


def format_in(path: str) -> str:
    """The name of the format that a file begins with; `EMPTY` of one without anything."""
    head = head_of(path)
    return EMPTY if is_blank(head) else detected(head).name


def is_text_log(name: str) -> bool:
    """Whether each event of a format has its text; where there is none, each has."""
    return name == EMPTY or (bool(name) and isinstance(reader_named(name), TextReader))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="coeval-merge")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def spill_folder(said: str | None, target: Path | str | None) -> Path:
    """Where a merge spills on this machine: as it was said, beside its target, or where temporary files are."""
    if said is not None and not is_url(said):
        return Path(said)
    if isinstance(target, Path):
        return target.absolute().parent
    import tempfile

    return Path(tempfile.gettempdir())
