"""
Clocks of other hosts while calls run: every outcome tells of one, and a wall clock that is wrong is warned of.

    outcome ──> LiveClocks: far raw clock minus ours, as an interval
    its snapshot: far wall minus far raw      ┐
    ours, now: our wall minus our raw         ┴──> far wall minus our wall, as an interval ──> warn?

Only an interval warns that does not contain what the user tolerates: so a call that waited in a queue, or a slow
network, which make intervals wide, warn of nothing. Local time is nowhere in it, so a wrong `TZ` does neither.
"""

from __future__ import annotations

import threading
from collections import deque

from coeval.clocks._clock import Snapshot
from coeval.clocks._named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coeval.clocks import Clock, ClockId
    from coeval.engines import LiveClocks, Outcome, Worker
    from coeval.recording import Event

# A wall clock may have been slewed so much since it was read: what the kernel does at most by itself, and ntpd. That of
# alignment (`SLEW_BOUND_PPM_DEFAULT`), which tests hold.
SLEW_BOUND_PPM = 500

# A clock is warned of again when it is wrong by so many times what the last warning said.
WORSE = 2

# Our own last snapshots that are kept. One before the far clock was read must be among them, or nothing is concluded:
# fewer leave more unsaid where outcomes with snapshots of hundreds of workers come at once.
SNAPSHOTS_KEPT = 64

# While outcomes come we read our own wall clock at least so often. Longer: more of it may have been slewed unseen.
OURS_EVERY_NS = 5_000_000_000


class WallOffset(NamedTuple):
    """
    How far a far wall clock is ahead of ours, ns: between these.

    Attributes:
        least_ns, greatest_ns: the bounds.
    """

    least_ns: int
    greatest_ns: int

    @property
    def surely_ns(self) -> int:
        """By how much it is wrong at the least; 0 if it may be right."""
        return max(self.least_ns, -self.greatest_ns, 0)


