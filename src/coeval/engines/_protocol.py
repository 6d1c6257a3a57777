"""What an engine does; what passes between it and the executor is in `_engine.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from coeval.engines._engine import Batch, Capabilities, Outcome, RunningItem, Worker
from coeval.engines._live_clocks import LiveClocks
from coeval.engines._segments import Heavy, Segments

# A pickle, or one whose large parts travel beside it.
Payload: TypeAlias = bytes | Heavy

# What may also travel as it is, to and from an engine with `segments`.
Bare: TypeAlias = int | float | str | bool | None
Arguments: TypeAlias = Payload | tuple[Bare, ...]
Returned: TypeAlias = Payload | Bare

Deliver: TypeAlias = Callable[[Outcome], None]

FailureKind = Literal[
    "raised",  # the function raised
    "exited",  # it raised SystemExit or KeyboardInterrupt
    "argument",  # its arguments could not be rebuilt on the worker
    "function",  # the function itself could not be
    "result",  # what it returned could not be pickled
    "died",  # its worker ended under it
    "time_limit",  # it was ended for running too long
    "memory_limit",  # it raised MemoryError under a memory limit
    "stopped",  # it was ended on request
    "engine",  # the engine itself cannot go on
    "moved",  # it never started, its worker ended before: nobody's fault. It is sent again as the same attempt
]


@runtime_checkable
class ShowsStacks(Protocol):
    """What an engine does besides that has the capability `stacks`; from any thread."""

    def running(self) -> Sequence[RunningItem]:
        """The items that run now."""
        ...

    def stacks(self) -> Sequence[tuple[RunningItem, str]]:
        """The items that run now, each with the Python stacks of its worker's threads, or why there are none."""
        ...


@runtime_checkable
class MeasuresClocks(Protocol):
    """What an engine does besides that can ask its workers' clocks without a call."""

    def keep_clocks_known(self, clocks: LiveClocks) -> None:
        """
        Said before `start`: whom to ask, and when.

        Each host is asked once when it is first heard of, as these say while work is out, and once more when the work
        is done. Answers are delivered as outcomes of no call.
        """
        ...


@runtime_checkable
class SharesObjects(Protocol):
    """
    What an engine does besides that has no `segments`, as arguments travel whole, but can keep shared objects apart
    from them.
    """

    @property
    def share_segments(self) -> Segments:
        """Where the caller's process puts shared objects."""
        ...

    def publish(self, heavy: Heavy) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """
        An object is in the segments, for every worker that will be given its handle.

        Returns:
            What the handle's pickle calls on a worker, and with what, to have the object.
        """
        ...

    def withdraw(self, heavy: Heavy) -> None:
        """Nobody will be given that handle any more. May be called from finalizers: takes no lock, never waits."""
        ...


@runtime_checkable
class Engine(Protocol):
    """
    Carries batches to workers and outcomes home.

    `start` is called once, then the others from any thread. `deliver` may be called from any thread, also from within
    `send`, and never waits for anything but short locks.
    """

    name: str
    """The URL's scheme: "local", "inline", "dask"."""

    capabilities: Capabilities

    @property
    def segments(self) -> Segments | None:
        """
        Where large parts of arguments go beside the batch, from `start` on; None: everything goes in the batch, as
        pickles. With them small plain arguments are in the batch as they are, and results may be (see `_payload.py`).
        """
        ...

    def start(self, deliver: Deliver) -> None:
        """
        Get ready; every item sent later comes home through `deliver`. Workers may start later, when they are needed.
        """
        ...

    def window(self) -> int:
        """
        How many batches the engine wants outstanding at once, at least 1.

        This is the back-pressure: the executor holds all others back, where they can still be cancelled and reordered.
        """
        ...

    def send(self, batch: Batch) -> None:
        """Take a batch. Never waits for work to be done, unless the work is done right here (`inline:`)."""
        ...

    def pump(self, is_wanted: Callable[[], bool], timeout_s: float | None) -> None:
        """
        Lend the calling thread to the engine, so that what it waits for takes no way through another thread.

        Returns when `is_wanted()` is false, `timeout_s` is over, or the engine needs no help: then whoever waits waits
        for the future itself. A time of 0 takes what is there.
        """
        ...

    def stop(self, batch: int, item: int) -> bool:
        """
        End one item that was sent, whether it runs or waits; it comes home as "stopped".

        Returns:
            False if it is not here any more or the engine cannot do it.
        """
        ...

    def call_back(self, batch: int) -> None:
        """
        Nobody wants this batch any more: what of it has not begun shall come home as "moved".

        An engine that cannot do it does nothing.
        """
        ...

    def workers(self) -> Sequence[Worker]:
        """The workers that are alive now."""
        ...

    def close(self) -> None:
        """
        End every worker, at once and whatever it is doing, and free everything; nothing is delivered afterwards.

        What had come home by then is delivered before it returns: a call that was finished counts, also after Ctrl-C.
        Safe to call twice. The executor waits for outstanding batches first if somebody wants them.
        """
        ...
