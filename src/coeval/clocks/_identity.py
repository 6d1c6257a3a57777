"""
Which clock is this? Told by what the clock is, never by host name or address.

A clock's identity is its kernel's boot id, the time namespace (two of them on one kernel have monotonic clocks that
differ), the clock's name, and a generation, which a snapshot that was restored or a suspend raises. Processes with one
identity share one clock: their offset is zero. That is a claim, and alignment checks it against every message.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NewType

    from coeval.clocks._clock import Clock

    ClockId = NewType("ClockId", str)
else:
    ClockId = str
"""`boot-id/time-namespace/clock-name[#generation]`, or whatever `COEVAL_CLOCK_ID` says. A text at run time."""

UTC = ClockId("utc")
"""The reference of instants that anchors tie to UTC. No process reads this clock."""


def clock_id(clock: Clock, *, generation: int = 0) -> ClockId:
    """
    Identify a clock of this process.

    `COEVAL_CLOCK_ID` overrides the host's part, for cloned machines that share a boot id and for tests.
    """
    host = os.environ.get("COEVAL_CLOCK_ID") or _host_part()
    return ClockId(f"{host}/{clock.name}#{generation}" if generation else f"{host}/{clock.name}")


_host_part_read = ""


def _host_part() -> str:
    """The boot id and the time namespace; read once, as neither changes while a process lives."""
    global _host_part_read
    if not _host_part_read:
        _host_part_read = f"{_boot_id()}/{_time_namespace()}"
    return _host_part_read


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:  # not Linux: the node name is the best there is, and the claim is checked in any case
        import platform

        return platform.node()


def _time_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/time").strip("time:[]")  # noqa: PTH115  # pathlib is slow to import
    except OSError:
        return "0"
