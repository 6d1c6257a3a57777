"""
Functions, arguments and results as they travel.

Everything goes by the C pickler first, which names functions and classes instead of copying them. What cannot be named
on the other side (lambdas, closures, anything defined in `__main__` or a notebook) goes by value through cloudpickle,
which is imported only then: it costs 20 ms, and a worker that needs none should not pay it.

Between processes of one host what is large goes beside the pickle, in shared memory (`_segments.py`). What is small and
plain goes bare there: as it is, for its engine to write down with whatever else it sends. For a number that takes less
than a pickle of its own.
"""

from __future__ import annotations

import os
import sys

from coeval.engines._segments import Heavy, Parcel, Segments, drop_received, receive

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pickle import PickleBuffer, Pickler, dumps, loads
    from typing import Any, TypeGuard, overload

    from coeval.engines._protocol import Arguments, Bare, Returned
else:
    # `pickle` would bring `re` along, which takes longer than forking a worker.
    from _pickle import Pickler, dumps, loads

    def overload(function):
        return function


PROTOCOL = 5

# A value whose parts are this large together travels in a segment, and so does each buffer of this size by itself.
# Smaller: opening and mapping takes longer than the pipe. Larger: the pipe does, 1.7 us for each KB where both cores
# are busy (benchmarks/spikes/payload.py).
HEAVY_BYTES_MIN = 1 << 17

# The pickler hands over what is longer than its frames as it is, without a copy. No name is in such a piece.
_NAMES_BYTES_MAX = 1 << 18

# What goes bare: nothing that can change, of no class but these, `int` and `str`, which `marshal` knows as well as the
# pickler. Whole numbers of up to 600 bytes, texts of up to so many characters, so many arguments: for what is larger
# there may be no memory, and that is to fail where it is pickled, and to lie in a segment afterwards.
_BARE_KINDS = frozenset({float, bool, type(None)})
_BARE_INT_MAX = 1 << 4800
_BARE_INT_MIN = -_BARE_INT_MAX
_BARE_TEXT_MAX = 1 << 10
_BARE_ARGUMENTS_MAX = 64

# Pickled into one piece, their bytes would be copied twice more than need be.
_LONG_KINDS = frozenset({bytes, bytearray, str})


@overload
def dump(value: object, segments: None = None) -> bytes: ...
@overload
def dump(value: object, segments: Segments | None) -> bytes | Heavy: ...  # noqa: F811  ruff knows only typing's overload
def dump(value: object, segments: Segments | None = None) -> bytes | Heavy:  # noqa: F811
    """
    Pickle a value so that a process with another `__main__` can rebuild it.

    Args:
        value: what to pickle; as it is now, whatever becomes of it afterwards.
        segments: where large parts go, if the other process is of this host. Whoever gets a `Heavy` has to `drop` it.

    Raises:
        MemoryError: there is no room for it.
        Exception: whatever the value's own pickling raised; callers name the value and what to do.
    """
    try:
        if segments is None:
            payload = dumps(value, PROTOCOL)
        else:
            # Written out, as this is done for each call and most are small.
            for part in value[0] if type(value) is tuple and value and type(value[0]) is tuple else (value,):
                if type(part) in _LONG_KINDS and len(part) >= HEAVY_BYTES_MIN:
                    return _dump_beside(value, segments)
            payload = dumps(value, PROTOCOL, buffer_callback=_refuse_large)
    except MemoryError:
        raise
    except _Large:
        assert segments is not None
        return _dump_beside(value, segments)
    except Exception:
        return _dump_by_value(value) if segments is None else _dump_beside(value, segments, by_value=True)
    # A global of __main__ is named by this very text. A string that merely looks so costs time, nothing else.
    if b"__main__" in payload or ("cloudpickle" in sys.modules and by_value_modules()):
        return _dump_by_value(value) if segments is None else _dump_beside(value, segments, by_value=True)
    if segments is not None and len(payload) >= HEAVY_BYTES_MIN:
        return segments.store([payload], [], stream_inside=True) or payload
    return payload


def dump_call(args: object, kwargs: Mapping[str, Any], segments: Segments | None) -> Arguments:
    """
    Make the arguments of a call ready to travel, as they are now.

    Args:
        args: a sequence, or what is one when it was pickled and rebuilt.
        segments: see `dump`; with them, arguments may also go bare.

    Raises:
        MemoryError, Exception: see `dump`.
    """
    if segments is not None and not kwargs and type(args) is tuple and len(args) <= _BARE_ARGUMENTS_MAX:
        for part in args:
            if not _goes_bare(part):
                break
        else:
            bare: tuple[Bare, ...] = args
            return bare
    return dump((args, kwargs), segments)


