"""
The names of shared objects: in pickles, and what becomes of them in the workers of a local pool.

The pool's workers import this, so nothing of Dask is imported here.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from coeval.engines._payload import load
from coeval.engines._segments import Heavy, SegmentGone
from coeval.engines._shares import resolve

# All names of one engine begin with the same random bytes, by which they are found in pickles.
PREFIX_BYTES = 16
NAME_BYTES = PREFIX_BYTES + 8

# Where an object is on this host, or why it is not.
Place: TypeAlias = Heavy | Exception

# A worker of a pool remembers the places of so many. They come with each call that needs them.
PLACES_MAX = 1024


def names_in(payload: bytes, prefix: bytes) -> set[bytes]:
    """The names with this beginning that a pickle mentions."""
    names: set[bytes] = set()
    at = payload.find(prefix)
    while at >= 0:
        names.add(payload[at : at + NAME_BYTES])
        at = payload.find(prefix, at + PREFIX_BYTES)
    return names


class _Placed:
    """Pickles as the call `load_placed(places, payload)`."""

    def __init__(self, places: Mapping[bytes, Place], payload: bytes) -> None:
        self._how = (dict(places), payload)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[dict[bytes, Place], bytes]]:
        return load_placed, self._how


def placed(payload: bytes, places: Mapping[bytes, Place]) -> bytes:
    """A payload that gives the same value on this host, with where the objects are that it mentions."""
    mentioned = {name: place for name, place in places.items() if name in payload}
    return pickle.dumps(_Placed(mentioned, payload), 5) if mentioned else payload


def load_placed(places: Mapping[bytes, Place], payload: bytes) -> Any:
    """The worker's side of `placed`."""
    for name, place in places.items():
        _places.pop(name, None)
        _places[name] = place
    while len(_places) > PLACES_MAX:
        del _places[next(iter(_places))]
    return load(payload)


def find(name: bytes) -> Any:
    """
    What the pickle of a handle calls: the object.

    Raises:
        SegmentGone: it was freed, or this worker was not told where it is.
        Exception: why it is not on this host.
    """
    if getattr(_this_thread, "keeps_names", False):
        return _Name(name)
    place = _places.get(name)
    if place is None:
        raise SegmentGone(
            "nobody said where the shared object is, as its handle could not be seen in the pickle. Do not compress or "
            "encrypt what holds a handle; give the handle to the call itself."
        )
    if isinstance(place, Exception):
        raise place
    return resolve(place)


@contextlib.contextmanager
def names_kept() -> Iterator[None]:
    """Within this, handles are rebuilt as something that can be pickled again, and not as their objects."""
    _this_thread.keeps_names = True
    try:
        yield
    finally:
        _this_thread.keeps_names = False


class _Name:
    def __init__(self, name: bytes) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[bytes]]:
        return find, (self._name,)


_places: dict[bytes, Place] = {}  # the latest last
_this_thread = threading.local()
