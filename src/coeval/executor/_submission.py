"""From a function and its arguments to calls: what can travel goes to the dispatch, what cannot fails by itself."""

from __future__ import annotations

import threading

from coeval.engines._payload import dump, dump_call
from coeval.executor._call import CallFuture, MapChunk
from coeval.executor._functions import Functions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future
    from typing import Any

    from coeval.engines import Function
    from coeval.engines._protocol import Payload
    from coeval.executor._call import CallOptions
    from coeval.executor._dispatch import Dispatch


class Prepared:
    """A function as its caller has it, and as it travels, or why it cannot."""

    __slots__ = ("function", "travelling")

    def __init__(self, function: Callable[..., Any], travelling: Function | Exception) -> None:
        self.function, self.travelling = function, travelling


class Submission:
    """Makes calls for one executor; safe from any thread."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._functions = Functions()
        self._lock = threading.Lock()

    def prepare(self, function: Callable[..., Any]) -> Prepared:
        """Make a function ready to travel, as it is now."""
        try:
            return Prepared(function, self._find(function))
        except Exception as error:
            return Prepared(function, error)

    def _find(self, function: Callable[..., Any]) -> Function:
        known = self._functions.find_named(function)
        if known is not None:
            return known
        with self._lock:
            travelling, is_new = self._functions.find(function)
        if is_new:
            self._dispatch.note_function(travelling)
        return travelling

    def call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions
    ) -> CallFuture:
        """
        Submit one call of a function as it is now.

        Raises:
            RuntimeError: the executor is shut down.
        """
        dispatch = self._dispatch
        if dispatch.is_closed:
            raise dispatch.refusal()
        try:
            travelling = self._find(function)
            planted = args if options.seed is None else options.seed.planted(args)
            payload = dump_call(planted, kwargs, dispatch.segments)
        except Exception as error:
            return self._unsendable(function, args, kwargs, error)
        call = CallFuture(travelling, args, kwargs, payload, options, dispatch)
        dispatch.submit(call)
        return call

    def submit(
        self,
        prepared: Prepared,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: CallOptions,
        *,
        keep: Callable[[bytes], object] | None = None,
    ) -> CallFuture:
        """
        Submit one call of a function as it was.

        Args:
            keep: takes the result's pickle before the future is done.

        Raises:
            RuntimeError: the executor is shut down.
        """
        dispatch, function = self._dispatch, prepared.travelling
        if dispatch.is_closed:
            raise dispatch.refusal()
        try:
            if isinstance(function, Exception):
                raise function
            planted = args if options.seed is None else options.seed.planted(args)
            payload = dump_call(planted, kwargs, dispatch.segments)
        except Exception as error:
            return self._unsendable(prepared.function, args, kwargs, error)
        call = CallFuture(function, args, kwargs, payload, options, dispatch)
        if keep is not None:
            call.keep = keep
        dispatch.submit(call)
        return call

    def submit_chunk(
        self, prepared: Prepared, items: Sequence[Any], options: CallOptions, *, spread: bool, stride: int
    ) -> MapChunk | None:
        """
        Submit successive items of a map as one call; None: not all of them can travel.

        Args:
            items: a list, or a range.
            spread, stride: see `engines.Packed`.

        Raises:
            RuntimeError: the executor is shut down.
        """
        if self._dispatch.is_closed:
            raise self._dispatch.refusal()
        function = prepared.travelling
        if isinstance(function, Exception):
            return None
        try:
            payload: Payload = dump(items, self._dispatch.segments)
        except Exception:
            return None
        chunk = MapChunk(function, items, payload, options, self._dispatch, spread=spread, stride=stride)
        self._dispatch.submit(chunk)
        return chunk

    def give_up(self, calls: Iterable[Future[Any]]) -> None:
        """Nobody wants these any more: cancel what waits, and call back what was sent and has not begun."""
        self._dispatch.give_up([call for call in calls if isinstance(call, CallFuture)])

    def item_ns(self, prepared: Prepared) -> float | None:
        """How long a call of a function takes, as far as is known."""
        function = prepared.travelling
        return None if isinstance(function, Exception) else self._dispatch.item_ns(function)

    def _unsendable(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception
    ) -> CallFuture:
        if isinstance(error, MemoryError):
            return self._fail(error)
        from coeval.errors import CallNotSendable
        from coeval.executor._functions import find_unsendable, function_name
        from coeval.executor._summary import summarize

        name, arguments = function_name(function), summarize(args, kwargs, values=True)
        part = find_unsendable(function, args, kwargs)
        made = CallNotSendable(
            f"{name}{arguments} cannot be sent to a worker: {part} cannot be pickled: "
            f"{type(error).__qualname__}: {error}. Make it inside the call, or send what it is made from.",
            function=name,
            arguments=arguments,
        )
        made.__cause__ = error
        return self._fail(made)

    def _fail(self, error: Exception) -> CallFuture:
        future = CallFuture(home=self._dispatch)
        self._dispatch.fail_unsent(future, error)
        return future