def wall_offset(
    far: Snapshot, raw_offset_ns: tuple[int | None, int | None], ours: tuple[Snapshot, ...], now: Snapshot
) -> WallOffset | None:
    """
    Bound a far wall clock's offset against ours: far minus ours; positive means the far one is ahead.

    Holds for the moment at which the far clock was read, wherever between then and now our own wall clock was set (once
    in each gap of `ours`).

    Args:
        far: a snapshot of the far host.
        raw_offset_ns: bounds of the far raw clock minus ours, now.
        ours: earlier snapshots of our host, in their order.
        now: one that was just taken.

    Returns:
        None: a bound is unknown, or none of ours is old enough.
    """
    least_ns, greatest_ns = raw_offset_ns
    if least_ns is None or greatest_ns is None:
        return None
    age_ns = max(0, now.raw_after_ns + greatest_ns - far.raw_before_ns)
    slewed_ns = -(-age_ns * SLEW_BOUND_PPM // 1_000_000)
    # Ours from the last one that was surely taken before the far clock was read.
    read_earliest_ns = far.raw_before_ns - greatest_ns - slewed_ns
    before = [place for place, each in enumerate(ours) if each.raw_after_ns <= read_earliest_ns]
    if not before:
        return None
    # At that moment ours was what one of these says, give or take a slew: it may have been set meanwhile.
    least, greatest = _wall_minus_raw(now, slewed_ns)
    for each in ours[before[-1] :]:
        apart_ns = max(now.raw_after_ns - each.raw_before_ns, age_ns)
        then = _wall_minus_raw(each, -(-apart_ns * SLEW_BOUND_PPM // 1_000_000))
        least, greatest = min(least, then[0]), max(greatest, then[1])
    # The raw clocks have moved apart since; by less than wall clocks are slewed.
    return WallOffset(
        far.realtime_ns - far.raw_after_ns + least_ns - greatest - slewed_ns,
        far.realtime_ns - far.raw_before_ns + greatest_ns - least + slewed_ns,
    )


class FarClocks:
    """
    Follows the clocks of other hosts; safe from any thread.

    Args:
        clock: ours.
        live: what is known of theirs.
        warning_ns: how far a wall clock may surely be off before it is warned of; None: nobody is warned.
    """

    def __init__(self, clock: Clock, live: LiveClocks, warning_ns: int | None) -> None:
        self._clock = clock
        self._live = live
        self._warning_ns = warning_ns
        self._lock = threading.Lock()
        self._ours: deque[Snapshot] = deque(maxlen=SNAPSHOTS_KEPT)
        self._due_ns = 0
        self._read_ours()
        self._warned: dict[ClockId, int] = {}

    def note(self, outcome: Outcome) -> None:
        """Take an outcome: its stamps and, every few seconds, its snapshot of the worker's clocks."""
        worker = outcome.worker
        if worker is None or worker.clock == self._live.own:
            return
        self._live.heard(worker.clock, outcome.stamps)
        if self._warning_ns is not None:
            if outcome.stamps.seen_ns >= self._due_ns:
                self._read_ours()
            for event in outcome.events:
                if event.kind == "clock":
                    self._check(worker, event, self._warning_ns)

    def _read_ours(self) -> Snapshot:
        now = self._clock.snapshot()
        with self._lock:
            self._ours.append(now)
            self._due_ns = now.raw_after_ns + OURS_EVERY_NS
        return now

    def _check(self, worker: Worker, event: Event, warning_ns: int) -> None:
        with self._lock:
            ours = tuple(self._ours)
        now = self._read_ours()
        raw_offset_ns = self._live.offset(worker.clock).bounds_ns(now.raw_after_ns)
        offset = wall_offset(_snapshot_of(event), raw_offset_ns, ours, now)
        if offset is None:
            return
        with self._lock:
            if offset.surely_ns <= max(warning_ns, WORSE * self._warned.get(worker.clock, 0)):
                return
            self._warned[worker.clock] = offset.surely_ns
        _warn(worker, offset, warning_ns)


def warning_text(worker: Worker, offset: WallOffset, warning_ns: int) -> str:
    """Whose clock, how far it is off, and what to do."""
    least_s, greatest_s = sorted((abs(offset.least_ns) / 1e9, abs(offset.greatest_ns) / 1e9))
    return (
        f"the wall clock of {worker.host} is {least_s:.6f} to {greatest_s:.6f} s "
        f"{'ahead of' if offset.least_ns > 0 else 'behind'} this host's, more than the {warning_ns / 1e9:g} s that are "
        f"tolerated. The timeline allows for it; times that calls write there are wrong against those written here. "
        f"Set one of the two right (chrony, systemd-timesyncd), or tolerate it: Executor(clock_warning=SECONDS), None "
        f"for any."
    )


def _warn(worker: Worker, offset: WallOffset, warning_ns: int) -> None:
    import warnings

    from coeval.errors import ClockWarning

    text = warning_text(worker, offset, warning_ns)
    try:
        warnings.warn(text, ClockWarning, stacklevel=2)
    except ClockWarning:
        # Where warnings are errors. The thread that brings outcomes has nobody who would catch it, and calls that are
        # well shall not end for it.
        import logging

        logging.getLogger("coeval.executor").error(text)


def _wall_minus_raw(snapshot: Snapshot, slewed_ns: int) -> tuple[int, int]:
    wall_ns = snapshot.realtime_ns
    return wall_ns - snapshot.raw_after_ns - slewed_ns, wall_ns - snapshot.raw_before_ns + slewed_ns


def _snapshot_of(event: Event) -> Snapshot:
    realtime_ns, boottime_ns, after_ns = event.fields["realtime_ns"], event.fields["boottime_ns"], event.end_ns
    assert isinstance(realtime_ns, int)
    assert isinstance(boottime_ns, int)
    assert after_ns is not None
    return Snapshot(event.reading_ns, realtime_ns, boottime_ns, after_ns)
