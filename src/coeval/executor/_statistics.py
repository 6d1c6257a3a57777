"""How an executor stands: a snapshot that does not change."""

from __future__ import annotations

from coeval.clocks._named_tuple import NamedTuple


class Statistics(NamedTuple):
    """
    Counts of calls, except the last two.

    Attributes:
        submitted: all calls ever submitted; the sum of the next five.
        waiting: not handed to the engine yet, including those cancelled since.
        running: handed to the engine.
        finished: gave a value.
        failed: gave an exception.
        cancelled: cancelled before they were handed over.
        retried: tries beyond the first.
        workers: workers that are alive now.
        probes: times that a worker's clock was asked without a call (see `Executor(clock_width=)`).
    """

    submitted: int
    waiting: int
    running: int
    finished: int
    failed: int
    cancelled: int
    retried: int
    workers: int
    probes: int
