"""
How many waiting calls travel as one batch: a decision from measured durations.

An engine that asks a network for each batch is worth its price only if a batch is worth some work. So calls that proved
short travel together, as long as there is a backlog; calls that proved long, or of which nothing is known yet, travel
alone, so that none waits behind another while a worker idles.
"""

from __future__ import annotations

# A batch should be about this much work.
# Shorter: a cluster's price for a batch (1 to 10 ms on Dask) shows. Longer: the last batches leave other workers idle.
BATCH_NS = 100_000_000

# Each batch takes at most this share of what waits per batch that the engine wants outstanding, so that the backlog of
# a burst is spread over all workers, and later batches are smaller.
_BACKLOG_SHARE = 2

# Weight of the newest batch in the running mean: a function's calls may get longer as it goes on.
_NEWEST = 0.3


class Pace:
    """The measured duration of each function's calls, and what follows from it. Not thread-safe: its owner locks."""

    def __init__(self, items_max: int) -> None:
        """
        Args:
            items_max: what the engine takes as one batch at most (`Capabilities.batch_items_max`).
        """
        self._items_max = items_max
        self._item_ns: dict[int, float] = {}

    def observe(self, function: int, items: int, duration_ns: int) -> None:
        """So many items of a function ran for this long, one after the other."""
        if self._items_max == 1 or items == 0:
            return
        item_ns = duration_ns / items
        known = self._item_ns.get(function)
        self._item_ns[function] = item_ns if known is None else known + _NEWEST * (item_ns - known)

    def items(self, function: int, waiting: int, window: int) -> int:
        """
        How many calls of a function go as the next batch.

        Args:
            function: its number.
            waiting: calls that wait, of any function.
            window: batches that the engine wants outstanding at once.
        """
        item_ns = self._item_ns.get(function)
        if self._items_max == 1 or item_ns is None:
            return 1
        worth = BATCH_NS / item_ns if item_ns > 0 else self._items_max
        share = -(-waiting // (_BACKLOG_SHARE * window))
        return max(1, min(self._items_max, int(min(worth, self._items_max)), share))
