"""
Ctrl-C (SIGINT) and SIGTERM as something to decide about, not as an exception in the middle of anything.

    before `note`            raised as `Interrupted`, wherever the main thread is
    after `note`             noted, and whoever waits is woken; raised only inside `raising()`
    the second one           the process ends at once; workers go with it
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """
    Somebody wants the command to end.

    Attributes:
        signal: which signal said so.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number

    @property
    def exit_code(self) -> int:
        """The shell's convention."""
        return 128 + self.signal


class Interrupts:
    """
    Takes the two signals over, for the rest of the process. Only in the main thread.

    Attributes:
        noted: the signal that arrived; None before one did.
    """

    def __init__(self) -> None:
        self.noted: int | None = None
        self._raising = True
        for number in (signal.SIGINT, signal.SIGTERM):
            # Whoever started us may have asked that we ignore one, as nohup-like tools do.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._arrived)

    def note(self, wake: Callable[[], None]) -> None:
        """From now on keep a signal for `check`, and call `wake` from another thread when one has arrived."""
        self._raising = False
        # The main thread cannot wake itself: a signal that arrives just before it begins to wait interrupts nothing.
        # The interpreter's own handler, in C, writes to this pipe.
        arrivals, arrived = os.pipe()
        os.set_blocking(arrived, False)
        signal.set_wakeup_fd(arrived)
        threading.Thread(target=_wake_at_each, args=(arrivals, wake), name="coeval-interrupts", daemon=True).start()

    def check(self) -> None:
        """
        Be interrupted here, where it is safe.

        Raises:
            Interrupted: a signal arrived.
        """
        if self.noted is not None:
            raise Interrupted(self.noted)

    @contextlib.contextmanager
    def raising(self, wanted: bool = True) -> Iterator[None]:
        """Inside, a signal is raised at once if `wanted`: for what may take for ever."""
        self._raising = wanted
        try:
            yield
        finally:
            self._raising = False

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if self.noted is not None:
            os.write(2, b"\ninterrupted again: ended at once\n")
            os._exit(128 + number)
        self.noted = number
        if self._raising:
            raise Interrupted(number)


def _wake_at_each(arrivals: int, wake: Callable[[], None]) -> None:
    while os.read(arrivals, 1):
        wake()
