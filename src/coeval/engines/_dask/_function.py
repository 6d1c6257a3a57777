"""
A function's way into the workers of a local pool on another host, with what the caller's process set up for it.

The local pool's workers import this, so nothing of Dask is imported here.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping
from typing import Any

from coeval.engines._payload import load


class _Packed:
    """Pickles as the call `unpack(levels, body)`."""

    def __init__(self, levels: Mapping[str, int], body: bytes) -> None:
        self._how = (dict(levels), body)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[dict[str, int], bytes]]:
        return unpack, self._how


def pack(body: bytes, levels: Mapping[str, int]) -> bytes:
    """
    Make a body that gives the same function, and sets the worker's loggers to the caller's levels on the way.

    A local pool hands its own process's levels to its workers; here that process is Dask's, and the caller is
    elsewhere.
    """
    return pickle.dumps(_Packed(levels, body), 5)


def unpack(levels: Mapping[str, int], body: bytes) -> Any:
    """The worker's side of `pack`."""
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)
    return load(body)


def logger_levels() -> dict[str, int]:
    """The levels that this process set, so that a worker makes the records which it would make itself."""
    levels = {"": logging.getLogger().level}
    for name, logger in list(logging.getLogger().manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET and not name.startswith("distributed"):
            levels[name] = logger.level
    return levels
