"""
The two pools of the standard library, with their names, signatures and behaviour, over the local engine.

    _process_pool_executor.py   concurrent.futures.ProcessPoolExecutor
    _pool.py                    multiprocessing.Pool
    _results.py                 what a Pool's asynchronous methods give
    _chunks.py                  the worker's side of a map: a function over a chunk of items
    _errors.py                  from coeval's errors to those that the standard pools raise
    _engine.py                  from a multiprocessing context to a local engine
    _preparation.py             what a worker does before its first call
    _inheritance.py             what multiprocessing lets a worker have at its start only: locks, queues, shared memory
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coeval.standard._pool import Pool
    from coeval.standard._process_pool_executor import ProcessPoolExecutor

__all__ = ["ProcessPoolExecutor", "Pool"]


def __getattr__(name: str) -> Any:
    # A worker imports this package for `_preparation` and `_chunks` only; threads and futures stay off its path.
    if name == "ProcessPoolExecutor":
        from coeval.standard._process_pool_executor import ProcessPoolExecutor

        return ProcessPoolExecutor
    if name == "Pool":
        from coeval.standard._pool import Pool

        return Pool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
