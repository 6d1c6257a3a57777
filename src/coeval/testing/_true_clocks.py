"""
The true clocks, read by a program on a skewed host: past the preloaded library, and past its time namespace.

So a test's own calls can say what time it truly was, on a way that the skew cannot touch: the C library's own
`clock_gettime`, asked for by name from that library, which no preloading changes. What the host's time namespace adds
to the raw clock is a constant that the test set; it stands in the skew file.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from functools import cache
from typing import Any, NamedTuple

# struct SkewFile of skewclock.c: where it says what the time namespace adds to the true raw clock.
_RAW_AHEAD = struct.Struct("=q")
_RAW_AHEAD_AT = 16


class TrueTimes(NamedTuple):
    """
    What the clocks of the process that made the host read, int64 ns.

    The wall clock was read before the raw clock.
    """

    wall_ns: int
    raw_ns: int


def true_times() -> TrueTimes:
    """Read the true clocks; anywhere, also on a skewed host. Costs about 2 us."""
    read, raw_ahead_ns = _reader()
    return TrueTimes(read(time.CLOCK_REALTIME), read(time.CLOCK_MONOTONIC_RAW) - raw_ahead_ns)


@cache
def _reader() -> tuple[Any, int]:
    library = ctypes.CDLL("libc.so.6", use_errno=True)
    timespec = ctypes.c_int64 * 2

    def read(clock: int) -> int:
        value = timespec()
        if library.clock_gettime(clock, value):
            raise OSError(ctypes.get_errno(), f"clock {clock}: {os.strerror(ctypes.get_errno())}")
        return value[0] * 1_000_000_000 + value[1]

    path = os.environ.get("COEVAL_SKEW_FILE")
    if path is None:
        return read, 0
    with open(path, "rb") as file:
        file.seek(_RAW_AHEAD_AT)
        return read, int(_RAW_AHEAD.unpack(file.read(_RAW_AHEAD.size))[0])
