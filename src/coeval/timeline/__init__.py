"""Understanding: from a recording to one timeline on which every time has a bound, and the clocks behind it."""

from typing import TYPE_CHECKING, Any

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

    def __getattr__(name: str) -> Any:
        for home, names in _HOMES.items():
            if name in names:
                value = globals()[name] = getattr(__import__(f"{__name__}.{home}", fromlist=(name,)), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
