"""
WorkerDied alone, because of its second base class.

The module of that brings multiprocessing along, 10 to 20 ms. A pool that lost a worker is to be whole again before
that, and no program needs it that does not ask for it. So the class has its standard base from the moment at which
somebody can tell (see `_late_bases.py`).
"""

from __future__ import annotations

import sys

from coeval._late_bases import when_imported
from coeval.errors import CallFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures.process import BrokenProcessPool
    from typing import Any
else:
    BrokenProcessPool = RuntimeError  # which it is derived from

# The second one is derived from the first.
_HOMES = (("concurrent.futures._base", "BrokenExecutor"), ("concurrent.futures.process", "BrokenProcessPool"))


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

    def __init__(self, message: str, **facts: Any) -> None:
        _derive()  # if an import had begun in another thread before there was a finder for it
        super().__init__(message, **facts)


WorkerDied.__module__ = "coeval.errors"


def _derive() -> None:
    """Make it one of the standard class that there is."""
    for home, name in reversed(_HOMES):
        base: Any = getattr(sys.modules.get(home), name, None)
        if base is not None:
            if WorkerDied.__bases__[-1] is not base:
                WorkerDied.__bases__ = (CallFailed, base)
            return


for _home, _ in _HOMES:
    if _home not in sys.modules:
        when_imported(_home, _derive)
_derive()
