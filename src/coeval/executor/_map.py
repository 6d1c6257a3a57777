"""`map`: lazy, bounded, in order."""

from __future__ import annotations

import itertools
import sys
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future
    from typing import Any

    from coeval.clocks import Clock

# Items submitted ahead of the one that is waited for: at least AHEAD_MIN, and AHEAD_PER_WORKER for each worker.
# Fewer: one long call at the head of the line leaves other workers idle. More: more arguments and results in memory at
# once.
AHEAD_MIN = 32
AHEAD_PER_WORKER = 4


def items_ahead(window: int, chunksize: int) -> int:
    """How many items `map` submits ahead of the one it waits for, given the engine's window in batches."""
    if window >= sys.maxsize:  # calls run as they are submitted: every one ahead only delays the first
        return chunksize
    return max(AHEAD_MIN, AHEAD_PER_WORKER * window) * chunksize


def bounded_map(
    submit: Callable[[list[tuple[Any, ...]]], list[Future[Any]]],
    items: Iterator[tuple[Any, ...]],
    *,
    chunksize: int,
    ahead: int,
    timeout_s: float | None,
    clock: Clock,
    give_up: Callable[[Iterable[Future[Any]]], object],
    on_end: Callable[[], object] = lambda: None,
) -> Iterator[Any]:
    """
    Yield results in order, with at most `ahead` items submitted and not yet yielded.

    The first items are submitted now, not at the first `next`, as `Executor.map` does. However the iterator ends, what
    has not started is cancelled (by `give_up`) and `on_end` called.
    """
    deadline_ns = None if timeout_s is None else clock.raw_ns() + round(timeout_s * 1e9)
    pending: deque[Future[Any]] = deque()

    size = min(chunksize, ahead)

    def top_up() -> None:
        # Whole chunks only: after each single result there would be room for a chunk of one.
        while len(pending) + size <= ahead:
            chunk = list(itertools.islice(items, size))
            if not chunk:
                return
            pending.extend(submit(chunk))

    def results() -> Generator[Any, None, None]:
        try:
            top_up()
            yield None  # asked for below: a generator that never began runs no `finally` when it is closed
            while pending:
                # Not kept in a variable: the caller may drop the result before the next one is made.
                yield _result(pending.popleft(), deadline_ns, clock)
                top_up()
        finally:
            give_up(pending)
            on_end()

    begun = results()
    next(begun)
    return begun


def _result(future: Future[Any], deadline_ns: int | None, clock: Clock) -> Any:
    try:
        if deadline_ns is None:
            return future.result()
        return future.result(max(0, deadline_ns - clock.raw_ns()) / 1e9)
    except BaseException:
        future.cancel()
        raise
    finally:
        del future  # breaks a cycle through the traceback


def check_map_arguments(chunksize: object, buffersize: object) -> None:
    """Refuse what `Executor.map` refuses, in its words."""
    if not isinstance(chunksize, int) or chunksize < 1:
        raise ValueError(f"chunksize is {chunksize!r}; expected a whole number from 1")
    if buffersize is not None and not isinstance(buffersize, int):
        raise TypeError(f"buffersize is {buffersize!r}; expected a whole number from 1, or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError(f"buffersize is {buffersize!r}; expected a whole number from 1, or None")


def zipped(iterables: tuple[Iterable[Any], ...]) -> Iterator[tuple[Any, ...]]:
    """The argument tuples of a map, read lazily; the shortest iterable ends it."""
    return zip(*iterables, strict=False)
