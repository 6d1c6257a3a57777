"""
Evidence that arrives bit by bit, in any order, in parts that were gathered elsewhere: a summary of bounded size.

Of each pair of clocks and direction, and of each stretch of time, the fastest few messages are kept: slower ones of the
same stretch hardly say more. Stretches are cut at powers of two of the sender's readings, so they are the same for
everybody, and the fastest few of two parts together are the fastest few of both: whatever the order and the batches,
and however the parts are merged, the summary is the same. Where it grows beyond its limits, stretches of the pairs that
have most are doubled.

A bound from a summary is never false: every message in it is a real one. It may be wider than that from all messages,
by as much as the two clocks can part within a stretch, `slack_ns`. In stretches where nothing was left out it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import numpy.typing as npt

from coeval.alignment._messages import Messages
from coeval.alignment._rate import Int64Array, ppm
from coeval.clocks import ClockId

# The fastest of a stretch may be a false one: the next then says nearly as much.
_KEPT_PER_STRETCH = 2

# 2**22 ns are 4 ms: below that, stretches would hold few messages of any real traffic.
_STRETCH_BITS_LEAST = 22
_STRETCH_BITS_MOST = 62

# New messages are gathered until there are so many, and then summarised with what is there.
_GATHERED_LEAST = 1 << 17


@dataclass(frozen=True, slots=True)
class EvidenceStatistics:
    """
    Attributes:
        seen: messages that were added.
        kept: messages in the summary.
        slack_ns: how much wider than from all messages a bound between two clocks that exchanged messages may be.
    """

    seen: int
    kept: int
    slack_ns: int


class Evidence:
    """
    A summary of messages.

    Steps and wrong messages are judged anew in each `align` of it, never here: they are final for what was added until
    then, and for no more. `revisions` compares two such alignments.

    Args:
        rows_per_direction: about so many messages are kept of each pair of clocks and direction, at most.
        rows: likewise of all.
        rate_bound_ppm: the greatest declared rate bound of any clock, for `statistics`.

    Raises:
        ValueError: A limit that is not positive.
    """

    def __init__(
        self, *, rows_per_direction: int = 1 << 14, rows: int = 1_000_000, rate_bound_ppm: float = 100.0
    ) -> None:
        if rows_per_direction < 1 or rows < 1:
            raise ValueError(f"rows_per_direction is {rows_per_direction} and rows is {rows}: give positive numbers")
        self._limit, self._limit_all = rows_per_direction, rows
        self._rate_bound = ppm(rate_bound_ppm)
        self._summary = Messages.of(())
        self._bits: dict[tuple[ClockId, ClockId], int] = {}
        self._bits_all = _STRETCH_BITS_LEAST
        self._gathered: list[Messages] = []
        self._gathered_count = 0
        self._seen = 0

    def add(self, messages: Messages) -> None:
        """Take messages in; in any order, of any clocks. Soft ones, and those of one clock with itself, are kept as
        they are."""
        self._gathered.append(messages)
        self._gathered_count += len(messages)
        self._seen += len(messages)
        if self._gathered_count >= max(_GATHERED_LEAST, len(self._summary)):
            self._summarise()

    def merge(self, other: Evidence) -> None:
        """Take in what another one gathered; that one stays as it is."""
        for direction, bits in other._bits.items():
            self._bits[direction] = max(bits, self._bits.get(direction, _STRETCH_BITS_LEAST))
        self._bits_all = max(self._bits_all, other._bits_all)
        seen = self._seen + other._seen
        for part in (other._summary, *other._gathered):
            self.add(part)
        self._seen = seen

    def messages(self) -> Messages:
        """The summary, for `align`."""
        if self._gathered:
            self._summarise()
        return self._summary

    def statistics(self) -> EvidenceStatistics:
        """How much there is, and what the summary may have lost."""
        kept = len(self.messages())
        thinned = max([bits for bits in (self._bits_all, *self._bits.values()) if self._seen > kept], default=0)
        # Against a reference a clock's rate is within the sum and the product of two bounds; two part by twice that.
        parting = 2 * (2 * self._rate_bound + self._rate_bound**2)
        slack = ceil(parting / (1 - parting / 2) * Fraction(1 << thinned)) if thinned else 0
        return EvidenceStatistics(self._seen, kept, slack)

    def _summarise(self) -> None:
        everything = Messages.concatenated([self._summary, *self._gathered])
        self._gathered, self._gathered_count = [], 0
        plain = everything.hard & (everything.sender != everything.receiver)
        rows = np.flatnonzero(plain)
        kept = self._fastest(everything, rows)
        self._summary = everything.taken(np.sort(np.concatenate((kept, np.flatnonzero(~plain)))))

    def _fastest(self, everything: Messages, rows: Int64Array) -> Int64Array:
        """The fastest few of each stretch, with stretches as long as the limits ask for."""
        if not len(rows):
            return rows
        count = len(everything.clocks)
        code = everything.sender[rows].astype(np.int64) * count + everything.receiver[rows]
        directions, of = np.unique(code, return_inverse=True)
        names = [(everything.clocks[each // count], everything.clocks[each % count]) for each in directions.tolist()]
        bits = np.array([max(self._bits_all, self._bits.get(name, 0)) for name in names], dtype=np.int64)
        sent, took = everything.sent_ns[rows], everything.received_by_at(rows) - everything.sent_ns[rows]
        took = took - everything.delay_ns_min[rows]
        kept = np.arange(len(rows))
        while True:
            kept = kept[_first_of_each(of[kept], sent[kept] >> bits[of[kept]], took[kept], sent[kept])]
            sizes = np.bincount(of[kept], minlength=len(directions))
            over = sizes > self._limit
            if len(kept) > self._limit_all and not bool(over.any()):
                self._bits_all += 1
                bits = np.maximum(bits, self._bits_all)
            elif bool(over.any()):
                bits[over] += 1
            else:
                break
            if int(bits.max()) >= _STRETCH_BITS_MOST:
                break
        self._bits.update(zip(names, bits.tolist(), strict=True))
        return rows[kept]


def _first_of_each(
    direction: npt.NDArray[np.intp], stretch: Int64Array, took: Int64Array, sent: Int64Array
) -> npt.NDArray[np.intp]:
    """Places of the fastest few of each direction and stretch, ascending."""
    order = np.lexsort((sent, took, stretch, direction))
    is_first = np.concatenate(([True], (np.diff(stretch[order]) != 0) | (np.diff(direction[order]) != 0)))
    places = np.arange(len(order))
    rank = places - np.maximum.accumulate(np.where(is_first, places, 0))
    return np.sort(order[rank < _KEPT_PER_STRETCH])
