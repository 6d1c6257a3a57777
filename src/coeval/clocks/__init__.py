"""Reading clocks and naming them: readings, stamps, instants, identities, and the two kinds of evidence."""

from coeval.clocks._clock import SYSTEM_CLOCK, Clock, Snapshot, SystemClock
from coeval.clocks._identity import UTC, ClockId, clock_id
from coeval.clocks._instant import Grade, Instant
from coeval.clocks._message import Anchor, Message
from coeval.clocks._stamp import Stamp

__all__ = [
    "Clock",
    "SystemClock",
    "SYSTEM_CLOCK",
    "Snapshot",
    "ClockId",
    "clock_id",
    "UTC",
    "Stamp",
    "Instant",
    "Grade",
    "Message",
    "Anchor",
]
