"""
The contract between the executor, which decides, and an engine, which carries out.

    executor                         engine                              worker
       │  send(batch)                   │   function body (once), batch       │
       ├───────────────────────────────>├────────────────────────────────────>│ runs the items one after the other
       │                                │                                     │
       │  deliver(outcome) …            │   pieces of the batch as they are   │
       │<───────────────────────────────┤<────────────────────────────────────┤ done, events along
       │                                │
       │  retries, limits asked for,    │  starts, feeds and ends workers, notices that they died, stamps
       │  batching, recording, futures  │  what leaves and what arrives

Retries, recording, batching, progress and resume exist once, above. An engine never tries a call again by itself.
"""

from __future__ import annotations

from coeval.clocks._named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from coeval.clocks import ClockId
    from coeval.engines._protocol import Arguments, FailureKind, Payload, Returned
    from coeval.engines._segments import Parcel
    from coeval.recording import Event


class Function(NamedTuple):
    """
    A function as it travels. Its body goes to a worker once; afterwards its number is enough.

    Attributes:
        number: unique among the functions of one executor.
        name: `module:qualname`, for people.
        body: its pickle: a name where the worker can import it, the code itself where not.
    """

    number: int
    name: str
    body: bytes


class Limits(NamedTuple):
    """
    What one attempt at one item may use. The engine ends the work itself, whatever it is doing.

    Attributes:
        time_s: seconds from the item's start; None: no limit.
        memory_bytes: how far the worker's process may grow from the item's start; None: no limit.
    """

    time_s: float | None = None
    memory_bytes: int | None = None


NO_LIMITS = Limits()


class Packed:
    """
    Many small items of a map in one pickle, at a price per item of a tenth of a microsecond instead of some.

    Attributes:
        content: the pickle of a list (or range) of items.
        count: how many they are; also `len()` of this.
        spread: each item is a tuple of arguments; else it is the only argument.
        stride: so many at a time run without a line of Python between two, and the worker shows only which of them
            comes first. Where it dies there, all of these are moved.
    """

    __slots__ = ("content", "count", "spread", "stride")

    def __init__(self, content: Payload, count: int, spread: bool, stride: int) -> None:
        self.content, self.count, self.spread, self.stride = content, count, spread, stride

    def __len__(self) -> int:
        return self.count

    def __reduce__(self) -> tuple[type[Packed], tuple[Payload, int, bool, int]]:
        return Packed, (self.content, self.count, self.spread, self.stride)


class Batch(NamedTuple):
    """
    Calls of one function that travel together. One call is a batch of one.

    Attributes:
        id: unique in one executor; every sending has a new one.
        attempt: which try this is for its items; the first is 1.
        function: what to call.
        items: for each call its arguments, see `_payload.load_call`; or `Packed`.
        calls: for each item the number of its call in the executor.
        limits: hold for each item.
        may_wait_behind: another batch may wait at its worker while it runs. Not where results are kept: so a killed
            program repeats no more than what ran.
    """

    id: int
    attempt: int
    function: Function
    items: Sequence[Arguments] | Packed
    calls: Sequence[int]
    limits: Limits = NO_LIMITS
    may_wait_behind: bool = True


class Failure(NamedTuple):
    """
    Why one item gave no value.

    Attributes:
        kind: what went wrong, and so who can act.
        type_name: qualified name of the exception's class, if there was an exception.
        message: its text, or what the engine knows.
        traceback: as text, from the worker, with the exception's notes.
        exception: the exception's pickle; None where it has none, or there was no exception.
        signal: name of the signal that ended the worker, "" if none did or the engine cannot tell.
        exit_code: the worker's exit code, or the code that a call gave to `sys.exit` if that is an int.
        ran_s: how long the item had run, where the engine ended it.
        lines: what the item logged last, where its worker died.
        crash: the Python stack of its worker's crash in C code.
        memory_bytes_peak: most memory (resident) that its dead worker ever had; None: unknown.
        is_out_of_memory: the kernel says that it ended a process for want of memory when the worker died.
    """

    kind: FailureKind
    type_name: str = ""
    message: str = ""
    traceback: str = ""
    exception: bytes | None = None
    signal: str = ""
    exit_code: int | None = None
    ran_s: float = 0.0
    lines: Sequence[str] = ()
    crash: str = ""
    memory_bytes_peak: int | None = None
    is_out_of_memory: bool = False


