"""
Rows that may be evidence, from all parts, joined to messages.

DuckDB joins them under a memory limit and spills; the messages come out in batches and go into summaries of bounded
size (`alignment.Evidence`), so neither many rows nor many messages need memory. Keys are compared by their 128-bit
digest: among a hundred million ids two different ones agree with a probability of 10^-23.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from coeval.alignment import Evidence, Messages
from coeval.alignment._rate import Int64Array
from coeval.clocks import ClockId
from coeval.timeline.readers._values import as_numpy
from coeval.timeline.sources._rows import ASKS, CLIENT, RECEIVES, SENDS, SERVER, EvidenceRows
from coeval.timeline.sources._rules import EvidenceRules

if TYPE_CHECKING:
    import duckdb

_BATCH = 1 << 20
MEMORY_LIMIT = "1GB"

SPANS_NAME = "spans"
SPAN_ENDS_NAME = "ends of spans"


@dataclass(frozen=True, slots=True)
class LinkCount:
    """
    What became of the rows of one link; read = used + those not used, each with its reason.

    Attributes:
        name: the link's.
        messages: how many were found.
        sends, receives: rows.
        repeated: sends and receives of a key that were not its first: they say no more than the first did.
        ambiguous: rows of keys that were sent by several clocks, or are the answer to one of several requests: nobody
            knows what a receive was caused by.
        alone: rows of keys that have only one side, or both on one clock.
    """

    name: str
    messages: int
    sends: int
    receives: int
    repeated: int
    ambiguous: int
    alone: int

    @property
    def text(self) -> str:
        """One sentence for people."""
        if not self.sends and not self.receives:
            return f"{self.name}: no row has such a value"
        unused = [f"{getattr(self, why):,} {why}" for why in ("repeated", "ambiguous", "alone") if getattr(self, why)]
        left = f"; rows not used: {', '.join(unused)}" if unused else ""
        return f"{self.name}: {self.messages:,} message{'' if self.messages == 1 else 's'}{left}"


class FoldedMessages(NamedTuple):
    """
    Hard messages of which a stamp lies where local time ran twice. Columns of equal length.

    Attributes:
        messages: their resolutions include the fold, so that they are true however it is settled.
        sender_fold_ns, receiver_fold_ns: the stamp may mean so much later; 0: it may not.
        sender_part, sender_line, receiver_part, receiver_line: the rows.
    """

    messages: Messages
    sender_fold_ns: Int64Array
    receiver_fold_ns: Int64Array
    sender_part: Int64Array
    sender_line: Int64Array
    receiver_part: Int64Array
    receiver_line: Int64Array


@dataclass(frozen=True, eq=False, slots=True)
class FoundEvidence:
    """
    What rows say about clocks.

    Attributes:
        hard: messages that are certain, summarised.
        likely: classes of messages of which only all or none is believed, by name, as if they were certain: the ends of
            spans between a client's clock and a server's.
        folded: those of `hard` that settle folds, one by one.
        counts: what became of the rows, by link.
    """

    hard: Evidence = field(default_factory=Evidence)
    likely: dict[str, Evidence] = field(default_factory=dict)
    folded: FoldedMessages | None = None
    counts: tuple[LinkCount, ...] = ()

    def merge(self, other: FoundEvidence) -> FoundEvidence:
        """Both together; keys that have one side here and one there are not joined."""
        self.hard.merge(other.hard)
        for name, evidence in other.likely.items():
            self.likely.setdefault(name, Evidence()).merge(evidence)
        folded = [each for each in (self.folded, other.folded) if each is not None]
        return FoundEvidence(self.hard, self.likely, _folded(folded), (*self.counts, *other.counts))


def messages_of(
    rows: Sequence[EvidenceRows],
    rules: EvidenceRules,
    given: Iterable[Messages] = (),
    *,
    memory_limit: str = MEMORY_LIMIT,
    folder: str | None = None,
    threads: int | None = None,
) -> FoundEvidence:
    """
    Join the rows of all parts.

    Args:
        given: messages that sources have as such: of shared runs, of tables.
        memory_limit: DuckDB's; beyond it rows are spilled.
        folder: where they are spilled to; None: the system's folder for temporary files.
    """
    found = FoundEvidence()
    for messages in given:
        found.hard.add(messages)
    points = [each.points for each in rows if each.points is not None]
    spans = [each.spans for each in rows if each.spans is not None]
    if not points and not spans:
        return FoundEvidence(found.hard, counts=_point_counts(None, rules))
    folded: list[FoldedMessages] = []
    counts: list[LinkCount] = []
    with _database(memory_limit, folder, threads) as database:
        if points:
            _read_points(database, points, rules)
            for batch in _batches(database, _POINT_MESSAGES):
                _take(found.hard, folded, batch)
        counts += _point_counts(database if points else None, rules)
        if spans:
            _read_spans(database, spans)
            before = found.hard.statistics().seen
            for query in (_CHILD_MESSAGES, _SHARED_MESSAGES):
                for batch in _batches(database, query):
                    _take(found.hard, folded, batch)
            begins = found.hard.statistics().seen - before
            for query in (_CHILD_ENDS, _SHARED_ENDS):
                for batch in _batches(database, query):
                    _take_ends(found.likely, batch)
            counts.append(_span_count(database, begins))
    return FoundEvidence(found.hard, found.likely, _folded(folded), tuple(counts))


@contextlib.contextmanager
def _database(memory_limit: str, folder: str | None, threads: int | None) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    with tempfile.TemporaryDirectory(prefix="coeval-", dir=folder) as spill:
        settings: dict[str, Any] = {
            "memory_limit": memory_limit,
            "temp_directory": spill,
            "preserve_insertion_order": False,
        }
        if threads is not None:
            settings["threads"] = threads
        database = duckdb.connect(config=settings)
        try:
            yield database
        finally:
            database.close()


def _read(database: duckdb.DuckDBPyConnection, name: str, tables: Sequence[pa.Table | str]) -> str:
    """Make tables and files readable, and return how a query names them all."""
    files = [table for table in tables if isinstance(table, str)]
    named = []
    if files:
        listed = ", ".join("'" + path.replace("'", "''") + "'" for path in files)
        named.append(f"select * from read_parquet([{listed}])")
    in_memory = [table for table in tables if isinstance(table, pa.Table)]
    if in_memory:
        database.register(f"{name}_in_memory", pa.concat_tables(in_memory).unify_dictionaries())
        named.append(f"select * from {name}_in_memory")
    return " union all by name ".join(named)


def _batches(database: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    relation = database.sql(query)
    # The name changed; the older one warns in later versions.
    reader: Any = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    for batch in reader(_BATCH):
        if batch.num_rows:
            yield batch


# Points ---------------------------------------------------------------------------------------------------------------

# A send counts from its stamp, which it is not before, and a receive from the end of its resolution, by which it was.
_POINT_MESSAGES = """
    select s.clock as sender, r.clock as receiver,
        s.reading as sent_ns, s.resolution as sender_resolution_ns, s.fold as sender_fold_ns,
        s.part as sender_part, s.line as sender_line,
        r.reading - r.resolution - r.fold as received_ns, r.resolution as receiver_resolution_ns,
        r.fold as receiver_fold_ns, r.part as receiver_part, r.line as receiver_line
    from sends s join receives r using (link, key)
    where s.is_one and s.clock <> r.clock
