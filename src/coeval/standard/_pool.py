"""
`Pool` as in `multiprocessing`: one changed import, and the calls run on coeval's own pool.

    apply, map, starmap (and _async)    chunks of items ─> calls of the executor ─> AsyncResult
    imap, imap_unordered                a thread for each: reads the items ─> calls ─> ResultIterator
"""

from __future__ import annotations

import atexit
import itertools
import multiprocessing
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, NoReturn, Self, cast

from coeval.executor import Executor
from coeval.standard._chunks import OverChunk
from coeval.standard._engine import make_engine
from coeval.standard._process_pool_executor import tear_down
from coeval.standard._results import AsyncResult, Callback, ResultIterator, failed

# The states, named as there.
RUN, CLOSE, TERMINATE = "RUN", "CLOSE", "TERMINATE"

# A map without a chunk size makes so many chunks for each worker, as there.
CHUNKS_PER_WORKER = 4

# An imap has at most so many calls for each worker under way; reading on waits for them. There the size of a pipe says
# how many. Fewer: workers wait for the thread that reads. More: more arguments at once in memory.
AHEAD_PER_WORKER = 32


class Pool:
    """
    `multiprocessing.Pool` on coeval's own workers.

    Differences, all to the better for a program that meets one of them: a worker that dies fails the call it ran (by
    `coeval.WorkerDied`), where there everybody waits for ever; so do calls that exit, and arguments that cannot be
    rebuilt. Workers start when they are needed. Lambdas, closures and functions of `__main__` can be called, and
    `__main__` is not run again.

    Args:
        processes: at most so many; None: every usable core.
        initializer, initargs: called in each worker before its first call. Arguments may be locks, queues and shared
            values of `multiprocessing`.
        maxtasksperchild: a worker that ran so many calls is replaced; a chunk of a map is one call.
        context: a context of `multiprocessing.get_context()`; its start method is ours ("forkserver" is a fork server
            of our own). None: the default one.

    Raises:
        ValueError: `processes` or `maxtasksperchild` is not positive.
        TypeError: `initializer` is not callable.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError(f"Number of processes must be at least 1, not {processes}")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError(f"maxtasksperchild must be a positive int or None, not {maxtasksperchild!r}")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, not {initializer!r}")
        engine, forget_initializer = make_engine(
            processes, context or multiprocessing.get_context(), initializer, tuple(initargs), maxtasksperchild
        )
        self._executor = Executor(engine)
        weakref.finalize(self, forget_initializer)
        self._workers_max = engine.workers_max
        self._lock = threading.Lock()
        self._readers: set[threading.Thread] = set()
        self._state = RUN
        _open_pools.add(self)

    # Calls ------------------------------------------------------------------------------------------------------------

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None) -> Any:
        """Give `func(*args, **kwds)`, or raise what it raised."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """As `apply`, but return at once."""
        self._check_running()
        result = AsyncResult(_only, callback, error_callback)
        result.expect([self._submit(func, *args, **(kwds or {}))])
        return result

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """Give `func(item)` of each item, or raise what the first one raised that failed; all are run."""
        return cast(list[Any], self.map_async(func, iterable, chunksize).get())

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """As `map`, but return at once."""
        return self._map_async(OverChunk(func, spread=False), iterable, chunksize, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """As `map`, with `func(*item)`."""
        return cast(list[Any], self.starmap_async(func, iterable, chunksize).get())

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """As `starmap`, but return at once."""
        return self._map_async(OverChunk(func, spread=True), iterable, chunksize, callback, error_callback)

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        """
        Yield `func(item)` of each item in their order; items are read by a thread of the pool, a bounded number ahead.

        Raises:
            ValueError: `chunksize` is less than 1, or the pool is not running.
        """
        return self._imap(func, iterable, chunksize, ordered=True)

    def imap_unordered(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        """As `imap`, in the order in which results come."""
        return self._imap(func, iterable, chunksize, ordered=False)

    # The end ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more calls; workers end when all calls are done."""
        with self._lock:
            if self._state != RUN:
                return
            self._state = CLOSE
            reading = bool(self._readers)
        if not reading:
            self._executor.shutdown(wait=False)

    def terminate(self) -> None:
        """End every worker at once, whatever it is doing; calls that are not done fail by `coeval.CallStopped`."""
        with self._lock:
            self._state = TERMINATE
        tear_down(self._executor)

    def join(self) -> None:
        """
        Wait until all calls are done and all workers are gone.

        Raises:
            ValueError: neither `close()` nor `terminate()` was called.
        """
        if self._state == RUN:
            raise ValueError("Pool is still running")
        for thread in list(self._readers):
            thread.join()
        self._executor.shutdown(wait=True)

    def __enter__(self) -> Self:
        self._check_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.terminate()

    def __del__(self) -> None:
        if getattr(self, "_state", None) == RUN:
            warnings.warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self, stacklevel=2)

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        return f"<coeval.Pool state={self._state} pool_size={self._workers_max}>"

    # Inside -----------------------------------------------------------------------------------------------------------

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    def _submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        try:
            return self._executor.submit(function, *args, **kwargs)
        except RuntimeError as error:  # closed in this moment
            raise ValueError("Pool not running") from error

    def _map_async(
        self,
        over_chunk: OverChunk,
        iterable: Iterable[Any],
        chunksize: int | None,
        callback: Callback | None,
        error_callback: Callback | None,
    ) -> AsyncResult:
        self._check_running()
        if not isinstance(iterable, Sized):
            iterable = list(iterable)
        if chunksize is None:
            chunksize = -(-len(iterable) // (self._workers_max * CHUNKS_PER_WORKER))
        result = AsyncResult(_joined, callback, error_callback)
        try:
            chunks = list(_chunks(iterable, chunksize)) if len(iterable) else []
        except Exception as error:  # of the iterable: comes as the result, as there
            result.expect([failed(error)])
        else:
            result.expect([self._submit(over_chunk, chunk) for chunk in chunks])
        return result

    def _imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int, *, ordered: bool
    ) -> Iterator[Any]:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")
        results = ResultIterator(ordered=ordered)
        if chunksize == 1:
            self._read_in_a_thread(func, iterable, results)
            return results
        self._read_in_a_thread(OverChunk(func, spread=False), _chunks(iterable, chunksize), results)
        return (value for chunk in results for value in chunk)

    def _read_in_a_thread(self, function: Callable[[Any], Any], items: Iterable[Any], results: ResultIterator) -> None:
        thread = threading.Thread(target=self._read, args=(function, items, results), name="coeval-imap", daemon=True)
        with self._lock:
            self._check_running()
            self._readers.add(thread)
        try:
            thread.start()
        except RuntimeError:  # there are too many
            self._readers.discard(thread)
            raise

    def _read(self, function: Callable[[Any], Any], items: Iterable[Any], results: ResultIterator) -> None:
        try:
            room = threading.Semaphore(self._workers_max * AHEAD_PER_WORKER)
            for item in items:
                room.acquire()
                if self._state == TERMINATE:
                    break
                future = self._submit(function, item)
                results.expect(future)
                future.add_done_callback(lambda _: room.release())
                del future  # it may go as soon as its result was taken
        except Exception as error:  # of the iterable: comes in its place, as there
            results.expect(failed(error))
        finally:
            results.end()
            with self._lock:
                self._readers.discard(threading.current_thread())
                last = self._state == CLOSE and not self._readers
            if last:
                self._executor.shutdown(wait=False)


def _only(values: Sequence[Any]) -> Any:
    return values[0]


def _joined(values: Iterable[list[Any]]) -> list[Any]:
    return list(itertools.chain.from_iterable(values))


def _chunks(items: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    iterator = iter(items)
    while chunk := tuple(itertools.islice(iterator, size)):
        yield chunk


_open_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


@atexit.register
def _terminate_at_exit() -> None:
    """
    A program that ends does not wait for a pool that it left open, as there.

    Registered after the executors' hook, which waits, and so called before it.
    """
    for pool in list(_open_pools):
        if pool._state == RUN:
            pool.terminate()
