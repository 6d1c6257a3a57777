"""Writing down: events inside calls, the recorder of an executor, and the run folder on disk."""

from typing import TYPE_CHECKING, Any

from coeval.recording._capture import (
    Attempt,
    LogCapture,
    add_recorder,
    attempt,
    clock_event,
    mark,
    remove_recorder,
    running_call,
    span,
)
from coeval.recording._event import Event, EventKind, Fields, JsonScalar, plain_field

if TYPE_CHECKING:
    from coeval.recording._ledger import Ledger, Work
    from coeval.recording._recorder import Recorder
    from coeval.recording._run_folder import RunFolder, ambient_run, set_ambient_run
    from coeval.recording._tables import Recording

__all__ = [
    "mark",
    "span",
    "attempt",
    "Attempt",
    "Event",
    "EventKind",
    "Fields",
    "JsonScalar",
    "Recorder",
    "Recording",
    "RunFolder",
    "Ledger",
    "Work",
    "ambient_run",
    "set_ambient_run",
    "LogCapture",
    "running_call",
    "clock_event",
    "plain_field",
    "add_recorder",
    "remove_recorder",
]


def __getattr__(name: str) -> Any:
    # A worker imports this package to make events; the part that keeps and reads recordings stays off its path.
    if name == "Recorder":
        from coeval.recording import _recorder as home
    elif name in ("RunFolder", "ambient_run", "set_ambient_run"):
        from coeval.recording import _run_folder as home  # type: ignore[no-redef]
    elif name in ("Ledger", "Work"):
        from coeval.recording import _ledger as home  # type: ignore[no-redef]
    elif name == "Recording":
        from coeval.recording import _tables as home  # type: ignore[no-redef]
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
