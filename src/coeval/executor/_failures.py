"""From an engine's failure to the exception that a future gives: the value, what was expected, the next step."""

from __future__ import annotations

from typing import Any

from coeval.engines import Failure, Limits, Worker
from coeval.engines._payload import load
from coeval.errors import (
    CallExited,
    CallFailed,
    CallNotSendable,
    CallStopped,
    EngineError,
    MemoryLimitExceeded,
    RemoteError,
    RemoteTraceback,
    ResultNotSendable,
    TimeLimitExceeded,
    WorkersDoNotStart,
)


def exception_of(
    failure: Failure, *, function: str, arguments: str, attempt: int, worker: Worker | None, limits: Limits
) -> BaseException:
    """
    Make the exception for a call that failed and will not be tried again.

    Args:
        function: `module:qualname` of what was called.
        arguments: their summary.
        attempt: which try it was.
        worker: where it ran, if it did.
        limits: what it was allowed to use.
    """
    host, pid = (worker.host, worker.pid) if worker else ("", 0)
    facts: dict[str, Any] = {
        "function": function,
        "arguments": arguments,
        "attempt": attempt,
        "host": host,
        "pid": pid,
    }
    call = f"{function}{arguments}"
    where = f"pid {pid} on {host}" if worker else "no worker"
    tries = f", at try {attempt}" if attempt > 1 else ""
    error: BaseException
    match failure.kind:
        case "raised":
            error = _raised(failure, call, where, facts)
        case "exited":
            asked = (
                "was interrupted" if failure.type_name == "KeyboardInterrupt" else f"called sys.exit({failure.message})"
            )
            exited = CallExited(f"{call} {asked} in {where}{tries}: a call ends by returning or raising.", **facts)
            exited.code = failure.exit_code if failure.exit_code is not None else failure.message or None
            error = exited
        case "argument":
            error = CallNotSendable(
                f"the arguments of {call} cannot be rebuilt in {where}: {_cause(failure)}. "
                f"Their classes must be importable there and survive pickle.loads.",
                **facts,
            )
        case "function":
            error = CallNotSendable(
                f"{function} cannot be loaded in {where}: {_cause(failure)}. Its module must be importable there.",
                **facts,
            )
        case "result":
            error = ResultNotSendable(
                f"the result of {call} cannot be pickled in {where}: {failure.message or _cause(failure)}. "
                f"Return plain data, or write it to a file and return the path.",
                **facts,
            )
        case "died":
            from coeval.errors import WorkerDied  # see there

            if worker is None:
                message = (
                    f"{call} was not run: worker after worker ended while it took it up{tries}; the last "
                    f"{failure.message}. Arguments too large for a worker's memory do that. All other calls go on."
                )
            else:
                message = f"{call} lost its worker{tries}: {where} {_how_it_died(failure, limits)}"
            died = WorkerDied(message, **facts)
            died.signal, died.exit_code = failure.signal, failure.exit_code
            died.last_lines, died.crash = tuple(failure.lines), failure.crash
            died.memory_bytes_peak, died.is_out_of_memory = failure.memory_bytes_peak, failure.is_out_of_memory
            error = died
        case "time_limit":
            late = TimeLimitExceeded(
                f"{call} ran {failure.ran_s:.3g} s{tries} and was ended ({where}): its time limit is "
                f"{limits.time_s or 0.0:g} s.",
                **facts,
            )
            late.limit_s, late.ran_s = limits.time_s or 0.0, failure.ran_s
            error = late
        case "memory_limit":
            limit_bytes = limits.memory_bytes or 0
            large = MemoryLimitExceeded(
                f"{call} went over its memory limit of {limit_bytes:,} bytes{tries} ({where}): {_cause(failure)}. "
                f"Give it more with memory=, or less to do.",
                **facts,
            )
            large.limit_bytes = limit_bytes
            error = large
        case "stopped":
            error = CallStopped(f"{call} was stopped{tries} ({where}).", **facts)
        case "engine":
            kind = WorkersDoNotStart if failure.type_name == WorkersDoNotStart.__name__ else EngineError
            return kind(f"{call} was not run: {failure.message}")
        case "moved":
            raise AssertionError("a moved item is sent again, it does not fail")
    if failure.traceback and error.__cause__ is None:
        error.__cause__ = _cause_there(failure)
    return error


