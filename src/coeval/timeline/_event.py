"""One event on a timeline, and one call with its attempts: what a person or a program gets when it looks at one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from coeval.clocks import Instant, Stamp
from coeval.recording import JsonScalar

TimelineEventKind = Literal[
    "handed over",  # the driver gave a call to the engine
    "started",  # its worker began it
    "finished",  # its worker ended it
    "seen",  # the driver had its outcome
    "failure",  # why it failed
    "mark",
    "span",
    "log",
    "output",  # a line that was printed
    "worker first seen",  # the first reading of this process that was recorded
    "worker last seen",  # the last one
]

CallStatus = Literal["finished", "failed", "unfinished"]


class Duration(NamedTuple):
    """
    How long something took, ns: the truth is between the two; None: unknown on that side.

    Of two readings of one clock it is exact. Of two clocks it may reach below zero, which says that the order of the
    two ends is not known; nothing is clamped.
    """

    least_ns: int | None
    greatest_ns: int | None

    @property
    def is_exact(self) -> bool:
        """Whether both ends are one number."""
        return self.least_ns is not None and self.least_ns == self.greatest_ns


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """
    Something that happened.

    Attributes:
        kind: what it is.
        name: the function of a call, the name of a mark or span, the logger of a log record, "stdout" or
            "stderr" for a line.
        label: what `ex.options(name=...)` called the call; "" if nothing did.
        begin: when it happened, or when it began.
        end: when it ended; None for all but spans.
        begin_stamp, end_stamp: the raw readings, as recorded.
        host, pid: of the process it happened in; "" and 0 if that is not known.
        process: that process's number in the recording; -1: unknown.
        worker: its number in its engine; -1 for a driver.
        executor, call, attempt, batch, item: which call it belongs to; -1 (attempt: 0) outside of any.
        fields: what was given along: of marks, spans, logs and printed lines their own, of failures type, message and
            arguments.
        shared_by: so many calls have this start or end in common, because they travelled together and each was short.
            They ran one after the other within the piece.
        piece: the stamps that a shared start or end lies between; None: it is the call's own.
    """

    kind: TimelineEventKind
    name: str
    label: str
    begin: Instant
    end: Instant | None
    begin_stamp: Stamp
    end_stamp: Stamp | None
    host: str
    pid: int
    process: int
    worker: int
    executor: int
    call: int
    attempt: int
    batch: int
    item: int
    fields: Mapping[str, JsonScalar]
    shared_by: int = 1
    piece: tuple[Stamp, Stamp] | None = None


class CallFailure(NamedTuple):
    """Why an attempt failed; `arguments` give types and shapes. See `recording`'s FailureRow."""

    kind: str
    type_name: str
    message: str
    arguments: str
    is_final: bool


class FourInstants(NamedTuple):
    """When an attempt reached each of its four stamps; None: it never got so far."""

    handed_over: Instant | None
    started: Instant | None
    finished: Instant | None
    seen: Instant | None


class FourStamps(NamedTuple):
    """The raw readings of the four; None: it never got so far."""

    handed_over: Stamp | None
    started: Stamp | None
    finished: Stamp | None
    seen: Stamp | None


@dataclass(frozen=True, slots=True)
class CallAttempt:
    """
    One try at a call.

    Attributes:
        number: which try, from 1; 0 if not known.
        outcome: "ok", a failure's kind ("raised", "died", "moved", ...), or "unfinished".
        host, pid, process, worker: where it ran; "", 0, -1, -1 where nobody ran it.
        instants, stamps: its four stamps, on the timeline and as recorded.
        queued: from handed over to started; None if it never started.
        running: from started to finished; None if it did not get so far.
        shared_by: so many calls have this start and end in common; then `running` goes from 0 to all of it.
        failure: why it failed; None if it did not, or the reason is not recorded.
    """

    number: int
    batch: int
    item: int
    outcome: str
    host: str
    pid: int
    process: int
    worker: int
    instants: FourInstants
    stamps: FourStamps
    queued: Duration | None
    running: Duration | None
    shared_by: int
    failure: CallFailure | None


@dataclass(frozen=True, slots=True)
class TimelineCall:
    """
    One call, with every try at it.

    Attributes:
        executor, number: which call; numbers go from 0 in each executor.
        function: `module:qualname`.
        label: what `ex.options(name=...)` called it.
        status: "finished" (it gave a value), "failed", or "unfinished" when the recording ends.
        attempts: in their order, at least one; what was moved to another worker before it started counts too.
    """

    executor: int
    number: int
    function: str
    label: str
    status: CallStatus
    attempts: tuple[CallAttempt, ...]

    @property
    def last(self) -> CallAttempt:
        """The try that decided."""
        return self.attempts[-1]

    @property
    def begin(self) -> Instant | None:
        """When its last try started, or was handed over, or was seen to have failed: the first of these that is."""
        instants = self.last.instants
        return instants.started or instants.handed_over or instants.seen

    @property
    def queued(self) -> Duration | None:
        """Of its last try."""
        return self.last.queued

    @property
    def running(self) -> Duration | None:
        """Of its last try."""
        return self.last.running
