"""
Files that calls leave for other calls, wherever those run: under paths that all of them reach, or under URLs.

Nobody reads a file before the call that made it has returned its name, and no two calls make a file of one name. So
files are not renamed when they are whole, which stores behind URLs are bad at.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from coeval.timeline.readers._input import filesystem_of, is_url


def own_name(stem: str) -> str:
    """A name that no other call has, on no machine, though it may do the same work once more."""
    return f"{stem}-{os.urandom(8).hex()}"


def begin_file(path: str) -> IO[bytes]:
    """
    A file to be written from its beginning. Behind most URLs it is there once it is closed.

    Raises:
        MissingExtra: it is a URL, and fsspec is not installed.
    """
    if not is_url(path):
        return open(path, "wb")
    filesystem, within = filesystem_of(path)
    return cast("IO[bytes]", filesystem.open(within, "wb"))


@contextlib.contextmanager
def file_to_read(path: str) -> Iterator[Any]:
    """A file to be read in any order, for Arrow: mapped, where it is one of this machine."""
    if not is_url(path):
        with pa.memory_map(path) as mapped:
            yield mapped
        return
    filesystem, within = filesystem_of(path)
    with filesystem.open(within, "rb") as file, pa.PythonFile(file, "r") as read:
        yield read


def on_this_machine(path: str, folder: Path) -> str:
    """The path of a file, or of a copy in a folder here."""
    if not is_url(path):
        return path
    filesystem, within = filesystem_of(path)
    copy = folder / path.rpartition("/")[2]
    if copy.exists():
        return str(copy)
    with filesystem.open(within, "rb") as file, open(copy, "wb") as made:
        shutil.copyfileobj(file, made, 1 << 20)
    return str(copy)


def remove_file(path: str) -> None:
    """Take a file away."""
    if not is_url(path):
        Path(path).unlink()
        return
    filesystem, within = filesystem_of(path)
    filesystem.rm_file(within)
