"""
The mind of the local pool: facts in, actions out. No process, pipe or clock is touched here.

    batch sent ──> queue ──> idle worker ──> HandOver ──> pieces come ──> Outcome … ──> idle again
                     ^            │
                     │            ├ none idle: StartWorker, up to the limit
                     │            └ calls proved short: a second batch waits at each worker
                     │
    a worker has ended: its place is free, and is taken at once if more work is to be expected than others can begin.
    a worker is gone: what it delivered stands; the item it was running fails ("died", or "time_limit" or "stopped" if
        that is why it was ended); what it had finished and not sent is on its shelf; what it never started comes
        home as "moved", and the executor sends it again.
    an item runs for long: what was finished before it, and waits for it to be sent, is taken from the shelf.
    a worker idles while calls wait behind a long one: CallBack, and what was not begun comes home as "moved".

A worker runs its batches in order, so there is at most one culprit when it dies. That order is a batch's *turn*, which
is what the board shows: ids are given by the executor, and threads may send them in another order. What still waits
here can be stopped without touching any process.
"""

from __future__ import annotations

from collections import deque

from coeval.clocks._named_tuple import NamedTuple, unchecked
from coeval.engines._engine import Batch, Failure, Outcome, Packed, RunningItem, Stamps
from coeval.engines.local._board import LOADING, NO_LIMIT, BoardReading, key_of, turn_and_item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal, TypeAlias

    from coeval.engines._attempt import Piece
    from coeval.engines._engine import Worker
    from coeval.engines._protocol import FailureKind
    from coeval.recording import Event

# So many workers in a row that end before they are ready mean that none ever will be: no more are started, and what
# waits is left to those that are there, or fails where there is none.
# Fewer: a machine short of memory for a moment gives up. More: a broken environment is told of later.
START_FAILURES_MAX = 3

# How soon to look again at a limited item whose worker still loads the function: its time has not begun.
LOADING_LOOK_NS = 20_000_000

# Where batches last no longer than this, and their items on average no longer than that, the next one waits at the
# worker already, so that it never idles for the way of a result and the next batch, about 0.1 ms.
# Shorter: calls of some milliseconds pay for that way. Longer: what was handed over cannot be cancelled any more.
BRISK_NS_MAX = 38_000_000
BRISK_ITEM_NS_MAX = 10_000_000

# A program that makes a new function for each call must not fill the memory.
FUNCTIONS_KEPT_MAX = 1024

# What waits behind an item that runs for so long is called back if another worker idles.
# Shorter: batches of short calls are torn apart. Longer: it waits longer.
CALL_BACK_AFTER_NS = 5_000_000

# What was finished before an item that runs for so long is taken from the shelf. Whether there is more is looked for
# again and again, each time after as long as the item has run by then.
# Shorter: batches that are as long as they should be (`BATCH_NS`, and what others take meanwhile) are looked at for
# nothing. Longer: finished calls wait longer.
KEPT_AFTER_NS = 45_000_000

# What a worker has not even begun after so long goes to another one that idles: somebody has stopped it (SIGSTOP), or
# the machine has no core for it.
# Shorter: on a busy machine calls go to and fro between workers none of which gets a core. Longer: it waits longer.
STUCK_AFTER_NS = 1_000_000_000

# A worker that has done its share may run its atexit functions, and wait for threads that calls left, so long.
LEAVE_NS_MAX = 2_000_000_000

# After so long a worker has seen the limit on its board, or we have seen what it began (see `_board.py`).
SEEN_AFTER_NS = 1_000_000


_MOVED = Failure("moved")


class Exit(NamedTuple):
    """
    How a process ended: `signal` is a name such as "SIGKILL", or "" and then `code` is its exit code (None: unknown).
    One that never began says why in `refusal`. The rest is what its slate showed (see `_slate.py`): the call that
    logged, its last lines, all that it logged as events, and the Python stack of a crash; then the most memory it had,
    and whether the kernel was short of memory.
    """

    signal: str
    code: int | None
    refusal: str = ""
    call: int = -1
    lines: Sequence[str] = ()
    crash: str = ""
    is_out_of_memory: bool = False
    memory_bytes_peak: int | None = None
    events: Sequence[Event] = ()

    def __str__(self) -> str:
        if self.refusal:
            return f"could not be started: {self.refusal}"
        if self.signal:
            return f"was ended by {self.signal}"
        return "ended" if self.code is None else f"ended by itself with exit code {self.code}"


