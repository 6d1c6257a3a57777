"""Which readings a single message proves to be in order. Bounds on clocks have no part in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from coeval.alignment._messages import Messages
from coeval.alignment._rate import BoolArray, Int64Array
from coeval.clocks import ClockId, Stamp


class _Direction(NamedTuple):
    """Messages of one direction by send reading, with the earliest arrival among each and all sent later."""

    sent_ns: Int64Array
    arrived_by_ns: Int64Array


class DirectOrder:
    """
    Args:
        messages: the evidence.
        trusted: which of it may prove an order.
    """

    def __init__(self, messages: Messages, trusted: BoolArray) -> None:
        self._messages = messages
        self._trusted = trusted
        self._codes = {clock: code for code, clock in enumerate(messages.clocks)}
        self._directions: dict[tuple[ClockId, ClockId], _Direction] = {}

    def proves(self, first: Stamp, second: Stamp) -> bool:
        """
        Was a message sent at or after the first and had arrived at or before the second?

        The first call for a pair of clocks sorts their messages; each further one is a search of microseconds.
        """
        direction = self._directions.get((first.clock, second.clock)) or self._prepare(first.clock, second.clock)
        index = int(direction.sent_ns.searchsorted(first.reading_ns, side="left"))
        return index < len(direction.sent_ns) and int(direction.arrived_by_ns[index]) <= second.reading_ns

    def _prepare(self, sender: ClockId, receiver: ClockId) -> _Direction:
        messages = self._messages
        sender_code, receiver_code = self._codes.get(sender, -1), self._codes.get(receiver, -1)
        rows = np.flatnonzero((messages.sender == sender_code) & (messages.receiver == receiver_code) & self._trusted)
        sent = messages.sent_ns[rows]
        order = np.argsort(sent, kind="stable")
        arrived = messages.received_by_ns[rows][order]
        direction = _Direction(sent[order], np.minimum.accumulate(arrived[::-1])[::-1])
        self._directions[sender, receiver] = direction
        return direction
