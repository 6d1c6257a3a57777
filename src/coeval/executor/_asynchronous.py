"""`async for ... in ex.amap(...)`: lazy, bounded, in order, from an event loop."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any


async def bounded_amap(
    submit: Callable[[list[tuple[Any, ...]]], list[Future[Any]]],
    items: Iterator[tuple[Any, ...]],
    *,
    chunksize: int,
    ahead: int,
) -> AsyncIterator[Any]:
    """
    Yield results in order, with at most `ahead` items submitted and not yet yielded.

    Nothing is submitted before the first result is asked for. Leaving the loop cancels what has not started.
    """
    size = min(chunksize, ahead)
    pending: deque[Future[Any]] = deque()
    is_exhausted = False
    try:
        while True:
            while not is_exhausted and len(pending) + size <= ahead:
                chunk = list(itertools.islice(items, size))
                is_exhausted = not chunk
                pending.extend(submit(chunk) if chunk else ())
            if not pending:
                return
            yield await asyncio.wrap_future(pending.popleft())
    finally:
        for future in pending:
            future.cancel()
