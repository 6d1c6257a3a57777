"""
The mind of the local pool: facts in, actions out. No process, pipe or clock is touched here.

    batch sent ──> queue ──> idle worker ──> HandOver ──> pieces come ──> Deliver … ──> idle again
                     ^            │
                     │            └ none idle: StartWorker, up to the limit
                     │
    a worker is gone: what it delivered stands; the item it was running fails ("died", or "time_limit" or "stopped" if
        that
    is why it was ended); what it never started comes home as "moved", and the executor sends it again.

A worker has one batch at a time. So a batch that was handed over has at most one culprit, and what still waits can be
stopped without touching any process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from coeval.engines._attempt import Piece
from coeval.engines._engine import Batch, Failure, FailureKind, Outcome, Stamps, Worker
from coeval.engines.local._board import LOADING, BoardReading

# So many workers in a row that end before they are ready mean that none ever will be: no more are started, and what
# waits is left to those that are there, or fails where there is none.
# Fewer: a machine short of memory for a moment gives up. More: a broken environment is told of later.
START_FAILURES_MAX = 3

# How soon to look again at a limited item whose worker still loads the function: its time has not begun.
LOADING_LOOK_NS = 20_000_000


class Exit(NamedTuple):
    """
    How a process ended: `signal` is a name such as "SIGKILL", or "" and then `code` is its exit code (None: unknown).
    One that never began says why in `refusal`.
    """

    signal: str
    code: int | None
    refusal: str = ""

    def __str__(self) -> str:
        if self.refusal:
            return f"could not be started: {self.refusal}"
        if self.signal:
            return f"was ended by {self.signal}"
        return "ended" if self.code is None else f"ended by itself with exit code {self.code}"


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a worker; report `worker_ready` or `worker_gone` under this number."""

    number: int


@dataclass(frozen=True, slots=True)
class HandOver:
    """Stamp and write this batch to this worker; then report `handed_over`."""

    number: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class EndWorker:
    """Kill this worker and its process group now; `worker_gone` follows."""

    number: int


@dataclass(frozen=True, slots=True)
class DeliverOutcome:
    """Pass this to the executor."""

    outcome: Outcome


Action: TypeAlias = StartWorker | HandOver | EndWorker | DeliverOutcome


@dataclass(slots=True)
class _Ending:
    """Why we ended a worker, and which item for."""

    kind: Literal["time_limit", "stopped"]
    item: int
    ran_s: float


@dataclass(slots=True)
class _Member:
    """One worker of the pool."""

    worker: Worker | None = None  # None until it is ready
    batch: Batch | None = None
    delivered: int = 0  # items of the batch that came home
    handed_over_ns: int = 0
    look_ns: int | None = None  # when to look whether the current item is over its limit
    ending: _Ending | None = None


