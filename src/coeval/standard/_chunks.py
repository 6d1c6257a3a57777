"""A function over a chunk of items, as one call: how `multiprocessing.Pool` makes its maps cheap. Runs on workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import starmap
from typing import Any


class OverChunk:
    """
    Calls a function for each item of a chunk; the first exception ends the chunk.

    Goes by the function's own name in errors and recordings.

    Args:
        function: what to call.
        spread: each item is a tuple of arguments; else it is the only argument.
    """

    def __init__(self, function: Callable[..., Any], *, spread: bool) -> None:
        self.function = function
        self.spread = spread
        for name in ("__module__", "__qualname__"):
            text = getattr(function, name, None) or getattr(type(function), name)
            setattr(self, name, text)

    def __call__(self, chunk: Iterable[Any]) -> list[Any]:
        return list(starmap(self.function, chunk) if self.spread else map(self.function, chunk))
