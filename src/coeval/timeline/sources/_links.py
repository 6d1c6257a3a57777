"""
Which rows a message is between: for an order of rows that contradicts none.

Alignment keeps a summary of the messages, and knows readings. An order of rows needs the rows, and of all messages
those whose two ends lie near each other: whoever asks says how near, and all others are joined and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coeval.alignment._rate import BoolArray, Int64Array
from coeval.timeline.readers._values import as_numpy
from coeval.timeline.sources._messages import (
    _CHILD_MESSAGES,
    _POINT_MESSAGES,
    _SHARED_MESSAGES,
    MEMORY_LIMIT,
    _batches,
    _database,
    _ints,
    _read_points,
    _read_spans,
)
from coeval.timeline.sources._rows import EvidenceRows
from coeval.timeline.sources._rules import EvidenceRules, answer_links, order_links


class RowLinks(NamedTuple):
    """
    Messages between rows, in columns of equal length.

    Attributes:
        clocks: names by code.
        sender, receiver: codes.
        sent_ns, received_ns: the rows' stamps.
        sent_means_ns, received_means_ns: a stamp may mean up to so much later: its resolution, and a fold.
        sender_part, sender_line, receiver_part, receiver_line: the rows.
    """

    clocks: tuple[str, ...]
    sender: Int64Array
    receiver: Int64Array
    sent_ns: Int64Array
    received_ns: Int64Array
    sent_means_ns: Int64Array
    received_means_ns: Int64Array
    sender_part: Int64Array
    sender_line: Int64Array
    receiver_part: Int64Array
    receiver_line: Int64Array

    def __len__(self) -> int:
        return len(self.sender)

    def taken(self, rows: BoolArray) -> RowLinks:
        """Some of them."""
        return RowLinks(self.clocks, *(column[rows] for column in self[1:]))


def links_of(
    rows: Sequence[EvidenceRows],
    rules: EvidenceRules,
    clocks: Sequence[str],
    chosen: Callable[[RowLinks], BoolArray],
    *,
    memory_limit: str = MEMORY_LIMIT,
    folder: str | None = None,
    threads: int | None = None,
) -> RowLinks:
    """
    Join rows to messages again, and keep those that are wanted.

    Left out are messages that say nothing about the order of their rows: of lines that may have been written late, and
    those that arrive at the end of a row.

    Args:
        clocks: names by code, of all clocks of the rows.
        chosen: which of many messages are kept.
    """
    code_of = {clock: code for code, clock in enumerate(clocks)}
    found: list[RowLinks] = []
    points = [each.points for each in rows if each.points is not None]
    spans = [each.spans for each in rows if each.spans is not None]
    if points or spans:
        with _database(memory_limit, folder, threads) as database:
            queries = []
            if points:
                _read_points(database, points, rules)
                without = _orderless_links(rules)
                queries.append(_POINT_MESSAGES + (f" and link not in ({without})" if without else ""))
            if spans:
                _read_spans(database, spans)
                queries += [_CHILD_MESSAGES, _SHARED_MESSAGES]
            for query in queries:
                for batch in _batches(database, query):
                    links = _links(batch, code_of, tuple(clocks))
                    found.append(links.taken(chosen(links)))
    columns = zip(*(links[1:] for links in found), strict=True) if found else [()] * 10
    joined = (np.concatenate(column) if column else np.empty(0, dtype=np.int64) for column in columns)
    return RowLinks(tuple(clocks), *joined)


def _orderless_links(rules: EvidenceRules) -> str:
    """Numbers of links that do not order rows, parted by commas."""
    numbers: list[int] = []
    for number, pair in enumerate(rules.pairs):
        first = rules.first_link(number)
        forth = len(order_links(pair.order)) if pair.order else 1
        back = len(answer_links(pair.order)) if pair.answered else 0
        if pair.late_ns:
            numbers += range(first, first + forth + back)
        elif pair.answered == "end":
            numbers += range(first + forth, first + forth + back)
    return ", ".join(map(str, numbers))


def _links(batch: pa.RecordBatch, code_of: dict[str, int], clocks: tuple[str, ...]) -> RowLinks:
    codes = []
    for column in ("sender", "receiver"):
        said = batch.column(column).dictionary_encode()
        table = np.array([code_of[name] for name in said.dictionary.to_pylist()], dtype=np.int64)
        codes.append(table[as_numpy(said.indices)])
    return RowLinks(
        clocks,
        codes[0],
        codes[1],
        _ints(batch, "sent_ns"),
        _ints(batch, "received_ns"),
        _ints(batch, "sender_resolution_ns") + _ints(batch, "sender_fold_ns"),
        _ints(batch, "receiver_resolution_ns") + _ints(batch, "receiver_fold_ns"),
        *(_ints(batch, name) for name in ("sender_part", "sender_line", "receiver_part", "receiver_line")),
    )
