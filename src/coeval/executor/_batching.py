"""
How many waiting calls travel as one batch: a decision from measured durations.

An engine that asks a network for each batch is worth its price only if a batch is worth some work. So calls that proved
short travel together, as long as there is a backlog; calls that proved long, or of which nothing is known yet, travel
alone, so that none waits behind another while a worker idles.
"""

from __future__ import annotations

# Each batch takes at most this share of what waits per batch that the engine wants outstanding, so that the backlog of
# a burst is spread over all workers, and later batches are smaller.
_BACKLOG_SHARE = 2

# Calls of which fewer make a batch travel alone: they are long.
# Fewer: two or three long calls wait for each other, and their batch costs hardly less than theirs. More: calls of some
# milliseconds pay for a batch each.
_TOGETHER_MIN = 4

# Weight of the newest batch in the running mean: a function's calls may get longer as it goes on.
_NEWEST = 0.3

# So many items at once tell their duration better than what was known before: that it is shorter in any case, that it
# is longer if they took longer together than an interruption does.
_ITEMS_THAT_PROVE = 64
_NS_THAT_PROVE = 500_000

# A program that makes a new function for each call must not fill the memory.
_FUNCTIONS_KEPT_MAX = 1024


class Pace:
    """The measured duration of each function's calls, and what follows from it. Not thread-safe: its owner locks."""

    def __init__(self, items_max: int, batch_ns: int) -> None:
        """
        Args:
            items_max: what the engine takes as one batch at most (`Capabilities.batch_items_max`).
            batch_ns: how much work a batch should be (`Capabilities.batch_ns`).
        """
        self._items_max = items_max
        self._batch_ns = batch_ns
        self._item_ns: dict[int, float] = {}

    def item_ns(self, function: int) -> float | None:
        """The measured duration of one call of a function; None: it never ran."""
        return self._item_ns.get(function)

    def observe(self, function: int, items: int, duration_ns: int) -> None:
        """So many items of a function ran for this long, one after the other."""
        if items == 0:
            return
        item_ns = duration_ns / items
        known = self._item_ns.get(function)
        if known is None and len(self._item_ns) >= _FUNCTIONS_KEPT_MAX:
            del self._item_ns[next(iter(self._item_ns))]
        if known is None or (items >= _ITEMS_THAT_PROVE and (item_ns < known or duration_ns >= _NS_THAT_PROVE)):
            self._item_ns[function] = item_ns
        else:
            self._item_ns[function] = known + _NEWEST * (item_ns - known)

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
        worth = self._batch_ns / item_ns if item_ns > 0 else self._items_max
        if worth < _TOGETHER_MIN:
            return 1
        share = -(-waiting // (_BACKLOG_SHARE * window))
        return max(1, min(self._items_max, int(min(worth, self._items_max)), share))