def unreadable_result(
    error: BaseException, *, function: str, arguments: str, attempt: int, worker: Worker | None
) -> CallFailed:
    """Make the exception for a call whose result arrived but cannot be rebuilt here."""
    host, pid = (worker.host, worker.pid) if worker else ("", 0)
    made = ResultNotSendable(
        f"the result of {function}{arguments} arrived but cannot be rebuilt here: {type(error).__qualname__}: {error}. "
        f"Its class must be importable here and survive pickle.loads.",
        function=function,
        arguments=arguments,
        attempt=attempt,
        host=host,
        pid=pid,
    )
    made.__cause__ = error
    return made


def _cause_there(failure: Failure) -> BaseException:
    """What was raised there; as text where it cannot be rebuilt here."""
    traceback = RemoteTraceback(failure.traceback)
    if failure.exception is not None:
        try:
            error = load(failure.exception)
        except BaseException:
            return traceback
        if isinstance(error, BaseException):
            BaseException.__setattr__(error, "__cause__", traceback)
            return error
    return traceback


def _raised(failure: Failure, call: str, where: str, facts: dict[str, Any]) -> BaseException:
    if failure.exception is not None:
        try:
            error = load(failure.exception)
        except BaseException as broken:
            reason = f"{type(broken).__qualname__}: {broken}"
        else:
            if isinstance(error, BaseException):
                # Not by assignment: a frozen dataclass refuses that.
                BaseException.__setattr__(error, "__cause__", RemoteTraceback(failure.traceback))
                return error
            reason = f"its pickle gave {type(error).__qualname__}, not an exception"
    else:
        reason = "it cannot be pickled there"
    remote = RemoteError(
        f"{call} raised {failure.type_name}: {failure.message} (in {where}; shown as text, because {reason})", **facts
    )
    remote.type_name = failure.type_name
    remote.original_message = failure.message
    remote.remote_traceback = failure.traceback
    return remote


def _cause(failure: Failure) -> str:
    return f"{failure.type_name}: {failure.message}" if failure.message else failure.type_name


def _how_it_died(failure: Failure, limits: Limits) -> str:
    parts = [_end_of(failure, limits)]
    if failure.memory_bytes_peak is not None:
        parts.append(f"Its memory was at most {failure.memory_bytes_peak:,} bytes.")
    parts.append("All other calls go on.")
    if failure.crash:
        parts.append(f"Where it crashed:\n{failure.crash}\n")
    if failure.lines:
        parts.append("\n  ".join(["The call's log ends with:", *failure.lines]))
    return " ".join(parts)


def _end_of(failure: Failure, limits: Limits) -> str:
    if failure.is_out_of_memory:
        return (
            f"was ended by {failure.signal}: the kernel was short of memory, as its count of processes ended for that "
            f"rose. Try fewer workers, or a memory= limit that fails the call instead."
        )
    if failure.signal == "SIGKILL":
        return (
            "was ended by SIGKILL. Where nobody sent it, that is the kernel short of memory: try fewer workers, or "
            "look into the kernel's log."
        )
    if failure.signal in ("SIGABRT", "SIGSEGV") and limits.memory_bytes is not None:
        return (
            f"was ended by {failure.signal}. It had a memory limit of {limits.memory_bytes:,} bytes, and C code that "
            f"cannot do without what it was refused ends so."
        )
    if failure.signal and failure.crash:
        return f"was ended by {failure.signal}."
    if failure.signal:
        return f"was ended by {failure.signal}. A crash in C code shows its stack under python -X faulthandler."
    if failure.exit_code is not None:
        return f"ended by itself with exit code {failure.exit_code}; something called os._exit, or the like."
    return f"ended, the engine cannot tell how{f': {failure.message}' if failure.message else ''}."
