"""
The only file that asks the operating system what time it is. Everything else is handed a `Clock`.

coeval's own stamps come from a clock that is neither stepped nor slewed (`CLOCK_MONOTONIC_RAW`). What the wall clock
showed at the same moment is kept beside it in a `Snapshot`, so that steps and slews of the wall clock are read off
later and never have to be inferred.
"""

from __future__ import annotations

import time
from types import MethodType

from coeval.clocks._named_tuple import NamedTuple

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol
else:  # a worker reads clocks before it needs anything of `typing`
    Protocol = object

# Snapshots taken to keep the tightest: one that an interrupt or a busy core falls into is replaced by a better one.
SNAPSHOT_TRIES = 5


class Snapshot(NamedTuple):
    """
    What three clocks of one host showed at (nearly) one moment, all int64 ns.

    The wall clock and the boot clock were read after `raw_before_ns` and before `raw_after_ns` of the raw clock.

    `boottime_ns` goes on while the host is suspended and raw does not, so their difference tells of a suspend. It is 0
    where the platform has no such clock.
    """

    raw_before_ns: int
    realtime_ns: int
    boottime_ns: int
    raw_after_ns: int


class Clock(Protocol):
    """What coeval may ask about time. Give another one to simulate a host whose clocks are wrong."""

    name: str
    """Which clock of the host `raw_ns` reads, such as "monotonic_raw"."""

    raw_ns: Callable[[], int]
    """One reading, int64 ns from an origin of the clock's own."""

    def snapshot(self) -> Snapshot:
        """Read the raw, the wall and the boot clock together, as tightly as `SNAPSHOT_TRIES` tries allow."""


class SystemClock:
    """The clocks of the host this process runs on."""

    name: str
    raw_ns: Callable[[], int]

    def __init__(self) -> None:
        if hasattr(time, "CLOCK_MONOTONIC_RAW"):
            self.name = "monotonic_raw"
            self.raw_ns = _reader(time.CLOCK_MONOTONIC_RAW)
        else:  # Windows: QueryPerformanceCounter, which nothing slews either
            self.name = "perf_counter"
            self.raw_ns = time.perf_counter_ns
        self._boottime_ns: Callable[[], int]
        if hasattr(time, "CLOCK_BOOTTIME"):
            self._boottime_ns = _reader(time.CLOCK_BOOTTIME)
        else:
            self._boottime_ns = int

    def snapshot(self) -> Snapshot:
        """Read the raw, the wall and the boot clock together, as tightly as `SNAPSHOT_TRIES` tries allow."""
        raw_ns, realtime_ns, boottime_ns = self.raw_ns, time.time_ns, self._boottime_ns
        tries = [Snapshot(raw_ns(), realtime_ns(), boottime_ns(), raw_ns()) for _ in range(SNAPSHOT_TRIES)]
        return min(tries, key=lambda s: s.raw_after_ns - s.raw_before_ns)


def _reader(clock: int) -> Callable[[], int]:
    """`time.clock_gettime_ns` of one clock. A method of the clock's number, so that calling it costs no frame."""
    return MethodType(time.clock_gettime_ns, clock)


SYSTEM_CLOCK: Clock = SystemClock()
