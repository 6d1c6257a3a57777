"""
Bytes as they are written: a file that grows, is rotated or cut, or standard input; never a wait.

What comes out is cut where a record begins, because the one before may still go on.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

STEP_BYTES = 1 << 20
"""How much of a source is read at once."""

RECORD_BYTES_MAX = 1 << 24
"""A record takes in no more than this; what is beyond is read as what follows it."""


class FollowedFile:
    """
    A file that others write.

    Attributes:
        problems: what happened to it, one sentence each; whoever tells them takes them out.
        has_ended: never: it may grow again.

    Raises:
        OSError: it cannot be read.
    """

    has_ended = False

    def __init__(self, path: str) -> None:
        self.problems: list[str] = []
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        self._at = 0

    @property
    def modified_ns(self) -> int:
        """When it was last written."""
        return os.fstat(self._descriptor).st_mtime_ns

    def read(self) -> bytes:
        """What was written since, up to `STEP_BYTES`."""
        size = os.fstat(self._descriptor).st_size
        if size < self._at:
            self.problems.append(f"{self._path} was cut to {size:,} bytes: it is read from its begin again")
            self._at = 0
        data = os.pread(self._descriptor, STEP_BYTES, self._at)
        self._at += len(data)
        if not data:
            self._follow_rotation()
        return data

    def close(self) -> None:
        """Leave it."""
        os.close(self._descriptor)

    def _follow_rotation(self) -> None:
        """Go over to what has the name now, once the old file is read to its end."""
        try:
            there = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return  # between two names: the next one comes
        if os.path.sameopenfile(there, self._descriptor):
            os.close(there)
            return
        self.problems.append(f"{self._path} is another file now, as after a rotation: that is read from its begin")
        os.close(self._descriptor)
        self._descriptor, self._at = there, 0


class FollowedStream:
    """Standard input, or another descriptor, until it ends; the same as `FollowedFile`."""

    def __init__(self, descriptor: int) -> None:
        self.problems: list[str] = []
        self.has_ended = False
        self._descriptor = descriptor

    @property
    def modified_ns(self) -> int | None:
        """Nobody knows."""
        return None

    def read(self) -> bytes:
        """What is there."""
        if self.has_ended or not select.select([self._descriptor], [], [], 0)[0]:
            return b""
        data = os.read(self._descriptor, STEP_BYTES)
        self.has_ended = not data
        return data

    def close(self) -> None:
        """Left open: it is its owner's."""


class RecordCutter:
    """
    Cuts bytes into pieces of whole records.

    Args:
        begins: whether a line begins a record; None: every line is one.
    """

    def __init__(self, begins: Callable[[bytes], bool] | None) -> None:
        self.begins = begins
        self._held = b""

    @property
    def has_some(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def cut(self, data: bytes) -> bytes:
        """The whole records so far; the last one is held back where it may go on."""
        held = self._held + data
        end = held.rfind(b"\n") + 1
        if self.begins is not None:
            stop = end
            while stop > 0:
                begin = held.rfind(b"\n", 0, stop - 1) + 1
                if self.begins(held[begin : stop - 1]):
                    break
                stop = begin
            if stop:
                end = begin
        if not end and len(held) > RECORD_BYTES_MAX:
            end = len(held)
        self._held = held[end:]
        return held[:end]

    def again(self, data: bytes) -> bytes:
        """Cut what came last once more, after `begins` has become known."""
        self._held = data + self._held
        return self.cut(b"")

    def whole_lines(self) -> bytes:
        """What is held of whole lines, because nothing went on with it for a while."""
        end = self._held.rfind(b"\n") + 1
        data, self._held = self._held[:end], self._held[end:]
        return data

    def rest(self) -> bytes:
        """All that is held, because nothing comes any more."""
        data, self._held = self._held, b""
        return data
