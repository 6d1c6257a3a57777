"""The run that is recorded into unless an executor names its own."""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from coeval.recording._run_folder import RunFolder

_ambient: RunFolder | None = None


def ambient_run() -> RunFolder | None:
    """The run that `coeval run` opened for this process, if any."""
    return _ambient


def set_ambient_run(folder: RunFolder | None) -> None:
    """
    Record every executor of this process that names no run of its own, and its marks and spans outside of calls, here.

    The folder stays the caller's to close. None: no longer.
    """
    global _ambient
    before, _ambient = _ambient, folder
    if folder is not None:
        folder.listen()
    if before is not None:
        before.stop_listening()