class StartWorker(NamedTuple):
    """Start a worker; report `worker_ready` or `worker_gone` under this number."""

    number: int


class HandOver(NamedTuple):
    """
    Stamp and write this batch to this worker; then report `handed_over`, and `refused` where the worker takes nothing.
    If it cannot be written down, report `not_handed_over` instead.

    Its turn is what the worker calls it by, on the board and in its pieces.
    """

    number: int
    batch: Batch
    turn: int


class EndWorker(NamedTuple):
    """Kill this worker and its process group now; `worker_gone` follows."""

    number: int


class LetGo(NamedTuple):
    """Close this worker's command pipe: it has done its share and ends by itself; `worker_gone` follows."""

    number: int


class CallBack(NamedTuple):
    """Show this limit on this worker's row of the board."""

    number: int
    key: int


if TYPE_CHECKING:
    # An `Outcome` is to be passed to the executor.
    Action: TypeAlias = StartWorker | HandOver | EndWorker | LetGo | CallBack | Outcome


class _Ending(NamedTuple):
    """Why we ended a worker, and which item for."""

    kind: Literal["time_limit", "stopped"]
    turn: int
    item: int
    ran_s: float


class _Held:
    """A batch that a worker has: items [delivered, end) are its to do, what is beyond was moved away."""

    __slots__ = ("batch", "delivered", "end", "handed_over_ns", "is_untouched", "kept", "late", "stopped", "turn")

    def __init__(self, batch: Batch, turn: int = 0) -> None:
        self.batch = batch
        self.turn = turn
        self.delivered = 0
        self.end = len(batch.items)
        self.handed_over_ns = 0
        self.kept: Piece | None = None  # what came from the shelf last, and will come in a piece as well
        self.late: Sequence[Event] = ()  # came when all that they could have come home with was home
        self.is_untouched = False  # its worker had ended before it was handed over
        self.stopped: frozenset[int] = frozenset()  # items that somebody wants stopped


class _Member:
    """One worker of the pool."""

    __slots__ = (
        "calls_given",
        "ending",
        "has_ended",
        "held",
        "is_brisk",
        "is_busy",
        "is_followed",
        "is_large",
        "is_leaving",
        "is_seen_running",
        "kept_ns",
        "leave_by_ns",
        "limit_key",
        "limit_ns",
        "seen_ns",
        "since_ns",
        "worker",
    )

    def __init__(self) -> None:
        self.worker: Worker | None = None  # None until it is ready
        self.held: deque[_Held] = deque()
        self.ending: _Ending | None = None
        self.kept_ns: int | None = None  # when to look what is on its shelf
        self.limit_ns: int | None = None  # when to look whether the current item is over its limit
        self.since_ns = 0  # when the first batch was handed over, or something of it came
        self.is_seen_running = False  # the board has shown that it began its first batch
        # What the board shows as its limit; below `NO_LIMIT` it gets nothing new until all it has is done or came back.
        self.limit_key = NO_LIMIT
        self.seen_ns: int | None = None  # when to look what it began in spite of having been called back
        self.calls_given = 0
        self.is_large = False  # it leaves when it has done what it has
        self.is_leaving = False  # or has left
        self.leave_by_ns: int | None = None
        self.is_busy = False  # it has a batch
        self.is_brisk = False  # its first batch is of a function whose batches proved short
        self.has_ended = False  # its process is over, and its last words are to come
        self.is_followed = False  # when they have come, more is to be expected for another one to do

    def takes(self, held_max: int) -> bool:
        """Can it be given a batch?"""
        return (
            self.worker is not None
            and len(self.held) <= held_max
            and self.ending is None
            and self.limit_key == NO_LIMIT
            and not self.is_leaving
            and not self.is_large
            and not self.has_ended
        )


