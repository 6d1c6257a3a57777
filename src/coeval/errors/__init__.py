"""
Every exception and warning of coeval.

    CoevalError
    ├── CallFailed                      one call did not give its result; all others go on
    │   ├── CallNotSendable             function or arguments cannot be pickled, or not be rebuilt on the worker
    │   ├── ResultNotSendable           the call returned something that cannot travel home
    │   ├── RemoteError                 the call raised something that cannot be rebuilt here
    │   ├── CallExited                  the call asked its process to exit (SystemExit, KeyboardInterrupt)
    │   ├── CallStopped                 somebody stopped it: ex.stop(future), or the executor was torn down
    │   ├── TimeLimitExceeded           also a TimeoutError
    │   ├── MemoryLimitExceeded         also a MemoryError
    │   └── WorkerDied                  also a BrokenProcessPool
    ├── EngineError                     the engine itself cannot go on
    │   ├── UnknownEngine               also a ValueError
    │   └── WorkersDoNotStart
    ├── UnsupportedByEngine             asked of an engine that cannot do it; said at submit, never ignored
    ├── MissingExtra                    also an ImportError: an optional part is not installed
    ├── DifferentClocks                 also a TypeError: stamps of two clocks, instants of two references
    ├── ClocksNotRelated                no evidence links them
    ├── WrongTable                      also a ValueError: a column is missing, or cannot hold what it is for
    └── RecordingError
        ├── NotARun                     the folder is none of ours
        ├── RunExists                   also a FileExistsError: a new run wants a new or empty folder
        ├── NewerFormat                 written by a later coeval
        └── CannotResume                what is there are results of other code or other inputs

    CoevalWarning
    ├── RecordingWarning                a part of a recording is missing or was set aside
    └── ClockWarning                    a clock broke a claim made for it, or a time server gives no time

A call's own exception comes back as itself, with the remote traceback (`RemoteTraceback`) as its cause. Wrong arguments
are plain `ValueError` and `TypeError`.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from coeval.errors._worker_died import WorkerDied

__all__ = [
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
    "UnknownEngine",
    "WorkersDoNotStart",
    "UnsupportedByEngine",
    "MissingExtra",
    "DifferentClocks",
    "ClocksNotRelated",
    "WrongTable",
    "RecordingError",
    "NotARun",
    "RunExists",
    "NewerFormat",
    "CannotResume",
    "CoevalWarning",
    "RecordingWarning",
    "ClockWarning",
    "RemoteTraceback",
]


class CoevalError(Exception):
    """The root of everything that coeval raises of its own."""


class CallFailed(CoevalError):
    """
    One call gave no result. The executor goes on and no other call is touched.

    Attributes:
        function: `module:qualname` of what was called.
        arguments: its arguments' summary, as in `(str 'a.txt', ndarray[float64, 100x3])`.
        attempt: which try this was; the first is 1.
        host, pid: where it ran, or "" and 0 where it never ran.
    """

    def __init__(
        self, message: str, *, function: str = "", arguments: str = "", attempt: int = 1, host: str = "", pid: int = 0
    ) -> None:
        super().__init__(message)
        self.function = function
        self.arguments = arguments
        self.attempt = attempt
        self.host = host
        self.pid = pid

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword-only arguments do not pickle by themselves; a call may well return or raise one of
        # ours.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[BaseException], args: tuple[Any, ...], state: Mapping[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class CallNotSendable(CallFailed):
    """
    The function or an argument cannot be pickled here, or cannot be rebuilt on the worker. It will never work as it is.
    """


class ResultNotSendable(CallFailed):
    """The call returned a value that cannot be pickled on the worker, or cannot be rebuilt here."""


class RemoteError(CallFailed):
    """
    The call raised an exception that cannot be rebuilt here.

    Attributes:
        type_name: the qualified name of the original class.
        original_message: what `str()` of the original gave.
        remote_traceback: the original traceback as text, with the exception's notes.
    """

    type_name: str = ""
    original_message: str = ""
    remote_traceback: str = ""


class CallExited(CallFailed):
    """
    The call raised `SystemExit` or `KeyboardInterrupt`. Raised here as itself it would end the caller's program.

    Attributes:
        code: what `sys.exit` was given; None for `KeyboardInterrupt`.
    """

    code: object = None


class CallStopped(CallFailed):
    """The call was running and was ended on request: by `ex.stop(future)`, or because its executor was torn down."""


class TimeLimitExceeded(CallFailed, TimeoutError):
    """
    An attempt ran longer than its `time_limit=` and was ended, counted from its start.

    Attributes:
        limit_s: the limit.
        ran_s: how long it had run when it was ended.
    """

    limit_s: float = 0.0
    ran_s: float = 0.0


class MemoryLimitExceeded(CallFailed, MemoryError):
    """
    A call with `memory=` raised `MemoryError`, which is its cause: its worker could not grow further. The worker lives.

    Attributes:
        limit_bytes: the limit.
    """

    limit_bytes: int = 0


class EngineError(CoevalError):
    """The engine cannot carry calls any more; the message says why and what to look at."""


class UnknownEngine(EngineError, ValueError):
    """No engine answers to this URL."""


class WorkersDoNotStart(EngineError):
    """Worker after worker ended before it was ready; the message says how the last one ended."""


class UnsupportedByEngine(CoevalError):
    """Something was asked for that this engine cannot do. Said at once, never ignored."""


class MissingExtra(CoevalError, ImportError):
    """An optional dependency is not installed; the message names the command that installs it."""


class DifferentClocks(CoevalError, TypeError):
    """Stamps of two clocks, or instants of two references, neither compare nor subtract."""


class ClocksNotRelated(CoevalError):
    """No evidence links these clocks, so nothing on one can be placed on the other."""


class WrongTable(CoevalError, ValueError):
    """A table lacks a column, or has one that cannot hold what it is for. Bad values of single rows are not this."""


class RecordingError(CoevalError):
    """A recording cannot be written or read."""


class NotARun(RecordingError):
    """The folder is not one that coeval wrote, or what makes it one is gone."""


class RunExists(RecordingError, FileExistsError):
    """A new run wants a new or an empty folder; what is in this one is left alone."""


class NewerFormat(RecordingError):
    """The recording was written by a coeval newer than this one."""


class CannotResume(RecordingError):
    """The results in a run folder are of another function, of other source or of other inputs than those given now."""


class CoevalWarning(UserWarning):
    """The root of everything that coeval warns of."""


class RecordingWarning(CoevalWarning):
    """A part of a recording is missing or was set aside; the message counts it."""


class ClockWarning(CoevalWarning):
    """A clock broke a claim made for it, such as being another process's too; or a time server gives no time."""


class RemoteTraceback(Exception):
    """The traceback of a call's exception as its worker saw it; the cause of the exception that the caller sees."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}" if self.args else ""


def __getattr__(name: str) -> Any:
    # WorkerDied is a BrokenProcessPool, so that handlers people have go on working. How it becomes one without an
    # import of multiprocessing is told there; no program needs it before a worker really died.
    if name == "WorkerDied":
        from coeval.errors._worker_died import WorkerDied

        return WorkerDied
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
