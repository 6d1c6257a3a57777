"""From what the standard pools are given (a multiprocessing context, an initializer) to a local engine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import Any, Literal

from coeval.engines.local import LocalEngine
from coeval.standard._inheritance import Inherited, initializer_for
from coeval.standard._preparation import Preparation, prepare

# Names of multiprocessing's start methods, and ours.
START_METHODS: dict[str, Literal["server", "fork", "spawn"]] = {
    "fork": "fork",
    "forkserver": "server",
    "spawn": "spawn",
}


def make_engine(
    max_workers: int | None,
    context: BaseContext,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
    recycle_after: int | None,
) -> tuple[LocalEngine, Callable[[], object]]:
    """
    Make an engine whose workers are what those of multiprocessing would be.

    Args:
        max_workers: None: every usable core.
        context: says how workers start.
        initializer, initargs: run in each worker before its first call.
        recycle_after: a worker that ran so many calls is replaced.

    Returns:
        The engine, and what to call when it will start no more workers.

    Raises:
        ValueError: the context has a start method that is not one of multiprocessing's.
        Exception: what pickling the initializer or its arguments raised.
    """
    method = context.get_start_method()
    if method not in START_METHODS:
        raise ValueError(
            f"the start method of {context!r} is {method!r}; expected one of {', '.join(START_METHODS)}: "
            f"give a context of multiprocessing.get_context()"
        )
    given = None if initializer is None else initializer_for(method, initializer, tuple(initargs))
    key = bytes(multiprocessing.current_process().authkey)
    engine = LocalEngine(
        max_workers,
        start_method=START_METHODS[method],
        initializer=prepare,
        initargs=(Preparation(key, method, given),),
        recycle_after=recycle_after,
    )
    return engine, given.forget if isinstance(given, Inherited) else bool
