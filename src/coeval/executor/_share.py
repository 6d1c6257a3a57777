"""Objects that many calls use: sent once to a host, mapped by each of its workers."""

from __future__ import annotations

import os
from typing import Any, Generic, TypeVar

from coeval.engines._payload import dump, load
from coeval.engines._segments import Heavy, Segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coeval.engines._protocol import SharesObjects

T = TypeVar("T")


class Shared(Generic[T]):
    """
    A handle to an object that was put where workers find it: `Executor.share` makes them.

    Given to a call, at the top or deep within an argument, it arrives as the object itself. Arrays and other buffers
    are read-only there and are views of the one copy; everything else is rebuilt for each call. What a call changes
    never reaches another.

    The memory is given back when the handle is gone and no call uses the object, or at the end of a `with` block, or by
    `free()`. A call that already has the object then keeps it to its end; one that has yet to begin fails.
    """

    # Without a `__dict__` the error of a freed handle names the handle, and not something within it.
    __slots__ = ("__weakref__", "_content", "_engine", "_kind", "_recipe", "_segments")

    def __init__(self, value: T, segments: Segments | None, engine: SharesObjects | None = None) -> None:
        """
        Args:
            value: what to share, as it is now.
            segments: those of this process; None where there are none: the content then travels in each call, as that
                of small objects does everywhere.
            engine: who tells workers of it, where they do not find the segments by themselves.

        Raises:
            MemoryError: there is no room for it.
            Exception: whatever the value's own pickling raised.
        """
        self._segments = segments
        self._engine = engine
        self._kind = type(value).__qualname__
        self._content: bytes | Heavy | None = dump(value, segments)
        if isinstance(self._content, Heavy) and engine is not None:
            try:
                self._recipe = engine.publish(self._content)
            except BaseException:
                self.free()
                raise

    def free(self) -> None:
        """Give the memory back as soon as no call uses it. Safe to call twice."""
        content, self._content = self._content, None
        if isinstance(content, Heavy) and self._segments is not None:
            if self._engine is not None and content.owner == os.getpid():  # not in a forked child
                self._engine.withdraw(content)
            self._segments.drop(content)

    def __enter__(self) -> Shared[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    def __del__(self) -> None:
        if getattr(self, "_content", None) is not None:  # not where making it failed
            self.free()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._content is None:
            raise ValueError(f"the shared {self._kind} was freed; share it again, or free it after its last call")
        if isinstance(self._content, Heavy):
            if self._engine is not None:
                return self._recipe
            # Where handles are made nothing is resolved, so what that takes is not on the way of a first call.
            from coeval.engines._shares import resolve

            return resolve, (self._content,)
        return load, (self._content,)

    def __repr__(self) -> str:
        if self._content is None:
            return f"<Shared {self._kind}, freed>"
        content = self._content
        return f"<Shared {self._kind}, {content.size if isinstance(content, Heavy) else len(content):,} bytes>"
