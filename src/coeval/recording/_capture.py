"""
Inside a call: who is running, and where its marks, spans and log records go.

Every process has at most one place for the events of each running call (a list that travels home with the outcome).
Outside of any call events go to every recorder that is open in this process, so that a driver's own marks stand on the
same timeline. Where nothing records, a mark costs one look-up and is gone.
"""

from __future__ import annotations

import os
from _contextvars import ContextVar  # `contextvars` takes another file to say no more

from coeval.clocks import SYSTEM_CLOCK
from coeval.clocks._named_tuple import NamedTuple
from coeval.recording._event import Event, plain_field

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from coeval.clocks import Snapshot
    from coeval.recording._event import EventKind, Fields


class Attempt(NamedTuple):
    """
    The call that is running here and now: `coeval.attempt()`.

    Attributes:
        call: number of the call in its executor, in order of submission from 0. The same on every try.
        attempt: which try this is; the first is 1.
    """

    call: int
    attempt: int


class Running:
    """
    What runs somewhere, to be changed from call to call: setting `call` and `item` is all that a call costs.

    Attributes:
        call: the call's number in its executor.
        attempt: which try this is.
        item: the call's place in its batch; -1 while no call runs.
        events: receives what happens in the call.
    """

    __slots__ = ("attempt", "call", "events", "item")

    def __init__(self, call: int, attempt: int, item: int, events: list[Event]) -> None:
        self.call = call
        self.attempt = attempt
        self.item = item
        self.events = events


_running: ContextVar[Running | None] = ContextVar("coeval_running", default=None)
# Threads that a call starts do not inherit context variables. In a worker there is one call at a time, so the process
# itself can answer for them.
_running_in_process: Running | None = None
_recorders: list[Callable[[Event], None]] = []


def run_in_process(running: Running | None) -> None:
    """
    Say what runs in this process, for all of its threads, until the next time; None: nothing. Only right where the
    process runs one call at a time, as a worker does:

        run_in_process(running)
        for item, call in enumerate(calls):
            running.call, running.item = call, item
            ...  # what it does is that call's
        running.item = -1
    """
    global _running_in_process
    _running_in_process = running


def running_here() -> Running | None:
    """What runs here: in this context, or else in this process; None outside of any call. Its `item` is not -1."""
    running = _running.get()
    if running is None:
        running = _running_in_process
    return running if running is not None and running.item >= 0 else None


def attempt() -> Attempt | None:
    """Tell which call and which try is running here; None outside of any call."""
    running = running_here()
    return Attempt(running.call, running.attempt) if running else None


def mark(name: str, **fields: object) -> None:
    """
    Put a moment on the timeline.

    Works in a call on any engine and in the program that submits. Where nothing records it does nothing.

    Args:
        name: what happened.
        fields: anything worth keeping; values that are no JSON scalars are kept as their `repr`.
    """
    emit("mark", SYSTEM_CLOCK.raw_ns(), None, name, fields)


def clock_event(snapshot: Snapshot) -> Event:
    """A snapshot of the process's clocks as an event."""
    return Event(
        "clock",
        snapshot.raw_before_ns,
        snapshot.raw_after_ns,
        "",
        {"realtime_ns": snapshot.realtime_ns, "boottime_ns": snapshot.boottime_ns},
    )


class running_call:  # noqa: N801  # used as `with running_call(…):`, like what `contextlib` makes
    """
    Send what happens inside this block into `events`. For workers that run one call after the other there is
    `run_in_process`, which costs less.

    Args:
        running: what `attempt()` answers inside.
        item: the item's number within its batch.
        events: receives the events.
        whole_process: also answer for threads that the call starts. Only right where the process runs one call at a
            time.
    """

    def __init__(self, running: Attempt, item: int, events: list[Event], *, whole_process: bool) -> None:
        self._running = Running(running.call, running.attempt, item, events)
        self._whole_process = whole_process

    def __enter__(self) -> None:
        self._token: Token[Running | None] = _running.set(self._running)
        if self._whole_process:
            run_in_process(self._running)

    def __exit__(self, *raised: object) -> None:
        _running.reset(self._token)
        if self._whole_process:
            run_in_process(None)


def emit(kind: EventKind, reading_ns: int, end_ns: int | None, name: str, fields: dict[str, object]) -> None:
    """Make an event of what happened here, and give it to the call that runs or to whoever records this process."""
    running = running_here()
    if running is None and not _recorders:
        return
    plain: Fields = {key: plain_field(value) for key, value in fields.items()}
    event = Event(kind, reading_ns, end_ns, name, plain, running.item if running else -1)
    if running is not None:
        running.events.append(event)
        return
    for record in list(_recorders):
        record(event)


def add_recorder(record: Callable[[Event], None]) -> None:
    """Send to `record` what happens in this process outside of any call, until `remove_recorder`."""
    _recorders.append(record)


def remove_recorder(record: Callable[[Event], None]) -> None:
    """Undo one `add_recorder`."""
    _recorders.remove(record)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_recorders.clear)  # they are the parent's