@dataclass(slots=True)
class PoolState:
    """
    Who is there, who has what, what waits.

    Attributes:
        workers_max: never more workers than this.
    """

    workers_max: int
    _members: dict[int, _Member] = field(default_factory=dict)
    _queue: deque[Batch] = field(default_factory=deque)
    _next_number: int = 0
    _start_failures: int = 0
    # Workers with lower numbers were started before a failure: that they get ready proves nothing.
    _unproven_below: int = 0

    # Facts ------------------------------------------------------------------------------------------------------------

    def batch_sent(self, batch: Batch) -> list[Action]:
        """The executor sent a batch."""
        self._queue.append(batch)
        return self._feed()

    def worker_ready(self, number: int, worker: Worker) -> list[Action]:
        """A worker that was started waits for its first batch."""
        if number >= self._unproven_below:
            self._start_failures = 0
        self._members[number].worker = worker
        return self._feed()

    def handed_over(self, number: int, now_ns: int) -> None:
        """The batch was stamped and is on its way to this worker."""
        member = self._members[number]
        member.handed_over_ns = now_ns
        member.look_ns = self._first_look_ns(member, now_ns)

    def piece_arrived(self, number: int, batch: int, piece: Piece, seen_ns: int) -> list[Action]:
        """A worker sent a piece of its batch."""
        member = self._members[number]
        sent = member.batch
        assert sent is not None, (number, batch)
        assert (sent.id, member.delivered) == (batch, piece.first), (number, batch, piece.first)
        member.delivered += piece.item_count
        stamps = Stamps(member.handed_over_ns, piece.started_ns, piece.finished_ns, seen_ns)
        outcome = Outcome(
            batch,
            piece.first,
            piece.item_count,
            piece.values,
            piece.failure,
            stamps,
            member.worker,
            piece.events,
            piece.item_stamps,
        )
        actions: list[Action] = [DeliverOutcome(outcome)]
        if member.delivered == len(sent.items):
            member.batch = None
            member.look_ns = None
            actions += self._feed()
        elif member.look_ns is not None:
            member.look_ns = self._first_look_ns(member, seen_ns)
        return actions

    def worker_gone(self, number: int, how: Exit, board: BoardReading, now_ns: int) -> list[Action]:
        """A worker ended, and everything it had sent before has been reported."""
        member = self._members.pop(number)
        actions: list[Action] = []
        if member.worker is None:
            self._start_failures += 1
            self._unproven_below = self._next_number
            if not self._may_start():
                # The others, if there are any, carry on by themselves.
                return [] if self._members else self._give_up(how, now_ns)
        else:
            self._start_failures = min(self._start_failures, START_FAILURES_MAX - 1)  # its place is worth one try
        if member.batch is not None:
            actions += self._lost(member, member.batch, how, board, now_ns)
        return actions + self._feed()

    def stop_asked(self, batch: int, item: int, boards: Mapping[int, BoardReading], now_ns: int) -> list[Action]:
        """Somebody wants one item ended. No action means that it is not here any more."""
        for waiting in self._queue:
            if waiting.id == batch:
                self._queue.remove(waiting)
                stopped = Failure("stopped", message="it had not started")
                actions: list[Action] = [_unrun(waiting, item, 1, stopped, now_ns)]
                return [
                    *_moved(waiting, 0, item, now_ns),
                    *actions,
                    *_moved(waiting, item + 1, len(waiting.items), now_ns),
                ]
        for number, member in self._members.items():
            if member.batch is not None and member.batch.id == batch and item >= member.delivered and not member.ending:
                reading = boards[number]
                started_ns = reading.started_ns if reading.batch == batch and reading.item == item else now_ns
                member.ending = _Ending("stopped", item, (now_ns - started_ns) / 1e9)
                member.look_ns = None
                return [EndWorker(number)]
        return []

    def time_passed(self, now_ns: int, boards: Mapping[int, BoardReading]) -> list[Action]:
        """It is later; end what is over its limit. `boards` are those of the workers in `looks_due`."""
        actions: list[Action] = []
        for number in self.looks_due(now_ns):
            member = self._members[number]
            limit_s = member.batch.limits.time_s if member.batch else None
            assert member.batch is not None
            assert limit_s is not None
            limit_ns = round(limit_s * 1e9)
            board = boards[number]
            if board.batch != member.batch.id or board.item == LOADING:
                member.look_ns = now_ns + min(limit_ns, LOADING_LOOK_NS)
                continue
            ran_ns = now_ns - max(board.started_ns, member.handed_over_ns)
            if ran_ns < limit_ns:
                member.look_ns = now_ns + limit_ns - ran_ns
                continue
            member.ending = _Ending("time_limit", board.item, ran_ns / 1e9)
            member.look_ns = None
            actions.append(EndWorker(number))
        return actions

    def failed(self, message: str, now_ns: int) -> list[Action]:
        """The pool itself cannot go on: everything that is outstanding fails."""
        failure = Failure("engine", message=message)
        held = [(m.batch, m.delivered) for m in self._members.values() if m.batch is not None]
        waiting, self._queue = [(batch, 0) for batch in self._queue], deque()
        for member in self._members.values():
            member.batch = None
        return [_unrun(batch, first, len(batch.items) - first, failure, now_ns) for batch, first in held + waiting]

    # Questions --------------------------------------------------------------------------------------------------------

    def looks_due(self, now_ns: int) -> list[int]:
        """Workers whose current item may be over its limit by now."""
        return [n for n, member in self._members.items() if member.look_ns is not None and member.look_ns <= now_ns]

    def next_look_ns(self) -> int | None:
        """When `time_passed` is worth calling next; None: no running item has a limit."""
        return min((m.look_ns for m in self._members.values() if m.look_ns is not None), default=None)

    def workers(self) -> Sequence[Worker]:
        """The workers that are ready or at work; the one question that any thread may ask."""
        return [member.worker for member in list(self._members.values()) if member.worker is not None]

    def is_idle(self, number: int) -> bool:
        """Is this worker ready and without a batch?"""
        member = self._members.get(number)
        return member is not None and member.worker is not None and member.batch is None

    # What follows -----------------------------------------------------------------------------------------------------

    def _feed(self) -> list[Action]:
        actions: list[Action] = []
        idle = [n for n, m in self._members.items() if m.worker is not None and m.batch is None and m.ending is None]
        for number in idle:
            if not self._queue:
                break
            member = self._members[number]
            member.batch, member.delivered, member.look_ns = self._queue.popleft(), 0, None
            actions.append(HandOver(number, member.batch))
        starting = sum(member.worker is None for member in self._members.values())
        wanted = min(len(self._queue) - starting, self.workers_max - len(self._members)) if self._may_start() else 0
        for _ in range(wanted):
            self._members[self._next_number] = _Member()
            actions.append(StartWorker(self._next_number))
            self._next_number += 1
        return actions

    def _may_start(self) -> bool:
        return self._start_failures < START_FAILURES_MAX

    def _first_look_ns(self, member: _Member, now_ns: int) -> int | None:
        assert member.batch is not None
        limit_s = member.batch.limits.time_s
        return None if limit_s is None else now_ns + round(limit_s * 1e9)

    def _lost(self, member: _Member, batch: Batch, how: Exit, board: BoardReading, now_ns: int) -> list[Action]:
        count = len(batch.items)
        if board.batch != batch.id:  # it ended before it took the batch up
            if member.ending is None:
                lost = Failure("moved", message=str(how), signal=how.signal, exit_code=how.code)
                return [_unrun(batch, member.delivered, count - member.delivered, lost, now_ns)]
            culprit = member.ending.item
        else:
            # An item is begun after the one before was finished, so the item begun last is where it ended. What was
            # finished but had not come home runs again.
            culprit = max(member.delivered, board.item)
        ending = member.ending
        if ending and ending.kind == "stopped":
            culprit = max(member.delivered, ending.item)  # whether it ran, or another one before it
        if ending and ending.item != culprit:
            # We ended the worker because of an item that was finished by then; this one is innocent.
            return _moved(batch, member.delivered, count, now_ns)
        kind: FailureKind = ending.kind if ending else "died"
        started_ns = board.started_ns if (board.batch, board.item) == (batch.id, culprit) else 0
        failure = Failure(
            kind,
            message=f"worker {how}",
            signal=how.signal,
            exit_code=how.code,
            ran_s=ending.ran_s if ending else 0.0,
        )
        stamps = Stamps(member.handed_over_ns, started_ns, 0, now_ns)
        failed = Outcome(batch.id, culprit, 1, (), failure, stamps, member.worker)
        return [
            *_moved(batch, member.delivered, culprit, now_ns),
            DeliverOutcome(failed),
            *_moved(batch, culprit + 1, count, now_ns),
        ]

    def _give_up(self, how: Exit, now_ns: int) -> list[Action]:
        self._start_failures = 0
        failure = Failure(
            "engine",
            type_name="WorkersDoNotStart",
            message=f"{START_FAILURES_MAX} workers in a row ended before they were ready; the last one {how}."
            + ("" if how.refusal else " What it wrote to stderr says why."),
            signal=how.signal,
            exit_code=how.code,
        )
        waiting, self._queue = list(self._queue), deque()
        return [_unrun(batch, 0, len(batch.items), failure, now_ns) for batch in waiting]


def _moved(batch: Batch, first: int, end: int, now_ns: int) -> list[Action]:
    return [_unrun(batch, first, end - first, Failure("moved"), now_ns)] if end > first else []


def _unrun(batch: Batch, first: int, count: int, failure: Failure, now_ns: int) -> DeliverOutcome:
    return DeliverOutcome(Outcome(batch.id, first, count, (), failure, Stamps(0, 0, 0, now_ns), None))
