"""Understanding: from a recording to one timeline on which every time has a bound, and the clocks behind it."""

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
