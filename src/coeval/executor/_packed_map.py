"""
`map` of short calls: successive items travel in one pickle, so that an item costs a tenth of a microsecond.

How many travel together follows from measured durations: the first items go one by one, and so do all if they prove
long. What a chunk's items were given and gave back stays in order, whatever happened to the chunk on the way
(`MapChunk`).
"""

from __future__ import annotations

import itertools
from collections import deque

from coeval.executor._map import AHEAD_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from typing import Any

    from coeval.clocks import Clock
    from coeval.executor._call import CallFuture, CallOptions, MapChunk
    from coeval.executor._submission import Prepared, Submission

# A chunk should be about this much work.
# Shorter: what a chunk costs by itself, about 0.1 ms on both sides, shows. Longer: the last chunks leave others idle.
CHUNK_NS = 2_000_000

# Calls longer than this go one by one: packing them would save nothing, and what is packed runs at one worker.
PACKED_NS_MAX = 200_000

# Items and bytes of one chunk. More: a map holds more in memory, and reads further ahead.
CHUNK_ITEMS_MAX = 1 << 14
CHUNK_BYTES_MAX = 1 << 20

# Items shorter than this run several at a time without a line of Python between two.
# Fewer, or for longer items: it would not show. More: where a worker dies, more items have to be tried one by one.
STRIDE_NS_MAX = 2_000
STRIDE = 16


def packed_map(
    submission: Submission,
    prepared: Prepared,
    iterables: tuple[Iterable[Any], ...],
    options: CallOptions,
    *,
    chunksize: int | None,
    window: Callable[[], int],
    timeout_s: float | None,
    clock: Clock,
) -> Generator[Any, None, None]:
    """
    Yield results in order. The first items are submitted now, not at the first `next`, as `Executor.map` does.

    Args:
        chunksize: so many items travel together; None: as measured.
        window: how many batches the engine wants at once.
    """
    begun = _Map(submission, prepared, iterables, options, chunksize, window, timeout_s, clock).results()
    next(begun)
    return begun


class _Map:
    def __init__(
        self,
        submission: Submission,
        prepared: Prepared,
        iterables: tuple[Iterable[Any], ...],
        options: CallOptions,
        chunksize: int | None,
        window: Callable[[], int],
        timeout_s: float | None,
        clock: Clock,
    ) -> None:
        self._submission = submission
        self._prepared = prepared
        self._options = options
        self._chunksize = chunksize
        self._window = window
        self._clock = clock
        self._deadline_ns = None if timeout_s is None else clock.raw_ns() + round(timeout_s * 1e9)
        self._take, self._spread = _taker(iterables)
        self._pending: deque[CallFuture] = deque()
        self._item_bytes = 0.0
        self._is_exhausted = False

    def results(self) -> Generator[Any, None, None]:
        pending = self._pending
        try:
            self._top_up()
            yield None  # asked for by `packed_map`: a generator that never began runs no `finally` when it is closed
            while pending:
                call = pending.popleft()
                if call.count == 1 and not hasattr(call, "values"):
                    yield self._wait_for(call)
                    del call  # the caller may drop the result before the next one is made
                else:
                    values, error, rest = self._wait_for_chunk(call)  # type: ignore[arg-type]
                    del call
                    self._top_up()  # first work for whoever is free, then what may take long here
                    values.reverse()
                    while values:
                        yield values.pop()
                    if error is not None:
                        try:
                            raise error
                        finally:
                            del error  # breaks a cycle through the traceback
                    if rest is not None:
                        pending.appendleft(rest)
                self._top_up()
        finally:
            self._submission.give_up(pending)

    def _wait_for(self, call: CallFuture) -> Any:
        try:
            return call.result(self._left_s())
        except BaseException:
            self._submission.give_up([call])
            raise
        finally:
            del call

    def _wait_for_chunk(self, chunk: MapChunk) -> tuple[list[Any], BaseException | None, MapChunk | None]:
        return self._wait_for(chunk), chunk.error, chunk.rest

    def _left_s(self) -> float | None:
        return None if self._deadline_ns is None else max(0, self._deadline_ns - self._clock.raw_ns()) / 1e9

    def _top_up(self) -> None:
        while not self._is_exhausted:
            item_ns = self._submission.item_ns(self._prepared)
            window = self._window()
            if self._chunksize is not None:
                wanted, ahead = self._chunksize, 2 * window
            elif item_ns is None or item_ns > PACKED_NS_MAX:
                wanted, ahead = 1, max(AHEAD_MIN, 4 * window)
            else:
                wanted, ahead = self._chunk_items(item_ns), window + window // 2 + 1
            if len(self._pending) >= ahead:
                return
            items = self._take(wanted)
            if not items:
                self._is_exhausted = True
            elif wanted == 1:
                self._submit_alone(items[0])
            else:
                self._submit_chunk(items, STRIDE if item_ns is not None and item_ns < STRIDE_NS_MAX else 1)

    def _chunk_items(self, item_ns: float) -> int:
        items = CHUNK_NS / item_ns if item_ns > 0 else CHUNK_ITEMS_MAX
        if self._item_bytes > 0:
            items = min(items, CHUNK_BYTES_MAX / self._item_bytes)
        return max(2, min(CHUNK_ITEMS_MAX, int(items)))

    def _submit_chunk(self, items: Sequence[Any], stride: int) -> None:
        chunk = self._submission.submit_chunk(self._prepared, items, self._options, spread=self._spread, stride=stride)
        if chunk is None:  # one of them cannot travel, and fails by itself
            for item in items:
                self._submit_alone(item)
            return
        self._item_bytes = chunk.payload_bytes / len(items)
        self._pending.append(chunk)

    def _submit_alone(self, item: Any) -> None:
        args = item if self._spread else (item,)
        self._pending.append(self._submission.submit(self._prepared, args, {}, self._options))


def _taker(iterables: tuple[Iterable[Any], ...]) -> tuple[Callable[[int], Sequence[Any]], bool]:
    """How to take the next items of a map, and whether each is a tuple of arguments."""
    if len(iterables) != 1:
        zipped = zip(*iterables, strict=False)
        return lambda count: list(itertools.islice(zipped, count)), True
    [items] = iterables
    if type(items) is range or type(items) is list:
        return _slices(items), False
    rest: Iterator[Any] = iter(items)
    return lambda count: list(itertools.islice(rest, count)), False


def _slices(items: Sequence[Any]) -> Callable[[int], Sequence[Any]]:
    position = 0

    def take(count: int) -> Sequence[Any]:
        nonlocal position
        begin, position = position, position + count
        return items[begin:position]

    return take
