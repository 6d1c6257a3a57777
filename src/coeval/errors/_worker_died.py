"""
WorkerDied alone, because its second base class costs an import of multiprocessing (see `coeval.errors.__getattr__`).
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

from coeval.errors import CallFailed


class WorkerDied(CallFailed, BrokenProcessPool):
    """
    The worker that ran this attempt ended under it. Only this attempt fails; the executor goes on with a new worker.

    Attributes:
        signal: name of the signal that ended the worker, such as "SIGKILL"; "" if it exited by itself or the engine
            cannot tell.
        exit_code: what the process exited with; None if a signal ended it or the engine cannot tell.
    """

    signal: str = ""
    exit_code: int | None = None


WorkerDied.__module__ = "coeval.errors"