"""


def _read_points(database: duckdb.DuckDBPyConnection, tables: Sequence[pa.Table | str], rules: EvidenceRules) -> None:
    everything = _read(database, "points", tables)
    database.execute(
        "create temp view points as select * replace (md5_number(key) as key, clock::varchar as clock) "
        f"from ({everything})"
    )
    # Of a key several clocks may have received: each of them did after the first send.
    first = """
        count(*) as count, min({0}) as reading, arg_min(resolution_ns, {0}) as resolution,
        arg_min(fold_ns, {0}) as fold, arg_min(part, {0}) as part, arg_min(line, {0}) as line
    """
    database.execute(f"""
        create temp table receives as
        select link, key, clock, {first.format("reading_ns + resolution_ns + fold_ns")}
        from points where role = {RECEIVES} group by link, key, clock
    """)
    sends = f"""
        select link, key, min(clock) as clock, min(clock) = max(clock) as is_one, {first.format("reading_ns")}
        from points where role = {SENDS} group by link, key
    """
    answers = [str(number) for number, link in enumerate(rules.links) if link.is_answer]
    if answers:
        asked_once = f"select link, key from points where role = {ASKS} group by link, key having count(*) = 1"
        sends = f"""
            select s.* replace (is_one and (link not in ({", ".join(answers)}) or a.key is not null) as is_one)
            from ({sends}) s left join ({asked_once}) a using (link, key)
        """
    database.execute(f"create temp table sends as {sends}")


def _point_counts(database: duckdb.DuckDBPyConnection | None, rules: EvidenceRules) -> tuple[LinkCount, ...]:
    """Of every link that a pair makes, also where no row has such a value: it may be misspelt."""
    found = {} if database is None else {link: numbers for link, *numbers in _counted(database)}
    return tuple(
        LinkCount(link.name, *map(int, found.get(number, [0] * 6)))
        for number, link in enumerate(rules.links)
        if number in found or number < rules.vector_link
    )


def _counted(database: duckdb.DuckDBPyConnection) -> list[tuple[int, ...]]:
    query = """
        with s as (select link, key, count as rows, is_one, clock from sends),
        r as (
            select r.link, r.key, sum(r.count) as rows, count(*) as clocks,
                count(*) filter (where s.is_one and r.clock <> s.clock) as messages,
                sum(r.count) filter (where s.is_one and r.clock = s.clock) as own_rows
            from receives r left join s using (link, key) group by r.link, r.key
        )
        select coalesce(s.link, r.link) as link,
            sum(coalesce(r.messages, 0)),
            sum(coalesce(s.rows, 0)),
            sum(coalesce(r.rows, 0)),
            sum(case when r.messages > 0 then s.rows - 1 + r.rows - r.messages - coalesce(r.own_rows, 0) else 0 end),
            sum(case when not s.is_one and r.rows is not null then s.rows + r.rows else 0 end),
            sum(case when coalesce(r.messages, 0) > 0 then coalesce(r.own_rows, 0)
                when s.is_one is null or s.is_one or r.rows is null then coalesce(s.rows, 0) + coalesce(r.rows, 0)
                else 0 end)
        from s full join r using (link, key) group by all
    """
    return database.sql(query).fetchall()


# Spans ----------------------------------------------------------------------------------------------------------------


def _read_spans(database: duckdb.DuckDBPyConnection, tables: Sequence[pa.Table | str]) -> None:
    everything = _read(database, "spans", tables)
    # A span that was exported twice is one; so is one that a client and a server share under one id, as Zipkin has it,
    # and of that one nobody knows which of the two a child belongs to.
    database.execute(f"""
        create temp view spans as
        select md5_number(trace || chr(31) || span) as own, md5_number(trace || chr(31) || parent) as up,
            kind, begin_ns, end_ns, clock::varchar as clock, resolution_ns, fold_ns, part, line
        from ({everything})
    """)
    database.execute(f"""
        create temp table parents as
        select own, min(clock) as clock, max(clock) as other_clock, min(begin_ns) as begin_ns, max(end_ns) as end_ns,
            bool_and(kind = {CLIENT}) as is_client, arg_min(resolution_ns, begin_ns) as resolution_ns,
            arg_min(fold_ns, begin_ns) as fold_ns, arg_min(part, begin_ns) as part, arg_min(line, begin_ns) as line
        from spans group by own
    """)


_BEGINS = """
    select p.clock as sender, c.clock as receiver,
        p.begin_ns as sent_ns, p.resolution_ns as sender_resolution_ns, p.fold_ns as sender_fold_ns,
        p.part as sender_part, p.line as sender_line,
        c.begin_ns as received_ns, c.resolution_ns as receiver_resolution_ns, c.fold_ns as receiver_fold_ns,
        c.part as receiver_part, c.line as receiver_line
