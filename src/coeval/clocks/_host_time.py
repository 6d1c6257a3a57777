"""
What this host itself knows of UTC, as an anchor of its raw clock: chrony's bound, or else the kernel's.

The one who knows is asked between two snapshots of the host's clocks:

    snapshot   RAW, REALTIME, RAW
    asked      the wall clock is within so much of UTC
    snapshot   RAW, REALTIME, RAW

The answer belongs to a moment between the two. How far the wall clock was slewed or set from one snapshot to the other
is read off them and added, so no slew rate is taken for granted. ntpd is asked by way of the kernel, which it tells its
own bound. What tells no bound gives no anchor, and says why.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from math import ceil
from typing import Literal, NamedTuple

from coeval.clocks._chrony import CHRONY_PORT, NoTracking, read_chrony
from coeval.clocks._clock import Clock, Snapshot
from coeval.clocks._host import Synchronisation, read_synchronisation
from coeval.clocks._identity import ClockId
from coeval.clocks._message import Anchor

CHRONY_SOURCE = "chrony of "
"""How the names of sources that are chrony's word begin; a host's name follows."""

# The raw clock between the two snapshots: far beyond any oscillator.
_RAW_RATE_BOUND_PPM = 1000


class HostTime(NamedTuple):
    """
    Attributes:
        anchor: UTC at a reading of the raw clock; None: nothing here knows a bound.
        asked: who gave it: "chrony", "kernel"; "": nobody.
        reasons: why those who were asked and gave nothing did not, one clause each.
    """

    anchor: Anchor | None
    asked: Literal["chrony", "kernel", ""]
    reasons: tuple[str, ...]


def read_host_time(
    clock: Clock,
    clock_id: ClockId,
    *,
    chrony_port: int = CHRONY_PORT,
    kernel: Callable[[], Synchronisation] = read_synchronisation,
) -> HostTime:
    """
    Ask chrony, and the kernel if chrony gives nothing. Takes about a millisecond.

    Args:
        clock: this host's clocks.
        clock_id: the raw one's id.
        chrony_port: where chronyd takes commands, UDP on loopback.
        kernel: asks the kernel.
    """
    host = os.uname().nodename if hasattr(os, "uname") else "this host"
    reasons = []
    before = clock.snapshot()
    try:
        max_error_ns = read_chrony(clock, chrony_port).max_error_ns
    except NoTracking as reason:
        reasons.append(str(reason))
    else:
        return HostTime(
            anchor_between(before, clock.snapshot(), clock_id, max_error_ns, f"{CHRONY_SOURCE}{host}"), "chrony", ()
        )
    before = clock.snapshot()
    told = kernel()
    after = clock.snapshot()
    if told.max_error_ns is not None:
        anchor = anchor_between(before, after, clock_id, told.max_error_ns, f"kernel of {host}")
        return HostTime(anchor, "kernel", tuple(reasons))
    state = {"yes": "tells no bound", "no": "is not synchronised", "unknown": "cannot be asked"}[told.synchronised]
    return HostTime(None, "", (*reasons, f"the kernel's clock {state}"))


def anchor_between(before: Snapshot, after: Snapshot, clock: ClockId, max_error_ns: int, source: str) -> Anchor:
    """
    The anchor of a bound that was told between two snapshots.

    Args:
        max_error_ns: how far the wall clock was from UTC at some moment between the two.
    """
    least, greatest = _wall_ahead(after)
    least_before, greatest_before = _wall_ahead(before)
    moved_ns = max(greatest - least_before, greatest_before - least, 0)
    passed_ns = after.raw_after_ns - before.raw_before_ns
    width_ns = after.raw_after_ns - after.raw_before_ns
    error_ns = max_error_ns + moved_ns + ceil(passed_ns * _RAW_RATE_BOUND_PPM / 1e6) + width_ns
    return Anchor(
        clock,
        after.raw_before_ns + width_ns // 2,
        after.realtime_ns - error_ns,
        after.realtime_ns + error_ns,
        source,
    )


def _wall_ahead(snapshot: Snapshot) -> tuple[int, int]:
    """The wall clock minus the raw one, as an interval."""
    return snapshot.realtime_ns - snapshot.raw_after_ns, snapshot.realtime_ns - snapshot.raw_before_ns
