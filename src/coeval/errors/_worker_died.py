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
        last_lines: what the call logged last, oldest first; at most some lines, none where the engine cannot tell.
        crash: the Python stack at a crash in C code; "" if there was none or the engine cannot tell.
        memory_bytes_peak: most memory (resident) that the worker ever had; None if the engine cannot tell.
        is_out_of_memory: the kernel counted a process that it ended for want of memory when the worker died.
    """

    signal: str = ""
    exit_code: int | None = None
    last_lines: tuple[str, ...] = ()
    crash: str = ""
    memory_bytes_peak: int | None = None
    is_out_of_memory: bool = False


WorkerDied.__module__ = "coeval.errors"
