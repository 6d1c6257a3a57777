"""
Running a batch, item after item, where the worker is: the same code inside every engine's workers.

Nothing that an item does (raise, exit, return what cannot travel) touches the next one. What was done so far goes home
in pieces, so that a worker that dies late loses little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from coeval.clocks import Clock
from coeval.engines._engine import Failure, ItemStamps
from coeval.engines._payload import dump, load
from coeval.recording import Attempt, Event, running_call

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
    values: Sequence[bytes]
    failure: Failure | None
    started_ns: int
    finished_ns: int
    events: Sequence[Event]
    item_stamps: Sequence[ItemStamps]


def load_function(body: bytes) -> Callable[..., Any] | Failure:
    """Rebuild a function from its pickle; a failure of kind "function" if that cannot be done here."""
    try:
        function: Callable[..., Any] = load(body)
    except BaseException as error:
        return _describe("function", error)
    return function


def run_batch(
    function: Callable[..., Any] | Failure,
    items: Sequence[bytes],
    calls: Sequence[int],
    attempt: int,
    *,
    clock: Clock,
    on_start: Callable[[int, int], None] | None = None,
    whole_process: bool = False,
) -> Iterator[Piece]:
    """
    Run every item; yield what became of them, in order, each item exactly once.

    Args:
        function: what `load_function` gave.
        items: pickles of `(args, kwargs)`.
        calls, attempt: what `coeval.attempt()` answers.
        clock: stamps starts and ends.
        on_start: told item number and reading just before each item.
        whole_process: one call at a time in this process, so threads started by a call belong to it.
    """
    if isinstance(function, Failure):
        now_ns = clock.raw_ns()
        yield Piece(0, len(items), (), function, now_ns, now_ns, (), ())
        return

    first = 0
    values: list[bytes] = []
    events: list[Event] = []
    stamps: list[ItemStamps] = []
    piece_started_ns = 0
    several = len(items) > 1
    for number, item in enumerate(items):
        started_ns = clock.raw_ns()
        if not values:
            piece_started_ns = started_ns
        if on_start:
            on_start(number, started_ns)
        value, failure_or_none = _run_item(
            function, item, Attempt(calls[number], attempt), number, events, whole_process=whole_process
        )
        finished_ns = clock.raw_ns()
        if several and finished_ns - started_ns >= ITEM_STAMP_NS_MIN:
            stamps.append(ItemStamps(number, started_ns, finished_ns))
        if failure_or_none is not None:
            if values:
                # `started_ns` ends the piece before: nothing of it ran later than the failing item's start.
                yield Piece(first, len(values), values, None, piece_started_ns, started_ns, (), ())
            yield Piece(number, 1, (), failure_or_none, started_ns, finished_ns, events, stamps)
            first, values, events, stamps = number + 1, [], [], []
            continue
        values.append(value)
        if number + 1 < len(items) and finished_ns - piece_started_ns >= PIECE_NS_MAX:
            yield Piece(first, len(values), values, None, piece_started_ns, finished_ns, events, stamps)
            first, values, events, stamps = number + 1, [], [], []
    if values:
        yield Piece(first, len(values), values, None, piece_started_ns, finished_ns, events, stamps)


def _run_item(
    function: Callable[..., Any],
    item: bytes,
    attempt: Attempt,
    number: int,
    events: list[Event],
    *,
    whole_process: bool,
) -> tuple[bytes, Failure | None]:
    try:
        args, kwargs = load(item)
    except BaseException as error:
        return b"", _describe("argument", error)
    with running_call(attempt, number, events, whole_process=whole_process):
        # Caught inside: leaving the block by an exception assigns to it, which a frozen dataclass refuses.
        try:
            value = function(*args, **kwargs)
        except (SystemExit, KeyboardInterrupt) as error:
            return b"", _describe("exited", error)
        except BaseException as error:
            return b"", _describe("raised", error)
    try:
        return dump(value), None
    except BaseException as error:
        failure = _describe("result", error)
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return b"", failure._replace(message=f"{kind}: {failure.message}")


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
    pickled = None
    if kind == "raised":
        try:
            # Its traceback travels as text. Left on it, it would be pickled too where somebody has taught pickle to
            # (Dask does): slowly, and not at all when it is a thousand frames deep.
            pickled = dump(error.with_traceback(None))
        except Exception:
            pickled = None  # it goes home as text: RemoteError
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
