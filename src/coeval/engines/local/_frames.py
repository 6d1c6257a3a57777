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
        self._bytes = bytearray()
        self._start = 0  # of the next frame
        self._wanted = _LENGTH_BYTES  # bytes from there until something can be told

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        if self._start:
            del self._bytes[: self._start]
            self._start = 0
        self._bytes += data

    def has_frame(self) -> bool:
        """Is there a whole one?"""
        there = len(self._bytes) - self._start
        if there < self._wanted:
            return False
        if self._wanted == _LENGTH_BYTES:
            start = self._start
            length = int.from_bytes(self._bytes[start : start + _LENGTH_BYTES], "little")
            if length > _FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {length} bytes: what came is no frame")
            self._wanted += length
        return there >= self._wanted

    def take_frame(self) -> Any:
        """
        The next frame; only if `has_frame`.

        Raises:
            Exception: what is there is no frame.
        """
        begin, end = self._start + _LENGTH_BYTES, self._start + self._wanted
        self._start, self._wanted = end, _LENGTH_BYTES
        with memoryview(self._bytes) as whole, whole[begin:end] as payload:
            message = loads(payload)
        if end == len(self._bytes):  # whoever idles keeps nothing
            self._bytes, self._start = bytearray(), 0
        return message
