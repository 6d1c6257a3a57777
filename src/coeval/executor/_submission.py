"""From a function and its arguments to calls: what can travel goes to the dispatch, what cannot fails by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from coeval.engines import Function
from coeval.engines._payload import dump
from coeval.errors import CallNotSendable
from coeval.executor._call import Call, CallFuture, CallOptions
from coeval.executor._dispatch import Dispatch
from coeval.executor._functions import Functions, find_unsendable, function_name
from coeval.executor._summary import summarize


@dataclass(frozen=True, slots=True)
class Prepared:
    """A function as its caller has it, and as it travels, or why it cannot."""

    function: Callable[..., Any]
    travelling: Function | Exception


class Submission:
    """Makes calls for one executor; safe from any thread."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._functions = Functions()
        self._lock = threading.Lock()

    def prepare(self, function: Callable[..., Any]) -> Prepared:
        """Make a function ready to travel, as it is now."""
        try:
            with self._lock:
                travelling, is_new = self._functions.find(function)
        except Exception as error:
            return Prepared(function, error)
        if is_new:
            self._dispatch.note_function(travelling)
        return Prepared(function, travelling)

    def submit(
        self,
        prepared: Prepared,
        arguments: Sequence[tuple[tuple[Any, ...], dict[str, Any]]],
        options: CallOptions,
        *,
        keep: Callable[[bytes], object] | None = None,
    ) -> list[Future[Any]]:
        """
        Submit calls that travel together, one for each `(args, kwargs)`; their futures in the same order.

        Args:
            keep: takes each result's pickle before its future is done.

        Raises:
            RuntimeError: the executor is shut down.
        """
        first = self._dispatch.number_calls(len(arguments))
        function = prepared.travelling
        futures: list[Future[Any]] = []
        calls: list[Call] = []
        for number, (args, kwargs) in enumerate(arguments, first):
            try:
                if isinstance(function, Exception):
                    raise function
                payload = dump((args, kwargs))
            except Exception as error:
                futures.append(self._unsendable(prepared.function, args, kwargs, error))
                continue
            call = Call(number, function, args, kwargs, payload, options, keep=keep)
            call.future.call, call.future.home = call, self._dispatch
            calls.append(call)
            futures.append(call.future)
        if calls:
            self._dispatch.submit(calls)
        return futures

    def _unsendable(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
    ) -> Future[Any]:
        name, arguments = function_name(function), summarize(args, kwargs, values=True)
        part = find_unsendable(function, args, kwargs)
        made = CallNotSendable(
            f"{name}{arguments} cannot be sent to a worker: {part} cannot be pickled: "
            f"{type(error).__qualname__}: {error}. Make it inside the call, or send what it is made from.",
            function=name,
            arguments=arguments,
        )
        made.__cause__ = error
        future = CallFuture()
        self._dispatch.fail_unsent(future, made)
        return future
