"""
The spill folder: what does not fit into memory, for as long as a merge takes; and what killed merges left behind.

A folder is held by a lock as long as its process lives. Whoever comes later and gets the lock knows that its process is
gone, whatever else has its number by now, and takes the remains away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from coeval.timeline._shared_files import own_name
from coeval.timeline._target import is_left
from coeval.timeline.readers._input import filesystem_of

_PREFIX = ".coeval-merge-"
_LOCK = "lock"


class DiskFull(OSError):
    """There is no room for what a merge must put down; the message says where, and how much was needed so far."""


class OutputFull(OSError):
    """
    There is no room for the output, told apart from the spill folder's disk being full.

    Attributes:
        written: how many bytes of it were written before.
    """

    def __init__(self, number: int, written: int) -> None:
        super().__init__(number, os.strerror(number))
        self.written = written


class SpillFolder:
    """
    A folder of one merge's own; taken away in the end.

    Args:
        beside: where to make it.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, beside: Path) -> None:
        remove_remains(beside)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=beside))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks: remains there are left alone
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __enter__(self) -> SpillFolder:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def size(self) -> int:
        """How many bytes are in it."""
        total = 0
        for entry in self.path.iterdir():
            with contextlib.suppress(OSError):
                total += entry.stat().st_size
        return total


class RemoteSpill:
    """
    A folder behind a URL, of one merge's own, for calls on machines that do not reach its spill folder; taken away in
    the end. What a killed merge left there stays: nobody can tell from afar that it is gone.

    Args:
        beside: the URL of what to make it in.

    Attributes:
        url: of the folder.

    Raises:
        MissingExtra: fsspec is not installed.
        OSError: it cannot be made.
    """

    def __init__(self, beside: str) -> None:
        self.url = own_name(f"{beside.rstrip('/')}/{_PREFIX.strip('.-')}")
        self._filesystem, self._within = filesystem_of(self.url)
        self._filesystem.makedirs(self._within, exist_ok=True)

    def __enter__(self) -> RemoteSpill:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._filesystem.rm(self._within, recursive=True)
        except Exception as error:  # what the merge did counts, or why it failed
            warnings.warn(f"{self.url} could not be removed: {error}; remove it, as nobody needs it", stacklevel=2)

    def size(self) -> int:
        """How many bytes are in it."""
        self._filesystem.invalidate_cache()
        return int(self._filesystem.du(self._within))


def remove_remains(folder: Path) -> None:
    """Take spill folders away whose processes are gone."""
    for left in folder.glob(f"{_PREFIX}*"):
        if is_left(left / _LOCK):
            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def telling_full_disks(spill: SpillFolder, target: Path | str | None) -> Iterator[None]:
    """
    One clear error where there is no room.

    Raises:
        DiskFull: names the disk and what was needed on it.
    """
    try:
        yield
    except OSError as error:
        number = full_disk(error)
        if number is None:
            raise
        used = spill.size()
        where = f"the spill folder's disk ({spill.path.parent})"
        more = f"{used:,} bytes were spilled so far"
        if isinstance(error, OutputFull):
            where = "the disk that the output goes to"
            if target is not None:
                where = f"the target's disk ({target.parent if isinstance(target, Path) else target})"
            more = f"{error.written:,} bytes were written so far, and {used:,} bytes spilled"
        raise DiskFull(
            number,
            f"there is no room on {where}: {more}. Nothing was changed; give a folder on a larger disk with "
            "--spill DIR, or write the output elsewhere",
        ) from error


def full_disk(error: OSError) -> int | None:
    """The number of an error that says that a disk is full, or its user's share of it; None: it says something else."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if error.errno == number or os.strerror(number) in str(error):
            return number
    return None
