"""
The memory limit of one call: how far the worker that runs it may grow meanwhile.

The kernel keeps it (`RLIMIT_DATA`), so it also holds inside C code: an allocation beyond it fails, Python and numpy
make a `MemoryError` of that, and the call ends alone in a worker that lives on. Turned down: reading the worker's size
from outside, and killing it. What grows within milliseconds is seen too late, when the machine's memory is gone.

Counted is what the kernel calls data: the heap and private writable mappings, by address space, touched or not. Not
counted: shared memory (a large result on its way home), files mapped for reading, stacks, and processes that the call
starts, each of which has the same limit for itself. What earlier calls freed, and the allocator kept, is in the size
that the worker had before, so a call may use it beyond its limit.
"""

from __future__ import annotations

# What the system calls know as a limit; nothing has that much.
_LIMIT_MAX = (1 << 63) - 1


class MemoryCeiling:
    """
    Holds the growth of this process between `lower` and `lift`. Only right where it runs one call at a time.

    Args:
        bytes_max: the growth allowed.
    """

    def __init__(self, bytes_max: int) -> None:
        import resource  # only calls with a limit pay for it

        self._bytes_max = bytes_max
        self._resource = resource
        self._before = (-1, -1)

    def lower(self) -> None:
        """From now on, no more than that beyond what the process has now. A narrower limit of the system's stays."""
        resource = self._resource
        self._before = soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min(_data_bytes() + self._bytes_max, *limits, _LIMIT_MAX), hard))

    def lift(self) -> None:
        """As before."""
        try:  # noqa: SIM105  # `contextlib` is not free
            self._resource.setrlimit(self._resource.RLIMIT_DATA, self._before)
        except (OSError, ValueError):
            pass  # the call itself narrowed the hard limit, which nothing undoes


def _data_bytes() -> int:
    # `statm` would be quicker, and counts the stacks too.
    with open("/proc/self/status", "rb", buffering=0) as file:
        text = file.read(4096)
    return int(text.partition(b"\nVmData:")[2].split(None, 1)[0]) * 1024
