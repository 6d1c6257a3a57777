"""
A caller and its worker on one core, although another one is free.

Where calls come one after the other, caller and worker take turns, and each looks for the other's word for a moment
instead of sleeping. That works on two cores. On one, each finds the caches full of the other's things at every turn,
and a call takes twice as long. The kernel is of little help: it wakes a sleeper on a core that idles, but on a virtual
machine a core that has halted is with the hypervisor and does not count as idle, so a worker wakes beside the caller
that has woken it, and stays there.

So the caller, who notices because others run for long when it lets them, hands over the next batch in such a way that
the worker takes it up on another core. Where that core turns out to be busy too, it is tried ever less often.
"""

from __future__ import annotations

# When letting others run takes this long, one of them did something, and it was no interrupt.
# Shorter: interrupts of virtual machines count. Longer: a worker that does an empty call does not.
CROWDED_NS = 15_000

# After so many crowded waits in a row the two are parted.
# Fewer: a program with two or three calls pays for it, some 0.2 ms, and has nothing of it. More: a chain of calls is
# slow for longer.
CROWDED_WAITS = 3

# They are parted once in so long; twice as long each time that it did not help.
# Shorter: where it does not help, calls pay for it more often. Longer: those that were brought together again by
# whatever else woke up stay so for longer.
PAUSE_NS_MIN = 1_000_000
PAUSE_NS_MAX = 1_000_000_000

# Whoever waits for a result looks three times so often before it sleeps: about 60 us.
# Fewer: a chain of calls waits for this process to wake, some 30 us each. More: it takes time from others.
LOOKS_BEFORE_SLEEP = 40

# After parting: about 0.4 ms, as a core that has halted wakes slowly. Who sleeps meanwhile may be woken beside the
# worker again.
LOOKS_AFTER_PARTING = 250


class Crowding:
    """
    When to part them; the clock is an argument.

    Attributes:
        waits: how many in a row were crowded.
        wrote_ns: how long the last handing over took: a worker that wakes on this core may run at once, before that has
            ended. None: nothing was handed over since the last wait.
    """

    # Those who hand over and those who read may be several threads. What they note may then be about each other's
    # calls, and for a while two are parted that need not be, or not those that should.
    __slots__ = ("_has_parted", "_not_before_ns", "_pause_ns", "waits", "wrote_ns")

    def __init__(self) -> None:
        self.waits = 0
        self.wrote_ns: int | None = None
        self._has_parted = False
        self._pause_ns = PAUSE_NS_MIN
        self._not_before_ns = 0

    def looks(self) -> int:
        """How often to look for the next result before sleeping."""
        return LOOKS_AFTER_PARTING if self._has_parted else LOOKS_BEFORE_SLEEP

    def looked(self, others_ns: int, *, is_there: bool) -> None:
        """
        Note how looking ended. It counts where something was handed over before.

        Args:
            others_ns: how long others ran, at most, when they were let.
            is_there: the result came meanwhile.
        """
        if self._has_parted:
            self._pause(PAUSE_NS_MIN if is_there else 2 * self._pause_ns)
        if self.wrote_ns is not None:
            self.waits = self.waits + 1 if max(others_ns, self.wrote_ns) >= CROWDED_NS else 0
            self.wrote_ns = None

    def parts(self, now_ns: int) -> bool:
        """Is the next batch to be taken up elsewhere? Then it is, and that counts."""
        if self.waits < CROWDED_WAITS or now_ns < self._not_before_ns:
            return False
        self.waits, self._has_parted, self._not_before_ns = 0, True, now_ns
        return True

    def was_apart(self) -> None:
        """They were not on one core after all: another thread of this process had the interpreter, or the like."""
        self._pause(2 * self._pause_ns)

    def _pause(self, pause_ns: int) -> None:
        self._has_parted = False
        self._pause_ns = min(pause_ns, PAUSE_NS_MAX)
        self._not_before_ns += self._pause_ns
