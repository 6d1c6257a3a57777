"""
A file that is written past the system's cache, where the file system can.

What a merge writes nobody reads at once, and it is made durable in the end. Through the cache that costs a copy of
every byte, fresh pages for all of them, and at the end the wait until they are on the disk: nearly half of what it
takes to merge logs once their stamps are read. What others have in the cache is left alone, too.
"""

from __future__ import annotations

import errno
import fcntl
import io
import mmap
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

# So much is gathered before it is written, twice; a file that is smaller goes through the cache like any other.
_BUFFER_BYTES = 8 << 20
# Places and sizes of what goes past the cache are multiples of this, which is enough for any disk.
_ALIGNED = 4096


class DirectFile(io.RawIOBase):
    """
    Written from its begin to its end: while one half of the buffer is filled, a thread writes the other.

    What goes wrong in the thread is raised by the next call that writes or flushes.

    Args:
        path: is made, or begun anew.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)
        # Pages of their own, so aligned.
        self._views = [memoryview(mmap.mmap(-1, _BUFFER_BYTES)) for _ in range(2)]
        self._held = self._size = 0
        self._is_direct: bool | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        """All of it."""
        source = memoryview(data).cast("B")
        at = 0
        while at < len(source):
            count = min(len(source) - at, _BUFFER_BYTES - self._held)
            # numpy lets other threads go on meanwhile.
            into = np.frombuffer(self._views[0], np.uint8)[self._held : self._held + count]
            np.copyto(into, np.frombuffer(source, np.uint8)[at : at + count])
            self._held += count
            at += count
            if self._held == _BUFFER_BYTES:
                self._hand_over()
        self._size += len(source)
        return len(source)

    def _hand_over(self) -> None:
        self._wait()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="coeval-write")
            self._is_direct = self._set_direct(True)
        self._pending = self._thread.submit(self._put, self._views[0], self._held)
        self._views.reverse()
        self._held = 0

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            try:
                pending.result()
            except BaseException:
                self._held = 0  # what comes behind it is of no use
                raise

    def _put(self, view: memoryview, count: int) -> None:
        """Write the first bytes of a half; those that are no whole number of blocks end what goes past the cache."""
        at = 0
        while at < count:
            if self._is_direct and (count - at) % _ALIGNED:
                self._is_direct = not self._set_direct(False)
            try:
                at += os.write(self._descriptor, view[at:count])
            except OSError as error:
                # Some file systems take the flag, and then not this size or place.
                if error.errno != errno.EINVAL or not self._is_direct:
                    raise
                self._is_direct = not self._set_direct(False)

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
        if self.closed:
            return
        self._wait()
        if self._held:
            held, self._held = self._held, 0
            self._put(self._views[0], held)

    def close(self) -> None:
        if self.closed:
            return
        try:
            super().close()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
            self._views.clear()
            os.close(self._descriptor)
