"""Writing down: events inside calls, the recorder of an executor, and the run folder on disk."""

from coeval.recording._capture import (
    Attempt,
    add_recorder,
    attempt,
    clock_event,
    mark,
    remove_recorder,
    running_call,
)
from coeval.recording._event import Event, EventKind, Fields, JsonScalar, plain_field

TYPE_CHECKING = False

if TYPE_CHECKING:
    from coeval.recording._ambient import ambient_run, set_ambient_run
    from coeval.recording._ledger import Ledger, Work
    from coeval.recording._log_capture import LogCapture
    from coeval.recording._recorder import Recorder
    from coeval.recording._run_folder import RunFolder
    from coeval.recording._span import span
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

_HOMES = {
    "_ambient": ("ambient_run", "set_ambient_run"),
    "_ledger": ("Ledger", "Work"),
    "_log_capture": ("LogCapture",),
    "_recorder": ("Recorder",),
    "_run_folder": ("RunFolder",),
    "_span": ("span",),
    "_tables": ("Recording",),
}

# A worker imports this package to make events; the parts that keep and read recordings stay off its path. Hidden from
# type checkers, which would otherwise take every misspelt name for one of these.
if not TYPE_CHECKING:

    def __getattr__(name):
        from coeval._lazy_names import looked_up

        return looked_up(__name__, globals(), _HOMES, name)
