"""
A gate: calls wait at it until the test opens it, so that a test says when a call ends and never sleeps.

It is a folder, because a folder is what processes of any engine on one file system share. Nobody waits at it for ever:
where a call runs in the very thread that would open the gate, the call gives up and raises `GateNeverOpened`.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# How often waiters look. Shorter burns the cores that the calls need; longer makes every test longer.
LOOK_S = 0.003

_arrivals = itertools.count()


class GateNeverOpened(Exception):
    """Nobody opened the gate while a call waited at it, or too few calls came to it."""


@dataclass(frozen=True)
class Gate:
    """
    Holds calls back. Send it to the calls as an argument.

    Attributes:
        folder: a new folder that caller and workers see.
        patience_s: how long anybody waits.
    """

    folder: Path
    patience_s: float

    def open(self) -> None:
        """Let everybody pass, now and later."""
        (self.folder / "open").touch()

    def wait(self) -> None:
        """
        Arrive, and wait until the gate is open (a call's side).

        Raises:
            GateNeverOpened: it stayed shut. Who comes later is told so at once.
        """
        (self.folder / f"arrived-{os.getpid()}-{threading.get_ident()}-{next(_arrivals)}").touch()
        if (self.folder / "given-up").exists() or not wait_until((self.folder / "open").exists, self.patience_s):
            (self.folder / "given-up").touch()
            raise GateNeverOpened(f"gate {self.folder} did not open within {self.patience_s:g} s")

    def arrived(self) -> list[int]:
        """Process ids of the calls that came so far, one entry for each."""
        return [int(path.name.split("-")[1]) for path in self.folder.glob("arrived-*")]

    def wait_for_arrivals(self, count: int) -> list[int]:
        """
        Wait until `count` calls have come (the test's side).

        Returns:
            Their process ids.

        Raises:
            GateNeverOpened: fewer came.
        """
        if not wait_until(lambda: len(self.arrived()) >= count, self.patience_s):
            raise GateNeverOpened(
                f"{len(self.arrived())} of {count} calls came to {self.folder} in {self.patience_s:g} s"
            )
        return self.arrived()


def wait_until(is_true: Callable[[], bool], patience_s: float) -> bool:
    """Look until it is true or `patience_s` passed; tells which."""
    deadline_s = time.monotonic() + patience_s
    never = threading.Event()
    while not is_true():
        if time.monotonic() > deadline_s:
            return False
        never.wait(LOOK_S)
    return True
