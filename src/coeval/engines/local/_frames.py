"""
Frames on a pipe: eight bytes of length, then the packed message. Both ends are processes of one pool, joined by a
private pipe.

Most messages are made of numbers and bytes only. `marshal` writes and reads those in half of the time that the pickler
takes, and with less code, which counts where neighbours empty the caches between two calls. What has other things in
it, such as an event, is a pickle.

The worker writes by blocking calls; the pool must never wait for a worker, so it keeps what a full pipe does not take
yet (see `_pool.py`). Both gather what comes in a `FrameReader`.
"""

from __future__ import annotations

import marshal
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

# The last one that does not look for objects which occur twice.
_MARSHAL_VERSION = 2

# A pickle begins so, and nothing that `marshal` writes.
_PICKLE = 0x80

# No frame is longer; what claims to be was written by somebody else.
_FRAME_BYTES_MAX = 1 << 48


def pack(message: object) -> bytes:
    """Make the bytes of a message."""
    try:
        return marshal.dumps(message, _MARSHAL_VERSION)  # type: ignore[arg-type]  # it says itself what it cannot
    except ValueError:  # there are other things in it
        return dumps(message, 5)


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """
    Give the message of these bytes.

    Raises:
        Exception: they are no message.
    """
    return loads(data) if data[0] == _PICKLE else marshal.loads(data)


def is_pickle(data: bytes) -> bool:
    """Is this a pickle, and not what `pack` makes of numbers and bytes?"""
    return data[0] == _PICKLE


def frame(message: object) -> bytes:
    """Make the bytes of one frame."""
    body = pack(message)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def write_frame(fd: int, message: object) -> None:
    """Write one frame, waiting as long as the pipe is full."""
    data = frame(message)
    written = os.write(fd, data)
    if written < len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(fd, rest) :]


class FrameReader:
    """
    Gathers bytes as they come and gives back whole messages.

    Attributes:
        there: so many bytes are left, of the next message or of several.
    """

    def __init__(self) -> None:
        self.there = 0
        self._bytes: bytes | bytearray = b""  # most often just what one read gave
        self._start = 0  # of the next frame
        self._wanted = _LENGTH_BYTES  # bytes from there on, until something can be told

    def take(self, data: bytes = b"") -> Any:
        """
        Add what was read, and give the next message; None: there is no whole one. (No message is None.)

        Raises:
            Exception: what is there is no frame.
        """
        # In one piece, as both sides do this for each call.
        there, wanted = self.there, self._wanted
        if data:
            if there:
                self._append(data)
            else:
                self._bytes, self._start = data, 0
            self.there = there = there + len(data)
        if there < wanted:
            return None
        begin = self._start + _LENGTH_BYTES
        if wanted == _LENGTH_BYTES:
            length = int.from_bytes(self._bytes[begin - _LENGTH_BYTES : begin], "little")
            if length > _FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {length} bytes: what came is no frame")
            self._wanted = wanted = wanted + length
            if there < wanted:
                return None
        self._start = end = self._start + wanted
        self._wanted = _LENGTH_BYTES
        self.there = there - wanted
        all_bytes = self._bytes
        if there == wanted:  # whoever idles keeps nothing
            self._bytes = b""
        # Of what is short a copy costs less than a view.
        message = unpack(all_bytes[begin:end] if len(all_bytes) < _SHORT_BYTES else memoryview(all_bytes)[begin:end])
        if message is None:
            raise ValueError("a frame of None: what came is no frame")
        return message

    def _append(self, data: bytes) -> None:
        # One block that grows: of many small ones the allocator may keep what it was given back.
        if type(self._bytes) is bytearray:
            del self._bytes[: self._start]
        else:
            self._bytes = bytearray(memoryview(self._bytes)[self._start :])
        self._start = 0
        self._bytes += data
