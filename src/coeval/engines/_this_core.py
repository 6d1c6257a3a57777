"""Where the kernel has put this thread, for those who want something done on another core."""

from __future__ import annotations


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
