"""
Shared objects where they are used: `resolve` is what the pickle of an `ex.share(...)` handle calls.

A process maps each shared segment once and keeps the mapping for the calls to come. Every resolution unpickles anew
from it: buffers are read-only views of the one copy, everything else is fresh, so nothing that one call does to the
object reaches the next.

A mapping that no object uses holds no lock, so the owner may free the segment at any time; the kept mapping is then of
nothing, costs nothing, and is never looked at again, as the segment no longer has the name that it is kept under.
"""

from __future__ import annotations

import _thread
import mmap
import os
import sys
from collections import OrderedDict

from coeval.engines._payload import unpickle
from coeval.engines._segments import SegmentGone, holds, open_segment

if sys.platform != "win32":
    import fcntl

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from coeval.engines._segments import Heavy

# Each is two descriptors. A call with more of them than this maps the oldest anew the next time.
_KEPT_MAX = 32


def resolve(heavy: Heavy) -> Any:
    """
    The object that a handle stands for.

    Raises:
        SegmentGone: it was freed, or its owner has ended.
        MemoryError: this process has no room for it.
    """
    with _lock:
        mapping = _find(heavy)
        _used.add(heavy.number)
        with memoryview(mapping) as content:
            return unpickle(heavy, content)


def settle() -> None:
    """A call has ended: whoever shared what it used may free it, unless the call has kept a part of it."""
    if _used:
        with _lock:
            _settle()


def forget(heavy: Heavy) -> None:
    """This process will not be asked for an object any more: keep no mapping of it. Never waits."""
    if heavy.number in _kept:
        _forget(heavy.number)


_lock = _thread.RLock()  # unpickling may run anything, even this
_kept: OrderedDict[int, tuple[int, mmap.mmap]] = OrderedDict()
_used: set[int] = set()


def _find(heavy: Heavy) -> mmap.mmap:
    kept = _kept.get(heavy.number)
    if kept is not None:
        descriptor, mapping = kept
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if holds(descriptor, heavy):
            _kept.move_to_end(heavy.number)
            return mapping
        _forget(heavy.number)
        raise SegmentGone("the shared object was freed while a call still waited for it; keep the handle until then")
    descriptor = open_segment(heavy)
    try:
        mapping = mmap.mmap(descriptor, heavy.size, access=mmap.ACCESS_READ)
    except OSError as error:
        os.close(descriptor)
        raise MemoryError(
            f"no memory to map a shared object of {heavy.size:,} bytes: {error.strerror}. Raise the limit on memory."
        ) from error
    _kept[heavy.number] = descriptor, mapping
    while len(_kept) > _KEPT_MAX:
        _forget(next(iter(_kept)))
    return mapping


def _forget(number: int) -> None:
    # The mapping itself goes with the last object that uses it, and its lock too.
    kept = _kept.pop(number, None)
    _used.discard(number)
    if kept is not None:
        os.close(kept[0])


def _settle() -> None:
    for number in list(_used):
        if number not in _kept:
            continue
        descriptor, mapping = _kept[number]
        if not _is_exported(mapping):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            _used.discard(number)


def _is_exported(mapping: mmap.mmap) -> bool:
    # A mapping does not tell how many views of it there are, except by refusing: with views by a BufferError, without
    # because a read-only one never changes its size.
    try:
        mapping.resize(len(mapping))
    except BufferError:
        return True
    except TypeError:
        return False
    raise AssertionError("a read-only mapping was resized")