class PoolState:
    """
    Who is there, who has what, what waits.

    Args:
        workers_max: never more workers than this.
        recycle_after: a worker that was given so many batches leaves when they are done; None: never.
        workers_min: so many start at the beginning; whoever ends is replaced once that is known and there are calls.

    Attributes:
        busy_workers: how many have a batch.
    """

    def __init__(self, workers_max: int, recycle_after: int | None = None, workers_min: int = 0) -> None:
        self.workers_max = workers_max
        self._workers_min = workers_min
        self._recycle_after = recycle_after
        self._members: dict[int, _Member] = {}
        self._queue: deque[Batch] = deque()
        self._next_number = 0
        self._next_turn = 0
        self._start_failures = 0
        # Workers with lower numbers were started before a failure: that they get ready proves nothing.
        self._unproven_below = 0
        self._brisk_functions: set[int] = set()
        self._ended_members = 0
        self._followed_members = 0
        self._brisk_members = 0
        self.busy_workers = 0

    # Facts ------------------------------------------------------------------------------------------------------------

    def opened(self) -> list[Action]:
        """The pool begins."""
        return self._feed(self._workers_min)

    def batch_sent(self, batch: Batch) -> list[Action]:
        """The executor sent a batch."""
        self._queue.append(batch)
        return self._feed(self._workers_min)

    def worker_ready(self, number: int, worker: Worker) -> list[Action]:
        """A worker that was started waits for its first batch."""
        if number >= self._unproven_below:
            self._start_failures = 0
        self._members[number].worker = worker
        return self._feed()

    def handed_over(self, number: int, now_ns: int) -> None:
        """The batch that was to be handed over is being written, as of this reading."""
        member = self._members[number]
        # Both may have been given before either is written: they are written in their order.
        for position, held in enumerate(member.held):
            if held.handed_over_ns == 0:
                held.handed_over_ns = now_ns
                if position == 0:
                    self._begin_front(member, now_ns)
                return

    def not_handed_over(self, number: int, turn: int, message: str, now_ns: int) -> list[Action]:
        """The batch that was to be handed over cannot be written down: it fails, and the worker never hears of it."""
        member = self._members[number]
        [held] = [held for held in member.held if held.turn == turn]
        member.held.remove(held)
        member.calls_given -= 1
        self._front_changed(member)
        failure = Failure("engine", message=message)
        return [*_unrun(held.batch, 0, held.end, failure, now_ns), *self._feed()]

    def refused(self, number: int, now_ns: int) -> None:
        """The worker's pipe was closed when it was to be handed a batch: it has ended, and `worker_gone` follows."""
        member = self._members[number]
        # One that never did anything may be ended by the first thing that it reads.
        [*_, refused] = [held for held in member.held if held.handed_over_ns] or member.held
        refused.is_untouched = member.calls_given > 1
        member.is_leaving = True
        member.leave_by_ns = now_ns + LEAVE_NS_MAX

    def worker_large(self, number: int) -> list[Action]:
        """A worker holds too much memory, and is about to send the last piece of a batch."""
        member = self._members.get(number)
        if member is not None:
            member.is_large = True
        return []

    def piece_arrived(self, number: int, turn: int, piece: Piece, seen_ns: int) -> list[Action]:
        """A worker sent what became of some items."""
        member = self._members.get(number)
        if member is None or not member.held:
            return []
        held = member.held[0]
        if held.turn != turn:
            return []  # the pool gave it up
        first, item_count, _, failure, started_ns, finished_ns, _, _ = piece
        is_moved = failure is not None and failure.kind == "moved"  # it was called back
        actions = _give_back(held, first, seen_ns) if is_moved else _bring(held, piece, member.worker, seen_ns)
        if first + item_count < len(held.batch.items):
            self._begin_front(member, seen_ns)
            return actions
        if not is_moved:
            worked_ns = max(seen_ns - member.since_ns, finished_ns - started_ns)
            is_brisk = worked_ns <= min(BRISK_NS_MAX, BRISK_ITEM_NS_MAX * item_count)
            self._note_pace(held.batch.function.number, is_brisk=is_brisk)
        member.held.popleft()
        self._front_changed(member)
        if member.held:
            self._begin_front(member, seen_ns)
        else:
            member.limit_ns = member.kept_ns = None
            if member.limit_key != NO_LIMIT:
                member.limit_key, member.seen_ns = NO_LIMIT, None
                actions.append(CallBack(number, NO_LIMIT))
            is_worn = self._recycle_after is not None and member.calls_given >= self._recycle_after
            if is_worn or member.is_large:
                member.is_leaving = True
                member.leave_by_ns = seen_ns + LEAVE_NS_MAX
                actions.append(LetGo(number))
        if self._queue:
            actions += self._feed()
        return actions

    def kept_found(self, number: int, turn: int, kept: Piece, seen_ns: int) -> list[Action]:
        """On a worker's shelf was what became of some items; it is going to send that as well, if it lives."""
        member = self._members[number]
        if not member.held or (held := member.held[0]).turn != turn or kept.first > held.delivered:
            return []  # what comes before is under way
        if any(kept.first <= item < kept.first + kept.item_count for item in held.stopped):
            return []  # whoever wants it stopped is told that it was
        actions = _bring(held, kept, member.worker, seen_ns)
        if actions:
            held.kept = kept
        return actions

    def worker_ended(self, number: int) -> list[Action]:
        """
        A worker's process is over, and everything it had sent before has been reported; `worker_gone` follows, when all
        is known that is told of its end. That takes a millisecond or two, and so does a start: the two go side by side.
        """
        member = self._members[number]
        if member.worker is None:  # what that means depends on how it ended
            return []
        if member.held:
            # Either something of this will go on elsewhere, or the pool took all that it may have at once, so that
            # whoever sends most likely has more.
            is_full = self.busy_workers + self._followed_members >= self.workers_max
            member.is_followed = is_full or _has_several(member)
        self._note_end(member)
        return self._feed(self._workers_min if member.calls_given else 0)

    def worker_gone(self, number: int, how: Exit, board: BoardReading, now_ns: int) -> list[Action]:
        """A worker ended, and everything it had sent before has been reported."""
        member = self._members.pop(number)
        if not member.has_ended:
            self._note_end(member)
        self._ended_members -= 1
        self._followed_members -= member.is_followed
        actions: list[Action] = []
        if member.worker is None:
            # Several that were started together have one failure: theirs may be that of their fork server.
            if number >= self._unproven_below:
                self._start_failures += 1
                self._unproven_below = self._next_number
            if not self._may_start():
                # The others, if there are any, carry on by themselves.
                return [] if self._living_members() else self._give_up(how, now_ns)
        for position, held in enumerate(member.held):
            if position == 0:
                actions += self._lost(member, held, how, board, now_ns)
            else:
                actions += _give_back(held, 0, now_ns)
        return actions + self._feed()

    def stop_asked(self, batch: int, item: int, boards: Mapping[int, BoardReading], now_ns: int) -> list[Action]:
        """Somebody wants one item ended. No action means that it is not here any more."""
        for waiting in self._queue:
            if waiting.id == batch:
                self._queue.remove(waiting)
                held = _Held(waiting)
                held.stopped |= {item}
                return _give_back(held, 0, now_ns)
        for number, member in self._members.items():
            for position, held in enumerate(member.held):
                if held.batch.id != batch or not held.delivered <= item < held.end or member.ending:
                    continue
                if position == 0:
                    return _end_for(member, number, "stopped", held, item, boards[number], now_ns)
                held.stopped |= {item}
                return _call_back(member, number, key_of(held.turn, 0), now_ns)
        return []

    def called_back(self, batch: int, boards: Mapping[int, BoardReading], now_ns: int) -> list[Action]:
        """What of a batch has not begun shall come home."""
        for waiting in self._queue:
            if waiting.id == batch:
                self._queue.remove(waiting)
                return _give_back(_Held(waiting), 0, now_ns)
        for number, member in self._members.items():
            for held in member.held:
                if held.batch.id == batch and member.ending is None:
                    board = boards[number]
                    key = _key_after(board) if board.batch >= held.turn else key_of(held.turn, 0)
                    return _call_back(member, number, key, now_ns) if key < member.limit_key else []
        return []

    def time_passed(self, now_ns: int, boards: Mapping[int, BoardReading]) -> list[Action]:
        """It is later; look at those workers that `looks_due` names. `boards` are theirs."""
        actions: list[Action] = []
        for number, board in boards.items():
            member = self._members[number]
            if member.leave_by_ns is not None and member.leave_by_ns <= now_ns:
                member.leave_by_ns = None
                actions.append(EndWorker(number))
            if member.limit_ns is not None and member.limit_ns <= now_ns:
                actions += self._look_at_limit(member, number, board, now_ns)
            if member.ending is not None:
                continue
            if member.kept_ns is not None and member.kept_ns <= now_ns:
                member.kept_ns = _next_kept_ns(member, board, now_ns)
            if member.seen_ns is not None and member.seen_ns <= now_ns:
                actions += _take_what_was_not_begun(member, number, board, now_ns)
            elif (at := _call_back_ns(member)) is not None and at <= now_ns and self._somebody_idles():
                actions += _call_back_what_waits(member, number, board, now_ns)
        return actions

    def failed(self, message: str, now_ns: int) -> list[Action]:
        """The pool itself cannot go on: everything that is outstanding fails."""
        failure = Failure("engine", message=message)
        actions: list[Action] = []
        for member in self._members.values():
            for held in member.held:
                actions += _unrun(held.batch, held.delivered, held.end, failure, now_ns)
            member.held.clear()
            self._front_changed(member)
        for batch in self._queue:
            actions += _unrun(batch, 0, len(batch.items), failure, now_ns)
        self._queue.clear()
        return actions

    # Questions --------------------------------------------------------------------------------------------------------

    def window(self) -> int:
        """How many batches there should be."""
        return self.workers_max + self._brisk_members

    def is_quiet(self) -> bool:
        """Is nothing waiting and nobody at work?"""
        if self._queue or self.busy_workers:
            return False
        for member in self._members.values():  # written out, as this is asked after each call
            if member.worker is None or member.is_leaving or member.has_ended:
                return False
        return True

    def looks_due(self, now_ns: int) -> list[int]:
        """Workers that `time_passed` should look at by now."""
        somebody_idles = self._somebody_idles()
        return [
            number
            for number, member in self._members.items()
            if (at := _look_ns(member, somebody_idles)) is not None and at <= now_ns
        ]

    def next_look_ns(self) -> int | None:
        """When `time_passed` is worth calling next; None: whatever time it gets."""
        somebody_idles = self._somebody_idles()
        next_ns = None
        for member in self._members.values():
            at = _look_ns(member, somebody_idles)
            if at is not None and (next_ns is None or at < next_ns):
                next_ns = at
        return next_ns

    def workers(self) -> Sequence[Worker]:
        """The workers that are ready or at work; the one question that any thread may ask."""
        return [member.worker for member in list(self._members.values()) if member.worker is not None]

    def running(self, boards: Mapping[int, BoardReading], now_ns: int) -> list[tuple[int, RunningItem]]:
        """The items that run now, by the worker's number."""
        found: list[tuple[int, RunningItem]] = []
        for number, member in self._members.items():
            if not member.held or member.worker is None:
                continue
            held, board = member.held[0], boards[number]
            if board.batch != held.turn or not (board.item == LOADING or held.delivered <= board.item < held.end):
                continue
            item = held.delivered if board.item == LOADING else board.item
            since_ns = max(board.started_ns, held.handed_over_ns)
            found.append((number, RunningItem(held.batch.id, item, member.worker, (now_ns - since_ns) / 1e9)))
        return found

    def is_idle(self, number: int) -> bool:
        """Is this worker ready and without a batch?"""
        member = self._members.get(number)
        return member is not None and member.worker is not None and not member.held

    def has_one(self, number: int) -> bool:
        """Has this worker one batch, and nothing before it?"""
        return len(self._members[number].held) == 1

    # What follows -----------------------------------------------------------------------------------------------------

    def _feed(self, workers_min: int = 0) -> list[Action]:
        """
        Give what waits to those who can take it, and start others for the rest.

        Args:
            workers_min: start as many as are missing to that. Not where one ends that was given nothing: one that ends
                again and again would be started as often.
        """
        actions: list[Action] = []
        living = len(self._members) - self._ended_members
        if self._queue and self.busy_workers < living:
            self._give(0, actions)
        if (self._queue or self._followed_members or living < workers_min) and self._has_place():
            ready = sum(member.worker is None or member.takes(0) for member in self._members.values())
            wanted = max(len(self._queue) + self._followed_members - ready, workers_min - living)
            for _ in range(min(wanted, self.workers_max - living)):
                self._members[self._next_number] = _Member()
                actions.append(StartWorker(self._next_number))
                self._next_number += 1
        if self._queue and self._brisk_members:
            self._give(1, actions)
        return actions

    def _note_end(self, member: _Member) -> None:
        member.has_ended = True
        self._ended_members += 1
        self._followed_members += member.is_followed
        self._front_changed(member)
        if member.worker is not None:
            self._start_failures = min(self._start_failures, START_FAILURES_MAX - 1)  # its place is worth one try

    def _living_members(self) -> int:
        return len(self._members) - self._ended_members

    def _has_place(self) -> bool:
        """May another worker be started?"""
        return self._living_members() < self.workers_max and self._may_start()

    def _give(self, held_max: int, actions: list[Action]) -> None:
        """One batch to each worker that has no more than so many."""
        for number, member in self._members.items():
            if (member.is_brisk or not member.held) and member.takes(held_max):
                batch, turn = self._queue.popleft(), self._next_turn
                self._next_turn += 1
                member.held.append(_Held(batch, turn))
                member.calls_given += 1
                if len(member.held) == 1:
                    self._front_changed(member)
                actions.append(unchecked(HandOver, (number, batch, turn)))
                if not self._queue:
                    return

    def _note_pace(self, function: int, *, is_brisk: bool) -> None:
        if not is_brisk:
            self._brisk_functions.discard(function)
        elif function not in self._brisk_functions:
            if len(self._brisk_functions) >= FUNCTIONS_KEPT_MAX:
                self._brisk_functions.clear()
            self._brisk_functions.add(function)

    def _front_changed(self, member: _Member) -> None:
        is_busy = is_brisk = bool(member.held) and not member.has_ended
        if is_busy:
            batch = member.held[0].batch
            is_brisk = (
                batch.function.number in self._brisk_functions and batch.may_wait_behind and self._recycle_after is None
            )
        if is_brisk != member.is_brisk:
            self._brisk_members += is_brisk - member.is_brisk
            member.is_brisk = is_brisk
        if is_busy != member.is_busy:
            self.busy_workers += is_busy - member.is_busy
            member.is_busy = is_busy

    def _may_start(self) -> bool:
        return self._start_failures < START_FAILURES_MAX

    def _begin_front(self, member: _Member, now_ns: int) -> None:
        member.since_ns = now_ns
        member.is_seen_running = False
        held = member.held[0]
        has_shelf = held.end - held.delivered > 1 and not isinstance(held.batch.items, Packed)
        member.kept_ns = now_ns + KEPT_AFTER_NS if has_shelf else None
        limit_s = held.batch.limits.time_s
        member.limit_ns = None if limit_s is None else now_ns + round(limit_s * 1e9)

    def _somebody_idles(self) -> bool:
        """Could another worker begin something at once?"""
        if self._queue:
            return False
        if self._has_place():
            return True
        return any(member.takes(0) for member in self._members.values())

    def _look_at_limit(self, member: _Member, number: int, board: BoardReading, now_ns: int) -> list[Action]:
        limit_s = member.held[0].batch.limits.time_s
        assert limit_s is not None
        limit_ns = round(limit_s * 1e9)
        held = member.held[0]
        if board.batch != held.turn or board.item == LOADING:
            member.limit_ns = now_ns + min(limit_ns, LOADING_LOOK_NS)
            return []
        ran_ns = now_ns - max(board.started_ns, held.handed_over_ns)
        if ran_ns < limit_ns:
            member.limit_ns = now_ns + limit_ns - ran_ns
            return []
        return _end_for(member, number, "time_limit", held, board.item, board, now_ns)

    def _lost(self, member: _Member, held: _Held, how: Exit, board: BoardReading, now_ns: int) -> list[Action]:
        """What becomes of a dead worker's first batch."""
        batch, end, ending = held.batch, held.end, member.ending
        if ending is not None and ending.turn != held.turn:  # what we ended the worker for was finished by then
            return _give_back(held, held.delivered, now_ns)
        if board.batch != held.turn:  # it ended before it took the batch up
            if ending is None:
                message = "" if held.is_untouched else str(how)
                lost = Failure("moved", message=message, signal=how.signal, exit_code=how.code)
                return _moved(held, held.delivered, end, now_ns, lost)
            culprit = ending.item
        else:
            # An item is begun after the one before was finished, so the item begun last is where it ended. What was
            # finished but had neither come home nor was on the shelf runs again.
            begun = 0 if board.item == LOADING else board.item
            culprit = max(held.delivered, begun)
        if ending and ending.kind == "stopped":
            culprit = max(held.delivered, ending.item)  # whether it ran, or another one before it
        if culprit >= end or (ending and ending.item != culprit):
            # It showed an item that was called back and so never began; or we ended it because of an item that was
            # finished by then. What is left is innocent.
            return _give_back(held, held.delivered, now_ns)
        if ending is None and isinstance(batch.items, Packed) and batch.items.stride > 1:
            return _give_back(held, held.delivered, now_ns)  # it is one of several; they are tried one by one
        kind: FailureKind = ending.kind if ending else "died"
        started_ns = board.started_ns if (board.batch, board.item) == (held.turn, culprit) else 0
        failure = Failure(
            kind,
            message=f"worker {how}",
            signal=how.signal,
            exit_code=how.code,
            ran_s=ending.ran_s if ending else 0.0,
            lines=how.lines if how.call == batch.calls[culprit] else (),
            crash=how.crash,
            is_out_of_memory=how.is_out_of_memory,
            memory_bytes_peak=how.memory_bytes_peak,
        )
        stamps = Stamps(held.handed_over_ns, started_ns, 0, now_ns)
        events = [event for event in how.events if event.item == culprit] if how.call == batch.calls[culprit] else ()
        failed = Outcome(batch.id, culprit, 1, (), failure, stamps, member.worker, events)
        return [
            *_moved(held, held.delivered, culprit, now_ns),
            failed,
            *_moved(held, culprit + 1, end, now_ns),
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
        return [action for batch in waiting for action in _unrun(batch, 0, len(batch.items), failure, now_ns)]


# Calling back ---------------------------------------------------------------------------------------------------------


def _look_ns(member: _Member, somebody_idles: bool) -> int | None:
    """When `time_passed` should look at a worker."""
    if member.has_ended:
        return None
    at = member.leave_by_ns
    for other in (
        member.limit_ns,
        member.kept_ns,
        member.seen_ns if member.seen_ns is not None or not somebody_idles else _call_back_ns(member),
    ):
        if other is not None and (at is None or other < at):
            at = other
    return at


def _next_kept_ns(member: _Member, board: BoardReading, now_ns: int) -> int:
    """When to look at a worker's shelf again."""
    front = member.held[0]
    if board.batch != front.turn or board.item == LOADING or board.item < front.delivered:
        # It runs none of the items that are to come: when it began what it shows says nothing.
        return now_ns + LOADING_LOOK_NS
    return now_ns + max(KEPT_AFTER_NS, now_ns - board.started_ns)


def _call_back_ns(member: _Member) -> int | None:
    """From when on another worker that idles gets what this one has not begun; None: it has nothing of that kind."""
    if not member.held or member.ending is not None:
        return None
    front = member.held[0]
    if _has_several(member) and member.limit_key > key_of(front.turn, LOADING):
        return member.since_ns + CALL_BACK_AFTER_NS
    if not member.is_seen_running and member.limit_key > key_of(front.turn, 0):
        return member.since_ns + STUCK_AFTER_NS
    return None


def _has_several(member: _Member) -> bool:
    front = member.held[0]
    return len(member.held) > 1 or front.end - front.delivered > 1


def _call_back_what_waits(member: _Member, number: int, board: BoardReading, now_ns: int) -> list[Action]:
    front = member.held[0]
    member.is_seen_running = board.batch >= front.turn
    if not member.is_seen_running and now_ns - member.since_ns >= STUCK_AFTER_NS:
        return _call_back(member, number, key_of(front.turn, 0), now_ns)
    if not _has_several(member) or member.limit_key <= key_of(front.turn, LOADING):
        return []
    # Its first item stays with it, so that something is always done, however long it takes to begin.
    return _call_back(member, number, max(_key_after(board), key_of(front.turn, 1)), now_ns)


def _key_after(board: BoardReading) -> int:
    """Of the item after the one that was begun last."""
    return key_of(board.batch, 1 if board.item == LOADING else board.item + 1)


def _call_back(member: _Member, number: int, key: int, now_ns: int) -> list[Action]:
    member.limit_key = min(key, member.limit_key)  # what may have come home already must not be begun after all
    member.seen_ns = now_ns + SEEN_AFTER_NS
    return [CallBack(number, member.limit_key)]


def _take_what_was_not_begun(member: _Member, number: int, board: BoardReading, now_ns: int) -> list[Action]:
    """The worker has seen the limit by now: what it has not begun, and is not below that, it will not begin."""
    member.seen_ns = None
    actions: list[Action] = []
    for held in member.held:
        first = max(held.delivered, _begun(held, board), _below(held, member.limit_key))
        actions += _give_back(held, first, now_ns)
        begun = [item for item in held.stopped if held.delivered <= item < first]
        if begun:  # before it saw the limit
            return [*actions, *_end_for(member, number, "stopped", held, max(begun), board, now_ns)]
    return actions


def _begun(held: _Held, board: BoardReading) -> int:
    """The first item that a worker has not begun."""
    if board.batch < held.turn:
        return 0
    if board.batch > held.turn:
        return held.end
    begun = 0 if board.item == LOADING else board.item  # what happens while it loads belongs to the first item
    return min(begun + _stride(held), held.end)


def _below(held: _Held, limit_key: int) -> int:
    """The first item that a worker may not begin any more."""
    turn, item = turn_and_item(limit_key)
    if turn != held.turn:
        return 0 if turn < held.turn else held.end
    return min(item - 1 + _stride(held), held.end) if item else 0


def _stride(held: _Held) -> int:
    return held.batch.items.stride if isinstance(held.batch.items, Packed) else 1


def _end_for(
    member: _Member,
    number: int,
    kind: Literal["time_limit", "stopped"],
    held: _Held,
    item: int,
    board: BoardReading,
    now_ns: int,
) -> list[Action]:
    is_running = board.batch == held.turn and board.item == item
    started_ns = max(board.started_ns, held.handed_over_ns) if is_running else now_ns
    member.ending = _Ending(kind, held.turn, item, (now_ns - started_ns) / 1e9)
    member.limit_ns = member.seen_ns = member.kept_ns = None
    if kind == "stopped":
        held.stopped |= {item}
    return [EndWorker(number)]


# Outcomes -------------------------------------------------------------------------------------------------------------


def _bring(held: _Held, piece: Piece, worker: Worker | None, seen_ns: int) -> list[Action]:
    # A function or arguments that cannot be loaded fail items that went home when they were called back.
    first, item_count, values, failure, started_ns, finished_ns, events, item_stamps = piece
    if held.kept is not None:
        # What came from the shelf does not come twice. Events may come with a later piece than their values.
        already, last = held.kept.events, held.kept.first + held.kept.item_count
        events = [*held.late, *(event for event in events if event not in already)]
        item_stamps = [stamps for stamps in item_stamps if stamps.item >= last]
    if first < held.delivered:
        cut = held.delivered - first
        first, item_count, values = held.delivered, item_count - cut, values[cut:]
    count = min(first + item_count, held.end) - first
    if count <= 0:
        held.late = events
        return []
    held.late = ()
    held.delivered = first + count
    stamps = unchecked(Stamps, (held.handed_over_ns, started_ns, finished_ns, seen_ns))
    fields = held.batch.id, first, count, values, failure, stamps, worker, events, item_stamps
    return [unchecked(Outcome, fields)]


def _give_back(held: _Held, first: int, now_ns: int) -> list[Action]:
    """Items from `first` on go home: they were not begun."""
    end, held.end = held.end, min(held.end, first)
    return _moved(held, first, end, now_ns)


def _moved(held: _Held, first: int, end: int, now_ns: int, failure: Failure = _MOVED) -> list[Action]:
    """Some items go on elsewhere, but not those that somebody wants stopped."""
    actions: list[Action] = []
    for stopped in sorted(item for item in held.stopped if first <= item < end):
        actions += _unrun(held.batch, first, stopped, failure, now_ns)
        actions += _unrun(held.batch, stopped, stopped + 1, Failure("stopped", message="it had not started"), now_ns)
        first = stopped + 1
    return actions + _unrun(held.batch, first, end, failure, now_ns)


def _unrun(batch: Batch, first: int, end: int, failure: Failure, now_ns: int) -> list[Action]:
    if end <= first:
        return []
    # What is moved goes on elsewhere: nobody has seen the end of it.
    stamps = Stamps(0, 0, 0, 0 if failure.kind == "moved" else now_ns)
    return [Outcome(batch.id, first, end - first, (), failure, stamps, None)]
