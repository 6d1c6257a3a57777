"""
Where commands write what they made: a file, or the standard output that is kept for data alone.

Each write is whole lines. If one fails half-way, what it left of them is cut off again, so that a file always ends
with a whole line.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from coeval.errors import CoevalError

# A path has one slash where the URL had two.
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/(?!/)(.*)")


class OutputRefused(Exception):
    """The output cannot be opened, or holds something already; the message is for the person who named it."""


class OutputClosed(Exception):
    """Who read the output has gone, as with `| head`."""


class OutputFailed(Exception):
    """The output cannot be written any more; the message says why."""


def check_place(place: Path | str, *, force: bool) -> None:
    """
    Find out before anything runs whether a file, or what a URL (text) names, can be written, as far as can be told.

    Args:
        force: what is there may go.

    Raises:
        OutputRefused: it is there, it cannot be written, or the URL's store cannot be asked.
    """
    if isinstance(place, Path):
        check_output(place, force=force)
        return
    from coeval.timeline._url_target import is_there

    try:
        is_refused = is_there(place) and not force
    except (CoevalError, ValueError) as error:
        raise OutputRefused(str(error)) from None
    except Exception as error:  # each store has its own kinds
        raise OutputRefused(f"{place} cannot be written: {type(error).__name__}: {error}") from None
    if is_refused:
        raise OutputRefused(f"{place} is there already; name another file, or overwrite it with --force")


def check_output(path: Path, *, force: bool) -> None:
    """
    Find out before anything runs whether `path` can be written; nothing is made or changed.

    Args:
        force: what is in the file may go.

    Raises:
        OutputRefused: it cannot, or something is in it.
    """
    if match := _URL.match(str(path)):
        raise OutputRefused(
            f"{match[1]}://{match[2]} is a URL, and this command writes files; write one, or with -o - to what takes "
            "it there"
        )
    if path.is_dir():
        raise OutputRefused(f"{path} is a folder; expected a file to write to")
    if not path.parent.is_dir():
        raise OutputRefused(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputRefused(f"{path} cannot be written: permission denied")
    if path.is_file() and not force and (size := path.stat().st_size):
        raise OutputRefused(
            f"{path} is there already ({size:,} bytes); name another file, or overwrite it with --force"
        )


class DataOutput:
    """
    Takes whole lines to a descriptor.

    Args:
        descriptor: open for writing; closed by `close`.
        name: for people.

    Attributes:
        is_file: a regular file, so that writing to it waits for nobody.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._line_count = 0
        self.is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)

    @classmethod
    def to_file(cls, path: Path) -> DataOutput:
        """
        Empty the file and write to it.

        Raises:
            OutputRefused: it cannot be opened.
        """
        try:
            return cls(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666), str(path))
        except OSError as error:
            raise OutputRefused(f"{path} cannot be written: {error.strerror}") from None

    @classmethod
    def to_standard_output(cls) -> DataOutput:
        """
        Keep standard output for data alone.

        From now on descriptor 1, here and in every process that is started, is standard error: what a function prints
        does not land in the data.

        Raises:
            OutputRefused: standard output is closed.
        """
        try:
            descriptor = os.dup(1)
        except OSError:
            raise OutputRefused("standard output is closed; name a file with -o") from None
        with contextlib.suppress(ValueError, OSError):
            sys.stdout.flush()
        with contextlib.suppress(OSError):  # standard error is closed: then there is nobody to print to
            os.dup2(2, 1)
        return cls(descriptor, "standard output")

    def write(self, lines: Sequence[bytes], wait_s: float | None = None) -> None:
        """
        Write whole lines, now.

        Args:
            wait_s: give up if their reader takes nothing for so long; None: wait for it.

        Raises:
            OutputClosed: nobody reads them any more.
            OutputFailed: they cannot be written, such as on a full disk, or their reader is too slow.
        """
        data = b"".join(lines)
        written = 0
        try:
            while written < len(data):
                end = len(data)
                if wait_s is not None:
                    if not select.select([], [self._descriptor], [], wait_s)[1]:
                        raise OutputFailed(f"{self.name} is not read; {len(data) - written:,} bytes are lost")
                    end = written + select.PIPE_BUF  # so much can be written without waiting
                written += os.write(self._descriptor, memoryview(data)[written:end])
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            torn = written - (data.rfind(b"\n", 0, written) + 1)
            self._line_count += data.count(b"\n", 0, written)
            if self.is_file and torn:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, os.lseek(self._descriptor, 0, os.SEEK_CUR) - torn)
            raise OutputFailed(
                f"{self.name} cannot be written any more: {error.strerror}. {self._line_count:,} whole lines are in it."
            ) from None
        self._line_count += len(lines)

    def close(self) -> None:
        """
        Give the descriptor back.

        Raises:
            OutputFailed: what was written did not arrive, as some network file systems say only now.
        """
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if descriptor >= 0:
                os.close(descriptor)
        except OSError as error:
            raise OutputFailed(f"{self.name} cannot be written any more: {error.strerror}") from None
