"""
Processes of this machine.

    _pool.py         the engine: pipes, and whoever serves them (shell)
    _pool_state.py   what to do about each fact: a worker is ready, a piece arrived, a worker is gone (mind)
    _helper.py       the thread that reads results while nobody who waits does it
    _interrupts.py   Ctrl-C, put off while something is done that must not be left half done
    _worker.py       the worker's side
    _slate.py        memory in which a worker notes what must be readable while it hangs and after it died
    _memory_kills.py whether the kernel ended a worker for want of memory
    _frames.py       length-prefixed messages on a pipe
    _board.py        the eight-byte cells in which a worker shows which item it runs
    _parcels.py      large results, passed as open files
    _starters.py     where worker processes come from: a fork server, a fork, a new interpreter
    _launch.py       launching interpreters
    _server.py       the fork server
    _spawned.py      the first lines of a worker that is an interpreter of its own
    _child.py        from a new process to a worker
    _channel.py      messages with descriptors between the pool and its fork server
    _lifeline.py     the pipe by which everything ends when the pool's process does
    _preload.py      what to import before workers are forked
    _cores.py        how many workers this machine is good for
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coeval.engines.local._launch import LaunchedServer
    from coeval.engines.local._pool import LocalEngine as LocalEngine

__all__ = ["LocalEngine", "launch_server"]

# Of the process that is a worker of a local pool; a process that a call forks is none.
worker_pid = 0


def launch_server(max_workers: int | None, preload: "Sequence[str]") -> "LaunchedServer | None":
    """Launch the fork server of an engine that will be made; None if that cannot be done now."""
    from coeval.engines.local._launch import LaunchedServer

    try:
        return LaunchedServer(preload, workers_max=max_workers)
    except OSError:
        return None  # the engine tries again, and says why it cannot be done


if not TYPE_CHECKING:

    def __getattr__(name):
        # A worker imports this package for its own side only; threads and their like stay off its path.
        if name == "LocalEngine":
            from coeval.engines.local._pool import LocalEngine

            return LocalEngine
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
