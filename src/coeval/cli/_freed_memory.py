"""
Memory that was freed stays with the process, to be used again.

A merge makes and drops columns of megabytes for each stretch. The C library gives them back to the system, which clears
every page before it hands it out again: that took half a second of system time of merging five million rows. Arrow has
allocators of its own; the one that keeps most takes a tenth less memory and a twentieth less time than its usual one.
"""

from __future__ import annotations

import contextlib
import sys

# Of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_SIZE_MAX = 1 << 30


def keep_freed_memory() -> None:
    """For commands that end soon, in a process of their own. Where the C library is another one, nothing is changed."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    if setting is not None:
        setting(_M_MMAP_THRESHOLD, _SIZE_MAX)
        setting(_M_TRIM_THRESHOLD, _SIZE_MAX)
    import pyarrow as pa

    with contextlib.suppress(NotImplementedError):  # not every build has it
        pa.set_memory_pool(pa.jemalloc_memory_pool())
