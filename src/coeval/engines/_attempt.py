"""
Running a batch, item after item, where the worker is: the same code inside every engine's workers.

Nothing that an item does (raise, exit, return what cannot travel) touches the next one. What was done so far goes home
in pieces, so that a worker that dies late loses little.
"""

from __future__ import annotations

from itertools import starmap

from coeval.clocks._named_tuple import NamedTuple, unchecked
from coeval.engines._engine import Failure, ItemStamps, Packed
from coeval.engines._payload import dump, dump_result, load, load_call
from coeval.recording._capture import Attempt, Running, run_in_process, running_call
from coeval.recording._capture import _running as running_context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from coeval.clocks import Clock
    from coeval.engines._protocol import Arguments, Returned
    from coeval.engines._segments import Segments
    from coeval.engines.local._board import Shelf
    from coeval.recording import Event

# Finished items wait at most this long for their batch to go on before they are sent home.
# Shorter: small items pay for a frame each. Longer: a worker's death costs more repeated work.
PIECE_NS_MAX = 50_000_000

# Items of a larger batch that ran at least this long have stamps of their own.
ITEM_STAMP_NS_MIN = 1_000_000


class Piece(NamedTuple):
    """
    What became of items [first, first + item_count) of a batch, before the engine adds its own stamps (see `Outcome`).
    """

    first: int
    item_count: int
    values: Sequence[Returned]
    failure: Failure | None
    started_ns: int
    finished_ns: int
    events: Sequence[Event]
    item_stamps: Sequence[ItemStamps]

    def as_plain(self) -> tuple[Any, ...]:
        """As it travels: named tuples as bare ones, so that all of it is what `marshal` knows."""
        return (*self[:-1], [tuple(stamps) for stamps in self.item_stamps]) if self.item_stamps else tuple(self)

    @classmethod
    def of_plain(cls, fields: tuple[Any, ...]) -> Piece:
        """The piece that travelled so."""
        if len(fields) != len(cls._fields):
            raise ValueError(f"a piece of {len(fields)} fields; expected {len(cls._fields)}")
        if fields[-1]:
            fields = (*fields[:-1], [unchecked(ItemStamps, stamps) for stamps in fields[-1]])
        return unchecked(cls, fields)


def load_function(body: bytes) -> Callable[..., Any] | Failure:
    """Rebuild a function from its pickle; a failure of kind "function" if that cannot be done here."""
    try:
        function: Callable[..., Any] = load(body)
    except BaseException as error:
        return _describe("function", error)
    return function


def run_batch(
    function: Callable[..., Any] | Failure,
    items: Sequence[Arguments] | Packed,
    calls: Sequence[int],
    attempt: int,
    *,
    clock: Clock,
    begin: Callable[[int, int], bool] | None = None,
    segments: Segments | None = None,
    whole_process: bool = False,
    memory_bytes: int | None = None,
    shelf: Shelf | None = None,
) -> Iterator[Piece]:
    """
    Run every item as it is asked for; give what became of them, in order, each item exactly once.

    Args:
        function: what `load_function` gave.
        items: the arguments of each call, or items of a map.
        calls, attempt: what `coeval.attempt()` answers.
        clock: stamps starts and ends.
        begin: told item number and reading just before each item; False: this item and those after it were called back,
            they go home as "moved".
        segments: where large parts of results go.
        whole_process: one call at a time in this process, so threads started by a call belong to it.
        memory_bytes: so far may this process grow in an item, if it runs one call at a time (and none in a `Packed`).
        shelf: where values that wait for their piece are seen meanwhile (not those of a `Packed`).
    """
    if isinstance(function, Failure):
        now_ns = clock.raw_ns()
        return iter((Piece(0, len(items), (), function, now_ns, now_ns, (), ()),))
    if isinstance(items, Packed):
        return _run_packed(function, items, calls, attempt, clock, begin, segments, whole_process)
    return _run_items(function, items, calls, attempt, clock, begin, segments, whole_process, memory_bytes, shelf)


