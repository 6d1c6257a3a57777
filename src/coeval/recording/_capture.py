"""
Inside a call: who is running, and where its marks, spans and log records go.

Every process has at most one `Sink` per running call (a list that travels home with the outcome). Outside of any call
events go to every recorder that is open in this process, so that a driver's own marks stand on the same timeline. Where
nothing records, a mark costs one look-up and is gone.
"""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from coeval.clocks import SYSTEM_CLOCK, Clock, Snapshot
from coeval.recording._event import Event, Fields, JsonScalar, plain_field


class Attempt(NamedTuple):
    """
    The call that is running here and now: `coeval.attempt()`.

    Attributes:
        call: number of the call in its executor, in order of submission from 0. The same on every try.
        attempt: which try this is; the first is 1.
    """

    call: int
    attempt: int


class _Running(NamedTuple):
    attempt: Attempt
    item: int
    events: list[Event]


_running: ContextVar[_Running | None] = ContextVar("coeval_running", default=None)
# Threads that a call starts do not inherit context variables. In a worker there is one call at a time, so the process
# itself can answer for them.
_running_in_process: _Running | None = None
_recorders: list[Callable[[Event], None]] = []
_recorders_lock = threading.Lock()


def attempt() -> Attempt | None:
    """Tell which call and which try is running here; None outside of any call."""
    running = _running.get() or _running_in_process
    return running.attempt if running else None


def mark(name: str, **fields: object) -> None:
    """
    Put a moment on the timeline.

    Works in a call on any engine and in the program that submits. Where nothing records it does nothing.

    Args:
        name: what happened.
        fields: anything worth keeping; values that are no JSON scalars are kept as their `repr`.
    """
    _emit("mark", SYSTEM_CLOCK.raw_ns(), None, name, fields)


@contextmanager
def span(name: str, **fields: object) -> Iterator[None]:
    """
    Put a stretch of time on the timeline: from entering to leaving the `with` block.

    If the block raises, the span is kept with a field `error` that names the exception, which goes on.
    """
    began_ns = SYSTEM_CLOCK.raw_ns()
    try:
        yield
    except BaseException as error:
        fields = {**fields, "error": f"{type(error).__name__}: {error}"}
        raise
    finally:
        _emit("span", began_ns, SYSTEM_CLOCK.raw_ns(), name, fields)


def clock_event(snapshot: Snapshot) -> Event:
    """A snapshot of the process's clocks as an event."""
    return Event(
        "clock",
        snapshot.raw_before_ns,
        snapshot.raw_after_ns,
        "",
        {"realtime_ns": snapshot.realtime_ns, "boottime_ns": snapshot.boottime_ns},
    )


@contextmanager
def running_call(running: Attempt, item: int, events: list[Event], *, whole_process: bool) -> Iterator[None]:
    """
    Send what happens inside this block into `events`.

    Args:
        running: what `attempt()` answers inside.
        item: the item's number within its batch.
        events: receives the events.
        whole_process: also answer for threads that the call starts. Only right where the process runs one call at a
            time.
    """
    global _running_in_process
    entry = _Running(running, item, events)
    token = _running.set(entry)
    if whole_process:
        _running_in_process = entry
    try:
        yield
    finally:
        _running.reset(token)
        if whole_process:
            _running_in_process = None


def add_recorder(record: Callable[[Event], None]) -> None:
    """Send to `record` what happens in this process outside of any call, until `remove_recorder`."""
    with _recorders_lock:
        _recorders.append(record)


def remove_recorder(record: Callable[[Event], None]) -> None:
    """Undo one `add_recorder`."""
    with _recorders_lock:
        _recorders.remove(record)


class LogCapture(logging.Handler):
    """
    A handler for the root logger that turns `logging` records of running calls into events. It never raises.

    Outside of a call it keeps nothing: the driver's own log is the driver's.

    Args:
        alone_on_root: the process is a worker, whose records are printed by the caller. Else it is the caller's own
            process, where nothing may change by our being here: a record that no other handler takes goes to
            `logging.lastResort`, as it would without us.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK, *, alone_on_root: bool = True) -> None:
        super().__init__()
        self._clock = clock
        self._alone_on_root = alone_on_root

    def emit(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if not self._alone_on_root and last and record.levelno >= last.level and not _has_other_handler(record, self):
            last.handle(record)
        running = _running.get() or _running_in_process
        if running is None:
            return
        reading_ns = self._clock.raw_ns()
        try:
            fields = _log_fields(record)
        except Exception:
            self.handleError(record)
            return
        running.events.append(Event("log", reading_ns, None, record.name, fields, running.item))


def _has_other_handler(record: logging.LogRecord, this: logging.Handler) -> bool:
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger:
        if any(handler is not this for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


# What every LogRecord has. Anything else on a record was put there by `extra=`.
_RECORD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _log_fields(record: logging.LogRecord) -> dict[str, JsonScalar]:
    fields: dict[str, JsonScalar] = {
        "level": record.levelno,
        "message": plain_field(record.getMessage()),
        "file": record.pathname,
        "line": record.lineno,
    }
    if record.exc_info and record.exc_info[0] is not None:
        fields["traceback"] = plain_field("".join(traceback.format_exception(*record.exc_info)))
    elif record.exc_text:
        fields["traceback"] = plain_field(record.exc_text)
    for name in vars(record).keys() - _RECORD_ATTRIBUTES:
        fields[f"extra.{name}"] = plain_field(getattr(record, name))
    return fields


def _emit(kind: str, reading_ns: int, end_ns: int | None, name: str, fields: dict[str, object]) -> None:
    running = _running.get() or _running_in_process
    if running is None and not _recorders:
        return
    plain: Fields = {key: plain_field(value) for key, value in fields.items()}
    event = Event(
        "span" if kind == "span" else "mark", reading_ns, end_ns, name, plain, running.item if running else -1
    )
    if running is not None:
        running.events.append(event)
        return
    with _recorders_lock:
        recorders = list(_recorders)
    for record in recorders:
        record(event)


def _after_fork_in_child() -> None:
    # The recorders are the parent's, and another thread of it may have held the lock.
    global _recorders_lock
    _recorders_lock = threading.Lock()
    _recorders.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
