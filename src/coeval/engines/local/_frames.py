"""
Frames on a pipe: eight bytes of length, then a pickle. Both ends are processes of one pool, joined by a private pipe.

The worker writes by blocking calls; the pool must never wait for a worker, so it keeps what a full pipe does not take
yet (see `_pool.py`). Both gather what comes in a `FrameReader`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pickle import dumps, loads
    from typing import Any
else:
    from _pickle import dumps, loads  # `pickle` brings `re`, `enum` and more

_LENGTH_BYTES = 8

# A pipe holds no more. Asking for 256 KiB costs 15 us, as memory of that size is mapped anew for each read.
READ_BYTES_MAX = 1 << 16

_SHORT_BYTES = 1 << 12

# No frame is longer; what claims to be was written by somebody else.
_FRAME_BYTES_MAX = 1 << 48


def frame(message: object) -> bytes:
    """Make the bytes of one frame."""
    payload = dumps(message, 5)
    return len(payload).to_bytes(_LENGTH_BYTES, "little") + payload


def write_frame(fd: int, message: object) -> None:
    """Write one frame, waiting as long as the pipe is full."""
    data = frame(message)
    written = os.write(fd, data)
    if written < len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(fd, rest) :]


class FrameReader:
    """Gathers bytes as they come and gives back whole frames."""

    def __init__(self) -> None:
        self._bytes: bytes | bytearray = b""  # most often just what one read gave
        self._start = 0  # of the next frame
        self._there = 0  # bytes from the start on
        self._wanted = _LENGTH_BYTES  # of them until something can be told

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        if not self._there:
            self._bytes, self._start = data, 0
        else:
            # One block that grows: of many small ones the allocator may keep what it was given back.
            if type(self._bytes) is bytearray:
                del self._bytes[: self._start]
            else:
                self._bytes = bytearray(memoryview(self._bytes)[self._start :])
            self._start = 0
            self._bytes += data
        self._there += len(data)

    def has_frame(self) -> bool:
        """Is there a whole one?"""
        if self._there < self._wanted:
            return False
        if self._wanted == _LENGTH_BYTES:
            start = self._start
            length = int.from_bytes(self._bytes[start : start + _LENGTH_BYTES], "little")
            if length > _FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {length} bytes: what came is no frame")
            self._wanted += length
        return self._there >= self._wanted

    def take_frame(self) -> Any:
        """
        The next frame; only if `has_frame`.

        Raises:
            Exception: what is there is no frame.
        """
        begin, self._start = self._start + _LENGTH_BYTES, self._start + self._wanted
        self._there -= self._wanted
        self._wanted = _LENGTH_BYTES
        data = self._bytes
        if not self._there:  # whoever idles keeps nothing
            self._bytes = b""
        # Of what is short a copy costs less than a view.
        return loads(data[begin : self._start] if len(data) < _SHORT_BYTES else memoryview(data)[begin : self._start])
