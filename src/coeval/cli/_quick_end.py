"""
The end of a process that has nothing left to do.

Before a process ends, Python looks through all objects for garbage, takes all modules apart and frees what they hold:
after a merge that is 60 ms, of memory that the system takes back anyway.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_is_allowed = False


def allow_quick_end() -> None:
    """Said by a command that has closed all that it opened, and ran no code of users."""
    global _is_allowed
    _is_allowed = True


@contextmanager
def ending_quickly() -> Iterator[None]:
    """
    What is inside ends with `SystemExit`. Where that was allowed, the process ends here.

    Whoever asked to be called at the end is called, and output is flushed. With other threads, or where output cannot
    be flushed, the process ends the usual way, which waits for them, and says what is wrong.
    """
    try:
        yield
    except SystemExit as end:
        # Not private in effect: it is how Python itself calls them, and calls none twice.
        call_all = getattr(atexit, "_run_exitfuncs", None)
        if not _is_allowed or call_all is None or threading.active_count() > 1 or not isinstance(end.code, int):
            raise
        call_all()
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        except (OSError, ValueError):
            raise end from None
        os._exit(end.code)
