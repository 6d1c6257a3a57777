"""
A file behind a URL that is there under its name once it is whole.

fsspec keeps what is written within a transaction apart until it ends: under another name, as parts of an upload that is
not complete, or in memory. Stores that cannot do that have the file when it is closed, and some from the beginning.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import IO, cast

from coeval.timeline.readers._input import filesystem_of, is_url

_OF_THIS_MACHINE = ("file://", "local://")


def place_of(text: str) -> Path | str:
    """What a user names: a path, also of a URL of this machine, or (text) another URL."""
    for scheme in _OF_THIS_MACHINE:
        if text.startswith(scheme):
            return Path(text.removeprefix(scheme))
    return text if is_url(text) else Path(text)


def is_there(place: Path | str) -> bool:
    """
    Whether something has this path or URL.

    Raises:
        MissingExtra, ValueError: see `filesystem_of`.
        OSError: its store cannot be asked.
    """
    if isinstance(place, Path):
        return place.exists()
    filesystem, within = filesystem_of(place)
    return bool(filesystem.exists(within))


class UrlTarget:
    """
    A file that appears under its URL when it is whole, and not at all if that goes wrong.

    Args:
        url: its name. What is there already is replaced.

    Raises:
        MissingExtra: fsspec is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        # Not the file system that everybody has who asks for one: what others write meanwhile is no part of this.
        self._filesystem, self._within = filesystem_of(url, is_shared=False)

    def __enter__(self) -> IO[bytes]:
        """
        Raises:
            OSError: nothing can be written there; also where the store is one to read from only.
        """
        self._filesystem.start_transaction()
        try:
            self._file = self._filesystem.open(self._within, "wb")
        except (NotImplementedError, ValueError) as error:
            told = str(error) or "nothing writes to such URLs"
            raise OSError(f"{self._url} cannot be written: {told}") from error
        return cast("IO[bytes]", self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_whole = False
        try:
            if kind is None:
                self._file.close()
                self._filesystem.end_transaction()
                is_whole = True
        finally:
            if not is_whole:
                self._give_up()
            # Whoever looked there before has a listing without it.
            filesystem_of(self._url)[0].invalidate_cache()

    def _give_up(self) -> None:
        """Have nothing there of what was written; what went wrong before is what counts."""
        with contextlib.suppress(Exception):
            self._filesystem.transaction.complete(commit=False)
        with contextlib.suppress(Exception):
            self._file.closed = True  # else fsspec writes the rest when nobody has the file any more
