"""
Whether the kernel ended a process for want of memory: it counts those of each control group.

The count says that it happened, not to whom. It rises before the process gets its SIGKILL, so a worker that was killed
and whose group's count rose since the last look is taken for one of them; each rise accounts for one worker.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryKills:
    """
    Looks at the counts, from now on.

    Args:
        paths: files with a line "oom_kill <count>"; None: those of this process's control group, or, where it has
            none that counts, that of the whole machine. Workers are in the same group, as they are started from here.
    """

    def __init__(self, paths: Sequence[str] | None = None) -> None:
        self._paths = counting_files() if paths is None else paths
        self._accounted = self._count()

    def account_for_one(self) -> bool:
        """Has the kernel ended a process that no earlier call of this accounted for?"""
        if self._count() <= self._accounted:
            return False
        self._accounted += 1
        return True

    def _count(self) -> int:
        for path in self._paths:
            count = _read_count(path)
            if count is not None:
                return count
        return 0


def counting_files(groups: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup") -> list[str]:
    """Where to look, best first: control groups version 2, version 1, and the machine."""
    found = []
    try:
        with open(groups, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # in a container the group's path may be told as from outside, and is mounted at the root
            found += [f"{root}{path}/memory.events", f"{root}/unified{path}/memory.events", f"{root}/memory.events"]
        elif "memory" in controllers.split(","):
            found += [f"{root}/memory{path}/memory.oom_control", f"{root}/memory/memory.oom_control"]
    return [*found, "/proc/vmstat"]


def _read_count(path: str) -> int | None:
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None
