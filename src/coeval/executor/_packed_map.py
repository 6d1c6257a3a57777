"""
`map` of short calls: successive items travel in one pickle, so that an item costs a tenth of a microsecond.

How many travel together follows from measured durations: the first items go one by one, and so do all if they prove
long. What a chunk's items were given and gave back stays in order, whatever happened to the chunk on the way
(`MapChunk`).
"""

from __future__ import annotations

import itertools
from collections import deque
from operator import length_hint

from coeval.executor._call import MapChunk
from coeval.executor._map import AHEAD_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from typing import Any

    from coeval.clocks import Clock
    from coeval.executor._call import CallFuture, CallOptions
    from coeval.executor._submission import Prepared, Submission

# A chunk should be about this much work.
# Shorter: what a chunk costs by itself, about 0.1 ms on both sides, shows. Longer: the last chunks leave others idle.
CHUNK_NS = 2_000_000

# Calls longer than this go one by one: packing them would save nothing, and what is packed runs at one worker.
PACKED_NS_MAX = 200_000

# Items of one chunk, and bytes of their arguments and results. More: a map holds more in memory, and reads further
# ahead.
CHUNK_ITEMS_MAX = 1 << 14
CHUNK_BYTES_MAX = 1 << 20

# How large arguments and results are shows with the first chunks that come home, and whether somebody wants more of
# them when they are taken. So chunks begin small and grow.
# More, or faster: large ones of a function that takes no time fill the memory before anybody knows.
CHUNK_ITEMS_FIRST = 4
CHUNK_GROWTH = 32

# One that is more than so many times as large as any whose results were taken goes by itself, and the next one when
# its results are taken.
# Fewer: workers wait for it. More: each of several small ones costs what a large one does.
CHUNK_GROWTH_TOGETHER = 4

# A chunk of a size that the caller chose is cut there: what a board can show.
CHUNK_ITEMS_LARGEST = 1 << 20

# Items shorter than the first run several at a time without a line of Python between two: for so long, or so many.
# Shorter ones only: what is done between two counts as theirs, up to 4.5 us were seen, and would keep them single.
# Longer ones, longer or more: it would not show, and where a worker dies, more items have to be tried one by one.
STRIDE_ITEM_NS_MAX = 10_000
STRIDE_NS = 512_000
STRIDE_ITEMS_MAX = 256

# A map whose length is known is cut into at least so many chunks for each batch that the engine wants at once without
# prefetching, that is for each worker. Fewer: where the last chunks end at different times, somebody idles.
CHUNKS_PER_WORKER = 4

# Values of a chunk of fewer items than this may be large, so each goes as soon as the caller drops it.
SINGLE_VALUES_MAX = 64


class MapResults:
    """
    The results of a map, one after the other. It is an iterator that a `for` or a `list` runs through without a line of
    Python for each result.

    Args:
        parts: gives iterables of successive results.
    """

    __slots__ = ("__weakref__", "_parts", "_results")

    def __init__(self, parts: Generator[Iterable[Any], None, None]) -> None:
        self._parts = parts
        self._results = itertools.chain.from_iterable(parts)

    def __iter__(self) -> Iterator[Any]:
        return self._results

    def __next__(self) -> Any:
        return next(self._results)

    def close(self) -> None:
        """Cancel what has not started; there are no more results."""
        self._parts.close()
        self._results = itertools.chain()


def _let_go_one_by_one(values: list[Any]) -> Iterator[Any]:
    """Values that may be large: each is the caller's alone as soon as he has it."""
    values.reverse()
    while values:
        yield values.pop()