class Worker(NamedTuple):
    """
    A process that runs attempts.

    Attributes:
        number: unique in one engine; a replacement has a new one.
        host, pid: where it is.
        clock: the identity of the clock that its stamps are readings of.
        python: its version, such as "3.11.7".
    """

    number: int
    host: str
    pid: int
    clock: ClockId
    python: str


class Stamps(NamedTuple):
    """
    The four readings that belong to (a piece of) a batch; each int64 ns of a raw clock, 0 where it never got so far.

    Send stamps are taken before the bytes go, receive stamps after they are readable: *handed over* then *started*, and
    *finished* then *seen*, are two messages between two clocks.

    Attributes:
        handed_over_ns: the caller's clock, before the batch went.
        started_ns: the worker's clock, before the first item of the piece.
        finished_ns: the worker's clock, after the last item of the piece.
        seen_ns: the caller's clock, after the piece was readable.
    """

    handed_over_ns: int
    started_ns: int
    finished_ns: int
    seen_ns: int


class RunningItem(NamedTuple):
    """
    An item that runs now.

    Attributes:
        batch, item: which.
        worker: where.
        ran_s: for how long by now.
    """

    batch: int
    item: int
    worker: Worker
    ran_s: float


class ItemStamps(NamedTuple):
    """
    Start and end of one item of a larger batch, on the worker's clock; kept only where the item ran long enough to
    matter.
    """

    item: int
    started_ns: int
    finished_ns: int


class Outcome(NamedTuple):
    """
    What became of items [first, first + item_count) of a batch; a batch comes home in one or more of these.

    An outcome of no items, with batch -1, brings no call home: a worker that became ready introduces itself, or the
    engine measured its clock (then the four stamps are those of two messages, there and back; 0: not measured).

    Exactly one outcome covers each item of a batch that was sent. Either all its items gave values, or it covers one
    failed item (or, for kinds "moved", "stopped", "engine" and "function", a run of them).

    Attributes:
        batch: the batch's id.
        first, item_count: which items.
        values: for each item what it returned, see `_payload.take`, or one pickle of them all if they came `Packed`;
            empty if `failure` is set.
        failure: why there are no values.
        stamps: when; `started_ns` and `finished_ns` on the worker's clock.
        worker: who ran it; None if nobody did.
        events: marks, spans, log records and clock snapshots since the last outcome of this worker.
        item_stamps: of those items that ran long.
    """

    batch: int
    first: int
    item_count: int
    values: Sequence[Returned | Parcel]
    failure: Failure | None
    stamps: Stamps
    worker: Worker | None
    events: Sequence[Event] = ()
    item_stamps: Sequence[ItemStamps] = ()


class Capabilities(NamedTuple):
    """
    What an engine can do. What it cannot is refused at `submit` (`UnsupportedByEngine`), never ignored.

    Attributes:
        separate_process: calls run in a process of their own, so one that ends its process harms nobody else.
        stops_running_work: `stop` ends an item that runs.
        time_limit: `Limits.time_s` is kept, whatever the item is doing.
        names_signal: a worker's death is told with its signal or exit code.
        same_host: workers share the caller's files and memory.
        memory_limit: `Limits.memory_bytes` is kept, also inside C code.
        stacks: it can tell what runs now, and the Python stacks of it (`ShowsStacks`).
        batch_items_max: the executor may send so many waiting calls as one batch, where they proved short. The price
            is that a worker's death repeats what was finished but not home.
        batch_ns: a batch of several calls should be about this much work. Shorter: what a batch costs by itself shows.
            Longer: the last batches leave other workers idle.
    """

    separate_process: bool
    stops_running_work: bool
    time_limit: bool
    names_signal: bool
    same_host: bool
    batch_items_max: int = 1
    batch_ns: int = 100_000_000
    memory_limit: bool = False
    stacks: bool = False
