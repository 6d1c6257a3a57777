"""
Copying what is larger than the processor's caches.

Two threads take pieces of it in turn, so that whichever gets a core later, or a slower one, takes fewer. numpy copies
the pieces, as it lets go of the interpreter meanwhile: by `positive`, a plain loop, for `copyto` and slices call the C
library's `memmove`, which took an eighth longer for 100 MB on the machine where both were tried.
"""

from __future__ import annotations

import _thread
import os
import sys

from coeval.engines._this_core import this_core

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Move: TypeAlias = Callable[[int, int], object]

# The interpreter lets other threads run between two pieces.
# Shorter: the threads wait for each other more often. Longer: one of them ends later than the other.
PIECE_BYTES = 1 << 21
# What is longer is copied by two threads: one core alone does not move all that memory can.
# Shorter: a thread's start, 0.1 ms, shows, and who reads it next finds less of it in the caches.
LARGE_BYTES_MIN = 1 << 24
# So long the first thread waits for the second one to be on another core.
# Shorter: one that is late begins on the first one's core. Longer: where all cores are busy, that time is lost.
BEGIN_S_MAX = 0.001


def copy(target: memoryview, source: memoryview) -> None:
    """
    Copy bytes; both are flat and equally long.

    Other threads of the interpreter go on meanwhile, at the latest after each piece.
    """
    numpy: Any = sys.modules.get("numpy")  # whoever has large arrays has it
    if len(source) < LARGE_BYTES_MIN or not hasattr(numpy, "positive"):
        for begin in range(0, len(source), PIECE_BYTES):
            target[begin : begin + PIECE_BYTES] = source[begin : begin + PIECE_BYTES]
        return
    into, out = numpy.frombuffer(target, "u1"), numpy.frombuffer(source, "u1")
    _by_two_threads(lambda begin, end: numpy.positive(out[begin:end], into[begin:end]), len(out))


def _by_two_threads(move: Move, size: int) -> None:
    begins = list(range(0, size, PIECE_BYTES))[::-1]
    problems: list[BaseException] = []

    def take_pieces() -> None:
        while begins:
            try:
                begin = begins.pop()
            except IndexError:  # the other one took the last
                return
            move(begin, min(begin + PIECE_BYTES, size))

    def help_out() -> None:
        try:
            _move_to(others)
            has_begun.release()
            take_pieces()
        except BaseException as error:
            problems.append(error)
        finally:
            is_over.release()

    is_over, has_begun = _thread.allocate_lock(), _thread.allocate_lock()
    is_over.acquire()
    has_begun.acquire()
    others = _other_cores()
    try:
        _thread.start_new_thread(help_out, ())
    except RuntimeError:  # no more threads
        is_over.release()
        has_begun.release()
    try:
        has_begun.acquire(timeout=BEGIN_S_MAX)
        take_pieces()
    finally:
        begins.clear()  # if this one was interrupted, nothing is left to do for the other
        _acquire_in_any_case(is_over)
    if problems:
        raise problems[0]


def _acquire_in_any_case(lock: _thread.LockType) -> None:
    """Whoever interrupts once more must wait as well: the other thread writes into what would be given back."""
    interruption: BaseException | None = None
    while True:
        try:
            lock.acquire()
            break
        except BaseException as error:
            interruption = error
    if interruption is not None:
        raise interruption


def _move_to(cores: set[int]) -> None:
    """Have this thread, which ends with the copy, run on these cores only; if that may not be, it runs anywhere."""
    try:
        if cores:
            os.sched_setaffinity(0, cores)
    except OSError:
        pass


def _other_cores() -> set[int]:
    """
    Cores that this thread may use and does not use now; empty: unknown.

    A new thread begins on the core of the one that made it, and the kernel often leaves both there for a slice or two
    of 4 ms, in which a hundred megabytes could have been copied.
    """
    try:
        return os.sched_getaffinity(0) - {this_core()}
    except (OSError, AttributeError):  # no Linux
        return set()
