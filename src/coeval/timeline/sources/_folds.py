"""
Where local time ran twice a stamp has two readings; evidence that only one of them can keep settles which it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from coeval.alignment import UNKNOWN_EARLIEST, UNKNOWN_LATEST, Alignment
from coeval.alignment._rate import BoolArray, Int64Array
from coeval.timeline.sources._messages import FoldedMessages


class SettledFolds(NamedTuple):
    """
    What messages say about rows whose stamp has two readings. Columns of equal length, by part and line, each row once.

    Attributes:
        part, line: the row.
        is_later: the stamp means the later reading; where False, the earlier one.
        open: rows that take part in messages and still have two readings.
        contradicted: rows of which messages exclude both; they keep two readings, and something else is wrong.
    """

    part: Int64Array
    line: Int64Array
    is_later: BoolArray
    open: int
    contradicted: int


def settle_folds(alignment: Alignment, folded: FoldedMessages | None) -> SettledFolds:
    """
    Exclude readings that hard messages contradict.

    A reading is excluded if with it the message would certainly have arrived before it was sent: the earliest time of
    its send is after the latest of its receive. Of a message with two folded stamps the other one is taken as it does
    least: a send at its earlier reading, a receive at its later one.

    Args:
        alignment: of evidence in which folded stamps stand for both their readings, so that it is true in any case.
    """
    nothing = np.empty(0, dtype=np.int64)
    if folded is None or not len(folded.messages):
        return SettledFolds(nothing, nothing, np.empty(0, dtype=np.bool_), 0, 0)
    messages = folded.messages
    sent = messages.sent_ns
    arrived_late = messages.received_by_ns  # the later reading, with its resolution
    arrived_soon = arrived_late - folded.receiver_fold_ns
    earliest = _bounds(alignment, folded, messages.sender, sent, "earliest")
    earliest_if_later = _bounds(alignment, folded, messages.sender, sent + folded.sender_fold_ns, "earliest")
    latest = _bounds(alignment, folded, messages.receiver, arrived_late, "latest")
    latest_if_soon = _bounds(alignment, folded, messages.receiver, arrived_soon, "latest")

    # A later send may be after its receive, and a sooner receive before its send. The other two readings are what the
    # alignment was made with, so they are excluded where its evidence is wrong, and nowhere else.
    senders = np.flatnonzero(folded.sender_fold_ns > 0)
    receivers = np.flatnonzero(folded.receiver_fold_ns > 0)
    part = np.concatenate((folded.sender_part[senders], folded.receiver_part[receivers]))
    line = np.concatenate((folded.sender_line[senders], folded.receiver_line[receivers]))
    not_sooner = np.concatenate(((earliest > latest)[senders], (earliest > latest_if_soon)[receivers]))
    not_later = np.concatenate(((earliest_if_later > latest)[senders], (earliest > latest)[receivers]))
    rows, place = np.unique(np.stack((part, line)), axis=1, return_inverse=True)
    place = place.reshape(-1)
    excluded_sooner = np.bincount(place, weights=not_sooner, minlength=rows.shape[1]) > 0
    excluded_later = np.bincount(place, weights=not_later, minlength=rows.shape[1]) > 0
    settled = excluded_sooner ^ excluded_later
    return SettledFolds(
        rows[0][settled],
        rows[1][settled],
        excluded_sooner[settled],
        int((~excluded_sooner & ~excluded_later).sum()),
        int((excluded_sooner & excluded_later).sum()),
    )


def _bounds(
    alignment: Alignment,
    folded: FoldedMessages,
    codes: np.ndarray[tuple[int], np.dtype[np.int32]],
    readings: Int64Array,
    side: str,
) -> Int64Array:
    """Earliest or latest times of readings of several clocks; unknown ones are such that they exclude nothing."""
    found = np.full(len(readings), UNKNOWN_EARLIEST if side == "earliest" else UNKNOWN_LATEST, dtype=np.int64)
    for code in np.unique(codes).tolist():
        clock = folded.messages.clocks[code]
        if clock in alignment.clocks:
            rows = np.flatnonzero(codes == code)
            placed = alignment.instants(clock, readings[rows])
            found[rows] = placed.earliest_ns if side == "earliest" else placed.latest_ns
    return found