"""
_ENDS = """
    select c.clock as sender, p.clock as receiver,
        c.end_ns as sent_ns, c.resolution_ns as sender_resolution_ns, c.fold_ns as sender_fold_ns,
        p.end_ns as received_ns, p.resolution_ns as receiver_resolution_ns, p.fold_ns as receiver_fold_ns
"""
_CHILDREN = "from spans c join parents p on c.up = p.own where p.clock = p.other_clock and p.clock <> c.clock"
_SHARED = f"""
    from (select * from spans where kind = {SERVER}) c join (select * from spans where kind = {CLIENT}) p using (own)
    where p.clock <> c.clock
"""
# A child's context is made when its parent has begun, whatever their kinds are.
_CHILD_MESSAGES, _SHARED_MESSAGES = _BEGINS + _CHILDREN, _BEGINS + _SHARED
_ARE_KNOWN = " and c.end_ns is not null and p.end_ns is not null"
# A client waits for its server. Producers wait for nobody, and of other kinds nobody says so.
_CHILD_ENDS = f"{_ENDS} {_CHILDREN} and p.is_client and c.kind = {SERVER}" + _ARE_KNOWN
_SHARED_ENDS = _ENDS + _SHARED + _ARE_KNOWN


def _span_count(database: duckdb.DuckDBPyConnection, messages: int) -> LinkCount:
    query = """
        select count(*), count(up), count(*) - (select count(*) from parents),
            count(*) filter (where p.clock <> p.other_clock),
            count(*) filter (where up is not null
                and (p.own is null or (p.clock = p.other_clock and p.clock = c.clock)))
        from spans c left join parents p on c.up = p.own
    """
    return LinkCount(SPANS_NAME, messages, *map(int, database.sql(query).fetchall()[0]))


# Out of the database --------------------------------------------------------------------------------------------------


def _take(evidence: Evidence, folded: list[FoldedMessages], batch: pa.RecordBatch) -> None:
    messages = _messages(batch)
    sender_fold, receiver_fold = _ints(batch, "sender_fold_ns"), _ints(batch, "receiver_fold_ns")
    evidence.add(messages)
    rows = np.flatnonzero((sender_fold > 0) | (receiver_fold > 0))
    if len(rows):
        places = [_ints(batch, name)[rows] for name in ("sender_part", "sender_line", "receiver_part", "receiver_line")]
        folded.append(FoldedMessages(messages.taken(rows), sender_fold[rows], receiver_fold[rows], *places))


def _take_ends(likely: dict[str, Evidence], batch: pa.RecordBatch) -> None:
    messages = _messages(batch)
    pairs = messages.sender.astype(np.int64) * len(messages.clocks) + messages.receiver
    for pair in np.unique(pairs).tolist():
        server, client = (messages.clocks[code] for code in divmod(pair, len(messages.clocks)))
        name = f"{SPAN_ENDS_NAME}: {server} -> {client}"
        likely.setdefault(name, Evidence()).add(messages.taken(np.flatnonzero(pairs == pair)))


def _messages(batch: pa.RecordBatch) -> Messages:
    names: dict[str, int] = {}
    codes = []
    for column in ("sender", "receiver"):
        said = batch.column(column).dictionary_encode()
        table = np.array([names.setdefault(name, len(names)) for name in said.dictionary.to_pylist()], dtype=np.int32)
        codes.append(table[as_numpy(said.indices)])
    count = batch.num_rows
    return Messages(
        tuple(map(ClockId, names)),
        codes[0],
        codes[1],
        _ints(batch, "sent_ns"),
        _ints(batch, "received_ns"),
        _ints(batch, "sender_resolution_ns") + _ints(batch, "sender_fold_ns"),
        _ints(batch, "receiver_resolution_ns") + _ints(batch, "receiver_fold_ns"),
        np.broadcast_to(np.int64(0), (count,)),
        np.broadcast_to(np.bool_(True), (count,)),
    )


def _ints(batch: pa.RecordBatch, name: str) -> Int64Array:
    found: Int64Array = as_numpy(batch.column(name)).astype(np.int64, copy=False)
    return found


def _folded(parts: Sequence[FoldedMessages]) -> FoldedMessages | None:
    if not parts:
        return None
    columns = [np.concatenate([part[number] for part in parts]) for number in range(1, len(FoldedMessages._fields))]
    return FoldedMessages(Messages.concatenated([part.messages for part in parts]), *columns)
