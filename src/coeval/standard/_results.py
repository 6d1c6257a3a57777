"""What the asynchronous methods of a `Pool` give: results to wait for, and iterators over results as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from multiprocessing import TimeoutError as PoolTimeoutError
from queue import Empty, SimpleQueue
from typing import Any

from coeval.clocks import SYSTEM_CLOCK
from coeval.errors import CallStopped
from coeval.standard._errors import as_pool_says

Callback = Callable[[Any], object]


class AsyncResult:
    """
    The result of calls that were made asynchronously, as `multiprocessing.pool.AsyncResult`.

    It is there when all calls are done, also if one of them failed: then it is the exception that came first.

    Args:
        combine: makes the result out of the values of the calls.
        callback, error_callback: called with the result, or the exception, before it can be had, in a thread of the
            pool or the one that waits.
    """

    def __init__(
        self,
        combine: Callable[[list[Any]], Any],
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> None:
        self._combine = combine
        self._callback = callback
        self._error_callback = error_callback
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._futures: Sequence[Future[Any]] = ()
        self._left = 0
        self._value: Any = None
        self._error: BaseException | None = None

    def expect(self, futures: Sequence[Future[Any]]) -> None:
        """Take the calls that it is about; once."""
        self._futures, self._left = futures, len(futures)
        if not futures:
            self._finish()
        for future in futures:
            future.add_done_callback(self._one_done)

    def ready(self) -> bool:
        """Is it there?"""
        return self._ready.is_set()

    def successful(self) -> bool:
        """
        Did no call fail?

        Raises:
            ValueError: it is not there yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error is None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is there, or `timeout` seconds passed."""
        left_s = _countdown(timeout)
        # By its futures: whoever waits for one of those helps to bring outcomes home.
        for future in self._futures:
            try:
                future.exception(left_s())
            except CancelledError:
                continue
            except TimeoutError:
                return
        self._ready.wait(left_s())

    def get(self, timeout: float | None = None) -> Any:
        """
        Wait for the result and give it, or raise the exception.

        Raises:
            multiprocessing.TimeoutError: it is not there after `timeout` seconds.
        """
        self.wait(timeout)
        if not self.ready():
            raise PoolTimeoutError(f"no result after {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value

    def _one_done(self, future: Future[Any]) -> None:
        error = error_of(future)
        with self._lock:
            if self._error is None:
                self._error = error
            self._left -= 1
            if self._left:
                return
        self._finish()

    def _finish(self) -> None:
        try:
            if self._error is None:
                self._value = self._combine([future.result() for future in self._futures])
                if self._callback is not None:
                    self._callback(self._value)
            elif self._error_callback is not None:
                self._error_callback(self._error)
        finally:
            # Arguments and results may go as soon as nobody else wants them.
            self._futures = ()
            self._callback = self._error_callback = None
            self._ready.set()


class ResultIterator:
    """
    Results as they come, in the order of the items or in that in which they came; `next()` takes a time limit.

    Args:
        ordered: in the order of the items.
    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._coming: SimpleQueue[Future[Any] | None] = SimpleQueue()  # None: there are no more
        self._taking = threading.Lock()
        self._head: Future[Any] | None = None
        self._ended = False
        # Unordered: the calls that are not done, and one for whoever makes them.
        self._counting = threading.Lock()
        self._left = 1

    def __iter__(self) -> ResultIterator:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """
        Give the next result, or raise what its call raised.

        Args:
            timeout: seconds to wait for it.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: it did not come in time.
        """
        left_s = _countdown(timeout)
        with self._taking:
            if self._ended:
                raise StopIteration
            try:
                if self._head is None:
                    self._head = self._coming.get(timeout=left_s())
                if self._head is None:
                    self._ended = True
                    raise StopIteration
                self._head.exception(left_s())  # the thread that waits helps to bring it home
            except CancelledError:
                pass
            except (Empty, TimeoutError):
                raise PoolTimeoutError(f"no result after {timeout} s") from None
            future, self._head = self._head, None
        assert future is not None
        if (error := error_of(future)) is not None:
            raise error
        return future.result()

    def expect(self, future: Future[Any]) -> None:
        """Take the call of the next item."""
        if self._ordered:
            self._coming.put(future)
            return
        with self._counting:
            self._left += 1
        future.add_done_callback(self._arrived)

    def end(self) -> None:
        """There are no more items."""
        if self._ordered:
            self._coming.put(None)
        else:
            self._one_less()

    def _arrived(self, future: Future[Any]) -> None:
        self._coming.put(future)
        self._one_less()

    def _one_less(self) -> None:
        with self._counting:
            self._left -= 1
            was_last = self._left == 0
        if was_last:
            self._coming.put(None)


def failed(error: BaseException) -> Future[Any]:
    """A call that is done and raised this."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def error_of(future: Future[Any]) -> BaseException | None:
    """What a call that is done raised, in the words of `multiprocessing.Pool`; None: nothing."""
    if future.cancelled():
        return CallStopped("the pool was terminated before the call began; nothing of it was run")
    error = future.exception()
    return None if error is None else as_pool_says(error)


def _countdown(timeout_s: float | None) -> Callable[[], float | None]:
    """What is left of a time limit from now on, in seconds; never below 0."""
    if timeout_s is None:
        return lambda: None
    deadline_ns = SYSTEM_CLOCK.raw_ns() + round(timeout_s * 1e9)
    return lambda: max(0, deadline_ns - SYSTEM_CLOCK.raw_ns()) / 1e9
