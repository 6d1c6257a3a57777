"""
A file that is there under its name once it is whole.

It is written beside its place and renamed. What is beside it is locked as long as its process lives: whoever comes
later and gets the lock knows that the process is gone, and takes the remains away.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, TextIO, cast


def open_to_write(path: Path) -> IO[bytes]:
    """A file that is begun anew."""
    return open(path, "wb")


class Target:
    """
    A file that appears under its name when it is whole. Until then it lies beside it, locked.

    A device or a pipe is no file: what is written goes there at once, and it is never replaced.

    Args:
        path: its name.
        made: opens what is written to.

    Attributes:
        partial: where it lies until then, for what writes by name.
    """

    def __init__(self, path: Path, made: Callable[[Path], IO[bytes] | io.RawIOBase] = open_to_write) -> None:
        self.path = path
        self._made = made
        self.partial = path
        self._is_file = not path.exists() or path.is_file()
        if self._is_file:
            remove_partials(path)
            self.partial = path.with_name(f"{path.name}.partial-{os.getpid()}")

    def __enter__(self) -> IO[bytes]:
        self.file = self._made(self.partial) if self._is_file else open_to_write(self.path)  # closed on exit
        if self._is_file:
            with contextlib.suppress(OSError):
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cast("IO[bytes]", self.file)  # to type checkers no RawIOBase is one

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.file.flush()
            if kind is None and self._is_file:
                os.fsync(self.file.fileno())
                self.partial.replace(self.path)
                _sync_folder(self.path.parent)
        finally:
            with contextlib.suppress(OSError):
                self.file.close()
            if self._is_file:
                with contextlib.suppress(OSError):
                    self.partial.unlink()


@contextlib.contextmanager
def as_text(file: IO[bytes]) -> Iterator[TextIO]:
    """Write text to it, in UTF-8, with line ends as they are; it stays open."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        yield text
        text.flush()
    finally:
        with contextlib.suppress(OSError):  # what could not be flushed was said above
            text.detach()


def remove_partials(target: Path) -> None:
    """Take partial outputs of one target away whose processes are gone."""
    for left in target.parent.glob(f"{_escaped(target.name)}.partial-*"):
        if is_left(left):
            with contextlib.suppress(OSError):
                left.unlink()


def is_left(lock: Path) -> bool:
    """Whether nobody holds this lock any more."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
