"""
Run Python functions on many processes and machines, and put everything that happened on one timeline.

What stands here is what most programs need; the packages below hold the rest. Nothing is imported before it is used:
every worker process imports this file, and must not pay for what it never touches.
"""

# A bare name, which type checkers know as well as the one in `typing`: that module is not free.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from coeval._version import __version__
    from coeval.clocks import ClockId, Instant, Stamp
    from coeval.errors import (
        CallExited,
        CallFailed,
        CallNotSendable,
        CallStopped,
        ClocksNotRelated,
        CoevalError,
        CoevalWarning,
        EngineError,
        MemoryLimitExceeded,
        RecordingError,
        RemoteError,
        ResultNotSendable,
        TimeLimitExceeded,
        UnsupportedByEngine,
        WorkerDied,
        WrongTable,
    )
    from coeval.executor import Executor, Retry
    from coeval.executor._random import call_generator, call_random
    from coeval.executor._stacks import dump_stacks_on
    from coeval.recording import attempt, mark, span
    from coeval.standard import Pool, ProcessPoolExecutor
    from coeval.timeline import RunTimeline, Timeline, open_run, open_timeline
    from coeval.timeline._related_clocks import RelatedClocks, relate_clocks
    from coeval.timeline.merge import merge

__all__ = [
    "Executor",
    "Retry",
    "ProcessPoolExecutor",
    "Pool",
    "mark",
    "span",
    "attempt",
    "call_random",
    "call_generator",
    "dump_stacks_on",
    "open_run",
    "open_timeline",
    "Timeline",
    "RunTimeline",
    "merge",
    "relate_clocks",
    "RelatedClocks",
    "Instant",
    "Stamp",
    "ClockId",
    "CoevalError",
    "CallFailed",
    "CallNotSendable",
    "ResultNotSendable",
    "RemoteError",
    "CallExited",
    "CallStopped",
    "TimeLimitExceeded",
    "MemoryLimitExceeded",
    "WorkerDied",
    "EngineError",
    "UnsupportedByEngine",
    "ClocksNotRelated",
    "WrongTable",
    "RecordingError",
    "CoevalWarning",
    "__version__",
]

_HOMES = {
    "_version": ("__version__",),
    "clocks": ("ClockId", "Instant", "Stamp"),
    "errors": (
        "CallExited",
        "CallFailed",
        "CallNotSendable",
        "CallStopped",
        "ClocksNotRelated",
        "CoevalError",
        "CoevalWarning",
        "EngineError",
        "MemoryLimitExceeded",
        "RecordingError",
        "RemoteError",
        "ResultNotSendable",
        "TimeLimitExceeded",
        "UnsupportedByEngine",
        "WorkerDied",
        "WrongTable",
    ),
    "executor": ("Executor", "Retry"),
    "executor._random": ("call_generator", "call_random"),
    "executor._stacks": ("dump_stacks_on",),
    "recording": ("attempt", "mark", "span"),
    "standard": ("Pool", "ProcessPoolExecutor"),
    "timeline": ("RunTimeline", "Timeline", "open_run", "open_timeline"),
    "timeline.merge": ("merge",),
    "timeline._related_clocks": ("RelatedClocks", "relate_clocks"),
}

# Hidden from type checkers, which would otherwise take every misspelt name for one of these.
if not TYPE_CHECKING:
    # As `_lazy_names` has it, written out: this file imports nothing, not even that.
    def __getattr__(name):
        for home, names in _HOMES.items():
            if name in names:
                value = globals()[name] = getattr(__import__(f"{__name__}.{home}", fromlist=(name,)), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
