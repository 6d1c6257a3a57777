"""
What multiprocessing lets a process have at its start only: locks, queues, pipes, shared values.

They refuse to be pickled, except while a process is being started. Programs give them to an initializer, which puts
them into globals for the calls. Two ways lead to the worker:

    Inherited   a plainly forked worker has the caller's memory: a number tells it where to look, and nothing is pickled
    Pickled     any other worker gets a pickle, made as `multiprocessing` makes one for a process that it spawns;
                descriptors in it (pipes, files, shared memory) are opened anew through /proc, as often as workers start
"""

from __future__ import annotations

import io
import itertools
import os
from collections import ChainMap
from collections.abc import Callable
from multiprocessing.context import get_spawning_popen, set_spawning_popen
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar, cast

from coeval.engines._payload import PROTOCOL, load

_given: dict[int, Any] = {}
_numbers = itertools.count()


class Inherited:
    """A value that a forked process finds in the memory it was forked with; call this to get it."""

    def __init__(self, value: Any) -> None:
        self.number = next(_numbers)
        _given[self.number] = value

    def __call__(self) -> Any:
        return _given[self.number]

    def forget(self) -> None:
        """No process will be forked any more that wants it."""
        _given.pop(self.number, None)


class Pickled:
    """
    A value as a pickle that any process of this host can load while this one lives; call this to get it.

    Raises:
        Exception: what pickling it raised.
    """

    def __init__(self, value: Any) -> None:
        before = get_spawning_popen()
        set_spawning_popen(cast(Any, _Start()))
        try:
            self.payload = _dump(value)
        finally:
            set_spawning_popen(before)

    def __call__(self) -> Any:
        return load(self.payload)


def _dump(value: Any) -> bytes:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # untyped
        """Knows the types that multiprocessing knows, and copies what cannot be named, as all of coeval does."""

        dispatch_table: ClassVar[Any] = ChainMap(
            ForkingPickler(io.BytesIO()).dispatch_table, cloudpickle.Pickler.dispatch_table
        )

    file = io.BytesIO()
    Pickler(file, PROTOCOL).dump(value)
    return file.getvalue()


class _Start:
    """Stands where multiprocessing keeps the process that it is about to start, and is asked how descriptors travel."""

    def duplicate_for_child(self, fd: int) -> int:
        return fd

    def DupFd(self, fd: int) -> Reopened:  # noqa: N802  # multiprocessing's name
        return Reopened(fd)


class Reopened:
    """
    A descriptor of this process that another one opens anew.

    Raises:
        ValueError: it is a socket, which cannot be opened anew.
    """

    def __init__(self, fd: int) -> None:
        import fcntl
        import stat

        about = os.fstat(fd)
        if stat.S_ISSOCK(about.st_mode):
            raise ValueError(
                f"descriptor {fd} is a socket; expected a pipe or a file. A worker that is not forked cannot inherit "
                f"a socket: use multiprocessing.Pipe(duplex=False), a Queue, or the start method 'fork'."
            )
        self.pid, self.fd = os.getpid(), fd
        self.mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        self.identity = about.st_dev, about.st_ino

    def detach(self) -> int:
        """
        Open it.

        Raises:
            OSError: whoever gave it has closed it, or has ended.
        """
        # Not to wait where the other end of a pipe is closed.
        made = os.open(f"/proc/{self.pid}/fd/{self.fd}", self.mode | os.O_NONBLOCK | os.O_CLOEXEC)
        about = os.fstat(made)
        if (about.st_dev, about.st_ino) != self.identity:
            os.close(made)
            raise OSError(
                f"descriptor {self.fd} of process {self.pid} is not what was given to this worker: it was closed there "
                f"and its number used again. Keep what the initializer is given until the pool is shut down."
            )
        os.set_blocking(made, True)
        return made


Initializer = Callable[..., object]


def initializer_for(start_method: str, initializer: Initializer, arguments: tuple[Any, ...]) -> Inherited | Pickled:
    """Make an initializer and its arguments ready for workers that start by this method."""
    return Inherited((initializer, arguments)) if start_method == "fork" else Pickled((initializer, arguments))
