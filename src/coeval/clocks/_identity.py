"""
Which clock is this? Told by what the clock is, never by host name or address.

A clock's identity is its kernel's boot id, the time namespace (two of them on one kernel have monotonic clocks that
differ), the clock's name, and a generation, which a snapshot that was restored or a suspend raises. Processes with one
identity share one clock: their offset is zero. That is a claim, and alignment checks it against every message.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import NewType

from coeval.clocks._clock import Clock

ClockId = NewType("ClockId", str)
"""`boot-id/time-namespace/clock-name[#generation]`, or whatever `COEVAL_CLOCK_ID` says."""

UTC = ClockId("utc")
"""The reference of instants that anchors tie to UTC. No process reads this clock."""


def clock_id(clock: Clock, *, generation: int = 0) -> ClockId:
    """
    Identify a clock of this process.

    `COEVAL_CLOCK_ID` overrides the host's part, for cloned machines that share a boot id and for tests.
    """
    host = os.environ.get("COEVAL_CLOCK_ID") or _host_part()
    return ClockId(f"{host}/{clock.name}#{generation}" if generation else f"{host}/{clock.name}")


@cache
def _host_part() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: the node name is the best there is, and the claim is checked in any case
        boot = platform.node()
    try:
        namespace = str(Path("/proc/self/ns/time").readlink()).strip("time:[]")
    except OSError:
        namespace = "0"
    return f"{boot}/{namespace}"
