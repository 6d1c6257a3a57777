"""`ProcessPoolExecutor` as in `concurrent.futures`: one changed import, and the calls run on coeval's own pool."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from multiprocessing.context import BaseContext
from typing import Any, ParamSpec, TypeVar

from coeval.executor import Executor
from coeval.executor._call import CallFuture
from coeval.standard._engine import make_engine
from coeval.standard._errors import PoolBroken, as_executor_says

P = ParamSpec("P")
T = TypeVar("T")


class ProcessPoolExecutor(Executor):
    """
    `concurrent.futures.ProcessPoolExecutor`, with what a `coeval.Executor` has besides.

    Differences, all to the better for a program that meets one of them: a worker that dies fails the call it ran (by
    `WorkerDied`, which is a `BrokenProcessPool`) and the pool goes on; arguments that cannot be rebuilt on a worker,
    and results that cannot be rebuilt here, fail their call in the same way; lambdas, closures and functions of
    `__main__` can be called, and `__main__` is not run again. Only an initializer that raises breaks the pool, as it
    does there.

    Args:
        max_workers: at most so many processes; None: every usable core.
        mp_context: a context of `multiprocessing.get_context()`; its start method is ours ("forkserver" is a fork
            server of our own). None: the default one; "spawn" if `max_tasks_per_child` is given.
        initializer, initargs: called in each worker before its first call. Arguments may be locks, queues and shared
            values of `multiprocessing`.
        max_tasks_per_child: a worker that ran so many calls is replaced. Not with "fork", as there.

    Raises:
        ValueError: `max_workers` or `max_tasks_per_child` is not positive, or the start method is "fork" where it may
            not be.
        TypeError: `initializer` is not callable, or `max_tasks_per_child` no integer.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError(f"max_workers must be greater than 0, not {max_workers}")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be a callable, not {initializer!r}")
        if mp_context is None:
            mp_context = multiprocessing.get_context("spawn" if max_tasks_per_child is not None else None)
        _check_tasks_per_child(max_tasks_per_child, mp_context)
        engine, forget_initializer = make_engine(max_workers, mp_context, initializer, initargs, max_tasks_per_child)
        super().__init__(engine)
        weakref.finalize(self, forget_initializer)
        self._mp_context = mp_context
        # Only an initializer is expected to fail in every worker.
        self._breakage = None if initializer is None else _Breakage()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """
        Schedule `fn(*args, **kwargs)`; its future gives the value or the exception.

        Raises:
            BrokenProcessPool: the initializer raised.
            RuntimeError: the executor is shut down.
        """
        self._check_whole()
        future = super().submit(fn, *args, **kwargs)
        # The executor makes its futures itself, and they are plain objects: this one says things in other words.
        future.__class__ = StandardFuture
        if self._breakage is not None:
            future.add_done_callback(self._breakage)
        return future

    def map(  # type: ignore[override]  # a standard map neither records into folders nor resumes
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """
        Yield `fn(*items)` for the items of the iterables, in their order; the shortest one ends it.

        As there, all items are read and submitted at once, so that they are run also if the executor is shut down
        before the results are taken.

        Args:
            timeout: seconds from now; a result that is not there by then raises `TimeoutError`.
            chunksize: so many calls travel together; more pays for short calls.
            buffersize: submit at most so many items ahead of the result that is waited for, and read the iterables as
                results are taken (Python 3.14).

        Raises:
            ValueError: `chunksize` is less than 1.
            BrokenProcessPool: the initializer raised.
        """
        self._check_whole()
        ahead = sys.maxsize if buffersize is None else buffersize
        results = super().map(fn, *iterables, timeout=timeout, chunksize=chunksize, buffersize=ahead)
        return _Results(results)

    def terminate_workers(self) -> None:
        """
        End every worker at once, whatever it is doing, and shut down (Python 3.14).

        Calls that ran fail with a `BrokenProcessPool`; calls that waited are cancelled.
        """
        tear_down(self)

    kill_workers = terminate_workers

    @property
    def _broken(self) -> PoolBroken | None:
        return None if self._breakage is None else self._breakage.error

    def _check_whole(self) -> None:
        if self._broken is not None:
            raise PoolBroken(*self._broken.args)


class StandardFuture(CallFuture):
    """A call's future whose exception is the one that the standard executor would have raised."""

    _said: BaseException | None = None

    def result(self, timeout: float | None = None) -> Any:
        """See `concurrent.futures.Future.result`."""
        if (error := self.exception(timeout)) is None:
            return super().result()
        try:
            raise error
        finally:
            del self, error  # breaks a cycle through the traceback

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See `concurrent.futures.Future.exception`."""
        error = super().exception(timeout)
        if error is not None and self._said is None:
            self._said = as_executor_says(error)
        return self._said


class _Breakage:
    """Takes note when a call says that no worker can be started."""

    error: PoolBroken | None = None

    def __call__(self, future: Future[Any]) -> None:
        if not future.cancelled() and isinstance(error := future.exception(), PoolBroken):
            self.error = error


def tear_down(executor: Executor) -> None:
    """End an executor now: what waits is cancelled, what runs is ended."""
    executor.__exit__(SystemExit, None, None)


class _Results(Iterator[T]):
    """
    The results of a map. Dropped before the first was taken, all is still run, as there: `ex.map(print, lines)`.
    """

    def __init__(self, results: Iterator[T]) -> None:
        self._results = results
        self._is_untouched = True

    def __next__(self) -> T:
        self._is_untouched = False
        try:
            return next(self._results)
        except Exception as error:
            said = as_executor_says(error)
            if said is error:
                raise
            raise said  # noqa: B904  # its cause is what happened on the worker

    def __del__(self) -> None:
        # The iterator below cancels what waits when it is dropped, so somebody has to take its results.
        if self._is_untouched:
            with contextlib.suppress(RuntimeError):  # no more threads: the program ends
                threading.Thread(target=_exhaust, args=(self._results,), name="coeval-map", daemon=True).start()


def _exhaust(results: Iterator[object]) -> None:
    with contextlib.suppress(Exception):
        while True:
            next(results)


def _check_tasks_per_child(count: object, context: BaseContext) -> None:
    if count is None:
        return
    if not isinstance(count, int):
        raise TypeError(f"max_tasks_per_child must be an integer, not {count!r}")
    if count <= 0:
        raise ValueError(f"max_tasks_per_child must be >= 1, not {count}")
    if context.get_start_method() == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; "
            "supply a different mp_context."
        )
