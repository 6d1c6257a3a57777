"""
From coeval's errors to those that the standard pools raise in the same place.

    what happened                           ProcessPoolExecutor                  multiprocessing.Pool
    an argument cannot be pickled           the pickler's error                  the pickler's error
    an argument cannot be rebuilt there     CallBroken (a BrokenProcessPool)     CallNotSendable *
    the call raised                         that, caused by _RemoteTraceback     that, caused by RemoteTraceback
    the call called sys.exit                SystemExit                           CallExited *
    the result cannot be pickled            the pickler's error                  MaybeEncodingError
    the result cannot be rebuilt here       CallBroken                           ResultNotSendable *
    the worker died                         WorkerDied (a BrokenProcessPool)     WorkerDied *
    workers do not start                    PoolBroken (a BrokenProcessPool)     WorkersDoNotStart *

* There everybody waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
from multiprocessing.pool import MaybeEncodingError  # type: ignore[attr-defined]  # unknown to the stubs
from multiprocessing.pool import RemoteTraceback as PoolTraceback  # type: ignore[attr-defined]
from typing import Any

from coeval.errors import (
    CallExited,
    CallFailed,
    CallNotSendable,
    CallStopped,
    EngineError,
    RemoteTraceback,
    ResultNotSendable,
)


class CallBroken(CallFailed, BrokenProcessPool):
    """
    A call failed in a way that breaks the whole standard pool: its arguments could not be rebuilt on the worker, or its
    result not here, or it was ended by `terminate_workers`. Here it fails alone and the pool goes on.
    """


class PoolBroken(EngineError, BrokenProcessPool):
    """No worker can be started, as when the initializer raises; the pool takes no more calls."""


def as_executor_says(error: BaseException) -> BaseException:
    """Give what `concurrent.futures.ProcessPoolExecutor` would have raised for an error of a call."""
    match error:
        case CallNotSendable() if not _is_from_worker(error):
            return error.__cause__ or error
        case ResultNotSendable() if _is_from_worker(error):
            return _original(error, _RemoteTraceback)
        case CallNotSendable() | ResultNotSendable() | CallStopped():
            return _caused(CallBroken(*error.args, **_facts(error)), error)
        case CallExited():
            original = _original(error, _RemoteTraceback)
            return _caused(SystemExit(error.code), error) if original is error else original
        case EngineError() if not isinstance(error, BrokenProcessPool):
            return _caused(PoolBroken(*error.args), error)
    _show_traceback_as(error, _RemoteTraceback)
    return error


def as_pool_says(error: BaseException) -> BaseException:
    """Give what `multiprocessing.Pool` would have raised for an error of a call, if it would have raised anything."""
    match error:
        case CallNotSendable() if not _is_from_worker(error):
            return error.__cause__ or error
        case ResultNotSendable() if _is_from_worker(error):
            # There both are the `repr` of the thing; only the worker had the result.
            made = MaybeEncodingError(_original(error, PoolTraceback), None)
            made.value = str(error)
            return _caused(made, error)
    _show_traceback_as(error, PoolTraceback)
    return error


def _is_from_worker(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, RemoteTraceback) or (cause is not None and isinstance(cause.__cause__, RemoteTraceback))


def _original(error: BaseException, traceback_type: Callable[..., BaseException]) -> BaseException:
    """What was raised on the worker, or the error itself where that could not travel."""
    cause = error.__cause__
    if cause is None or isinstance(cause, RemoteTraceback):
        _show_traceback_as(error, traceback_type)
        return error
    _show_traceback_as(cause, traceback_type)
    return cause


def _show_traceback_as(error: BaseException, traceback_type: Callable[..., BaseException]) -> None:
    if isinstance(error.__cause__, RemoteTraceback) and error.__cause__.args:
        # Not by assignment: a frozen dataclass refuses that.
        BaseException.__setattr__(error, "__cause__", traceback_type(f'\n"""\n{error.__cause__.args[0]}"""'))


def _caused(made: BaseException, by: BaseException) -> BaseException:
    made.__cause__ = by
    return made


def _facts(error: CallFailed) -> dict[str, Any]:
    return {name: getattr(error, name) for name in ("function", "arguments", "attempt", "host", "pid")}