class PackedMap:
    """
    One map.

    Args:
        chunksize: so many items travel together; None: as measured.
        window: how many batches the engine wants at once.
        timeout_s: seconds from now that a result may take.
    """

    def __init__(
        self,
        submission: Submission,
        prepared: Prepared,
        iterables: tuple[Iterable[Any], ...],
        options: CallOptions,
        *,
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
        length = min([length_hint(iterable, 0) for iterable in iterables])
        self._share = -(-length // (CHUNKS_PER_WORKER * window())) if length else CHUNK_ITEMS_MAX
        self._pending: deque[CallFuture] = deque()
        self._largest_taken = 0  # items of a chunk whose results were taken
        self._item_bytes = 0.0
        self._is_exhausted = False

    def results(self) -> MapResults:
        """The results in order. The first items are submitted now, not at the first `next`, as `Executor.map` does."""
        begun = self._parts()
        next(begun)
        return MapResults(begun)

    def _parts(self) -> Generator[Iterable[Any], None, None]:
        pending = self._pending
        try:
            self._top_up()
            yield ()  # asked for above: a generator that never began runs no `finally` when it is closed
            while pending:
                call = pending.popleft()
                if not isinstance(call, MapChunk):
                    yield _let_go_one_by_one([self._wait_for(call)])
                    del call
                else:
                    values, error, rest = self._wait_for_chunk(call)
                    del call
                    taken = len(values)
                    self._top_up(growing_ahead=0)  # first work for whoever is free, then what may take long here
                    yield values if len(values) > SINGLE_VALUES_MAX else _let_go_one_by_one(values)
                    del values
                    self._largest_taken = max(self._largest_taken, taken)
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
        values = self._wait_for(chunk)
        if values:
            self._item_bytes = chunk.travelled_bytes / len(values)
        return values, chunk.error, chunk.rest

    def _left_s(self) -> float | None:
        return None if self._deadline_ns is None else max(0, self._deadline_ns - self._clock.raw_ns()) / 1e9

    def _top_up(self, growing_ahead: int = 1) -> None:
        while not self._is_exhausted:
            item_ns = self._submission.item_ns(self._prepared)
            window = self._window()
            if self._chunksize is not None:
                wanted, ahead = min(self._chunksize, CHUNK_ITEMS_LARGEST), 2 * window
            elif item_ns is None or item_ns > PACKED_NS_MAX:
                wanted, ahead = 1, max(AHEAD_MIN, 4 * window)
            else:
                wanted = self._chunk_items(item_ns)
                is_growing = wanted > CHUNK_GROWTH_TOGETHER * self._largest_taken
                ahead = growing_ahead if is_growing else window + window // 2 + 1
            if len(self._pending) >= ahead:
                return
            items = self._take(wanted)
            if not items:
                self._is_exhausted = True
            elif wanted == 1:
                self._submit_alone(items[0])
            else:
                self._submit_chunk(items, 1 if item_ns is None else stride_of(item_ns))

    def _chunk_items(self, item_ns: float) -> int:
        items = CHUNK_NS / item_ns if item_ns > 0 else CHUNK_ITEMS_MAX
        if self._item_bytes > 0:
            items = min(items, CHUNK_BYTES_MAX / self._item_bytes)
        grown = max(CHUNK_ITEMS_FIRST, CHUNK_GROWTH * self._largest_taken)
        return max(2, min(CHUNK_ITEMS_MAX, self._share, grown, int(items)))

    def _submit_chunk(self, items: Sequence[Any], stride: int) -> None:
        chunk = self._submission.submit_chunk(self._prepared, items, self._options, spread=self._spread, stride=stride)
        if chunk is None:  # one of them cannot travel, and fails by itself
            for item in items:
                self._submit_alone(item)
            return
        self._item_bytes = max(self._item_bytes, chunk.travelled_bytes / len(items))
        self._pending.append(chunk)

    def _submit_alone(self, item: Any) -> None:
        args = item if self._spread else (item,)
        self._pending.append(self._submission.submit(self._prepared, args, {}, self._options))


def stride_of(item_ns: float) -> int:
    """How many items of this measured duration run without a line of Python between two."""
    if item_ns >= STRIDE_ITEM_NS_MAX:
        return 1
    return min(STRIDE_ITEMS_MAX, int(STRIDE_NS / max(item_ns, 1)))


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
