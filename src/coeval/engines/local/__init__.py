"""
Processes of this machine.

    _pool.py         the engine: processes, pipes and the thread that serves them (shell)
    _pool_state.py   what to do about each fact: a worker is ready, a piece arrived, a worker is gone (mind)
    _worker.py       the worker's side
    _boot.py         the worker's first lines, before it can import coeval
    _frames.py       length-prefixed pickles on a pipe
    _board.py        the eight-byte cells in which a worker shows which item it runs
    _cores.py        how many workers this machine is good for
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coeval.engines.local._pool import LocalEngine

__all__ = ["LocalEngine"]


def __getattr__(name: str) -> Any:
    # A worker imports this package for its own side only; subprocess and threads stay off its path.
    if name == "LocalEngine":
        from coeval.engines.local._pool import LocalEngine

        return LocalEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
