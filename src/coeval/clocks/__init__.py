"""Reading clocks and naming them: readings, stamps, instants, identities, and the two kinds of evidence."""

from coeval.clocks._clock import SYSTEM_CLOCK, Clock, Snapshot, SystemClock
from coeval.clocks._identity import UTC, ClockId, clock_id

TYPE_CHECKING = False

if TYPE_CHECKING:
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

# Runs take readings; what reasons about them comes when somebody asks. Hidden from type checkers, which would otherwise
# take every misspelt name for one of these.
if not TYPE_CHECKING:

    def __getattr__(name):
        if name in ("Instant", "Grade"):
            from coeval.clocks import _instant as home
        elif name in ("Message", "Anchor"):
            from coeval.clocks import _message as home
        elif name == "Stamp":
            from coeval.clocks import _stamp as home
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(home, name)
