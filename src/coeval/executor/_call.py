"""
A call: one function with its arguments, submitted once, and at the same time its future.

It is a `concurrent.futures.Future` in full, but what only some futures need (a lock, waiters, callbacks) is made when
somebody first needs it. Whoever resolves one first sets its state and then looks whether there is a lock; whoever waits
first makes the lock and then looks at the state: so one of the two always sees the other.
"""

from __future__ import annotations

import threading

from coeval.engines._engine import NO_LIMITS, Limits
from coeval.engines._payload import drop, size_of
from coeval.engines._segments import Heavy
from coeval.executor._retry import NO_RETRY, Retry
from coeval.executor._standard import (
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    PENDING,
    RUNNING,
    StandardFuture,
    become_standard,
    is_standard,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from coeval.engines import Function
    from coeval.engines._protocol import Arguments, Payload
    from coeval.executor._dispatch import Dispatch
    from coeval.executor._random import Seed

__all__ = ["CANCELLED", "PENDING", "RUNNING", "CallFuture", "CallOptions", "MapChunk"]

_making = threading.RLock()  # a signal handler may ask a future while its thread resolves one


class CallOptions:
    """What `ex.options(...)` sets, for each call submitted through it. Never changed once made."""

    __slots__ = ("limits", "name", "retry", "seed")

    def __init__(
        self, retry: Retry = NO_RETRY, limits: Limits = NO_LIMITS, name: str = "", seed: Seed | None = None
    ) -> None:
        self.retry, self.limits, self.name, self.seed = retry, limits, name, seed

    def named(self, name: str) -> CallOptions:
        """The same under another name."""
        return CallOptions(self.retry, self.limits, name, self.seed)

    def is_plain(self) -> bool:
        """Is nothing asked for that concerns single calls?"""
        return self.retry == NO_RETRY and self.limits == NO_LIMITS and not self.name and self.seed is None

    def travels_with(self, other: CallOptions) -> bool:
        """May calls with these options be in one batch? Each keeps its own name."""
        return self is other or (self.retry, self.limits) == (other.retry, other.limits)


_NO_OPTIONS = CallOptions()


class CallFuture(StandardFuture):
    """
    One call, from submit to its one outcome.

    Attributes:
        number: in order of submission, from 0; set when it is queued.
        function: None if it was never sent.
        args, kwargs: kept until the call is done, to say in an error what it was called with.
        payload: the same, as they travel.
        options: of this call.
        home: the dispatch that has the call; None: nobody will resolve it.
        attempt: which try is (or was) the last; 0 before the first.
        keep: takes the result's pickle before the future is done; None: nobody keeps it.
        moves: how often all of its batch was moved.
        batch, item: where it is now; -1 while it waits.
        count: how many items of a map it stands for.
        is_unwanted: if it comes back without having begun, it is over.
    """

    # Of the class until one of its futures has something else: making a future is on the path of every call.
    _state: str = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    number = -1
    attempt = 0
    moves = 0
    batch = -1
    item = -1
    count = 1
    is_unwanted = False
    keep: Callable[[bytes], object] | None = None

    def __init__(
        self,
        function: Function | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        payload: Arguments = b"",
        options: CallOptions = _NO_OPTIONS,
        home: Dispatch | None = None,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.payload = payload
        self.options = options
        self.home = home

    def __getattr__(self, name: str) -> Any:
        # What `Future.__init__` would have made, and what has not been imported yet.
        if name not in ("_condition", "_waiters", "_done_callbacks"):
            if name.startswith("__") or is_standard(CallFuture):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            become_standard()
            return getattr(self, name)
        with _making:
            made = self.__dict__.get(name)
            if made is None:
                made = self.__dict__[name] = threading.Condition() if name == "_condition" else []
            return made

    # The standard interface -------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> Any:
        """See `concurrent.futures.Future.result`. The thread that waits helps to bring results home."""
        if self._state != FINISHED and self.home is not None:
            timeout = self.home.wait(self, timeout)
        if self._state != FINISHED or self._exception is not None:
            try:
                if self._state == FINISHED and self._exception is not None:
                    raise self._exception
                become_standard()
                return super().result(timeout)
            finally:
                del self  # breaks a cycle through the traceback
        return self._result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See `concurrent.futures.Future.exception`."""
        if self._state != FINISHED and self.home is not None:
            timeout = self.home.wait(self, timeout)
        if self._state == FINISHED:
            return self._exception
        become_standard()
        return super().exception(timeout)

    def cancel(self) -> bool:
        """See `concurrent.futures.Future.cancel`: a call that was handed to the engine cannot be cancelled."""
        if self.home is None:
            become_standard()
            return super().cancel()
        with self.home.lock:  # under which it would become a running one
            if self._state != PENDING:
                return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)
            self._state = CANCELLED
        if "_condition" in self.__dict__:
            with self._condition:
                self._condition.notify_all()
            self._invoke_callbacks()
        return True

    def cancelled(self) -> bool:
        """See `concurrent.futures.Future.cancelled`."""
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def done(self) -> bool:
        """See `concurrent.futures.Future.done`."""
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED)

    def set_running_or_notify_cancel(self) -> bool:
        """See `concurrent.futures.Future.set_running_or_notify_cancel`."""
        if self._state == CANCELLED and "_condition" not in self.__dict__:
            self._state = CANCELLED_AND_NOTIFIED
            if "_condition" not in self.__dict__:  # nobody is to be told
                return False
            self._state = CANCELLED
        become_standard()
        return super().set_running_or_notify_cancel()

    def __repr__(self) -> str:
        become_standard()
        text = super().__repr__()
        return f"{text[:-1]} of {self}>" if self.function else text

    # For the dispatch -------------------------------------------------------------------------------------------------

    def is_undone(self) -> bool:
        """Is it to come yet?"""
        return self._state in (PENDING, RUNNING)

    def travels_in_batches(self) -> bool:
        """
        May others go with it? Not where it is tried again, nor where its result is kept: then a killed program repeats
        little.
        """
        return self.attempt == 0 and self.keep is None

    def start(self) -> bool:
        """Make it a running one; False: it was cancelled. Called with the dispatch's lock held."""
        if self._state == PENDING:
            self._state = RUNNING
            return True
        return False

    def give_up(self) -> None:
        """A running call that did not begin after all, and that nobody wants, is a cancelled one."""
        self._state = CANCELLED
        self.set_running_or_notify_cancel()
        with self._condition:
            self._condition.notify_all()
        self._invoke_callbacks()
        self.let_go()

    def finish(self, value: object) -> None:
        """Resolve a running call with what it returned."""
        self._result = value
        self._become_done()

    def fail(self, error: BaseException) -> None:
        """Resolve a running call with an exception."""
        self._exception = error
        self._become_done()

    def _become_done(self) -> None:
        # Whoever holds the condition sees this future either done, or done later and told of: `as_completed` would take
        # one that is both for two. While there is no condition, `_making` stands for it.
        with _making:
            if "_condition" not in self.__dict__:
                self._state = FINISHED
                return
        with self._condition:
            self._state = FINISHED
            for waiter in self._waiters:
                if self._exception is None:
                    waiter.add_result(self)
                else:
                    waiter.add_exception(self)
            self._condition.notify_all()
        self._invoke_callbacks()

    def __str__(self) -> str:
        name = self.function.name if self.function is not None else "?"
        return f"{name}{self.arguments(values=True)}"

    def arguments(self, item: int = 0, *, values: bool) -> str:
        """Its arguments in a few words; `item`: those of which of its items."""
        from coeval.executor._summary import summarize

        return summarize(self.args, self.kwargs or {}, values=values)

    def let_go(self) -> None:
        """The call is done: whatever its arguments hold may go as soon as nobody wants it."""
        if type(self.payload) is Heavy:
            self.drop_payload()
        else:
            self.payload = b""
        self.args, self.kwargs = (), None
        if self.keep is not None:
            self.keep = None

    def drop_payload(self) -> None:
        """Nobody will read it any more."""
        payload, self.payload = self.payload, b""
        if type(payload) is Heavy and self.home is not None:
            drop(payload, self.home.segments)


class MapChunk(CallFuture):
    """
    Some successive items of a map, as one call. Its result is the values of its first items: of all of them, or of
    those before the one that failed.

    Attributes:
        items: a list, or a range.
        spread, stride: see `engines.Packed`.
        travelled_bytes: the size of their pickle, and of those of what came home.
        values: what came home, in order.
        error: what the first failed item raised.
        rest: items that were cut off, because they run elsewhere; they come after these.
    """

    payload: Payload

    def __init__(
        self,
        function: Function,
        items: Sequence[Any],
        payload: Payload,
        options: CallOptions,
        home: Dispatch,
        *,
        spread: bool,
        stride: int,
    ) -> None:
        super().__init__(function, (), None, payload, options, home)
        self.items = items
        self.count = len(items)
        self.spread = spread
        self.stride = stride
        self.travelled_bytes = size_of(payload)
        self.values: list[Any] = []
        self.error: BaseException | None = None
        self.rest: MapChunk | None = None

    def travels_in_batches(self) -> bool:
        return False  # it is a batch by itself

    def cut(self, position: int) -> MapChunk:
        """Cut off the items from `position` on; what is cut off has no payload yet."""
        assert self.function is not None
        assert self.home is not None
        tail = MapChunk(
            self.function, self.items[position:], b"", self.options, self.home, spread=self.spread, stride=1
        )
        tail.number, tail.attempt, tail.batch, tail._state = self.number + position, self.attempt, self.batch, RUNNING
        tail.rest, self.rest, tail.is_unwanted = self.rest, tail, self.is_unwanted
        self.items, self.count = self.items[:position], position
        return tail

    def finish_if_all_is_home(self) -> None:
        """Resolve it if nothing of it is to come any more."""
        if self.is_undone() and (self.error is not None or len(self.values) >= self.count):
            self.finish(self.values)
            self.let_go()

    def arguments(self, item: int = 0, *, values: bool) -> str:
        from coeval.executor._summary import summarize

        position = len(self.values) + item
        if position >= len(self.items):
            return f"({self.count} items)"
        args = self.items[position] if self.spread else (self.items[position],)
        return summarize(args, {}, values=values)

    def let_go(self) -> None:
        super().let_go()
        self.items = ()
