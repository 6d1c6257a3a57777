"""
The sieve: messages that say nothing that a faster one of the same pair and direction nearby does not say, left out.

A message bounds how far its sender's clock can be ahead of its receiver's. Another one, sent some time before or after
and faster by more than the two clocks can part in that time, bounds it more closely everywhere: every pair of clocks
that keeps to their rates and to the faster one keeps to the slower one by itself. So leaving it out changes no bound,
not by a nanosecond, as long as no clock stepped between the two and the faster one is true. Where the evidence holds a
contradiction, all of it is looked at instead (`_sorting.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coeval.alignment._messages import Messages
from coeval.alignment._rate import GRID_BITS, Int64Array, floor_times

# So few messages are solved as fast as they are sieved.
SIEVED_LEAST = 20_000

# Messages are first compared with the fastest of so many neighbours: most go there, for the price of a minimum.
_BLOCK = 256

# The directions of so few clocks are picked out one by one; those of more are sorted.
_CLOCKS_FEW = 3


def worth_solving(messages: Messages, rows: Int64Array, limits: Sequence[int]) -> Int64Array:
    """
    Of these rows, those that may matter, ascending.

    Args:
        rows: hard messages between two clocks, ascending.
        limits: of each clock, its rate bound against the reference, on the grid.
    """
    if len(rows) < SIEVED_LEAST:
        return rows
    kept = []
    for (sender, receiver), own in _split(messages, rows):
        kept.append(own[_worth(messages, own, _parting(limits[sender], limits[receiver]))])
    return np.sort(np.concatenate(kept))


def _split(messages: Messages, rows: Int64Array) -> list[tuple[tuple[int, int], Int64Array]]:
    """The rows of each direction."""
    count = len(messages.clocks)
    if count <= _CLOCKS_FEW:  # picked out one by one
        sender, receiver = messages.sender[rows], messages.receiver[rows]
        chosen = {
            (one, other): rows[(sender == one) & (receiver == other)]
            for one in range(count)
            for other in range(count)
            if one != other
        }
        return [(direction, own) for direction, own in chosen.items() if len(own)]
    code = messages.sender[rows].astype(np.int64) * count + messages.receiver[rows]
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.concatenate(([True], np.diff(code[order]) != 0)))
    directions = [divmod(each, count) for each in code[order][starts].tolist()]
    return list(zip(directions, np.split(rows[order], starts[1:]), strict=True))


def _parting(sender: int, receiver: int) -> int:
    """How fast the two may part, on the grid, so that what is faster by more says more."""
    both = sender + receiver
    return -((-both << GRID_BITS) // ((1 << GRID_BITS) - receiver))


def _worth(messages: Messages, rows: Int64Array, parting: int) -> Int64Array:
    """Places among these rows, of one direction, of those that no other one makes needless."""
    sent = messages.sent_ns[rows]
    took = messages.received_by_at(rows) if _has_any(messages.receiver_resolution_ns) else messages.received_ns[rows]
    took = took - sent
    # A proven delay is only known to be between nothing and itself on the axis: each counts against its message.
    shortest = took - messages.delay_ns_min[rows] if _has_any(messages.delay_ns_min) else took
    order: Int64Array | None = None
    if not bool(np.all(sent[1:] >= sent[:-1])):
        order = np.argsort(sent, kind="stable")
        sent, took, shortest = sent[order], took[order], shortest[order]
    places = _faster_than_block(sent, took, shortest, parting)
    sent, took, shortest = sent[places], took[places], shortest[places]
    if order is not None:
        places = order[places]
    line = floor_times(parting, sent - sent[0], 0)
    # Floored lines differ by less than one more than the clocks part.
    from_left = np.minimum.accumulate(took - line)
    from_right = np.minimum.accumulate((took + line)[::-1])[::-1]
    needless = np.zeros(len(sent), dtype=np.bool_)
    needless[1:] |= shortest[1:] - line[1:] > from_left[:-1]
    needless[:-1] |= shortest[:-1] + line[:-1] > from_right[1:]
    return places[~needless]


def _has_any(column: Int64Array) -> bool:
    """Is anything but zero in it? What is given once for all takes one look."""
    return bool(column[:1].any()) if column.strides == (0,) else bool(column.any())


def _faster_than_block(sent: Int64Array, took: Int64Array, shortest: Int64Array, parting: int) -> Int64Array:
    """Places of messages that the fastest of their block does not make needless."""
    whole = len(sent) // _BLOCK * _BLOCK
    if not whole:
        return np.arange(len(sent))
    blocks = took[:whole].reshape(-1, _BLOCK)
    spans = sent[_BLOCK - 1 : whole : _BLOCK] - sent[:whole:_BLOCK]
    least = blocks.min(axis=1) + floor_times(parting, spans, 0) + 1
    may_matter = shortest[:whole].reshape(-1, _BLOCK) <= least[:, None]
    return np.concatenate((np.flatnonzero(may_matter.reshape(-1)), np.arange(whole, len(sent))))
