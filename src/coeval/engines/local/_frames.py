"""
Frames on a pipe: eight bytes of length, then a pickle. Both ends are processes of one pool, joined by a private pipe.

The worker reads and writes by blocking calls; the pool must never wait for a worker, so it gathers what came
(`FrameReader`) and keeps what a full pipe does not take yet (see `_pool.py`).
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any

_LENGTH_BYTES = 8

# One read takes at most this much: large enough that a big result costs few calls, small enough to stay in cache.
READ_BYTES_MAX = 1 << 18


def frame(message: object) -> bytes:
    """Make the bytes of one frame."""
    payload = pickle.dumps(message, 5)
    return len(payload).to_bytes(_LENGTH_BYTES, "little") + payload


def write_frame(fd: int, message: object) -> None:
    """Write one frame, waiting as long as the pipe is full."""
    rest = memoryview(frame(message))
    while rest:
        rest = rest[os.write(fd, rest) :]


def read_frame(fd: int) -> Any:
    """
    Wait for one frame.

    Raises:
        EOFError: the other end is closed.
    """
    length = int.from_bytes(_read_exactly(fd, _LENGTH_BYTES), "little")
    return pickle.loads(_read_exactly(fd, length))


def _read_exactly(fd: int, count: int) -> bytearray:
    # Grown as the bytes come, as a frame cut short may claim any length.
    data = bytearray()
    while len(data) < count:
        chunk = os.read(fd, min(READ_BYTES_MAX, count - len(data)))
        if not chunk:
            raise EOFError(f"pipe closed after {len(data)} of {count} bytes")
        data += chunk
    return data


class FrameReader:
    """Gathers bytes as they come and gives back whole frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        self._bytes += data

    def frames(self) -> Iterator[Any]:
        """Yield each frame that is complete by now."""
        start = 0
        try:
            while len(self._bytes) - start >= _LENGTH_BYTES:
                end = start + _LENGTH_BYTES + int.from_bytes(self._bytes[start : start + _LENGTH_BYTES], "little")
                if len(self._bytes) < end:
                    return
                message = pickle.loads(memoryview(self._bytes)[start + _LENGTH_BYTES : end].toreadonly())
                start = end
                yield message
        finally:
            del self._bytes[:start]
