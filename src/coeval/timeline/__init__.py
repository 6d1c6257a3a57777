"""Understanding: from a recording to one timeline on which every time has a bound, and the clocks behind it."""

from typing import TYPE_CHECKING

# Nothing is imported before it is used: a merge needs no recording, and a recording no merge.
if TYPE_CHECKING:
    from coeval.timeline._clock_table import ClockChange, ClockEntry, OffsetBounds, SharedClaim
    from coeval.timeline._event import (
        CallAttempt,
        CallFailure,
        CallStatus,
        Duration,
        FourInstants,
        FourStamps,
        TimelineCall,
        TimelineEvent,
        TimelineEventKind,
    )
    from coeval.timeline._run_timeline import RunTimeline, open_run
    from coeval.timeline._timeline import TableEvent, Timeline, open_timeline

__all__ = [
    "open_run",
    "open_timeline",
    "Timeline",
    "TableEvent",
    "RunTimeline",
    "TimelineEvent",
    "TimelineEventKind",
    "TimelineCall",
    "CallAttempt",
    "CallFailure",
    "CallStatus",
    "Duration",
    "FourInstants",
    "FourStamps",
    "ClockEntry",
    "ClockChange",
    "OffsetBounds",
    "SharedClaim",
]

_HOMES = {
    "_clock_table": (
        "ClockChange",
        "ClockEntry",
        "OffsetBounds",
        "SharedClaim",
    ),
    "_event": (
        "CallAttempt",
        "CallFailure",
        "CallStatus",
        "Duration",
        "FourInstants",
        "FourStamps",
        "TimelineCall",
        "TimelineEvent",
        "TimelineEventKind",
    ),
    "_run_timeline": (
        "RunTimeline",
        "open_run",
    ),
    "_timeline": (
        "TableEvent",
        "Timeline",
        "open_timeline",
    ),
}

# Hidden from type checkers, which would otherwise take every misspelt name for one of these.
if not TYPE_CHECKING:
    from coeval._lazy_names import lazy_names

    __getattr__, __dir__ = lazy_names(__name__, globals(), _HOMES)
