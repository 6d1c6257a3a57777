"""Where the kernel has put this thread, and how something is done on another core."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def this_core() -> int:
    """
    The core that this thread is on, until the kernel moves it.

    Raises:
        OSError: the system is not Linux, or hides it.
    """
    return _core_in("/proc/thread-self/stat")


def core_of(pid: int) -> int:
    """
    The core that a process's first thread is on, or was when it went to sleep.

    Raises:
        OSError: as for `this_core`; or it has ended.
    """
    return _core_in(f"/proc/{pid}/stat")


def _core_in(path: str) -> int:
    with open(path, "rb", buffering=0) as file:
        # The 39th field; the second one, a name in brackets, may have anything in it.
        fields = file.read(1024).rpartition(b")")[2].split()
    try:
        return int(fields[36])
    except (IndexError, ValueError):
        raise OSError(f"{path} does not tell the core") from None


class Elsewhere:
    """
    Another process is kept off this thread's core, from `begin` to `end`, if that is where it was last. Who wakes it
    meanwhile wakes it on another one.

    Nothing is done where it may run on this core only, or where the system tells no cores. Threads and children that
    it makes meanwhile would be kept off for good.
    """

    __slots__ = ("_allowed", "_pid")

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._allowed: Iterable[int] = ()

    def begin(self) -> bool:
        """Keep it off; False: it need not, or cannot."""
        try:
            core = this_core()
            if core_of(self._pid) == core:
                allowed = os.sched_getaffinity(self._pid)
                others = allowed - {core}
                if others:
                    self._allowed = allowed
                    os.sched_setaffinity(self._pid, others)
                    return True
        except (OSError, AttributeError):  # it has ended; or no Linux
            pass
        return False

    def end(self) -> None:
        """It may run where it could before."""
        if self._allowed:
            try:  # noqa: SIM105  # `contextlib` is not free
                os.sched_setaffinity(self._pid, self._allowed)
            except OSError:
                pass


def move_off_this_core(pid: int) -> None:
    """Have another process that runs on this thread's core go on on another one, if there is one for it."""
    elsewhere = Elsewhere(pid)
    elsewhere.begin()
    elsewhere.end()
