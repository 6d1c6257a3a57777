"""
What is known, while a run goes on, of the clocks of other hosts; and when one of them is to be asked.

    executor ── every outcome's stamps ──> LiveClocks <── "whom, and from when on?" ── engine, which asks
                                                      <── "asked now"

A call is a round trip between two clocks, so mostly the work itself keeps a bound narrow, and nobody is asked. Calls
that wait in queues, or run for long, do not. Then a probe does: an exchange that carries no call. Probes are asked for
only while work is out. While nothing runs nobody needs the clock, and an idle program is not to be woken; what was
known when the work ended bounds every time of it.
"""

from __future__ import annotations

import threading

from coeval.clocks._live_offset import LiveOffset
from coeval.clocks._named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from coeval.clocks import ClockId
    from coeval.engines._engine import Stamps

# A probe is asked so long before the bound would be too wide, so that it, and one more if it was slow, come in time.
# Shorter: one slow answer lets the bound grow too wide. Longer: more probes; the bound grows by 0.8 ms in this time.
LEAD_NS = 2_000_000_000

# The first probes of a clock may follow each other at once: the very first opens connections, and is slow. So only
# after these it is known what a round trip takes.
PROBES_FIRST = 5

# After these, a clock is asked at most so often, whatever width is wanted and however slow the answers are.
PROBE_EVERY_NS = 1_000_000_000

# The quickest of so many last round trips is what a probe can be expected to give. More: a path that became longer is
# noticed later. Fewer: a slow answer or two make the wanted width look out of reach.
ROUND_TRIPS_KEPT = 8

# Says how wide an interval may become where a program does not.
WIDTH_VARIABLE = "COEVAL_CLOCK_WIDTH"

# The word for "never" where there is no None.
NEVER = "none"


class Asked(NamedTuple):
    """
    How a clock was asked so far.

    Attributes:
        times: how often.
        last_ns: our clock when it was last asked.
        round_trips_ns: of the last answers, how long each was under way.
    """

    times: int = 0
    last_ns: int = 0
    round_trips_ns: tuple[int, ...] = ()


def probe_due_ns(offset: LiveOffset, asked: Asked, width_ns: int) -> int:
    """
    Decide when a clock is to be asked next, if nothing else is heard of it until then.

    Just before the interval of its offset would be wider than `width_ns`. Where the round trip takes longer than that
    no probe can keep it so narrow; then before it is wider than one and a half round trips.

    Args:
        offset: what is known of it.
        asked: how it was asked so far.
        width_ns: how wide the interval may become.

    Returns:
        A reading of our clock; one that is past means now.
    """
    allowed_ns = asked.last_ns + PROBE_EVERY_NS if asked.times >= PROBES_FIRST else asked.last_ns
    if len(asked.round_trips_ns) >= PROBES_FIRST:
        width_ns = max(width_ns, 3 * min(asked.round_trips_ns) // 2)
    too_wide_ns = offset.reaches_ns(width_ns)
    return allowed_ns if too_wide_ns is None else max(allowed_ns, too_wide_ns - LEAD_NS)


class LiveClocks:
    """
    The clocks of other hosts than ours; safe from any thread.

    Args:
        own: our clock. Who has the same one is never asked: there is nothing to learn.
        width_ns: how wide the interval of a clock's offset may become while work is out, ns; None: nobody is asked.
    """

    def __init__(self, own: ClockId, width_ns: int | None) -> None:
        self.own = own
        self.width_ns = width_ns
        self._lock = threading.Lock()
        self._offsets: dict[ClockId, LiveOffset] = {}
        self._asked: dict[ClockId, Asked] = {}

    def heard(self, clock: ClockId, stamps: Stamps) -> None:
        """Take an exchange with a clock, which may have carried a call."""
        with self._lock:
            self._offsets[clock] = self._offsets.get(clock, _NOTHING).after(*stamps)

    def offset(self, clock: ClockId) -> LiveOffset:
        """What is known of a clock."""
        return self._offsets.get(clock, _NOTHING)

    def asked(self, clock: ClockId, now_ns: int) -> None:
        """A clock is being asked, now."""
        with self._lock:
            before = self._asked.get(clock, _NEVER)
            self._asked[clock] = before._replace(times=before.times + 1, last_ns=now_ns)

    def answered(self, clock: ClockId, round_trip_ns: int) -> None:
        """It answered, so long after it was asked."""
        with self._lock:
            before = self._asked.get(clock, _NEVER)
            kept = (*before.round_trips_ns, round_trip_ns)[-ROUND_TRIPS_KEPT:]
            self._asked[clock] = before._replace(round_trips_ns=kept)

    def due_ns(self, clocks: Iterable[ClockId]) -> dict[ClockId, int]:
        """For each of these clocks that may have to be asked: from which reading of our clock on."""
        width_ns = self.width_ns
        if width_ns is None:
            return {}
        with self._lock:
            return {
                clock: probe_due_ns(self._offsets.get(clock, _NOTHING), self._asked.get(clock, _NEVER), width_ns)
                for clock in clocks
                if clock != self.own
            }


def clock_width_of(text: str, what: str) -> float | None:
    """
    Read a width as people write it outside of Python: seconds, or "none".

    Args:
        text: such as "0.005".
        what: how the one who wrote it calls it, such as "--clock-width".

    Raises:
        ValueError: it is neither.
    """
    if text.strip().lower() == NEVER:
        return None
    try:
        width_s = float(text)
    except ValueError:
        width_s = 0.0
    if not (0 < width_s < float("inf")):
        raise ValueError(f"{what} is {text!r}; expected seconds above 0, such as 0.005, or {NEVER}")
    return width_s


_NOTHING = LiveOffset()
_NEVER = Asked()