def _run_items(
    function: Callable[..., Any],
    items: Sequence[Arguments],
    calls: Sequence[int],
    attempt: int,
    clock: Clock,
    begin: Callable[[int, int], bool] | None,
    segments: Segments | None,
    whole_process: bool,
    memory_bytes: int | None,
    shelf: Shelf | None,
) -> Iterator[Piece]:
    first = 0
    values: list[Returned] = []
    stamps: list[ItemStamps] = []
    running = Running(-1, attempt, -1, [])
    if memory_bytes is not None:
        run_item = _run_item_below(memory_bytes)
    else:
        run_item = _run_item if whole_process else _run_item_in_context
    if whole_process:
        run_in_process(running)
    raw_ns, last = clock.raw_ns, len(items) - 1
    piece_started_ns = started_ns = raw_ns()
    if shelf is not None:
        shelf.clear(first, started_ns)
    for number, item in enumerate(items):
        if begin is not None and not begin(number, started_ns):
            if values:
                yield Piece(first, len(values), values, None, piece_started_ns, started_ns, running.events, stamps)
            yield _called_back(number, len(items), started_ns)
            return
        running.call, running.item = calls[number], number
        value, failure = run_item(function, item, running, segments)
        running.item = -1
        finished_ns = raw_ns()
        if last and finished_ns - started_ns >= ITEM_STAMP_NS_MIN:
            stamps.append(unchecked(ItemStamps, (number, started_ns, finished_ns)))
        if failure is None:
            values.append(value)
            if (
                number < last
                and finished_ns - piece_started_ns < PIECE_NS_MAX
                and (shelf is None or shelf.put(value, running.events, stamps))
            ):
                started_ns = finished_ns
                continue
            yield Piece(first, len(values), values, None, piece_started_ns, finished_ns, running.events, stamps)
        else:
            if values:
                # `started_ns` ends the piece before: nothing of it ran later than the failing item's start.
                yield Piece(first, len(values), values, None, piece_started_ns, started_ns, (), ())
            yield Piece(number, 1, (), failure, started_ns, finished_ns, running.events, stamps)
        first, values, running.events, stamps = number + 1, [], [], []
        piece_started_ns = started_ns = raw_ns()
        if shelf is not None:
            shelf.clear(first, started_ns)


def _run_item(
    function: Callable[..., Any], item: Arguments, running: Running, segments: Segments | None
) -> tuple[Returned, Failure | None]:
    try:
        args, kwargs = load_call(item)
    except BaseException as error:
        return b"", _describe("argument", error)
    try:
        value = function(*args, **kwargs)
    except (SystemExit, KeyboardInterrupt) as error:
        return b"", _describe("exited", error)
    except BaseException as error:
        return b"", _describe("raised", error)
    try:
        return dump_result(value, segments), None
    except BaseException as error:
        return b"", _unsendable_result(value, error)


def _run_item_in_context(
    function: Callable[..., Any], item: Arguments, running: Running, segments: Segments | None
) -> tuple[Returned, Failure | None]:
    with running_call(Attempt(running.call, running.attempt), running.item, running.events, whole_process=False):
        return _run_item(function, item, running, segments)


def _run_item_below(
    memory_bytes: int,
) -> Callable[[Callable[..., Any], Arguments, Running, Segments | None], tuple[Returned, Failure | None]]:
    """Like `_run_item`, under a memory limit. It is lifted before anything is said about a failure: that takes some."""
    from coeval.engines._memory_limit import MemoryCeiling

    ceiling = MemoryCeiling(memory_bytes)

    def run_item(
        function: Callable[..., Any], item: Arguments, running: Running, segments: Segments | None
    ) -> tuple[Returned, Failure | None]:
        stage, value = "argument", None
        try:
            ceiling.lower()
            try:
                args, kwargs = load_call(item)
                stage = "raised"
                value = function(*args, **kwargs)
                stage = "result"
                return dump_result(value, segments), None
            finally:
                ceiling.lift()
        except MemoryError as error:
            return b"", _describe("memory_limit", error)
        except BaseException as error:
            if stage == "raised" and isinstance(error, SystemExit | KeyboardInterrupt):
                stage = "exited"
            return b"", _unsendable_result(value, error) if stage == "result" else _describe(stage, error)

    return run_item


class _RunningInMap(Running):
    """What runs in a map of which several items run without a line of Python between two."""

    __slots__ = ("_calls", "_first", "_values")

    def __init__(self, calls: Sequence[int], attempt: int) -> None:
        self.attempt = attempt
        self._calls = calls
        self.begin_piece(0, [], [])

    def begin_piece(self, first: int, values: list[Any], events: list[Event]) -> None:
        self._first, self._values, self.events = first, values, events

    @property
    def item(self) -> int:  # type: ignore[override]
        return self._first + len(self._values)  # what ran is there

    @property
    def call(self) -> int:  # type: ignore[override]
        return self._calls[self.item]


