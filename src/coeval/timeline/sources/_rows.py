"""
The rows of a scan that may be evidence, in few columns: made where the scan runs, joined where all of them are.

    points   a row that sends or receives something, or asks for the answer that another receives: which link, which
             key, when, by which clock
    spans    a span: its trace, itself, its parent, its kind, its begin and end

Both are Arrow tables, or Parquet files where they would not fit; nothing here looks at more than one batch.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coeval.timeline._shared_files import begin_file
from coeval.timeline.readers._reader import NO_READING, EventBatch
from coeval.timeline.readers._values import BoolArray, Int64Array, as_numpy
from coeval.timeline.sources._rules import (
    FLOW_COLUMNS,
    FLOW_END,
    FLOW_START,
    FLOW_STEP,
    SPAN_COLUMNS,
    TRACK_COLUMNS,
    VECTOR_CLOCK,
    VECTOR_EXECUTION,
    VECTOR_HOST,
    Condition,
    EvidenceRules,
    PairRule,
    answer_links,
    order_links,
    position_in,
)
from coeval.timeline.sources._said import is_named

_CLOCK = pa.dictionary(pa.int32(), pa.string())
_WHEN = [
    ("clock", _CLOCK),
    ("resolution_ns", pa.int64()),
    ("fold_ns", pa.int64()),
    ("part", pa.int32()),
    ("line", pa.int64()),
]
POINTS = pa.schema(
    [("link", pa.int16()), ("key", pa.string()), ("role", pa.int8()), ("reading_ns", pa.int64()), *_WHEN]
)
SPANS = pa.schema(
    [
        ("trace", pa.string()),
        ("span", pa.string()),
        ("parent", pa.string()),
        ("kind", pa.int8()),
        ("begin_ns", pa.int64()),
        ("end_ns", pa.int64()),
        *_WHEN,
    ]
)

CLIENT, SERVER, PRODUCER, CONSUMER, INTERNAL, NO_KIND = 1, 2, 3, 4, 5, 0
# OTLP's numbers of kinds, its names, and those of Zipkin and Jaeger.
_KINDS = {
    "CLIENT": CLIENT,
    "SPAN_KIND_CLIENT": CLIENT,
    "3": CLIENT,
    "SERVER": SERVER,
    "SPAN_KIND_SERVER": SERVER,
    "2": SERVER,
    "PRODUCER": PRODUCER,
    "SPAN_KIND_PRODUCER": PRODUCER,
    "4": PRODUCER,
    "CONSUMER": CONSUMER,
    "SPAN_KIND_CONSUMER": CONSUMER,
    "5": CONSUMER,
    "INTERNAL": INTERNAL,
    "SPAN_KIND_INTERNAL": INTERNAL,
    "1": INTERNAL,
}

SENDS, RECEIVES, ASKS = 0, 1, 2

_UNIT = "\x1f"  # parts the halves of a key; no id has it


class EvidenceRows(NamedTuple):
    """
    Rows that may be evidence. Each is a table, or the path of a Parquet file that holds it, or None.
    """

    points: pa.Table | str | None = None
    spans: pa.Table | str | None = None


class EvidenceWriter:
    """
    Keeps the rows of one part in files, batch by batch.

    Args:
        prefix: of the files' paths or URLs; `.points.parquet` and `.spans.parquet` come behind it where there is
            something.
    """

    def __init__(self, prefix: str | Path) -> None:
        self._prefix = str(prefix)
        self._writers: dict[str, tuple[Any, IO[bytes]]] = {}

    def add(self, rows: EvidenceRows) -> None:
        """Take rows in."""
        for name, table in (("points", rows.points), ("spans", rows.spans)):
            if isinstance(table, pa.Table) and table.num_rows:
                if name not in self._writers:
                    # Not at once: few parts have such rows.
                    import pyarrow.parquet as pq

                    file = begin_file(self._path(name))
                    writer = pq.ParquetWriter(
                        file,
                        table.schema,
                        compression="zstd",
                        use_dictionary=["clock", "link", "kind"],
                        column_encoding={"line": "DELTA_BINARY_PACKED"},
                    )
                    self._writers[name] = writer, file
                self._writers[name][0].write_table(table)

    def close(self) -> EvidenceRows:
        """End the files."""
        for writer, file in self._writers.values():
            writer.close()
            file.close()
        return EvidenceRows(*(self._path(name) if name in self._writers else None for name in ("points", "spans")))

    def __enter__(self) -> EvidenceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _path(self, name: str) -> str:
        return f"{self._prefix}.{name}.parquet"


class _Stamped(NamedTuple):
    """What every row of a batch has: when, by which clock, and where it stands."""

    source: str
    clocks: pa.Array  # dictionary<int32, string>
    batch: EventBatch
    part: int

    def rows(self, of: Int64Array) -> list[pa.Array]:
        batch = self.batch
        fold = batch.fold_ns[of] if batch.fold_ns is not None else np.zeros(len(of), dtype=np.int64)
        return [
            self.clocks.take(pa.array(of)),
            pa.array(np.full(len(of), batch.resolution_ns, dtype=np.int64)),
            pa.array(fold),
            pa.array(np.full(len(of), self.part, dtype=np.int32)),
            pa.array(batch.lines[of]),
        ]


def extract(batch: EventBatch, rules: EvidenceRules, *, clock: str, source: str = "", part: int = 0) -> EvidenceRows:
    """
    Pick the rows of a batch that may be evidence.

    Args:
        clock: of rows of which the batch names none.
        source: the source's name, for conditions on it.
        part: a number that tells where `lines` count from, to find the rows again.
    """
    if not len(batch):
        return EvidenceRows()
    columns = set(batch.payload.schema.names)
    has_vectors = rules.vector_clocks and VECTOR_CLOCK in columns
    has_flows = rules.flows and columns.issuperset(FLOW_COLUMNS)
    has_spans = rules.spans and columns.issuperset(SPAN_COLUMNS[:3])
    if not (rules.pairs or has_vectors or has_flows or has_spans):
        return EvidenceRows()
    stamped = _Stamped(source, _clocks(batch, clock), batch, part)
    points = [
        table for number, pair in enumerate(rules.pairs) for table in _pairs(stamped, pair, rules.first_link(number))
    ]
    if has_vectors:
        points += _vectors(stamped, rules.vector_link)
    if has_flows:
        points += _flows(stamped, rules.flow_link)
    spans = _spans(stamped) if has_spans else None
    return EvidenceRows(pa.concat_tables(points) if points else None, spans)


def joined(rows: Iterable[EvidenceRows]) -> EvidenceRows:
    """The tables of several batches as one."""
    rows = list(rows)

    def together(tables: list[Any]) -> pa.Table | None:
        found = [table for table in tables if table is not None]
        return pa.concat_tables(found) if found else None

    return EvidenceRows(together([each.points for each in rows]), together([each.spans for each in rows]))


def _clocks(batch: EventBatch, clock: str) -> pa.Array:
    count = len(batch)
    own = pa.array([clock], pa.string())
    if batch.clocks is None:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int32)), own)
    said = batch.clocks
    if said.null_count:
        said = pc.fill_null(said.cast(pa.string()), clock).dictionary_encode()
    return pa.DictionaryArray.from_arrays(said.indices.cast(pa.int32()), said.dictionary.cast(pa.string()))


def _points(stamped: _Stamped, link: int, keys: pa.Array, role: int, of: Int64Array, readings: Int64Array) -> pa.Table:
    """One row for each of `of`; `keys` and `readings` are of these rows."""
    count = len(of)
    return pa.Table.from_arrays(
        [
            pa.array(np.full(count, link, dtype=np.int16)),
            keys.cast(pa.string()),
            pa.array(np.full(count, role, dtype=np.int8)),
            pa.array(readings),
            *stamped.rows(of),
        ],
        schema=POINTS,
    )


# Pairs ----------------------------------------------------------------------------------------------------------------


def _pairs(stamped: _Stamped, pair: PairRule, first_link: int) -> list[pa.Table]:
    batch = stamped.batch
    column = next((name for name in pair.names if name in batch.payload.schema.names), None)
    if column is None:
        return []
    values = _text(batch.payload.column(column))
    if pair.pattern and column == pair.names[-1]:
        values = pc.struct_field(pc.extract_regex(values, pair.pattern), "value")
    there = _true(pc.and_kleene(pc.is_valid(values), pc.not_equal(values, "")))
    if not bool(there.any()):
        return []
    # A row that was written late tells of something that was before its stamp.
    late = _Stamped(stamped.source, stamped.clocks, _written_late(batch, pair.late_ns), stamped.part)
    found: list[pa.Table] = []

    def add(link: int, role: int, chosen: BoolArray, readings: Int64Array) -> None:
        of = np.flatnonzero(chosen & there)
        if len(of):
            keys = values.take(pa.array(of))
            found.append(_points(late if role == SENDS else stamped, first_link + link, keys, role, of, readings[of]))

    sent_ns = late.batch.raw_ns
    if pair.sent is not None and pair.received is not None:
        add(0, SENDS, _meets(stamped, pair.sent), sent_ns)
        add(0, RECEIVES, _meets(stamped, pair.received), batch.raw_ns)
        return found
    positions = _positions(stamped.clocks, pair.order)
    requests = order_links(pair.order)
    is_answer = np.zeros(len(batch), dtype=np.bool_)
    answered_ns = batch.raw_ns
    if pair.answered == "end":
        answered_ns = batch.end_raw_ns if batch.end_raw_ns is not None else np.full(len(batch), NO_READING)
        has_answer = answered_ns != NO_READING
    elif isinstance(pair.answered, Condition):
        has_answer = is_answer = _meets(stamped, pair.answered)
    for number, (sender, receiver) in enumerate(requests):
        add(number, SENDS, (positions == sender) & ~is_answer, sent_ns)
        add(number, RECEIVES, (positions == receiver) & ~is_answer, batch.raw_ns)
    if pair.answered:
        for number, (sender, receiver) in enumerate(answer_links(pair.order), len(requests)):
            # The request had come to the next clock before that one answered.
            add(number, SENDS, (positions == sender) & ~is_answer, sent_ns)
            add(number, RECEIVES, (positions == receiver) & has_answer, answered_ns)
            add(number, ASKS, (positions == receiver) & ~is_answer, batch.raw_ns)
    return found


def _written_late(batch: EventBatch, late_ns: int) -> EventBatch:
    if not late_ns:
        return batch
    return replace(batch, raw_ns=batch.raw_ns - late_ns, resolution_ns=batch.resolution_ns + late_ns)


def _positions(clocks: pa.DictionaryArray, order: tuple[str, ...]) -> npt.NDArray[np.int32]:
    by_code = np.array([position_in(order, name) for name in clocks.dictionary.to_pylist()], dtype=np.int32)
    found: npt.NDArray[np.int32] = by_code[as_numpy(clocks.indices)]
    return found


def _meets(stamped: _Stamped, condition: Condition) -> BoolArray:
    """Which rows a condition means; of a column that is not there, none."""
    count = len(stamped.batch)
    if condition.column in ("clock", "source") and condition.column not in stamped.batch.payload.schema.names:
        if condition.column == "source":
            return np.full(count, _is_meant(condition, stamped.source), dtype=np.bool_)
        by_code = np.array([_is_meant(condition, name) for name in stamped.clocks.dictionary.to_pylist()], np.bool_)
        meant: BoolArray = by_code[as_numpy(stamped.clocks.indices)]
        return meant
    if condition.column not in stamped.batch.payload.schema.names:
        return np.zeros(count, dtype=np.bool_)
    values = _text(stamped.batch.payload.column(condition.column))
    if condition.is_pattern:
        return _true(pc.match_substring_regex(values, condition.value))
    return _true(pc.equal(values, condition.value))


def _is_meant(condition: Condition, name: str) -> bool:
    return bool(re.search(condition.value, name)) if condition.is_pattern else is_named(condition.value, name)


def _text(column: pa.Array) -> pa.Array:
    return column if column.type == pa.string() else column.cast(pa.string())


def _true(values: pa.Array) -> BoolArray:
    found: BoolArray = as_numpy(pc.fill_null(values, False)).astype(np.bool_)
    return found


# Spans ----------------------------------------------------------------------------------------------------------------


def _spans(stamped: _Stamped) -> pa.Table | None:
    batch, payload = stamped.batch, stamped.batch.payload
    trace, span, parent = (_text(payload.column(name)) for name in SPAN_COLUMNS[:3])
    of = np.flatnonzero(_true(pc.and_kleene(pc.not_equal(trace, ""), pc.not_equal(span, ""))))
    if not len(of):
        return None
    rows = pa.array(of)
    if SPAN_COLUMNS[3] in payload.schema.names:
        said = pc.utf8_upper(_text(payload.column(SPAN_COLUMNS[3]))).take(rows).dictionary_encode()
        kinds = np.array([*(_KINDS.get(name, NO_KIND) for name in said.dictionary.to_pylist()), NO_KIND], dtype=np.int8)
        kind = kinds[as_numpy(pc.fill_null(said.indices, -1))]
    else:
        kind = np.zeros(len(of), dtype=np.int8)
    ends = batch.end_raw_ns[of] if batch.end_raw_ns is not None else np.full(len(of), NO_READING)
    own_parent = parent.take(rows)
    # OTLP writes no parent as nothing, and Jaeger as zeros.
    is_root = pc.fill_null(pc.match_substring_regex(own_parent, "^0*$"), True)
    return pa.Table.from_arrays(
        [
            trace.take(rows),
            span.take(rows),
            pc.if_else(is_root, pa.scalar(None, pa.string()), own_parent),
            pa.array(kind),
            pa.array(batch.raw_ns[of]),
            pa.array(ends, mask=ends == NO_READING),
            *stamped.rows(of),
        ],
        schema=SPANS,
    )


# Vector clocks --------------------------------------------------------------------------------------------------------


def _vectors(stamped: _Stamped, link: int) -> list[pa.Table]:
    """
    The k-th event of host B precedes every event whose vector has k or more for B.

    An event sends under its own host and count. It receives what is new in its vector: what is not was there in an
    earlier event of the same host already, and says no more.
    """
    batch = stamped.batch
    row, host, count = _entries(batch.payload.column(VECTOR_CLOCK))
    if not len(row):
        return []
    if VECTOR_HOST in batch.payload.schema.names:
        own_of_row = _text(batch.payload.column(VECTOR_HOST))
    else:
        own_of_row = stamped.clocks.cast(pa.string())
    own = own_of_row.take(pa.array(row))
    is_own = _true(pc.equal(host, own))
    keys = pc.binary_join_element_wise(host, pa.array(count).cast(pa.string()), _UNIT)
    if VECTOR_EXECUTION in batch.payload.schema.names:  # each counts anew
        execution = pc.fill_null(_text(batch.payload.column(VECTOR_EXECUTION)), "").take(pa.array(row))
        keys = pc.binary_join_element_wise(execution, keys, _UNIT)
        own = pc.binary_join_element_wise(execution, own, _UNIT)
    found = []
    sends = np.flatnonzero(is_own)
    if len(sends):
        found.append(_points(stamped, link, keys.take(pa.array(sends)), SENDS, row[sends], batch.raw_ns[row[sends]]))
    own_codes, host_codes = (as_numpy(each.dictionary_encode().indices).astype(np.int64) for each in (own, host))
    order = np.lexsort((row, host_codes, own_codes))
    same = np.concatenate(([False], (np.diff(own_codes[order]) == 0) & (np.diff(host_codes[order]) == 0)))
    is_new = np.ones(len(row), dtype=np.bool_)
    is_new[order] = ~same | (np.concatenate(([0], np.diff(count[order]))) != 0)
    receives = np.flatnonzero(is_new & ~is_own & (count > 0))
    if len(receives):
        of = row[receives]
        found.append(_points(stamped, link, keys.take(pa.array(receives)), RECEIVES, of, batch.raw_ns[of]))
    return found


def _entries(column: pa.Array) -> tuple[Int64Array, pa.Array, Int64Array]:
    """The entries of vector clocks: row, host, count. Maps, structures and JSON text are taken."""
    if pa.types.is_map(column.type):
        column = column.filter(pc.is_valid(column)) if (rows := _valid(column)) is not None else column
        rows = np.arange(len(column)) if rows is None else rows
        lengths = np.diff(as_numpy(column.offsets))
        first, last = int(column.offsets[0].as_py()), int(column.offsets[-1].as_py())
        hosts, counts = column.keys[first:last].cast(pa.string()), column.items[first:last].cast(pa.int64())
        return np.repeat(rows, lengths).astype(np.int64), hosts, as_numpy(counts)
    if not pa.types.is_struct(column.type):
        text = _text(column)
        valid = np.flatnonzero(_true(pc.is_valid(text)))
        if not len(valid):
            return np.empty(0, dtype=np.int64), pa.array([], pa.string()), np.empty(0, dtype=np.int64)
        lines = "\n".join(text.take(pa.array(valid)).to_pylist()).encode()
        from pyarrow import json as arrow_json

        table = arrow_json.read_json(io.BytesIO(lines), arrow_json.ReadOptions(use_threads=False))
        fields = [(name, table.column(name).combine_chunks()) for name in table.schema.names]
    else:
        valid = np.arange(len(column))
        fields = [(field.name, pc.struct_field(column, field.name)) for field in column.type]
    rows_found, hosts_found, counts_found = [], [], []
    for name, values in fields:
        there = np.flatnonzero(_true(pc.is_valid(values)))
        rows_found.append(valid[there].astype(np.int64))
        hosts_found.append(pa.array(np.full(len(there), name, dtype=object), pa.string()))
        counts_found.append(as_numpy(values.take(pa.array(there)).cast(pa.int64())))
    return np.concatenate(rows_found), pa.concat_arrays(hosts_found), np.concatenate(counts_found)


def _valid(column: pa.Array) -> npt.NDArray[np.int64] | None:
    return np.flatnonzero(_true(pc.is_valid(column))) if column.null_count else None


# Flows ----------------------------------------------------------------------------------------------------------------


def _flows(stamped: _Stamped, link: int) -> list[pa.Table]:
    """A flow of a Chrome trace starts before it steps and ends, each under one category and id."""
    batch, payload = stamped.batch, stamped.batch.payload
    kind, keys, category = (_text(payload.column(name)) for name in FLOW_COLUMNS)
    keys = pc.binary_join_element_wise(pc.fill_null(category, ""), keys, _UNIT)
    there = _true(pc.is_valid(keys))
    found = []
    for role, kinds in ((SENDS, [FLOW_START]), (RECEIVES, [FLOW_STEP, FLOW_END])):
        of = np.flatnonzero(_true(pc.is_in(kind, pa.array(kinds))) & there)
        if len(of):
            readings = batch.raw_ns[of] if role == RECEIVES else _slice_begins(stamped, of)
            found.append(_points(stamped, link, keys.take(pa.array(of)), role, of, readings))
    return found


def _slice_begins(stamped: _Stamped, of: Int64Array) -> Int64Array:
    """
    The begins of the slices that flows start in: the innermost of the same track that spans the start.

    A start stands for the whole slice, and may be written when the slice has sent already. Of a start outside every
    slice its own stamp is taken.
    """
    batch, payload = stamped.batch, stamped.batch.payload
    begins = batch.raw_ns[of].copy()
    tracks = [name for name in TRACK_COLUMNS if name in payload.schema.names]
    if batch.end_raw_ns is None or not tracks:
        return begins
    track = np.zeros(len(batch), dtype=np.int64)
    for name in tracks:
        codes = _text(payload.column(name)).dictionary_encode().indices
        track = track * (len(batch) + 1) + as_numpy(pc.fill_null(codes, len(batch)))
        track = np.unique(track, return_inverse=True)[1].astype(np.int64)
    slices = np.flatnonzero(batch.end_raw_ns != NO_READING)
    slices = slices[np.lexsort((-batch.end_raw_ns[slices], batch.raw_ns[slices], track[slices]))]
    # Flows are looked up as slices of no length, after all slices that begin with them.
    begin_ns = np.concatenate((batch.raw_ns[slices], begins))
    of_track = np.concatenate((track[slices], track[of]))
    is_flow = np.arange(len(begin_ns)) >= len(slices)
    order = np.lexsort((is_flow, begin_ns, of_track))
    end_ns = np.concatenate((batch.end_raw_ns[slices], np.full(len(of), NO_READING)))[order]
    around = _around(begin_ns[order], end_ns, of_track[order])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    found = around[place[len(slices) :]]
    return np.where(found >= 0, begin_ns[order][found], begins)


def _around(begin_ns: Int64Array, end_ns: Int64Array, track: Int64Array) -> Int64Array:
    """
    The innermost slice around the begin of each: the nearest before it, of the same track, that ends no earlier; -1:
    none. Sorted by track and begin.

    All between one and its candidate end before it begins. So when the candidate does too, the candidate's own one is
    the next to look at: whatever lies between has ended even longer ago. All are looked up at once, and each round
    jumps as far as the last ones did together.
    """
    candidate = np.arange(len(begin_ns), dtype=np.int64) - 1
    while True:
        reached = candidate >= 0
        reached[reached] = track[candidate[reached]] == track[reached]
        candidate[~reached] = -1
        reached[reached] = end_ns[candidate[reached]] < begin_ns[reached]
        if not bool(reached.any()):
            return candidate
        candidate[reached] = candidate[candidate[reached]]
