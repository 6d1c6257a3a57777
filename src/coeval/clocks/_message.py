"""
The evidence that alignment accepts, and nothing else: messages between clocks, and anchors to UTC.

Everything becomes one of these: a call's round trip, an NTP query, a touched file, a request id seen in two logs.
"""

from __future__ import annotations

from typing import NamedTuple

from coeval.clocks._identity import ClockId


class Message(NamedTuple):
    """
    A reading of one clock that is known to precede a reading of another: sent, then received.

    The send stamp must be taken before the bytes go, the receive stamp after they are readable.

    Attributes:
        sender, receiver: the two clocks.
        sent_ns, received_ns: their readings, int64 ns.
        id: how the evidence is named in reports ("" if nobody will look for it).
        sender_resolution_ns, receiver_resolution_ns: a stamp cut to this grain means [stamp, stamp + grain).
        delay_ns_min: the proven least delay of the path; 0 if nothing is proven.
        hard: False if the order is only likely, as with the ends of foreign spans.
    """

    sender: ClockId
    sent_ns: int
    receiver: ClockId
    received_ns: int
    id: str = ""
    sender_resolution_ns: int = 0
    receiver_resolution_ns: int = 0
    delay_ns_min: int = 0
    hard: bool = True


class Anchor(NamedTuple):
    """
    Evidence that ties a reading to UTC: when the clock read `reading_ns`, UTC was in [earliest_ns, latest_ns].

    Attributes:
        clock: whose reading it is.
        reading_ns: int64 ns of that clock.
        earliest_ns, latest_ns: int64 ns of UTC since 1970-01-01.
        source: who says so, such as "kernel", "chrony", "ntp.example.org".
    """

    clock: ClockId
    reading_ns: int
    earliest_ns: int
    latest_ns: int
    source: str