def _run_packed(
    function: Callable[..., Any],
    packed: Packed,
    calls: Sequence[int],
    attempt: int,
    clock: Clock,
    begin: Callable[[int, int], bool] | None,
    segments: Segments | None,
    whole_process: bool,
) -> Iterator[Piece]:
    raw_ns = clock.raw_ns
    count, stride, run = packed.count, packed.stride, starmap if packed.spread else map
    now_ns = started_ns = raw_ns()
    try:
        items = load(packed.content)
    except BaseException as error:
        yield Piece(0, 1, (), _describe("argument", error), now_ns, now_ns, (), ())
        if count > 1:
            yield Piece(
                1, count - 1, (), Failure("stopped", message="an item before it failed"), now_ns, now_ns, (), ()
            )
        return
    first = number = 0
    values: list[Any] = []
    running = _RunningInMap(calls, attempt)
    running.begin_piece(first, values, [])
    if whole_process:
        run_in_process(running)
    while number < count:
        if begin is not None and not begin(number, now_ns):
            yield from _packed_pieces(first, values, started_ns, now_ns, running.events, segments)
            yield _called_back(number, count, now_ns)
            return
        failure = None
        token = running_context.set(running)
        try:
            values.extend(run(function, items[number : number + stride]))  # keeps what ran before one of them fails
        except (SystemExit, KeyboardInterrupt) as error:
            failure = _describe("exited", error)
        except BaseException as error:
            failure = _describe("raised", error)
        finally:
            running_context.reset(token)
        number = first + len(values)
        now_ns = raw_ns()
        if failure is None and number < count and now_ns - started_ns < PIECE_NS_MAX:
            continue
        yield from _packed_pieces(
            first, values, started_ns, now_ns, running.events if failure is None else (), segments
        )
        if failure is not None:
            yield Piece(number, 1, (), failure, now_ns, now_ns, running.events, ())
            number += 1
        first, values = number, []
        running.begin_piece(first, values, [])
        started_ns = now_ns = raw_ns()


def _packed_pieces(
    first: int,
    values: list[Any],
    started_ns: int,
    finished_ns: int,
    events: Sequence[Event],
    segments: Segments | None,
) -> list[Piece]:
    if not values:
        return []
    try:
        return [Piece(first, len(values), (dump(values, segments),), None, started_ns, finished_ns, events, ())]
    except BaseException:
        pass  # one of them, or several
    whole = values.copy()
    for position, value in enumerate(values):
        try:
            dump(value)
        except BaseException as error:
            del whole[position:]
            failure, rest = _unsendable_result(value, error), len(values) - position - 1
            break
    else:  # each by itself, but not together
        return [
            Piece(
                first,
                1,
                (),
                Failure("result", message="they cannot be pickled together"),
                started_ns,
                finished_ns,
                events,
                (),
            )
        ]
    pieces = _packed_pieces(first, whole, started_ns, finished_ns, (), segments)
    pieces.append(Piece(first + position, 1, (), failure, started_ns, finished_ns, events, ()))
    if rest:
        unwanted = Failure("stopped", message="an item before it failed")
        pieces.append(Piece(first + position + 1, rest, (), unwanted, started_ns, finished_ns, (), ()))
    return pieces


def _called_back(first: int, count: int, now_ns: int) -> Piece:
    return Piece(first, count - first, (), Failure("moved"), now_ns, now_ns, (), ())


def _unsendable_result(value: object, error: BaseException) -> Failure:
    failure = _describe("result", error)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return failure._replace(message=f"{kind}: {failure.message}")


def _describe(kind: Any, error: BaseException) -> Failure:
    import traceback

    # The first frame is this module's; the caller's code starts below it.
    below = error.__traceback__.tb_next if error.__traceback__ else None
    try:
        text = "".join(traceback.format_exception(type(error), error, below))
    except Exception as broken:
        text = f"{type(error).__qualname__}: its traceback cannot be formatted ({type(broken).__name__})"
    try:
        message = str(error)
    except Exception as broken:
        message = f"<str() of it failed with {type(broken).__name__}>"
    try:
        # Its traceback travels as text. Left on it, it would be pickled too where somebody has taught pickle to (Dask
        # does): slowly, and not at all when it is a thousand frames deep.
        pickled = dump(error.with_traceback(None))
    except Exception:
        pickled = None  # it goes home as text
    code = error.code if isinstance(error, SystemExit) else None
    return Failure(
        kind,
        type_name=_qualified_name(type(error)),
        message=message,
        traceback=text,
        exception=pickled,
        exit_code=code if isinstance(code, int) else None,
    )


def _qualified_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
