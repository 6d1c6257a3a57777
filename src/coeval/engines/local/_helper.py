"""
The thread that reads results while nobody who waits does it.

Whoever waits for a result reads the pipes himself, as every hop between threads costs as much as a call. But somebody
may wait elsewhere (`as_completed`, a callback, an event loop) or not wait at all. So this thread looks, about once in a
millisecond while there is work and less often while others read, whether anybody has read since the last look; if not
it reads until somebody wants to. While there is no work, or somebody reads for long, it sleeps and must be woken.
"""

from __future__ import annotations

import _thread
import contextlib
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coeval.engines.local._pool import LocalEngine

# Shorter: it costs more while others read. Longer: results that nobody waits for by `result()` come home later.
LOOK_EVERY_S = 0.001

# While others read it looks less and less often, down to this.
# Shorter: each look takes 25 us from the workers. Longer: when they stop reading, the next results come home later.
LOOK_EVERY_S_MAX = 0.002

# After so many looks in a row that found no work, or somebody reading, it sleeps until it is woken.
# Fewer: a chain of calls wakes it now and then. More: an idle pool wakes up more often before it is quite still.
LOOKS_BEFORE_SLEEP = 20


class Helper:
    """
    One for each pool; its thread starts with the first work.

    Attributes:
        sleeps: until it is woken.
    """

    def __init__(self, pool: LocalEngine) -> None:
        self._pool = pool
        self._bell = _thread.allocate_lock()
        self._bell.acquire()
        self.sleeps = False
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """
        Start, if that has not been done.

        Raises:
            RuntimeError: there are too many threads, or the interpreter is shutting down.
        """
        if self.thread is None:
            thread = threading.Thread(target=self._run, name="coeval-local-pool", daemon=True)
            thread.start()
            self.thread = thread

    def wake(self) -> None:
        """There is work, and nobody reads."""
        if self.sleeps:
            self.sleeps = False
            with contextlib.suppress(RuntimeError):  # somebody else woke it just now
                self._bell.release()

    def _run(self) -> None:
        pool = self._pool
        looks, seen, pause_s = 0, -1, LOOK_EVERY_S
        while not pool.is_closing:
            if pool.is_busy and not pool.is_being_read:
                looks = 0
                if pool.reads == seen:
                    pool.read_for_everybody()
                    pause_s = LOOK_EVERY_S
                else:
                    pause_s = min(2 * pause_s, LOOK_EVERY_S_MAX)
                seen = pool.reads
            else:
                looks += 1
                pause_s = LOOK_EVERY_S_MAX if pool.is_being_read else LOOK_EVERY_S
                if looks >= LOOKS_BEFORE_SLEEP:
                    looks = 0
                    self.sleeps = True
                    # Whoever brings work, or stops reading, first does that and then looks whether we sleep.
                    if not pool.is_closing and (not pool.is_busy or pool.is_being_read):
                        self._bell.acquire()
                    self.sleeps = False
                    continue
            self._bell.acquire(timeout=pause_s)
