"""A call: one function with its arguments, submitted once, and its future."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from coeval.engines import NO_LIMITS, Function, Limits
from coeval.executor._retry import NO_RETRY, Retry
from coeval.executor._summary import summarize


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What `ex.options(...)` sets, for each call submitted through it."""

    retry: Retry = NO_RETRY
    limits: Limits = NO_LIMITS
    name: str = ""


class CallFuture(Future[Any]):
    """
    A `concurrent.futures.Future` that knows its call; everything standard works on it.

    Attributes:
        call: None if it was never sent.
        home: the dispatch that has the call.
    """

    call: Call | None = None
    home: object = None

    def __repr__(self) -> str:
        text = super().__repr__()
        return f"{text[:-1]} of {self.call}>" if self.call else text


@dataclass(slots=True, eq=False)
class Call:
    """
    One call, from submit to its one outcome.

    Attributes:
        number: in order of submission, from 0.
        args, kwargs: kept until the call is done, to say in an error what it was called with.
        payload: their pickle.
        attempt: which try is (or was) the last; 0 before the first.
        keep: takes the result's pickle before the future is done; None: nobody keeps it.
        moves: how often all of its batch was moved.
        batch, item: where it is now; -1 while it waits.
    """

    number: int
    function: Function
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    payload: bytes
    options: CallOptions
    future: CallFuture = field(default_factory=CallFuture)
    keep: Callable[[bytes], object] | None = None
    attempt: int = 0
    moves: int = 0
    batch: int = -1
    item: int = -1

    def __str__(self) -> str:
        return f"{self.function.name}{self.arguments(values=True)}"

    def travels_with(self, other: Call) -> bool:
        """May both be in one batch? Each keeps its own name."""
        mine, theirs = self.options, other.options
        return self.function is other.function and (mine.retry, mine.limits) == (theirs.retry, theirs.limits)

    def arguments(self, *, values: bool) -> str:
        """Its arguments in a few words."""
        return summarize(self.args, self.kwargs, values=values)

    def let_go(self) -> None:
        """The call is done: whatever its arguments and its result hold may go as soon as nobody wants it."""
        self.args, self.kwargs, self.payload, self.keep = (), {}, b"", None
        # The future has its call. Both ways, and a large result would stay until the garbage collector comes.
        self.future = _DONE


_DONE = CallFuture()
_DONE.set_result(None)