def load_call(payload: Arguments) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Rebuild positional and named arguments of a call. Raises what `load` raises."""
    if type(payload) is tuple:
        return payload, {}
    args, kwargs = load(payload)  # type: ignore[arg-type]  # a `Heavy` is a tuple as well, of a class of its own
    return args, kwargs


def dump_result(value: object, segments: Segments | None) -> Returned:
    """Make what a call returned ready to travel. Args, raises: see `dump_call`."""
    return value if segments is not None and _goes_bare(value) else dump(value, segments)


def load(payload: bytes | Heavy) -> Any:
    """
    Rebuild a value that may be rebuilt again elsewhere: an argument.

    Its buffers are private and writable, as those of a copy would be.

    Raises:
        SegmentGone: the process that dumped it is gone, or has dropped the segment.
        MemoryError: this process has no room for it.
        Exception: whatever the value's own unpickling raised.
    """
    return loads(payload) if type(payload) is bytes else _load_heavy(payload, last=False)  # type: ignore[arg-type]


def take(payload: Returned | Parcel) -> Any:
    """Rebuild a value that nobody else will rebuild: a result. Raises what `load` raises."""
    if type(payload) is bytes:
        return loads(payload)
    if isinstance(payload, Heavy):
        return _load_heavy(payload, last=True)
    return unpickle(payload.heavy, payload.open()) if isinstance(payload, Parcel) else payload


def size_of(payload: Returned | Parcel) -> int:
    """How many bytes a pickle is, with what travels beside it."""
    heavy = payload.heavy if isinstance(payload, Parcel) else payload
    return heavy.size if isinstance(heavy, Heavy) else len(heavy)  # type: ignore[arg-type]  # items of a map: no bare one


def settle() -> None:
    """A call has ended: what it used of shared objects may be freed, unless it has kept a part."""
    shares = sys.modules.get("coeval.engines._shares")  # a call that was given one has imported it
    if shares is not None:
        shares.settle()


def drop(payload: object, segments: Segments | None = None) -> None:
    """
    Nobody will rebuild this one any more.

    Args:
        payload: of any kind.
        segments: those of this process, if it has any.
    """
    if isinstance(payload, Parcel):
        payload.close()
    elif isinstance(payload, Heavy):
        if segments is not None and payload.owner == os.getpid():
            segments.drop(payload)
        else:
            drop_received(payload)


def is_importable(function: object) -> bool:
    """Can another process find this very object by its module and qualified name?"""
    module_name = getattr(function, "__module__", None)
    qualified_name = getattr(function, "__qualname__", None)
    if not module_name or not qualified_name or module_name in ("__main__", "__mp_main__"):
        return False
    found: object = sys.modules.get(module_name)
    if found is None or module_name in by_value_modules():
        return False
    for part in qualified_name.split("."):
        found = getattr(found, part, None)
        if found is None:
            return False
    return found is function


def by_value_modules() -> set[str]:
    """Modules that the user told cloudpickle to copy instead of naming; nobody can have if it was never imported."""
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle.list_registry_pickle_by_value() if cloudpickle else set()


def _dump_by_value(value: object) -> bytes:
    import cloudpickle

    payload: bytes = cloudpickle.dumps(value, PROTOCOL)
    return payload


def _goes_bare(value: object) -> TypeGuard[Bare]:
    if type(value) is int:
        return _BARE_INT_MIN < value < _BARE_INT_MAX
    return type(value) in _BARE_KINDS or (type(value) is str and len(value) <= _BARE_TEXT_MAX)


class _Large(Exception):
    """A buffer that goes beside the pickle was found, so it has to be collected."""


def _is_large(buffer: PickleBuffer) -> bool:
    try:
        return buffer.raw().nbytes >= HEAVY_BYTES_MIN
    except BufferError:  # it has gaps: the pickler knows what to say
        return False


def _refuse_large(buffer: PickleBuffer) -> bool:
    if _is_large(buffer):
        raise _Large
    return True


def _dump_beside(value: object, segments: Segments, *, by_value: bool = False) -> bytes | Heavy:
    """
    Pickle without copying what is long, and copy it into a segment.

    What comes before the first large buffer is pickled for the second time here, and that is little: to collect buffers
    from the start would cost each small value half as much again.
    """
    stream: list[bytes] = []
    buffers: list[memoryview] = []

    def goes_inside(buffer: PickleBuffer) -> bool:
        if not _is_large(buffer):
            return True
        buffers.append(buffer.raw())
        return False

    if by_value:
        import cloudpickle

        pickler = cloudpickle.Pickler(_Sink(stream), PROTOCOL, buffer_callback=goes_inside)
        pickler.dump(value)
    else:
        pickler = Pickler(_Sink(stream), PROTOCOL, buffer_callback=goes_inside)
        try:
            pickler.dump(value)
        except MemoryError:
            raise
        except Exception:
            return _dump_beside(value, segments, by_value=True)
        if by_value_modules() or any(b"__main__" in piece for piece in stream if len(piece) < _NAMES_BYTES_MAX):
            return _dump_beside(value, segments, by_value=True)
    stream_bytes = sum(map(len, stream))
    if not buffers and stream_bytes < HEAVY_BYTES_MIN:
        return b"".join(stream)
    # Until it is stored `pickler` keeps alive what the pieces are views of.
    heavy = segments.store(stream, buffers, stream_inside=stream_bytes >= HEAVY_BYTES_MIN)
    del pickler
    if heavy is not None:
        return heavy
    return dump(value) if buffers else b"".join(stream)


def _load_heavy(heavy: Heavy, *, last: bool) -> Any:
    return unpickle(heavy, receive(heavy, last=last))


def unpickle(heavy: Heavy, content: memoryview) -> Any:
    """Rebuild a value from its segment's bytes; its buffers are views of them."""
    spans = [content[start : start + length] for start, length in heavy.spans]
    stream = spans.pop(0) if heavy.stream is None else heavy.stream
    return loads(stream, buffers=spans)


class _Sink:
    """A file to the pickler, which only asks for `write`."""

    __slots__ = ("write",)

    def __init__(self, pieces: list[bytes]) -> None:
        self.write: Callable[[bytes], object] = pieces.append
