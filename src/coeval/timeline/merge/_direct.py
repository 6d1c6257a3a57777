"""
A file that is written past the system's cache, where the file system can.

What a merge writes nobody reads at once, and it is made durable in the end. Through the cache that costs a copy of
every byte, fresh pages for all of them, and at the end the wait until they are on the disk: for a gigabyte of logs as
much as all the rest. What others have in the cache is left alone, too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import mmap
import os
from pathlib import Path
from typing import Any

# So much is gathered before it is written; a file that is smaller goes through the cache like any other.
_BUFFER_BYTES = 8 << 20
# Places and sizes of what goes past the cache are multiples of this, which is enough for any disk.
_ALIGNED = 4096


class DirectFile(io.RawIOBase):
    """
    Written from its begin to its end.

    Args:
        path: is made, or begun anew.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)
        # Pages of its own, so aligned.
        self._buffer = mmap.mmap(-1, _BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._held = 0
        self._written = 0
        self._is_direct: bool | None = None

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written + self._held

    def write(self, data: Any) -> int:
        """All of it."""
        source = memoryview(data).cast("B")
        at = 0
        while at < len(source):
            count = min(len(source) - at, _BUFFER_BYTES - self._held)
            self._view[self._held : self._held + count] = source[at : at + count]
            self._held += count
            at += count
            if self._held == _BUFFER_BYTES:
                self._put(self._held)
        return len(source)

    def _put(self, count: int) -> None:
        """Write what is held, of which so much is a whole number of blocks or the end."""
        if self._is_direct is None:
            self._is_direct = self._set_direct(True)
        at = 0
        while at < count:
            if self._is_direct and (count - at) % _ALIGNED:
                self._is_direct = not self._set_direct(False)
            try:
                at += os.write(self._descriptor, self._view[at:count])
            except OSError as error:
                # Some file systems take the flag, and then not this size or place.
                if error.errno != errno.EINVAL or not self._is_direct:
                    raise
                self._is_direct = not self._set_direct(False)
        self._written += count
        self._held = 0

    def _set_direct(self, wanted: bool) -> bool:
        """Whether the file system does as is wanted."""
        flag = getattr(os, "O_DIRECT", 0)
        if not flag:
            return False
        try:
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags | flag if wanted else flags & ~flag)
        except OSError:
            return False
        return True

    def flush(self) -> None:
        """Write what is held. More may follow."""
        if not self.closed and self._held:
            self._is_direct = bool(self._is_direct)
            self._put(self._held)

    def close(self) -> None:
        if self.closed:
            return
        try:
            super().close()
        finally:
            self._view.release()
            with contextlib.suppress(BufferError):
                self._buffer.close()
            os.close(self._descriptor)
